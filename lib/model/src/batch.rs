//! One write request on its way through the receiver: decoded once, then passed on as it is.
//!
//! The scanner fills a batch from the wire, the judge marks verdicts, the router splits by slot, the head
//! appends, and the answer is made from the same verdicts. Samples are columns; a series names its range in
//! them. Label bytes live in one arena in the canonical form of [`crate::labels`].
//!
//! Invariant: series `i` owns `floats[series[i].floats]`, `histograms[series[i].histograms]` and so on; ranges
//! of different series do not overlap and lie inside the columns. A float whose verdict is set is not stored.
//!
//! This is a hot file: filling a batch allocates nothing once its columns have grown.

use std::ops::Range;
use std::sync::Arc;

use crate::exemplar::Exemplar;
use crate::labels::LabelsRef;
use crate::metadata::Metadata;
use crate::sample::{TimestampMs, Value};
use crate::tenant::TenantId;

/// One request's data for one tenant.
#[derive(Debug, Clone)]
pub struct WriteBatch {
    /// Whose data this is.
    pub tenant: TenantId,
    /// Series in the order of the request; a series may occur more than once.
    pub series: Vec<BatchSeries>,
    /// Canonical label bytes of the series that are not known by reference.
    pub arena: Vec<u8>,
    /// Float samples of all series.
    pub floats: FloatColumns,
    /// Histogram samples of all series.
    pub histograms: Vec<HistogramSample>,
    /// Exemplars of all series.
    pub exemplars: Vec<Exemplar>,
    /// Metadata by metric family name.
    pub metadata: Vec<(String, Metadata)>,
    /// What was refused so far.
    pub rejections: Vec<Rejection>,
}

/// A series of a batch.
#[derive(Debug, Clone, Default)]
pub struct BatchSeries {
    /// What the head called this series in an earlier append, or 0. Only a hint: the head checks that it is
    /// still this series by `hash`.
    pub known_ref: u64,
    /// xxHash64 of tenant and labels ([`LabelsRef::hash_with_prefix`]).
    pub hash: u64,
    /// Range of the labels in the arena; empty when `known_ref` is trusted to stand for them.
    pub labels: Range<u32>,
    /// Range in the float columns.
    pub floats: Range<u32>,
    /// Range in the histograms.
    pub histograms: Range<u32>,
    /// Range in the exemplars.
    pub exemplars: Range<u32>,
    /// Set when the series as a whole is refused: nothing of it is stored.
    pub refused: bool,
}

/// Float samples as columns of equal length.
#[derive(Debug, Clone, Default)]
pub struct FloatColumns {
    /// Timestamps.
    pub t_ms: Vec<TimestampMs>,
    /// Values.
    pub value: Vec<f64>,
    /// Start timestamps, 0 = unknown; empty when the request has none at all.
    pub start_ms: Vec<TimestampMs>,
    /// Samples that the judge refused, by index, sorted. Usually empty.
    pub refused: Vec<u32>,
}

/// A histogram sample of a batch.
#[derive(Debug, Clone)]
pub struct HistogramSample {
    /// When.
    pub t_ms: TimestampMs,
    /// Start timestamp, 0 = unknown.
    pub start_ms: TimestampMs,
    /// [`Value::Histogram`] or [`Value::FloatHistogram`].
    pub value: Value,
    /// Whether the judge refused it.
    pub refused: bool,
}

/// Why something of a request was not stored.
#[derive(Debug, Clone, PartialEq)]
pub struct Rejection {
    /// Index into [`WriteBatch::series`], or `None` when the series could not be read at all.
    pub series: Option<u32>,
    /// The series as far as it could be read, for the message.
    pub labels: Arc<str>,
    /// The sample's time, or `None` when the whole series is refused.
    pub t_ms: Option<TimestampMs>,
    /// How many samples this stands for.
    pub samples: u32,
    /// Why.
    pub reason: RejectReason,
}

/// The reasons by which refused samples are counted.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)] // the texts say it
pub enum RejectReason {
    InvalidLabels(String),
    DuplicateLabel(String),
    MissingMetricName,
    TooManyLabels {
        have: usize,
        limit: usize,
    },
    LabelTooLong {
        have: usize,
        limit: usize,
    },
    NoSamples,
    TooOld {
        limit_ms: i64,
    },
    TooFarInFuture {
        limit_ms: i64,
    },
    /// Another value is already there at this timestamp.
    Conflict,
    InvalidHistogram(String),
    SeriesLimit {
        limit: u64,
    },
    /// Never makes the request fail: samples are stored, the exemplar is not.
    Exemplar(String),
}

impl RejectReason {
    /// Short stable word for metric labels.
    pub fn as_label(&self) -> &'static str {
        match self {
            RejectReason::InvalidLabels(_) => "invalid_labels",
            RejectReason::DuplicateLabel(_) => "duplicate_label",
            RejectReason::MissingMetricName => "missing_metric_name",
            RejectReason::TooManyLabels { .. } => "too_many_labels",
            RejectReason::LabelTooLong { .. } => "label_too_long",
            RejectReason::NoSamples => "no_samples",
            RejectReason::TooOld { .. } => "too_old",
            RejectReason::TooFarInFuture { .. } => "too_far_in_future",
            RejectReason::Conflict => "conflict",
            RejectReason::InvalidHistogram(_) => "invalid_histogram",
            RejectReason::SeriesLimit { .. } => "series_limit",
            RejectReason::Exemplar(_) => "exemplar",
        }
    }
}

