//! Aggregates of raw native histograms: count as floats; sum and counter as float histograms. Minimum and maximum
//! of a histogram are not defined and their slots stay empty.
//!
//! Within a chunk all histograms have the coarsest exponential schema of the batch. Exponential and custom buckets
//! do not mix in one chunk.

use std::sync::Arc;

use cairn_model::chunk::Aggregates;
use cairn_model::{Chunk, CounterResetHint, FloatHistogram, TimestampMs, Value};
use cairn_tsdb::chunkenc::{ChunkBuilder, CutRule};

use super::batch::{RAW_INTERVAL_MS, batches, for_each_window, target_chunks};
use super::float::encode_floats;

/// Histograms of one series, in order of time.
pub(super) type Histograms = Vec<(TimestampMs, Arc<FloatHistogram>)>;

/// A running total of counter histograms, corrected for resets.
#[derive(Debug, Default)]
pub(super) struct RunningHistogram {
    total: FloatHistogram,
    last: Option<FloatHistogram>,
}

impl RunningHistogram {
    /// Takes the next histogram. `None` when it cannot be added to those before.
    pub(super) fn add(&mut self, h: &FloatHistogram) -> Option<()> {
        match &self.last {
            None => self.total = h.clone(),
            Some(last) if h.detect_reset(last) => drop(self.total.add(h).ok()?),
            Some(last) => {
                let mut delta = h.clone();
                delta.sub(last).ok()?;
                self.total.add(&delta).ok()?;
            }
        }
        self.total.reset_hint = CounterResetHint::Unknown;
        self.last = Some(h.clone());
        Some(())
    }

    /// The next histogram is compared with `h`, which itself adds nothing.
    pub(super) fn set_last(&mut self, h: &FloatHistogram) {
        self.last = Some(h.clone());
    }

    pub(super) fn total(&self) -> &FloatHistogram {
        &self.total
    }
}

/// Appends the aggregates of all `samples` to `out` and empties `samples`.
pub(super) fn flush(samples: &mut Histograms, out_ms: i64, out: &mut Vec<Aggregates>) {
    let all = std::mem::take(samples);
    for run in all.chunk_by(|a, b| a.1.uses_custom_buckets() == b.1.uses_custom_buckets()) {
        let t_ms: Vec<TimestampMs> = run.iter().map(|(t, _)| *t).collect();
        let (min_ms, max_ms) = (t_ms[0], t_ms[t_ms.len() - 1]);
        let chunks = target_chunks(min_ms, max_ms, RAW_INTERVAL_MS, out_ms, run.len());
        for rows in batches(&t_ms, chunks, out_ms) {
            aggregate(&run[rows], out_ms, out);
        }
    }
}

/// One chunk of a batch; several when its histograms do not go into one layout.
fn aggregate(batch: &[(TimestampMs, Arc<FloatHistogram>)], out_ms: i64, out: &mut Vec<Aggregates>) {
    match one_chunk(batch, out_ms) {
        Some(a) => out.push(a),
        // A single histogram always fits its own layout, so halving ends.
        None if batch.len() > 1 => {
            let (first, second) = batch.split_at(batch.len() / 2);
            aggregate(first, out_ms, out);
            aggregate(second, out_ms, out);
        }
        None => tracing::warn!(t_ms = batch[0].0, "a histogram that has no layout is left out"),
    }
}

fn one_chunk(batch: &[(TimestampMs, Arc<FloatHistogram>)], out_ms: i64) -> Option<Aggregates> {
    let t_ms: Vec<TimestampMs> = batch.iter().map(|(t, _)| *t).collect();
    let schema = batch.iter().map(|(_, h)| h.schema).min()?;
    let coarse: Vec<FloatHistogram> = batch
        .iter()
        .map(|(_, h)| {
            let mut h = (**h).clone();
            h.reduce_resolution(schema);
            h
        })
        .collect();
    let (mut times, mut counts) = (Vec::new(), Vec::new());
    let (mut sums, mut counter) = (Vec::new(), vec![(t_ms[0], coarse[0].clone())]);
    let mut running = RunningHistogram::default();
    let mut addable = true;
    for_each_window(&t_ms, out_ms, |rows, at| {
        let window = &coarse[rows];
        let mut sum = window[0].clone();
        addable &= window[1..].iter().all(|h| sum.add(h).is_ok());
        addable &= window.iter().all(|h| running.add(h).is_some());
        times.push(at);
        counts.push(window.len() as f64);
        sums.push((at, sum));
        counter.push((at, running.total().clone()));
    });
    counter.push((t_ms[t_ms.len() - 1], coarse[coarse.len() - 1].clone()));
    if !addable {
        return None;
    }
    let (min_ms, max_ms) = (times[0], times[times.len() - 1]);
    Some(Aggregates {
        min_ms,
        max_ms,
        count: encode_floats(min_ms, max_ms, &times, &counts),
        sum: Some(encode(min_ms, max_ms, sums, true)?),
        min: None,
        max: None,
        counter: Some(encode(min_ms, max_ms, counter, false)?),
    })
}

/// Histograms as one chunk of a slot; as gauges when asked, or when a counter chunk would be cut at a reset, which
/// the raw value at the end of a counter slot may look like. `None` when even then they need several chunks.
pub(super) fn encode(
    min_ms: TimestampMs,
    max_ms: TimestampMs,
    samples: Vec<(TimestampMs, FloatHistogram)>,
    gauge: bool,
) -> Option<Chunk> {
    let rule =
        CutRule { max_samples: usize::from(u16::MAX), histogram_bytes: usize::MAX, ..CutRule::default() };
    let hints = if gauge {
        vec![CounterResetHint::Gauge]
    } else {
        vec![CounterResetHint::Unknown, CounterResetHint::Gauge]
    };
    for hint in hints {
        let mut builder = ChunkBuilder::new(rule);
        for (t, h) in &samples {
            let mut h = h.clone();
            h.reset_hint = hint;
            h.compact();
            builder.push(*t, 0, &Value::FloatHistogram(Arc::new(h)));
        }
        let mut made = builder.finish();
        if made.len() == 1 {
            let chunk = made.pop()?;
            return Some(Chunk { min_ms, max_ms, data: chunk.data });
        }
    }
    None
}
