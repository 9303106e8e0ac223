//! From the syntax tree to the [`Plan`]: pure, one pass, no data is looked at.
//!
//! On the way down go the grid of evaluation times and what surrounds a selector (for hints); on the way up comes
//! whether a part is step-invariant. A part is step-invariant when everything it reads is pinned by `@` and no
//! function in it depends on the evaluation's time.

use cairn_model::labels::METRIC_NAME;
use cairn_model::storage::{SelectHints, WantedLabels};
use cairn_model::{Labels, LabelsBuilder, MatchOp, Matcher, TimestampMs};

use super::downsampled::Aggregate;
use super::error::QueryError;
use super::grid::{Grid, Reference, subquery_grid};
use super::plan::*;
use crate::functions::date::DatePart;
use crate::functions::range_fn::RangeFn;
use crate::functions::scalar_fn;
use crate::parser::ValueType;
use crate::parser::ast::{
    AggregateExpr, AggregateOp, At, BinaryExpr, BinaryOp, Call, Expr, MatrixSelector, Span, SubqueryExpr,
    UnaryOp, VectorSelector,
};
use crate::parser::duration::{DurationArg, DurationContext};

/// What planning needs to know beside the tree.
#[derive(Debug, Clone, Copy)]
pub struct PlanOptions {
    /// How long a sample stands for its series.
    pub lookback_ms: i64,
    /// Resolution of subqueries that name none.
    pub default_subquery_step_ms: i64,
    /// Steps of a query or subquery.
    pub max_steps: u64,
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
    let mut planner = Planner { query, times, options, fetches: Vec::new() };
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
    Ok(Plan { root, grid, instant, fetches: planner.fetches })
}

struct Planner<'q> {
    query: &'q str,
    times: PlanTimes,
    options: PlanOptions,
    fetches: Vec<Fetch>,
}

/// What surrounds the part that is planned.
#[derive(Clone, Copy)]
struct Scope<'e> {
    grid: Grid,
    step_hint_ms: i64,
    /// The nearest function or aggregation, unless an operator stands between.
    func: &'static str,
    /// Labels of the aggregation right around, and whether they are of `by`.
    grouping: Option<(&'e [String], bool)>,
    /// The aggregation that a selector, perhaps within a range function, goes into and vanishes in.
    reduced: Option<&'e AggregateExpr>,
    buckets: Buckets,
}

/// Whether the buckets of histograms are used by what surrounds a selector.
#[derive(Clone, Copy, PartialEq)]
enum Buckets {
    /// As far as is known.
    Used,
    /// Only count and sum come out.
    Unused,
    /// Something further out needs them, whatever stands in between.
    Needed,
}

impl<'e> Scope<'e> {
    fn inside(self, func: &'static str) -> Self {
        let buckets = match (self.buckets, func) {
            (Buckets::Needed, _) => Buckets::Needed,
            (_, "histogram_quantile" | "histogram_quantiles" | "histogram_fraction") => Buckets::Needed,
            (_, "histogram_count" | "histogram_sum" | "histogram_avg") => Buckets::Unused,
            (buckets, _) => buckets,
        };
        Scope { func, grouping: None, reduced: None, buckets, ..self }
    }

    fn stats_only(&self) -> bool {
        self.buckets == Buckets::Unused
    }
}

struct Built<T> {
    node: T,
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

    fn scalar_once(&self, b: Built<ScalarNode>, scope: Scope<'_>) -> ScalarNode {
        match b.node {
            ScalarNode::Number(_) => b.node,
            node if b.invariant && scope.grid.steps > 1 => ScalarNode::StepInvariant(Box::new(node)),
            node => node,
        }
    }

    // ---- scalars

