//! The tree as JSON, in the shape of Prometheus' `parse_query`.
//!
//! Keys are sorted and strings escaped as Go's encoder does, so that answers can be compared byte by byte.

use std::fmt::{self, Display, Write};

use cairn_model::number::format_api;

use super::ast::{
    At, DurationArg, DurationExpr, DurationOp, Expr, FillValues, Matcher, VectorMatching, VectorSelector,
};
use super::functions::{Function, Variadic};
use super::print::PlainFloat;

/// `expr` as a JSON object.
///
/// # Errors
/// [`UnrepresentableNumber`] when a fill value is NaN or infinite, which JSON cannot hold.
pub fn to_json(expr: &Expr) -> Result<String, UnrepresentableNumber> {
    let mut out = Writer { text: String::new(), unrepresentable: false };
    out.expr(expr);
    if out.unrepresentable { Err(UnrepresentableNumber) } else { Ok(out.text) }
}

/// A fill value that JSON has no number for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot write expression as JSON: a fill value is not a finite number")]
pub struct UnrepresentableNumber;

struct Writer {
    text: String,
    unrepresentable: bool,
}

impl Writer {
    fn expr(&mut self, expr: &Expr) {
        match expr {
            Expr::Number(e) => {
                self.raw("{\"type\":\"numberLiteral\",\"val\":\"");
                self.raw(PlainFloat(e.value));
                self.raw("\"}");
            }
            Expr::String(e) => {
                self.raw("{\"type\":\"stringLiteral\",\"val\":");
                self.string(&e.value);
                self.raw("}");
            }
            Expr::Vector(v) => self.selector(v, None),
            Expr::Matrix(m) => self.selector(&m.selector, Some(&m.range)),
            Expr::Subquery(e) => {
                self.raw("{\"expr\":");
                self.expr(&e.expr);
                self.duration("offset", e.offset.as_ref());
                self.duration("range", Some(&e.range));
                self.start_or_end(e.at);
                self.duration("step", e.step.as_ref());
                self.timestamp(e.at);
                self.raw(",\"type\":\"subquery\"}");
            }
            Expr::Call(e) => {
                self.raw("{\"args\":");
                self.list(&e.args, Self::expr);
                self.raw(",\"func\":");
                self.function(e.func);
                self.raw(",\"type\":\"call\"}");
            }
            Expr::Aggregate(e) => {
                self.raw("{\"expr\":");
                self.expr(&e.expr);
                self.raw(",\"grouping\":");
                self.strings(&e.grouping);
                self.raw(",\"op\":\"");
                self.raw(e.op);
                self.raw("\",\"param\":");
                match &e.param {
                    Some(param) => self.expr(param),
                    None => self.raw("null"),
                }
                self.raw(",\"type\":\"aggregation\",\"without\":");
                self.raw(e.without);
                self.raw("}");
            }
            Expr::Binary(e) => {
                self.raw("{\"bool\":");
                self.raw(e.return_bool);
                self.raw(",\"lhs\":");
                self.expr(&e.lhs);
                self.raw(",\"matching\":");
                match &e.matching {
                    Some(m) => self.matching(m),
                    None => self.raw("null"),
                }
                self.raw(",\"op\":");
                self.string(e.op.as_str());
                self.raw(",\"rhs\":");
                self.expr(&e.rhs);
                self.raw(",\"type\":\"binaryExpr\"}");
            }
            Expr::Unary(e) => {
                self.raw("{\"expr\":");
                self.expr(&e.expr);
                self.raw(",\"op\":");
                self.string(e.op.as_str());
                self.raw(",\"type\":\"unaryExpr\"}");
            }
            Expr::Paren(e) => {
                self.raw("{\"expr\":");
                self.expr(&e.expr);
                self.raw(",\"type\":\"parenExpr\"}");
            }
        }
    }

    fn selector(&mut self, v: &VectorSelector, range: Option<&DurationArg>) {
        self.raw(format_args!("{{\"anchored\":{},\"matchers\":", v.anchored));
        self.matchers(&v.matchers);
        self.raw(",\"name\":");
        self.string(&v.name);
        self.duration("offset", v.offset.as_ref());
        if range.is_some() {
            self.duration("range", range);
        }
        self.raw(format_args!(",\"smoothed\":{}", v.smoothed));
        self.start_or_end(v.at);
        self.timestamp(v.at);
        let kind = if range.is_some() { "matrixSelector" } else { "vectorSelector" };
        self.raw(format_args!(",\"type\":\"{kind}\"}}"));
    }

    /// `,"name":ms,"nameExpr":…`: one of the two says it.
    fn duration(&mut self, name: &str, duration: Option<&DurationArg>) {
        let (ms, expr) = match duration {
            None => (0, None),
            Some(DurationArg::Fixed(ms)) => (*ms, None),
            Some(DurationArg::Expr(e)) => (0, Some(e)),
        };
        self.raw(format_args!(",\"{name}\":{ms},\"{name}Expr\":"));
        match expr {
            Some(e) => self.duration_expr(e),
            None => self.raw("null"),
        }
    }

