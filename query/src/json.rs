//! Prometheus' JSON, written straight into one buffer.
//!
//! Numbers as Prometheus prints them: timestamps are seconds with three decimals only when there is a fraction;
//! sample values are strings in the shortest form that reads back to the same float, with an exponent below
//! 1e-6 and from 1e21 on. A result of a million points is one pass over a `Vec<u8>`, without a tree of values.

use std::io::Write;

use cairn_model::labels::LabelsRef;
use cairn_model::number::append_api;

/// Appends `text` as a JSON string.
pub fn write_string(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    let escaped = |b: u8| b < 0x20 || b == b'"' || b == b'\\';
    // Hardly any text has one; without a way out of the loop it compiles to vector code.
    if text.bytes().fold(true, |plain, b| plain & !escaped(b)) {
        out.extend_from_slice(text.as_bytes());
        out.push(b'"');
        return;
    }
    let mut plain_from = 0;
    for (i, b) in text.bytes().enumerate() {
        let escape: &[u8] = match b {
            b'"' => b"\\\"",
            b'\\' => b"\\\\",
            b'\n' => b"\\n",
            b'\r' => b"\\r",
            b'\t' => b"\\t",
            0x00..=0x1f => b"",
            _ => continue,
        };
        out.extend_from_slice(&text.as_bytes()[plain_from..i]);
        if escape.is_empty() {
            write!(out, "\\u{b:04x}").expect("writing to memory");
        } else {
            out.extend_from_slice(escape);
        }
        plain_from = i + 1;
    }
    out.extend_from_slice(&text.as_bytes()[plain_from..]);
    out.push(b'"');
}

/// Appends a label set as a JSON object.
pub fn write_labels(out: &mut Vec<u8>, labels: LabelsRef<'_>) {
    out.push(b'{');
    for (i, (name, value)) in labels.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_string(out, name);
        out.push(b':');
        write_string(out, value);
    }
    out.push(b'}');
}

/// Appends strings as a JSON array.
pub fn write_strings<S: AsRef<str>>(out: &mut Vec<u8>, list: &[S]) {
    out.push(b'[');
    for (i, s) in list.iter().enumerate() {
        if i > 0 {
            out.push(b',');
        }
        write_string(out, s.as_ref());
    }
    out.push(b']');
}

/// Appends milliseconds as seconds: `1435781451.781`, `0.100`, `-1`.
pub fn write_timestamp(out: &mut Vec<u8>, t_ms: i64) {
    if t_ms < 0 {
        out.push(b'-');
    }
    let (mut seconds, fraction) = (t_ms.unsigned_abs() / 1000, t_ms.unsigned_abs() % 1000);
    // By hand: a point of a matrix has one, and the formatting machinery takes as long as the value itself.
    let mut text = [b'0'; MAX_TIMESTAMP_BYTES];
    let mut begin = MAX_TIMESTAMP_BYTES - FRACTION_BYTES;
    loop {
        begin -= 1;
        text[begin] = b'0' + (seconds % 10) as u8;
        seconds /= 10;
        if seconds == 0 {
            break;
        }
    }
    let mut end = MAX_TIMESTAMP_BYTES - FRACTION_BYTES;
    if fraction > 0 {
        let digit = |n: u64| b'0' + (n % 10) as u8;
        text[end..].copy_from_slice(&[b'.', digit(fraction / 100), digit(fraction / 10), digit(fraction)]);
        end = MAX_TIMESTAMP_BYTES;
    }
    out.extend_from_slice(&text[begin..end]);
}

/// A point and three digits.
const FRACTION_BYTES: usize = 4;
/// The seconds of any `i64` of milliseconds, and the fraction.
const MAX_TIMESTAMP_BYTES: usize = 17 + FRACTION_BYTES;

/// Appends `[t,"v"]`.
pub fn write_point(out: &mut Vec<u8>, t_ms: i64, v: f64) {
    out.push(b'[');
    write_timestamp(out, t_ms);
    out.extend_from_slice(b",\"");
    append_api(out, v);
    out.extend_from_slice(b"\"]");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(f: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut out = Vec::new();
        f(&mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn timestamps_keep_three_decimals_or_none() {
        for (t, want) in [
            (1435781451781, "1435781451.781"),
            (100, "0.100"),
            (5, "0.005"),
            (-1500, "-1.500"),
            (0, "0"),
            (1_000_000_000_010, "1000000000.010"),
            (i64::MAX, "9223372036854775.807"),
            (i64::MIN, "-9223372036854775.808"),
            (60_000, "60"),
        ] {
            assert_eq!(written(|o| write_timestamp(o, t)), want);
        }
    }

    #[test]
    fn strings_are_valid_json() {
        for text in ["", "plain", "q\"b\\n\n\r\t\u{1}é\u{1F600}"] {
            let json = written(|o| write_string(o, text));
            assert_eq!(serde_json::from_str::<String>(&json).unwrap(), text);
        }
    }
}
