//! One partition of the head: the series whose hash falls into it, of all tenants.
//!
//! A request's series pass through [`Partition::append`] under the partition's lock: resolve the series (by the
//! sender's reference, or by labels), then its samples. A float that is newer than all before and stays in the
//! window goes to the raw tail; anything else takes the slow path: new windows, histograms, repeats, conflicts,
//! out-of-order and late samples.
//!
//! Invariants: the state is a join of the samples that were offered: their order makes no difference to
//! what a reader sees; for equal times the greater value stays; main chunks take samples of open windows only, so
//! a closed window's first generation no longer changes.
//!
//! This is a hot file: a known series' next float allocates nothing, looks nothing up and takes no lock.

mod existing;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_model::batch::{RejectReason, WriteBatch};
use cairn_model::labels::{LabelsRef, write_label};
use cairn_model::sample::Sample;
use cairn_model::{TimestampMs, Value};
use hashbrown::{HashMap, HashTable};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::arena::{WordList, WordLists};
use super::chains::Chain;
use super::chunks::{Chunks, OfSeries, is_turn, window_of};
use super::histogram::OpenHistogram;
use super::order;
use super::pairs::{PairId, Pairs};
use super::postings::Postings;
use super::series::{Cold, FIRST_CHUNK, HAS_EXTRA, Hot, NO_WINDOW, Slab, TAIL, TenantNo, WindowNo};
use super::side::{PartKey, Side};
use super::starts::Starts;
use crate::chunkenc::XorAppender;
use existing::Decoded;

/// What identifies a partition, and what all of them share.
#[derive(Debug, Clone, Copy)]
pub struct Identity {
    /// Which of the head's partitions.
    pub index: u8,
    /// Random, not 0: references of an earlier process are not taken for ours.
    pub tag: u32,
    /// Seeds the second hash of labels.
    pub key_seed: u64,
    /// Length of a window.
    pub window_ms: i64,
}

/// Bits of a reference that hold the slot.
const SLOT_BITS: u32 = 32;
/// Bits that hold the partition.
const PARTITION_BITS: u32 = 8;
/// Bits that hold the process' tag.
pub const TAG_BITS: u32 = 24;

/// One partition of the head.
pub struct Partition {
    pub(super) identity: Identity,
    pub(super) slab: Slab,
    pub(super) tenants: Vec<Option<Box<TenantIndex>>>,
    pub(crate) chunks: Chunks,
    pub(super) labels: WordLists,
    pub(super) extras: HashMap<u32, Box<Extra>>,
    /// Series that were removed and are still in the label index.
    pub(super) dying: Vec<(u32, WordList)>,
    /// Sweeps of the label index so far.
    pub(super) swept: u64,
    decoded: Decoded,
    pair_scratch: Vec<PairId>,
}

/// Series whose hot state is fetched together. Judgement: twice 16 cache lines are in flight at most.
const BLOCK: usize = 16;

/// A tenant's series in this partition.
#[derive(Default)]
pub struct TenantIndex {
    pub(super) by_hash: HashTable<u32>,
    pub(crate) pairs: Pairs,
    pub(crate) all: Postings,
    /// Generation that late samples of a closed window belong to.
    pub(super) closed: BTreeMap<WindowNo, u32>,
    /// Windows below are closed, with this generation, unless `closed` says otherwise.
    pub(super) floor: Option<(WindowNo, u32)>,
    /// Windows whose main chunks are in verified blocks.
    pub(super) released: BTreeSet<WindowNo>,
    /// The window that is being closed, and the series that entered it since that began.
    pub(super) closing: Option<WindowNo>,
    pub(super) entered: Vec<u32>,
}

/// What few series have.
#[derive(Default)]
pub struct Extra {
    pub(super) starts: Starts,
    pub(super) side: Side,
    pub(super) histogram: Option<OpenHistogram>,
}

/// A request on its way through the partitions.
pub struct Request<'a> {
    /// The tenant's number.
    pub tenant: TenantNo,
    /// What is offered.
    pub batch: &'a WriteBatch,
    /// The log segment that the request will be written to.
    pub segment: u64,
    /// Whether one series more may be added; takes it from the tenant's limit then.
    pub admit: &'a dyn Fn() -> Result<(), NotAdded>,
    /// Numbers of series in the log.
    pub next_log_id: &'a AtomicU64,
}

