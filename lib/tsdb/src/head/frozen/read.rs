//! From sections to a partition.

use std::collections::BTreeSet;

use hashbrown::HashTable;

use super::extra::take_extra;
use super::{HAS_FULL, HAS_LAST, HAS_MORE, HAS_OPEN, HAS_WINDOW};
use crate::chunkenc::{Malformed, XorAppender};
use crate::decbuf::Decbuf;
use crate::head::arena::WordLists;
use crate::head::chains::Chain;
use crate::head::chunks::{MAX_CHUNK_SAMPLES, MAX_OPEN_BYTES};
use crate::head::full::FullChunks;
use crate::head::pairs::PairId;
use crate::head::partition::{Identity, Partition};
use crate::head::series::{Cold, HAS_EXTRA, Hot, NO_WINDOW, TAIL, TenantNo, WindowNo};
use crate::snapshot::manifest::{number, window};

/// Series for which room is made before they are read, at most.
const MAX_RESERVED: u64 = 1 << 20;

/// A partition that was read back.
pub struct Thawed {
    /// The partition.
    pub partition: Partition,
    /// Series by tenant.
    pub series: Vec<u64>,
    /// Windows of which it has samples.
    pub windows: BTreeSet<(TenantNo, WindowNo)>,
    labels: Vec<PairId>,
    last_seen: Option<(TenantNo, WindowNo)>,
}

/// An empty partition with the head-chunk files `full`, for as many tenants.
pub fn thaw(identity: Identity, full: FullChunks, tenants: usize) -> Thawed {
    let windows = full.windows().collect();
    let mut partition = Partition::new(identity);
    partition.chunks.full = full;
    Thawed { partition, series: vec![0; tenants], windows, labels: Vec::new(), last_seen: None }
}

impl Thawed {
    fn check_tenant(&self, tenant: TenantNo, d: &Decbuf<'_>) -> Result<(), Malformed> {
        if (tenant as usize) < self.series.len() {
            Ok(())
        } else {
            Err(d.fault("a tenant that is not listed"))
        }
    }

