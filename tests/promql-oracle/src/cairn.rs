//! cairn's trees as [`Tree`]s.

use cairn_promql::parser::ast::{self, DurationArg, Expr, UnaryOp, VectorMatchCardinality};

use crate::tree::{At, Float, Many, Matching, Selector, Shift, Tree};

/// What `expr` says. `None` where it holds what a [`Tree`] has no place for: a duration that is computed, `anchored`
/// or `smoothed`.
pub fn tree(expr: &Expr) -> Option<Tree> {
    Some(match expr {
        Expr::Number(e) => Tree::Number(Float(e.value)),
        Expr::String(e) => Tree::Text(e.value.clone()),
        Expr::Vector(e) => Tree::Selector(selector(e, None)?),
        Expr::Matrix(e) => Tree::Selector(selector(&e.selector, Some(e.range.fixed_ms()?))?),
        Expr::Subquery(e) => Tree::Subquery {
            of: boxed(&e.expr)?,
            range_ms: e.range.fixed_ms()?,
            step_ms: e.step.as_ref().map_or(Some(None), |step| step.fixed_ms().map(Some))?,
            shift: shift(e.offset.as_ref(), e.at)?,
        },
        Expr::Call(e) => {
            Tree::Call { name: e.func.name.to_owned(), args: e.args.iter().map(tree).collect::<Option<_>>()? }
        }
        Expr::Aggregate(e) => Tree::Aggregate {
            op: e.op.as_str().to_owned(),
            param: e.param.as_ref().map_or(Some(None), |param| boxed(param).map(Some))?,
            of: boxed(&e.expr)?,
            without: e.without,
            labels: e.grouping.clone(),
        },
        Expr::Binary(e) => Tree::Binary {
            op: e.op.as_str().to_owned(),
            is_bool: e.return_bool,
            matching: e.matching.as_ref().map(matching),
            left: boxed(&e.lhs)?,
            right: boxed(&e.rhs)?,
        },
        Expr::Unary(e) if e.op == UnaryOp::Plus => tree(&e.expr)?,
        Expr::Unary(e) => Tree::Negated(boxed(&e.expr)?),
        Expr::Paren(e) => Tree::Paren(boxed(&e.expr)?),
    })
}

fn boxed(expr: &Expr) -> Option<Box<Tree>> {
    tree(expr).map(Box::new)
}

fn selector(of: &ast::VectorSelector, range_ms: Option<i64>) -> Option<Selector> {
    if of.anchored || of.smoothed {
        return None;
    }
    let matchers = of.matchers.iter().map(|m| (m.name.to_string(), m.op.as_str(), m.value.to_string()));
    let mut matchers: Vec<_> = matchers.collect();
    matchers.sort();
    Some(Selector { matchers, range_ms, shift: shift(of.offset.as_ref(), of.at)? })
}

fn shift(offset: Option<&DurationArg>, at: Option<ast::At>) -> Option<Shift> {
    let offset_ms = offset.map_or(Some(0), DurationArg::fixed_ms)?;
    let at = at.map(|at| match at {
        ast::At::TimestampMs(ms) => At::TimestampMs(ms),
        ast::At::Start => At::Start,
        ast::At::End => At::End,
    });
    Some(Shift { offset_ms, at })
}

fn matching(of: &ast::VectorMatching) -> Matching {
    Matching {
        many: match of.card {
            VectorMatchCardinality::OneToOne => Many::Neither,
            VectorMatchCardinality::ManyToOne => Many::Left,
            VectorMatchCardinality::OneToMany => Many::Right,
            VectorMatchCardinality::ManyToMany => Many::Both,
        },
        on: of.on,
        labels: of.labels.clone(),
        include: of.include.clone(),
        fill_left: of.fill.lhs.map(Float),
        fill_right: of.fill.rhs.map(Float),
    }
}
