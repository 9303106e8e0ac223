//! How samples are cut into chunks and windows. Numbers and rules are Thanos'.

use cairn_model::TimestampMs;

/// Aggregated samples that one chunk should hold at most, on average.
const MAX_SAMPLES_PER_CHUNK: usize = 140;
/// Interval that raw samples are taken to have.
pub const RAW_INTERVAL_MS: i64 = 60_000;

/// How many chunks `samples` samples between two times become when aggregated from `in_ms` to `out_ms`.
pub fn target_chunks(min_ms: i64, max_ms: i64, in_ms: i64, out_ms: i64, samples: usize) -> usize {
    let range = (max_ms - min_ms) as f64;
    let fullness = if range > 0.0 { (samples as f64 / (range / in_ms as f64)).min(1.0) } else { 1.0 };
    let expected = (((max_ms - min_ms) / out_ms) as f64 * fullness) as usize + 1;
    // The least x with expected / x <= 140 in whole numbers.
    (expected / (MAX_SAMPLES_PER_CHUNK + 1) + 1).max(1)
}

/// Last millisecond of the window that holds `t_ms`.
pub fn window_end(t_ms: TimestampMs, out_ms: i64) -> TimestampMs {
    t_ms - t_ms.rem_euclid(out_ms) + out_ms - 1
}

/// Cuts times into batches of about `t_ms.len() / chunks`, each extended to the end of its last window. Half-open
/// ranges of rows that cover all rows in order.
pub fn batches(t_ms: &[TimestampMs], chunks: usize, out_ms: i64) -> Vec<std::ops::Range<usize>> {
    let size = t_ms.len() / chunks.max(1) + 1;
    let (mut out, mut at) = (Vec::new(), 0);
    while at < t_ms.len() {
        let mut end = (at + size).min(t_ms.len());
        let edge = window_end(t_ms[end - 1], out_ms);
        while end < t_ms.len() && t_ms[end] <= edge {
            end += 1;
        }
        out.push(at..end);
        at = end;
    }
    out
}

/// Calls `emit` with each window of a batch: its rows and the time at which its aggregate stands.
pub fn for_each_window(
    t_ms: &[TimestampMs],
    out_ms: i64,
    mut emit: impl FnMut(std::ops::Range<usize>, TimestampMs),
) {
    let Some(&last_ms) = t_ms.last() else { return };
    let mut at = 0;
    while at < t_ms.len() {
        let edge = window_end(t_ms[at], out_ms).min(last_ms);
        let rows = t_ms[at..].iter().take_while(|t| **t <= edge).count();
        emit(at..at + rows, edge);
        at += rows;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chunks_hold_at_most_140_samples_on_average() {
        let day_ms = 86_400_000;
        // 14 days at one minute to 5 m: 4,032 windows.
        assert_eq!(target_chunks(0, 14 * day_ms, RAW_INTERVAL_MS, 300_000, 14 * 1_440), 29);
        assert_eq!(target_chunks(0, 600_000, RAW_INTERVAL_MS, 300_000, 10), 1);
        assert_eq!(target_chunks(5, 5, RAW_INTERVAL_MS, 300_000, 1), 1);
        // Sparse data becomes fewer chunks.
        assert!(target_chunks(0, 14 * day_ms, RAW_INTERVAL_MS, 300_000, 1_440) < 4);
    }

    #[test]
    fn batches_end_with_their_windows_and_no_window_reaches_past_its_batch() {
        let t: Vec<i64> = (0..100).map(|i| i * 60_000).collect();
        for chunks in 1..20 {
            let cut = batches(&t, chunks, 300_000);
            assert_eq!(cut.first().map(|r| r.start), Some(0));
            assert_eq!(cut.last().map(|r| r.end), Some(100));
            let mut last_emitted = i64::MIN;
            for r in &cut {
                let batch = &t[r.clone()];
                for_each_window(batch, 300_000, |rows, at| {
                    assert!(at > last_emitted && at <= *batch.last().unwrap());
                    assert!(batch[rows.clone()].iter().all(|t| *t <= at && *t > at - 300_000));
                    last_emitted = at;
                });
            }
            assert!(cut.windows(2).all(|w| w[0].end == w[1].start && w[0].end % 5 == 0));
        }
    }
}
