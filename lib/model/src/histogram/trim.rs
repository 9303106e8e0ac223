//! Cutting off the observations of a float histogram below or above a value (`>/` and `</` of PromQL).
//!
//! A bucket that holds the value is split by interpolation; one of infinite width is dropped rather than guessed
//! at. Sum and count are recomputed from what is left only when something was cut.

use super::FloatHistogram;
use super::buckets::Bucket;

/// Which side of the value is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Keep {
    /// Observations below (`</`).
    Below,
    /// Observations above (`>/`).
    Above,
}

/// What is left of a bucket: how many observations, and the value they are taken to have.
struct Left {
    count: f64,
    middle: f64,
}

impl FloatHistogram {
    /// Keeps the observations on one side of `at`.
    pub fn trim(&mut self, at: f64, keep: Keep) {
        let custom = self.uses_custom_buckets();
        let (mut count, mut sum, mut cut) = (0.0, 0.0, false);
        let mut populated = [false, false];
        let sides = [
            self.positive_buckets_with_bounds().collect::<Vec<_>>(),
            self.negative_buckets_with_bounds().collect::<Vec<_>>(),
        ];
        for (side, buckets) in sides.iter().enumerate() {
            let positive = side == 0;
            let counts = if positive { &mut self.positive_buckets } else { &mut self.negative_buckets };
            for (b, stored) in buckets.iter().zip(counts).filter(|(b, _)| b.count != 0.0) {
                populated[side] = true;
                let left = trimmed(b, at, keep, positive, custom);
                count += left.count;
                sum += left.middle * left.count;
                cut |= *stored != left.count;
                *stored = left.count;
            }
        }
        if self.zero_count > 0.0 {
            let left = trimmed_zero(self.zero_bucket(), at, keep, populated);
            cut |= self.zero_count != left.count;
            self.zero_count = left.count;
            count += left.count;
            sum += left.middle * left.count;
        }
        if cut {
            self.count = count;
            self.sum = sum;
            self.compact();
        }
    }
}

fn trimmed(b: &Bucket, at: f64, keep: Keep, positive: bool, custom: bool) -> Left {
    let (whole, partly) = match keep {
        Keep::Below => (b.upper <= at, b.lower < at),
        Keep::Above => (b.lower >= at, b.upper > at),
    };
    if whole {
        return Left { count: b.count, middle: middle(b.lower, b.upper, positive, custom) };
    }
    if !partly {
        return Left { count: 0.0, middle: 0.0 };
    }
    if b.lower == f64::NEG_INFINITY || b.upper == f64::INFINITY {
        return trimmed_infinite(b, at, keep);
    }
    let below = if at <= b.lower {
        0.0
    } else if at >= b.upper {
        b.count
    } else {
        b.count * b.fraction_below(at, custom)
    };
    match keep {
        Keep::Below => Left { count: below, middle: middle(b.lower, at, positive, custom) },
        Keep::Above => Left { count: b.count - below, middle: middle(at, b.upper, positive, custom) },
    }
}

/// A bucket of infinite width that holds `at`. The lowest custom bucket is taken to begin at 0 when its upper
/// bound is positive.
fn trimmed_infinite(b: &Bucket, at: f64, keep: Keep) -> Left {
    let finite = |x: f64| if x.is_infinite() { 0.0 } else { x };
    let nothing = |middle: f64| Left { count: 0.0, middle };
    if b.lower == f64::NEG_INFINITY {
        let from_zero = b.upper > 0.0 && b.upper < f64::INFINITY;
        return match keep {
            Keep::Below if at >= b.upper => Left { count: b.count, middle: 0.0 },
            Keep::Below if at > 0.0 && from_zero => Left { count: b.count * at / b.upper, middle: at / 2.0 },
            Keep::Below if b.upper <= 0.0 => Left { count: b.count, middle: at },
            Keep::Above if at == f64::NEG_INFINITY => Left { count: b.count, middle: 0.0 },
            Keep::Above if at >= 0.0 && at < b.upper && from_zero => {
                Left { count: b.count * (1.0 - at / b.upper), middle: (at + b.upper) / 2.0 }
            }
            _ => nothing(finite(b.upper)),
        };
    }
    match keep {
        Keep::Above if at >= b.lower => Left { count: b.count, middle: at },
        _ => nothing(finite(b.lower)),
    }
}

fn trimmed_zero(b: Bucket, at: f64, keep: Keep, [positive, negative]: [bool; 2]) -> Left {
    let lower = if positive && !negative { 0.0 } else { b.lower };
    let upper = if negative && !positive { 0.0 } else { b.upper };
    let whole = Left { count: b.count, middle: (lower + upper) / 2.0 };
    let nothing = Left { count: 0.0, middle: 0.0 };
    match keep {
        Keep::Below if at <= lower => nothing,
        Keep::Below if at >= upper => whole,
        Keep::Below => Left { count: b.count * ((at - lower) / (upper - lower)), middle: (lower + at) / 2.0 },
        Keep::Above if at <= lower => whole,
        Keep::Above if at >= upper => nothing,
        Keep::Above => Left { count: b.count * ((upper - at) / (upper - lower)), middle: (at + upper) / 2.0 },
    }
}

/// The value that stands for observations between two bounds.
fn middle(lower: f64, upper: f64, positive: bool, linear: bool) -> f64 {
    match (lower.is_infinite(), upper.is_infinite()) {
        (true, true) => 0.0,
        (true, false) if upper > 0.0 => upper / 2.0,
        (true, false) => upper,
        (false, true) => lower,
        (false, false) if linear => (lower + upper) / 2.0,
        (false, false) => {
            let geometric = (lower * upper).abs().sqrt();
            if positive { geometric } else { -geometric }
        }
    }
}
