//! Values: a pure function of seed, series and round, apart from the running total of a counter.

use super::families::{Part, SHARE_BELOW, Shape};

/// A well-mixed 64-bit hash of its arguments (splitmix64's finisher), the only source of randomness here.
pub fn mix(a: u64, b: u64, c: u64) -> u64 {
    let mut x = a ^ b.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ c.wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
    for _ in 0..2 {
        x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
        x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        x ^= x >> 31;
    }
    x
}

/// A number in `[0, 1)` from the top bits of a hash.
pub fn unit(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

fn rounded(value: f64, quantum: f64) -> f64 {
    // Dividing by the inverse keeps 0.01 steps the doubles that a decimal text would parse to.
    if quantum < 1.0 {
        (value / quantum).round() / (1.0 / quantum).round()
    } else {
        (value / quantum).round() * quantum
    }
}

/// What identifies one value: the seed, the series (instance and place), the histogram it belongs to, and the round.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// Seed of the whole run.
    pub seed: u64,
    /// Number of the instance.
    pub instance: u64,
    /// Number of the series within the run.
    pub series: u64,
    /// Histogram of the instance, 0 for none.
    pub group: u64,
}

/// The value a series has before its first round.
pub fn initial(shape: Shape, place: Place) -> f64 {
    let own = unit(mix(place.seed, place.series, 0));
    match shape {
        Shape::Constant(value) => rounded(value * (0.5 + own), 1.0),
        Shape::Gauge { base, quantum, .. } => rounded(base * (0.5 + own), quantum),
        // A host that has been up for about a day.
        Shape::Counter { per_step, quantum, .. } => rounded(per_step * 5_000.0 * own, quantum),
        Shape::Requests(_) => 0.0,
    }
}

/// The value at `round`, from the one before it.
pub fn next(shape: Shape, place: Place, before: f64, round: u64) -> f64 {
    let draw = mix(place.seed ^ round, place.series, 1);
    match shape {
        Shape::Constant(_) => before,
        Shape::Gauge { base, spread, quantum } => {
            let own = unit(mix(place.seed, place.series, 0));
            let swing = (unit(draw) - 0.5) * spread;
            rounded((base * (0.5 + own) + swing).max(0.0), quantum)
        }
        Shape::Counter { per_step, quantum, resting } => {
            if mix(place.seed, place.series, 2).is_multiple_of(resting) {
                before
            } else {
                let own = 0.2 + unit(mix(place.seed, place.series, 3));
                rounded(before + per_step * own * (0.8 + 0.4 * unit(draw)), quantum)
            }
        }
        Shape::Requests(part) => {
            let draw = mix(place.seed ^ round, place.instance, place.group);
            let requests = (300.0 + 900.0 * unit(draw)).floor();
            match part {
                Part::Bucket(bound) => before + (requests * SHARE_BELOW[bound]).floor(),
                Part::Count => before + requests,
                Part::Sum => rounded(before + requests * (0.05 + 0.02 * unit(draw >> 3)), 1.0e-6),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn counters_and_buckets_never_fall_and_buckets_are_cumulative(seed: u64, instance in 0u64..1_000) {
            let place = Place { seed, instance, series: instance * 500 + 7, group: 3 };
            let counter = Shape::Counter { per_step: 2.0, quantum: 0.01, resting: 1_000_003 };
            let mut total = initial(counter, place);
            let mut buckets = vec![0.0; SHARE_BELOW.len()];
            let mut count = 0.0;
            for round in 1..20 {
                let now = next(counter, place, total, round);
                prop_assert!(now > total);
                total = now;
                for (bound, value) in buckets.iter_mut().enumerate() {
                    *value = next(Shape::Requests(Part::Bucket(bound)), place, *value, round);
                }
                count = next(Shape::Requests(Part::Count), place, count, round);
                prop_assert!(buckets.windows(2).all(|w| w[0] <= w[1]));
                prop_assert_eq!(*buckets.last().unwrap(), count);
            }
        }
    }

    #[test]
    fn a_quantum_gives_the_number_a_decimal_text_would() {
        assert_eq!(rounded(0.123_456, 0.01).to_string(), "0.12");
        assert_eq!(rounded(12_345.678, 0.01).to_string(), "12345.68");
        assert_eq!(rounded(9_999.0, 4_096.0), 8_192.0);
    }
}