/// Why a series was not added.
#[derive(Debug)]
pub enum NotAdded {
    /// It is refused.
    Refused(RejectReason),
    /// There is no memory for it now.
    NoRoom,
}

/// What became of a request, over all partitions. Reused.
#[derive(Debug, Default)]
pub struct Verdicts {
    /// Reference by series of the batch, 0 for those that are not stored.
    pub refs: Vec<u64>,
    /// Number in the log by series.
    pub log_ids: Vec<i64>,
    /// Series to be defined in the log.
    pub define: Vec<u32>,
    /// Canonical labels of series to be defined that the batch knows by reference only: `(series, labels)`.
    pub define_labels: Vec<(u32, Vec<u8>)>,
    /// Series that only a reference named, which is not known.
    pub unknown: Vec<u32>,
    /// Refused: `(series, time or None for the whole series, samples, reason)`.
    pub refused: Vec<(u32, Option<TimestampMs>, u32, RejectReason)>,
    /// Floats stored.
    pub floats: u64,
    /// Histograms stored.
    pub histograms: u64,
    /// Exemplars stored.
    pub exemplars: u64,
    /// Floats and histograms that took the slow path because they were not newer.
    pub out_of_order: u64,
    /// Series that were new.
    pub created: u64,
    /// New series for which there was no memory: neither stored nor refused.
    pub no_room: u64,
}

impl Verdicts {
    /// Empties the verdicts for a batch of `series` series.
    pub fn reset(&mut self, series: usize) {
        self.refs.clear();
        self.refs.resize(series, 0);
        self.log_ids.clear();
        self.log_ids.resize(series, 0);
        self.define.clear();
        self.define_labels.clear();
        self.unknown.clear();
        self.refused.clear();
        (self.floats, self.histograms, self.exemplars) = (0, 0, 0);
        (self.out_of_order, self.created, self.no_room) = (0, 0, 0);
    }
}

/// Outcome of a sample.
enum Stored {
    /// It is there now, or was already.
    Yes,
    /// Another value is there, or was until this greater one came.
    Conflict,
}

/// A window with its bounds, so that most samples need no division.
#[derive(Clone, Copy)]
struct Window {
    number: WindowNo,
    start_ms: TimestampMs,
}

impl Partition {
    /// An empty partition.
    pub fn new(identity: Identity) -> Self {
        debug_assert!(identity.tag != 0 && identity.tag < 1 << TAG_BITS && identity.window_ms > 0);
        Partition {
            identity,
            slab: Slab::default(),
            tenants: Vec::new(),
            chunks: Chunks::default(),
            labels: WordLists::default(),
            extras: HashMap::new(),
            dying: Vec::new(),
            swept: 0,
            decoded: Decoded::default(),
            pair_scratch: Vec::new(),
        }
    }

    /// What identifies it.
    pub fn identity(&self) -> &Identity {
        &self.identity
    }

    /// Calls `visit` with number in the log, hash and reference of every live series.
    pub fn each_series(&self, mut visit: impl FnMut(u64, u64, u64)) {
        for slot in self.slab.slots() {
            if let Some(hot) = self.slab.hot(slot) {
                visit(hot.log_id, hot.hash, self.reference(slot));
            }
        }
    }

    /// The reference of a slot.
    pub fn reference(&self, slot: u32) -> u64 {
        u64::from(self.identity.tag) << (SLOT_BITS + PARTITION_BITS)
            | u64::from(self.identity.index) << SLOT_BITS
            | u64::from(slot)
    }

    /// The slot of a reference, if it is one of this partition's live series.
    pub fn resolve(&self, reference: u64) -> Option<u32> {
        let slot = reference as u32;
        (reference == self.reference(slot) && self.slab.is_live(slot)).then_some(slot)
    }

    /// Whether it wants memory that is not here yet.
    pub(super) fn lacks_memory(&self) -> bool {
        let Chunks { open, full, .. } = &self.chunks;
        self.slab.ahead.is_lacking() || open.ahead.is_lacking() || full.ahead.is_lacking()
    }

