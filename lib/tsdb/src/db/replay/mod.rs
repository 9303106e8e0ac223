//! Reading the log back into the head.
//!
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

use cairn_runtime::Runtime;
use tracing::{error, info};

use super::journal::GenerationKey;
use crate::error::TsdbError;
use crate::head::Head;
use crate::head::windows::Window;
use crate::wal::frame::Verdict;
use crate::wal::replay::Finding;

use apply::Worker;
use decode::Decoded;
use plan::Plan;
pub(super) use plan::unreadable;

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
        self.undefined += other.undefined;
        self.refused += other.refused;
    }
}

/// Replays the log in `wal` into `head`; gives what was found and which generations each segment holds.
pub(super) async fn replay(
    head: &Arc<Head>,
    wal: &Path,
    runtime: &Runtime,
) -> Result<(ReplayReport, BTreeSet<(u64, GenerationKey)>), TsdbError> {
    let begun = runtime.clock.monotonic();
    let panicked = |_| TsdbError::corrupt(wal.display().to_string(), 0, "replay ended by a panic");
    let plan = {
        let (head, wal, disk) = (head.clone(), wal.to_owned(), runtime.disk.clone());
        runtime.cpu.run(move || Plan::make(&*disk, &wal, &head)).await.map_err(panicked)??
    };
    let plan = Arc::new(plan);
    let mut report = plan.report();
    let mut workers: Vec<Worker> =
        (0..head.partitions.len()).map(|i| Worker::new(head.clone(), plan.clone(), i)).collect();

    let mut groups = plan.groups().into_iter();
    let mut decoded = decode_group(runtime, &plan, groups.next()).await.map_err(panicked)?;
    while !decoded.is_empty() {
        let group = Arc::new(std::mem::take(&mut decoded));
        let applying = workers.drain(..).map(|mut worker| {
            let group = group.clone();
            runtime.cpu.run(move || {
                group.iter().for_each(|d| worker.apply(d));
                worker
            })
        });
        let applying = futures::future::try_join_all(applying);
        let decoding = decode_group(runtime, &plan, groups.next());
        let (applied, next) = futures::future::try_join(applying, decoding).await.map_err(panicked)?;
        let known = report.findings.len();
        report.findings.extend(group.iter().filter_map(|d| d.finding().cloned()));
        report.frames -= (report.findings.len() - known) as u64;
        (workers, decoded) = (applied, next);
    }

    let mut contents = BTreeSet::new();
    for worker in workers {
        let (part, touched) = worker.finish();
        report.merge(part);
        contents.extend(touched);
    }
    restore_windows(head, &contents);
    if report.segments > 0 {
        let took_ms = (runtime.clock.monotonic() - begun).as_millis() as u64;
        let ReplayReport { segments, samples, series, .. } = report;
        info!(segments, samples, series, took_ms, "log replayed");
    }
    Ok((report, contents))
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
