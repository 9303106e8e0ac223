//! Functions of floats for all steps of a series in one pass.
//!
//! The window moves forward over the samples with two pointers. Rates look only at its ends and at the resets
//! inside; sums and means keep partial sums of a window that was cut in two, so that no sample is ever subtracted
//! again (subtracting would lose the small terms); extremes keep the candidates in a monotonic queue. A step
//! costs O(1) amortised, whatever the range.
//!
//! This is a hot file: no allocation per sample or step once the buffers have grown.

use std::collections::VecDeque;

use cairn_model::TimestampMs;
use cairn_model::kahan::Kahan;

use super::over_time::{mean, sum};
use super::range_fn::RangeFn;
use super::rate::{RateKind, Reach};

/// The times at which windows end, and how far they reach back.
#[derive(Debug, Clone, Copy)]
pub struct Windows {
    /// End of the first window.
    pub first_end_ms: TimestampMs,
    /// Distance of the windows' ends; 0 when all look at the same range.
    pub step_ms: i64,
    /// How many windows.
    pub steps: usize,
    /// Length; the start is outside.
    pub range_ms: i64,
}

impl Windows {
    /// End of window `k`.
    #[inline]
    pub fn end(&self, k: usize) -> TimestampMs {
        self.first_end_ms + self.step_ms * k as i64
    }

    /// Calls `f(step, from, to, range end)` for every window that holds samples `from .. to`.
    #[inline]
    pub fn each(&self, t_ms: &[TimestampMs], mut f: impl FnMut(usize, usize, usize, TimestampMs)) {
        let (mut from, mut to) = (0, 0);
        for k in 0..self.steps {
            let end = self.end(k);
            let start = end - self.range_ms;
            while to < t_ms.len() && t_ms[to] <= end {
                to += 1;
            }
            while from < to && t_ms[from] <= start {
                from += 1;
            }
            if from < to {
                f(k, from, to, end);
            } else if to == t_ms.len() && from == to {
                break; // past the last sample
            }
        }
    }

    /// How many samples the windows hold when one that several hold counts once; `held` is how many they hold when it
    /// counts in each.
    pub fn count_once(&self, t_ms: &[TimestampMs], held: u64) -> u64 {
        if held == 0 || (1..=self.step_ms).contains(&self.range_ms) {
            return held; // they do not overlap
        }
        let (after, end) = (self.first_end_ms - self.range_ms, self.end(self.steps - 1));
        let upto = |bound| match (t_ms.first(), t_ms.last()) {
            (_, Some(last)) if *last <= bound => t_ms.len(),
            (Some(first), _) if *first > bound => 0,
            _ => t_ms.partition_point(|t| *t <= bound),
        };
        (upto(end) - upto(after)) as u64
    }

    /// The first window that does not end before `t_ms`, if it holds that time.
    pub fn first_that_holds(&self, t_ms: TimestampMs) -> Option<usize> {
        let late = (t_ms - self.first_end_ms).max(0) as u64;
        let k = late.div_ceil(self.step_ms.max(1) as u64) as usize;
        (k < self.steps && t_ms > self.end(k) - self.range_ms).then_some(k)
    }
}

/// Buffers that are reused from series to series.
#[derive(Debug, Default)]
pub struct Scratch {
    resets: Vec<u32>,
    queue: VecDeque<u32>,
    suffix: Vec<Kahan>,
}

/// Computes `func` at all windows, when it is one of those that slide, into `out` (one a step; steps without a
/// window are left alone). Answers how many samples the windows held together, or `None` when it does not slide.
pub fn slide(
    func: RangeFn,
    windows: Windows,
    t_ms: &[TimestampMs],
    values: &[f64],
    scratch: &mut Scratch,
    out: &mut [f64],
) -> Option<u64> {
    let mut seen = 0u64;
    if let Some(kind) = RateKind::of(func) {
        rate(kind, windows, t_ms, values, scratch, out, &mut seen);
        return Some(seen);
    }
    match func {
        RangeFn::CountOverTime => windows.each(t_ms, |k, from, to, _| {
            seen += (to - from) as u64;
            out[k] = (to - from) as f64;
        }),
        RangeFn::PresentOverTime => windows.each(t_ms, |k, from, to, _| {
            seen += (to - from) as u64;
            out[k] = 1.0;
        }),
        RangeFn::LastOverTime => windows.each(t_ms, |k, from, to, _| {
            seen += (to - from) as u64;
            out[k] = values[to - 1];
        }),
        RangeFn::FirstOverTime => windows.each(t_ms, |k, from, to, _| {
            seen += (to - from) as u64;
            out[k] = values[from];
        }),
        RangeFn::MinOverTime => extremes(windows, t_ms, values, scratch, out, &mut seen, |a, b| a <= b),
        RangeFn::MaxOverTime => extremes(windows, t_ms, values, scratch, out, &mut seen, |a, b| a >= b),
        RangeFn::SumOverTime => sums(windows, t_ms, values, scratch, out, &mut seen, false),
        RangeFn::AvgOverTime => sums(windows, t_ms, values, scratch, out, &mut seen, true),
        _ => return None,
    }
    Some(seen)
}

