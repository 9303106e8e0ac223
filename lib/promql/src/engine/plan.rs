//! What an evaluation is going to do: the plan of an expression.
//!
//! A plan is typed (scalars, instant vectors and range vectors are different nodes), has its durations and `@`
//! resolved, its parentheses dropped, its step-invariant and its repeated parts marked to be evaluated once, and names every
//! stretch of data it reads exactly once in [`Plan::fetches`]. [`super::planner`] makes it from the syntax tree;
//! it is pure data and serves any number of evaluations.
//!
//! Invariant: a [`FetchId`] in a node is an index into `fetches`, and that fetch covers all times the node looks
//! at on the plan's grid.

use cairn_model::{Matcher, TimestampMs};

use super::downsampled::Aggregate;
use super::grid::{Grid, Reference};
use super::repeats::{Repeats, Shared};
use crate::functions::date::DatePart;
use crate::functions::range_fn::RangeFn;
use crate::functions::sliding::Windows;
use crate::parser::ast::{AggregateOp, BinaryOp, Span, VectorMatching};
use cairn_model::storage::{SelectHints, WantedLabels};

/// A plan.
#[derive(Debug, Clone)]
pub struct Plan {
    /// What is computed.
    pub root: Root,
    /// For which times.
    pub grid: Grid,
    /// Whether it is an instant query, which answers a vector and not a matrix.
    pub instant: bool,
    /// What must be read first.
    pub fetches: Vec<Fetch>,
    /// What is written more than once.
    pub repeats: Repeats,
}

/// What the expression yields.
#[derive(Debug, Clone)]
pub enum Root {
    /// A number a step.
    Scalar(ScalarNode),
    /// A text; instant queries only.
    String(String),
    /// A sample a series and step.
    Vector(VectorNode),
    /// Raw samples of a range; instant queries only.
    Range(RangeNode),
}

/// Index into [`Plan::fetches`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct FetchId(pub usize);

/// One stretch of data to read.
#[derive(Debug, Clone)]
pub struct Fetch {
    /// Which series.
    pub matchers: Vec<Matcher>,
    /// First time needed.
    pub min_ms: TimestampMs,
    /// Last time needed.
    pub max_ms: TimestampMs,
    /// Labels that are looked at.
    pub labels: WantedLabels,
    /// What it is for.
    pub hints: SelectHints,
    /// What downsampled data is read as.
    pub aggregate: Aggregate,
    /// The selector as the user wrote it, for messages.
    pub text: String,
}

/// Computes a number a step.
#[derive(Debug, Clone)]
pub enum ScalarNode {
    /// A literal, or a function of the query alone.
    Number(f64),
    /// `time()`
    Time,
    /// `scalar(v)`
    OfVector(Box<VectorNode>),
    /// `max_of(a, b)`
    MaxOf(Box<ScalarNode>, Box<ScalarNode>),
    /// `min_of(a, b)`
    MinOf(Box<ScalarNode>, Box<ScalarNode>),
    /// `-a`
    Negate(Box<ScalarNode>),
    /// `a + b`; comparisons give 0 or 1.
    Binary(BinaryOp, Box<ScalarNode>, Box<ScalarNode>),
    /// Evaluated at the first step, valid for all.
    StepInvariant(Box<ScalarNode>),
}

/// Computes an instant vector a step.
#[derive(Debug, Clone)]
pub enum VectorNode {
    /// A selector.
    Select(Select),
    /// `timestamp(selector)` and `start_timestamp(selector)`.
    SampleTime {
        /// Whose samples.
        select: Select,
        /// Which of their times.
        which: SampleTime,
    },
    /// A function of a range vector.
    RangeCall(Box<RangeCall>),
    /// A function of each sample.
    Map(Box<Map>),
    /// A date function of the evaluation's own time.
    DateNow(DatePart),
    /// No series at all.
    Empty,
    /// `vector(s)`
    OfScalar(ScalarNode),
    /// `absent(v)`, with the labels it yields.
    Absent(Box<VectorNode>, cairn_model::Labels),
    /// `absent_over_time(r)`, with the labels it yields.
    AbsentOverTime(Box<RangeNode>, cairn_model::Labels),
    /// `histogram_quantile`, `histogram_quantiles`, `histogram_fraction`.
    BucketCall(Box<BucketCall>),
    /// `sort` and its kin.
    Sort(Box<Sort>),
    /// `label_replace` and `label_join`.
    Relabel(Box<Relabel>),
    /// `info`.
    Info(Box<Info>),
    /// An aggregation.
    Aggregate(Box<Aggregation>),
    /// An operator between two vectors.
    Binary(Box<VectorBinary>),
    /// An operator between a vector and a scalar.
    ScalarBinary(Box<VectorScalarBinary>),
    /// `-v`
    Negate(Box<VectorNode>),
    /// Evaluated at the first step, valid for all.
    StepInvariant(Box<VectorNode>),
    /// Written more than once.
    Shared(Box<Shared>),
}

