//! Functions of one or two numbers, and of one histogram.

use cairn_model::FloatHistogram;

use crate::parser::ast::BinaryOp;

/// The function of a float that PromQL calls `name`.
pub fn float_function(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "ceil" => f64::ceil,
        "floor" => f64::floor,
        "exp" => f64::exp,
        "sqrt" => f64::sqrt,
        "ln" => f64::ln,
        "log2" => f64::log2,
        "log10" => f64::log10,
        "sin" => f64::sin,
        "cos" => f64::cos,
        "tan" => f64::tan,
        "asin" => f64::asin,
        "acos" => f64::acos,
        "atan" => f64::atan,
        "sinh" => f64::sinh,
        "cosh" => f64::cosh,
        "tanh" => f64::tanh,
        "asinh" => f64::asinh,
        "acosh" => f64::acosh,
        "atanh" => f64::atanh,
        "rad" => |v| v * std::f64::consts::PI / 180.0,
        "deg" => |v| v * 180.0 / std::f64::consts::PI,
        "sgn" => |v| {
            if v < 0.0 {
                -1.0
            } else if v > 0.0 {
                1.0
            } else {
                v // zero of either sign, or NaN
            }
        },
        _ => return None,
    })
}

/// The function of a histogram that PromQL calls `name`.
pub fn histogram_function(name: &str) -> Option<fn(&FloatHistogram) -> f64> {
    Some(match name {
        "histogram_count" => |h| h.count,
        "histogram_sum" => |h| h.sum,
        "histogram_avg" => |h| h.sum / h.count,
        "histogram_stdvar" => FloatHistogram::variance,
        "histogram_stddev" => |h| h.variance().sqrt(),
        _ => return None,
    })
}

/// `round(v, to)`: ties go up. Multiplying by the inverse is what keeps `round(x, 0.1)` short.
pub fn round(v: f64, to: f64) -> f64 {
    let inverse = 1.0 / to;
    (v * inverse + 0.5).floor() / inverse
}

/// The greater of two; NaN when either is NaN.
pub fn max(a: f64, b: f64) -> f64 {
    if a.is_infinite() && a > 0.0 || b.is_infinite() && b > 0.0 {
        f64::INFINITY
    } else if a.is_nan() || b.is_nan() {
        f64::NAN
    } else {
        a.max(b)
    }
}

/// The lesser of two; NaN when either is NaN.
pub fn min(a: f64, b: f64) -> f64 {
    -max(-a, -b)
}

/// `clamp(v, low, high)`
pub fn clamp(v: f64, low: f64, high: f64) -> f64 {
    max(low, min(high, v))
}

/// Whether a comparison holds.
///
/// # Panics
/// When `op` is no comparison; the parser's type check rules that out.
pub fn compare(op: BinaryOp, a: f64, b: f64) -> bool {
    match op {
        BinaryOp::Eql => a == b,
        BinaryOp::Neq => a != b,
        BinaryOp::Lte => a <= b,
        BinaryOp::Lss => a < b,
        BinaryOp::Gte => a >= b,
        BinaryOp::Gtr => a > b,
        other => unreachable!("{other} is no comparison"),
    }
}

/// An arithmetic operator.
///
/// # Panics
/// When `op` is none; the parser's type check rules that out.
#[inline]
pub fn arithmetic(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
        BinaryOp::Mod => a % b,
        BinaryOp::Pow => a.powf(b),
        BinaryOp::Atan2 => a.atan2(b),
        other => unreachable!("{other} is no arithmetic operator"),
    }
}

/// An operator between two scalars; comparisons give 0 or 1.
pub fn binary(op: BinaryOp, a: f64, b: f64) -> f64 {
    if op.is_comparison() { f64::from(u8::from(compare(op, a, b))) } else { arithmetic(op, a, b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rounding_sends_ties_up() {
        assert_eq!(
            [round(2.5, 1.0), round(-2.5, 1.0), round(5.015, 0.1), round(7.0, 5.0)],
            [3.0, -2.0, 5.0, 5.0]
        );
    }

    #[test]
    fn extremes_follow_gos_rules_for_nan_and_infinity() {
        assert!(max(f64::NAN, 1.0).is_nan());
        assert_eq!(max(f64::NAN, f64::INFINITY), f64::INFINITY);
        assert_eq!(min(f64::NAN, f64::NEG_INFINITY), f64::NEG_INFINITY);
        assert_eq!(clamp(5.0, 0.0, 3.0), 3.0);
    }
}
