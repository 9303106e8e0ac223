use super::*;

fn valid() -> Histogram {
    Histogram {
        schema: 1,
        zero_threshold: 0.001,
        zero_count: 2,
        count: 2 + 1 + 3 + 2 + 4,
        sum: 18.4,
        positive_spans: vec![Span { offset: -1, length: 2 }, Span { offset: 3, length: 1 }],
        positive_buckets: vec![1, 2, -1],
        negative_spans: vec![Span { offset: 0, length: 1 }],
        negative_buckets: vec![4],
        ..Default::default()
    }
}

#[test]
fn a_sound_histogram_is_valid_and_converts() {
    let h = valid();
    h.validate().unwrap();
    let f = h.to_float();
    f.validate().unwrap();
    assert_eq!(f.positive_buckets, [1.0, 3.0, 2.0]);
}

#[test]
fn each_broken_rule_is_named() {
    let check = |edit: fn(&mut Histogram), want: &str| {
        let mut h = valid();
        edit(&mut h);
        let got = h.validate().unwrap_err().to_string();
        assert!(got.contains(want), "{got:?} lacks {want:?}");
    };
    check(|h| h.count = 99, "should equal the number of observations");
    check(
        |h| {
            h.sum = f64::NAN;
            h.count = 3
        },
        "should be at least",
    );
    check(|h| h.positive_spans[1].offset = -1, "offset is negative");
    check(|h| h.positive_spans[1].length = 2, "different number of buckets");
    check(|h| h.positive_buckets[0] = -1, "observation count is negative");
    check(|h| h.schema = 60, "invalid schema");
    check(|h| h.custom_values = vec![1.0], "must not have custom bounds");
    check(|h| h.schema = CUSTOM_BUCKETS_SCHEMA, "no negative buckets");
}

#[test]
fn custom_buckets_need_rising_bounds_and_room() {
    let mut h = Histogram {
        schema: CUSTOM_BUCKETS_SCHEMA,
        count: 3,
        positive_spans: vec![Span { offset: 0, length: 3 }],
        positive_buckets: vec![1, 0, 0],
        custom_values: vec![1.0, 2.0],
        ..Default::default()
    };
    h.validate().unwrap();
    h.custom_values = vec![2.0, 1.0];
    assert_eq!(h.validate(), Err(InvalidHistogram::CustomBounds));
    h.custom_values = vec![1.0];
    assert_eq!(h.validate(), Err(InvalidHistogram::CustomBucketsMismatch(3, 2)));
}

#[test]
fn a_stale_marker_is_always_valid() {
    let h = Histogram { sum: crate::sample::stale_nan(), count: 7, ..Default::default() };
    h.validate().unwrap();
}

/// `(first index, counts)` as a dense positive side.
fn dense(schema: i32, first: i32, counts: &[f64]) -> FloatHistogram {
    let total: f64 = counts.iter().sum();
    FloatHistogram {
        schema,
        count: total,
        sum: total * 2.0,
        positive_spans: vec![Span { offset: first, length: counts.len() as u32 }],
        positive_buckets: counts.to_vec(),
        ..Default::default()
    }
}

#[test]
fn adding_joins_layouts_and_keeps_every_observation() {
    let mut a = dense(0, 0, &[1.0, 2.0]);
    a.add(&dense(0, 3, &[4.0])).unwrap();
    assert_eq!(a.positive().collect::<Vec<_>>(), [(0, 1.0), (1, 2.0), (3, 4.0)]);
    assert_eq!(a.positive_spans.len(), 2);
    a.add(&dense(1, 1, &[1.0, 1.0, 1.0])).unwrap(); // 1,2 -> 1; 3 -> 2
    assert_eq!(a.positive().collect::<Vec<_>>(), [(0, 1.0), (1, 4.0), (2, 1.0), (3, 4.0)]);
    a.add(&dense(-1, 1, &[8.0])).unwrap(); // 0 -> 0; 1,2 -> 1; 3 -> 2
    assert_eq!(a.schema, -1);
    assert_eq!(a.positive().collect::<Vec<_>>(), [(0, 1.0), (1, 13.0), (2, 4.0)]);
    assert_eq!(a.count, 18.0);
}

#[test]
fn zero_buckets_widen_to_a_bound_that_cuts_nothing() {
    let mut a = FloatHistogram { zero_threshold: 0.5, zero_count: 5.0, ..dense(0, 0, &[1.0, 2.0]) };
    let b = FloatHistogram { zero_threshold: 1.5, zero_count: 7.0, ..dense(0, 1, &[0.0, 3.0]) };
    a.add(&b).unwrap();
    // 1.5 lies in bucket (1, 2] of `a`, so both widen to 2.
    assert_eq!((a.zero_threshold, a.zero_count), (2.0, 5.0 + 7.0 + 1.0 + 2.0));
    assert_eq!(a.positive().collect::<Vec<_>>(), [(2, 3.0)]);
}

