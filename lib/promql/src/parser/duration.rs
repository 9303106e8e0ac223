//! Durations: literals, and the expressions that ranges, steps and offsets may be.
//!
//! Parts: [`DurationArg`] (what a node holds), [`DurationExpr`] (arithmetic on durations, kept as written because
//! `step()` and `range()` are known only when a query is planned), [`DurationContext`] (what they then stand for),
//! [`parse_duration`] and [`format_duration`] (Prometheus' literal syntax).
//!
//! Source: Prometheus 3.14's duration expressions and the duration syntax of its common library.

use std::fmt;

use super::ast::Span;

/// Milliseconds of each unit, greatest first.
const UNITS: [(&str, i64); 7] = [
    ("y", 365 * 24 * 3600 * 1000),
    ("w", 7 * 24 * 3600 * 1000),
    ("d", 24 * 3600 * 1000),
    ("h", 3600 * 1000),
    ("m", 60 * 1000),
    ("s", 1000),
    ("ms", 1),
];

/// Longest duration in seconds: what fits an `i64` of nanoseconds, as Prometheus keeps durations.
pub const MAX_DURATION_S: f64 = (1u64 << 63) as f64 / 1e9;

/// The same in milliseconds.
const MAX_DURATION_MS: i64 = i64::MAX / 1_000_000;

/// A range, step or offset.
#[derive(Debug, Clone, PartialEq)]
pub enum DurationArg {
    /// Known from the text, in milliseconds.
    Fixed(i64),
    /// To be resolved with the query's step and range.
    Expr(Box<DurationExpr>),
}

/// Arithmetic on durations, in seconds.
#[derive(Debug, Clone, PartialEq)]
pub struct DurationExpr {
    /// Where it stands.
    pub span: Span,
    /// What it computes.
    pub op: DurationOp,
    /// Whether it stands in parentheses of its own.
    pub wrapped: bool,
}

/// The node kinds of a [`DurationExpr`].
#[derive(Debug, Clone, PartialEq)]
pub enum DurationOp {
    /// A literal in seconds; the flag tells whether it was written as a duration (`5m`).
    Number(f64, bool),
    /// `step()`
    Step,
    /// `range()`
    Range,
    /// `+a`: the same as `a`.
    Plus(Box<DurationExpr>),
    /// `-a`
    Minus(Box<DurationExpr>),
    /// `min_of(a, b)`
    MinOf(Box<DurationExpr>, Box<DurationExpr>),
    /// `max_of(a, b)`
    MaxOf(Box<DurationExpr>, Box<DurationExpr>),
    /// `a + b`
    Add(Box<DurationExpr>, Box<DurationExpr>),
    /// `a - b`
    Sub(Box<DurationExpr>, Box<DurationExpr>),
    /// `a * b`
    Mul(Box<DurationExpr>, Box<DurationExpr>),
    /// `a / b`
    Div(Box<DurationExpr>, Box<DurationExpr>),
    /// `a % b`
    Mod(Box<DurationExpr>, Box<DurationExpr>),
    /// `a ^ b`
    Pow(Box<DurationExpr>, Box<DurationExpr>),
}

/// What `step()` and `range()` stand for in one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct DurationContext {
    /// Step of a range query, 0 for an instant query.
    pub step_ms: i64,
    /// End minus start of the query.
    pub range_ms: i64,
}

/// Why a duration cannot be resolved; texts as Prometheus gives them, with the span's two byte offsets.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}:{}: {reason}", span.start, span.end)]
pub struct DurationError {
    /// The sub-expression at fault.
    pub span: Span,
    /// What is wrong.
    pub reason: &'static str,
}

impl DurationArg {
    /// The duration of a range or step in milliseconds; it is positive.
    ///
    /// # Errors
    /// See [`DurationError`]; a fixed duration never fails.
    pub fn resolve_positive(&self, context: DurationContext) -> Result<i64, DurationError> {
        match self {
            DurationArg::Fixed(ms) => Ok(*ms),
            DurationArg::Expr(e) => e.resolve_ms(context, false),
        }
    }

    /// The duration of an offset in milliseconds; it may be negative.
    ///
    /// # Errors
    /// See [`DurationError`]; a fixed duration never fails.
    pub fn resolve_signed(&self, context: DurationContext) -> Result<i64, DurationError> {
        match self {
            DurationArg::Fixed(ms) => Ok(*ms),
            DurationArg::Expr(e) => e.resolve_ms(context, true),
        }
    }

