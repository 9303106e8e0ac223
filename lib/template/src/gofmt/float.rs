//! Floats as Go's `strconv.FormatFloat` writes them: formats `e f g` (and capitals), hexadecimal `x`, binary `b`;
//! precision `None` is the shortest text that reads back as the same number.

use cairn_model::number;

/// Shortest output takes an exponent from this power of ten on: 100000, but 1e+06.
const SHORTEST_THRESHOLD: i32 = 6;

/// Formats without any sign but the minus. Infinities carry theirs: `+Inf`, `-Inf`.
pub(crate) fn format(value: f64, verb: char, precision: Option<usize>) -> String {
    if value.is_nan() {
        return "NaN".to_owned();
    }
    if value.is_infinite() {
        return if value > 0.0 { "+Inf" } else { "-Inf" }.to_owned();
    }
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let magnitude = value.abs();
    let text = match verb.to_ascii_lowercase() {
        'e' => exponential(&Digits::of(magnitude, precision.map(|p| p + 1)), precision),
        'f' => match precision {
            Some(places) => format!("{magnitude:.places$}"),
            None => number::format_f(magnitude),
        },
        'x' => hexadecimal(magnitude, precision),
        'b' => binary(magnitude),
        _ => general(magnitude, precision),
    };
    let text = if verb.is_ascii_uppercase() { text.to_ascii_uppercase() } else { text };
    format!("{sign}{text}")
}

/// Significant decimal digits and where the point stands: `0.d1d2… · 10^point`.
struct Digits {
    digits: String,
    point: i32,
}

impl Digits {
    /// The shortest digits, or exactly `count` of them correctly rounded.
    fn of(value: f64, count: Option<usize>) -> Digits {
        let Some(count) = count else {
            let (digits, exponent) = number::shortest(value);
            return Digits { digits, point: exponent + 1 };
        };
        let text = format!("{value:.*e}", count.max(1) - 1);
        let (mantissa, exponent) = text.split_once('e').expect("LowerExp writes an exponent");
        let digits = mantissa.replace('.', "");
        let exponent: i32 = exponent.parse().expect("LowerExp writes a decimal exponent");
        Digits { digits, point: exponent + 1 }
    }

    fn without_trailing_zeros(mut self) -> Digits {
        let kept = self.digits.trim_end_matches('0').len().max(1);
        self.digits.truncate(kept);
        self
    }
}

fn exponential(digits: &Digits, precision: Option<usize>) -> String {
    let (first, rest) = digits.digits.split_at(1);
    let places = precision.unwrap_or(rest.len());
    let exponent = digits.point - 1;
    let sign = if exponent < 0 { '-' } else { '+' };
    match places {
        0 => format!("{first}e{sign}{:02}", exponent.abs()),
        _ => format!("{first}.{rest:0<places$}e{sign}{:02}", exponent.abs()),
    }
}

fn general(value: f64, precision: Option<usize>) -> String {
    let digits = Digits::of(value, precision.map(|p| p.max(1))).without_trailing_zeros();
    let count = digits.digits.len() as i32;
    let mut threshold = precision.map_or(SHORTEST_THRESHOLD, |p| p.max(1) as i32);
    if precision.is_some() && threshold > count && count >= digits.point {
        threshold = count;
    }
    if digits.point - 1 < -4 || digits.point > threshold {
        return exponential(&digits, None);
    }
    fixed(&digits)
}

/// Digits without an exponent, no more places than there are digits.
fn fixed(digits: &Digits) -> String {
    let text = &digits.digits;
    let point = digits.point;
    if point <= 0 {
        return format!("0.{}{text}", "0".repeat(point.unsigned_abs() as usize));
    }
    let point = point as usize;
    match text.len() <= point {
        true => format!("{text:0<point$}"),
        false => format!("{}.{}", &text[..point], &text[point..]),
    }
}

/// `0x1.8p+01`: mantissa in [1, 2), rounded half to even when a precision asks for fewer digits.
fn hexadecimal(value: f64, precision: Option<usize>) -> String {
    let (mut mantissa, mut exponent) = decompose(value);
    if mantissa == 0 {
        let zeros = precision.filter(|p| *p > 0).map_or(String::new(), |p| format!(".{}", "0".repeat(p)));
        return format!("0x0{zeros}p+00");
    }
    // Put the leading bit at 2^52, so that 13 hexadecimal digits follow the point.
    while mantissa >> 52 == 0 {
        mantissa <<= 1;
        exponent -= 1;
    }
    if let Some(places) = precision.filter(|p| *p < 13) {
        let dropped = 4 * (13 - places) as u32;
        let (kept, tail) = (mantissa >> dropped, mantissa & ((1 << dropped) - 1));
        let half = 1u64 << (dropped - 1);
        let rounded = kept + u64::from(tail > half || (tail == half && kept & 1 == 1));
        mantissa = rounded << dropped;
        if mantissa >> 53 == 1 {
            mantissa >>= 1;
            exponent += 1;
        }
    }
    let fraction = format!("{:013x}", mantissa & ((1 << 52) - 1));
    let fraction = match precision {
        None => fraction.trim_end_matches('0').to_owned(),
        Some(places) => format!("{:0<places$}", &fraction[..places.min(13)]),
    };
    let dot = if fraction.is_empty() { "" } else { "." };
    let exponent = exponent + 52;
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("0x1{dot}{fraction}p{sign}{:02}", exponent.abs())
}

/// `4503599627370496p-52`: mantissa and exponent in decimal.
fn binary(value: f64) -> String {
    let (mantissa, exponent) = decompose(value);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{mantissa}p{sign}{}", exponent.abs())
}

/// The integers m, e with value = m · 2^e.
fn decompose(value: f64) -> (u64, i32) {
    let bits = value.to_bits();
    let biased = (bits >> 52 & 0x7ff) as i32;
    let fraction = bits & ((1 << 52) - 1);
    match biased {
        0 => (fraction, -1074),
        _ => (fraction | 1 << 52, biased - 1075),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_format_as_go_writes_it() {
        for (value, verb, precision, want) in [
            (1234567.0, 'g', None, "1.234567e+06"),
            (100000.0, 'g', None, "100000"),
            (1e21, 'g', None, "1e+21"),
            (0.00001, 'g', None, "1e-05"),
            (0.0001, 'g', None, "0.0001"),
            (0.0, 'g', None, "0"),
            (-0.0, 'g', None, "-0"),
            (1234.5678, 'g', Some(4), "1235"),
            (123456.0, 'g', Some(4), "1.235e+05"),
            (100000.0, 'g', Some(4), "1e+05"),
            (2.0, 'g', Some(0), "2"),
            (1.0, 'e', None, "1e+00"),
            (12345.678, 'e', Some(2), "1.23e+04"),
            (12345.678, 'E', Some(0), "1E+04"),
            (0.5, 'f', Some(0), "0"),
            (1e21, 'f', None, "1000000000000000000000"),
            (1.5, 'x', None, "0x1.8p+00"),
            (1.0, 'x', Some(3), "0x1.000p+00"),
            (1.99, 'x', Some(0), "0x1p+01"),
            (1.0, 'b', None, "4503599627370496p-52"),
            (f64::INFINITY, 'f', Some(2), "+Inf"),
        ] {
            assert_eq!(format(value, verb, precision), want, "{value} {verb} {precision:?}");
        }
    }
}
