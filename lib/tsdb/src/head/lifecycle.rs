//! How windows and series leave a partition: closing, releasing, forgetting.

use cairn_model::labels::LabelsRef;

use super::pairs::PairId;
use super::partition::{Partition, Verdicts};
use super::series::{HAS_EXTRA, NO_WINDOW, TenantNo, WindowNo};
use super::side::PartKey;
use cairn_model::batch::WriteBatch;

/// Postings that are rewritten under one lock: some hundred microseconds.
const SWEEP_POSTINGS: usize = 50_000;

impl Partition {
    /// Notes in `verdicts` whether series `i` must be defined in `segment`.
    pub fn note_definition(&self, batch: &WriteBatch, i: u32, segment: u64, verdicts: &mut Verdicts) {
        let reference = verdicts.refs[i as usize];
        let Some(slot) = self.resolve(reference) else { return };
        let Some(hot) = self.slab.hot(slot) else { return };
        if hot.defined_in == segment as u32 {
            return;
        }
        verdicts.define.push(i);
        if batch.series[i as usize].labels.is_empty() {
            let mut bytes = Vec::new();
            self.write_labels(slot, &mut bytes);
            debug_assert!(LabelsRef::parse_canonical(&bytes).is_some());
            verdicts.define_labels.push((i, bytes));
        }
    }

    /// Begins to close a window: gives the series to pass to [`Partition::leave_windows_through`]. Those that enter
    /// the window from now on are noted for [`Partition::close`].
    pub fn begin_closing(&mut self, tenant: TenantNo, window: WindowNo) -> Vec<u32> {
        let index = self.tenant_mut(tenant);
        index.closing = Some(window);
        index.entered.clear();
        index.all.iter().collect()
    }

    /// Ends the open chunks of `slots` that lie in `window` or before.
    pub fn leave_windows_through(&mut self, slots: &[u32], window: WindowNo) {
        for &slot in slots {
            let Some(hot) = self.slab.hot(slot) else { continue };
            if hot.window != NO_WINDOW && hot.window <= window {
                self.leave_window(slot);
            }
            if self.extra(slot).is_some_and(|e| e.histogram.as_ref().is_some_and(|h| h.window <= window)) {
                self.close_histogram(slot);
            }
        }
    }

    /// The window no longer takes samples into its main chunks, nor into side parts up to `generation`.
    pub fn close(&mut self, tenant: TenantNo, window: WindowNo, generation: u32) {
        let index = self.tenant_mut(tenant);
        index.closed.insert(window, generation + 1);
        index.closing = None;
        let entered = std::mem::take(&mut index.entered);
        self.leave_windows_through(&entered, window);
    }

    /// Ends what [`Partition::begin_closing`] began for a window that is closed already.
    pub fn end_closing(&mut self, tenant: TenantNo, window: WindowNo) {
        let index = self.tenant_mut(tenant);
        index.closing = None;
        let entered = std::mem::take(&mut index.entered);
        self.leave_windows_through(&entered, window);
    }

    /// Ends all open chunks of `window` and closes it, without a fence: for replay, which is alone.
    pub fn close_at_once(&mut self, tenant: TenantNo, window: WindowNo, generation: u32) {
        let all = self.begin_closing(tenant, window);
        self.leave_windows_through(&all, window);
        self.close(tenant, window, generation);
    }

    /// Windows below are closed although they are no longer listed. A listed one whose late samples belong to a later
    /// generation than the floor's stays listed.
    pub fn set_floor(&mut self, tenant: TenantNo, floor: (WindowNo, u32)) {
        let index = self.tenant_mut(tenant);
        let floor = index.floor.map_or(floor, |f| (f.0.max(floor.0), f.1.max(floor.1)));
        index.floor = Some(floor);
        index.closed.retain(|window, generation| *window >= floor.0 || *generation > floor.1);
    }

