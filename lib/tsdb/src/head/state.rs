//! The head as a whole: partitions, tenants, and the reads that are going on.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};

use cairn_model::batch::{RejectReason, WriteBatch};
use cairn_model::labels::LabelsRef;
use cairn_model::{Labels, TenantId};
use cairn_runtime::Rng;
use cairn_runtime::memory::{Ahead, AllZeros, Huge};
use parking_lot::{Mutex, RwLock};

use super::chunks::window_of;
use super::lifecycle::HeapBytes;
use super::partition::{Identity, NotAdded, Partition, Request, TAG_BITS, Verdicts};
use super::room::{Gauge, Room};
use super::series::WindowNo;
use super::side::PartKey;
use super::tenant::{Tenant, Tenants};

/// Slots handled under one lock: short enough that a writer waits some tens of microseconds.
pub const SLICE: usize = 512;

/// Limits that are read when a series is created, so that they can change at any time.
pub type SeriesLimit = Arc<dyn Fn(&TenantId) -> u64 + Send + Sync>;

/// How a head is made.
#[derive(Clone)]
pub struct HeadOptions {
    /// Length of a window.
    pub window_ms: i64,
    /// Partitions, at most 256.
    pub partitions: usize,
    /// External labels that the operator configured.
    pub external_labels: Labels,
    /// Exemplars kept for each tenant.
    pub exemplars: usize,
    /// Most active series of a tenant, 0 = no limit.
    pub series_limit: SeriesLimit,
}

/// The newest samples of all series.
pub struct Head {
    /// By hash, see [`Head::partition_of`].
    pub partitions: Vec<RwLock<Partition>>,
    /// Name spaces.
    pub tenants: Tenants,
    /// How it was made.
    pub options: HeadOptions,
    /// Whether there is memory for more.
    pub memory: Gauge,
    complete: AtomicBool,
    /// A partition will need memory soon.
    lacks_memory: AtomicBool,
    next_log_id: AtomicU64,
    newest_ms: AtomicI64,
    /// Held by every read that began since the last release.
    reads: Mutex<Arc<()>>,
}

/// The share of a request that does not depend on its data.
#[derive(Default)]
pub struct Split {
    by_partition: Vec<Vec<u32>>,
}

impl Head {
    /// An empty head. References and keys depend on `rng`.
    ///
    /// # Panics
    /// When `options` ask for no partition or more than 256, or for windows shorter than a second or
    /// longer than 49 days.
    pub fn new(options: HeadOptions, rng: &Rng) -> Self {
        assert!((1..=256).contains(&options.partitions), "a head has 1 to 256 partitions");
        let longest = i64::from(u32::MAX); // times inside a window take 32 bits
        assert!(
            (1000..longest).contains(&options.window_ms),
            "windows take a second at least, 49 days at most"
        );
        let tag = 1 + rng.below((1 << TAG_BITS) - 1) as u32;
        let key_seed = rng.next_u64();
        let partition = |index: usize| {
            let identity = Identity { index: index as u8, tag, key_seed, window_ms: options.window_ms };
            RwLock::new(Partition::new(identity))
        };
        Head {
            partitions: (0..options.partitions).map(partition).collect(),
            tenants: Tenants::new(options.external_labels.clone(), options.exemplars),
            options,
            memory: Gauge::default(),
            complete: AtomicBool::new(false),
            lacks_memory: AtomicBool::new(false),
            next_log_id: AtomicU64::new(1),
            newest_ms: AtomicI64::new(i64::MIN),
            reads: Mutex::default(),
        }
    }

    /// The partition of a series: by the upper half of its hash, since slots of the cluster use the lower.
    pub fn partition_of(&self, hash: u64) -> usize {
        (((hash >> 32) * self.partitions.len() as u64) >> 32) as usize
    }