    /// The tenant's index, made on first use.
    pub(super) fn tenant_mut(&mut self, tenant: TenantNo) -> &mut TenantIndex {
        let at = tenant as usize;
        if self.tenants.len() <= at {
            self.tenants.resize_with(at + 1, || None);
        }
        self.tenants[at].get_or_insert_default()
    }

    /// The tenant's index, if it has one here.
    pub(crate) fn tenant(&self, tenant: TenantNo) -> Option<&TenantIndex> {
        self.tenants.get(tenant as usize)?.as_deref()
    }

    /// Appends the series `which` of the request's batch.
    pub fn append(&mut self, request: &Request<'_>, which: &[u32], verdicts: &mut Verdicts) {
        let mut window = Window { number: NO_WINDOW, start_ms: TimestampMs::MAX };
        for block in which.chunks(BLOCK) {
            self.fetch(request, block);
            for &i in block {
                if let Some(slot) = self.resolve_or_add(request, i, verdicts) {
                    self.append_series(request, i, slot, &mut window, verdicts);
                }
            }
        }
    }

    /// Reads the hot state of a block of series for nothing but the cache: of series in no order each read waits for the
    /// memory, and these wait together.
    fn fetch(&self, request: &Request<'_>, block: &[u32]) {
        let read = |i: &u32| {
            let slot = request.batch.series[*i as usize].known_ref as u32;
            self.slab.hot(slot).map_or(0, |hot| hot.hash ^ hot.tail_values[0].to_bits())
        };
        std::hint::black_box(block.iter().map(read).fold(0, |a, b| a ^ b));
    }

    fn resolve_or_add(&mut self, request: &Request<'_>, i: u32, verdicts: &mut Verdicts) -> Option<u32> {
        let series = &request.batch.series[i as usize];
        if series.known_ref != 0 {
            let slot = series.known_ref as u32;
            if series.known_ref == self.reference(slot)
                && let Some(hot) = self.slab.hot(slot)
                && hot.hash == series.hash
            {
                self.note_series(request, i, slot, verdicts);
                return Some(slot);
            }
        }
        let Some(labels) = request.batch.labels_of(series) else {
            verdicts.unknown.push(i);
            return None;
        };
        let key = xxh3_64_with_seed(labels.as_bytes(), self.identity.key_seed);
        let slot = match self.find(request.tenant, series.hash, key) {
            Some(slot) => slot,
            None => match self.add(request, series.hash, key, labels) {
                Ok(slot) => {
                    verdicts.created += 1;
                    slot
                }
                Err(NotAdded::NoRoom) => {
                    verdicts.no_room += 1;
                    return None;
                }
                Err(NotAdded::Refused(reason)) => {
                    let samples = series.floats.len() + series.histograms.len();
                    verdicts.refused.push((i, None, samples as u32, reason));
                    return None;
                }
            },
        };
        self.note_series(request, i, slot, verdicts);
        Some(slot)
    }

    fn note_series(&mut self, request: &Request<'_>, i: u32, slot: u32, verdicts: &mut Verdicts) {
        verdicts.refs[i as usize] = self.reference(slot);
        let hot = self.slab.hot(slot).expect("resolved just now");
        verdicts.log_ids[i as usize] = hot.log_id as i64;
        if hot.defined_in != request.segment as u32 {
            verdicts.define.push(i);
            if request.batch.series[i as usize].labels.is_empty() {
                let mut bytes = Vec::new();
                self.write_labels(slot, &mut bytes);
                verdicts.define_labels.push((i, bytes));
            }
        }
    }

    /// The series' definition is synced in `segment`.
    pub fn mark_defined(&mut self, reference: u64, segment: u64) {
        if let Some(slot) = self.resolve(reference)
            && let Some(hot) = self.slab.hot_mut(slot)
        {
            hot.defined_in = segment as u32;
        }
    }

    /// The live series with these hashes.
    pub(super) fn find(&self, tenant: TenantNo, hash: u64, key: u64) -> Option<u32> {
        let index = self.tenant(tenant)?;
        let same = |slot: &u32| self.slab.get(*slot).is_some_and(|(h, c)| h.hash == hash && c.key == key);
        index.by_hash.find(hash, same).copied()
    }