/// Texts that senders and dashboards already look for, where Prometheus has one.
impl std::fmt::Display for RejectReason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RejectReason::InvalidLabels(why) => write!(f, "invalid labels: {why}"),
            RejectReason::DuplicateLabel(name) => write!(f, "label name {name:?} is not unique"),
            RejectReason::MissingMetricName => {
                f.write_str("missing metric name: the label __name__ is required")
            }
            RejectReason::TooManyLabels { have, limit } => write!(f, "{have} labels, limit {limit}"),
            RejectReason::LabelTooLong { have, limit } => write!(f, "label of {have} bytes, limit {limit}"),
            RejectReason::NoSamples => f.write_str("series without samples or histograms"),
            RejectReason::TooOld { limit_ms } => {
                write!(f, "too old sample: more than {} s behind now", limit_ms / 1000)
            }
            RejectReason::TooFarInFuture { limit_ms } => {
                write!(
                    f,
                    "out of bounds: more than {} s ahead of now, check the sender's clock",
                    limit_ms / 1000
                )
            }
            RejectReason::Conflict => f.write_str("duplicate sample for timestamp"),
            RejectReason::InvalidHistogram(why) => write!(f, "invalid histogram: {why}"),
            RejectReason::SeriesLimit { limit } => {
                write!(f, "series limit of {limit} reached: existing series are stored, this new one is not")
            }
            RejectReason::Exemplar(why) => write!(f, "exemplar not stored: {why}"),
        }
    }
}

/// What became of a batch that is durable: everything not listed in `rejections` is stored, or was already.
#[derive(Debug, Clone, Default)]
pub struct Appended {
    /// Float samples stored, repeats of equal samples included.
    pub floats: u64,
    /// Histogram samples stored, repeats included.
    pub histograms: u64,
    /// Exemplars stored, repeats included.
    pub exemplars: u64,
    /// What the store refused: conflicts, series over the limit, exemplars.
    pub rejections: Vec<Rejection>,
    /// The store's reference of each series of the batch, 0 where there is none. A reference is never given to
    /// another series again, so that a stale one is found out and not followed.
    pub refs: Vec<u64>,
    /// Indexes, sorted, of series that came by [`BatchSeries::known_ref`] alone and that the store does not know
    /// (any more). Nothing of them was stored and nothing of them is in the counts above; whoever filled the
    /// batch sends them again with labels.
    pub unknown: Vec<u32>,
    /// The batch itself, when the store has no more use for it: whoever filled it uses its memory again, which
    /// saves a fifth of the cost of filling. `None` when the store keeps it.
    pub spare: Option<Box<WriteBatch>>,
}

impl WriteBatch {
    /// An empty batch.
    pub fn new(tenant: TenantId) -> Self {
        WriteBatch {
            tenant,
            series: Vec::new(),
            arena: Vec::new(),
            floats: FloatColumns::default(),
            histograms: Vec::new(),
            exemplars: Vec::new(),
            metadata: Vec::new(),
            rejections: Vec::new(),
        }
    }

    /// Empties the batch and keeps its memory.
    pub fn clear(&mut self, tenant: TenantId) {
        self.tenant = tenant;
        self.series.clear();
        self.arena.clear();
        self.floats.t_ms.clear();
        self.floats.value.clear();
        self.floats.start_ms.clear();
        self.floats.refused.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
        self.rejections.clear();
    }

    /// Adds a series with float samples `(t_ms, value)`: for rules, self-monitoring and tests. The hot path
    /// fills the columns itself.
    pub fn push_floats(&mut self, labels: LabelsRef<'_>, samples: &[(TimestampMs, f64)]) {
        let floats = self.floats.t_ms.len() as u32;
        for (t, v) in samples {
            self.floats.t_ms.push(*t);
            self.floats.value.push(*v);
            if !self.floats.start_ms.is_empty() {
                self.floats.start_ms.push(0);
            }
        }
        let mut series = self.new_series(labels);
        series.floats = floats..self.floats.t_ms.len() as u32;
        self.series.push(series);
    }

    /// Adds a series with one histogram sample.
    pub fn push_histogram(&mut self, labels: LabelsRef<'_>, t_ms: TimestampMs, value: Value) {
        let at = self.histograms.len() as u32;
        self.histograms.push(HistogramSample { t_ms, start_ms: 0, value, refused: false });
        let mut series = self.new_series(labels);
        series.histograms = at..at + 1;
        self.series.push(series);
    }

    fn new_series(&mut self, labels: LabelsRef<'_>) -> BatchSeries {
        let start = self.arena.len() as u32;
        self.arena.extend_from_slice(labels.as_bytes());
        BatchSeries {
            hash: labels.hash_with_prefix(self.tenant.as_str()),
            labels: start..self.arena.len() as u32,
            floats: self.floats.t_ms.len() as u32..self.floats.t_ms.len() as u32,
            histograms: self.histograms.len() as u32..self.histograms.len() as u32,
            exemplars: self.exemplars.len() as u32..self.exemplars.len() as u32,
            ..BatchSeries::default()
        }
    }

    /// The labels of `series`, or `None` when the batch knows it by reference only.
    pub fn labels_of(&self, series: &BatchSeries) -> Option<LabelsRef<'_>> {
        (!series.labels.is_empty()).then(|| {
            LabelsRef::from_canonical(&self.arena[series.labels.start as usize..series.labels.end as usize])
        })
    }

    /// Samples of both kinds, refused ones included.
    pub fn sample_count(&self) -> usize {
        self.floats.t_ms.len() + self.histograms.len()
    }
}