fn rate(
    kind: RateKind,
    windows: Windows,
    t_ms: &[TimestampMs],
    values: &[f64],
    scratch: &mut Scratch,
    out: &mut [f64],
    seen: &mut u64,
) {
    let resets = &mut scratch.resets;
    resets.clear();
    if kind.counter {
        find_resets(values, resets);
    }
    let range_s = windows.range_ms as f64 / 1000.0;
    let mut next_reset = 0;
    // What the times of a window's samples alone decide; regular samples decide it alike for many windows.
    let mut known = (i64::MIN, 0, 0);
    let mut reach = Reach::of(kind, windows.range_ms, range_s, 0, windows.range_ms, 1);
    windows.each(t_ms, |k, from, to, end_ms| {
        *seen += (to - from) as u64;
        let last = to - 1;
        if last == from {
            return;
        }
        let mut increase = values[last] - values[from];
        while next_reset < resets.len() && resets[next_reset] as usize <= from {
            next_reset += 1;
        }
        for r in resets[next_reset..].iter().map(|r| *r as usize).take_while(|r| *r <= last) {
            increase += values[r - 1];
        }
        let times = (t_ms[from] - (end_ms - windows.range_ms), t_ms[last] - t_ms[from], last - from);
        if times != known {
            known = times;
            reach = Reach::of(kind, windows.range_ms, range_s, times.0, times.1, times.2);
        }
        out[k] = increase * reach.factor(kind, range_s, values[from], increase);
    });
}

/// Lists the samples that are less than the one before. Resets are rare, so stretches are looked at as a whole
/// first, which compiles to vector code.
fn find_resets(values: &[f64], resets: &mut Vec<u32>) {
    const STRETCH: usize = 64;
    let Some(later) = values.get(1..) else { return };
    for (n, (before, after)) in values.chunks(STRETCH).zip(later.chunks(STRETCH)).enumerate() {
        let pairs = || before.iter().zip(after);
        if pairs().fold(false, |any, (a, b)| any | (b < a)) {
            let first = n * STRETCH + 1;
            resets.extend(pairs().enumerate().filter(|(_, (a, b))| b < a).map(|(i, _)| (first + i) as u32));
        }
    }
}

/// `kept(a, b)`: `a`, the older, need not give way to `b`.
fn extremes(
    windows: Windows,
    t_ms: &[TimestampMs],
    values: &[f64],
    scratch: &mut Scratch,
    out: &mut [f64],
    seen: &mut u64,
    kept: impl Fn(f64, f64) -> bool,
) {
    let queue = &mut scratch.queue;
    queue.clear();
    let mut next = 0;
    windows.each(t_ms, |k, from, to, _| {
        *seen += (to - from) as u64;
        next = next.max(from);
        while queue.front().is_some_and(|i| (*i as usize) < from) {
            queue.pop_front();
        }
        while next < to {
            let v = values[next];
            // NaN gives way to everything and makes nothing give way.
            while queue.back().is_some_and(|i| {
                let old = values[*i as usize];
                old.is_nan() || (!v.is_nan() && !kept(old, v))
            }) {
                queue.pop_back();
            }
            if !v.is_nan() || queue.is_empty() {
                queue.push_back(next as u32);
            }
            next += 1;
        }
        out[k] = queue.front().map_or(f64::NAN, |i| values[*i as usize]);
    });
}

/// Windows with fewer samples are summed directly: that is as fast, and rounds as Prometheus does.
const DIRECT_SAMPLES: usize = 32;