    fn add(
        &mut self,
        request: &Request<'_>,
        hash: u64,
        key: u64,
        labels: LabelsRef<'_>,
    ) -> Result<u32, NotAdded> {
        let count = labels.len();
        if count > WordLists::MAX_LEN {
            let too_many = RejectReason::TooManyLabels { have: count, limit: WordLists::MAX_LEN };
            return Err(NotAdded::Refused(too_many));
        }
        (request.admit)()?;
        let mut ids = std::mem::take(&mut self.pair_scratch);
        ids.clear();
        let index = self.tenant_mut(request.tenant);
        ids.extend(labels.iter().map(|(name, value)| index.pairs.intern(name, value)));
        let log_id = request.next_log_id.fetch_add(1, Ordering::Relaxed);
        let cold = Cold {
            key,
            full: 0,
            last_ms: TimestampMs::MIN,
            xor: XorAppender::NONE,
            open: Chain::NONE,
            open_len: 0,
            tenant: request.tenant,
            first_dt: 0,
            labels: self.labels.add(&ids),
        };
        let slot = self.adopt(Hot::new(hash, log_id), cold, &ids);
        self.pair_scratch = ids;
        slot.ok_or(NotAdded::Refused(RejectReason::SeriesLimit { limit: u64::from(u32::MAX) }))
    }

    /// Gives a series a slot and puts it into its tenant's label index, which must have `pairs`; `None` when all slots
    /// were used up.
    pub(super) fn adopt(&mut self, hot: Hot, cold: Cold, pairs: &[PairId]) -> Option<u32> {
        let (hash, tenant) = (hot.hash, cold.tenant);
        let slot = self.slab.add(hot, cold)?;
        let (slab, tenants) = (&self.slab, &mut self.tenants);
        let index = tenants[tenant as usize].as_mut().expect("its pairs are in it");
        for &id in pairs {
            index.pairs.add_series(id, slot);
        }
        index.all.push(slot);
        let rehash = |slot: &u32| slab.hot(*slot).map_or(0, |h| h.hash);
        index.by_hash.insert_unique(hash, slot, rehash);
        Some(slot)
    }

    /// Appends the canonical labels of a live series to `out`.
    pub(crate) fn write_labels(&self, slot: u32, out: &mut Vec<u8>) {
        let Some((_, cold)) = self.slab.get(slot) else { return };
        let Some(index) = self.tenant(cold.tenant) else { return };
        for &id in self.labels.get(cold.labels) {
            let (name, value) = index.pairs.text(id);
            write_label(out, name, value);
        }
    }

    fn append_series(
        &mut self,
        request: &Request<'_>,
        i: u32,
        slot: u32,
        window: &mut Window,
        verdicts: &mut Verdicts,
    ) {
        let batch = request.batch;
        let series = &batch.series[i as usize];
        let (columns, length_ms) = (&batch.floats, self.identity.window_ms);
        for k in series.floats.start as usize..series.floats.end as usize {
            let (t_ms, value) = (columns.t_ms[k], columns.value[k]);
            if !columns.refused.is_empty() && columns.refused.binary_search(&(k as u32)).is_ok() {
                continue;
            }
            let inside =
                window.number != NO_WINDOW && (0..length_ms).contains(&t_ms.wrapping_sub(window.start_ms));
            if !inside && !enter(window, t_ms, length_ms) {
                verdicts.refused.push((i, Some(t_ms), 1, RejectReason::TooFarInFuture { limit_ms: 0 }));
                continue;
            }
            let start_ms = columns.start_ms.get(k).copied().unwrap_or(0);
            let dt = (t_ms - window.start_ms) as u32;
            let hot = self.slab.hot_mut(slot).expect("resolved just now");
            if hot.window == window.number && dt > hot.last_dt {
                // The hot path: the sample joins the tail.
                let n = usize::from(hot.tail_len);
                hot.tail_dt[n] = dt;
                hot.tail_values[n] = value;
                hot.tail_len += 1;
                hot.last_dt = dt;
                verdicts.floats += 1;
                if n + 1 == TAIL || is_turn(slot, hot.encoded + hot.tail_len) {
                    let (hot, cold) = self.slab.live_mut(slot);
                    self.chunks.encode_tail(&mut OfSeries { slot, hot, cold }, window.start_ms);
                }
                if !columns.start_ms.is_empty() {
                    self.note_start(slot, t_ms, start_ms);
                }
                continue;
            }
            let sample = Sample { t_ms, start_ms, value: Value::Float(value) };
            match self.append_slow(request.tenant, slot, *window, sample, verdicts) {
                Stored::Yes => verdicts.floats += 1,
                Stored::Conflict => verdicts.refused.push((i, Some(t_ms), 1, RejectReason::Conflict)),
            }
        }
        for h in &batch.histograms[series.histograms.start as usize..series.histograms.end as usize] {
            if h.refused {
                continue;
            }
            if let Some(reason) = reason_to_refuse(&h.value) {
                verdicts.refused.push((i, Some(h.t_ms), 1, reason));
                continue;
            }
            if !enter(window, h.t_ms, length_ms) {
                verdicts.refused.push((i, Some(h.t_ms), 1, RejectReason::TooFarInFuture { limit_ms: 0 }));
                continue;
            }
            let sample = Sample { t_ms: h.t_ms, start_ms: h.start_ms, value: h.value.clone() };
            match self.append_slow(request.tenant, slot, *window, sample, verdicts) {
                Stored::Yes => verdicts.histograms += 1,
                Stored::Conflict => verdicts.refused.push((i, Some(h.t_ms), 1, RejectReason::Conflict)),
            }
        }
    }

