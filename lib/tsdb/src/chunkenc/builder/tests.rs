use std::sync::Arc;

use cairn_model::sample::Sample;
use proptest::prelude::*;

use super::*;
use crate::chunkenc::ChunkDecoder;
use crate::chunkenc::test_data::{times, values};

fn samples_of(chunks: &[Chunk]) -> Vec<Sample> {
    let mut out = Vec::new();
    for chunk in chunks {
        let ChunkData::Encoded(encoding, bytes) = &chunk.data else { panic!("builders encode") };
        let start = out.len();
        out.extend(ChunkDecoder::new(*encoding, bytes).map(Result::unwrap));
        assert_eq!((chunk.min_ms, chunk.max_ms), (out[start].t_ms, out.last().unwrap().t_ms));
    }
    out
}

#[test]
fn floats_are_cut_at_the_sample_limit_and_the_window_s_edge() {
    let rule = CutRule { window_ms: 1_000_000, ..CutRule::default() };
    let t: Vec<i64> = (0..300).map(|i| i * 5_000).collect();
    let v = vec![1.0; t.len()];
    let mut columns = ChunkBuilder::new(rule);
    columns.push_floats(&t, &v);
    let columns = columns.finish();
    let ranges: Vec<_> = columns.iter().map(|c| (c.min_ms, c.max_ms)).collect();
    assert_eq!(ranges, [(0, 595_000), (600_000, 995_000), (1_000_000, 1_495_000)]);

    let mut one_by_one = ChunkBuilder::new(rule);
    t.iter().for_each(|t| one_by_one.push(*t, 0, &Value::Float(1.0)));
    let one_by_one = one_by_one.finish();
    assert_eq!(columns.len(), one_by_one.len());
    for (a, b) in columns.iter().zip(&one_by_one) {
        match (&a.data, &b.data) {
            (ChunkData::Encoded(_, x), ChunkData::Encoded(_, y)) => assert_eq!(x, y),
            _ => panic!("builders encode"),
        }
    }
}

#[test]
fn large_histograms_are_cut_by_size_but_not_below_ten() {
    let wide = |n: u64| {
        Value::Histogram(Arc::new(cairn_model::Histogram {
            schema: 3,
            count: 160 * (1 << n),
            sum: n as f64,
            positive_spans: vec![cairn_model::Span { offset: 0, length: 160 }],
            positive_buckets: std::iter::once(1i64 << n).chain(std::iter::repeat_n(0, 159)).collect(),
            ..Default::default()
        }))
    };
    let mut small = ChunkBuilder::new(CutRule { histogram_bytes: 100, ..CutRule::default() });
    (0..25).for_each(|i| small.push(i as i64, 0, &wide(i)));
    let counts: Vec<usize> =
        small.finish().iter().map(|c| samples_of(std::slice::from_ref(c)).len()).collect();
    assert_eq!(counts, [10, 10, 5]);
}

#[test]
fn start_timestamps_are_kept_with_xor2_only() {
    for (xor2, want) in [(false, [0, 0]), (true, [5, 7])] {
        let mut b = ChunkBuilder::new(CutRule { xor2, ..CutRule::default() });
        b.push(10, 5, &Value::Float(1.0));
        b.push(20, 7, &Value::Float(2.0));
        let starts: Vec<i64> = samples_of(&b.finish()).iter().map(|s| s.start_ms).collect();
        assert_eq!(starts, want);
    }
}

proptest! {
    #[test]
    fn mixed_samples_come_back_in_order(t in times(300), v in values(300), xor2 in any::<bool>()) {
        let n = t.len().min(v.len());
        let mut b = ChunkBuilder::new(CutRule { xor2, max_samples: 50, ..CutRule::default() });
        for (t, v) in t.iter().zip(&v) {
            b.push(*t, 0, v);
        }
        let back = samples_of(&b.finish());
        prop_assert_eq!(back.len(), n);
        for ((want_t, want), got) in t.iter().zip(&v).zip(&back) {
            prop_assert_eq!(*want_t, got.t_ms);
            match (want, &got.value) {
                (Value::Float(a), Value::Float(b)) => prop_assert_eq!(a.to_bits(), b.to_bits()),
                (Value::Histogram(a), Value::Histogram(b)) => {
                    prop_assert_eq!(a.sum.to_bits(), b.sum.to_bits());
                    prop_assert!(a.is_stale() || a.count == b.count);
                }
                (Value::FloatHistogram(a), Value::FloatHistogram(b)) => {
                    prop_assert_eq!(a.sum.to_bits(), b.sum.to_bits());
                    prop_assert!(a.is_stale() || a.count == b.count);
                }
                _ => prop_assert!(false, "kind changed"),
            }
        }
    }
}