    /// Applies a batch. The caller holds the shared side of the log's fence.
    pub fn apply(
        &self,
        tenant: &Tenant,
        batch: &WriteBatch,
        segment: u64,
        split: &mut Split,
        verdicts: &mut Verdicts,
    ) {
        verdicts.reset(batch.series.len());
        split.by_partition.resize_with(self.partitions.len(), Vec::new);
        split.by_partition.iter_mut().for_each(Vec::clear);
        for (i, series) in batch.series.iter().enumerate() {
            if !series.refused {
                split.by_partition[self.partition_of(series.hash)].push(i as u32);
            }
        }
        let limit = || (self.options.series_limit)(&tenant.id);
        let room = self.memory.room();
        let admit = || match room {
            Room::Free => tenant.admit(limit()),
            Room::KnownSeries | Room::Nothing => Err(NotAdded::NoRoom),
        };
        let request =
            Request { tenant: tenant.number, batch, segment, admit: &admit, next_log_id: &self.next_log_id };
        for (partition, which) in self.partitions.iter().zip(&split.by_partition) {
            if which.is_empty() {
                continue;
            }
            let mut partition = partition.write();
            partition.append(&request, which, verdicts);
            if partition.lacks_memory() {
                self.lacks_memory.store(true, Ordering::Relaxed);
            }
        }
        verdicts.define.sort_unstable();
        verdicts.unknown.sort_unstable();
        for (family, metadata) in &batch.metadata {
            tenant.set_metadata(family, metadata);
        }
        self.offer_exemplars(tenant, batch, verdicts);
    }

    /// Whether partitions want memory: `true` once, for whoever then brings it.
    pub fn must_bring_memory(&self) -> bool {
        self.lacks_memory.load(Ordering::Relaxed) && self.lacks_memory.swap(false, Ordering::Relaxed)
    }

    /// Makes the memory that partitions will need soon, and brings it to them. Takes milliseconds, none of them under a lock.
    pub fn bring_memory(&self) {
        for partition in &self.partitions {
            bring_memory(partition, |p| &mut p.slab.ahead);
            bring_memory(partition, |p| &mut p.chunks.open.ahead);
            bring_memory(partition, |p| &mut p.chunks.full.ahead);
        }
    }

    fn offer_exemplars(&self, tenant: &Tenant, batch: &WriteBatch, verdicts: &mut Verdicts) {
        if batch.exemplars.is_empty() {
            return;
        }
        let mut ring = tenant.exemplars.lock();
        for (i, series) in batch.series.iter().enumerate() {
            let reference = verdicts.refs[i];
            if reference == 0 {
                continue;
            }
            for e in &batch.exemplars[series.exemplars.start as usize..series.exemplars.end as usize] {
                match ring.offer(reference, e) {
                    Ok(()) => verdicts.exemplars += 1,
                    Err(why) => {
                        let reason = RejectReason::Exemplar(why.to_owned());
                        verdicts.refused.push((i as u32, Some(e.t_ms), 0, reason));
                    }
                }
            }
        }
    }

    /// Series of a batch that must be defined in `segment`, once more: for a request whose segment was given up.
    pub fn collect_definitions(&self, batch: &WriteBatch, segment: u64, verdicts: &mut Verdicts) {
        verdicts.define.clear();
        verdicts.define_labels.clear();
        for (i, series) in batch.series.iter().enumerate() {
            if verdicts.refs[i] != 0 {
                let partition = self.partitions[self.partition_of(series.hash)].read();
                partition.note_definition(batch, i as u32, segment, verdicts);
            }
        }
    }

    /// The definitions of a request are synced in `segment`.
    pub fn mark_defined(&self, batch: &WriteBatch, segment: u64, verdicts: &Verdicts) {
        for (index, partition) in self.partitions.iter().enumerate() {
            let hash = |i: u32| batch.series[i as usize].hash;
            let mut mine =
                verdicts.define.iter().filter(|i| self.partition_of(hash(**i)) == index).peekable();
            if mine.peek().is_some() {
                let mut partition = partition.write();
                mine.for_each(|i| partition.mark_defined(verdicts.refs[*i as usize], segment));
            }
        }
    }