    /// Anything but the next float of the window.
    fn append_slow(
        &mut self,
        tenant: TenantNo,
        slot: u32,
        window: Window,
        sample: Sample,
        verdicts: &mut Verdicts,
    ) -> Stored {
        let late = self.tenant(tenant).and_then(|index| index.late_generation(window.number));
        let newest_ms = self.newest_main_ms(slot);
        if late.is_none() && sample.t_ms > newest_ms {
            if sample.start_ms != 0 || self.has_extra(slot) {
                self.note_start(slot, sample.t_ms, sample.start_ms);
            }
            if let Some(index) = self.tenants[tenant as usize].as_mut()
                && index.closing.is_some_and(|closing| window.number <= closing)
            {
                index.entered.push(slot);
            }
            match &sample.value {
                Value::Float(v) => self.begin_window(slot, window, sample.t_ms, *v),
                _ => self.append_histogram(slot, window, sample.t_ms, &sample.value),
            }
            return Stored::Yes;
        }
        verdicts.out_of_order += 1;
        let existing = self.value_at(slot, sample.t_ms);
        let stored = match &existing {
            None => Stored::Yes,
            Some(there) => match order::compare(&sample.value, there) {
                std::cmp::Ordering::Equal => return Stored::Yes,
                std::cmp::Ordering::Less => return Stored::Conflict,
                std::cmp::Ordering::Greater => Stored::Conflict, // and it replaces what is there
            },
        };
        if sample.start_ms != 0 || self.has_extra(slot) {
            self.note_start(slot, sample.t_ms, sample.start_ms);
        }
        let key = PartKey { window: window.number, generation: late.unwrap_or(0) };
        self.extra_mut(slot).side.insert(key, sample);
        stored
    }

    /// Time of the newest sample in the main chunks.
    fn newest_main_ms(&self, slot: u32) -> TimestampMs {
        match self.slab.get(slot) {
            Some((hot, _)) if hot.window != NO_WINDOW => self.start_ms(hot.window) + i64::from(hot.last_dt),
            Some((_, cold)) => cold.last_ms,
            None => TimestampMs::MIN,
        }
    }

    /// First float of a window, or the first after histograms.
    fn begin_window(&mut self, slot: u32, window: Window, t_ms: TimestampMs, value: f64) {
        self.close_histogram(slot);
        let length_ms = self.identity.window_ms;
        let (hot, cold) = self.slab.live_mut(slot);
        if hot.window != NO_WINDOW {
            let start_ms = i64::from(hot.window) * length_ms;
            self.chunks.leave_window(&mut OfSeries { slot, hot, cold }, start_ms);
        }
        let (hot, _) = self.slab.live_mut(slot);
        hot.flags |= FIRST_CHUNK;
        hot.window = window.number;
        hot.last_dt = (t_ms - window.start_ms) as u32;
        hot.tail_dt[0] = hot.last_dt;
        hot.tail_values[0] = value;
        hot.tail_len = 1;
    }

