//! Reading the log back into the head.
//!
//! A head snapshot, if there is one, is loaded before, and [`plan`] begins behind its mark ([`super::snapshot`]).
//! [`plan`] lists the frames of all segments and learns from control frames which generations are released;
//! [`decode`] turns groups of frames into records on all cores; [`apply`] has one worker a partition that takes its
//! share of each record, in order. While one group is applied the next is decoded, so memory is bounded by two
//! groups, and no record is decoded twice.
//!
//! Damage is skipped and reported. Where a fence may have been lost with it, samples of windows that are closed by
//! now count as late, so that nothing is taken for released that may not be (a sample may then be in two blocks,
//! which readers and the compactor merge).
//!
//! Invariant: the head holds every sample of every sound frame whose generation is not released.

mod apply;
mod decode;
mod plan;
mod series;

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use cairn_runtime::Runtime;
use tracing::{error, info};

use super::journal::GenerationKey;
use super::snapshot::load::{Restored, Snapshot};
use crate::error::TsdbError;
use crate::head::Head;
use crate::head::windows::Window;
use crate::wal::frame::Verdict;
use crate::wal::replay::Finding;

use apply::Worker;
pub(super) use decode::{Decoded, decode_batch};
pub(super) use plan::{Plan, unreadable};

/// What a replay found.
#[derive(Debug, Clone, Default)]
pub struct ReplayReport {
    /// Number of the newest segment, 0 for none.
    pub newest_segment: u64,
    /// Segments read.
    pub segments: usize,
    /// Bytes read.
    pub bytes: u64,
    /// Sound frames.
    pub frames: u64,
    /// Samples applied.
    pub samples: u64,
    /// Series made.
    pub series: u64,
    /// Definitions of series read.
    pub defined: u64,
    /// Series loaded from a head snapshot before the log behind it was replayed.
    pub restored: u64,
    /// Samples whose series' definition is lost.
    pub undefined: u64,
    /// Samples that no head can hold.
    pub refused: u64,
    /// What was not sound.
    pub findings: Vec<Finding>,
}

impl ReplayReport {
    /// Damaged stretches that had been promised.
    pub fn corruptions(&self) -> u64 {
        self.findings.iter().filter(|f| f.verdict == Verdict::Corruption).count() as u64
    }

    pub(super) fn log_findings(&self) {
        for finding in &self.findings {
            match finding.verdict {
                Verdict::Corruption => error!("{finding}; the rest was replayed"),
                Verdict::TornTail => info!("{finding}; nobody was promised it"),
            }
        }
        if self.undefined > 0 {
            error!(samples = self.undefined, "samples lost with the damaged definitions of their series");
        }
    }

    fn merge(&mut self, other: ReplayReport) {
        self.samples += other.samples;
        self.series += other.series;
        self.defined += other.defined;
        self.undefined += other.undefined;
        self.refused += other.refused;
    }
}

/// Reads where the frames of the log in `wal` are, those behind `snapshot` if there is one, and makes the tenants and
/// their windows in `head`.
///
/// # Errors
/// [`TsdbError::Io`] when a segment cannot be read.
pub(super) async fn plan(
    head: &Arc<Head>,
    wal: &Path,
    snapshot: Option<Arc<Snapshot>>,
    runtime: &Runtime,
) -> Result<Plan, TsdbError> {
    let (head, path, disk) = (head.clone(), wal.to_owned(), runtime.disk.clone());
    let plan = runtime.cpu.run(move || Plan::make(&*disk, &path, &head, snapshot.as_deref())).await;
    plan.map_err(|_| panicked(&wal.display().to_string()))?
}

fn panicked(object: &str) -> TsdbError {
    TsdbError::corrupt(object, 0, "replay ended by a panic")
}

/// Brings records into the head, in order: those of the log, then others.
pub(super) struct Replayer {
    head: Arc<Head>,
    runtime: Runtime,
    plan: Arc<Plan>,
    workers: Vec<Worker>,
    report: ReplayReport,
    begun: Duration,
}

impl Replayer {
    /// For the log that `plan` describes.
    pub fn new(head: &Arc<Head>, plan: Arc<Plan>, runtime: &Runtime) -> Self {
        let (head, runtime) = (head.clone(), runtime.clone());
        let workers =
            (0..head.partitions.len()).map(|i| Worker::new(head.clone(), plan.clone(), i)).collect();
        let (report, begun) = (plan.report(), runtime.clock.monotonic());
        Replayer { head, runtime, plan, workers, report, begun }
    }

    /// Goes on from a snapshot: the head has its series. Takes its records.
    ///
    /// # Errors
    /// As [`Replayer::log`].
    pub async fn resume(&mut self, found: &Snapshot, restored: &Restored) -> Result<(), TsdbError> {
        self.report.restored = restored.series;
        let segment = found.mark().segment;
        let resuming = std::mem::take(&mut self.workers).into_iter().map(|mut worker| {
            self.runtime.cpu.run(move || {
                worker.resume(segment);
                worker
            })
        });
        self.workers =
            futures::future::try_join_all(resuming).await.map_err(|_| panicked("head snapshot"))?;
        let applying = apply_group(&self.runtime, std::mem::take(&mut self.workers), found.records.clone());
        self.workers = applying.await.map_err(|_| panicked("head snapshot"))?;
        Ok(())
    }