    /// The milliseconds of a literal; `None` for an expression.
    pub fn fixed_ms(&self) -> Option<i64> {
        match self {
            DurationArg::Fixed(ms) => Some(*ms),
            DurationArg::Expr(_) => None,
        }
    }
}

impl DurationExpr {
    fn resolve_ms(&self, context: DurationContext, allow_negative: bool) -> Result<i64, DurationError> {
        let refuse = |reason| Err(DurationError { span: self.span, reason });
        let seconds = self.seconds(context)?;
        if !seconds.is_finite() {
            return refuse("duration is NaN or infinite");
        }
        if seconds <= 0.0 && !allow_negative {
            return refuse("duration must be greater than 0");
        }
        if seconds.abs() > MAX_DURATION_S {
            return refuse("duration is out of range");
        }
        Ok((seconds * 1000.0) as i64)
    }

    /// The value in seconds, of whatever sign.
    fn seconds(&self, context: DurationContext) -> Result<f64, DurationError> {
        let refuse = |reason| Err(DurationError { span: self.span, reason });
        let value = |e: &DurationExpr| e.seconds(context);
        Ok(match &self.op {
            DurationOp::Number(seconds, _) => *seconds,
            DurationOp::Step => context.step_ms as f64 / 1000.0,
            DurationOp::Range => context.range_ms as f64 / 1000.0,
            DurationOp::Plus(a) => value(a)?,
            DurationOp::Minus(a) => -value(a)?,
            DurationOp::MinOf(a, b) => go_min(value(a)?, value(b)?),
            DurationOp::MaxOf(a, b) => go_max(value(a)?, value(b)?),
            DurationOp::Add(a, b) => value(a)? + value(b)?,
            DurationOp::Sub(a, b) => value(a)? - value(b)?,
            DurationOp::Mul(a, b) => value(a)? * value(b)?,
            DurationOp::Div(a, b) => match (value(a)?, value(b)?) {
                (_, 0.0) => return refuse("division by zero"),
                (a, b) => a / b,
            },
            DurationOp::Mod(a, b) => match (value(a)?, value(b)?) {
                (_, 0.0) => return refuse("modulo by zero"),
                (a, b) => a % b,
            },
            DurationOp::Pow(a, b) => value(a)?.powf(value(b)?),
        })
    }
}

/// The lesser; NaN when either is.
fn go_min(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.min(b) }
}

/// The greater; NaN when either is.
fn go_max(a: f64, b: f64) -> f64 {
    if a.is_nan() || b.is_nan() { f64::NAN } else { a.max(b) }
}

/// Why a text is no duration; texts as Prometheus gives them.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum InvalidDuration {
    #[error("empty duration string")]
    Empty,
    #[error("not a valid duration string: {0:?}")]
    Syntax(String),
    #[error("unknown unit {unit:?} in duration {text:?}")]
    UnknownUnit { unit: String, text: String },
    #[error("duration out of range")]
    OutOfRange,
}

/// Milliseconds of `5m`, `1h30m`, `0` and the like: units `y w d h m s ms` in this order, each at most once.
///
/// # Errors
/// [`InvalidDuration`]; out of range is what does not fit an `i64` of nanoseconds.
pub fn parse_duration(text: &str) -> Result<i64, InvalidDuration> {
    match text {
        "" => return Err(InvalidDuration::Empty),
        "0" => return Ok(0),
        _ => {}
    }
    let syntax = || InvalidDuration::Syntax(text.to_owned());
    let (mut rest, mut next_unit, mut total_ms) = (text, 0, 0i128);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, tail) = rest.split_at(digits);
        let unit_len = tail.bytes().take_while(|b| !b.is_ascii_digit()).count();
        let (unit, tail) = tail.split_at(unit_len);
        let number: i64 = number.parse().map_err(|_| syntax())?;
        if unit.is_empty() {
            return Err(syntax());
        }
        let Some(at) = UNITS.iter().position(|(name, _)| *name == unit) else {
            return Err(InvalidDuration::UnknownUnit { unit: unit.to_owned(), text: text.to_owned() });
        };
        if at < next_unit {
            return Err(syntax());
        }
        total_ms += i128::from(number) * i128::from(UNITS[at].1);
        if total_ms > i128::from(MAX_DURATION_MS) {
            return Err(InvalidDuration::OutOfRange);
        }
        next_unit = at + 1;
        rest = tail;
    }
    Ok(total_ms as i64)
}

