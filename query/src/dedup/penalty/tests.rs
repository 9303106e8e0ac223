use cairn_model::sample::{STALE_NAN_BITS, is_stale};
use proptest::prelude::*;

use super::*;

fn line(points: &[(i64, f64)]) -> Vec<Sample> {
    points.iter().map(|(t_ms, v)| Sample { t_ms: *t_ms, start_ms: 0, value: Point::Float(*v) }).collect()
}

fn points(samples: &[Sample]) -> Vec<(i64, f64)> {
    let value = |s: &Sample| match s.value {
        Point::Float(v) => v,
        Point::Histogram(_) => panic!("{s:?}"),
    };
    samples.iter().map(|s| (s.t_ms, value(s))).collect()
}

fn merged(a: &[(i64, f64)], b: &[(i64, f64)], is_counter: bool) -> Vec<(i64, f64)> {
    points(&merge(line(a), line(b), is_counter))
}

#[test]
fn the_first_replica_is_kept_while_it_goes_on() {
    let a = [(0, 1.0), (10_000, 2.0), (20_000, 3.0)];
    let b = [(3_000, 1.5), (13_000, 2.5), (23_000, 3.5)];
    assert_eq!(merged(&a, &b, false), a, "one sample an interval, not two");
    assert_eq!(merged(&b, &a, false), a, "the earliest sample decides, not the order of the replicas");
}

#[test]
fn a_gap_of_the_picked_replica_is_filled_after_the_penalty() {
    let a = [(0, 0.0), (10_000, 1.0), (20_000, 2.0), (90_000, 9.0), (100_000, 10.0)];
    let b: Vec<(i64, f64)> = (0..11).map(|i| (i * 10_000 + 1_000, f64::from(i as i32) + 0.5)).collect();
    // After 20 s the other one is not looked at for 20 s; then it is kept, as it goes on.
    let got = merged(&a, &b, false);
    assert_eq!(got[..3], a[..3]);
    assert_eq!(got[3..], b[4..]);
}

#[test]
fn a_short_gap_is_not_filled() {
    let a = [(0, 0.0), (10_000, 1.0), (30_000, 3.0), (40_000, 4.0)];
    let b = [(5_000, 0.5), (15_000, 1.5), (25_000, 2.5), (35_000, 3.5)];
    assert_eq!(merged(&a, &b, false), a);
}

#[test]
fn what_only_one_replica_has_is_there() {
    let a = [(0, 1.0), (10_000, 2.0)];
    assert_eq!(merged(&a, &[], false), a);
    assert_eq!(merged(&[], &a, false), a);
    assert_eq!(merged(&[], &[], false), []);
}

#[test]
fn a_counter_that_is_behind_is_lifted_at_the_change() {
    let a = [(0, 100.0), (10_000, 110.0), (20_000, 120.0)];
    let b = [(1_000, 40.0), (11_000, 50.0), (51_000, 90.0), (61_000, 100.0)];
    assert_eq!(merged(&a, &b, true)[3..], [(51_000, 120.0), (61_000, 130.0)]);
    assert_eq!(merged(&a, &b, false)[3..], [(51_000, 90.0), (61_000, 100.0)], "a gauge is what it is");
}

#[test]
fn stale_markers_stay_and_lift_nothing() {
    let stale = f64::from_bits(STALE_NAN_BITS);
    let a = [(0, 100.0), (10_000, stale)];
    let b = [(1_000, 40.0), (31_000, 60.0)];
    let got = merged(&a, &b, true);
    assert!(got.len() == 3 && is_stale(got[1].1), "{got:?}");
    assert_eq!(got[2], (31_000, 100.0));
}

/// Times of a replica that scrapes every `interval`, with jitter and outages.
fn replica() -> impl Strategy<Value = Vec<(i64, f64)>> {
    let slots = prop::collection::vec((0i64..2_000, prop::bool::weighted(0.85)), 0..120);
    (slots, 0i64..15_000).prop_map(|(slots, offset)| {
        let at = |(i, (jitter, up)): (usize, (i64, bool))| {
            up.then_some((i as i64 * 15_000 + offset + jitter, i as f64 * 10.0 + jitter as f64 / 1e3))
        };
        slots.into_iter().enumerate().filter_map(at).collect()
    })
}

proptest! {
    #[test]
    fn times_rise_and_every_sample_is_a_replicas(a in replica(), b in replica()) {
        let got = merged(&a, &b, false);
        prop_assert!(got.windows(2).all(|w| w[0].0 < w[1].0));
        prop_assert!(got.iter().all(|p| a.contains(p) || b.contains(p)));
        prop_assert_eq!(got.is_empty(), a.is_empty() && b.is_empty());
    }

    #[test]
    fn a_replica_merged_with_itself_is_itself(a in replica()) {
        prop_assert_eq!(merged(&a, &a, false), a.clone());
        prop_assert_eq!(merged(&a, &a, true), a);
    }

    #[test]
    fn the_order_of_replicas_matters_only_where_times_are_equal(a in replica(), b in replica()) {
        let shares_a_time = a.iter().any(|(t, _)| b.iter().any(|(other, _)| other == t));
        prop_assume!(!shares_a_time);
        prop_assert_eq!(merged(&a, &b, false), merged(&b, &a, false));
    }

    /// While one replica goes on without outages, no gap is longer than the other one's outage can explain: the sample
    /// before the change, the penalty of twice the distance, and the wait for the next sample.
    #[test]
    fn an_unbroken_replica_bounds_every_gap(b in replica(), offset in 0i64..15_000) {
        let unbroken: Vec<(i64, f64)> = (0..120).map(|i| (i * 15_000 + offset, 0.0)).collect();
        let got = merged(&unbroken, &b, false);
        let longest = |points: &[(i64, f64)]| points.windows(2).map(|w| w[1].0 - w[0].0).max().unwrap_or(0);
        // Distances within `b` may be long, and the penalty grows with them; it is paid by the unbroken one.
        let bound = 3 * longest(&b).max(15_000) + 15_000;
        prop_assert!(longest(&got) <= bound, "{} > {bound}", longest(&got));
        prop_assert!(got.first().unwrap().0 <= offset && got.last().unwrap().0 + bound >= 119 * 15_000);
    }

    #[test]
    fn a_rising_counter_stays_rising(a in replica(), b in replica(), behind in 0.0f64..1e4) {
        let b: Vec<(i64, f64)> = b.into_iter().map(|(t, v)| (t, v - behind)).collect();
        let got = merged(&a, &b, true);
        // Sums of floats are rounded.
        prop_assert!(got.windows(2).all(|w| w[0].1 <= w[1].1 + 1e-6), "{got:?}");
    }
}
