//! Aggregates of raw floats.

use bytes::Bytes;
use cairn_model::chunk::Aggregates;
use cairn_model::{Chunk, ChunkData, Encoding, TimestampMs};
use cairn_tsdb::chunkenc::xor;

use super::FloatColumns;
use super::batch::{RAW_INTERVAL_MS, batches, for_each_window, target_chunks};

/// The running total of a counter, corrected for resets.
#[derive(Debug, Default, Clone, Copy)]
pub struct RunningCounter {
    total: f64,
    last: Option<f64>,
}

impl RunningCounter {
    /// Takes the next value: the first is the base; a lower value than the one before began at zero.
    pub fn add(&mut self, v: f64) {
        self.total = match self.last {
            None => v,
            Some(last) if v < last => self.total + v,
            Some(last) => self.total + (v - last),
        };
        self.last = Some(v);
    }

    /// The total so far.
    pub fn total(&self) -> f64 {
        self.total
    }
}

/// Five columns over the windows of a batch; the counter has the two raw values at its ends besides.
#[derive(Debug, Default)]
pub struct Slots {
    t_ms: Vec<TimestampMs>,
    count: Vec<f64>,
    sum: Vec<f64>,
    min: Vec<f64>,
    max: Vec<f64>,
    counter_t_ms: Vec<TimestampMs>,
    counter: Vec<f64>,
}

/// Appends the aggregates of all `samples` to `out` and empties `samples`.
pub(super) fn flush(samples: &mut FloatColumns, out_ms: i64, out: &mut Vec<Aggregates>) {
    if let (Some(&min_ms), Some(&max_ms)) = (samples.t_ms.first(), samples.t_ms.last()) {
        let chunks = target_chunks(min_ms, max_ms, RAW_INTERVAL_MS, out_ms, samples.t_ms.len());
        let mut slots = Slots::default();
        for rows in batches(&samples.t_ms, chunks, out_ms) {
            slots.fill(&samples.t_ms[rows.clone()], &samples.values[rows], out_ms);
            out.push(slots.encode());
        }
    }
    samples.t_ms.clear();
    samples.values.clear();
}

impl Slots {
    fn fill(&mut self, t_ms: &[TimestampMs], values: &[f64], out_ms: i64) {
        for column in [&mut self.count, &mut self.sum, &mut self.min, &mut self.max, &mut self.counter] {
            column.clear();
        }
        self.t_ms.clear();
        self.counter_t_ms.clear();
        self.counter_t_ms.push(t_ms[0]);
        self.counter.push(values[0]);
        let mut running = RunningCounter::default();
        for_each_window(t_ms, out_ms, |rows, at| {
            let window = &values[rows];
            let (mut sum, mut min, mut max) = (0.0, f64::INFINITY, f64::NEG_INFINITY);
            for &v in window {
                sum += v;
                min = if v < min { v } else { min };
                max = if v > max { v } else { max };
                running.add(v);
            }
            self.t_ms.push(at);
            self.count.push(window.len() as f64);
            self.sum.push(sum);
            self.min.push(min);
            self.max.push(max);
            self.counter_t_ms.push(at);
            self.counter.push(running.total());
        });
        self.counter_t_ms.push(t_ms[t_ms.len() - 1]);
        self.counter.push(values[values.len() - 1]);
    }

    fn encode(&self) -> Aggregates {
        let (min_ms, max_ms) = (self.t_ms[0], self.t_ms[self.t_ms.len() - 1]);
        let slot = |t_ms: &[TimestampMs], values: &[f64]| encode_floats(min_ms, max_ms, t_ms, values);
        Aggregates {
            min_ms,
            max_ms,
            count: slot(&self.t_ms, &self.count),
            sum: slot(&self.t_ms, &self.sum),
            min: slot(&self.t_ms, &self.min),
            max: slot(&self.t_ms, &self.max),
            counter: slot(&self.counter_t_ms, &self.counter),
        }
    }
}

/// Columns as an XOR chunk of a slot. Times may repeat; none is absent.
pub(super) fn encode_floats(
    min_ms: TimestampMs,
    max_ms: TimestampMs,
    t_ms: &[TimestampMs],
    values: &[f64],
) -> Option<Chunk> {
    if t_ms.is_empty() {
        return None;
    }
    let payload = Bytes::from(xor::encode(t_ms, values));
    Some(Chunk { min_ms, max_ms, data: ChunkData::Encoded(Encoding::Xor, payload) })
}
