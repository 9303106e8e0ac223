//! Functions that give a vector. [`Planner::call`] is the table; those of ranges and `info` have files of their own.

use cairn_model::labels::METRIC_NAME;
use cairn_model::{Labels, LabelsBuilder, MatchOp};

use super::scope::Scope;
use super::{Built, Planner, built, text};
use crate::engine::error::QueryError;
use crate::engine::plan::{
    BucketCall, BucketFn, Map, MapFn, Relabel, RelabelRule, SampleTime, ScalarNode, Sort, VectorNode,
};
use crate::functions::date::DatePart;
use crate::functions::range_fn::RangeFn;
use crate::functions::scalar_fn;
use crate::parser::ValueType;
use crate::parser::ast::{Call, Expr, Span};

impl<'q> Planner<'q> {
    pub(super) fn call(&mut self, c: &'q Call, outer: Scope<'q>) -> Result<Built<VectorNode>, QueryError> {
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
}

fn map(func: MapFn, arg: VectorNode, params: Vec<ScalarNode>) -> VectorNode {
    VectorNode::Map(Box::new(Map { func, arg, params }))
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