/// A non-negative duration as Prometheus prints it: `1h30m`, `0s`; weeks and years only when nothing is left over.
pub fn format_duration(ms: i64) -> FormattedDuration {
    FormattedDuration(ms)
}

/// See [`format_duration`].
#[derive(Debug, Clone, Copy)]
pub struct FormattedDuration(i64);

impl fmt::Display for FormattedDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut ms = self.0;
        if ms == 0 {
            return f.write_str("0s");
        }
        if ms < 0 {
            f.write_str("-")?;
            ms = ms.saturating_neg();
        }
        for (name, size) in UNITS {
            // A count of years or weeks that does not divide evenly reads worse than days.
            let exact_only = matches!(name, "y" | "w");
            if ms >= size && !(exact_only && ms % size != 0) {
                write!(f, "{}{name}", ms / size)?;
                ms %= size;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn literals_parse_and_print_as_prometheus_does() {
        for (text, ms, printed) in [
            ("0", 0, "0s"),
            ("0s", 0, "0s"),
            ("5m", 300_000, "5m"),
            ("90m", 5_400_000, "1h30m"),
            ("1w", 604_800_000, "1w"),
            ("8d", 691_200_000, "8d"),
            ("1y", 31_536_000_000, "1y"),
            ("1y1s", 31_536_001_000, "365d1s"),
            ("4d1h7m4s5ms", 349_624_005, "4d1h7m4s5ms"),
        ] {
            assert_eq!(parse_duration(text), Ok(ms), "{text}");
            assert_eq!(format_duration(ms).to_string(), printed);
        }
    }

    #[test]
    fn bad_literals_are_refused_with_their_text() {
        assert_eq!(parse_duration("").unwrap_err().to_string(), "empty duration string");
        for bad in ["1", "m", "1m1h", "5m5m", "-1m", "é", "99999999999999999999s"] {
            assert_eq!(
                parse_duration(bad).unwrap_err().to_string(),
                format!("not a valid duration string: {bad:?}")
            );
        }
        for (bad, unit) in [("1hs", "hs"), ("1.5h", "."), ("1 m", " m")] {
            assert_eq!(
                parse_duration(bad).unwrap_err().to_string(),
                format!("unknown unit {unit:?} in duration {bad:?}")
            );
        }
        assert_eq!(parse_duration("300y"), Err(InvalidDuration::OutOfRange));
    }

    #[test]
    fn expressions_resolve_with_the_querys_step_and_range() {
        let node = |op| Box::new(DurationExpr { span: Span::new(3, 9), op, wrapped: false });
        let context = DurationContext { step_ms: 5_000, range_ms: 60_000 };
        let twice = DurationArg::Expr(node(DurationOp::Mul(
            node(DurationOp::Step),
            node(DurationOp::Number(2.0, false)),
        )));
        assert_eq!(twice.resolve_positive(context), Ok(10_000));
        assert_eq!(
            twice.resolve_positive(DurationContext::default()).unwrap_err().to_string(),
            "3:9: duration must be greater than 0"
        );
        let by_zero = DurationArg::Expr(node(DurationOp::Div(
            node(DurationOp::Range),
            node(DurationOp::Number(0.0, false)),
        )));
        assert_eq!(by_zero.resolve_signed(context).unwrap_err().reason, "division by zero");
        let nan = DurationArg::Expr(node(DurationOp::MinOf(
            node(DurationOp::Number(f64::NAN, false)),
            node(DurationOp::Step),
        )));
        assert_eq!(nan.resolve_signed(context).unwrap_err().reason, "duration is NaN or infinite");
    }

    proptest! {
        #[test]
        fn printing_then_parsing_gives_the_same(ms in 0i64..9_000_000_000_000) {
            prop_assert_eq!(parse_duration(&format_duration(ms).to_string()), Ok(ms));
        }

        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,12}") {
            let _ = parse_duration(&text);
        }
    }
}
