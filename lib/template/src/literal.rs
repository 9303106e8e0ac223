//! Go's literals: integers in four bases, floats (hexadecimal too), characters, quoted strings.
//!
//! Source: the lexical elements of <https://go.dev/ref/spec> and `strconv`'s rules for what it accepts.

/// Reads an integer literal of any base, with sign and `_` between digits. `None`: no integer, or beyond 64 bits.
pub(crate) fn parse_int(text: &str) -> Option<i64> {
    let (negative, digits) = sign(text);
    let (base, digits) = match digits.as_bytes() {
        [b'0', b'x' | b'X', ..] => (16, &digits[2..]),
        [b'0', b'o' | b'O', ..] => (8, &digits[2..]),
        [b'0', b'b' | b'B', ..] => (2, &digits[2..]),
        [b'0', _, ..] => (8, &digits[1..]),
        _ => (10, digits),
    };
    if base == 10 && digits.starts_with('_') {
        return None;
    }
    let digits = without_underscores(digits)?;
    let magnitude = u64::from_str_radix(&digits, base).ok()?;
    match negative {
        true => 0i64.checked_sub_unsigned(magnitude),
        false => i64::try_from(magnitude).ok(),
    }
}

/// Whether the text has the form of an integer, however large.
pub(crate) fn is_int_syntax(text: &str) -> bool {
    let (_, digits) = sign(text);
    !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit())
}

/// Why a text is no float.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FloatError {
    Syntax,
    Range,
}

/// Reads a float as Go's `ParseFloat` does: decimal or hexadecimal, `inf`, `infinity`, `nan` in any case.
pub(crate) fn parse_float(text: &str) -> Result<f64, FloatError> {
    let (negative, digits) = sign(text);
    let lower = digits.to_ascii_lowercase();
    if lower == "inf" || lower == "infinity" {
        return Ok(if negative { f64::NEG_INFINITY } else { f64::INFINITY });
    }
    if text.eq_ignore_ascii_case("nan") {
        return Ok(f64::NAN);
    }
    let magnitude = match lower.strip_prefix("0x") {
        Some(hex) => parse_hex_float(hex)?,
        None => parse_decimal(&lower)?,
    };
    if magnitude.is_infinite() {
        return Err(FloatError::Range);
    }
    Ok(if negative { -magnitude } else { magnitude })
}

/// A literal in a template may have `_` between digits; text given to a function may not.
pub(crate) fn parse_float_literal(text: &str) -> Option<f64> {
    let plain = without_underscores(text)?;
    if plain.contains(['n', 'N']) || !plain.contains(|c: char| c.is_ascii_digit()) {
        return None;
    }
    parse_float(&plain).ok()
}

fn sign(text: &str) -> (bool, &str) {
    match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    }
}

/// Drops underscores; `None` when one is not between digits (or after a base prefix, whose digits come here alone).
fn without_underscores(text: &str) -> Option<String> {
    if text.is_empty() || text.ends_with('_') || text.contains("__") {
        return None;
    }
    Some(text.replace('_', ""))
}

fn parse_decimal(text: &str) -> Result<f64, FloatError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'e' | b'+' | b'-'));
    if !plain || text.starts_with(['+', '-']) {
        return Err(FloatError::Syntax);
    }
    text.parse().map_err(|_| FloatError::Syntax)
}

/// `1.8p3`, without the prefix: exact, because powers of two only shift. More than 60 bits of mantissa are rounded once
/// by the conversion from an integer, the rest counts as a sticky bit.
fn parse_hex_float(text: &str) -> Result<f64, FloatError> {
    let (mantissa, exponent) = text.split_once('p').ok_or(FloatError::Syntax)?;
    let exponent: i32 = match exponent.parse::<i64>() {
        Ok(e) => e.clamp(-100_000, 100_000) as i32,
        Err(_) => return Err(FloatError::Syntax),
    };
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return Err(FloatError::Syntax);
    }
    let (mut bits, mut shift, mut sticky) = (0u64, 0i32, false);
    for (at, digit) in whole.chars().chain(fraction.chars()).enumerate() {
        let digit = digit.to_digit(16).ok_or(FloatError::Syntax)?;
        let in_fraction = at >= whole.len();
        if bits >> 56 == 0 {
            bits = bits << 4 | u64::from(digit);
            shift -= if in_fraction { 4 } else { 0 };
        } else {
            sticky |= digit != 0;
            shift += if in_fraction { 0 } else { 4 };
        }
    }
    let scaled = (bits | u64::from(sticky)) as f64;
    Ok(scale_by_two(scaled, exponent.saturating_add(shift)))
}

/// `value · 2^exponent`, in steps that never overflow before the result does.
fn scale_by_two(mut value: f64, mut exponent: i32) -> f64 {
    while exponent > 0 && value.is_finite() && value != 0.0 {
        let step = exponent.min(1000);
        value *= 2f64.powi(step);
        exponent -= step;
    }
    while exponent < 0 && value != 0.0 {
        let step = (-exponent).min(1000);
        value /= 2f64.powi(step);
        exponent += step;
    }
    value
}

