//! The value that a series has at a time already, to compare a repeated, late or conflicting sample with.
//!
//! A sender that repeats a chunk's samples asks for one time after the other, so the floats of the chunk that was decoded
//! last are kept.

use cairn_model::{Encoding, TimestampMs, Value};

use super::Partition;
use crate::chunkenc::{ChunkDecoder, decode_floats};
use crate::head::order;
use crate::head::series::NO_WINDOW;

/// The floats of the chunk that was last decoded to look for a time.
#[derive(Default)]
pub(super) struct Decoded {
    key: (u64, u64),
    t_ms: Vec<TimestampMs>,
    values: Vec<f64>,
}

impl Partition {
    /// The value that a reader sees at `t_ms`, if there is one.
    pub(super) fn value_at(&mut self, slot: u32, t_ms: TimestampMs) -> Option<Value> {
        let main = self.main_value_at(slot, t_ms);
        let side = self.extra(slot).and_then(|e| e.side.find(t_ms));
        match (main, side) {
            (Some(a), Some(b)) => Some(if order::compare(&a, &b).is_ge() { a } else { b }),
            (a, b) => a.or(b),
        }
    }

    fn main_value_at(&mut self, slot: u32, t_ms: TimestampMs) -> Option<Value> {
        let window_ms = self.identity.window_ms;
        let (hot, cold) = self.slab.get(slot)?;
        if hot.window != NO_WINDOW {
            let start_ms = i64::from(hot.window) * window_ms;
            if let Ok(dt) = u32::try_from(t_ms - start_ms) {
                let tail = &hot.tail_dt[..usize::from(hot.tail_len)];
                if let Some(at) = tail.iter().position(|x| *x == dt) {
                    return Some(Value::Float(hot.tail_values[at]));
                }
                if hot.encoded > 0 && dt >= cold.first_dt && t_ms <= cold.xor.last_ms() {
                    let chunk = u64::from(hot.window as u32) << 32 | u64::from(cold.first_dt);
                    let key = (chunk, 1 << 63 | u64::from(slot) << 8 | u64::from(hot.encoded));
                    return self.decoded.find(key, t_ms, || self.chunks.open_chunk(cold));
                }
            }
        }
        if let Some(open) = self.extra(slot).and_then(|e| e.histogram.as_ref())
            && (open.min_ms..=open.max_ms).contains(&t_ms)
        {
            return find_sample(open.encoding(), open.bytes(), t_ms);
        }
        let mut at = cold.full;
        while let Some(header) = self.chunks.full.header(at) {
            if t_ms > header.max_ms {
                return None;
            }
            if t_ms >= header.min_ms {
                let chunk = self.chunks.full.get(at)?;
                return match chunk.encoding {
                    Encoding::Xor => self.decoded.find((at, 0), t_ms, || chunk.bytes),
                    other => find_sample(other, &chunk.bytes, t_ms),
                };
            }
            at = header.before;
        }
        None
    }
}

impl Decoded {
    /// The float at `t_ms` in a chunk; decodes it unless it was the last one.
    fn find<B: AsRef<[u8]>>(
        &mut self,
        key: (u64, u64),
        t_ms: TimestampMs,
        chunk: impl FnOnce() -> B,
    ) -> Option<Value> {
        if self.key != key || self.t_ms.is_empty() {
            self.t_ms.clear();
            self.values.clear();
            self.key = key;
            // Our own bytes: a chunk damaged in its file holds nothing that could be compared with.
            decode_floats(Encoding::Xor, chunk().as_ref(), &mut self.t_ms, &mut self.values).ok()?;
        }
        self.t_ms.binary_search(&t_ms).ok().map(|i| Value::Float(self.values[i]))
    }
}

fn find_sample(encoding: Encoding, chunk: &[u8], t_ms: TimestampMs) -> Option<Value> {
    ChunkDecoder::new(encoding, chunk).map_while(Result::ok).find(|s| s.t_ms == t_ms).map(|s| s.value)
}