#[test]
fn custom_bounds_shrink_to_the_common_ones() {
    let custom = |bounds: &[f64], counts: &[f64]| FloatHistogram {
        custom_values: bounds.to_vec(),
        ..dense(CUSTOM_BUCKETS_SCHEMA, 0, counts)
    };
    let mut a = custom(&[1.0, 2.0, 3.0], &[1.0, 1.0, 1.0, 1.0]);
    let r = a.add(&custom(&[1.0, 3.0, 5.0], &[10.0, 10.0, 10.0, 10.0])).unwrap();
    assert!(r.custom_bounds);
    assert_eq!(a.custom_values, [1.0, 3.0]);
    assert_eq!(a.positive_buckets, [11.0, 12.0, 21.0]);
    assert_eq!(a.add(&dense(0, 0, &[1.0])), Err(IncompatibleSchemas));
}

#[test]
fn hints_join_and_contradictions_are_told() {
    use CounterResetHint::*;
    for (a, b, want, collision) in [
        (Reset, NotReset, Unknown, true),
        (Reset, Unknown, Unknown, false),
        (Gauge, NotReset, Gauge, false),
        (NotReset, NotReset, NotReset, false),
    ] {
        for (a, b) in [(a, b), (b, a)] {
            let mut x = FloatHistogram { reset_hint: a, ..dense(0, 0, &[1.0]) };
            let r = x.sub(&FloatHistogram { reset_hint: b, ..dense(0, 0, &[1.0]) }).unwrap();
            assert_eq!((x.reset_hint, r.reset_collision), (want, collision));
        }
    }
}

#[test]
fn compacting_removes_empty_buckets_and_joins_spans() {
    let mut h = FloatHistogram {
        positive_spans: vec![
            Span { offset: -2, length: 2 },
            Span { offset: 0, length: 3 },
            Span { offset: 2, length: 1 },
        ],
        positive_buckets: vec![0.0, 1.0, 2.0, 0.0, 3.0, 0.0],
        ..Default::default()
    };
    h.compact();
    assert_eq!(h.positive().collect::<Vec<_>>(), [(-1, 1.0), (0, 2.0), (2, 3.0)]);
    assert_eq!(h.positive_spans, [Span { offset: -1, length: 2 }, Span { offset: 1, length: 1 }]);
}

#[test]
fn resets_are_seen_through_layout_changes() {
    let a = dense(1, 0, &[1.0, 2.0, 3.0]);
    assert!(!dense(0, 0, &[1.0, 5.0]).detect_reset(&a), "coarser, nothing lost");
    assert!(dense(0, 0, &[1.0, 4.0, 1.0]).detect_reset(&a), "coarser, one lost");
    assert!(dense(2, 0, &[10.0]).detect_reset(&a), "finer");
    assert!(dense(1, 1, &[9.0, 9.0]).detect_reset(&a), "a populated bucket vanished");
    assert!(dense(1, 0, &[1.0, 2.0]).detect_reset(&a), "count fell");
    let hinted = FloatHistogram { reset_hint: CounterResetHint::NotReset, ..dense(1, 0, &[0.0]) };
    assert!(!hinted.detect_reset(&a));
    let wider = dense(1, 1, &[2.0, 3.0]);
    let wider = FloatHistogram { zero_threshold: 1.0, zero_count: 1.0, count: 6.0, ..wider };
    assert!(!wider.detect_reset(&a), "bucket 0 went into the zero bucket");
}

#[test]
fn quantiles_and_fractions_invert_each_other() {
    let h = FloatHistogram { zero_threshold: 0.001, zero_count: 2.0, ..dense(0, 0, &[4.0, 8.0, 2.0]) };
    let h = FloatHistogram { count: 16.0, ..h };
    for q in [0.2, 0.3, 0.5, 0.77, 0.9] {
        let (v, _) = h.quantile(q);
        let (f, _) = h.fraction(f64::NEG_INFINITY, v);
        assert!((f - q).abs() < 1e-12, "{q} -> {v} -> {f}");
    }
    assert_eq!(h.quantile(-0.1).0, f64::NEG_INFINITY);
    assert_eq!(h.quantile(1.1).0, f64::INFINITY);
    assert!(h.quantile(f64::NAN).0.is_nan());
    assert_eq!(h.fraction(2.0, 1.0).0, 0.0);
}

#[test]
fn nan_observations_are_told() {
    let h = FloatHistogram { count: 10.0, sum: f64::NAN, ..dense(0, 0, &[4.0]) };
    assert!(matches!(h.quantile(0.9), (v, Some(NanNote::Result)) if v.is_nan()));
    assert!(matches!(h.quantile(0.1), (_, Some(NanNote::Skew))));
    assert!(matches!(h.fraction(0.0, 100.0), (v, Some(NanNote::Excluded)) if v == 0.4));
}