/// The text a quoted or raw literal stands for; `None`: bad escape.
pub(crate) fn unquote(literal: &str) -> Option<String> {
    let inner = literal.get(1..literal.len().checked_sub(1)?)?;
    if literal.starts_with('`') {
        return Some(inner.replace('\r', ""));
    }
    let mut bytes = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while !rest.is_empty() {
        rest = unescape(rest, '"', &mut bytes)?;
    }
    Some(String::from_utf8_lossy(&bytes).into_owned())
}

/// The code point of a character literal, quotes included.
pub(crate) fn unquote_char(literal: &str) -> Option<i64> {
    let inner = literal.strip_prefix('\'')?.strip_suffix('\'')?;
    let mut bytes = Vec::new();
    let rest = unescape(inner, '\'', &mut bytes)?;
    if !rest.is_empty() {
        return None;
    }
    match std::str::from_utf8(&bytes).ok().and_then(|s| s.chars().next()) {
        Some(c) => Some(i64::from(u32::from(c))),
        None => bytes.first().map(|b| i64::from(*b)),
    }
}

/// Takes one character or escape off `text` and appends what it stands for. `\x` and octal give bytes.
fn unescape<'a>(text: &'a str, quote: char, out: &mut Vec<u8>) -> Option<&'a str> {
    let mut chars = text.chars();
    let first = chars.next()?;
    if first != '\\' {
        if first == quote || first == '\n' {
            return None;
        }
        out.extend_from_slice(first.encode_utf8(&mut [0; 4]).as_bytes());
        return Some(chars.as_str());
    }
    let escape = chars.next()?;
    let rest = chars.as_str();
    let simple = match escape {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' => b'\\',
        c @ ('\'' | '"') if c == quote => c as u8,
        'x' => {
            out.push(u8::from_str_radix(hex_digits(rest, 2)?, 16).ok()?);
            return Some(&rest[2..]);
        }
        'u' | 'U' => {
            let width = if escape == 'u' { 4 } else { 8 };
            let code = u32::from_str_radix(hex_digits(rest, width)?, 16).ok()?;
            let c = char::from_u32(code)?;
            out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(&rest[width..]);
        }
        '0'..='7' => {
            let octal = text.get(1..4).filter(|t| t.bytes().all(|b| (b'0'..=b'7').contains(&b)))?;
            out.push(u8::from_str_radix(octal, 8).ok()?);
            return Some(&text[4..]);
        }
        _ => return None,
    };
    out.push(simple);
    Some(rest)
}

fn hex_digits(text: &str, width: usize) -> Option<&str> {
    text.get(..width).filter(|t| t.bytes().all(|b| b.is_ascii_hexdigit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_of_every_base() {
        for (text, want) in [
            ("0", Some(0)),
            ("-12", Some(-12)),
            ("0x1F", Some(31)),
            ("0o17", Some(15)),
            ("017", Some(15)),
            ("0b101", Some(5)),
            ("1_000", Some(1000)),
            ("-9223372036854775808", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("089", None),
            ("1__0", None),
            ("1.5", None),
        ] {
            assert_eq!(parse_int(text), want, "{text}");
        }
    }

    #[test]
    fn floats_as_go_reads_them() {
        for (text, want) in [
            ("1.", Ok(1.0)),
            (".5", Ok(0.5)),
            ("+1e3", Ok(1000.0)),
            ("0x1p-2", Ok(0.25)),
            ("0x1.8p1", Ok(3.0)),
            ("0x1p-1074", Ok(5e-324)),
            ("-Infinity", Ok(f64::NEG_INFINITY)),
            ("1e400", Err(FloatError::Range)),
            ("one", Err(FloatError::Syntax)),
            ("", Err(FloatError::Syntax)),
            ("1_0", Err(FloatError::Syntax)),
            ("--1", Err(FloatError::Syntax)),
            ("0x1", Err(FloatError::Syntax)),
        ] {
            assert_eq!(parse_float(text), want, "{text}");
        }
        assert!(parse_float("nan").is_ok_and(f64::is_nan));
    }

    #[test]
    fn quoted_text_with_every_escape() {
        assert_eq!(unquote(r#""a\tb\x41\101\u00e9\"""#).as_deref(), Some("a\tbAAé\""));
        assert_eq!(unquote("`a\\n\r`").as_deref(), Some("a\\n"));
        assert_eq!(unquote(r#""\'""#), None);
        assert_eq!(unquote(r#""\ud800""#), None);
        assert_eq!(unquote_char(r"'\''"), Some(39));
        assert_eq!(unquote_char("'é'"), Some(233));
        assert_eq!(unquote_char("'ab'"), None);
    }
}
