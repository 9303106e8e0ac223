//! Floats as Prometheus prints them, which is as Go prints them.
//!
//! Digits are the shortest that read back as the same float; only the layout differs from Rust's.

use std::fmt::Write;

/// `%g`: an exponent below 1e-4 and from 1e6, else plain digits. Infinities are `+Inf` and `-Inf`.
pub fn format_g(v: f64) -> String {
    if let Some(word) = non_finite(v) {
        return word.to_owned();
    }
    let (digits, exponent) = shortest(v);
    if (-4..6).contains(&exponent) { plain(v) } else { with_exponent(v, &digits, exponent) }
}

/// `%.<digits>g`: like [`format_g`] after rounding to so many significant digits, at least one.
pub fn format_g_rounded(v: f64, digits: usize) -> String {
    if let Some(word) = non_finite(v) {
        return word.to_owned();
    }
    let digits = digits.max(1);
    let rounded: f64 = format!("{:.*e}", digits - 1, v).parse().expect("LowerExp output reads back");
    let (text, exponent) = shortest(rounded);
    if exponent < -4 || exponent >= digits as i32 {
        with_exponent(v, &text, exponent)
    } else {
        plain(rounded)
    }
}

/// As Prometheus' API writes numbers and sample values: an exponent of at least two digits below 1e-6 and from 1e21, else
/// plain digits.
pub fn format_api(v: f64) -> String {
    if v == 0.0 || (1e-6..1e21).contains(&v.abs()) { plain(v) } else { format_e(v) }
}

/// `FormatFloat(v, 'f', -1, 64)`: never an exponent.
pub fn format_f(v: f64) -> String {
    match non_finite(v) {
        Some(word) => word.to_owned(),
        None => plain(v),
    }
}

/// `FormatFloat(v, 'e', -1, 64)`: always an exponent of at least two digits.
pub fn format_e(v: f64) -> String {
    match non_finite(v) {
        Some(word) => word.to_owned(),
        None => {
            let (digits, exponent) = shortest(v);
            with_exponent(v, &digits, exponent)
        }
    }
}

fn non_finite(v: f64) -> Option<&'static str> {
    if v.is_nan() {
        Some("NaN")
    } else if v == f64::INFINITY {
        Some("+Inf")
    } else if v == f64::NEG_INFINITY {
        Some("-Inf")
    } else {
        None
    }
}

/// Shortest digits without point, and the decimal exponent of the first.
fn shortest(v: f64) -> (String, i32) {
    let text = format!("{:e}", v.abs());
    let (mantissa, exponent) = text.split_once('e').expect("LowerExp always writes an exponent");
    (mantissa.replace('.', ""), exponent.parse().expect("LowerExp writes a decimal exponent"))
}

fn with_exponent(v: f64, digits: &str, exponent: i32) -> String {
    let mut out = String::with_capacity(digits.len() + 7);
    if v.is_sign_negative() {
        out.push('-');
    }
    out.push_str(&digits[..1]);
    if digits.len() > 1 {
        out.push('.');
        out.push_str(&digits[1..]);
    }
    let sign = if exponent < 0 { '-' } else { '+' };
    write!(out, "e{sign}{:02}", exponent.abs()).expect("writing to a String cannot fail");
    out
}

fn plain(v: f64) -> String {
    format!("{v}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_look_as_go_prints_them() {
        // value, %g, 'e', 'f' as printed by Go 1.26
        let cases = [
            (0.0, "0", "0e+00", "0"),
            (-0.0, "-0", "-0e+00", "-0"),
            (100000.0, "100000", "1e+05", "100000"),
            (1e6, "1e+06", "1e+06", "1000000"),
            (1234567.5, "1.2345675e+06", "1.2345675e+06", "1234567.5"),
            (1e21, "1e+21", "1e+21", "1000000000000000000000"),
            (0.0001, "0.0001", "1e-04", "0.0001"),
            (1e-5, "1e-05", "1e-05", "0.00001"),
            (-1.5, "-1.5", "-1.5e+00", "-1.5"),
            (f64::NAN, "NaN", "NaN", "NaN"),
            (f64::NEG_INFINITY, "-Inf", "-Inf", "-Inf"),
        ];
        for (v, g, e, f) in cases {
            assert_eq!((format_g(v).as_str(), format_e(v).as_str(), format_f(v).as_str()), (g, e, f));
        }
        // As Prometheus 3.14 answers queries with these values, and in its statistics.
        for (v, api) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (4.03e-7, "4.03e-07"),
            (1e-7, "1e-07"),
            (-9.9e-7, "-9.9e-07"),
            (1e-6, "0.000001"),
            (0.000001061, "0.000001061"),
            (60.0, "60"),
            (999999999999999900000.0, "999999999999999900000"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "+Inf"),
        ] {
            assert_eq!(format_api(v), api);
        }
        let two: Vec<_> = [1234567.0, 0.00001234, 3.0, 0.0].map(|v| format_g_rounded(v, 2)).into();
        assert_eq!(two, ["1.2e+06", "1.2e-05", "3", "0"]);
    }
}
