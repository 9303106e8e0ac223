//! Appending a batch: apply to the head, encode, wait for the disk.
//!
//! Invariants: `Ok` is given only after the batch's record, with the definitions it needs, is as durable as the sync
//! mode promises; a record is encoded for the segment that it is written to; a definition counts as known only
//! after it was synced.
//!
//! This is a hot file: for a batch of known series nothing is allocated per series or sample.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cairn_model::Value;
use cairn_model::batch::{Appended, Rejection, WriteBatch};
use cairn_model::exemplar::Exemplar;
use cairn_model::storage::{AppendError, Appendable};
use parking_lot::Mutex;

use super::Db;
use crate::head::partition::Verdicts;
use crate::head::state::Split;
use crate::head::tenant::Tenant;
use crate::wal::frame::{Kind, Payload};
use crate::wal::log::{CommitError, Outcome};
use crate::wal::pack::Packer;
use crate::wal::record::RecordView;

/// A batch whose segment is given up this often is refused: the disk is failing, not stumbling.
pub(super) const MAX_ATTEMPTS: usize = 4;

/// After a full disk was seen, writes are refused unseen for this long; then one tries again.
const FULL_PAUSE: Duration = Duration::from_millis(250);

/// Most scratch kept for reuse: more requests than this at a time are rare.
const MAX_SCRATCH: usize = 64;

/// A scratch whose buffers grew beyond this is not kept.
const MAX_SCRATCH_BYTES: usize = 8 << 20;

/// Which request a record belongs to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct RequestTag {
    /// Placement epoch under which the request was taken; 0 outside a cluster.
    pub epoch: u64,
    /// The request, 0 when it has no name.
    pub request_id: u128,
}

/// Memory that requests reuse.
#[derive(Default)]
pub struct Scratch {
    split: Split,
    verdicts: Verdicts,
    columns: Columns,
    raw: Vec<u8>,
    packer: Packer,
}

impl Scratch {
    /// Takes every series that comes with labels, under a log number of its own: what is said of a batch when the head
    /// cannot be asked.
    pub(super) fn verdicts_of_early(&mut self, batch: &WriteBatch, next_log_id: &AtomicU64) {
        let v = &mut self.verdicts;
        v.reset(batch.series.len());
        let first_id = next_log_id.fetch_add(batch.series.len() as u64, Ordering::Relaxed);
        for (i, series) in (0u32..).zip(&batch.series).filter(|(_, s)| !s.refused) {
            if batch.labels_of(series).is_none() {
                v.unknown.push(i);
                continue;
            }
            v.refs[i as usize] = 1; // stands for "accepted"; no reference is given out
            v.log_ids[i as usize] = (first_id + u64::from(i)) as i64;
            v.define.push(i);
            let refused = |k: &u32| batch.floats.refused.binary_search(k).is_ok();
            v.floats += series.floats.clone().filter(|k| !refused(k)).count() as u64;
            let histograms =
                &batch.histograms[series.histograms.start as usize..series.histograms.end as usize];
            v.histograms += histograms.iter().filter(|h| !h.refused).count() as u64;
            v.exemplars += series.exemplars.len() as u64;
        }
    }

    /// The record that was encoded last, before compression.
    pub(super) fn raw(&self) -> &[u8] {
        &self.raw
    }
}

/// Columns of a record that cannot be borrowed from the batch.
#[derive(Default)]
struct Columns {
    ids: Vec<i64>,
    /// Index in the record by series of the batch.
    index: Vec<u32>,
    counts: Vec<u32>,
    t_ms: Vec<i64>,
    values: Vec<f64>,
    start_ms: Vec<i64>,
}

/// Remembers a full disk.
#[derive(Default)]
pub struct Stall {
    full: Mutex<Option<(Duration, String)>>,
    /// Nanoseconds of monotonic time until which writes are refused; read without the lock.
    until_ns: AtomicU64,
}

impl Stall {
    fn check(&self, now: Duration) -> Result<(), AppendError> {
        let until = self.until_ns.load(Ordering::Relaxed);
        if until == 0 || now.as_nanos() as u64 >= until {
            return Ok(());
        }
        let reason = self.full.lock().as_ref().map(|f| f.1.clone()).unwrap_or_default();
        Err(AppendError::DiskFull(reason))
    }

