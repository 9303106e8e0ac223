//! Writes that come while the log of the process before is still being replayed.
//!
//! They go into the log at once, and are acknowledged when they are durable there, as ever. What the head would have
//! said of them is not known yet: every series is defined anew, under numbers of its own, and the records are kept.
//! When the log has been replayed, the kept records are replayed behind it, the last of them behind the fence, and
//! from then on writes go through the head. So readers wait for a replay and senders do not, up to the bound of what is
//! kept: beyond it a write is answered 503 and may be repeated.
//!
//! What differs from a write to the head: a conflict with an older value is not told (the greater value stays, as
//! always), and a new series over the tenant's limit is taken, because it was acknowledged.
//!
//! Invariants: a record is kept before it is submitted, and every kept record is applied before the first write goes
//! to the head; windows are what the log says they were, and none is closed meanwhile, so a sample gets the generation
//! under which its record is found by the next replay.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use cairn_model::batch::{Appended, WriteBatch};
use cairn_model::storage::AppendError;
use parking_lot::Mutex;
use tracing::{info, warn};

use super::append::{MAX_ATTEMPTS, RequestTag, Scratch, encode};
use super::maintain::remove_head_files;
use super::replay::{self, Plan, Replayer};
use super::snapshot::load::{self, Restored, Snapshot};
use super::{Db, HEAD_DIR, WAL_DIR};
use crate::error::TsdbError;
use crate::head::tenant::Tenant;
use crate::wal::log::Outcome;

/// Bytes of kept records. Judgement: some 200,000 series with a sample each, as labels come with every one of them.
const MAX_KEPT_BYTES: usize = 64 << 20;

/// Rounds of applying what came meanwhile before writers are held for the rest: each is shorter than the one before
/// unless they write faster than the head takes.
const MAX_ROUNDS: usize = 8;

/// With no more than this left, the fence is taken for the rest: it is applied in some milliseconds.
const LAST_BYTES: usize = 256 << 10;

/// A raw record and the number of its segment.
pub type Record = (u64, Vec<u8>);

/// What is kept until the replay is over.
pub struct Early {
    replaying: AtomicBool,
    plan: Mutex<Option<(Plan, Option<Arc<Snapshot>>)>>,
    kept: Mutex<Kept>,
}

#[derive(Default)]
struct Kept {
    records: Vec<Record>,
    bytes: usize,
}

/// What became of an early write on its way to the log.
enum Submitted {
    /// It waits for the disk.
    Waiting(Outcome),
    /// It holds nothing that must be logged.
    Nothing,
    /// The replay has ended: it is an ordinary write.
    Over,
}

impl Early {
    /// Everything in `snapshot` and then in `plan` is still to be brought into the head.
    pub fn new(plan: Plan, snapshot: Option<Arc<Snapshot>>) -> Self {
        let plan = Mutex::new(Some((plan, snapshot)));
        Early { replaying: AtomicBool::new(true), plan, kept: Mutex::default() }
    }

    /// Whether the head lacks a part of the log.
    pub fn is_replaying(&self) -> bool {
        self.replaying.load(Ordering::Acquire)
    }

    fn kept_bytes(&self) -> usize {
        self.kept.lock().bytes
    }

    fn take(&self) -> Vec<Record> {
        std::mem::take(&mut *self.kept.lock()).records
    }
}

impl Db {
    /// [`Db::append_tagged`] while the log is replayed; `None` when that is over.
    pub(super) async fn append_early(
        &self,
        batch: &WriteBatch,
        tag: RequestTag,
        scratch: &mut Scratch,
    ) -> Option<Result<Appended, AppendError>> {
        let kept = self.early.kept_bytes();
        if kept > MAX_KEPT_BYTES {
            self.metrics.early_refused.inc();
            let reason =
                format!("the log is being replayed and {kept} bytes of new writes wait for it already");
            return Some(Err(AppendError::Unavailable { reason, retry_after_s: 1 }));
        }
        let tenant = self.head.tenants.get_or_add(&batch.tenant);
        scratch.verdicts_of_early(batch, self.head.log_ids());
        for attempt in 0..MAX_ATTEMPTS {
            match self.submit_early(batch, tag, &tenant, scratch, attempt == 0) {
                Submitted::Over => return None,
                Submitted::Nothing => return Some(Ok(self.appended_early(batch, scratch))),
                Submitted::Waiting(outcome) => match self.outcome(outcome).await {
                    Ok(true) => return Some(Ok(self.appended_early(batch, scratch))),
                    Ok(false) => {}
                    Err(refused) => return Some(Err(refused)),
                },
            }
        }
        Some(Err(Db::given_up()))
    }