    fn append_histogram(&mut self, slot: u32, window: Window, t_ms: TimestampMs, value: &Value) {
        self.leave_window(slot);
        let extra = self.extra_mut(slot);
        let closed = match &mut extra.histogram {
            Some(open) if !open.is_done_for(window.number, value) => open.append(t_ms, value),
            other => {
                let before = other.take();
                *other = OpenHistogram::start(before.as_ref(), window.number, t_ms, value);
                before.map(OpenHistogram::close)
            }
        };
        let (_, cold) = self.slab.live_mut(slot);
        cold.last_ms = t_ms;
        if let Some(closed) = closed {
            self.chunks.push_histogram(slot, cold, &closed);
        }
    }

    /// Ends the open float chunk of a series.
    pub(super) fn leave_window(&mut self, slot: u32) {
        let length_ms = self.identity.window_ms;
        let (hot, cold) = self.slab.live_mut(slot);
        let start_ms = i64::from(hot.window) * length_ms;
        self.chunks.leave_window(&mut OfSeries { slot, hot, cold }, start_ms);
    }

    /// Ends the open histogram chunk of a series, if it has one.
    pub(super) fn close_histogram(&mut self, slot: u32) {
        if !self.has_extra(slot) {
            return;
        }
        if let Some(open) = self.extras.get_mut(&slot).and_then(|e| e.histogram.take()) {
            let (_, cold) = self.slab.live_mut(slot);
            self.chunks.push_histogram(slot, cold, &open.close());
        }
    }

    pub(super) fn start_ms(&self, window: WindowNo) -> TimestampMs {
        i64::from(window) * self.identity.window_ms
    }

    fn has_extra(&self, slot: u32) -> bool {
        self.slab.hot(slot).is_some_and(|h| h.flags & HAS_EXTRA != 0)
    }

    fn extra_mut(&mut self, slot: u32) -> &mut Extra {
        if let Some(hot) = self.slab.hot_mut(slot) {
            hot.flags |= HAS_EXTRA;
        }
        self.extras.entry(slot).or_default()
    }

    /// The extra state of a series, if it has any.
    pub(super) fn extra(&self, slot: u32) -> Option<&Extra> {
        if self.has_extra(slot) { self.extras.get(&slot).map(|e| &**e) } else { None }
    }

    fn note_start(&mut self, slot: u32, t_ms: TimestampMs, start_ms: TimestampMs) {
        if start_ms == 0 && !self.has_extra(slot) {
            return;
        }
        let newest_ms = self.newest_main_ms(slot);
        let extra = self.extra_mut(slot);
        let newest_ms = extra.side.range().map_or(newest_ms, |r| r.1.max(newest_ms));
        extra.starts.set(t_ms, start_ms, newest_ms);
    }
}

impl TenantIndex {
    /// The generation that samples of a closed window belong to now; `None` while the window is open.
    pub(crate) fn late_generation(&self, window: WindowNo) -> Option<u32> {
        if let Some(generation) = self.closed.get(&window) {
            return Some(*generation);
        }
        self.floor.filter(|(floor, _)| window < *floor).map(|(_, generation)| generation)
    }
}

/// Moves `window` to the one that `t_ms` is in; `false` when there is no such window.
fn enter(window: &mut Window, t_ms: TimestampMs, length_ms: i64) -> bool {
    match window_of(t_ms, length_ms) {
        Some(number) => {
            *window = Window { number, start_ms: i64::from(number) * length_ms };
            true
        }
        None => false,
    }
}

/// Why a histogram cannot be stored. Receivers judge first; this guards the encoders against everyone else.
fn reason_to_refuse(value: &Value) -> Option<RejectReason> {
    let outcome = match value {
        Value::Float(_) => return Some(RejectReason::InvalidHistogram("a float among histograms".into())),
        Value::Histogram(h) => h.validate(),
        Value::FloatHistogram(h) => h.validate(),
    };
    outcome.err().map(|e| RejectReason::InvalidHistogram(e.to_string()))
}

#[cfg(test)]
mod tests;