    fn scalar(&mut self, expr: &'q Expr, scope: Scope<'q>) -> Result<Built<ScalarNode>, QueryError> {
        match expr {
            Expr::Number(n) => Ok(built(ScalarNode::Number(n.value), true)),
            Expr::Paren(p) => self.scalar(&p.expr, scope),
            Expr::Unary(u) => {
                let arg = self.scalar(&u.expr, scope)?;
                Ok(match (u.op, arg.node) {
                    (UnaryOp::Plus, node) => built(node, arg.invariant),
                    (UnaryOp::Minus, ScalarNode::Number(v)) => built(ScalarNode::Number(-v), true),
                    (UnaryOp::Minus, node) => built(ScalarNode::Negate(Box::new(node)), arg.invariant),
                })
            }
            Expr::Binary(b) => {
                let scope = scope.inside("");
                let (lhs, rhs) = (self.scalar(&b.lhs, scope)?, self.scalar(&b.rhs, scope)?);
                let invariant = lhs.invariant && rhs.invariant;
                if let (ScalarNode::Number(l), ScalarNode::Number(r)) = (&lhs.node, &rhs.node) {
                    return Ok(built(ScalarNode::Number(scalar_fn::binary(b.op, *l, *r)), true));
                }
                let [lhs, rhs] = self.operands([lhs, rhs], scope);
                Ok(built(ScalarNode::Binary(b.op, lhs, rhs), invariant))
            }
            Expr::Call(c) => self.scalar_call(c, scope),
            other => Err(unexpected("a number", other)),
        }
    }

    fn operands(&self, sides: [Built<ScalarNode>; 2], scope: Scope<'_>) -> [Box<ScalarNode>; 2] {
        let both = sides.iter().all(|s| s.invariant);
        sides.map(|s| Box::new(if both { s.node } else { self.scalar_once(s, scope) }))
    }

    fn scalar_call(&mut self, c: &'q Call, scope: Scope<'q>) -> Result<Built<ScalarNode>, QueryError> {
        let scope = scope.inside(c.func.name);
        let number = |v: f64| Ok(built(ScalarNode::Number(v), true));
        match c.func.name {
            "time" => Ok(built(ScalarNode::Time, false)),
            "pi" => number(std::f64::consts::PI),
            "start" => number(self.times.start_ms as f64 / 1000.0),
            "end" => number(self.times.end_ms as f64 / 1000.0),
            "range" => number((self.times.end_ms - self.times.start_ms) as f64 / 1000.0),
            // A range query of a single time has no step, as an instant query has none.
            "step" if self.times.start_ms == self.times.end_ms => number(0.0),
            "step" => number(self.times.step_ms as f64 / 1000.0),
            "scalar" => {
                let arg = self.vector(&c.args[0], scope)?;
                Ok(built(ScalarNode::OfVector(Box::new(arg.node)), arg.invariant))
            }
            "max_of" | "min_of" => {
                let sides = [self.scalar(&c.args[0], scope)?, self.scalar(&c.args[1], scope)?];
                let invariant = sides.iter().all(|s| s.invariant);
                let [a, b] = self.operands(sides, scope);
                let node =
                    if c.func.name == "max_of" { ScalarNode::MaxOf(a, b) } else { ScalarNode::MinOf(a, b) };
                Ok(built(node, invariant))
            }
            name => Err(QueryError::Parse(format!("function {name:?} is not known to this engine"))),
        }
    }

    // ---- instant vectors

    fn vector(&mut self, expr: &'q Expr, scope: Scope<'q>) -> Result<Built<VectorNode>, QueryError> {
        match expr {
            Expr::Vector(v) => {
                let select = self.select(v, scope)?;
                let invariant = select.reference.at_ms.is_some();
                Ok(built(VectorNode::Select(select), invariant))
            }
            Expr::Paren(p) => self.vector(&p.expr, scope),
            Expr::Unary(u) => {
                let arg = self.vector(&u.expr, Scope { reduced: None, ..scope })?;
                Ok(match u.op {
                    UnaryOp::Plus => arg,
                    UnaryOp::Minus => built(VectorNode::Negate(Box::new(arg.node)), arg.invariant),
                })
            }
            Expr::Call(c) => self.call(c, scope),
            Expr::Aggregate(a) => self.aggregate(a, scope),
            Expr::Binary(b) => self.binary(b, scope),
            other => Err(unexpected("an instant vector", other)),
        }
    }