    /// Replays the log.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] when it ends by a panic.
    pub async fn log(&mut self) -> Result<(), TsdbError> {
        let plan = self.plan.clone();
        let mut groups = plan.groups().into_iter();
        let mut decoded =
            decode_group(&self.runtime, &plan, groups.next()).await.map_err(|_| panicked("log"))?;
        while !decoded.is_empty() {
            let group = Arc::new(std::mem::take(&mut decoded));
            let next = decode_group(&self.runtime, &plan, groups.next());
            let applying = apply_group(&self.runtime, std::mem::take(&mut self.workers), group.clone());
            let (workers, next) =
                futures::future::try_join(applying, next).await.map_err(|_| panicked("log"))?;
            (self.workers, decoded) = (workers, next);
            let known = self.report.findings.len();
            self.report.findings.extend(group.iter().filter_map(|d| d.finding().cloned()));
            self.report.frames -= (self.report.findings.len() - known) as u64;
        }
        Ok(())
    }

    /// Brings in raw records, each with the number of its segment, that are not part of the plan.
    ///
    /// # Errors
    /// As [`Replayer::log`].
    pub async fn records(&mut self, records: Vec<(u64, Vec<u8>)>) -> Result<(), TsdbError> {
        let group = Arc::new(own_records(records));
        let applying = apply_group(&self.runtime, std::mem::take(&mut self.workers), group);
        self.workers = applying.await.map_err(|_| panicked("early writes"))?;
        Ok(())
    }

    /// The same on the caller's thread, for a few.
    pub fn records_here(&mut self, records: Vec<(u64, Vec<u8>)>) {
        let group = own_records(records);
        self.workers.iter_mut().for_each(|worker| group.iter().for_each(|d| worker.apply(d)));
    }

    /// What was found, and which generations each segment holds, those in `contents` included.
    pub fn finish(
        self,
        mut contents: BTreeSet<(u64, GenerationKey)>,
    ) -> (ReplayReport, BTreeSet<(u64, GenerationKey)>) {
        let Replayer { head, runtime, workers, mut report, begun, .. } = self;
        for worker in workers {
            let (part, touched) = worker.finish();
            report.merge(part);
            contents.extend(touched);
        }
        restore_windows(&head, &contents);
        if report.segments > 0 || report.restored > 0 {
            let took_ms = (runtime.clock.monotonic() - begun).as_millis() as u64;
            let ReplayReport { segments, samples, series, restored, .. } = report;
            info!(restored, segments, samples, series, took_ms, "log replayed");
        }
        (report, contents)
    }
}

fn own_records(records: Vec<(u64, Vec<u8>)>) -> Vec<Decoded> {
    let decoded = |(segment, raw): (u64, Vec<u8>)| decode_batch(&raw, segment);
    records.into_iter().map(|r| decoded(r).expect("this process encoded it")).collect()
}

/// Every worker takes its share of a group, all at once.
async fn apply_group(
    runtime: &Runtime,
    workers: Vec<Worker>,
    group: Arc<Vec<Decoded>>,
) -> Result<Vec<Worker>, cairn_runtime::cpu::Panicked> {
    let applying = workers.into_iter().map(|mut worker| {
        let group = group.clone();
        runtime.cpu.run(move || {
            group.iter().for_each(|d| worker.apply(d));
            worker
        })
    });
    futures::future::try_join_all(applying).await
}

/// Decodes a group on all cores; nothing for no group.
async fn decode_group(
    runtime: &Runtime,
    plan: &Arc<Plan>,
    group: Option<std::ops::Range<usize>>,
) -> Result<Vec<Decoded>, cairn_runtime::cpu::Panicked> {
    let Some(group) = group else { return Ok(Vec::new()) };
    let share = group.len().div_ceil(runtime.cpu.parallelism()).max(1);
    let jobs = group.clone().step_by(share).map(|start| {
        let (plan, range) = (plan.clone(), start..(start + share).min(group.end));
        runtime.cpu.run(move || decode::decode(&plan, range))
    });
    Ok(futures::future::try_join_all(jobs).await?.into_iter().flatten().collect())
}

/// Brings the tenants' windows up to what was replayed.
fn restore_windows(head: &Head, contents: &BTreeSet<(u64, GenerationKey)>) {
    for tenant in head.tenants.all() {
        let mut windows = tenant.windows.lock();
        for (_, (_, window, generation)) in contents.iter().filter(|c| c.1.0 == tenant.number) {
            // Late samples may also lie in a generation that others have passed: they are cut with the next one.
            let waits = |w: Window| *generation >= w.accepting || (!w.sealed && *generation >= w.unreleased);
            if windows.get(*window).is_none_or(waits) {
                windows.touch(*window);
            }
        }
    }
}
