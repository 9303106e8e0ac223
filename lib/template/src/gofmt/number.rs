//! Integers in the bases of `printf`, with its signs, prefixes and paddings.

use super::verbs::Spec;

/// Writes an integer for one of `d b o O x X`, without padding to the width (zeros excepted).
pub(crate) fn integer(n: i128, verb: char, spec: &Spec) -> String {
    let magnitude = n.unsigned_abs();
    let digits = match verb {
        'b' => format!("{magnitude:b}"),
        'o' | 'O' => format!("{magnitude:o}"),
        'x' => format!("{magnitude:x}"),
        'X' => format!("{magnitude:X}"),
        _ => magnitude.to_string(),
    };
    let sign = match (n < 0, spec.plus, spec.space) {
        (true, ..) => "-",
        (false, true, _) => "+",
        (false, false, true) => " ",
        _ => "",
    };
    if spec.precision == Some(0) && n == 0 {
        return String::new();
    }
    let mut least = spec.precision.unwrap_or(0);
    if spec.precision.is_none() && spec.zero && !spec.minus {
        least = spec.width.unwrap_or(0).saturating_sub(sign.len());
    }
    let digits = format!("{}{digits}", "0".repeat(least.saturating_sub(digits.len())));
    let prefix = match (verb, spec.sharp) {
        ('b', true) => "0b",
        ('o', true) if !digits.starts_with('0') => "0",
        ('O', _) => "0o",
        ('x', true) => "0x",
        ('X', true) => "0X",
        _ => "",
    };
    format!("{sign}{prefix}{digits}")
}