    fn select(&mut self, v: &'q VectorSelector, scope: Scope<'q>) -> Result<Select, QueryError> {
        let reference = self.reference(v.offset.as_ref(), v.at)?;
        let (first, last) = reference.bounds(scope.grid);
        let lookback = self.options.lookback_ms;
        let max_ms = if v.smoothed { last.saturating_add(lookback) } else { last };
        let stats_only = scope.stats_only();
        let labels = match scope.reduced {
            // Sums name the metric where its histograms do not fit together.
            Some(a) => self.labels_of(a, v.smoothed || matches!(a.op, AggregateOp::Sum | AggregateOp::Avg)),
            None => WantedLabels::All,
        };
        let newest_only = first == last && !v.smoothed && !stats_only;
        let min_ms = first.saturating_sub(lookback - 1);
        let fetch = self.fetch(v, (min_ms, max_ms), scope, |f| {
            f.labels = labels;
            f.hints.newest_only = newest_only;
        });
        Ok(Select {
            fetch,
            reference,
            smoothed: v.smoothed,
            one_name: has_one_name(v),
            stats_only,
            span: v.span,
        })
    }

    fn call(&mut self, c: &'q Call, outer: Scope<'q>) -> Result<Built<VectorNode>, QueryError> {
        let scope = outer.inside(c.func.name);
        let name = c.func.name;
        if let Some(func) = RangeFn::of_name(name) {
            return self.range_call(c, func, Scope { reduced: outer.reduced, ..scope });
        }
        if let Some(part) = DatePart::of_function(name) {
            let Some(arg) = c.args.first() else {
                return Ok(built(VectorNode::DateNow(part), false));
            };
            let arg = self.vector(arg, scope)?;
            let arg = self.once(arg, scope); // the functions count as depending on the evaluation's time
            return Ok(built(map(MapFn::Date(part), arg, Vec::new()), false));
        }
        if let Some(f) = scalar_fn::float_function(name) {
            let arg = self.vector(&c.args[0], scope)?;
            return Ok(built(map(MapFn::Float(f), arg.node, Vec::new()), arg.invariant));
        }
        if let Some(f) = scalar_fn::histogram_function(name) {
            let arg = self.vector(&c.args[0], scope)?;
            return Ok(built(map(MapFn::Histogram(f), arg.node, Vec::new()), arg.invariant));
        }
        match name {
            "timestamp" | "start_timestamp" => self.sample_time(c, scope),
            "vector" => {
                let s = self.scalar(&c.args[0], scope)?;
                Ok(built(VectorNode::OfScalar(s.node), s.invariant))
            }
            "absent" => {
                let arg = self.vector(&c.args[0], scope)?;
                let labels = absent_labels(&c.args[0]);
                Ok(built(VectorNode::Absent(Box::new(arg.node), labels), arg.invariant))
            }
            "absent_over_time" => {
                let range = self.range(&c.args[0], scope)?;
                self.check_edges(&range.node, name, false, false)?;
                let labels = absent_labels(&c.args[0]);
                Ok(built(VectorNode::AbsentOverTime(Box::new(range.node), labels), range.invariant))
            }
            "round" | "clamp" | "clamp_min" | "clamp_max" => self.parametrised(c, scope),
            "histogram_quantile" | "histogram_quantiles" | "histogram_fraction" => self.bucket_call(c, scope),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => self.sort(c, scope),
            "label_replace" | "label_join" => self.relabel(c, scope),
            "info" => self.info(c, scope),
            _ => Err(QueryError::Parse(format!("function {name:?} is not known to this engine"))),
        }
    }

    fn range_call(
        &mut self,
        c: &'q Call,
        func: RangeFn,
        scope: Scope<'q>,
    ) -> Result<Built<VectorNode>, QueryError> {
        let at = c
            .args
            .iter()
            .position(|a| a.value_type() == ValueType::Matrix)
            .ok_or_else(|| QueryError::Internal(format!("{} without a range vector", c.func.name)))?;
        let mut range = self.range(&c.args[at], scope)?;
        if at > 0 {
            range.node.span = c.args[0].unwrap_parens().span(); // annotations stand at the first argument
        }
        self.check_edges(&range.node, c.func.name, func.allows_anchored(), func.allows_smoothed())?;
        let mut params = Vec::new();
        for (_, arg) in c.args.iter().enumerate().filter(|(i, _)| *i != at) {
            params.push(self.scalar(arg, Scope { reduced: None, ..scope })?);
        }
        let safe = func != RangeFn::PredictLinear; // it predicts from the evaluation's time
        let invariant = safe && range.invariant && params.iter().all(|p| p.invariant);
        let params =
            params.into_iter().map(|p| if invariant { p.node } else { self.scalar_once(p, scope) }).collect();
        let call = RangeCall { func, name: c.func.name, range: range.node, params };
        Ok(built(VectorNode::RangeCall(Box::new(call)), invariant))
    }