    /// Gives all side samples of one part of a tenant to another. Ends a closing of the window that was begun again.
    pub fn move_part(&mut self, tenant: TenantNo, from: PartKey, to: PartKey) {
        let index = self.tenant_mut(tenant);
        index.closing = None;
        index.entered.clear();
        let of_tenant = |slot: &u32| self.slab.get(*slot).is_some_and(|(_, c)| c.tenant == tenant);
        for (_, extra) in self.extras.iter_mut().filter(|(slot, _)| of_tenant(slot)) {
            let samples = extra.side.part(from).map(|p| p.samples()).unwrap_or_default();
            extra.side.retain(|key| key != from);
            samples.into_iter().for_each(|s| extra.side.insert(to, s));
        }
    }

    /// Begins to forget a generation's samples: gives the series to pass to [`Partition::forget`].
    pub fn release(&mut self, tenant: TenantNo, key: PartKey) -> Vec<u32> {
        let index = self.tenant_mut(tenant);
        if key.generation == 0 {
            index.released.insert(key.window);
        }
        index.all.iter().collect()
    }

    /// Forgets what `slots` have of a generation and before, and those that have no samples left, but for their labels'
    /// postings; gives these.
    pub fn forget(&mut self, slots: &[u32], key: PartKey) -> Vec<u32> {
        let mut gone = Vec::new();
        for &slot in slots {
            let Some((hot, _)) = self.slab.get(slot) else { continue };
            if hot.flags & HAS_EXTRA != 0
                && let Some(extra) = self.extras.get_mut(&slot)
            {
                extra.side.retain(|k| k.window != key.window || k.generation > key.generation);
            }
            if hot.window != NO_WINDOW || self.has_data(slot, (i64::MIN, i64::MAX)) {
                self.trim_extra(slot);
                continue;
            }
            let (hash, key, tenant) = {
                let (hot, cold) = self.slab.get(slot).expect("live above");
                (hot.hash, cold.key, cold.tenant)
            };
            let slab = &self.slab;
            let index = self.tenants[tenant as usize].as_mut().expect("a live series has a tenant");
            let is_it = |s: &u32| *s == slot && slab.get(*s).is_some_and(|(_, c)| c.key == key);
            if let Ok(entry) = index.by_hash.find_entry(hash, is_it) {
                entry.remove();
            }
            self.extras.remove(&slot);
            gone.push(slot);
        }
        // The labels are needed by the sweep; the slot is dead for everyone else from here on.
        self.dying.extend(gone.iter().filter_map(|s| self.slab.get(*s).map(|(_, c)| (*s, c.labels))));
        gone.iter().for_each(|slot| self.slab.remove(*slot));
        gone
    }

    /// Begins to take dead series out of the label index: gives the pairs to pass to [`Partition::sweep_pairs`].
    pub fn begin_sweep(&mut self) -> Vec<PairId> {
        self.swept += 1;
        let mut touched: Vec<PairId> = Vec::new();
        for (_, labels) in std::mem::take(&mut self.dying) {
            touched.extend_from_slice(self.labels.get(labels));
            self.labels.free(labels);
        }
        touched.sort_unstable();
        touched.dedup();
        touched
    }

