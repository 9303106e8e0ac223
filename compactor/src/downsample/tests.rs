use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_model::chunk::Aggregates;
use cairn_model::{Chunk, ChunkData, CounterResetHint, FloatHistogram, Histogram, Span, Value};
use cairn_tsdb::block::BlockChunk;
use cairn_tsdb::chunkenc::{ChunkBuilder, ChunkDecoder, CutRule};
use proptest::prelude::*;

use super::aggregates::counter_line;
use super::*;

fn raw_chunks(samples: &[(i64, Value)]) -> Vec<BlockChunk> {
    let mut b = ChunkBuilder::new(CutRule::default());
    for (t, v) in samples {
        b.push(*t, 0, v);
    }
    b.finish().iter().flat_map(|c| BlockChunk::from_chunk(c, CutRule::default())).collect()
}

fn floats_of(slot: &Option<Chunk>) -> Vec<(i64, f64)> {
    let ChunkData::Encoded(encoding, data) = &slot.as_ref().expect("a slot").data else { panic!("encoded") };
    let read = ChunkDecoder::new(*encoding, data).map(|s| s.unwrap());
    read.map(|s| match s.value {
        Value::Float(v) => (s.t_ms, v),
        other => panic!("{other:?}"),
    })
    .collect()
}

fn histograms_of(slot: &Option<Chunk>) -> Vec<(i64, Arc<FloatHistogram>)> {
    let ChunkData::Encoded(encoding, data) = &slot.as_ref().expect("a slot").data else { panic!("encoded") };
    let read = ChunkDecoder::new(*encoding, data).map(|s| s.unwrap());
    read.map(|s| match s.value {
        Value::FloatHistogram(h) => (s.t_ms, h),
        other => panic!("{other:?}"),
    })
    .collect()
}

/// What a counter rose by, as `increase` counts it.
fn rise(values: impl IntoIterator<Item = f64>) -> f64 {
    let (mut total, mut last) = (0.0, None);
    for v in values {
        total += match last {
            Some(l) if v >= l => v - l,
            Some(_) => v,
            None => 0.0,
        };
        last = Some(v);
    }
    total
}

#[test]
fn a_window_has_its_count_sum_min_max_and_running_counter() {
    let samples: Vec<(i64, Value)> =
        [(60_000, 5.0), (120_000, 7.0), (299_999, 1.0), (300_000, 4.0), (360_000, f64::NAN)]
            .into_iter()
            .map(|(t, v)| (t, Value::Float(v)))
            .collect();
    let made = from_raw(&raw_chunks(&samples), FIVE_MINUTES_MS).unwrap();
    let [a] = made.as_slice() else { panic!("{made:?}") };
    assert_eq!((a.min_ms, a.max_ms), (299_999, 300_000));
    assert_eq!(floats_of(&a.count), [(299_999, 3.0), (300_000, 1.0)]);
    assert_eq!(floats_of(&a.sum), [(299_999, 13.0), (300_000, 4.0)]);
    assert_eq!(floats_of(&a.min), [(299_999, 1.0), (300_000, 4.0)]);
    assert_eq!(floats_of(&a.max), [(299_999, 7.0), (300_000, 4.0)]);
    // First raw value; 5 + 2, then a reset to 1; then 3 more; the true last value at the same time again.
    assert_eq!(floats_of(&a.counter), [(60_000, 5.0), (299_999, 8.0), (300_000, 11.0), (300_000, 4.0)]);
}

proptest! {
    #[test]
    fn aggregates_are_those_of_the_raw_samples_at_both_levels(
        gaps in prop::collection::vec(1i64..400_000, 1..600),
        values in prop::collection::vec(prop_oneof![8 => 0u32..1_000, 1 => Just(u32::MAX)], 600),
    ) {
        let mut t = 1_700_000_000_000;
        let mut samples = Vec::new();
        for (gap, v) in gaps.iter().zip(&values) {
            t += gap;
            samples.push((t, if *v == u32::MAX { f64::NAN } else { f64::from(*v) }));
        }
        let typed: Vec<(i64, Value)> = samples.iter().map(|(t, v)| (*t, Value::Float(*v))).collect();
        let sound: Vec<(i64, f64)> = samples.into_iter().filter(|(_, v)| !v.is_nan()).collect();
        let five = from_raw(&raw_chunks(&typed), FIVE_MINUTES_MS).unwrap();
        check_level(&sound, &five, FIVE_MINUTES_MS)?;
        let hour = aggregates::downsample(&five, FIVE_MINUTES_MS, ONE_HOUR_MS).unwrap();
        check_level(&sound, &hour, ONE_HOUR_MS)?;
    }
}