#[test]
fn trimming_splits_the_bucket_that_holds_the_value() {
    let mut h = dense(0, 1, &[4.0, 4.0, 4.0]); // (1,2] (2,4] (4,8]
    h.trim(2.0f64.powf(1.5), Keep::Below);
    assert_eq!(h.positive().map(|(i, _)| i).collect::<Vec<_>>(), [1, 2]);
    assert!((h.count - 6.0).abs() < 1e-12);
    let whole = dense(0, 1, &[4.0, 4.0]);
    let mut same = whole.clone();
    same.trim(0.5, Keep::Above);
    assert!(same.same_data(&whole), "nothing to cut leaves sum and count alone");
}

#[test]
fn text_lists_populated_buckets() {
    let h = FloatHistogram { zero_count: 1.0, zero_threshold: 0.5, ..dense(0, 1, &[2.0, 0.0, 1.5]) };
    assert_eq!(h.to_string(), "{count:3.5, sum:7, [-0.5,0.5]:1, (1,2]:2, (4,8]:1.5}");
}

mod properties {
    use proptest::prelude::*;

    use super::super::*;

    fn histogram() -> impl Strategy<Value = FloatHistogram> {
        let side = || proptest::collection::btree_map(-6i32..12, 0u32..5, 0..8);
        (-4i32..4, side(), side(), prop_oneof![Just(0.0), Just(0.25), Just(0.3), Just(1.0)], 0u32..5)
            .prop_map(|(schema, positive, negative, zero_threshold, zero)| {
                let fill = |side: std::collections::BTreeMap<i32, u32>| {
                    ops::from_pairs(
                        side.into_iter()
                            .filter(|(i, _)| bounds::exponential_bound(*i - 1, schema) >= zero_threshold)
                            .map(|(i, c)| (i, f64::from(c))),
                    )
                };
                let (positive_spans, positive_buckets) = fill(positive);
                let (negative_spans, negative_buckets) = fill(negative);
                let count = f64::from(zero)
                    + positive_buckets.iter().sum::<f64>()
                    + negative_buckets.iter().sum::<f64>();
                FloatHistogram {
                    schema,
                    zero_threshold,
                    zero_count: f64::from(zero),
                    count,
                    sum: count,
                    positive_spans,
                    positive_buckets,
                    negative_spans,
                    negative_buckets,
                    ..Default::default()
                }
            })
    }

    fn observations(h: &FloatHistogram) -> f64 {
        h.zero_count + h.positive_buckets.iter().sum::<f64>() + h.negative_buckets.iter().sum::<f64>()
    }

    proptest! {
        #[test]
        fn addition_commutes_and_loses_nothing(a in histogram(), b in histogram()) {
            let (mut ab, mut ba) = (a.clone(), b.clone());
            ab.add(&b).unwrap();
            ba.add(&a).unwrap();
            ab.validate().unwrap();
            prop_assert_eq!(observations(&ab), observations(&a) + observations(&b));
            prop_assert_eq!(ab.count, a.count + b.count);
            ab.compact();
            ba.compact();
            prop_assert!(ab.same_data(&ba), "{ab:?} {ba:?}");
        }

        #[test]
        fn a_sum_of_kahan_cells_equals_plain_addition_of_integers(list in proptest::collection::vec(histogram(), 1..6)) {
            let mut plain = list[0].clone();
            let mut sum = HistogramSum::<crate::kahan::Kahan>::new(&list[0]);
            for h in &list[1..] {
                plain.add(h).unwrap();
                sum.add(h, 1.0).unwrap();
            }
            let mut sum = sum.finish();
            sum.compact();
            plain.compact();
            prop_assert!(sum.same_data(&plain));
        }

        #[test]
        fn what_was_added_can_be_subtracted(a in histogram(), b in histogram()) {
            let mut x = a.clone();
            x.add(&b).unwrap();
            x.sub(&b).unwrap();
            prop_assert_eq!(x.count, a.count);
            prop_assert_eq!(observations(&x), observations(&a));
        }

        #[test]
        fn growth_is_never_a_reset(a in histogram(), b in histogram()) {
            let mut later = a.clone();
            later.add(&b).unwrap();
            prop_assert!(!later.detect_reset(&a), "{a:?} {later:?}");
        }

        #[test]
        fn trimmed_parts_add_up(h in histogram(), at in -20.0f64..20.0) {
            let (mut below, mut above) = (h.clone(), h.clone());
            below.trim(at, Keep::Below);
            above.trim(at, Keep::Above);
            prop_assert!((below.count + above.count - h.count).abs() < 1e-9 * (1.0 + h.count));
        }
    }
}