    /// Rewrites the postings of the first of `pairs`, about as many as a writer can wait for, and gives the others.
    pub fn sweep_pairs<'a>(&mut self, tenant: TenantNo, pairs: &'a [PairId]) -> &'a [PairId] {
        let slab = &self.slab;
        let Some(index) = self.tenants[tenant as usize].as_mut() else { return &[] };
        let (mut now, mut postings) = (0, 0);
        while now < pairs.len() && postings < SWEEP_POSTINGS {
            postings += index.pairs.postings(pairs[now]).len();
            now += 1;
        }
        index.pairs.sweep(pairs[..now].iter().copied(), |slot| slab.is_live(slot));
        &pairs[now..]
    }

    /// Ends a sweep: gives back the dead series' memory.
    pub fn end_sweep(&mut self, tenant: TenantNo) {
        self.swept += 1;
        let slab = &self.slab;
        if let Some(index) = self.tenants[tenant as usize].as_mut() {
            index.all.retain(|slot| slab.is_live(slot));
        }
    }

    /// Gives back extra state that says nothing any more.
    fn trim_extra(&mut self, slot: u32) {
        let Some((hot, cold)) = self.slab.get(slot) else { return };
        if hot.flags & HAS_EXTRA == 0 {
            return;
        }
        let oldest = self.oldest_ms(slot).unwrap_or(cold.last_ms);
        let Some(extra) = self.extras.get_mut(&slot) else { return };
        extra.starts.forget_before(oldest);
        if extra.side.is_empty() && extra.histogram.is_none() && extra.starts.is_empty() {
            self.extras.remove(&slot);
            if let Some(hot) = self.slab.hot_mut(slot) {
                hot.flags &= !HAS_EXTRA;
            }
        }
    }

    /// Time of the oldest sample of a series that is not released.
    fn oldest_ms(&self, slot: u32) -> Option<i64> {
        let mut gathered = super::read::Gathered::default();
        self.gather(slot, (i64::MIN, i64::MAX), &mut gathered);
        gathered.oldest_ms()
    }

    /// Forgets the files of full chunks whose windows are all released; gives the numbers of those on disk.
    pub fn drop_released_files(&mut self) -> Vec<u32> {
        let tenants = &self.tenants;
        let released = |tenant: TenantNo, window: WindowNo| {
            let index = tenants.get(tenant as usize).and_then(|t| t.as_deref());
            index.is_some_and(|i| i.is_released(window))
        };
        self.chunks.full.drop_released(released)
    }

    /// Bytes of own memory.
    pub fn heap_bytes(&self) -> HeapBytes {
        let index = |t: &super::partition::TenantIndex| {
            t.pairs.heap_bytes() + t.all.heap_bytes() + t.by_hash.capacity() * 5
        };
        HeapBytes {
            series: self.slab.heap_bytes() + self.labels.heap_bytes(),
            open_chunks: self.chunks.open.heap_bytes(),
            full_chunks: self.chunks.full.heap_bytes(),
            index: self.tenants.iter().flatten().map(|t| index(t)).sum(),
            extras: self.extras.len() * EXTRA_BYTES,
        }
    }
}

/// About what the extra state of a series takes, samples left out.
const EXTRA_BYTES: usize = 160;

/// Own memory of the head, about, in bytes; mapped files are not in it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct HeapBytes {
    /// State of the series and the numbers of their labels.
    pub series: usize,
    /// Chunks that grow.
    pub open_chunks: usize,
    /// Full chunks that are not in files yet.
    pub full_chunks: usize,
    /// Texts of labels, postings and tables of series.
    pub index: usize,
    /// What few series have: histograms, late samples, start timestamps.
    pub extras: usize,
}

impl HeapBytes {
    /// All of it.
    pub fn sum(&self) -> usize {
        self.parts().iter().map(|(_, bytes)| bytes).sum()
    }

    /// Each part with its name.
    pub fn parts(&self) -> [(&'static str, usize); 5] {
        [
            ("series", self.series),
            ("open_chunks", self.open_chunks),
            ("full_chunks", self.full_chunks),
            ("index", self.index),
            ("extras", self.extras),
        ]
    }
}

impl std::iter::Sum for HeapBytes {
    fn sum<I: Iterator<Item = HeapBytes>>(all: I) -> Self {
        all.fold(HeapBytes::default(), |a, b| HeapBytes {
            series: a.series + b.series,
            open_chunks: a.open_chunks + b.open_chunks,
            full_chunks: a.full_chunks + b.full_chunks,
            index: a.index + b.index,
            extras: a.extras + b.extras,
        })
    }
}