    fn check_edges(
        &self,
        range: &RangeNode,
        name: &str,
        anchored: bool,
        smoothed: bool,
    ) -> Result<(), QueryError> {
        let (modifier, allowed) = match range.edges {
            Edges::Anchored if !anchored => ("anchored", "changes, delta, increase, rate, resets"),
            Edges::Smoothed if !smoothed => ("smoothed", "delta, increase, rate"),
            _ => return Ok(()),
        };
        Err(QueryError::Execution(format!(
            "{modifier} modifier can only be used with: {allowed} - not with {name}"
        )))
    }

    fn sample_time(&mut self, c: &'q Call, scope: Scope<'q>) -> Result<Built<VectorNode>, QueryError> {
        let timestamp = c.func.name == "timestamp";
        if let Expr::Vector(v) = c.args[0].unwrap_parens() {
            let select = self.select(v, scope)?;
            let invariant = select.reference.at_ms.is_some();
            let which = if timestamp { SampleTime::Timestamp } else { SampleTime::Start };
            return Ok(built(VectorNode::SampleTime { select, which }, invariant));
        }
        let arg = self.vector(&c.args[0], scope)?;
        if timestamp {
            let arg = self.once(arg, scope);
            return Ok(built(map(MapFn::EvalTime, arg, Vec::new()), false));
        }
        // Only selectors carry start timestamps.
        Ok(built(VectorNode::Empty, arg.invariant))
    }

    /// `round` and the clamps.
    fn parametrised(&mut self, c: &'q Call, scope: Scope<'q>) -> Result<Built<VectorNode>, QueryError> {
        let arg = self.vector(&c.args[0], scope)?;
        let mut params = Vec::new();
        for p in &c.args[1..] {
            params.push(self.scalar(p, scope)?);
        }
        let invariant = arg.invariant && params.iter().all(|p| p.invariant);
        let (arg, mut params) = if invariant {
            (arg.node, params.into_iter().map(|p| p.node).collect::<Vec<_>>())
        } else {
            let params = params.into_iter().map(|p| self.scalar_once(p, scope)).collect();
            (self.once(arg, scope), params)
        };
        let func = match c.func.name {
            "round" => {
                if params.is_empty() {
                    params.push(ScalarNode::Number(1.0));
                }
                MapFn::Round
            }
            "clamp_min" => {
                params.push(ScalarNode::Number(f64::INFINITY));
                MapFn::Clamp
            }
            "clamp_max" => {
                params.insert(0, ScalarNode::Number(f64::NEG_INFINITY));
                MapFn::Clamp
            }
            _ => MapFn::Clamp,
        };
        Ok(built(map(func, arg, params), invariant))
    }

    fn bucket_call(&mut self, c: &'q Call, scope: Scope<'q>) -> Result<Built<VectorNode>, QueryError> {
        let vector_at = match c.func.name {
            "histogram_quantiles" => 0,
            "histogram_quantile" => 1,
            _ => 2,
        };
        let arg = self.vector(&c.args[vector_at], scope)?;
        let mut scalars = Vec::new();
        for a in c.args.iter().filter(|a| a.value_type() == ValueType::Scalar) {
            scalars.push((self.scalar(a, scope)?, a.unwrap_parens().span()));
        }
        let invariant = arg.invariant && scalars.iter().all(|(s, _)| s.invariant);
        let arg = if invariant { arg.node } else { self.once(arg, scope) };
        let mut scalars: Vec<(ScalarNode, Span)> = scalars
            .into_iter()
            .map(|(s, span)| (if invariant { s.node } else { self.scalar_once(s, scope) }, span))
            .collect();
        let func = match c.func.name {
            "histogram_quantiles" => BucketFn::Quantiles(text(&c.args[1])?.to_owned(), scalars),
            "histogram_quantile" => {
                let (q, span) = scalars.remove(0);
                BucketFn::Quantile(q, span)
            }
            _ => {
                let (lower, _) = scalars.remove(0);
                BucketFn::Fraction(lower, scalars.remove(0).0)
            }
        };
        let arg_span = c.args[vector_at].unwrap_parens().span();
        Ok(built(VectorNode::BucketCall(Box::new(BucketCall { func, arg, arg_span })), invariant))
    }

