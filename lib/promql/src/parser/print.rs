//! Writes an expression as Prometheus prints it: one line, modifiers in a fixed order, matchers sorted.
//!
//! Parsing what is printed gives the same tree again (spans aside).

use std::fmt::{self, Display, Formatter, Write};

use cairn_model::labels::{METRIC_NAME, is_legacy_label_name, quoted};
use cairn_model::number::{format_f, format_g};

use super::ast::{
    AggregateExpr, At, BinaryExpr, BinaryOp, DurationArg, DurationExpr, DurationOp, Expr, MatchOp,
    MatrixSelector, NumberLiteral, SubqueryExpr, VectorMatchCardinality, VectorMatching, VectorSelector,
};
use super::duration::format_duration;

impl Display for Expr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            Expr::Number(e) => Display::fmt(&**e, f),
            Expr::String(e) => f.write_str(&readable(quoted(&e.value))),
            Expr::Vector(e) => Display::fmt(&**e, f),
            Expr::Matrix(e) => Display::fmt(&**e, f),
            Expr::Subquery(e) => write!(f, "{}{}", e.expr, SubquerySuffix(e)),
            Expr::Call(e) => {
                write!(f, "{}(", e.func.name)?;
                for (i, arg) in e.args.iter().enumerate() {
                    if i > 0 {
                        f.write_str(", ")?;
                    }
                    Display::fmt(arg, f)?;
                }
                f.write_char(')')
            }
            Expr::Aggregate(e) => {
                write!(f, "{}(", AggregateHead(e))?;
                if let Some(param) = &e.param {
                    write!(f, "{param}, ")?;
                }
                write!(f, "{})", e.expr)
            }
            Expr::Binary(e) => {
                fmt_left_side(f, &e.lhs, e.op)?;
                write!(f, " {} {}", BinaryHead(e), e.rhs)
            }
            Expr::Unary(e) => write!(f, "{}{}", e.op.as_str(), e.expr),
            Expr::Paren(e) => write!(f, "({})", e.expr),
        }
    }
}

/// A quoted text in which U+FFFD is escaped: as such it stands for broken UTF-8 and would not be read again.
fn readable(quoted: String) -> String {
    if quoted.contains('\u{FFFD}') { quoted.replace('\u{FFFD}', "\\ufffd") } else { quoted }
}

/// The left side of an operator.
fn fmt_left_side(f: &mut Formatter<'_>, lhs: &Expr, op: BinaryOp) -> fmt::Result {
    match open_offset(lhs, op) {
        None if is_infinite_base(lhs, op) => f.write_str("Inf"),
        None => Display::fmt(lhs, f),
        Some(offset) => {
            let mut text = lhs.to_string();
            close_offset(&mut text, offset);
            f.write_str(&text)
        }
    }
}

/// Whether `lhs` must be printed without its plus: `+Inf ^ a` would be `+(Inf ^ a)`.
pub(super) fn is_infinite_base(lhs: &Expr, op: BinaryOp) -> bool {
    op == BinaryOp::Pow && matches!(lhs, Expr::Number(n) if n.value == f64::INFINITY)
}

/// The offset that ends `lhs` and would take the operator `op` behind it for its own, as the one of
/// `a offset (5m) * b` does.
pub(super) fn open_offset(lhs: &Expr, op: BinaryOp) -> Option<&DurationExpr> {
    let taken = op.is_arithmetic() && op != BinaryOp::Atan2;
    last_offset(lhs).filter(|offset| taken && offset.is_open_ended())
}

/// Makes `offset`, which ends `text`, end where it ends: a parenthesis behind a sign does.
pub(super) fn close_offset(text: &mut String, offset: &DurationExpr) {
    let Some(at) = text.rfind(" offset ") else { return };
    let at = at + " offset ".len();
    if offset.wrapped {
        text.insert(at, '+');
    } else {
        text.insert_str(at, "+(");
        text.push(')');
    }
}

