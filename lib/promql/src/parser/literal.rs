//! Values of number and string tokens.
//!
//! Numbers follow Go: `0x1F`, a leading zero is octal, `_` between digits, anything else decimal. Strings follow
//! Go's escapes in double and single quotes; backquoted text is taken as it is.

/// The value of a number token; the error text is Prometheus'.
pub fn parse_number(text: &str) -> Result<f64, String> {
    if let Some(value) = parse_integer(text) {
        return Ok(value as f64);
    }
    let refuse =
        |why: &str| Err(format!("error parsing number: strconv.ParseFloat: parsing \"{text}\": {why}"));
    let hex = text.as_bytes().get(..2).is_some_and(|b| b.eq_ignore_ascii_case(b"0x"));
    if hex || !underscores_are_between_digits(text) {
        return refuse("invalid syntax");
    }
    let plain: String = text.chars().filter(|c| *c != '_').collect();
    match plain.parse::<f64>() {
        // Only an explicit `Inf` is infinite; a number too large for a float is an error.
        Ok(v) if v.is_infinite() && plain.contains(|c: char| c.is_ascii_digit()) => {
            refuse("value out of range")
        }
        Ok(v) => Ok(v),
        Err(_) => refuse("invalid syntax"),
    }
}

/// Go's integer literals of base 16, 8 and 10; `None` when the text is none or does not fit.
fn parse_integer(text: &str) -> Option<i64> {
    let (digits, radix) = match text.as_bytes() {
        [b'0', b'x' | b'X', ..] => (&text[2..], 16),
        [b'0', _, ..] => (&text[1..], 8),
        _ => (text, 10),
    };
    if digits.contains('_') {
        if !underscores_are_between_digits(text) {
            return None;
        }
        return i64::from_str_radix(&digits.replace('_', ""), radix).ok();
    }
    // from_str_radix would take a sign, which a token never has.
    i64::from_str_radix(digits, radix).ok()
}

/// An underscore must follow a digit or the base prefix and precede a digit.
fn underscores_are_between_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = matches!(bytes, [b'0', b'x' | b'X', ..]);
    let is_digit = |b: u8| b.is_ascii_digit() || (hex && b.is_ascii_hexdigit());
    bytes.iter().enumerate().all(|(i, b)| {
        if *b != b'_' {
            return true;
        }
        let after_prefix = hex && i == 2;
        let before = i > 0 && is_digit(bytes[i - 1]);
        (after_prefix || before) && bytes.get(i + 1).is_some_and(|b| is_digit(*b))
    })
}

/// The value of a string token, quotes included in `token`. The lexer has checked the escapes. Escaped bytes that
/// are no UTF-8 become replacement characters, as no label can hold them.
pub fn unquote(token: &str) -> String {
    let inner = &token[1..token.len() - 1];
    if token.starts_with('`') || !inner.contains('\\') {
        return inner.to_owned();
    }
    let mut out = Vec::with_capacity(inner.len());
    let mut rest = inner;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        rest = escape(&rest[at + 1..], &mut out);
    }
    out.extend_from_slice(rest.as_bytes());
    String::from_utf8(out).unwrap_or_else(|e| String::from_utf8_lossy(e.as_bytes()).into_owned())
}

/// Decodes the escape at the start of `text` (its backslash is gone) and gives what follows it.
fn escape<'a>(text: &'a str, out: &mut Vec<u8>) -> &'a str {
    let first = text.chars().next().unwrap_or('\\');
    let simple = match first {
        'a' => Some(7),
        'b' => Some(8),
        'f' => Some(12),
        'n' => Some(b'\n'),
        'r' => Some(b'\r'),
        't' => Some(b'\t'),
        'v' => Some(11),
        '\\' | '"' | '\'' => Some(first as u8),
        _ => None,
    };
    if let Some(byte) = simple {
        out.push(byte);
        return text.get(1..).unwrap_or("");
    }
    let (skip, digits, radix) = match first {
        'x' => (1, 2, 16),
        'u' => (1, 4, 16),
        'U' => (1, 8, 16),
        _ => (0, 3, 8),
    };
    let value = text.get(skip..skip + digits).and_then(|d| u32::from_str_radix(d, radix).ok()).unwrap_or(0);
    if digits <= 3 {
        out.push(value as u8);
    } else {
        let c = char::from_u32(value).unwrap_or(char::REPLACEMENT_CHARACTER);
        out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
    }
    text.get(skip + digits..).unwrap_or("")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_follow_go() {
        for (text, value) in [
            ("1", 1.0),
            ("0xc", 12.0),
            ("0X_1f", 31.0),
            ("0755", 493.0),
            ("089", 89.0),
            ("1_000.5", 1000.5),
            ("0_7", 7.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e-3", 0.001),
            ("9223372036854775808", 9_223_372_036_854_775_808.0),
            ("iNf", f64::INFINITY),
        ] {
            assert_eq!(parse_number(text), Ok(value), "{text}");
        }
        assert!(parse_number("NaN").unwrap().is_nan());
        assert_eq!(
            parse_number("1e999").unwrap_err(),
            "error parsing number: strconv.ParseFloat: parsing \"1e999\": value out of range"
        );
        for bad in ["0xfffffffffffffffff", "", "é", "\u{FFFD}x", "0é"] {
            assert!(parse_number(bad).unwrap_err().ends_with("invalid syntax"), "{bad}");
        }
    }

    #[test]
    fn strings_follow_go() {
        for (token, value) in [
            (r#""a\n\"b\\""#, "a\n\"b\\"),
            (r#"'it\'s'"#, "it's"),
            (r"`\n`", "\\n"),
            (r#""\u1234\U00010111\x41\101""#, "\u{1234}\u{10111}AA"),
            (r#""\xe2\x82\xac""#, "€"),
            (r#""\xff""#, "\u{FFFD}"),
            (r#""☺""#, "☺"),
        ] {
            assert_eq!(unquote(token), value, "{token}");
        }
    }
}