    fn sort(&mut self, c: &'q Call, scope: Scope<'q>) -> Result<Built<VectorNode>, QueryError> {
        let arg = self.vector(&c.args[0], scope)?;
        let by_labels = if c.func.name.contains("by_label") {
            Some(c.args[1..].iter().map(|a| text(a).map(str::to_owned)).collect::<Result<_, _>>()?)
        } else {
            None
        };
        let descending = c.func.name.ends_with("_desc");
        let sort = Sort { by_labels, descending, arg: arg.node, span: c.span };
        Ok(built(VectorNode::Sort(Box::new(sort)), arg.invariant))
    }

    fn relabel(&mut self, c: &'q Call, scope: Scope<'q>) -> Result<Built<VectorNode>, QueryError> {
        let name = c.func.name;
        let target = text(&c.args[1])?;
        let rule = if name == "label_replace" {
            let pattern = text(&c.args[4])?;
            let regex = cairn_model::matcher::anchored_regex(pattern).map_err(|_| {
                QueryError::Execution(format!("invalid regular expression in label_replace(): {pattern}"))
            })?;
            RelabelRule::Replace {
                source: text(&c.args[3])?.to_owned(),
                regex,
                replacement: text(&c.args[2])?.to_owned(),
            }
        } else {
            let sources: Vec<String> =
                c.args[3..].iter().map(|a| text(a).map(str::to_owned)).collect::<Result<_, _>>()?;
            if let Some(bad) = sources.iter().find(|s| s.is_empty()) {
                return Err(QueryError::Execution(format!(
                    "invalid source label name in label_join(): {bad}"
                )));
            }
            RelabelRule::Join { separator: text(&c.args[2])?.to_owned(), sources }
        };
        if target.is_empty() {
            return Err(QueryError::Execution(format!(
                "invalid destination label name in {name}(): {target}"
            )));
        }
        let arg = self.vector(&c.args[0], scope)?;
        let relabel = Relabel { arg: arg.node, target: target.to_owned(), rule };
        Ok(built(VectorNode::Relabel(Box::new(relabel)), arg.invariant))
    }

    fn info(&mut self, c: &'q Call, scope: Scope<'q>) -> Result<Built<VectorNode>, QueryError> {
        let arg = self.vector(&c.args[0], scope)?;
        let reference = self.first_reference(&c.args[0])?.unwrap_or_default();
        let given: &[Matcher] = match c.args.get(1).map(Expr::unwrap_parens) {
            Some(Expr::Vector(v)) => &v.matchers,
            None => &[],
            Some(other) => return Err(unexpected("a label selector", other)),
        };
        let (names, data_matchers): (Vec<_>, Vec<_>) =
            given.iter().cloned().partition(|m| m.name == METRIC_NAME);
        let name_matchers = info_name_matchers(names);
        let (first, last) = reference.bounds(scope.grid);
        let matchers = name_matchers.iter().chain(&data_matchers).cloned().collect();
        let fetch = self.add_fetch(Fetch {
            matchers,
            min_ms: first.saturating_sub(self.options.lookback_ms - 1),
            max_ms: last,
            labels: WantedLabels::All,
            hints: SelectHints { step_ms: scope.step_hint_ms, func: "info".into(), ..SelectHints::default() },
            aggregate: Aggregate::Average,
            text: c.span.text(self.query).to_owned(),
        });
        let info = Info { arg: arg.node, fetch, reference, data_matchers, name_matchers };
        Ok(built(VectorNode::Info(Box::new(info)), arg.invariant && reference.at_ms.is_some()))
    }

