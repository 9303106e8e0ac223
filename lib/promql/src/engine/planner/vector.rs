//! Expressions that are a vector at each step: signs, aggregations, operators. Selectors and functions have files of
//! their own ([`super::selector`], [`super::call`]).

use super::scope::{Buckets, Scope};
use super::{Built, Planner, built, unexpected};
use crate::engine::error::QueryError;
use crate::engine::plan::{Aggregation, VectorBinary, VectorNode, VectorScalarBinary};
use crate::parser::ValueType;
use crate::parser::ast::{AggregateExpr, AggregateOp, BinaryExpr, Expr, Span, UnaryOp};

impl<'q> Planner<'q> {
    /// Plans an instant vector as if it stood nowhere else.
    pub(super) fn vector_alone(
        &mut self,
        expr: &'q Expr,
        scope: Scope<'q>,
    ) -> Result<Built<VectorNode>, QueryError> {
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
}
