use cairn_model::{CounterResetHint, Histogram, Span};
use proptest::prelude::*;

use super::counts::Counts;
use super::decode::ReadCounts;
use super::*;
use crate::chunkenc::test_data::{float_histogram, histogram};

/// Appends everything with an unbounded chunk size; gives the closed chunks' payloads.
fn encode<C: ReadCounts>(samples: &[C::Sample]) -> Vec<Vec<u8>> {
    let mut done = Vec::new();
    let mut open: Option<HistogramAppender<C>> = None;
    for (i, h) in samples.iter().enumerate() {
        let t = i as i64 * 15_000;
        open = Some(match open.take() {
            None => HistogramAppender::start(None, t, h),
            Some(mut chunk) => match chunk.append(t, h) {
                Appended::NewChunk(next) => {
                    done.push(chunk.into_bytes());
                    *next
                }
                _ => chunk,
            },
        });
    }
    done.extend(open.map(HistogramAppender::into_bytes));
    done
}

fn headers(chunks: &[Vec<u8>]) -> Vec<ResetHeader> {
    chunks.iter().map(|c| ResetHeader::from_flags(c[2])).collect()
}

fn decode<C: ReadCounts>(chunks: &[Vec<u8>]) -> Vec<(i64, C::Sample)> {
    let mut out = Vec::new();
    for chunk in chunks {
        let mut r = HistogramReader::<C>::new(chunk).unwrap();
        while let Some(row) = r.read().unwrap() {
            out.push(row);
        }
        assert_eq!(r.remaining(), 0);
    }
    out
}

/// Populated buckets of one side by index: what a histogram means, whatever its layout.
fn meaning<N: Copy + PartialEq + Default>(spans: &[Span], counts: &[N]) -> Vec<(i64, N)> {
    spans::indexes(spans).zip(counts.iter().copied()).filter(|(_, n)| *n != N::default()).collect()
}

fn hist(spans: &[(i32, u32)], buckets: &[i64]) -> Histogram {
    Histogram {
        schema: 1,
        zero_threshold: 0.001,
        count: counts::absolute(buckets).iter().sum::<i64>() as u64,
        sum: 1.5,
        positive_spans: spans.iter().map(|&(offset, length)| Span { offset, length }).collect(),
        positive_buckets: buckets.to_vec(),
        ..Histogram::default()
    }
}

#[test]
fn new_buckets_widen_the_chunk_and_missing_empty_ones_the_sample() {
    let chunks = encode::<IntCounts>(&[
        hist(&[(0, 1)], &[2]),
        hist(&[(0, 1), (2, 1)], &[2, 1]), // a bucket more: recode
        hist(&[(0, 1), (2, 1)], &[3, 1]),
        hist(&[(0, 1), (1, 1), (0, 1)], &[3, -3, 4]), // another one between: recode
    ]);
    assert_eq!(chunks.len(), 1);
    let samples = decode::<IntCounts>(&chunks);
    let wide = [Span { offset: 0, length: 1 }, Span { offset: 1, length: 1 }, Span { offset: 0, length: 1 }];
    for (_, h) in &samples {
        assert_eq!(h.positive_spans, wide);
    }
    assert_eq!(samples[0].1.positive_buckets, [2, -2, 0]);
    assert_eq!(samples[1].1.positive_buckets, [2, -2, 3]);
    assert_eq!(samples[3].1.positive_buckets, [3, -3, 4]);
}

