//! Range vectors ([`RangeNode`]) and the functions of them.

use super::scope::{Buckets, Scope};
use super::{Built, Planner, built, unexpected};
use crate::engine::error::QueryError;
use crate::engine::grid::subquery_grid;
use crate::engine::plan::{Edges, RangeCall, RangeNode, RangeSource, VectorNode};
use crate::functions::range_fn::RangeFn;
use crate::parser::ValueType;
use crate::parser::ast::{Call, Expr, Span, SubqueryExpr};

impl<'q> Planner<'q> {
    pub(super) fn range_call(
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

    pub(super) fn check_edges(
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

    pub(super) fn range(&mut self, expr: &'q Expr, scope: Scope<'q>) -> Result<Built<RangeNode>, QueryError> {
        match expr {
            Expr::Paren(p) => self.range(&p.expr, scope),
            Expr::Matrix(m) => self.matrix(m, scope),
            Expr::Subquery(s) => self.subquery(s, scope),
            other => Err(unexpected("a range vector", other)),
        }
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
}