/// An instant selector.
#[derive(Debug, Clone)]
pub struct Select {
    /// Its data.
    pub fetch: FetchId,
    /// Where it looks.
    pub reference: Reference,
    /// Interpolates between the samples around the time.
    pub smoothed: bool,
    /// Whether an equality matcher fixes the metric name.
    pub one_name: bool,
    /// Only count and sum of histograms are used.
    pub stats_only: bool,
    /// Where it stands.
    pub span: Span,
}

/// Which time of a sample.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SampleTime {
    /// When it was taken.
    Timestamp,
    /// The same for floats; histograms stay what they are.
    OfFloats,
    /// When its counting began.
    Start,
}

/// A range vector.
#[derive(Debug, Clone)]
pub struct RangeNode {
    /// Where samples come from.
    pub source: RangeSource,
    /// Where it looks.
    pub reference: Reference,
    /// How far back, left-open.
    pub range_ms: i64,
    /// How samples at the edges are treated.
    pub edges: Edges,
    /// What annotations name as its place.
    pub span: Span,
}

impl RangeNode {
    /// The ranges that evaluations on `grid` look at.
    pub fn windows(&self, grid: Grid) -> Windows {
        Windows {
            first_end_ms: self.reference.time(grid.start_ms),
            step_ms: if self.reference.at_ms.is_some() { 0 } else { grid.step_ms },
            steps: grid.steps,
            range_ms: self.range_ms,
        }
    }

    /// The same with the samples beyond their edges that are looked at too, as far away as `lookback_ms`.
    pub fn windows_with_edges(&self, grid: Grid, lookback_ms: i64) -> Windows {
        let (before, after) = match self.edges {
            Edges::Plain => (0, 0),
            Edges::Anchored => (lookback_ms, 0),
            Edges::Smoothed => (lookback_ms, lookback_ms),
        };
        let plain = self.windows(grid);
        Windows {
            first_end_ms: plain.first_end_ms + after,
            range_ms: before + self.range_ms + after,
            ..plain
        }
    }
}

/// Where the samples of a range come from.
#[derive(Debug, Clone)]
pub enum RangeSource {
    /// Stored samples.
    Selector {
        /// Their data.
        fetch: FetchId,
        /// Whether an equality matcher fixes the metric name.
        one_name: bool,
        /// Only count and sum of histograms are used.
        stats_only: bool,
    },
    /// The results of an expression, every so many milliseconds.
    Subquery(Box<VectorNode>, i64),
}

/// How a range treats its edges.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Edges {
    /// Only samples inside count.
    Plain,
    /// The last sample at or before the range's start counts as one at its start.
    Anchored,
    /// Values at both edges are interpolated.
    Smoothed,
}

/// A function of a range vector.
#[derive(Debug, Clone)]
pub struct RangeCall {
    /// Which.
    pub func: RangeFn,
    /// Its name.
    pub name: &'static str,
    /// The range vector.
    pub range: RangeNode,
    /// The other arguments, in order.
    pub params: Vec<ScalarNode>,
}

/// A function of each sample.
#[derive(Debug, Clone)]
pub struct Map {
    /// Which.
    pub func: MapFn,
    /// The vector.
    pub arg: VectorNode,
    /// The other arguments, in order.
    pub params: Vec<ScalarNode>,
}

