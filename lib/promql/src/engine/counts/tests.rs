use proptest::prelude::*;

use super::*;

fn count(looked_at: u64, read: u64) -> SampleCount {
    SampleCount { looked_at, read }
}

#[test]
fn a_histogram_counts_by_its_size() {
    let mut h = FloatHistogram::default();
    assert_eq!(weight(&h), 11);
    h.positive_buckets = vec![1.0; 5];
    assert_eq!(weight(&h), 13);
}

#[test]
fn threads_add_up_and_what_is_the_same_counts_at_each_step_and_is_read_at_the_first() {
    let counts = SampleCounts::of_each_step(3);
    for _ in 0..2 {
        let mut tally = counts.tally();
        tally.add(1, SampleCount::fresh(5));
        counts.add(&tally);
    }
    counts.add_at_each(count(2, 7), 3);
    let sum = counts.sum();
    assert_eq!((sum.total, sum.by_step), (count(16, 17), vec![count(2, 7), count(12, 10), count(2, 0)]));
    let counts = SampleCounts::of_all_steps();
    counts.add_at_each(count(2, 7), 3);
    let sum = counts.sum();
    assert_eq!((sum.total, sum.by_step), (count(6, 7), vec![]));
}

/// A subquery every 10 ms that reads `1 << k` samples at its step `k`.
fn subquery(counts: &SampleCounts, inner: Grid, windows: Windows) -> Tally {
    let counts = counts.of_subquery(inner, windows);
    let mut tally = counts.tally();
    (0..inner.steps).for_each(|k| tally.add(k, SampleCount::fresh(1 << k)));
    counts.add(&tally);
    counts.sum()
}

#[test]
fn what_a_subquery_reads_counts_at_the_window_that_takes_it_in() {
    let inner = Grid { start_ms: 80, step_ms: 10, steps: 8 }; // 80 ..= 150
    let windows = Windows { first_end_ms: 110, step_ms: 20, steps: 3, range_ms: 40 };
    for (counts, by_step) in [
        (SampleCounts::of_each_step(3), vec![count(0, 0b1111), count(0, 0b11_0000), count(0, 0b1100_0000)]),
        (SampleCounts::of_all_steps(), vec![]),
    ] {
        counts.add_subquery(&subquery(&counts, inner, windows), inner, windows);
        let sum = counts.sum();
        assert_eq!((sum.total, sum.by_step), (count(0, 255), by_step));
    }
}

#[test]
fn what_a_subquery_reads_between_two_windows_does_not_count() {
    let inner = Grid { start_ms: 80, step_ms: 10, steps: 8 };
    // (70, 90] and (130, 150]
    let windows = Windows { first_end_ms: 90, step_ms: 60, steps: 2, range_ms: 20 };
    for (counts, by_step) in [
        (SampleCounts::of_each_step(2), vec![count(0, 0b11), count(0, 0b1100_0000)]),
        (SampleCounts::of_all_steps(), vec![]),
    ] {
        counts.add_subquery(&subquery(&counts, inner, windows), inner, windows);
        let sum = counts.sum();
        assert_eq!((sum.total, sum.by_step), (count(0, 0b1100_0011), by_step));
    }
}

proptest! {
    /// Prometheus' rule, sample by sample: a window's samples are new when the step before ended before them.
    #[test]
    fn windows_count_what_they_hold_and_read_what_is_new(
        gaps in proptest::collection::vec(1i64..40, 0..60),
        histograms in proptest::collection::vec(1i64..90, 0..20),
        first_end_ms in -50i64..900,
        step_ms in 0i64..120,
        range_ms in 1i64..250,
    ) {
        let times = |gaps: &[i64]| gaps.iter().scan(0, |t, gap| { *t += gap; Some(*t) }).collect::<Vec<_>>();
        let mut buf = SampleBuf::default();
        times(&gaps).iter().for_each(|t| buf.floats.push(*t, 1.0, 0));
        for t in times(&histograms) {
            buf.histograms.push(t, FloatHistogram::default().into(), 0);
        }
        let windows = Windows { first_end_ms, step_ms, steps: 9, range_ms };
        let within = |after: i64, end: i64| {
            let inside = |t_ms: &[i64]| t_ms.iter().filter(|t| **t > after && **t <= end).count() as u64;
            inside(&buf.floats.t_ms) + 11 * inside(&buf.histograms.t_ms)
        };
        let want: Vec<SampleCount> = (0..windows.steps).map(|k| {
            let end = windows.end(k);
            let new_after = if k == 0 { end - range_ms } else { (end - range_ms).max(end - step_ms) };
            count(within(end - range_ms, end), within(new_after, end))
        }).collect();
        let mut sum = SampleCount::default();
        want.iter().for_each(|n| sum += *n);
        for steps in [0, windows.steps] {
            let mut tally = Tally::of(steps);
            tally.add_windows(sum.looked_at, windows, &buf, true);
            prop_assert_eq!(tally.total, sum);
            prop_assert_eq!(&tally.by_step, &want[..steps]);
        }
        let mut computed = Tally::of(0);
        computed.add_windows(sum.looked_at, windows, &buf, false);
        prop_assert_eq!(computed.total, count(sum.looked_at, 0));
    }
}
