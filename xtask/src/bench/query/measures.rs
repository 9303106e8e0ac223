//! The rows of `bench query`: what is asked, and what it may cost.
//!
//! Every query has two rows: the median time of an answer as the asker sees it, and the server's CPU time an answer.
//! The figures are those of issue 5's table; what the table gives as "≤ VM" follows from VictoriaMetrics beside it.

use crate::bench::row::{Anchor, Measure};

/// What is asked of every program alike.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask {
    /// A range query that ends with the last sample.
    Range { expr: &'static str, hours: i64, step_s: i64 },
    /// An instant query at the last sample.
    Instant(&'static str),
    /// Label sets of the series that a selector matches.
    Series(&'static str),
    /// Values of a label.
    LabelValues(&'static str),
}

/// What a figure must keep.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Must {
    /// VictoriaMetrics' figure in the same run.
    Peer,
    /// This figure, or the table's ratio to VictoriaMetrics, whose figure in the table comes second.
    Figure(f64, f64),
    /// Nothing: the other row of the query has the limit.
    Nothing,
}

/// One of the two rows of a query.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Figure {
    /// Name of the row.
    pub name: &'static str,
    /// What it must keep.
    pub must: Must,
    /// What the design aims at.
    pub aim: Option<f64>,
}

/// A query with its two rows.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Query {
    /// What is asked.
    pub ask: Ask,
    /// Median time of an answer, milliseconds.
    pub wall: Figure,
    /// CPU time of the server, milliseconds an answer.
    pub cpu: Figure,
}

impl Figure {
    /// The row's measure, when VictoriaMetrics reached `peer` beside it.
    pub fn measure(&self, unit: &'static str, peer: Option<f64>) -> Measure {
        let (must, anchor) = match self.must {
            Must::Peer => (peer, None),
            Must::Figure(ms, table) => (Some(ms), Some(Anchor { peer: VM, table, row: None })),
            Must::Nothing => (None, None),
        };
        Measure { name: self.name, unit, must, aim: self.aim, anchor }
    }
}

/// The peer that limits are set against.
pub const VM: &str = "victoria-metrics";

const fn figure(name: &'static str, must: Must, aim: Option<f64>) -> Figure {
    Figure { name, must, aim }
}

const CPU_RATE: &str = "sum by (job) (rate(node_cpu_seconds_total[5m]))";

/// All queries in the order of the table.
pub const ALL: &[Query] = &[
    Query {
        ask: Ask::Range { expr: CPU_RATE, hours: 6, step_s: 60 },
        wall: figure("6h-sum-rate", Must::Nothing, Some(45.0)),
        cpu: figure("6h-sum-rate-cpu", Must::Peer, Some(80.0)),
    },
    Query {
        ask: Ask::Range { expr: CPU_RATE, hours: 1, step_s: 15 },
        wall: figure("1h-sum-rate", Must::Peer, Some(22.0)),
        cpu: figure("1h-sum-rate-cpu", Must::Peer, None),
    },
    Query {
        ask: Ask::Range {
            expr: "histogram_quantile(0.99, sum by (le, job) (rate(http_request_duration_seconds_bucket[5m])))",
            hours: 1,
            step_s: 15,
        },
        wall: figure("1h-quantile", Must::Peer, Some(12.0)),
        cpu: figure("1h-quantile-cpu", Must::Peer, None),
    },
    Query {
        ask: Ask::Range {
            expr: "topk(5, sum by (instance) (rate(node_network_receive_bytes_total[5m])))",
            hours: 6,
            step_s: 60,
        },
        wall: figure("6h-topk", Must::Peer, Some(4.0)),
        cpu: figure("6h-topk-cpu", Must::Peer, None),
    },
    Query {
        ask: Ask::Range {
            expr: "sum by (instance) (rate(node_network_receive_bytes_total[5m])) \
                   / sum by (instance) (rate(node_network_transmit_bytes_total[5m]))",
            hours: 6,
            step_s: 60,
        },
        wall: figure("6h-ratio", Must::Peer, Some(8.0)),
        cpu: figure("6h-ratio-cpu", Must::Peer, None),
    },
    Query {
        ask: Ask::Instant(CPU_RATE),
        wall: figure("instant-sum-rate", Must::Figure(8.0, 16.0), Some(3.0)),
        cpu: figure("instant-sum-rate-cpu", Must::Nothing, None),
    },
    Query {
        ask: Ask::Instant(r#"count({__name__=~".+"})"#),
        wall: figure("instant-count", Must::Figure(20.0, 63.0), Some(3.0)),
        cpu: figure("instant-count-cpu", Must::Nothing, None),
    },
    Query {
        ask: Ask::Series(r#"{job="cart-service"}"#),
        wall: figure("series", Must::Figure(6.0, 6.7), Some(3.0)),
        cpu: figure("series-cpu", Must::Nothing, None),
    },
    Query {
        ask: Ask::LabelValues("instance"),
        wall: figure("label-values", Must::Figure(0.4, 0.45), Some(0.1)),
        cpu: figure("label-values-cpu", Must::Nothing, None),
    },
];
