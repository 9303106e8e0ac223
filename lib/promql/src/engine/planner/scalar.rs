//! Expressions that are one number at each step; what is known now is computed now.

use super::scope::Scope;
use super::{Built, Planner, built, unexpected};
use crate::engine::error::QueryError;
use crate::engine::plan::ScalarNode;
use crate::functions::scalar_fn;
use crate::parser::ast::{Call, Expr, UnaryOp};

impl<'q> Planner<'q> {
    pub(super) fn scalar(
        &mut self,
        expr: &'q Expr,
        scope: Scope<'q>,
    ) -> Result<Built<ScalarNode>, QueryError> {
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
}
