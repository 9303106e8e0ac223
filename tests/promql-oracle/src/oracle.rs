//! `promql-parser`'s trees as [`Tree`]s.

use std::cell::Cell;
use std::panic;
use std::sync::Once;
use std::time::{Duration, SystemTime};

use promql_parser::label::{MatchOp, Matchers};
use promql_parser::parser::value::ValueType;
use promql_parser::parser::{
    AtModifier, BinaryExpr, Expr, LabelModifier, Offset, VectorMatchCardinality, VectorSelector,
};

use crate::tree::{At, Float, Many, Matching, Selector, Shift, Tree};

thread_local! {
    /// Set while the oracle reads: what it panics with is of no interest.
    static READING: Cell<bool> = const { Cell::new(false) };
}

/// Reads an expression.
///
/// # Errors
/// Why it is refused. That the oracle panics is a refusal, too.
pub fn parse(text: &str) -> Result<Expr, String> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            if !READING.get() {
                usual(info);
            }
        }));
    });
    READING.set(true);
    let parsed = panic::catch_unwind(|| promql_parser::parser::parse(text));
    READING.set(false);
    parsed.unwrap_or_else(|_| Err("the oracle panics".to_owned()))
}

/// What `expr` says. `None` where it holds what a [`Tree`] has no place for: alternatives of matchers.
pub fn tree(expr: &Expr) -> Option<Tree> {
    Some(match expr {
        Expr::NumberLiteral(e) => Tree::Number(Float(e.val)),
        Expr::StringLiteral(e) => Tree::Text(e.val.clone()),
        Expr::VectorSelector(e) => Tree::Selector(selector(e, None)?),
        Expr::MatrixSelector(e) => Tree::Selector(selector(&e.vs, Some(ms(e.range)))?),
        Expr::Subquery(e) => Tree::Subquery {
            of: boxed(&e.expr)?,
            range_ms: ms(e.range),
            step_ms: e.step.map(ms),
            shift: shift(e.offset.as_ref(), e.at.as_ref()),
        },
        Expr::Call(e) => Tree::Call {
            name: e.func.name.to_owned(),
            args: e.args.args.iter().map(|arg| tree(arg)).collect::<Option<_>>()?,
        },
        Expr::Aggregate(e) => {
            let (without, labels) = grouping(e.modifier.as_ref());
            Tree::Aggregate {
                op: e.op.to_string(),
                param: e.param.as_ref().map_or(Some(None), |param| boxed(param).map(Some))?,
                of: boxed(&e.expr)?,
                without,
                labels,
            }
        }
        Expr::Binary(e) => Tree::Binary {
            op: e.op.to_string(),
            is_bool: e.return_bool(),
            matching: matching(e),
            left: boxed(&e.lhs)?,
            right: boxed(&e.rhs)?,
        },
        Expr::Unary(e) => Tree::Negated(boxed(&e.expr)?),
        Expr::Paren(e) => Tree::Paren(boxed(&e.expr)?),
        Expr::Extension(_) => return None,
    })
}

fn boxed(expr: &Expr) -> Option<Box<Tree>> {
    tree(expr).map(Box::new)
}

fn ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn selector(of: &VectorSelector, range_ms: Option<i64>) -> Option<Selector> {
    let Matchers { matchers, or_matchers } = &of.matchers;
    if !or_matchers.is_empty() {
        return None;
    }
    let name = of.name.iter().map(|name| ("__name__".to_owned(), "=", name.clone()));
    let written = matchers.iter().map(|m| {
        let op = match m.op {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Re(_) => "=~",
            MatchOp::NotRe(_) => "!~",
        };
        (m.name.clone(), op, m.value.clone())
    });
    let mut matchers: Vec<_> = name.chain(written).collect();
    matchers.sort();
    Some(Selector { matchers, range_ms, shift: shift(of.offset.as_ref(), of.at.as_ref()) })
}

fn shift(offset: Option<&Offset>, at: Option<&AtModifier>) -> Shift {
    let offset_ms = match offset {
        None => 0,
        Some(Offset::Pos(by)) => ms(*by),
        Some(Offset::Neg(by)) => -ms(*by),
    };
    let at = at.map(|at| match at {
        AtModifier::Start => At::Start,
        AtModifier::End => At::End,
        AtModifier::At(time) => At::TimestampMs(match time.duration_since(SystemTime::UNIX_EPOCH) {
            Ok(since) => ms(since),
            Err(before) => -ms(before.duration()),
        }),
    });
    Shift { offset_ms, at }
}

fn grouping(modifier: Option<&LabelModifier>) -> (bool, Vec<String>) {
    match modifier {
        None => (false, Vec::new()),
        Some(LabelModifier::Include(labels)) => (false, labels.labels.clone()),
        Some(LabelModifier::Exclude(labels)) => (true, labels.labels.clone()),
    }
}

/// How two vectors pair up; the oracle keeps nothing where nothing is written.
fn matching(of: &BinaryExpr) -> Option<Matching> {
    let vectors = [&of.lhs, &of.rhs].iter().all(|side| side.value_type() == ValueType::Vector);
    let written = of.modifier.clone().unwrap_or_default();
    let (many, include) = match written.card {
        VectorMatchCardinality::OneToOne => (Many::Neither, Vec::new()),
        VectorMatchCardinality::ManyToOne(labels) => (Many::Left, labels.labels),
        VectorMatchCardinality::OneToMany(labels) => (Many::Right, labels.labels),
        VectorMatchCardinality::ManyToMany => (Many::Both, Vec::new()),
    };
    let on = matches!(written.matching, Some(LabelModifier::Include(_)));
    let labels = written.matching.map_or_else(Vec::new, |m| m.labels().labels.clone());
    let fill = written.fill_values;
    vectors.then(|| Matching {
        many,
        on,
        labels,
        include,
        fill_left: fill.lhs.map(Float),
        fill_right: fill.rhs.map(Float),
    })
}
