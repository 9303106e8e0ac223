//! A tenant's label pairs and closed windows in a partition, to sections. Each call looks at a slice under the caller's
//! lock.

use std::ops::Range;

use crate::decbuf::{put_str, put_uvarint, put_varint};
use crate::head::partition::Partition;
use crate::head::series::TenantNo;

impl Partition {
    /// Slots are below this.
    pub fn slots_end(&self) -> u32 {
        self.slab.end()
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