    fn duration_expr(&mut self, e: &DurationExpr) {
        let (op, lhs, rhs) = match &e.op {
            DurationOp::Number(seconds, is_duration) if !e.wrapped => {
                self.raw(format_args!("{{\"duration\":{is_duration},\"type\":\"numberLiteral\",\"val\":\""));
                self.raw(PlainFloat(*seconds));
                return self.raw("\"}");
            }
            DurationOp::Number(..) => return self.duration_wrapped_number(e),
            DurationOp::Step => ("step", None, None),
            DurationOp::Range => ("range", None, None),
            DurationOp::Plus(a) => ("+", None, Some(a)),
            DurationOp::Minus(a) => ("-", None, Some(a)),
            DurationOp::MinOf(a, b) => ("min_of", Some(a), Some(b)),
            DurationOp::MaxOf(a, b) => ("max_of", Some(a), Some(b)),
            DurationOp::Add(a, b) => ("+", Some(a), Some(b)),
            DurationOp::Sub(a, b) => ("-", Some(a), Some(b)),
            DurationOp::Mul(a, b) => ("*", Some(a), Some(b)),
            DurationOp::Div(a, b) => ("/", Some(a), Some(b)),
            DurationOp::Mod(a, b) => ("%", Some(a), Some(b)),
            DurationOp::Pow(a, b) => ("^", Some(a), Some(b)),
        };
        self.raw("{\"lhs\":");
        self.duration_operand(lhs.map(|b| &**b));
        self.raw(format_args!(",\"op\":\"{op}\",\"rhs\":"));
        self.duration_operand(rhs.map(|b| &**b));
        self.raw(format_args!(",\"type\":\"durationExpr\",\"wrapped\":{}}}", e.wrapped));
    }

    fn duration_operand(&mut self, operand: Option<&DurationExpr>) {
        match operand {
            Some(e) => self.duration_expr(e),
            None => self.raw("null"),
        }
    }

    /// A literal in parentheses is a plus to Prometheus.
    fn duration_wrapped_number(&mut self, e: &DurationExpr) {
        self.raw("{\"lhs\":null,\"op\":\"+\",\"rhs\":");
        self.duration_expr(&DurationExpr { wrapped: false, ..e.clone() });
        self.raw(",\"type\":\"durationExpr\",\"wrapped\":true}");
    }

    fn start_or_end(&mut self, at: Option<At>) {
        self.raw(match at {
            Some(At::Start) => ",\"startOrEnd\":\"start\"",
            Some(At::End) => ",\"startOrEnd\":\"end\"",
            _ => ",\"startOrEnd\":null",
        });
    }

    fn timestamp(&mut self, at: Option<At>) {
        match at {
            Some(At::TimestampMs(ms)) => self.raw(format_args!(",\"timestamp\":{ms}")),
            _ => self.raw(",\"timestamp\":null"),
        }
    }

    fn matchers(&mut self, matchers: &[Matcher]) {
        self.list(matchers, |w, m| {
            w.raw("{\"name\":");
            w.string(&m.name);
            w.raw(format_args!(",\"type\":\"{}\",\"value\":", m.op.as_str()));
            w.string(&m.value);
            w.raw("}");
        });
    }

    fn function(&mut self, f: &Function) {
        self.raw("{\"argTypes\":");
        self.list(f.arg_types, |w, t| w.raw(format_args!("\"{t}\"")));
        let variadic = match f.variadic {
            Variadic::No => 0,
            Variadic::UpTo(n) => n as i64,
            Variadic::Unbounded => -1,
        };
        let (name, returns) = (f.name, f.return_type);
        self.raw(format_args!(",\"name\":\"{name}\",\"returnType\":\"{returns}\",\"variadic\":{variadic}}}"));
    }

    fn matching(&mut self, m: &VectorMatching) {
        self.raw(format_args!("{{\"card\":\"{}\",\"fillValues\":", m.card.as_str()));
        self.fill(m.fill);
        self.raw(",\"include\":");
        self.strings(&m.include);
        self.raw(",\"labels\":");
        self.strings(&m.labels);
        self.raw(format_args!(",\"on\":{}}}", m.on));
    }

    fn fill(&mut self, fill: FillValues) {
        self.raw("{\"lhs\":");
        self.fill_value(fill.lhs);
        self.raw(",\"rhs\":");
        self.fill_value(fill.rhs);
        self.raw("}");
    }

    fn fill_value(&mut self, value: Option<f64>) {
        match value {
            None => self.raw("null"),
            Some(v) => {
                self.unrepresentable |= !v.is_finite();
                self.raw(format_api(v));
            }
        }
    }

    fn strings(&mut self, texts: &[String]) {
        self.list(texts, |w, t| w.string(t));
    }

    fn list<T>(&mut self, items: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.raw("[");
        for (i, item) in items.iter().enumerate() {
            if i > 0 {
                self.raw(",");
            }
            write(self, item);
        }
        self.raw("]");
    }

    fn string(&mut self, text: &str) {
        self.raw(JsonString(text));
    }

    fn raw(&mut self, part: impl Display) {
        write!(self.text, "{part}").expect("writing to a String does not fail");
    }
}

/// A JSON string.
struct JsonString<'a>(&'a str);

impl Display for JsonString<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            match c {
                '"' => f.write_str("\\\"")?,
                '\\' => f.write_str("\\\\")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                // Go escapes what could end a script element.
                c if c < ' ' || matches!(c, '<' | '>' | '&' | '\u{2028}' | '\u{2029}') => {
                    write!(f, "\\u{:04x}", c as u32)?
                }
                c => f.write_char(c)?,
            }
        }
        f.write_char('"')
    }
}