    /// The reference time of the first selector in `expr`: the innermost `@` on the way to it pins it, offsets up
    /// to there add up.
    fn first_reference(&self, expr: &Expr) -> Result<Option<Reference>, QueryError> {
        match expr {
            Expr::Vector(v) => Ok(Some(self.reference(v.offset.as_ref(), v.at)?)),
            Expr::Matrix(m) => Ok(Some(self.reference(m.selector.offset.as_ref(), m.selector.at)?)),
            Expr::Subquery(s) => {
                let outer = self.reference(s.offset.as_ref(), s.at)?;
                Ok(self.first_reference(&s.expr)?.map(|r| match r.at_ms {
                    Some(_) => r,
                    None => Reference { at_ms: outer.at_ms, offset_ms: r.offset_ms + outer.offset_ms },
                }))
            }
            other => {
                for child in other.children() {
                    if let Some(r) = self.first_reference(child)? {
                        return Ok(Some(r));
                    }
                }
                Ok(None)
            }
        }
    }

    fn aggregate(&mut self, a: &'q AggregateExpr, outer: Scope<'q>) -> Result<Built<VectorNode>, QueryError> {
        let scope = Scope { grouping: Some((&a.grouping, !a.without)), ..outer.inside(a.op.as_str()) };
        use AggregateOp::*;
        let gives_series_back = matches!(a.op, Topk | Bottomk | Limitk | LimitRatio | CountValues);
        let reduced = (!a.without && !gives_series_back).then_some(a);
        let arg = self.vector(a.expr.unwrap_parens(), Scope { reduced, ..scope })?;
        let (mut param, mut value_label, mut param_span) = (None, String::new(), Span::default());
        match a.param.as_ref().map(Expr::unwrap_parens) {
            Some(Expr::String(s)) => {
                if s.value.is_empty() {
                    return Err(QueryError::Execution("invalid label name \"\"".to_owned()));
                }
                value_label.clone_from(&s.value);
            }
            Some(p) => {
                param_span = p.span();
                param = Some(self.scalar(p, scope.inside(a.op.as_str()))?);
            }
            None => {}
        }
        let invariant = arg.invariant && param.as_ref().is_none_or(|p| p.invariant);
        let (arg, param) = if invariant {
            (arg.node, param.map(|p| p.node))
        } else {
            (self.once(arg, scope), param.map(|p| self.scalar_once(p, scope)))
        };
        let mut grouping = a.grouping.clone();
        if !value_label.is_empty() && !a.without {
            grouping.push(value_label.clone());
        }
        grouping.sort();
        grouping.dedup();
        let node = Aggregation {
            op: a.op,
            arg,
            param,
            value_label,
            grouping,
            without: a.without,
            span: a.span,
            arg_span: a.expr.unwrap_parens().span(),
            param_span,
        };
        Ok(built(VectorNode::Aggregate(Box::new(node)), invariant))
    }

    fn binary(&mut self, b: &'q BinaryExpr, outer: Scope<'q>) -> Result<Built<VectorNode>, QueryError> {
        let mut scope = outer.inside("");
        if b.op.is_trim() {
            scope.buckets = Buckets::Needed;
        }
        let left_scalar = b.lhs.value_type() == ValueType::Scalar;
        let right_scalar = b.rhs.value_type() == ValueType::Scalar;
        if left_scalar || right_scalar {
            let (scalar, vector) = if left_scalar { (&b.lhs, &b.rhs) } else { (&b.rhs, &b.lhs) };
            let (scalar, vector) = (self.scalar(scalar, scope)?, self.vector(vector, scope)?);
            let invariant = scalar.invariant && vector.invariant;
            let (scalar, vector) = if invariant {
                (scalar.node, vector.node)
            } else {
                (self.scalar_once(scalar, scope), self.once(vector, scope))
            };
            let node = VectorScalarBinary {
                op: b.op,
                vector,
                scalar,
                scalar_left: left_scalar,
                return_bool: b.return_bool,
                span: b.span,
            };
            return Ok(built(VectorNode::ScalarBinary(Box::new(node)), invariant));
        }
        let (lhs, rhs) = (self.vector(&b.lhs, scope)?, self.vector(&b.rhs, scope)?);
        let invariant = lhs.invariant && rhs.invariant;
        let (lhs, rhs) =
            if invariant { (lhs.node, rhs.node) } else { (self.once(lhs, scope), self.once(rhs, scope)) };
        let matching = b.matching.clone().unwrap_or_default();
        let node = VectorBinary { op: b.op, lhs, rhs, matching, return_bool: b.return_bool, span: b.span };
        Ok(built(VectorNode::Binary(Box::new(node)), invariant))
    }