/// The duration expression that the printed `expr` ends with, if it ends with one.
fn last_offset(mut expr: &Expr) -> Option<&DurationExpr> {
    loop {
        let offset = match expr {
            Expr::Vector(e) => &e.offset,
            Expr::Matrix(e) => &e.selector.offset,
            Expr::Subquery(e) => &e.offset,
            Expr::Binary(e) => {
                expr = &e.rhs;
                continue;
            }
            Expr::Unary(e) => {
                expr = &e.expr;
                continue;
            }
            _ => return None,
        };
        return match offset {
            Some(DurationArg::Expr(e)) => Some(&**e),
            _ => None,
        };
    }
}

impl DurationExpr {
    /// Whether an operator behind this offset would be read as a part of it.
    fn is_open_ended(&self) -> bool {
        use DurationOp::{MaxOf, MinOf, Minus, Number, Plus, Range, Step};
        let closed = |op: &DurationOp| matches!(op, Number(..) | Step | Range | MinOf(..) | MaxOf(..));
        match &self.op {
            _ if self.wrapped => true,
            Plus(a) | Minus(a) => !a.wrapped && !closed(&a.op),
            op => !closed(op),
        }
    }
}

impl Display for NumberLiteral {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        number(f, self.value, self.is_duration)
    }
}

fn number(f: &mut Formatter<'_>, value: f64, is_duration: bool) -> fmt::Result {
    if is_duration {
        // Whole milliseconds, as durations are printed.
        return Display::fmt(&format_duration((value * 1000.0).round() as i64), f);
    }
    Display::fmt(&PlainFloat(value), f)
}

/// A float without exponent, as Go's `FormatFloat(v, 'f', -1, 64)`.
pub struct PlainFloat(pub f64);

impl Display for PlainFloat {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&format_f(self.0))
    }
}

impl Display for VectorSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.fmt_matchers(f)?;
        fmt_at(f, self.at)?;
        self.fmt_extension(f)?;
        fmt_offset(f, self.offset.as_ref())
    }
}

impl VectorSelector {
    fn fmt_matchers(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        // The name before the braces says what its matcher says.
        let says_name = |op, name: &str, value: &str| {
            op == MatchOp::Equal && name == METRIC_NAME && value == self.name && !value.is_empty()
        };
        let others = self.matchers.iter().filter(|m| !says_name(m.op, &m.name, &m.value));
        let mut texts: Vec<String> = others.map(|m| readable(m.to_string())).collect();
        if texts.is_empty() {
            // A selector of nothing but `info()`'s empty braces.
            return f.write_str(if self.name.is_empty() { "{}" } else { "" });
        }
        texts.sort_unstable();
        write!(f, "{{{}}}", texts.join(","))
    }

    fn fmt_extension(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match (self.anchored, self.smoothed) {
            (true, _) => f.write_str(" anchored"),
            (_, true) => f.write_str(" smoothed"),
            _ => Ok(()),
        }
    }
}

impl Display for MatrixSelector {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        self.selector.fmt_matchers(f)?;
        write!(f, "[{}]", self.range)?;
        self.selector.fmt_extension(f)?;
        fmt_at(f, self.selector.at)?;
        fmt_offset(f, self.selector.offset.as_ref())
    }
}

/// `[range:step] @ … offset …`
pub(crate) struct SubquerySuffix<'a>(pub &'a SubqueryExpr);

impl Display for SubquerySuffix<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let SubquerySuffix(e) = self;
        write!(f, "[{}:", e.range)?;
        if let Some(step) = &e.step {
            Display::fmt(step, f)?;
        }
        f.write_char(']')?;
        fmt_at(f, e.at)?;
        fmt_offset(f, e.offset.as_ref())
    }
}

fn fmt_at(f: &mut Formatter<'_>, at: Option<At>) -> fmt::Result {
    match at {
        None => Ok(()),
        Some(At::Start) => f.write_str(" @ start()"),
        Some(At::End) => f.write_str(" @ end()"),
        Some(At::TimestampMs(ms)) => write!(f, " @ {:.3}", ms as f64 / 1000.0),
    }
}

