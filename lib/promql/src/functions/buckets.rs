//! Quantiles and fractions of classic histograms, whose buckets are series with an `le` label.
//!
//! Counts are cumulative. What floating point or inconsistent scrapes have broken is mended first: tiny
//! differences between neighbours are taken as none, and a count never falls with rising bounds.

/// Relative difference of neighbouring counts that is taken for rounding. Judgement of Prometheus: with 10¹²
/// observations a single one is at this limit.
const SMALL_DELTA: f64 = 1e-12;
/// The smallest normal float.
const MIN_NORMAL: f64 = f64::MIN_POSITIVE;

/// A cumulative bucket.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ClassicBucket {
    /// Upper bound, inclusive.
    pub upper: f64,
    /// Observations up to it.
    pub count: f64,
}

/// What had to be done to make counts rise.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Forced {
    /// Least and greatest bound whose count was raised.
    pub buckets: (f64, f64),
    /// The most that a count was raised by.
    pub max_diff: f64,
}

/// The bound in an `le` label.
pub fn parse_bound(text: &str) -> Option<f64> {
    text.parse().ok()
}

/// Sorts by bound, which is what the other functions expect, and joins buckets of one bound.
pub fn normalise(buckets: &mut Vec<ClassicBucket>) {
    buckets.sort_by(|a, b| a.upper.total_cmp(&b.upper));
    buckets.dedup_by(|next, kept| {
        let same = next.upper == kept.upper;
        if same {
            kept.count += next.count;
        }
        same
    });
}

/// The `q`-quantile of normalised buckets, of which there is at least one.
///
/// NaN when `q` is, when the last bucket is not +Inf, when there is no other bucket or no observation; −Inf for a
/// `q` below 0 and +Inf above 1. The first bucket begins at 0 unless its bound is not positive.
pub fn quantile(q: f64, buckets: &mut [ClassicBucket]) -> (f64, Option<Forced>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    if buckets.last().is_none_or(|b| b.upper != f64::INFINITY) {
        return (f64::NAN, None);
    }
    let forced = force_monotonic(buckets);
    let last = buckets.len() - 1;
    let observations = buckets[last].count;
    if last == 0 || observations == 0.0 {
        return (f64::NAN, forced);
    }
    let mut rank = q * observations;
    // Search for the first that reaches the rank; with NaN counts none does.
    let at = first_reaching(&buckets[..last], rank);
    let value = if at == last {
        buckets[last - 1].upper
    } else if at == 0 && buckets[0].upper <= 0.0 {
        buckets[0].upper
    } else {
        let (mut start, mut count) = (0.0, buckets[at].count);
        if at > 0 {
            start = buckets[at - 1].upper;
            count -= buckets[at - 1].count;
            rank -= buckets[at - 1].count;
        }
        start + (buckets[at].upper - start) * (rank / count)
    };
    (value, forced)
}

/// Binary search for the first bucket whose count is at least `rank`.
fn first_reaching(buckets: &[ClassicBucket], rank: f64) -> usize {
    let (mut low, mut high) = (0, buckets.len());
    while low < high {
        let middle = low + (high - low) / 2;
        if buckets[middle].count >= rank {
            high = middle;
        } else {
            low = middle + 1;
        }
    }
    low
}

/// Which part of the observations of normalised buckets lies between `lower` and `upper`.
pub fn fraction(lower: f64, upper: f64, buckets: &[ClassicBucket]) -> f64 {
    let Some(last) = buckets.last().filter(|b| b.upper == f64::INFINITY) else { return f64::NAN };
    let count = last.count;
    if count == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let (mut lower_rank, mut upper_rank) = (None, None);
    let mut rank = 0.0;
    let mut start = if buckets[0].upper <= 0.0 { f64::NEG_INFINITY } else { 0.0 };
    for b in buckets {
        let rank_of = |v: f64| {
            if start >= v {
                Some(rank)
            } else if b.upper <= v {
                None
            } else if start == f64::NEG_INFINITY {
                Some(b.count) // nothing can be said inside a bucket of infinite width
            } else {
                Some(rank + (b.count - rank) * (v - start) / (b.upper - start))
            }
        };
        lower_rank = lower_rank.or_else(|| rank_of(lower));
        upper_rank = upper_rank.or_else(|| rank_of(upper));
        if lower_rank.is_some() && upper_rank.is_some() {
            break;
        }
        rank = b.count;
        start = b.upper;
    }
    let clamped = |rank: Option<f64>| rank.map_or(count, |r| if r > count { count } else { r });
    (clamped(upper_rank) - clamped(lower_rank)) / count
}

