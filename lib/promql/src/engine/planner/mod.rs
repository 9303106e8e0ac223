//! From the syntax tree to the [`Plan`]: pure, one pass, no data is looked at.
//!
//! On the way down go the grid of evaluation times and what surrounds a selector ([`scope`]); on the way up comes
//! whether a part is step-invariant ([`Built`]). A part is step-invariant when everything it reads is pinned by `@` and
//! no function in it depends on the evaluation's time.
//!
//! One file for each kind of expression: [`scalar`], [`vector`] with [`call`] and [`info`], [`range`]; [`selector`] is
//! where they end, in what is fetched. [`repeated`] marks what the query says more than once.

mod call;
mod info;
mod range;
mod repeated;
mod scalar;
mod scope;
mod selector;
mod vector;

use std::collections::HashMap;

use cairn_model::TimestampMs;

use super::downsampled::Aggregate;
use super::error::QueryError;
use super::grid::{Grid, Reference};
use super::plan::{Fetch, Plan, Root, ScalarNode, VectorNode};
use super::repeats::{Repeats, SharedId};
use crate::parser::ValueType;
use crate::parser::ast::{At, Expr, Span};
use crate::parser::duration::{DurationArg, DurationContext};
use repeated::{Context, Repeated};
use scope::{Buckets, Scope};

/// What planning needs to know beside the tree.
#[derive(Debug, Clone, Copy)]
pub struct PlanOptions {
    /// How long a sample stands for its series.
    pub lookback_ms: i64,
    /// Resolution of subqueries that name none.
    pub default_subquery_step_ms: i64,
    /// Steps of a query or subquery.
    pub max_steps: u64,
    /// Downsampled data may be read.
    pub downsampled: bool,
    /// Types and units are labels that an evaluation looks at.
    pub type_and_unit_labels: bool,
}

/// When the query is evaluated.
#[derive(Debug, Clone, Copy)]
pub struct PlanTimes {
    /// First evaluation.
    pub start_ms: TimestampMs,
    /// Bound of the last evaluation.
    pub end_ms: TimestampMs,
    /// Distance of evaluations; 0 for an instant query.
    pub step_ms: i64,
}

/// Plans `expr`, the tree of `query`.
///
/// # Errors
/// A duration expression without a usable value, a bad regular expression or label name in an argument, an edge
/// modifier around the wrong function.
pub fn plan(query: &str, expr: &Expr, times: PlanTimes, options: PlanOptions) -> Result<Plan, QueryError> {
    let instant = times.step_ms == 0;
    let grid = if instant {
        Grid::instant(times.start_ms)
    } else {
        Grid::range(times.start_ms, times.end_ms, times.step_ms)
    };
    let mut planner = Planner {
        query,
        times,
        options,
        fetches: Vec::new(),
        repeated: Repeated::of(expr),
        shared: HashMap::new(),
        uses: Vec::new(),
        inside_known: false,
    };
    planner.check_steps(grid, expr.span())?;
    let scope = Scope {
        grid,
        step_hint_ms: times.step_ms,
        func: "",
        grouping: None,
        reduced: None,
        buckets: Buckets::Used,
    };
    let root = match expr.value_type() {
        ValueType::Scalar => {
            let built = planner.scalar(expr, scope)?;
            Root::Scalar(planner.scalar_once(built, scope))
        }
        ValueType::String => match expr.unwrap_parens() {
            Expr::String(s) => Root::String(s.value.clone()),
            other => return Err(QueryError::Internal(format!("unexpected text expression {other:?}"))),
        },
        ValueType::Vector => {
            let built = planner.vector(expr, scope)?;
            Root::Vector(planner.once(built, scope))
        }
        ValueType::Matrix => Root::Range(planner.range(expr, scope)?.node),
    };
    let repeats = Repeats { uses: planner.uses, spans: planner.repeated.spans };
    Ok(Plan { root, grid, instant, fetches: planner.fetches, repeats })
}

struct Planner<'q> {
    query: &'q str,
    times: PlanTimes,
    options: PlanOptions,
    fetches: Vec<Fetch>,
    repeated: Repeated,
    /// Repeated parts that were planned before.
    shared: HashMap<Context, SharedId>,
    /// How often each of them is used.
    uses: Vec<u32>,
    /// Whether what is planned is inside of one of them.
    inside_known: bool,
}

/// A part of the plan.
struct Built<T> {
    node: T,
    /// Whether it is step-invariant.
    invariant: bool,
}

fn built<T>(node: T, invariant: bool) -> Built<T> {
    Built { node, invariant }
}

impl<'q> Planner<'q> {
    /// Marks an invariant part of something that is not, so that it is evaluated once.
    fn once(&self, b: Built<VectorNode>, scope: Scope<'_>) -> VectorNode {
        if b.invariant && scope.grid.steps > 1 { VectorNode::StepInvariant(Box::new(b.node)) } else { b.node }
    }

    /// The same of a number; a constant is as cheap to have.
    fn scalar_once(&self, b: Built<ScalarNode>, scope: Scope<'_>) -> ScalarNode {
        match b.node {
            ScalarNode::Number(_) => b.node,
            node if b.invariant && scope.grid.steps > 1 => ScalarNode::StepInvariant(Box::new(node)),
            node => node,
        }
    }

    /// Refuses a grid of more steps than are allowed; `span` is what would be evaluated on it.
    fn check_steps(&self, grid: Grid, span: Span) -> Result<(), QueryError> {
        let (needed, limit) = (grid.steps as u64, self.options.max_steps);
        if needed <= limit {
            return Ok(());
        }
        let culprit = span.text(self.query).to_owned();
        Err(QueryError::Budget { what: "steps".into(), needed, limit, culprit })
    }

    /// What a selector right inside of `func` reads of downsampled data. Where there is none all selectors read the same,
    /// and more of them have something in common.
    fn aggregate_for(&self, func: &str) -> Aggregate {
        if self.options.downsampled { Aggregate::for_function(func) } else { Aggregate::Average }
    }

    fn durations(&self) -> DurationContext {
        DurationContext {
            step_ms: self.times.step_ms,
            range_ms: self.times.end_ms.saturating_sub(self.times.start_ms),
        }
    }

    /// Resolves `offset` and `@`.
    fn reference(&self, offset: Option<&DurationArg>, at: Option<At>) -> Result<Reference, QueryError> {
        let offset_ms = offset.map_or(Ok(0), |o| o.resolve_signed(self.durations()))?;
        let at_ms = at.map(|at| match at {
            At::TimestampMs(t) => t,
            At::Start => self.times.start_ms,
            At::End => self.times.end_ms,
        });
        Ok(Reference { at_ms, offset_ms })
    }
}

fn unexpected(wanted: &str, got: &Expr) -> QueryError {
    QueryError::Internal(format!("expected {wanted}, got {}", got.value_type()))
}

fn text(expr: &Expr) -> Result<&str, QueryError> {
    match expr.unwrap_parens() {
        Expr::String(s) => Ok(&s.value),
        other => Err(unexpected("a text", other)),
    }
}