    fn note(&self, now: Duration, reason: &str) {
        *self.full.lock() = Some((now, reason.to_owned()));
        self.until_ns.store((now + FULL_PAUSE).as_nanos() as u64, Ordering::Relaxed);
    }

    fn clear(&self) {
        if self.until_ns.load(Ordering::Relaxed) != 0 {
            self.until_ns.store(0, Ordering::Relaxed);
        }
    }
}

#[async_trait]
impl Appendable for Db {
    async fn append(&self, batch: WriteBatch) -> Result<Appended, AppendError> {
        let appended = self.append_tagged(&batch, RequestTag::default()).await?;
        Ok(Appended { spare: Some(Box::new(batch)), ..appended })
    }
}

impl Db {
    /// [`Appendable::append`] for a batch that the caller keeps, with the request's name for the log.
    ///
    /// # Errors
    /// [`AppendError`]; the batch may be readable then, but is not durable. Repeating it is free.
    pub async fn append_tagged(&self, batch: &WriteBatch, tag: RequestTag) -> Result<Appended, AppendError> {
        if self.is_closing() {
            return Err(AppendError::ShuttingDown);
        }
        let now = self.runtime.clock.monotonic();
        self.stall.check(now)?;
        self.check_memory(now)?;
        let mut scratch = self.scratch.lock().pop().unwrap_or_default();
        let early = match self.early.is_replaying() {
            true => self.append_early(batch, tag, &mut scratch).await,
            false => None,
        };
        let outcome = match early {
            Some(outcome) => outcome,
            None => self.append_with(batch, tag, &mut scratch).await,
        };
        if scratch.raw.capacity() <= MAX_SCRATCH_BYTES {
            let mut kept = self.scratch.lock();
            if kept.len() < MAX_SCRATCH {
                kept.push(scratch);
            }
        }
        outcome
    }

    async fn append_with(
        &self,
        batch: &WriteBatch,
        tag: RequestTag,
        scratch: &mut Scratch,
    ) -> Result<Appended, AppendError> {
        let tenant = self.head.tenants.get_or_add(&batch.tenant);
        let mut submitted = self.apply_and_submit(batch, tag, &tenant, scratch);
        for _ in 0..MAX_ATTEMPTS {
            let Some((segment, outcome)) = submitted else {
                return self.stored(batch, scratch); // nothing to log
            };
            if self.outcome(outcome).await? {
                if !scratch.verdicts.define.is_empty() {
                    self.head.mark_defined(batch, segment, &scratch.verdicts);
                }
                return self.stored(batch, scratch);
            }
            submitted = self.submit_again(batch, tag, &tenant, scratch);
        }
        Err(Db::given_up())
    }

    /// Waits for a submitted record: `true` when it is as durable as it must be, `false` when its segment was given up
    /// and it must be encoded again.
    pub(super) async fn outcome(&self, outcome: Outcome) -> Result<bool, AppendError> {
        self.journal.log().drive();
        match outcome.await.unwrap_or(Err(CommitError::Closed)) {
            Ok(()) => {
                self.stall.clear();
                Ok(true)
            }
            Err(CommitError::SegmentLost) => Ok(false),
            Err(CommitError::DiskFull(reason)) => {
                self.stall.note(self.runtime.clock.monotonic(), &reason);
                Err(AppendError::DiskFull(reason))
            }
            Err(CommitError::Closed) => Err(AppendError::ShuttingDown),
            Err(CommitError::Failed(reason)) => Err(AppendError::Unavailable { reason, retry_after_s: 5 }),
        }
    }

    pub(super) fn given_up() -> AppendError {
        let reason =
            "the log cannot be written: see the log lines of this node and check its disk".to_owned();
        AppendError::Unavailable { reason, retry_after_s: 5 }
    }

    fn apply_and_submit(
        &self,
        batch: &WriteBatch,
        tag: RequestTag,
        tenant: &Tenant,
        scratch: &mut Scratch,
    ) -> Option<(u64, Outcome)> {
        let entered = self.journal.enter(&self.head);
        let segment = entered.segment;
        // Touched before applied, so that a window with samples is never taken for an empty one.
        self.touch_windows(batch, tenant, segment);
        self.head.apply(tenant, batch, segment, &mut scratch.split, &mut scratch.verdicts);
        if self.head.must_bring_memory() {
            self.bring_memory();
        }
        self.note_created(scratch.verdicts.created);
        let payload = encode(batch, tag, scratch)?;
        Some((segment, self.journal.log().submit(payload, segment)))
    }

