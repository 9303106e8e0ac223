//! From a partition to sections. Each call looks at a slice under the caller's lock.

use std::ops::Range;

use super::extra::put_extra;
use super::{HAS_FULL, HAS_LAST, HAS_MORE, HAS_OPEN, HAS_WINDOW};
use crate::decbuf::{put_str, put_uvarint, put_varint};
use crate::head::chains::Chain;
use crate::head::chunks;
use crate::head::partition::Partition;
use crate::head::series::{NO_WINDOW, TenantNo};

impl Partition {
    /// Slots are below this.
    pub fn slots_end(&self) -> u32 {
        self.slab.end()
    }

    /// Appends the live series of `slots` to a series section.
    pub fn freeze_series(&self, slots: Range<u32>, out: &mut Vec<u8>) {
        for slot in slots {
            let Some((hot, cold)) = self.slab.get(slot) else { continue };
            let extra = self.extra(slot);
            let mut has = 0;
            for (what, is_there) in [
                (HAS_WINDOW, hot.window != NO_WINDOW),
                (HAS_OPEN, cold.open != Chain::NONE),
                (HAS_FULL, cold.full != 0),
                (HAS_LAST, cold.last_ms != i64::MIN),
                (HAS_MORE, extra.is_some()),
            ] {
                has |= if is_there { what } else { 0 };
            }
            out.extend_from_slice(&hot.hash.to_le_bytes());
            out.extend_from_slice(&cold.key.to_le_bytes());
            out.push(has);
            put_uvarint(out, u64::from(cold.tenant));
            put_uvarint(out, hot.log_id);
            let labels = self.labels.get(cold.labels);
            put_uvarint(out, labels.len() as u64);
            labels.iter().for_each(|pair| put_uvarint(out, u64::from(*pair)));
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
                put_uvarint(out, chunks::open_chunk_bytes(cold) as u64);
                self.chunks.copy_open(cold, out);
            }
            if let Some(extra) = extra {
                put_extra(extra, out);
            }
        }
    }

    /// Appends a tenant's closed windows and label names: an index section. `false` when it has nothing here.
    pub fn freeze_index(&self, tenant: TenantNo, out: &mut Vec<u8>) -> bool {
        let Some(index) = self.tenant(tenant) else { return false };
        put_uvarint(out, index.by_hash.len() as u64);
        put_uvarint(out, index.closed.len() as u64);
        for (window, generation) in &index.closed {
            put_varint(out, i64::from(*window));
            put_uvarint(out, u64::from(*generation));
        }
        out.push(u8::from(index.floor.is_some()));
        if let Some((window, generation)) = index.floor {
            put_varint(out, i64::from(window));
            put_uvarint(out, u64::from(generation));
        }
        put_uvarint(out, index.released.len() as u64);
        index.released.iter().for_each(|window| put_varint(out, i64::from(*window)));
        let names = index.pairs.all_names();
        put_uvarint(out, names.len() as u64);
        names.for_each(|name| put_str(out, name));
        true
    }

    /// How many numbers of label pairs a tenant has used.
    pub fn pairs_end(&self, tenant: TenantNo) -> u32 {
        self.tenant(tenant).map_or(0, |index| index.pairs.end())
    }

    /// Appends the pairs with the numbers `ids` to a pairs section: number of the name plus one, 0 for none, and value.
    pub fn freeze_pairs(&self, tenant: TenantNo, ids: Range<u32>, out: &mut Vec<u8>) {
        let Some(index) = self.tenant(tenant) else { return };
        for id in ids {
            match index.pairs.numbered(id) {
                Some((name, value)) => {
                    put_uvarint(out, u64::from(name) + 1);
                    put_str(out, value);
                }
                None => put_uvarint(out, 0),
            }
        }
    }
}