    /// Windows that the batch may touch, first and last; `None` when it holds no sample.
    pub fn windows_of(&self, batch: &WriteBatch) -> Option<(WindowNo, WindowNo)> {
        let (min, max) = self.note_newest(batch)?;
        let number = |t: i64| window_of(t, self.options.window_ms);
        Some((number(min).unwrap_or(WindowNo::MIN + 1), number(max).unwrap_or(WindowNo::MAX)))
    }

    /// Remembers the newest sample time; gives the batch's oldest and newest.
    pub fn note_newest(&self, batch: &WriteBatch) -> Option<(i64, i64)> {
        let floats = batch.floats.t_ms.iter().copied();
        let (mut min, mut max) = floats.fold((i64::MAX, i64::MIN), |(a, b), t| (a.min(t), b.max(t)));
        for h in &batch.histograms {
            (min, max) = (min.min(h.t_ms), max.max(h.t_ms));
        }
        if min > max {
            return None;
        }
        self.newest_ms.fetch_max(max, Ordering::Relaxed);
        Some((min, max))
    }

    /// Time of the newest sample, `i64::MIN` when there is none.
    pub fn newest_ms(&self) -> i64 {
        self.newest_ms.load(Ordering::Relaxed)
    }

    /// Whether everything in the log is here; until then the head answers nobody.
    pub fn is_complete(&self) -> bool {
        self.complete.load(Ordering::Acquire)
    }

    /// Everything in the log is here.
    pub fn set_complete(&self) {
        self.complete.store(true, Ordering::Release);
    }

    /// Numbers of series in the log: one for the life of the process, or two series would share one.
    pub fn log_ids(&self) -> &AtomicU64 {
        &self.next_log_id
    }

    /// Number in the log of a series by reference, if it is still here.
    pub fn log_id_of(&self, reference: u64) -> Option<u64> {
        let partition = self.partitions.get(usize::from((reference >> 32) as u8))?.read();
        let slot = partition.resolve(reference)?;
        partition.slab.hot(slot).map(|hot| hot.log_id)
    }

    /// Samples up to this time are here.
    pub fn raise_newest(&self, t_ms: i64) {
        self.newest_ms.fetch_max(t_ms, Ordering::Relaxed);
    }

    /// Labels of a series by reference, if it is still here.
    pub fn labels_of(&self, reference: u64) -> Option<Labels> {
        let index = (reference >> 32) as u8;
        let partition = self.partitions.get(usize::from(index))?.read();
        let slot = partition.resolve(reference)?;
        let mut bytes = Vec::new();
        partition.write_labels(slot, &mut bytes);
        Some(LabelsRef::from_canonical(&bytes).to_labels())
    }

    /// Series in the head.
    pub fn series(&self) -> usize {
        self.partitions.iter().map(|p| p.read().slab.len()).sum()
    }

    /// Bytes of the head's own memory, about.
    pub fn heap_bytes(&self) -> HeapBytes {
        self.partitions.iter().map(|p| p.read().heap_bytes()).sum()
    }

    /// A mark that a reader holds as long as it reads.
    pub fn begin_read(&self) -> Arc<()> {
        self.reads.lock().clone()
    }

    /// A mark that is unique as soon as every read begun before this call has ended.
    pub fn reads_before(&self) -> Arc<()> {
        std::mem::take(&mut *self.reads.lock())
    }

    /// Ends the open chunks that lie in `window` or before, slice by slice. Samples may go on arriving.
    pub fn leave_window(&self, tenant: &Tenant, window: WindowNo) {
        for partition in &self.partitions {
            let slots = partition.write().begin_closing(tenant.number, window);
            for slice in slots.chunks(SLICE) {
                partition.write().leave_windows_through(slice, window);
            }
        }
    }

    /// From now on samples of `window` belong to the generation after `generation`. The caller holds the fence and
    /// has called [`Head::leave_window`].
    pub fn close(&self, tenant: &Tenant, window: WindowNo, generation: u32) {
        for partition in &self.partitions {
            partition.write().close(tenant.number, window, generation);
        }
    }