    /// The segment was given up: the same samples once more for the present one.
    fn submit_again(
        &self,
        batch: &WriteBatch,
        tag: RequestTag,
        tenant: &Tenant,
        scratch: &mut Scratch,
    ) -> Option<(u64, Outcome)> {
        let entered = self.journal.enter(&self.head);
        let segment = entered.segment;
        self.touch_windows(batch, tenant, segment);
        self.head.collect_definitions(batch, segment, &mut scratch.verdicts);
        let payload = encode(batch, tag, scratch)?;
        Some((segment, self.journal.log().submit(payload, segment)))
    }

    pub(super) fn touch_windows(&self, batch: &WriteBatch, tenant: &Tenant, segment: u64) {
        let Some((first, last)) = self.head.windows_of(batch) else { return };
        let mut windows = tenant.windows.lock();
        if i64::from(last) - i64::from(first) < 64 {
            for window in first..=last {
                let generation = windows.touch(window);
                self.journal.note(segment, (tenant.number, window, generation));
            }
            return;
        }
        // Samples far apart: only the windows that have some.
        let length_ms = self.head.options.window_ms;
        let times = batch.floats.t_ms.iter().copied().chain(batch.histograms.iter().map(|h| h.t_ms));
        for window in times.filter_map(|t| crate::head::chunks::window_of(t, length_ms)) {
            let generation = windows.touch(window);
            self.journal.note(segment, (tenant.number, window, generation));
        }
    }

    /// What the batch's sender is told when everything is durable that there was memory for.
    fn stored(&self, batch: &WriteBatch, scratch: &mut Scratch) -> Result<Appended, AppendError> {
        let appended = self.appended(batch, scratch);
        match scratch.verdicts.no_room {
            0 => Ok(appended),
            series => Err(self.no_room_for(series)),
        }
    }

    pub(super) fn appended(&self, batch: &WriteBatch, scratch: &mut Scratch) -> Appended {
        let v = &mut scratch.verdicts;
        self.metrics.samples.with_label_values(&["float"]).inc_by(v.floats);
        if v.histograms > 0 {
            self.metrics.samples.with_label_values(&["histogram"]).inc_by(v.histograms);
        }
        self.metrics.exemplars.inc_by(v.exemplars);
        self.metrics.out_of_order.inc_by(v.out_of_order);
        self.metrics.head_series_created.inc_by(v.created);
        self.debt.note(v);
        let rejection = |(series, t_ms, samples, reason)| {
            let s = &batch.series[series as usize];
            let labels = match batch.labels_of(s) {
                Some(labels) => labels.to_string(),
                None => {
                    self.head.labels_of(v.refs[series as usize]).map(|l| l.to_string()).unwrap_or_default()
                }
            };
            Rejection { series: Some(series), labels: labels.into(), t_ms, samples, reason }
        };
        Appended {
            floats: v.floats,
            histograms: v.histograms,
            exemplars: v.exemplars,
            rejections: std::mem::take(&mut v.refused).into_iter().map(rejection).collect(),
            refs: v.refs.clone(),
            unknown: v.unknown.clone(),
            ..Appended::default()
        }
    }
}

/// Encodes what of the batch was accepted; `None` when that is nothing.
pub(super) fn encode(batch: &WriteBatch, tag: RequestTag, scratch: &mut Scratch) -> Option<Payload> {
    let Scratch { verdicts, columns, raw, packer, .. } = scratch;
    let whole = columns.borrow_or_copy(batch, verdicts);
    verdicts.define_labels.sort_unstable_by_key(|d| d.0);
    let by_reference = |i: u32| {
        let at = verdicts.define_labels.binary_search_by_key(&i, |d| d.0);
        at.map(|at| &verdicts.define_labels[at].1[..]).unwrap_or_default()
    };
    let definitions: Vec<(u32, &[u8])> = verdicts
        .define
        .iter()
        .map(|&i| {
            let series = &batch.series[i as usize];
            let labels = match batch.labels_of(series) {
                Some(labels) => labels.as_bytes(),
                None => by_reference(i),
            };
            (columns.index_of(i, whole), labels)
        })
        .collect();
    let histograms = histograms_of(batch, verdicts, columns, whole);
    let exemplars = exemplars_of(batch, verdicts, columns, whole);
    let floats = &batch.floats;
    let view = RecordView {
        epoch: tag.epoch,
        request_id: tag.request_id,
        tenant: batch.tenant.as_str(),
        ids: if whole { &verdicts.log_ids } else { &columns.ids },
        definitions: &definitions,
        float_counts: &columns.counts,
        t_ms: if whole { &floats.t_ms } else { &columns.t_ms },
        values: if whole { &floats.value } else { &columns.values },
        start_ms: if whole { &floats.start_ms } else { &columns.start_ms },
        histograms: &histograms,
        exemplars: &exemplars,
        metadata: &batch.metadata,
    };
    let nothing = view.t_ms.is_empty()
        && view.histograms.is_empty()
        && view.exemplars.is_empty()
        && view.metadata.is_empty();
    if nothing {
        return None;
    }
    raw.clear();
    view.encode(raw);
    Some(packer.pack(Kind::Batch, raw))
}