/// Functions of one sample.
#[derive(Debug, Clone, Copy)]
pub enum MapFn {
    /// A function of a float; histograms are left out.
    Float(fn(f64) -> f64),
    /// `round(v, to)`
    Round,
    /// `clamp(v, min, max)`; one bound may be infinite.
    Clamp,
    /// A part of the date that the value stands for.
    Date(DatePart),
    /// A function of a histogram; floats are left out.
    Histogram(fn(&cairn_model::FloatHistogram) -> f64),
    /// The time of the evaluation.
    EvalTime,
}

/// Estimates from buckets, classic or native.
#[derive(Debug, Clone)]
pub struct BucketCall {
    /// What is estimated.
    pub func: BucketFn,
    /// The vector of buckets and native histograms.
    pub arg: VectorNode,
    /// Where it stands.
    pub arg_span: Span,
}

/// What a [`BucketCall`] estimates.
#[derive(Debug, Clone)]
pub enum BucketFn {
    /// `histogram_quantile`
    Quantile(ScalarNode, Span),
    /// `histogram_quantiles`: the label that tells the quantiles apart, and the quantiles.
    Quantiles(String, Vec<(ScalarNode, Span)>),
    /// `histogram_fraction`: lower and upper bound.
    Fraction(ScalarNode, ScalarNode),
}

/// Sorting.
#[derive(Debug, Clone)]
pub struct Sort {
    /// By value, or by these labels.
    pub by_labels: Option<Vec<String>>,
    /// The greatest first.
    pub descending: bool,
    /// What is sorted.
    pub arg: VectorNode,
    /// Where the call stands.
    pub span: Span,
}

/// A change of labels.
#[derive(Debug, Clone)]
pub struct Relabel {
    /// What is changed.
    pub arg: VectorNode,
    /// The label that is set.
    pub target: String,
    /// To what.
    pub rule: RelabelRule,
}

/// Where a new label value comes from.
#[derive(Debug, Clone)]
pub enum RelabelRule {
    /// `label_replace`
    Replace {
        /// The label that is matched.
        source: String,
        /// With what.
        regex: regex::Regex,
        /// Template of the new value.
        replacement: String,
    },
    /// `label_join`
    Join {
        /// Between the values.
        separator: String,
        /// Whose values are joined.
        sources: Vec<String>,
    },
}

/// `info(v, selector)`.
#[derive(Debug, Clone)]
pub struct Info {
    /// What is enriched.
    pub arg: VectorNode,
    /// The info series.
    pub fetch: FetchId,
    /// Where they are looked up.
    pub reference: Reference,
    /// Conditions on the data labels, without those on the name.
    pub data_matchers: Vec<Matcher>,
    /// Conditions on the info metrics' names.
    pub name_matchers: Vec<Matcher>,
}

/// An aggregation.
#[derive(Debug, Clone)]
pub struct Aggregation {
    /// What is computed.
    pub op: AggregateOp,
    /// Of what.
    pub arg: VectorNode,
    /// `k`, φ or ratio.
    pub param: Option<ScalarNode>,
    /// `count_values`' label.
    pub value_label: String,
    /// Sorted, unique.
    pub grouping: Vec<String>,
    /// Whether `grouping` is of `without`.
    pub without: bool,
    /// Where the aggregation stands.
    pub span: Span,
    /// Where its vector stands.
    pub arg_span: Span,
    /// Where its parameter stands.
    pub param_span: Span,
}

/// An operator between two vectors.
#[derive(Debug, Clone)]
pub struct VectorBinary {
    /// Which.
    pub op: BinaryOp,
    /// Left side.
    pub lhs: VectorNode,
    /// Right side.
    pub rhs: VectorNode,
    /// How series pair up.
    pub matching: VectorMatching,
    /// Comparisons give 0 or 1.
    pub return_bool: bool,
    /// Where it stands.
    pub span: Span,
}

/// An operator between a vector and a scalar.
#[derive(Debug, Clone)]
pub struct VectorScalarBinary {
    /// Which.
    pub op: BinaryOp,
    /// The vector.
    pub vector: VectorNode,
    /// The scalar.
    pub scalar: ScalarNode,
    /// Whether the scalar is the left side.
    pub scalar_left: bool,
    /// Comparisons give 0 or 1.
    pub return_bool: bool,
    /// Where it stands.
    pub span: Span,
}
