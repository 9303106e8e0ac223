//! The same question asked otherwise: with `@ t` on every selector an expression gives at any time what it gives
//! at `t`, unless it looks at the evaluation's own time.

use cairn_model::TimestampMs;

use crate::parser::ast::{At, Expr};
use crate::parser::{Features, parse};

/// Functions whose result depends on the time of evaluation even when their arguments do not.
const TIME_DEPENDENT: [&str; 15] = [
    "days_in_month",
    "day_of_month",
    "day_of_week",
    "day_of_year",
    "end",
    "hour",
    "minute",
    "month",
    "predict_linear",
    "range",
    "start",
    "step",
    "time",
    "timestamp",
    "year",
];

/// Expression and evaluation times that must give what `query` gives at `t_ms`. None when the expression cannot be
/// pinned, or does not parse.
pub fn pinned(query: &str, t_ms: TimestampMs) -> Option<(String, Vec<TimestampMs>)> {
    let mut expr = parse(query, Features::all()).ok()?;
    if !pin(&mut expr, t_ms) {
        return None;
    }
    let times = match t_ms {
        0 => vec![-1_000, 0, 1_000],
        t => vec![-10 * t, 0, t / 5, t, 10 * t],
    };
    Some((expr.to_string(), times))
}

/// Sets `@` where there is no fixed time, except within subqueries, which get it themselves. False when a function
/// looks at the time.
fn pin(expr: &mut Expr, t_ms: TimestampMs) -> bool {
    let set = |at: &mut Option<At>| {
        if !matches!(at, Some(At::TimestampMs(_))) {
            *at = Some(At::TimestampMs(t_ms));
        }
        true
    };
    match expr {
        Expr::Number(_) | Expr::String(_) => true,
        Expr::Vector(e) => set(&mut e.at),
        Expr::Matrix(e) => set(&mut e.selector.at),
        Expr::Subquery(e) => set(&mut e.at),
        Expr::Call(e) => {
            !TIME_DEPENDENT.contains(&e.func.name) && e.args.iter_mut().all(|arg| pin(arg, t_ms))
        }
        Expr::Aggregate(e) => pin(&mut e.expr, t_ms) && e.param.iter_mut().all(|p| pin(p, t_ms)),
        Expr::Binary(e) => pin(&mut e.lhs, t_ms) && pin(&mut e.rhs, t_ms),
        Expr::Unary(e) => pin(&mut e.expr, t_ms),
        Expr::Paren(e) => pin(&mut e.expr, t_ms),
    }
}

/// Whether the text calls what resolves differently in a range query.
pub fn depends_on_query_range(query: &str) -> bool {
    ["start()", "end()", "range()", "step()"].iter().any(|call| query.contains(call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_selector_outside_subqueries_is_pinned() {
        let text = |q| pinned(q, 5_000).map(|p| p.0);
        assert_eq!(text("rate(a[5m]) + b @ 3").unwrap(), "rate(a[5m] @ 5.000) + b @ 3.000");
        assert_eq!(text("sum(max_over_time(a[1h:1m]))").unwrap(), "sum(max_over_time(a[1h:1m] @ 5.000))");
        assert_eq!(text("a @ end()").unwrap(), "a @ 5.000");
        assert_eq!(text("a + time()"), None);
        let subquery = "max_over_time(vector(time())[1h:1m])";
        assert_eq!(text(subquery).unwrap(), "max_over_time(vector(time())[1h:1m] @ 5.000)");
        assert_eq!(pinned("a", 5_000).unwrap().1, [-50_000, 0, 1_000, 5_000, 50_000]);
    }
}