    /// Reads an index section; it must come before the tenant's pairs.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn index(&mut self, tenant: TenantNo, payload: &[u8]) -> Result<(), Malformed> {
        let d = &mut Decbuf::new(payload);
        self.check_tenant(tenant, d)?;
        let series = d.uvarint()?.min(MAX_RESERVED) as usize;
        let index = self.partition.tenant_mut(tenant);
        if index.by_hash.is_empty() {
            index.by_hash = HashTable::with_capacity(series);
        }
        for _ in 0..d.count(2)? {
            index.closed.insert(window(d)?, number(d)?);
        }
        if d.take(1)?[0] != 0 {
            index.floor = Some((window(d)?, number(d)?));
        }
        for _ in 0..d.count(1)? {
            index.released.insert(window(d)?);
        }
        for _ in 0..d.count(1)? {
            if !index.pairs.add_name(d.str()?) {
                return Err(d.fault("a label name twice"));
            }
        }
        end(d)
    }

    /// Reads a pairs section; they follow one another in the order of the pairs' numbers, before the series.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn pairs(&mut self, tenant: TenantNo, payload: &[u8]) -> Result<(), Malformed> {
        let d = &mut Decbuf::new(payload);
        self.check_tenant(tenant, d)?;
        let pairs = &mut self.partition.tenant_mut(tenant).pairs;
        while d.remaining() > 0 {
            match number(d)? {
                0 => pairs.add_free(),
                name => {
                    let value = d.str()?;
                    if !pairs.add_numbered(name - 1, value) {
                        return Err(d.fault("a label pair twice, or of no name"));
                    }
                }
            }
        }
        Ok(())
    }

    /// Reads a series section.
    ///
    /// # Errors
    /// [`Malformed`].
    pub fn series(&mut self, payload: &[u8]) -> Result<(), Malformed> {
        let d = &mut Decbuf::new(payload);
        while d.remaining() > 0 {
            self.one_series(d)?;
        }
        Ok(())
    }

    fn one_series(&mut self, d: &mut Decbuf<'_>) -> Result<(), Malformed> {
        let (hash, key, has) = (le_u64(d)?, le_u64(d)?, d.take(1)?[0]);
        let (tenant, log_id) = (number(d)?, d.uvarint()?);
        self.check_tenant(tenant, d)?;
        let mut hot = Hot::new(hash, log_id);
        self.labels.clear();
        let index = self.partition.tenant_mut(tenant);
        let count = d.count(1)?;
        if count > WordLists::MAX_LEN {
            return Err(d.fault("too many labels"));
        }
        for _ in 0..count {
            let pair = number(d)?;
            if !index.pairs.has(pair) {
                return Err(d.fault("a label pair that is not listed"));
            }
            if self.labels.contains(&pair) {
                return Err(d.fault("a label pair twice in one series"));
            }
            self.labels.push(pair);
        }
        let full = if has & HAS_FULL != 0 { le_u64(d)? } else { 0 };
        if full != 0 && !self.partition.chunks.full.may_have(full) {
            return Err(d.fault("a full chunk in no file"));
        }
        let mut cold = Cold {
            key,
            full,
            last_ms: if has & HAS_LAST != 0 { d.varint()? } else { i64::MIN },
            xor: XorAppender::NONE,
            open: Chain::NONE,
            open_len: 0,
            tenant,
            first_dt: 0,
            labels: self.partition.labels.add(&self.labels),
        };
        if has & HAS_WINDOW != 0 {
            (hot.window, hot.last_dt, hot.tail_len) = (window(d)?, number(d)?, d.take(1)?[0]);
            let n = usize::from(hot.tail_len);
            if n >= TAIL || hot.window == NO_WINDOW {
                return Err(d.fault("no such tail"));
            }
            for dt in &mut hot.tail_dt[..n] {
                *dt = u32::from_le_bytes(d.take(4)?.try_into().expect("four bytes"));
            }
            for value in &mut hot.tail_values[..n] {
                *value = f64::from_bits(le_u64(d)?);
            }
            self.see((tenant, hot.window));
        }
        if has & HAS_OPEN != 0 {
            (cold.first_dt, hot.encoded) = (number(d)?, d.take(1)?[0]);
            let state = d.take(XorAppender::STATE_BYTES)?.try_into().expect("as many bytes");
            cold.xor = XorAppender::from_state(state).ok_or_else(|| d.fault("no such encoder state"))?;
            let len = d.count(1)?;
            let open = d.take(len)?;
            let samples = cold.xor.samples();
            if samples != usize::from(hot.encoded)
                || !(1..usize::from(MAX_CHUNK_SAMPLES)).contains(&samples)
                || !(3..=MAX_OPEN_BYTES).contains(&len)
                || has & HAS_WINDOW == 0
            {
                return Err(d.fault("no such open chunk"));
            }
            self.partition.chunks.adopt_open(&mut cold, open);
        }
        let extra = match has & HAS_MORE {
            0 => None,
            _ => Some(take_extra(d, |window| {
                self.windows.insert((tenant, window));
            })?),
        };
        if extra.is_some() {
            hot.flags |= HAS_EXTRA;
        }
        let slot = self.partition.adopt(hot, cold, &self.labels).ok_or_else(|| d.fault("too many series"))?;
        if let Some(extra) = extra {
            self.partition.extras.insert(slot, Box::new(extra));
        }
        self.series[tenant as usize] += 1;
        Ok(())
    }

    /// Notes a window; mostly it is the one before's.
    fn see(&mut self, window: (TenantNo, WindowNo)) {
        if self.last_seen != Some(window) {
            self.last_seen = Some(window);
            self.windows.insert(window);
        }
    }

    /// Ends reading: pairs whose series came too late for the snapshot are forgotten.
    pub fn finish(mut self) -> Thawed {
        for index in self.partition.tenants.iter_mut().flatten() {
            index.pairs.forget_unused();
        }
        self
    }
}

fn le_u64(d: &mut Decbuf<'_>) -> Result<u64, Malformed> {
    Ok(u64::from_le_bytes(d.take(8)?.try_into().expect("eight bytes")))
}

fn end(d: &Decbuf<'_>) -> Result<(), Malformed> {
    if d.remaining() == 0 { Ok(()) } else { Err(d.fault("bytes left over")) }
}
