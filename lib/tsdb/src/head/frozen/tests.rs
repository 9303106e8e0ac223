//! What sections hold comes back, and wrong ones are refused.

use cairn_model::{Histogram, Value};
use proptest::prelude::*;

use super::*;
use crate::chunkenc::XorAppender;
use crate::chunkenc::histogram::{HistogramAppender, IntCounts};
use crate::chunkenc::test_data::{times, values};
use crate::head::full::FullChunks;
use crate::head::partition::Identity;

const IDENTITY: Identity = Identity { index: 0, tag: 7, key_seed: 11, window_ms: 10_000 };

proptest! {
    #[test]
    fn an_encoder_goes_on_where_it_was(t in times(40), v in values(40), cut in 0usize..40) {
        let floats: Vec<f64> = v.iter().filter_map(|v| if let Value::Float(f) = v { Some(*f) } else { None }).collect();
        let n = t.len().min(floats.len());
        let (t, v, cut) = (&t[..n], &floats[..n], cut.min(n));
        let (mut whole, mut parts) = (Vec::new(), Vec::new());
        let mut a = XorAppender::start(&mut whole);
        a.append(&mut whole, t, v);
        let mut b = XorAppender::start(&mut parts);
        b.append(&mut parts, &t[..cut], &v[..cut]);
        let mut state = Vec::new();
        b.put_state(&mut state);
        let mut b = XorAppender::from_state(state[..].try_into().unwrap()).unwrap();
        b.append(&mut parts, &t[cut..], &v[cut..]);
        prop_assert_eq!(whole, parts);
    }

    #[test]
    fn arbitrary_sections_never_panic(
        index in prop::collection::vec(any::<u8>(), 0..40),
        pairs in prop::collection::vec(any::<u8>(), 0..40),
        series in prop::collection::vec(any::<u8>(), 0..120),
    ) {
        let mut thawed = thaw(IDENTITY, FullChunks::default(), 2);
        let _ = thawed.index(0, &index);
        let _ = thawed.index(1, &[0, 0, 0, 0, 1, 1, b'n']);
        let _ = thawed.pairs(1, &pairs);
        let _ = thawed.pairs(1, &[1, 1, b'v']);
        let _ = thawed.series(&series);
        thawed.finish();
    }
}

#[test]
fn a_series_has_each_label_once_and_only_listed_ones() {
    let series = |pairs: &[u8]| [&[0; 17][..], &[1, 1, pairs.len() as u8], pairs].concat();
    let read = |section: &[u8]| {
        let mut thawed = thaw(IDENTITY, FullChunks::default(), 2);
        thawed.index(1, &[0, 0, 0, 0, 1, 1, b'n']).unwrap();
        thawed.pairs(1, &[1, 1, b'v']).unwrap();
        thawed.series(section).map_err(|e| e.to_string())
    };
    read(&series(&[0])).unwrap();
    let twice = read(&series(&[0, 0])).unwrap_err();
    assert!(twice.contains("twice"), "{twice}");
    let unknown = read(&series(&[1])).unwrap_err();
    assert!(unknown.contains("not listed"), "{unknown}");
}

#[test]
fn an_open_histogram_chunk_goes_on_where_it_was() {
    let sample = |count: u64| Histogram {
        count,
        zero_count: count / 2,
        sum: count as f64,
        positive_spans: vec![cairn_model::Span { offset: 0, length: 2 }],
        positive_buckets: vec![(count / 4) as i64, 1],
        ..Histogram::default()
    };
    let stale = Histogram { sum: cairn_model::sample::stale_nan(), ..Histogram::default() };
    let samples = [sample(40), sample(44), sample(80), stale];
    for cut in 1..=samples.len() {
        let mut whole = HistogramAppender::<IntCounts>::start(None, 1_000, &samples[0]);
        let mut parts = whole.clone();
        for (i, s) in samples.iter().enumerate().skip(1) {
            if i == cut {
                parts = HistogramAppender::reopen(parts.bytes()).unwrap();
            }
            whole.append(1_000 + i as i64 * 15, s);
            parts.append(1_000 + i as i64 * 15, s);
        }
        assert_eq!(parts.bytes(), whole.bytes(), "cut at {cut}");
        assert!(HistogramAppender::<IntCounts>::reopen(&whole.bytes()[..5]).is_err());
    }
}