fn sums(
    windows: Windows,
    t_ms: &[TimestampMs],
    values: &[f64],
    scratch: &mut Scratch,
    out: &mut [f64],
    seen: &mut u64,
    as_mean: bool,
) {
    let direct = |values: &[f64]| if as_mean { mean(values) } else { sum(values) };
    // Window `from .. to` is `suffix[from - base]` (sums of `from .. cut`) and `front` (sum of `cut .. to`).
    let suffix = &mut scratch.suffix;
    let (mut base, mut cut, mut front, mut front_end) = (0, 0, Kahan::default(), 0);
    windows.each(t_ms, |k, from, to, _| {
        *seen += (to - from) as u64;
        if to - from <= DIRECT_SAMPLES {
            out[k] = direct(&values[from..to]);
            return;
        }
        if from >= cut {
            (base, cut, front, front_end) = (from, to, Kahan::default(), to);
            suffix.clear();
            suffix.resize(cut - base, Kahan::default());
            let mut total = Kahan::default();
            for i in (base..cut).rev() {
                total.add(values[i]);
                suffix[i - base] = total;
            }
        }
        values[front_end..to].iter().for_each(|v| front.add(*v));
        front_end = to;
        let mut total = suffix[from - base];
        total.merge(front);
        out[k] = if as_mean && total.sum.is_infinite() {
            mean(&values[from..to])
        } else if as_mean {
            let n = (to - from) as f64;
            total.sum / n + total.c / n
        } else {
            total.value()
        };
    });
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::annotations::Annotations;
    use crate::engine::column::{ABSENT, is_absent};
    use crate::engine::plan::Edges;
    use crate::functions::over_time::over_time;
    use crate::functions::rate::extrapolated;
    use crate::functions::window::{Output, RangeContext, Samples, Window};
    use crate::parser::ast::Span;

    const SLIDING: [RangeFn; 11] = [
        RangeFn::Rate,
        RangeFn::Increase,
        RangeFn::Delta,
        RangeFn::CountOverTime,
        RangeFn::PresentOverTime,
        RangeFn::LastOverTime,
        RangeFn::FirstOverTime,
        RangeFn::MinOverTime,
        RangeFn::MaxOverTime,
        RangeFn::SumOverTime,
        RangeFn::AvgOverTime,
    ];

    fn one_step(func: RangeFn, t_ms: &[i64], value: &[f64], end_ms: i64, range_ms: i64) -> Option<f64> {
        let from = t_ms.partition_point(|t| *t <= end_ms - range_ms);
        let to = t_ms.partition_point(|t| *t <= end_ms);
        if from >= to {
            return None;
        }
        let mut notes = Annotations::default();
        let mut ctx = RangeContext {
            eval_ms: end_ms,
            start_ms: end_ms - range_ms,
            end_ms,
            range_ms,
            edges: Edges::Plain,
            params: &[],
            metric: "",
            span: Span::default(),
            notes: &mut notes,
        };
        let window = Window {
            floats: Samples { t_ms: &t_ms[from..to], value: &value[from..to], start_ms: &[] },
            histograms: Samples { t_ms: &[], value: &[], start_ms: &[] },
        };
        let out = match RateKind::of(func) {
            Some(kind) => extrapolated(window, kind, &mut ctx),
            None => over_time(func, window, &mut ctx),
        };
        match out.unwrap() {
            Some(Output::Float(v)) => Some(v),
            _ => None,
        }
    }

    fn value() -> impl Strategy<Value = f64> {
        prop_oneof![
            20 => (0u32..100).prop_map(f64::from),
            2 => Just(f64::NAN),
            1 => Just(f64::INFINITY),
            2 => -1e9f64..1e9,
        ]
    }

    proptest! {
        #[test]
        fn sliding_equals_looking_at_every_window(
            samples in proptest::collection::vec((1i64..40, value()), 0..200),
            first_end_ms in -50i64..2000,
            step_ms in 1i64..200,
            range_ms in 1i64..1500,
        ) {
            let mut t = 0;
            let t_ms: Vec<i64> = samples.iter().map(|s| { t += s.0; t }).collect();
            let values: Vec<f64> = samples.iter().map(|s| s.1).collect();
            let windows = Windows { first_end_ms, step_ms, steps: 40, range_ms };
            let mut scratch = Scratch::default();
            for func in SLIDING {
                let mut out = vec![ABSENT; 40];
                slide(func, windows, &t_ms, &values, &mut scratch, &mut out).unwrap();
                for (k, got) in out.iter().enumerate() {
                    let want = one_step(func, &t_ms, &values, windows.end(k), range_ms);
                    let same = match want {
                        None => is_absent(*got),
                        Some(w) => !is_absent(*got) && (w == *got || (w.is_nan() && got.is_nan())
                            || (w - got).abs() <= 1e-12 * w.abs().max(1.0)),
                    };
                    prop_assert!(same, "{func:?} step {k}: {got} instead of {want:?}");
                }
            }
        }
    }
}