impl Columns {
    /// `true` when the record can borrow the batch's columns: all series are accepted whole and lie one after the
    /// other. Else copies what is accepted. `counts` is filled either way, empty when all are 1.
    fn borrow_or_copy(&mut self, batch: &WriteBatch, verdicts: &Verdicts) -> bool {
        self.counts.clear();
        let (mut end, mut ones, mut whole) = (0u32, true, batch.floats.refused.is_empty());
        for (series, reference) in batch.series.iter().zip(&verdicts.refs) {
            whole &= *reference != 0 && series.floats.start == end;
            ones &= series.floats.end.wrapping_sub(series.floats.start) == 1;
            end = series.floats.end;
        }
        whole &= end as usize == batch.floats.t_ms.len();
        if whole {
            if !ones {
                self.counts.extend(batch.series.iter().map(|s| s.floats.end - s.floats.start));
            }
            return true;
        }
        self.copy(batch, verdicts);
        false
    }

    fn copy(&mut self, batch: &WriteBatch, verdicts: &Verdicts) {
        self.ids.clear();
        self.index.clear();
        self.t_ms.clear();
        self.values.clear();
        self.start_ms.clear();
        let floats = &batch.floats;
        for (i, series) in batch.series.iter().enumerate() {
            self.index.push(self.ids.len() as u32);
            if verdicts.refs[i] == 0 {
                continue;
            }
            self.ids.push(verdicts.log_ids[i]);
            let before = self.t_ms.len();
            for k in series.floats.start..series.floats.end {
                if floats.refused.binary_search(&k).is_ok() {
                    continue;
                }
                self.t_ms.push(floats.t_ms[k as usize]);
                self.values.push(floats.value[k as usize]);
                self.start_ms.extend(floats.start_ms.get(k as usize));
            }
            self.counts.push((self.t_ms.len() - before) as u32);
        }
    }

    fn index_of(&self, series: u32, whole: bool) -> u32 {
        if whole { series } else { self.index[series as usize] }
    }
}

fn histograms_of<'a>(
    batch: &'a WriteBatch,
    verdicts: &Verdicts,
    columns: &Columns,
    whole: bool,
) -> Vec<(u32, i64, i64, &'a Value)> {
    if batch.histograms.is_empty() {
        return Vec::new();
    }
    let accepted = (0u32..).zip(&batch.series).filter(|(i, _)| verdicts.refs[*i as usize] != 0);
    accepted
        .flat_map(|(i, s)| {
            let index = columns.index_of(i, whole);
            let samples = &batch.histograms[s.histograms.start as usize..s.histograms.end as usize];
            let kept = samples.iter().filter(|h| !h.refused && h.value.is_histogram());
            kept.map(move |h| (index, h.t_ms, h.start_ms, &h.value))
        })
        .collect()
}

fn exemplars_of<'a>(
    batch: &'a WriteBatch,
    verdicts: &Verdicts,
    columns: &Columns,
    whole: bool,
) -> Vec<(u32, &'a Exemplar)> {
    if batch.exemplars.is_empty() {
        return Vec::new();
    }
    let accepted = (0u32..).zip(&batch.series).filter(|(i, _)| verdicts.refs[*i as usize] != 0);
    accepted
        .flat_map(|(i, s)| {
            let index = columns.index_of(i, whole);
            let exemplars = &batch.exemplars[s.exemplars.start as usize..s.exemplars.end as usize];
            exemplars.iter().map(move |e| (index, e))
        })
        .collect()
}