    // ---- range vectors

    fn range(&mut self, expr: &'q Expr, scope: Scope<'q>) -> Result<Built<RangeNode>, QueryError> {
        match expr {
            Expr::Paren(p) => self.range(&p.expr, scope),
            Expr::Matrix(m) => self.matrix(m, scope),
            Expr::Subquery(s) => self.subquery(s, scope),
            other => Err(unexpected("a range vector", other)),
        }
    }

    fn matrix(&mut self, m: &'q MatrixSelector, scope: Scope<'q>) -> Result<Built<RangeNode>, QueryError> {
        let v = &m.selector;
        let reference = self.reference(v.offset.as_ref(), v.at)?;
        let range_ms = m.range.resolve_positive(self.durations())?;
        let lookback = self.options.lookback_ms;
        let (edges, before, after) = match (v.anchored, v.smoothed) {
            (true, _) => (Edges::Anchored, lookback, 0),
            (_, true) => (Edges::Smoothed, lookback, lookback),
            _ => (Edges::Plain, 0, 0),
        };
        let (first, last) = reference.bounds(scope.grid);
        let min_ms = first.saturating_sub(range_ms.saturating_add(before)).saturating_add(1);
        let one_name = has_one_name(v);
        let labels = match scope.reduced {
            // Series of several names could no longer be told apart, which is an error.
            Some(a) if one_name => self.labels_of(a, true),
            _ => WantedLabels::All,
        };
        let fetch = self.fetch(v, (min_ms, last.saturating_add(after)), scope, |f| {
            f.labels = labels;
            f.hints.range_ms = range_ms;
        });
        let source = RangeSource::Selector { fetch, one_name, stats_only: scope.stats_only() };
        let node = RangeNode { source, reference, range_ms, edges, span: m.span };
        Ok(built(node, reference.at_ms.is_some()))
    }

    fn subquery(&mut self, s: &'q SubqueryExpr, scope: Scope<'q>) -> Result<Built<RangeNode>, QueryError> {
        let reference = self.reference(s.offset.as_ref(), s.at)?;
        let range_ms = s.range.resolve_positive(self.durations())?;
        let step_ms = match &s.step {
            Some(step) => step.resolve_positive(self.durations())?,
            None => self.options.default_subquery_step_ms,
        };
        let inner = subquery_grid(scope.grid, reference, range_ms, step_ms);
        self.check_steps(inner, s.span)?;
        // Resets inside a subquery are found by the buckets.
        let inner_scope = Scope {
            grid: inner,
            step_hint_ms: step_ms,
            buckets: Buckets::Needed,
            ..scope.inside(scope.func)
        };
        let arg = self.vector(&s.expr, inner_scope)?;
        let arg = self.once(arg, inner_scope);
        let source = RangeSource::Subquery(Box::new(arg), step_ms);
        // Prometheus' annotations about a subquery's samples stand at the query's start.
        let node = RangeNode { source, reference, range_ms, edges: Edges::Plain, span: Span::default() };
        Ok(built(node, reference.at_ms.is_some()))
    }

    // ---- leaves

    fn check_steps(&self, grid: Grid, span: Span) -> Result<(), QueryError> {
        let (needed, limit) = (grid.steps as u64, self.options.max_steps);
        if needed <= limit {
            return Ok(());
        }
        let culprit = span.text(self.query).to_owned();
        Err(QueryError::Budget { what: "steps", needed, limit, culprit })
    }

    fn durations(&self) -> DurationContext {
        DurationContext {
            step_ms: self.times.step_ms,
            range_ms: self.times.end_ms.saturating_sub(self.times.start_ms),
        }
    }

    fn reference(&self, offset: Option<&DurationArg>, at: Option<At>) -> Result<Reference, QueryError> {
        let offset_ms = offset.map_or(Ok(0), |o| o.resolve_signed(self.durations()))?;
        let at_ms = at.map(|at| match at {
            At::TimestampMs(t) => t,
            At::Start => self.times.start_ms,
            At::End => self.times.end_ms,
        });
        Ok(Reference { at_ms, offset_ms })
    }

