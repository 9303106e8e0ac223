//! Types: what Prometheus checks once an expression is read.
//!
//! Children are checked before their parents where Prometheus does so, so that the first error is the same one.
//! The check also settles how vectors match: `and`, `or`, `unless` are many-to-many, and an operator with a scalar
//! on a side has no matching.

use cairn_model::labels::{METRIC_NAME, quoted};

use super::ast::{
    AggregateExpr, BinaryExpr, Call, Expr, Span, SubqueryExpr, UnaryExpr, VectorMatchCardinality,
    VectorSelector,
};
use super::error::ParseError;
use super::functions::Variadic;
use super::syntax::Result;
use super::value_type::ValueType;

/// Checks `expr`, which was parsed from `query`.
pub(super) fn check(query: &str, expr: &mut Expr) -> Result<ValueType> {
    Checker { query }.expr(expr)
}

struct Checker<'a> {
    query: &'a str,
}

impl Checker<'_> {
    fn refuse<T>(&self, span: Span, message: impl Into<String>) -> Result<T> {
        Err(Box::new(ParseError::new(self.query, span, message)))
    }

    fn expr(&self, expr: &mut Expr) -> Result<ValueType> {
        match expr {
            Expr::Number(_) => Ok(ValueType::Scalar),
            Expr::String(_) => Ok(ValueType::String),
            Expr::Vector(v) => self.selector(v).map(|()| ValueType::Vector),
            Expr::Matrix(m) => self.selector(&m.selector).map(|()| ValueType::Matrix),
            Expr::Subquery(s) => self.subquery(s),
            Expr::Call(c) => self.call(c),
            Expr::Aggregate(a) => self.aggregate(a),
            Expr::Binary(b) => self.binary(b),
            Expr::Unary(u) => self.unary(u),
            Expr::Paren(p) => self.expr(&mut p.expr),
        }
    }

    fn selector(&self, selector: &VectorSelector) -> Result<()> {
        if let Some((_, others)) = selector.matchers.split_last()
            && !selector.name.is_empty()
        {
            return match others.iter().find(|m| m.name == METRIC_NAME) {
                None => Ok(()),
                Some(m) => {
                    let (first, second) = (quoted(&selector.name), quoted(&m.value));
                    let text = format!("metric name must not be set twice: {first} or {second}");
                    self.refuse(selector.span, text)
                }
            };
        }
        if selector.matchers.iter().all(|m| m.matches_empty()) {
            return self.refuse(selector.span, "vector selector must contain at least one non-empty matcher");
        }
        Ok(())
    }

    fn subquery(&self, subquery: &mut SubqueryExpr) -> Result<ValueType> {
        match self.expr(&mut subquery.expr)? {
            ValueType::Vector => Ok(ValueType::Matrix),
            other => {
                let text = format!("subquery is only allowed on instant vector, got {other} instead");
                self.refuse(subquery.span, text)
            }
        }
    }

    fn call(&self, call: &mut Call) -> Result<ValueType> {
        let (name, listed, given) = (quoted(call.func.name), call.func.arg_types.len(), call.args.len());
        let count_error = match call.func.variadic {
            Variadic::No if given != listed => Some(format!("expected {listed}")),
            Variadic::UpTo(_) | Variadic::Unbounded if given + 1 < listed => {
                Some(format!("expected at least {}", listed - 1))
            }
            Variadic::UpTo(more) if given > listed - 1 + more => {
                Some(format!("expected at most {}", listed - 1 + more))
            }
            _ => None,
        };
        if let Some(expected) = count_error {
            return self.refuse(call.span, format!("{expected} argument(s) in call to {name}, got {given}"));
        }
        let selects_info = call.func.name == "info" && given > 1;
        if selects_info {
            self.info_selector(call.span, &call.args[1])?;
        }
        for (i, arg) in call.args.iter_mut().enumerate() {
            // The selector of info() may match series without the label.
            let got = if selects_info && i == 1 { ValueType::Vector } else { self.expr(arg)? };
            match call.func.arg_type(i) {
                Some(want) if want != got => {
                    let (want, got) = (want.documented(), got.documented());
                    let text = format!("expected type {want} in call to function {name}, got {got}");
                    return self.refuse(arg.span(), text);
                }
                _ => {}
            }
        }
        Ok(call.func.return_type)
    }

    /// The second argument of `info()` selects labels, not series.
    fn info_selector(&self, call: Span, arg: &Expr) -> Result<()> {
        let got = arg.value_type();
        if got != ValueType::Vector {
            let (want, got) = (ValueType::Vector.documented(), got.documented());
            return self
                .refuse(call, format!("expected type {want} in call to function \"info\", got {got}"));
        }
        match arg {
            Expr::Vector(v) if v.name.is_empty() => Ok(()),
            Expr::Vector(_) => {
                self.refuse(arg.span(), "expected label selectors only, got vector selector instead")
            }
            _ => self.refuse(arg.span(), "expected label selectors only"),
        }
    }

    fn aggregate(&self, aggregate: &mut AggregateExpr) -> Result<ValueType> {
        self.expect(&mut aggregate.expr, ValueType::Vector, "aggregation expression")?;
        if let (Some(param), Some(want)) = (&mut aggregate.param, aggregate.op.param_type()) {
            self.expect(param, want, "aggregation parameter")?;
        }
        Ok(ValueType::Vector)
    }

    fn expect(&self, expr: &mut Expr, want: ValueType, context: &str) -> Result<()> {
        let got = self.expr(expr)?;
        if got == want {
            return Ok(());
        }
        let (want, got) = (want.documented(), got.documented());
        self.refuse(expr.span(), format!("expected type {want} in {context}, got {got}"))
    }

    fn unary(&self, unary: &mut UnaryExpr) -> Result<ValueType> {
        match self.expr(&mut unary.expr)? {
            ok @ (ValueType::Scalar | ValueType::Vector) => Ok(ok),
            other => {
                let what = "unary expression only allowed on expressions of type scalar or instant vector";
                self.refuse(unary.span, format!("{what}, got \"{}\"", other.documented()))
            }
        }
    }

    fn binary(&self, binary: &mut BinaryExpr) -> Result<ValueType> {
        use ValueType::{Scalar, Vector};
        let left = self.expr(&mut binary.lhs)?;
        let right = self.expr(&mut binary.rhs)?;
        let op = binary.op;
        let both_scalars = left == Scalar && right == Scalar;

        if binary.return_bool && !op.is_comparison() {
            let text = "bool modifier can only be used on comparison operators";
            return self.refuse(self.operator_span(binary), text);
        }
        if op.is_comparison() && !binary.return_bool && both_scalars {
            let text = "comparisons between scalars must use BOOL modifier";
            return self.refuse(self.operator_span(binary), text);
        }
        let mut matching = binary.matching.take().unwrap_or_default();
        if op.is_set() && matching.card == VectorMatchCardinality::OneToOne {
            matching.card = VectorMatchCardinality::ManyToMany;
        }
        if let Some(label) = matching.labels.iter().find(|l| matching.on && matching.include.contains(l)) {
            let text = format!("label {} must not occur in ON and GROUP clause at once", quoted(label));
            return self.refuse(self.operator_span(binary), text);
        }
        for (side, side_type) in [(&binary.lhs, left), (&binary.rhs, right)] {
            if !matches!(side_type, Scalar | Vector) {
                let text = "binary expression must contain only scalar and instant vector types";
                return self.refuse(side.span(), text);
            }
        }
        if left == Vector && right == Vector {
            if op.is_set() && matching.card != VectorMatchCardinality::ManyToMany {
                return self.refuse(binary.span, format!("no grouping allowed for \"{op}\" operation"));
            }
            if op.is_set() && matching.fill.is_some() {
                return self.refuse(binary.span, "filling in missing series not allowed for set operators");
            }
            binary.matching = Some(matching);
            return Ok(Vector);
        }
        if !matching.labels.is_empty() {
            return self.refuse(binary.span, "vector matching only allowed between instant vectors");
        }
        if matching.fill.is_some() {
            let text = "filling in missing series only allowed between instant vectors";
            return self.refuse(binary.span, text);
        }
        if op.is_set() {
            let text = format!("set operator \"{op}\" not allowed in binary scalar expression");
            return self.refuse(binary.span, text);
        }
        Ok(if both_scalars { Scalar } else { Vector })
    }

    /// Where the operator with its modifiers stands: between the sides, without the spaces around.
    fn operator_span(&self, binary: &BinaryExpr) -> Span {
        let (start, end) = (binary.lhs.span().end as usize, binary.rhs.span().start as usize);
        let between = self.query.get(start..end).unwrap_or("");
        let is_space = |c: char| matches!(c, ' ' | '\t' | '\n' | '\r');
        let operator = between.trim_start_matches(is_space);
        let start = end - operator.len();
        Span::new(start, start + operator.trim_end_matches(is_space).len())
    }
}