/// Makes counts rise with bounds.
fn force_monotonic(buckets: &mut [ClassicBucket]) -> Option<Forced> {
    let mut forced: Option<Forced> = None;
    let mut previous = buckets[0].count;
    for b in &mut buckets[1..] {
        if b.count == previous {
            continue;
        }
        if almost_equal(previous, b.count) {
            b.count = previous;
        } else if b.count < previous {
            let diff = previous - b.count;
            let f = forced.get_or_insert(Forced { buckets: (b.upper, b.upper), max_diff: diff });
            f.buckets = (f.buckets.0.min(b.upper), f.buckets.1.max(b.upper));
            f.max_diff = f.max_diff.max(diff);
            b.count = previous;
        } else {
            previous = b.count;
        }
    }
    forced
}

fn almost_equal(a: f64, b: f64) -> bool {
    if a.is_nan() && b.is_nan() {
        return true;
    }
    let (sum, diff) = (a.abs() + b.abs(), (a - b).abs());
    if a == 0.0 || b == 0.0 || sum < MIN_NORMAL {
        return diff < SMALL_DELTA * MIN_NORMAL;
    }
    diff / sum.min(f64::MAX) < SMALL_DELTA
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(list: &[(f64, f64)]) -> Vec<ClassicBucket> {
        let mut b =
            list.iter().map(|(upper, count)| ClassicBucket { upper: *upper, count: *count }).collect();
        normalise(&mut b);
        b
    }

    const INF: f64 = f64::INFINITY;

    #[test]
    fn quantiles_interpolate_inside_the_bucket() {
        let mut b = buckets(&[(INF, 10.0), (1.0, 2.0), (2.0, 6.0)]);
        assert_eq!(quantile(0.4, &mut b), (1.5, None));
        assert_eq!(quantile(0.9, &mut b).0, 2.0, "the last bucket has no end to interpolate to");
        assert_eq!(quantile(0.1, &mut b).0, 0.5, "the first begins at zero");
        assert!(quantile(0.5, &mut buckets(&[(1.0, 2.0)])).0.is_nan());
        assert!(quantile(0.5, &mut buckets(&[(1.0, 0.0), (INF, 0.0)])).0.is_nan());
    }

    #[test]
    fn falling_counts_are_raised_and_told() {
        let mut b = buckets(&[(1.0, 5.0), (2.0, 3.0), (4.0, 5.0), (INF, 10.0)]);
        let (_, forced) = quantile(0.5, &mut b);
        assert_eq!(forced, Some(Forced { buckets: (2.0, 2.0), max_diff: 2.0 }));
        let mut rounding = buckets(&[(1.0, 1.0), (2.0, 1.0 - 1e-15), (INF, 1.0)]);
        assert_eq!(quantile(0.5, &mut rounding).1, None);
    }

    #[test]
    fn fractions_of_the_whole() {
        let b = buckets(&[(1.0, 2.0), (2.0, 6.0), (INF, 10.0)]);
        assert_eq!(fraction(0.0, 1.5, &b), 0.4);
        assert_eq!(fraction(f64::NEG_INFINITY, INF, &b), 1.0);
        assert_eq!(fraction(3.0, 1.0, &b), 0.0);
        assert!(fraction(f64::NAN, 1.0, &b).is_nan());
    }
}
