//! Series as they were when their partition's lock was held, to be encoded without it.
//!
//! Writers wait for that lock, so what is done under it is copying; only what few series have is encoded there.

use std::ops::Range;

use super::extra::put_extra;
use super::{HAS_FULL, HAS_LAST, HAS_MORE, HAS_OPEN, HAS_WINDOW};
use crate::decbuf::{put_uvarint, put_varint};
use crate::head::chains::Chain;
use crate::head::pairs::PairId;
use crate::head::partition::Partition;
use crate::head::series::{Cold, Hot, NO_WINDOW};

/// Copied series of one partition.
#[derive(Default)]
pub struct Copies {
    series: Vec<Copy>,
    /// Label pairs, series after series.
    pairs: Vec<PairId>,
    /// The open chunk and the encoded extra state, series after series.
    bytes: Vec<u8>,
}

/// A series, and where what it has ends in [`Copies::pairs`] and [`Copies::bytes`].
struct Copy {
    hot: Hot,
    cold: Cold,
    pairs_end: u32,
    open_end: u32,
    extra_end: u32,
}

impl Copies {
    /// Forgets all; keeps the memory.
    pub fn clear(&mut self) {
        self.series.clear();
        self.pairs.clear();
        self.bytes.clear();
    }

    /// About how long the section will be.
    pub fn bytes(&self) -> usize {
        self.series.len() * (size_of::<Hot>() + size_of::<Cold>()) + self.pairs.len() * 2 + self.bytes.len()
    }

    /// Copies the live series of `slots`.
    pub fn add(&mut self, partition: &Partition, slots: Range<u32>) {
        for slot in slots {
            let Some((hot, cold)) = partition.slab.get(slot) else { continue };
            self.pairs.extend_from_slice(partition.labels.get(cold.labels));
            partition.chunks.copy_open(cold, &mut self.bytes);
            let open_end = self.bytes.len() as u32;
            if let Some(extra) = partition.extra(slot) {
                put_extra(extra, &mut self.bytes);
            }
            self.series.push(Copy {
                hot: hot.clone(),
                cold: cold.clone(),
                pairs_end: self.pairs.len() as u32,
                open_end,
                extra_end: self.bytes.len() as u32,
            });
        }
    }

    /// Appends the series to a series section.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (mut pairs, mut bytes) = (0, 0);
        for series in &self.series {
            let own = &self.pairs[pairs as usize..series.pairs_end as usize];
            let open = &self.bytes[bytes as usize..series.open_end as usize];
            let extra = &self.bytes[series.open_end as usize..series.extra_end as usize];
            series.encode(own, open, extra, out);
            (pairs, bytes) = (series.pairs_end, series.extra_end);
        }
    }
}

impl Copy {
    fn encode(&self, pairs: &[PairId], open: &[u8], extra: &[u8], out: &mut Vec<u8>) {
        let (hot, cold) = (&self.hot, &self.cold);
        let mut has = 0;
        for (what, is_there) in [
            (HAS_WINDOW, hot.window != NO_WINDOW),
            (HAS_OPEN, cold.open != Chain::NONE),
            (HAS_FULL, cold.full != 0),
            (HAS_LAST, cold.last_ms != i64::MIN),
            (HAS_MORE, !extra.is_empty()),
        ] {
            has |= if is_there { what } else { 0 };
        }
        out.extend_from_slice(&hot.hash.to_le_bytes());
        out.extend_from_slice(&cold.key.to_le_bytes());
        out.push(has);
        put_uvarint(out, u64::from(cold.tenant));
        put_uvarint(out, hot.log_id);
        put_uvarint(out, pairs.len() as u64);
        pairs.iter().for_each(|pair| put_uvarint(out, u64::from(*pair)));
        if has & HAS_FULL != 0 {
            out.extend_from_slice(&cold.full.to_le_bytes());
        }
        if has & HAS_LAST != 0 {
            put_varint(out, cold.last_ms);
        }
        if has & HAS_WINDOW != 0 {
            put_varint(out, i64::from(hot.window));
            put_uvarint(out, u64::from(hot.last_dt));
            let n = usize::from(hot.tail_len);
            out.push(hot.tail_len);
            hot.tail_dt[..n].iter().for_each(|dt| out.extend_from_slice(&dt.to_le_bytes()));
            hot.tail_values[..n].iter().for_each(|v| out.extend_from_slice(&v.to_bits().to_le_bytes()));
        }
        if has & HAS_OPEN != 0 {
            put_uvarint(out, u64::from(cold.first_dt));
            out.push(hot.encoded);
            cold.xor.put_state(out);
            put_uvarint(out, open.len() as u64);
            out.extend_from_slice(open);
        }
        out.extend_from_slice(extra);
    }
}