    /// Adds the fetch of a selector, with what `details` knows of its use.
    fn fetch(
        &mut self,
        v: &VectorSelector,
        (min_ms, max_ms): (TimestampMs, TimestampMs),
        scope: Scope<'_>,
        details: impl FnOnce(&mut Fetch),
    ) -> FetchId {
        let (grouping, by) = scope.grouping.map_or((Vec::new(), false), |(g, by)| (g.to_vec(), by));
        let hints = SelectHints {
            step_ms: scope.step_hint_ms,
            func: scope.func.to_owned(),
            grouping,
            by,
            ..SelectHints::default()
        };
        let mut fetch = Fetch {
            matchers: v.matchers.clone(),
            min_ms,
            max_ms,
            labels: WantedLabels::All,
            hints,
            aggregate: Aggregate::for_function(scope.func),
            text: v.span.text(self.query).to_owned(),
        };
        details(&mut fetch);
        self.add_fetch(fetch)
    }

    /// The labels that are looked at when `a` reduces series as they come.
    fn labels_of(&self, a: &AggregateExpr, metric_name: bool) -> WantedLabels {
        if self.options.type_and_unit_labels {
            return WantedLabels::All;
        }
        let mut names = a.grouping.clone();
        names.extend(metric_name.then(|| METRIC_NAME.to_owned()));
        names.sort_unstable();
        names.dedup();
        WantedLabels::Only(names)
    }

    /// Reads of the same data share one fetch, whatever surrounds them. It serves all of them.
    fn add_fetch(&mut self, fetch: Fetch) -> FetchId {
        let same_matcher = |a: &Matcher, b: &Matcher| a.op == b.op && a.name == b.name && a.value == b.value;
        let same = |f: &Fetch| {
            (f.min_ms, f.max_ms, f.aggregate) == (fetch.min_ms, fetch.max_ms, fetch.aggregate)
                && f.matchers.len() == fetch.matchers.len()
                && f.matchers.iter().zip(&fetch.matchers).all(|(a, b)| same_matcher(a, b))
        };
        let Some(id) = self.fetches.iter().position(same) else {
            self.fetches.push(fetch);
            return FetchId(self.fetches.len() - 1);
        };
        let shared = &mut self.fetches[id];
        shared.labels = std::mem::take(&mut shared.labels).and(&fetch.labels);
        shared.hints.newest_only &= fetch.hints.newest_only;
        FetchId(id)
    }
}

fn map(func: MapFn, arg: VectorNode, params: Vec<ScalarNode>) -> VectorNode {
    VectorNode::Map(Box::new(Map { func, arg, params }))
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

fn has_one_name(v: &VectorSelector) -> bool {
    v.matchers.iter().any(|m| m.name == METRIC_NAME && m.op == MatchOp::Equal && !m.value.is_empty())
}

/// The labels that the equality matchers of a selector fix; a label that is matched twice is left out.
fn absent_labels(expr: &Expr) -> Labels {
    let matchers = match expr.unwrap_parens() {
        Expr::Vector(v) => &v.matchers,
        Expr::Matrix(m) => &m.selector.matchers,
        _ => return Labels::empty(),
    };
    let mut b = LabelsBuilder::new();
    let mut seen: Vec<&str> = Vec::new();
    for m in matchers.iter().filter(|m| m.name != METRIC_NAME) {
        if m.op == MatchOp::Equal && !seen.contains(&m.name.as_str()) {
            b.set(&m.name, &m.value);
            seen.push(&m.name);
        } else {
            b.remove(&m.name);
        }
    }
    b.build()
}

/// Conditions on the names of info metrics: `target_info` when nothing is said, `.+_info` when it is only said
/// what they are not.
fn info_name_matchers(given: Vec<Matcher>) -> Vec<Matcher> {
    if given.is_empty() {
        return vec![Matcher::equal(METRIC_NAME, "target_info")];
    }
    if given.iter().any(|m| !m.is_negative()) {
        return given;
    }
    let any_info = Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info").expect("a constant pattern");
    std::iter::once(any_info).chain(given).collect()
}

/// Whether `op` makes something else of a metric, so that its name goes.
pub(super) fn changes_metric(op: BinaryOp) -> bool {
    op.is_arithmetic()
}
