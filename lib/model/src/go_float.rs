//! Floats as Go's `strconv.ParseFloat` reads them, which is what parameters of Prometheus' API may be.
//!
//! Beside what Rust reads: hexadecimal floats (`0x1p4`), and `_` between digits. A number beyond the greatest float is
//! none, and `NaN` has no sign.

/// The float that `text` is, `None` where it is none.
///
/// Of a hexadecimal one with more than 53 bits each further digit is rounded by itself.
pub fn parse_float(text: &str) -> Option<f64> {
    if text.eq_ignore_ascii_case("nan") {
        return Some(f64::NAN);
    }
    let (sign, magnitude) = match text.as_bytes().first()? {
        b'-' => (-1.0, &text[1..]),
        b'+' => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    if ["inf", "infinity"].iter().any(|word| magnitude.eq_ignore_ascii_case(word)) {
        return Some(sign * f64::INFINITY);
    }
    if !underscores_separate_digits(magnitude) {
        return None;
    }
    let digits = magnitude.replace('_', "");
    let value = match digits.strip_prefix("0x").or_else(|| digits.strip_prefix("0X")) {
        Some(hex) => hexadecimal(hex)?,
        // Neither a second sign nor a word.
        None if digits.starts_with(|c: char| c == '.' || c.is_ascii_digit()) => digits.parse().ok()?,
        None => return None,
    };
    value.is_finite().then_some(sign * value)
}

/// `1.8p-1` behind its prefix: hexadecimal digits, and a power of two that must be there.
fn hexadecimal(text: &str) -> Option<f64> {
    let (mantissa, exponent) = text.split_once(['p', 'P'])?;
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let mut value = 0.0;
    for digit in whole.chars().chain(fraction.chars()) {
        value = value * 16.0 + f64::from(digit.to_digit(16)?);
    }
    let fraction_bits = i32::try_from(fraction.len()).ok()?.checked_mul(4)?;
    let exponent = exponent.parse::<i32>().ok()?.checked_sub(fraction_bits)?;
    Some(value * 2f64.powi(exponent))
}

/// Whether each underscore stands between two digits, or between the prefix and one.
fn underscores_separate_digits(text: &str) -> bool {
    let bytes = text.as_bytes();
    let hex = bytes.get(..2).is_some_and(|prefix| prefix.eq_ignore_ascii_case(b"0x"));
    let is_digit = |b: &u8| b.is_ascii_digit() || (hex && b.is_ascii_hexdigit());
    let separates = |at: usize| {
        let follows = (hex && at == 2) || (at > 0 && is_digit(&bytes[at - 1]));
        follows && bytes.get(at + 1).is_some_and(is_digit)
    };
    bytes.iter().enumerate().all(|(at, b)| *b != b'_' || separates(at))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, want) in [
            ("1", 1.0),
            ("-1.5", -1.5),
            ("+5", 5.0),
            (".5", 0.5),
            ("5.", 5.0),
            ("017", 17.0),
            ("1e3", 1000.0),
            ("1e-400", 0.0),
            ("1_0", 10.0),
            ("1e1_0", 1e10),
            ("0x1p4", 16.0),
            ("0X1P4", 16.0),
            ("-0x1p4", -16.0),
            ("0x1p+4", 16.0),
            ("0x1P-2", 0.25),
            ("0x1.8p1", 3.0),
            ("0x.8p0", 0.5),
            ("0x_1p4", 16.0),
            ("0x1_0p4", 256.0),
            ("inf", f64::INFINITY),
            ("-Infinity", f64::NEG_INFINITY),
        ] {
            assert_eq!(parse_float(text), Some(want), "{text}");
        }
        assert!(parse_float("NaN").is_some_and(f64::is_nan));
    }

    #[test]
    fn what_go_refuses_is_none() {
        for text in [
            "", "-", ".", "_1", "1_", "1__0", "1_.5", "1_e5", "1e", "e5", "0x", "0x1", "0x1p", "0xp1",
            "0x.p1", "0b1", "0o17", "1e400", "0x1p1025", "-nan", "--1", "+-1", " 1", "1 ", "x", "0x1pé", "é",
        ] {
            assert_eq!(parse_float(text), None, "{text}");
        }
    }
}