fn check_level(
    raw: &[(i64, f64)],
    made: &[Aggregates],
    resolution_ms: i64,
) -> std::result::Result<(), TestCaseError> {
    if raw.is_empty() {
        prop_assert!(made.is_empty());
        return Ok(());
    }
    prop_assert!(made.windows(2).all(|w| w[0].max_ms < w[1].min_ms));
    prop_assert_eq!(made.last().unwrap().max_ms, raw.last().unwrap().0);
    // A window may be split where two batches meet, so totals are compared by window of the raw samples.
    let mut expected: BTreeMap<i64, (f64, f64, f64, f64)> = BTreeMap::new();
    for (t, v) in raw {
        let e = expected.entry(t.div_euclid(resolution_ms)).or_insert((
            0.0,
            0.0,
            f64::INFINITY,
            f64::NEG_INFINITY,
        ));
        *e = (e.0 + 1.0, e.1 + v, e.2.min(*v), e.3.max(*v));
    }
    let mut got: BTreeMap<i64, (f64, f64, f64, f64)> = BTreeMap::new();
    for a in made {
        let columns = [&a.count, &a.sum, &a.min, &a.max].map(floats_of);
        for (((c, s), lo), hi) in columns[0].iter().zip(&columns[1]).zip(&columns[2]).zip(&columns[3]) {
            prop_assert!(c.0 == s.0 && c.0 == lo.0 && c.0 == hi.0);
            let e = got.entry(c.0.div_euclid(resolution_ms)).or_insert((
                0.0,
                0.0,
                f64::INFINITY,
                f64::NEG_INFINITY,
            ));
            *e = (e.0 + c.1, e.1 + s.1, e.2.min(lo.1), e.3.max(hi.1));
        }
    }
    prop_assert_eq!(got, expected);
    let (line, last_raw) = counter_line(made).unwrap();
    prop_assert_eq!(line.t_ms.first(), raw.first().map(|(t, _)| t));
    prop_assert_eq!(line.values.first().copied(), raw.first().map(|(_, v)| *v));
    prop_assert_eq!(last_raw, raw.last().unwrap().1);
    let risen = line.values.last().unwrap() - line.values.first().unwrap();
    prop_assert!((risen - rise(raw.iter().map(|(_, v)| *v))).abs() < 1e-6);
    Ok(())
}

fn histogram(count: u64, buckets: [i64; 3], hint: CounterResetHint) -> Value {
    Value::Histogram(Arc::new(Histogram {
        reset_hint: hint,
        schema: 1,
        zero_threshold: 1e-128,
        zero_count: 0,
        count,
        sum: count as f64 * 2.0,
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_buckets: vec![buckets[0], buckets[1] - buckets[0], buckets[2] - buckets[1]],
        ..Histogram::default()
    }))
}

#[test]
fn histograms_keep_count_sum_and_a_counter_that_knows_resets() {
    let unknown = CounterResetHint::Unknown;
    let samples = vec![
        (60_000, histogram(3, [1, 1, 1], unknown)),
        (120_000, histogram(6, [2, 2, 2], unknown)),
        (300_000, histogram(2, [1, 1, 0], unknown)),
        (600_001, histogram(5, [2, 2, 1], unknown)),
    ];
    let made = from_raw(&raw_chunks(&samples), FIVE_MINUTES_MS).unwrap();
    let [a] = made.as_slice() else { panic!("{} chunks", made.len()) };
    assert!(a.min.is_none() && a.max.is_none());
    assert_eq!(floats_of(&a.count), [(299_999, 2.0), (599_999, 1.0), (600_001, 1.0)]);
    let sums: Vec<(i64, f64)> = histograms_of(&a.sum).iter().map(|(t, h)| (*t, h.count)).collect();
    assert_eq!(sums, [(299_999, 9.0), (599_999, 2.0), (600_001, 5.0)]);
    assert!(histograms_of(&a.sum).iter().all(|(_, h)| h.reset_hint == CounterResetHint::Gauge));
    let counts: Vec<(i64, f64)> = histograms_of(&a.counter).iter().map(|(t, h)| (*t, h.count)).collect();
    assert_eq!(counts, [(60_000, 3.0), (299_999, 6.0), (599_999, 8.0), (600_001, 11.0), (600_001, 5.0)]);

    let hour = aggregates::downsample(&made, FIVE_MINUTES_MS, ONE_HOUR_MS).unwrap();
    let [h] = hour.as_slice() else { panic!("{} chunks", hour.len()) };
    assert_eq!(floats_of(&h.count), [(600_001, 4.0)]);
    assert_eq!(histograms_of(&h.sum)[0].1.count, 16.0);
    let counts: Vec<f64> = histograms_of(&h.counter).iter().map(|(_, h)| h.count).collect();
    assert_eq!(counts, [3.0, 11.0, 5.0]);
}

#[test]
fn custom_buckets_are_aggregated_and_do_not_mix_with_exponential_ones() {
    let custom = |count: f64, bounds: &[f64]| {
        Value::FloatHistogram(Arc::new(FloatHistogram {
            schema: -53,
            count,
            sum: count,
            positive_spans: vec![Span { offset: 0, length: 1 }],
            positive_buckets: vec![count],
            custom_values: bounds.to_vec(),
            ..FloatHistogram::default()
        }))
    };
    let samples = vec![
        (60_000, custom(1.0, &[1.0, 2.0])),
        (120_000, custom(2.0, &[1.0, 2.0])),
        (180_000, custom(3.0, &[1.0, 4.0])),
        (240_000, histogram(3, [1, 1, 1], CounterResetHint::Unknown)),
        (290_000, Value::Float(7.0)),
    ];
    let made = from_raw(&raw_chunks(&samples), FIVE_MINUTES_MS).unwrap();
    let total: f64 = made.iter().flat_map(|a| floats_of(&a.count)).map(|(_, c)| c).sum();
    assert_eq!(total, 5.0, "no sample is lost");
    assert!(made.windows(2).all(|w| w[0].max_ms < w[1].min_ms));
    assert!(made.len() >= 3, "kinds do not mix");
}

#[test]
fn stale_markers_and_broken_chunks() {
    let stale = Value::Float(cairn_model::sample::stale_nan());
    assert!(from_raw(&raw_chunks(&[(1, stale)]), FIVE_MINUTES_MS).unwrap().is_empty());
    let broken = BlockChunk { min_ms: 0, max_ms: 1, encoding: 1, data: vec![0, 9, 1].into() };
    assert!(from_raw(&[broken], FIVE_MINUTES_MS).is_err());
    let aggregate = BlockChunk { min_ms: 0, max_ms: 1, encoding: 0xff, data: vec![0; 5].into() };
    assert!(from_raw(&[aggregate], FIVE_MINUTES_MS).is_err());
}