fn fmt_offset(f: &mut Formatter<'_>, offset: Option<&DurationArg>) -> fmt::Result {
    offset.map_or(Ok(()), |offset| write!(f, " offset {offset}"))
}

impl Display for DurationArg {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        match self {
            DurationArg::Fixed(ms) => Display::fmt(&format_duration(*ms), f),
            DurationArg::Expr(e) => Display::fmt(&**e, f),
        }
    }
}

impl Display for DurationExpr {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        if self.wrapped {
            f.write_char('(')?;
        }
        match &self.op {
            DurationOp::Number(seconds, is_duration) => number(f, *seconds, *is_duration)?,
            DurationOp::Step => f.write_str("step()")?,
            DurationOp::Range => f.write_str("range()")?,
            DurationOp::Plus(a) => Display::fmt(a, f)?,
            DurationOp::Minus(a) => write!(f, "-{a}")?,
            DurationOp::MinOf(a, b) => write!(f, "min_of({a}, {b})")?,
            DurationOp::MaxOf(a, b) => write!(f, "max_of({a}, {b})")?,
            DurationOp::Add(a, b) => write!(f, "{a} + {b}")?,
            DurationOp::Sub(a, b) => write!(f, "{a} - {b}")?,
            DurationOp::Mul(a, b) => write!(f, "{a} * {b}")?,
            DurationOp::Div(a, b) => write!(f, "{a} / {b}")?,
            DurationOp::Mod(a, b) => write!(f, "{a} % {b}")?,
            DurationOp::Pow(a, b) => write!(f, "{a} ^ {b}")?,
        }
        if self.wrapped {
            f.write_char(')')?;
        }
        Ok(())
    }
}

/// `sum by (a, b) `: what stands before an aggregation's parenthesis.
pub(crate) struct AggregateHead<'a>(pub &'a AggregateExpr);

impl Display for AggregateHead<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let AggregateHead(e) = self;
        f.write_str(e.op.as_str())?;
        let clause = match (e.without, e.grouping.is_empty()) {
            (true, _) => "without",
            (false, false) => "by",
            (false, true) => return Ok(()),
        };
        write!(f, " {clause} ({}) ", LabelNames(&e.grouping))
    }
}

/// The operator with what stands between it and the right side.
pub(crate) struct BinaryHead<'a>(pub &'a BinaryExpr);

impl Display for BinaryHead<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let BinaryHead(e) = self;
        f.write_str(e.op.as_str())?;
        if e.return_bool {
            f.write_str(" bool")?;
        }
        e.matching.as_ref().map_or(Ok(()), |m| fmt_matching(f, m))
    }
}

fn fmt_matching(f: &mut Formatter<'_>, matching: &VectorMatching) -> fmt::Result {
    let group = match matching.card {
        VectorMatchCardinality::ManyToOne => Some("group_left"),
        VectorMatchCardinality::OneToMany => Some("group_right"),
        _ => None,
    };
    if !matching.labels.is_empty() || matching.on || group.is_some() {
        let clause = if matching.on { "on" } else { "ignoring" };
        write!(f, " {clause} ({})", LabelNames(&matching.labels))?;
    }
    if let Some(group) = group {
        write!(f, " {group} ({})", LabelNames(&matching.include))?;
    }
    match (matching.fill.lhs, matching.fill.rhs) {
        (Some(l), Some(r)) if l == r => write!(f, " fill ({})", format_g(l)),
        (l, r) => {
            l.map_or(Ok(()), |v| write!(f, " fill_left ({})", format_g(v)))?;
            r.map_or(Ok(()), |v| write!(f, " fill_right ({})", format_g(v)))
        }
    }
}

struct LabelNames<'a>(&'a [String]);

impl Display for LabelNames<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        for (i, name) in self.0.iter().enumerate() {
            if i > 0 {
                f.write_str(", ")?;
            }
            if is_legacy_label_name(name) {
                f.write_str(name)?;
            } else {
                f.write_str(&quoted(name))?;
            }
        }
        Ok(())
    }
}
