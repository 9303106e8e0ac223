use proptest::prelude::*;

use super::*;
use crate::chunkenc::test_data::{any_float, float_columns};

fn decoded(chunk: &[u8]) -> (Vec<i64>, Vec<u64>) {
    let (mut t, mut v) = (Vec::new(), Vec::new());
    decode(chunk, &mut t, &mut v).unwrap();
    (t, v.iter().map(|v| v.to_bits()).collect())
}

#[test]
fn a_regular_constant_series_takes_two_bits_a_sample() {
    let t: Vec<i64> = (0..120).map(|i| 1_700_000_000_000 + i * 15_000).collect();
    let chunk = encode(&t, &[1.0; 120]);
    // count, varint t0 (6 B), v0 (8 B), uvarint delta (2 B) and a bit, then 118 × 2 bits
    assert_eq!(chunk.len(), 2 + 6 + 8 + 2 + (1 + 118 * 2usize).div_ceil(8));
    assert_eq!(decoded(&chunk).0, t);
}

#[test]
fn an_empty_chunk_is_two_bytes() {
    assert_eq!(encode(&[], &[]), [0, 0]);
    assert!(decoded(&[0, 0]).0.is_empty());
}

#[test]
fn a_broken_chunk_leaves_the_columns_alone() {
    let chunk = encode(&[1, 2, 3], &[1.0, 2.5, 3.5]);
    let (mut t, mut v) = (vec![7], vec![7.0]);
    for cut in 0..chunk.len() {
        assert!(decode(&chunk[..cut], &mut t, &mut v).is_err(), "cut at {cut}");
        assert_eq!((t.len(), v.len()), (1, 1));
    }
}

#[test]
fn a_claimed_count_does_not_allocate_beyond_the_bytes() {
    let mut chunk = encode(&[1], &[1.0]);
    chunk[..2].copy_from_slice(&u16::MAX.to_be_bytes());
    let (mut t, mut v) = (Vec::new(), Vec::new());
    assert!(decode(&chunk, &mut t, &mut v).is_err());
    assert_eq!(t.capacity(), 0);
}

proptest! {
    #[test]
    fn columns_round_trip(columns in float_columns(200)) {
        let (t, v) = columns;
        let chunk = encode(&t, &v);
        prop_assert_eq!(decoded(&chunk), (t, v.iter().map(|v| v.to_bits()).collect()));
    }

    #[test]
    fn any_times_round_trip(rows in prop::collection::vec((any::<i64>(), any_float()), 0..50)) {
        let (t, v): (Vec<i64>, Vec<f64>) = rows.into_iter().unzip();
        prop_assert_eq!(decoded(&encode(&t, &v)), (t, v.iter().map(|v| v.to_bits()).collect()));
    }

    #[test]
    fn appending_in_pieces_gives_the_same_bytes(columns in float_columns(100), cuts in prop::collection::vec(1usize..9, 0..40)) {
        let (t, v) = columns;
        let mut chunk = Vec::new();
        let mut appender = XorAppender::start(&mut chunk);
        let mut at = 0usize;
        for cut in cuts.into_iter().chain([usize::MAX]) {
            let end = at.saturating_add(cut).min(t.len());
            appender.append(&mut chunk, &t[at..end], &v[at..end]);
            at = end;
        }
        prop_assert_eq!(appender.samples(), t.len());
        prop_assert_eq!(&chunk, &encode(&t, &v));
        let reopened = XorAppender::reopen(&mut chunk).unwrap();
        prop_assert_eq!(reopened.last_ms(), t.last().copied().unwrap_or(0));
    }
}
