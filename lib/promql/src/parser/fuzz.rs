//! What must hold for every text, whoever wrote it: the entry point of fuzzing and of property tests.

use super::ast::{DurationArg, DurationExpr, DurationOp, Expr, Span, VectorSelector};
use super::{Features, MAX_QUERY_BYTES, parse, parse_selector, prettify, to_json};

/// Parses `data` as an expression and as a selector. An expression that is accepted must print as a text that
/// parses to the same tree, on one line and prettified.
///
/// # Panics
/// When one of this does not hold.
pub fn fuzz_parser(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    let _ = parse_selector(&text);
    let Ok(mut expr) = parse(&text, Features::all()) else { return };
    let _ = to_json(&expr);
    let (printed, pretty) = (expr.to_string(), prettify(&expr));
    normalise(&mut expr);
    // Indentation may make a deep expression longer than an expression may be.
    for printed in [printed, pretty].into_iter().filter(|text| text.len() <= MAX_QUERY_BYTES) {
        let mut again = parse(&printed, Features::all())
            .unwrap_or_else(|e| panic!("{text:?} prints as {printed:?}, which does not parse: {e}"));
        normalise(&mut again);
        assert_eq!(again, expr, "{text:?} prints as {printed:?}, which is another tree");
    }
}

/// Forgets what printing does not keep: positions and the order of matchers.
fn normalise(expr: &mut Expr) {
    let nowhere = Span::default();
    match expr {
        Expr::Number(e) => {
            e.span = nowhere;
            // Prometheus prints a duration of minus nothing as `0s`.
            if e.is_duration && e.value == 0.0 {
                e.value = 0.0;
            }
        }
        Expr::String(e) => e.span = nowhere,
        Expr::Vector(e) => normalise_selector(e),
        Expr::Matrix(e) => {
            e.span = nowhere;
            normalise_selector(&mut e.selector);
            normalise_argument(&mut e.range);
        }
        Expr::Subquery(e) => {
            e.span = nowhere;
            normalise(&mut e.expr);
            normalise_argument(&mut e.range);
            e.step.iter_mut().chain(&mut e.offset).for_each(normalise_argument);
        }
        Expr::Call(e) => {
            e.span = nowhere;
            e.args.iter_mut().for_each(normalise);
        }
        Expr::Aggregate(e) => {
            e.span = nowhere;
            normalise(&mut e.expr);
            e.param.iter_mut().for_each(normalise);
        }
        Expr::Binary(e) => {
            e.span = nowhere;
            normalise(&mut e.lhs);
            normalise(&mut e.rhs);
        }
        Expr::Unary(e) => {
            e.span = nowhere;
            normalise(&mut e.expr);
        }
        Expr::Paren(e) => {
            e.span = nowhere;
            normalise(&mut e.expr);
        }
    }
}

fn normalise_selector(selector: &mut VectorSelector) {
    selector.span = Span::default();
    selector.matchers.sort_by_cached_key(ToString::to_string);
    selector.offset.iter_mut().for_each(normalise_argument);
}

fn normalise_argument(argument: &mut DurationArg) {
    if let DurationArg::Expr(e) = argument {
        normalise_duration(e);
        // Parentheses around the whole and a plus in front say nothing; printing may add or drop them.
        e.wrapped = false;
        if let DurationOp::Plus(operand) = &mut e.op {
            let operand = operand.as_ref().clone();
            **e = operand;
        }
    }
}

fn normalise_duration(duration: &mut DurationExpr) {
    use DurationOp::{Add, Div, MaxOf, MinOf, Minus, Mod, Mul, Number, Plus, Pow, Range, Step, Sub};
    duration.span = Span::default();
    match &mut duration.op {
        Number(..) | Step | Range => {}
        Plus(a) | Minus(a) => normalise_duration(a),
        MinOf(a, b) | MaxOf(a, b) | Add(a, b) | Sub(a, b) | Mul(a, b) | Div(a, b) | Mod(a, b) | Pow(a, b) => {
            normalise_duration(a);
            normalise_duration(b);
        }
    }
}
