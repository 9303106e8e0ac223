//! Sums that lose almost nothing to rounding.
//!
//! Kahan summation with Neumaier's improvement, as Prometheus sums: the result of adding many floats does not
//! depend on their order to more than the last digit. Source: A. Neumaier, "Rundungsfehleranalyse einiger
//! Verfahren zur Summation endlicher Summen", ZAMM 54 (1974).

/// A running sum and the rounding error it has collected.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Kahan {
    /// The sum as plain addition gives it.
    pub sum: f64,
    /// What rounding has cut off so far; 0 once the sum is infinite.
    pub c: f64,
}

impl Kahan {
    /// A sum that begins with `value`.
    #[inline]
    pub fn new(value: f64) -> Self {
        Kahan { sum: value, c: 0.0 }
    }

    /// Adds `x`.
    #[inline]
    pub fn add(&mut self, x: f64) {
        let t = self.sum + x;
        let lost = if self.sum.abs() >= x.abs() { (self.sum - t) + x } else { (x - t) + self.sum };
        self.c = if t.is_infinite() { 0.0 } else { self.c + lost };
        self.sum = t;
    }

    /// Adds another running sum.
    #[inline]
    pub fn merge(&mut self, other: Kahan) {
        self.add(other.sum);
        if other.c != 0.0 {
            self.add(other.c);
        }
    }

    /// The sum with its correction.
    #[inline]
    pub fn value(self) -> f64 {
        if self.sum.is_infinite() { self.sum } else { self.sum + self.c }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(values: &[f64]) -> f64 {
        let mut k = Kahan::default();
        values.iter().for_each(|v| k.add(*v));
        k.value()
    }

    #[test]
    fn small_terms_survive_large_ones() {
        assert_eq!(sum(&[1.0, 1e100, 1.0, -1e100]), 2.0);
        assert_eq!(sum(&[5e-324, 1e300, -1e300]), 5e-324);
    }

    #[test]
    fn infinities_and_nan_come_out_as_themselves() {
        assert_eq!(sum(&[1.0, f64::INFINITY, 2.0]), f64::INFINITY);
        assert!(sum(&[f64::INFINITY, f64::NEG_INFINITY]).is_nan());
        assert!(sum(&[1.0, f64::NAN]).is_nan());
        assert_eq!(sum(&[f64::MAX, f64::MAX]), f64::INFINITY);
    }
}