    fn submit_early(
        &self,
        batch: &WriteBatch,
        tag: RequestTag,
        tenant: &Tenant,
        scratch: &mut Scratch,
        first: bool,
    ) -> Submitted {
        let entered = self.journal.enter(&self.head);
        if !self.early.is_replaying() {
            return Submitted::Over;
        }
        let segment = entered.segment;
        self.touch_windows(batch, tenant, segment);
        let Some(payload) = encode(batch, tag, scratch) else { return Submitted::Nothing };
        if first {
            let raw = scratch.raw().to_vec();
            let mut kept = self.early.kept.lock();
            kept.bytes += raw.len();
            kept.records.push((segment, raw));
        }
        Submitted::Waiting(self.journal.log().submit(payload, segment))
    }

    /// References are given by the head only: without one the sender's next request brings labels again.
    fn appended_early(&self, batch: &WriteBatch, scratch: &mut Scratch) -> Appended {
        let mut appended = self.appended(batch, scratch);
        appended.refs.fill(0);
        appended
    }

    /// Loads the head snapshot, replays the log behind it, and then what was written meanwhile. Until it returns, writes are taken and the head does
    /// not answer. To be called once after [`Db::begin`]; later calls do nothing.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] when the replay ends by a panic. Damage in the log is no error: see
    /// [`Db::replay_report`].
    pub async fn replay(&self) -> Result<(), TsdbError> {
        let Some((plan, snapshot)) = self.early.plan.lock().take() else { return Ok(()) };
        let (plan, snapshot) = self.restore(Arc::new(plan), snapshot).await?;
        let mut replayer = Replayer::new(&self.head, plan.clone(), &self.runtime);
        let mut contents = BTreeSet::new();
        if let Some((found, restored)) = &snapshot {
            replayer.resume(found, restored).await?;
            contents = found.contents();
        }
        replayer.log().await?;
        if let Some((_, restored)) = snapshot {
            self.remove_released_files(&load::let_go(&self.head, &plan, &restored.windows));
        }
        let mut early = 0;
        for _ in 0..MAX_ROUNDS {
            if self.early.kept_bytes() <= LAST_BYTES {
                break;
            }
            let records = self.early.take();
            early += records.len();
            replayer.records(records).await?;
        }
        {
            // Nobody is between applying and submitting: what is kept now is all that will be.
            let _fence = self.journal.fence();
            let records = self.early.take();
            early += records.len();
            replayer.records_here(records);
            let (report, contents) = replayer.finish(contents);
            self.debt.add(report.samples, 0, report.defined);
            self.metrics.snapshot_series.set(report.restored as i64);
            self.metrics.wal_corruptions.inc_by(report.corruptions());
            report.log_findings();
            contents.into_iter().for_each(|(segment, key)| self.journal.note(segment, key));
            let _ = self.report.set(report); // this is the only call that gets here
            self.head.set_complete();
            self.early.replaying.store(false, Ordering::Release);
        }
        if early > 0 {
            info!(requests = early, "writes that came during the replay are in the head");
        }
        self.update_metrics();
        Ok(())
    }

    /// Loads the snapshot. When it is not what was written it is given up, and the plan is one of the whole log.
    async fn restore(
        &self,
        plan: Arc<Plan>,
        snapshot: Option<Arc<Snapshot>>,
    ) -> Result<(Arc<Plan>, Option<(Arc<Snapshot>, Restored)>), TsdbError> {
        let Some(found) = snapshot else { return Ok((plan, None)) };
        let (dir, runtime) = (&self.options.dir, &self.runtime);
        match load::restore(&found, &self.head, &plan, dir, runtime).await {
            Ok(restored) => Ok((plan, Some((found, restored)))),
            Err(e) => {
                warn!(error = %e, "the head snapshot cannot be used; the whole log is replayed");
                self.remove_snapshots();
                remove_head_files(&*runtime.disk, &dir.join(HEAD_DIR), |_, _| false)?;
                let plan = replay::plan(&self.head, &dir.join(WAL_DIR), None, runtime).await?;
                Ok((Arc::new(plan), None))
            }
        }
    }
}
