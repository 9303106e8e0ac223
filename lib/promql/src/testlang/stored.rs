//! What a store makes of histograms that are written to it: it forgets the hint of a chunk's first histogram, and
//! says "no reset" of those that follow in the same chunk.
//!
//! Loaded data goes through [`with_stored_hints`], so that an engine over plain columns sees what an engine over
//! Prometheus' storage sees. Source: chunk format of Prometheus (a chunk begins at a counter reset, a change of
//! schema, bounds or zero threshold, behind a stale marker, and where the kind of sample changes).

use std::sync::Arc;

use cairn_model::sample::Sample;
use cairn_model::{CounterResetHint, FloatHistogram, Value};

/// Sets the reset hints of `samples`, which are one series in order of time.
pub fn with_stored_hints(samples: &mut [Sample]) {
    let mut previous: Option<Arc<FloatHistogram>> = None;
    for sample in samples {
        let Value::FloatHistogram(h) = &mut sample.value else {
            previous = None;
            continue;
        };
        let follows = previous.as_ref().is_some_and(|p| continues_chunk(p, h));
        let written = Arc::clone(h);
        Arc::make_mut(h).reset_hint = match (written.reset_hint, follows) {
            (CounterResetHint::Gauge, _) => CounterResetHint::Gauge,
            (_, true) => CounterResetHint::NotReset,
            (_, false) => CounterResetHint::Unknown,
        };
        previous = Some(written);
    }
}

/// Whether counter histogram `h` may stand behind `previous` in a chunk.
fn continues_chunk(previous: &FloatHistogram, h: &FloatHistogram) -> bool {
    let counters = [previous, h].iter().all(|h| h.reset_hint != CounterResetHint::Gauge);
    if !counters || h.reset_hint == CounterResetHint::Reset {
        return false;
    }
    if h.is_stale() {
        return true;
    }
    !previous.is_stale()
        && h.schema == previous.schema
        && h.zero_threshold == previous.zero_threshold
        && h.custom_values == previous.custom_values
        && !without_hint(h).detect_reset(previous)
}

/// The hint that was written does not count in the store's own comparison.
fn without_hint(h: &FloatHistogram) -> FloatHistogram {
    FloatHistogram { reset_hint: CounterResetHint::Unknown, ..h.clone() }
}

#[cfg(test)]
mod tests {
    use super::super::sequence::{SequenceValue, parse_values};
    use super::*;
    use CounterResetHint::{Gauge, NotReset, Unknown};

    fn hints(sequence: &str) -> Vec<Option<CounterResetHint>> {
        let mut samples: Vec<Sample> = parse_values(sequence)
            .unwrap()
            .into_iter()
            .enumerate()
            .map(|(i, v)| Sample {
                t_ms: i as i64,
                start_ms: 0,
                value: match v {
                    SequenceValue::Histogram { value, .. } => Value::FloatHistogram(value),
                    SequenceValue::Float(v) => Value::Float(v),
                    SequenceValue::Omitted => unreachable!("no test omits"),
                },
            })
            .collect();
        with_stored_hints(&mut samples);
        let hint = |s: &Sample| match &s.value {
            Value::FloatHistogram(h) => Some(h.reset_hint),
            _ => None,
        };
        samples.iter().map(hint).collect()
    }

    #[test]
    fn a_chunk_ends_where_the_format_says() {
        let first = "{{count:2 sum:2 buckets:[2]}}";
        for (next, want) in [
            ("{{count:3 sum:2 buckets:[3]}}", NotReset),
            ("{{count:1 sum:2 buckets:[1]}}", Unknown),
            ("{{count:3 sum:2 buckets:[3] counter_reset_hint:reset}}", Unknown),
            ("{{count:3 sum:2 buckets:[3] counter_reset_hint:not_reset}}", NotReset),
            ("{{count:3 sum:2 buckets:[3] counter_reset_hint:gauge}}", Gauge),
            ("{{schema:1 count:3 sum:2 buckets:[3]}}", Unknown),
            ("{{count:3 sum:2 z_bucket:1 z_bucket_w:1 buckets:[2]}}", Unknown),
        ] {
            assert_eq!(hints(&format!("{first} {next}")), [Some(Unknown), Some(want)], "{next}");
        }
        assert_eq!(hints(&format!("{first} 5 {first}")), [Some(Unknown), None, Some(Unknown)]);
    }
}