    /// Samples that went to the generation after `generation` belong to it after all. The caller holds the fence.
    pub fn reopen_into(&self, tenant: &Tenant, window: WindowNo, generation: u32) {
        let from = PartKey { window, generation: generation + 1 };
        for partition in &self.partitions {
            partition.write().move_part(tenant.number, from, PartKey { window, generation });
        }
    }

    /// Forgets what was released of a window up to `last` while nobody looked: its open chunks may not even have been
    /// ended. Gives the numbers of head-chunk files to delete by partition.
    pub fn forget_released(&self, tenant: &Tenant, window: WindowNo, last: u32) -> Vec<(usize, u32)> {
        self.leave_window(tenant, window);
        for partition in &self.partitions {
            partition.write().end_closing(tenant.number, window);
        }
        let (_, mut files) = self.release(tenant, PartKey { window, generation: 0 });
        if last > 0 {
            files.extend(self.release(tenant, PartKey { window, generation: last }).1);
        }
        files
    }

    /// Forgets a generation, and the series that have nothing left. Gives how many series left, and the numbers of
    /// head-chunk files to delete by partition.
    pub fn release(&self, tenant: &Tenant, key: PartKey) -> (u64, Vec<(usize, u32)>) {
        let (mut left, mut files) = (0, Vec::new());
        for (index, partition) in self.partitions.iter().enumerate() {
            let slots = partition.write().release(tenant.number, key);
            let mut gone = Vec::new();
            for slice in slots.chunks(SLICE) {
                gone.extend(partition.write().forget(slice, key));
            }
            if !gone.is_empty() {
                let touched = partition.write().begin_sweep();
                let mut rest = &touched[..];
                while !rest.is_empty() {
                    rest = partition.write().sweep_pairs(tenant.number, rest);
                }
                partition.write().end_sweep(tenant.number);
            }
            left += gone.len() as u64;
            files.extend(partition.write().drop_released_files().into_iter().map(|f| (index, f)));
        }
        tenant.forget(left);
        (left, files)
    }
}

fn bring_memory<T: AllZeros>(partition: &RwLock<Partition>, ahead: fn(&mut Partition) -> &mut Ahead<T>) {
    if ahead(&mut partition.write()).claim() {
        let value = Huge::touched();
        ahead(&mut partition.write()).bring(value);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_that_partitions_want_is_brought_once() {
        let series_limit: SeriesLimit = Arc::new(|_| 0);
        let options = HeadOptions {
            window_ms: 10_000,
            partitions: 2,
            external_labels: Labels::default(),
            exemplars: 0,
            series_limit,
        };
        let head = Head::new(options, &Rng::from_seed(1));
        let tenant = head.tenants.get_or_add(&TenantId::default_tenant());
        let (mut split, mut verdicts) = (Split::default(), Verdicts::default());
        let mut rounds = 0;
        while !head.must_bring_memory() {
            let mut batch = WriteBatch::new(tenant.id.clone());
            for n in 0..1000 {
                let labels = Labels::from_pairs([("n", format!("{rounds} {n}").as_str())]).unwrap();
                batch.push_floats(labels.as_ref(), &[(5, 1.0)]);
            }
            head.apply(&tenant, &batch, 1, &mut split, &mut verdicts);
            rounds += 1;
            assert!(rounds < 100, "two regions have room for some 20,000 series");
        }
        assert!(rounds > 10 && !head.must_bring_memory());
        let wanting = |head: &Head| head.partitions.iter().filter(|p| p.read().lacks_memory()).count();
        let (wanted, before) = (wanting(&head), head.heap_bytes().sum());
        assert!(wanted > 0);
        head.bring_memory();
        assert_eq!(wanting(&head), 0);
        let brought = head.heap_bytes().sum() - before;
        assert_eq!(brought, wanted * cairn_runtime::memory::HUGE_PAGE_BYTES);
        head.bring_memory();
        assert_eq!(head.heap_bytes().sum() - before, brought);
    }
}
