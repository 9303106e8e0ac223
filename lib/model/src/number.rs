//! Floats as Prometheus prints them, which is as Go prints them. The one writer of numbers for people and programs.
//!
//! Digits are the shortest that read back as the same float, of those the nearest, and of two equally near the even one:
//! `zmij` and Go's strconv agree on that, Rust's `Display` does not. Only the layout is made here.

/// `%g`, and `%v`: an exponent below 1e-4 and from 1e6, else plain digits. Infinities are `+Inf` and `-Inf`.
pub fn format_g(v: f64) -> String {
    format_by(v, |exponent| (-4..6).contains(&exponent))
}

/// `%.<digits>g`: like [`format_g`] after rounding to so many significant digits, at least one.
pub fn format_g_rounded(v: f64, digits: usize) -> String {
    if let Some(word) = non_finite(v) {
        return word.to_owned();
    }
    let digits = digits.max(1);
    let rounded: f64 = format!("{:.*e}", digits - 1, v).parse().expect("LowerExp output reads back");
    format_by(rounded, |exponent| exponent >= -4 && exponent < digits as i32)
}

/// As Prometheus' API writes numbers and sample values: an exponent of at least two digits below 1e-6 and from 1e21, else
/// plain digits.
pub fn format_api(v: f64) -> String {
    text(|out| append_api(out, v))
}

/// `FormatFloat(v, 'f', -1, 64)`: never an exponent.
pub fn format_f(v: f64) -> String {
    format_by(v, |_| true)
}

/// `FormatFloat(v, 'e', -1, 64)`: always an exponent of at least two digits.
pub fn format_e(v: f64) -> String {
    format_by(v, |_| false)
}

/// Appends what [`format_api`] gives. An answer may have a million of them: nothing is allocated, and most are one copy.
pub fn append_api(out: &mut Vec<u8>, v: f64) {
    if let Some(word) = non_finite(v) {
        out.extend_from_slice(word.as_bytes());
    } else if v == 0.0 || (1e-6..1e21).contains(&v.abs()) {
        append_plain(out, v);
    } else {
        Digits::of(v).append_with_exponent(out, v.is_sign_negative());
    }
}

/// The shortest digits of a finite number without sign, point and zeros around them, and the decimal exponent of the
/// first.
pub fn shortest(v: f64) -> (String, i32) {
    let digits = Digits::of(v);
    (text(|out| out.extend_from_slice(digits.as_slice())), digits.exponent)
}

/// Plain digits where `is_plain` says so of the first digit's decimal exponent, else with an exponent.
fn format_by(v: f64, is_plain: impl FnOnce(i32) -> bool) -> String {
    if let Some(word) = non_finite(v) {
        return word.to_owned();
    }
    let digits = Digits::of(v);
    text(|out| match is_plain(digits.exponent) {
        true => append_plain(out, v),
        false => digits.append_with_exponent(out, v.is_sign_negative()),
    })
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

fn text(append: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::with_capacity(24);
    append(&mut out);
    String::from_utf8(out).expect("numbers are ASCII")
}

#[inline]
fn append_plain(out: &mut Vec<u8>, v: f64) {
    let mut buffer = zmij::Buffer::new();
    let text = buffer.format_finite(v);
    match text.strip_suffix(".0") {
        Some(whole) => out.extend_from_slice(whole.as_bytes()),
        None if !text.contains('e') => out.extend_from_slice(text.as_bytes()),
        // It goes over to exponents earlier than Prometheus does.
        None => Digits::of(v).append_plain(out, v.is_sign_negative()),
    }
}

/// Most digits that a float needs.
const MAX_DIGITS: usize = 17;

/// The significant digits of a number, the first and the last of them no zeros, except for zero itself.
struct Digits {
    digits: [u8; MAX_DIGITS],
    count: usize,
    /// Decimal exponent of the first digit.
    exponent: i32,
}

impl Digits {
    /// Of a finite number, without its sign.
    // Cold, for the sake of `append_api`, which then writes whole numbers in half the time.
    #[cold]
    #[inline(never)]
    fn of(v: f64) -> Digits {
        let mut buffer = zmij::Buffer::new();
        let text = buffer.format_finite(v.abs());
        let (mantissa, exponent) = text.split_once('e').unwrap_or((text, "0"));
        let exponent: i32 = exponent.parse().expect("a decimal exponent was written");
        let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
        let all = whole.bytes().chain(fraction.bytes());
        let zeros = all.clone().take_while(|d| *d == b'0').count();
        let mut digits = Digits { digits: [b'0'; MAX_DIGITS], count: 1, exponent: 0 };
        for (i, digit) in all.skip(zeros).enumerate().filter(|(_, d)| *d != b'0') {
            digits.digits[i] = digit;
            digits.count = i + 1;
            digits.exponent = exponent + whole.len() as i32 - 1 - zeros as i32;
        }
        digits
    }

    fn as_slice(&self) -> &[u8] {
        &self.digits[..self.count]
    }

    fn append_with_exponent(&self, out: &mut Vec<u8>, is_negative: bool) {
        if is_negative {
            out.push(b'-');
        }
        let (first, rest) = self.as_slice().split_at(1);
        out.extend_from_slice(first);
        if !rest.is_empty() {
            out.push(b'.');
            out.extend_from_slice(rest);
        }
        let n = self.exponent.unsigned_abs();
        out.extend_from_slice(if self.exponent < 0 { b"e-" } else { b"e+" });
        let digit = |n: u32| b'0' + (n % 10) as u8;
        if n >= 100 {
            out.push(digit(n / 100));
        }
        out.extend_from_slice(&[digit(n / 10), digit(n)]);
    }

    fn append_plain(&self, out: &mut Vec<u8>, is_negative: bool) {
        if is_negative {
            out.push(b'-');
        }
        let zeros = |out: &mut Vec<u8>, n: usize| out.resize(out.len() + n, b'0');
        if self.exponent < 0 {
            out.extend_from_slice(b"0.");
            zeros(out, self.exponent.unsigned_abs() as usize - 1);
            out.extend_from_slice(self.as_slice());
            return;
        }
        let before_point = self.exponent as usize + 1;
        let whole = &self.as_slice()[..self.count.min(before_point)];
        out.extend_from_slice(whole);
        zeros(out, before_point - whole.len());
        if self.count > before_point {
            out.push(b'.');
            out.extend_from_slice(&self.as_slice()[before_point..]);
        }
    }
}

#[cfg(test)]
mod tests;