#[test]
fn each_reason_for_a_new_chunk_has_its_header() {
    use CounterResetHint as Hint;
    use ResetHeader::{Gauge, NotReset, Reset, Unknown};
    let base = || hist(&[(0, 2)], &[2, 1]);
    let with = |edit: fn(&mut Histogram)| {
        let mut h = base();
        edit(&mut h);
        h
    };
    let cases = [
        (with(|h| h.count = 1), Reset, Reset),
        (with(|h| h.positive_buckets = vec![1, 3]), Reset, Reset),
        (with(|h| h.reset_hint = Hint::Reset), Reset, Reset),
        (with(|h| h.schema = 2), Unknown, Unknown),
        (with(|h| h.zero_threshold = 0.5), Unknown, Unknown),
        (with(|h| h.reset_hint = Hint::Gauge), Gauge, Gauge),
        (hist(&[(1, 1)], &[9]), Reset, Reset), // a populated bucket vanished
    ];
    for (next, int, float) in cases {
        assert_eq!(headers(&encode::<IntCounts>(&[base(), next.clone()])), [Unknown, int], "{next:?}");
        let floats = [base().to_float(), next.to_float()];
        assert_eq!(headers(&encode::<FloatCounts>(&floats)), [Unknown, float], "{next:?}");
    }
    // Back from gauge to counter the two kinds differ, as in Prometheus.
    let back = [with(|h| h.reset_hint = Hint::Gauge), base()];
    assert_eq!(headers(&encode::<IntCounts>(&back)), [Gauge, NotReset]);
    assert_eq!(headers(&encode::<FloatCounts>(&back.map(|h| h.to_float()))), [Gauge, Unknown]);
}

#[test]
fn custom_bounds_that_change_are_a_reset() {
    let custom = |bounds: &[f64]| Histogram {
        schema: -53,
        zero_threshold: 0.0,
        custom_values: bounds.to_vec(),
        ..hist(&[(0, 2)], &[1, 0])
    };
    let chunks = encode::<IntCounts>(&[custom(&[1.0, 2.5]), custom(&[1.0, 2.5]), custom(&[1.0, 3.0])]);
    assert_eq!(headers(&chunks), [ResetHeader::Unknown, ResetHeader::Reset]);
    assert_eq!(decode::<IntCounts>(&chunks)[1].1.custom_values, [1.0, 2.5]);
}

#[test]
fn only_stale_markers_follow_a_stale_marker() {
    let stale = || Histogram { sum: cairn_model::sample::stale_nan(), count: 9, ..Histogram::default() };
    let chunks = encode::<IntCounts>(&[hist(&[(0, 1)], &[2]), stale(), stale(), hist(&[(0, 1)], &[2])]);
    assert_eq!(headers(&chunks), [ResetHeader::Unknown, ResetHeader::Unknown]);
    let samples = decode::<IntCounts>(&chunks);
    assert!(samples[1].1.is_stale() && samples[2].1.is_stale());
    assert_eq!(samples[2].1.positive_spans, []);
    assert_eq!(decode::<IntCounts>(&encode::<IntCounts>(&[stale(), stale()])).len(), 2);
}

#[test]
fn gauges_merge_layouts_both_ways() {
    let gauge = |spans: &[(i32, u32)], buckets: &[i64]| Histogram {
        reset_hint: CounterResetHint::Gauge,
        ..hist(spans, buckets)
    };
    let chunks = encode::<IntCounts>(&[gauge(&[(0, 2)], &[5, 0]), gauge(&[(1, 2)], &[1, 1])]);
    assert_eq!(headers(&chunks), [ResetHeader::Gauge]);
    let samples = decode::<IntCounts>(&chunks);
    for (_, h) in &samples {
        assert_eq!(h.positive_spans, [Span { offset: 0, length: 3 }]);
        assert_eq!(h.reset_hint, CounterResetHint::Gauge);
    }
    assert_eq!(samples[1].1.positive_buckets, [0, 1, 1]);
}

#[test]
fn a_full_chunk_s_successor_says_whether_the_counter_went_on() {
    let first = HistogramAppender::<IntCounts>::start(None, 0, &hist(&[(0, 1)], &[2]));
    let up = hist(&[(0, 1)], &[3]);
    let down = hist(&[(0, 1)], &[1]);
    let other = Histogram { schema: 2, ..up.clone() };
    let header = |h| HistogramAppender::start(Some(&first), 1, h).header();
    assert_eq!(header(&up), ResetHeader::NotReset);
    assert_eq!(header(&down), ResetHeader::Reset);
    assert_eq!(header(&other), ResetHeader::Unknown);

    let first = HistogramAppender::<FloatCounts>::start(None, 0, &hist(&[(0, 1)], &[2]).to_float());
    let header = |h: &Histogram| HistogramAppender::start(Some(&first), 1, &h.to_float()).header();
    assert_eq!(header(&up), ResetHeader::NotReset);
    assert_eq!(header(&down), ResetHeader::Reset);
    assert_eq!(header(&other), ResetHeader::NotReset);
}

