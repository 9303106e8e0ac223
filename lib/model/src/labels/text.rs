//! Label sets and names as Prometheus writes them.

use std::fmt;

use super::{Labels, LabelsRef, METRIC_NAME};

/// `{name="value", …}` with Go's quoting, the metric name in front.
impl fmt::Display for LabelsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        let legacy = is_legacy_metric_name(name);
        if legacy {
            f.write_str(name)?;
        }
        let mut rest = self.iter().filter(|(n, _)| !(legacy && *n == METRIC_NAME)).peekable();
        if legacy && rest.peek().is_none() {
            return Ok(());
        }
        f.write_str("{")?;
        let mut first = true;
        for (n, v) in rest {
            if !first {
                f.write_str(", ")?;
            }
            first = false;
            if is_legacy_label_name(n) {
                write!(f, "{n}=")?;
            } else {
                write!(f, "{}=", quoted(n))?;
            }
            write!(f, "{}", quoted(v))?;
        }
        f.write_str("}")
    }
}

impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_ref(), f)
    }
}

/// Whether `name` may stand unquoted as a metric name: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_metric_name(name: &str) -> bool {
    is_identifier(name, true)
}

/// Whether `name` may stand unquoted as a label name: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    is_identifier(name, false)
}

fn is_identifier(name: &str, colon: bool) -> bool {
    let ok = |b: u8| b.is_ascii_alphabetic() || b == b'_' || (colon && b == b':');
    match name.as_bytes() {
        [] => false,
        [first, rest @ ..] => ok(*first) && rest.iter().all(|&b| ok(b) || b.is_ascii_digit()),
    }
}

/// `text` in double quotes with Go's `strconv.Quote` escapes.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}