#[test]
fn schemas_finer_than_eight_are_reduced_on_read() {
    let fine = Histogram { schema: 10, ..hist(&[(1, 8)], &[1, 0, 0, 0, 0, 0, 0, 0]) };
    let int = decode::<IntCounts>(&encode::<IntCounts>(std::slice::from_ref(&fine)));
    assert_eq!(int[0].1.schema, 8);
    assert_eq!(int[0].1.positive_spans, [Span { offset: 1, length: 2 }]);
    assert_eq!(int[0].1.positive_buckets, [4, 0]);
    let float = decode::<FloatCounts>(&encode::<FloatCounts>(&[fine.to_float()]));
    assert_eq!(float[0].1.positive_buckets, [4.0, 4.0]);
    assert_eq!(float[0].1.schema, 8);
}

fn check_hint(original: CounterResetHint, decoded: CounterResetHint) {
    let gauge = |h| h == CounterResetHint::Gauge;
    assert_eq!(gauge(original), gauge(decoded));
}

proptest! {
    #[test]
    fn integer_histograms_round_trip(samples in prop::collection::vec(histogram(), 1..40)) {
        let chunks = encode::<IntCounts>(&samples);
        let back = decode::<IntCounts>(&chunks);
        prop_assert_eq!(back.len(), samples.len());
        for (i, (want, (t, got))) in samples.iter().zip(&back).enumerate() {
            prop_assert_eq!(*t, i as i64 * 15_000);
            prop_assert_eq!(want.sum.to_bits(), got.sum.to_bits());
            if want.is_stale() {
                continue;
            }
            check_hint(want.reset_hint, got.reset_hint);
            prop_assert_eq!((want.schema, want.count, want.zero_count), (got.schema, got.count, got.zero_count));
            prop_assert_eq!(want.zero_threshold, got.zero_threshold);
            prop_assert_eq!(&want.custom_values, &got.custom_values);
            let side = |spans: &[Span], deltas: &[i64]| meaning(spans, &counts::absolute(deltas));
            prop_assert_eq!(
                side(&want.positive_spans, &want.positive_buckets),
                side(&got.positive_spans, &got.positive_buckets)
            );
            prop_assert_eq!(
                side(&want.negative_spans, &want.negative_buckets),
                side(&got.negative_spans, &got.negative_buckets)
            );
        }
    }

    #[test]
    fn float_histograms_round_trip(samples in prop::collection::vec(float_histogram(), 1..40)) {
        let back = decode::<FloatCounts>(&encode::<FloatCounts>(&samples));
        prop_assert_eq!(back.len(), samples.len());
        for (want, (_, got)) in samples.iter().zip(&back) {
            prop_assert_eq!(want.sum.to_bits(), got.sum.to_bits());
            if want.is_stale() {
                continue;
            }
            check_hint(want.reset_hint, got.reset_hint);
            prop_assert_eq!((want.count, want.zero_count), (got.count, got.zero_count));
            prop_assert_eq!(
                meaning(&want.positive_spans, &want.positive_buckets),
                meaning(&got.positive_spans, &got.positive_buckets)
            );
            prop_assert_eq!(
                meaning(&want.negative_spans, &want.negative_buckets),
                meaning(&got.negative_spans, &got.negative_buckets)
            );
        }
    }

    /// A reader trusts that a counter never falls inside a chunk.
    #[test]
    fn no_counter_falls_inside_a_chunk(samples in prop::collection::vec(histogram(), 1..40)) {
        for chunk in encode::<IntCounts>(&samples) {
            let mut r = HistogramReader::<IntCounts>::new(&chunk).unwrap();
            let mut before: Option<counts::Plain<IntCounts>> = None;
            while let Some((_, h)) = r.read().unwrap() {
                if r.header() == ResetHeader::Gauge || h.is_stale() {
                    break;
                }
                let now = IntCounts::plain(&h);
                if let Some(b) = before {
                    prop_assert!(b.count <= now.count && b.zero_count <= now.zero_count);
                    prop_assert!(b.positive.iter().zip(&now.positive).all(|(x, y)| x <= y));
                    prop_assert!(b.negative.iter().zip(&now.negative).all(|(x, y)| x <= y));
                }
                before = Some(now);
            }
        }
    }
}
