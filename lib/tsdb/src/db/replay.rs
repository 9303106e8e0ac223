//! Reading the log back into the head.
//!
//! Two passes. The first reads control frames only and learns which generations are released. The second gives every
//! partition its own reader of all segments, so that partitions fill in parallel; each keeps its own view of the
//! fences, so a sample gets the generation that it had.
//!
//! Damage is skipped and reported. Where a fence may have been lost with it, samples of windows that are closed by
//! now count as late, so that nothing is taken for released that may not be (a sample may then be in two blocks,
//! which readers and the compactor merge).
//!
//! Invariant: the head holds every sample of every sound frame whose generation is not released.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cairn_model::TenantId;
use cairn_model::batch::{BatchSeries, HistogramSample, WriteBatch};
use cairn_model::labels::LabelsRef;
use cairn_runtime::Runtime;
use hashbrown::HashMap;
use tracing::{error, info, warn};

use super::journal::GenerationKey;
use super::replay_series::{Known, Owner, SeriesById, UNDEFINED};
use crate::error::TsdbError;
use crate::head::Head;
use crate::head::chunks::window_of;
use crate::head::partition::{Request, Verdicts};
use crate::head::series::WindowNo;
use crate::head::tenant::Tenant;
use crate::wal::frame::{Kind, Verdict};
use crate::wal::log::list;
use crate::wal::record::{BatchRecord, Control, ControlKind};
use crate::wal::replay::{Finding, Record, read_segment};
use crate::wal::segment::{SegmentId, decode_header};

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
        self.frames += other.frames;
        self.findings.extend(other.findings);
    }
}

/// A segment to read.
struct Segment {
    id: SegmentId,
    content: Bytes,
    /// What the next segment says of it.
    synced_below: u64,
}

/// Replays the log in `wal` into `head`; gives what was found and which generations each segment holds.
pub(super) async fn replay(
    head: &Arc<Head>,
    wal: &Path,
    runtime: &Runtime,
) -> Result<(ReplayReport, BTreeSet<(u64, GenerationKey)>), TsdbError> {
    let segments = Arc::new(load(wal, runtime)?);
    let mut report = ReplayReport {
        newest_segment: segments.last().map_or(0, |s| s.id.number),
        segments: segments.len(),
        bytes: segments.iter().map(|s| s.content.len() as u64).sum(),
        ..ReplayReport::default()
    };
    let fences = Arc::new(scan_fences(&segments, head));
    let begun = runtime.clock.monotonic();
    let jobs = (0..head.partitions.len()).map(|index| {
        let (head, segments, fences) = (head.clone(), segments.clone(), fences.clone());
        runtime.cpu.run(move || Worker::new(&head, &fences, index).run(&segments))
    });
    let mut contents = BTreeSet::new();
    for outcome in futures::future::join_all(jobs).await {
        let object = || wal.display().to_string();
        let (part, touched) =
            outcome.map_err(|_| TsdbError::corrupt(object(), 0, "replay ended by a panic"))?;
        report.merge(part);
        contents.extend(touched);
    }
    finish(head, &contents);
    if report.segments > 0 {
        let took_ms = (runtime.clock.monotonic() - begun).as_millis() as u64;
        let ReplayReport { segments, samples, series, .. } = report;
        info!(segments, samples, series, took_ms, "log replayed");
    }
    Ok((report, contents))
}

fn load(wal: &Path, runtime: &Runtime) -> Result<Vec<Segment>, TsdbError> {
    let found = list(&*runtime.disk, wal).map_err(TsdbError::io("list", wal))?;
    let mut segments: Vec<Segment> = Vec::new();
    for ((_, id), _) in found {
        let path = wal.join(id.file_name());
        let content = match runtime.disk.map(&path) {
            Ok(content) => content,
            Err(e) => {
                // One unreadable segment must not keep the others from being replayed.
                error!(path = %path.display(), error = %e, "cannot read a log segment; going on without it");
                continue;
            }
        };
        if let Some(before) = decode_header(&content, id)
            && let Some(previous) = segments.last_mut()
            && previous.id.number == before.number
        {
            previous.synced_below = before.synced;
        }
        segments.push(Segment { id, content, synced_below: 0 });
    }
    Ok(segments)
}

/// Where the fences of all tenants end up.
#[derive(Default)]
struct Fences {
    tenants: HashMap<String, Arc<Tenant>>,
    /// Last released generation.
    released: HashMap<(String, WindowNo), u32>,
}

fn scan_fences(segments: &[Segment], head: &Head) -> Fences {
    let mut fences = Fences::default();
    for segment in segments {
        let on_record = |record: Record<'_>| {
            if let Record::Controls(controls) = record {
                controls.iter().for_each(|c| fences.learn(c, head));
            }
        };
        // Findings are the workers' to report: they read all frames.
        read_segment(&segment.content, segment.id, segment.synced_below, |k| k == Kind::Control, on_record);
    }
    fences
}

/// The window of a control entry, if it is of the present length. Windows of another length (the block duration was
/// changed) are forgotten: their samples are replayed as new, and the blocks that hold them are merged with.
fn window_of_control(c: &Control, head: &Head) -> Option<WindowNo> {
    let length_ms = head.options.window_ms;
    (c.length_ms == length_ms as u64).then(|| window_of(c.window_ms, length_ms)).flatten()
}

impl Fences {
    fn learn(&mut self, c: &Control, head: &Head) {
        let Some(window) = window_of_control(c, head) else { return };
        let Ok(id) = TenantId::new(&c.tenant) else {
            warn!(tenant = %c.tenant, "the log names a tenant that is none");
            return;
        };
        let tenant = self.tenants.entry(c.tenant.clone()).or_insert_with(|| head.tenants.get_or_add(&id));
        let mut windows = tenant.windows.lock();
        match c.what {
            ControlKind::Closed => windows.restore_closed(window, c.generation),
            ControlKind::Released => {
                windows.restore_released(window, c.generation);
                let last = self.released.entry((c.tenant.clone(), window)).or_insert(c.generation);
                *last = c.generation.max(*last);
            }
            ControlKind::Floor => windows.restore_floor(window, c.generation),
        }
    }

    fn is_released(&self, tenant: &str, window: WindowNo, generation: u32) -> bool {
        let key = (tenant.to_owned(), window);
        self.released.get(&key).is_some_and(|last| generation <= *last)
    }
}

/// Fills one partition.
struct Worker<'a> {
    head: &'a Head,
    fences: &'a Fences,
    index: usize,
    /// Series of the present segment by log id.
    series: SeriesById,
    labels: Vec<u8>,
    batch: WriteBatch,
    /// Index in the record by series of the batch.
    from: Vec<usize>,
    verdicts: Verdicts,
    report: ReplayReport,
    contents: BTreeSet<(u64, GenerationKey)>,
}

impl<'a> Worker<'a> {
    fn new(head: &'a Head, fences: &'a Fences, index: usize) -> Self {
        Worker {
            head,
            fences,
            index,
            series: SeriesById::default(),
            labels: Vec::new(),
            batch: WriteBatch::new(TenantId::default_tenant()),
            from: Vec::new(),
            verdicts: Verdicts::default(),
            report: ReplayReport::default(),
            contents: BTreeSet::new(),
        }
    }

    fn run(mut self, segments: &[Segment]) -> (ReplayReport, BTreeSet<(u64, GenerationKey)>) {
        for segment in segments {
            self.series.clear();
            self.labels.clear();
            let (content, id, synced) = (&segment.content, segment.id, segment.synced_below);
            let mut damaged = false;
            let on_record = |record: Record<'_>| match record {
                Record::Batch(record) => self.apply(record, id.number),
                Record::Controls(controls) => controls.iter().for_each(|c| self.pass_fence(c)),
                Record::Damage => {
                    if !std::mem::replace(&mut damaged, true) {
                        self.pass_all_fences();
                    }
                }
            };
            let found = read_segment(content, id, synced, |_| true, on_record);
            if self.index == 0 {
                self.report.frames += found.frames;
                self.report.findings.extend(found.findings);
            }
        }
        (self.report, self.contents)
    }

    fn pass_fence(&mut self, c: &Control) {
        let Some(window) = window_of_control(c, self.head) else { return };
        let Some(tenant) = self.fences.tenants.get(&c.tenant) else { return };
        let mut partition = self.head.partitions[self.index].write();
        match c.what {
            ControlKind::Closed => partition.close_at_once(tenant.number, window, c.generation),
            ControlKind::Floor => partition.set_floor(tenant.number, (window, c.generation)),
            ControlKind::Released => {}
        }
    }

    /// A fence may have been lost: behave as if all had been passed.
    fn pass_all_fences(&mut self) {
        let mut partition = self.head.partitions[self.index].write();
        for tenant in self.fences.tenants.values() {
            let windows = tenant.windows.lock();
            for (window, state) in windows.iter().filter(|(_, s)| s.accepting > 0) {
                partition.close_at_once(tenant.number, window, state.accepting - 1);
            }
        }
    }

    fn apply(&mut self, record: &mut BatchRecord, segment: u64) {
        let Ok(id) = TenantId::new(&record.tenant) else { return };
        let tenant = self.head.tenants.get_or_add(&id);
        if self.index == 0 {
            record.metadata.iter().for_each(|(family, m)| {
                tenant.set_metadata(family, m);
            });
        }
        self.define(record, &id);
        self.fill_batch(record, &tenant, segment);
        let admit = || tenant.admit(0);
        let request = Request {
            tenant: tenant.number,
            batch: &self.batch,
            segment: 0,
            admit: &admit,
            next_log_id: self.head.log_ids(),
        };
        self.verdicts.reset(self.batch.series.len());
        let which: Vec<u32> = (0..self.batch.series.len() as u32).collect();
        self.head.partitions[self.index].write().append(&request, &which, &mut self.verdicts);
        let refused = self.verdicts.refused.iter();
        self.report.refused += refused
            .filter(|r| r.3 != cairn_model::batch::RejectReason::Conflict)
            .map(|r| u64::from(r.2))
            .sum::<u64>();
        self.report.samples += self.verdicts.floats + self.verdicts.histograms;
        self.report.series += self.verdicts.created;
        self.remember_references(record, &tenant);
        self.keep_labels(record);
    }

    fn define(&mut self, record: &BatchRecord, tenant: &TenantId) {
        for (index, range) in &record.definitions {
            let bytes = &record.labels[range.start as usize..range.end as usize];
            let hash = LabelsRef::from_canonical(bytes).hash_with_prefix(tenant.as_str());
            let mine = self.head.partition_of(hash) == self.index;
            let known = self.series.entry(record.ids[*index as usize]);
            if known.owner == Owner::Nobody || known.hash != hash {
                let owner = if mine { Owner::Me } else { Owner::Another };
                *known = Known { hash, labels: None, reference: UNDEFINED, owner };
            }
        }
    }

    /// Series that this record defined and gave no sample that is wanted: their labels may be needed later.
    fn keep_labels(&mut self, record: &BatchRecord) {
        for (index, range) in &record.definitions {
            let known = self.series.entry(record.ids[*index as usize]);
            if known.owner == Owner::Me && known.reference == UNDEFINED && known.labels.is_none() {
                known.labels = Some((self.labels.len(), range.end - range.start));
                self.labels.extend_from_slice(&record.labels[range.start as usize..range.end as usize]);
            }
        }
    }

    /// Puts this partition's share of the record into the batch, without what is released.
    fn fill_batch(&mut self, record: &mut BatchRecord, tenant: &Tenant, segment: u64) {
        self.batch.clear(tenant.id.clone());
        self.from.clear();
        std::mem::swap(&mut self.batch.floats.t_ms, &mut record.t_ms);
        std::mem::swap(&mut self.batch.floats.value, &mut record.values);
        std::mem::swap(&mut self.batch.floats.start_ms, &mut record.start_ms);
        let mut histograms = std::mem::take(&mut record.histograms).into_iter().peekable();
        let mut share = Share::new(self.head, self.fences, self.index, tenant);
        let mut definitions = record.definitions.iter().peekable();
        let mut end = 0;
        for (i, id) in record.ids.iter().enumerate() {
            let defined = definitions.next_if(|d| d.0 as usize == i);
            let floats = end..end + record.float_counts[i];
            end = floats.end;
            let known = self.series.get(*id);
            let first_histogram = self.batch.histograms.len() as u32;
            let mut wanted = 0;
            let mine = known.owner == Owner::Me;
            let nobody_s = known.owner == Owner::Nobody && self.index == 0;
            if mine {
                for k in floats.clone() {
                    match share.takes(self.batch.floats.t_ms[k as usize]) {
                        true => wanted += 1,
                        false => self.batch.floats.refused.push(k),
                    }
                }
            } else if nobody_s {
                self.report.undefined += u64::from(floats.end - floats.start);
            }
            while let Some((_, sample)) = histograms.next_if(|h| h.0 as usize == i) {
                if mine && share.takes(sample.t_ms) {
                    let (t_ms, start_ms, value) = (sample.t_ms, sample.start_ms, sample.value);
                    self.batch.histograms.push(HistogramSample { t_ms, start_ms, value, refused: false });
                    wanted += 1;
                } else if nobody_s {
                    self.report.undefined += 1;
                }
            }
            if wanted == 0 {
                continue;
            }
            let labels = if known.reference == UNDEFINED {
                let start = self.batch.arena.len() as u32;
                let text = match (defined, known.labels) {
                    (Some((_, range)), _) => &record.labels[range.start as usize..range.end as usize],
                    (None, Some((at, len))) => &self.labels[at..at + len as usize],
                    (None, None) => unreachable!("keep_labels() keeps what was not created"),
                };
                self.batch.arena.extend_from_slice(text);
                start..self.batch.arena.len() as u32
            } else {
                0..0
            };
            self.batch.series.push(BatchSeries {
                known_ref: known.reference,
                hash: known.hash,
                labels,
                floats,
                histograms: first_histogram..self.batch.histograms.len() as u32,
                ..BatchSeries::default()
            });
            self.from.push(i);
        }
        self.contents.extend(share.touched.into_iter().map(|key| (segment, key)));
    }

    fn remember_references(&mut self, record: &BatchRecord, tenant: &Tenant) {
        for (index, reference) in self.from.iter().zip(&self.verdicts.refs) {
            self.series.entry(record.ids[*index]).reference = *reference;
        }
        for (index, exemplar) in &record.exemplars {
            let known = self.series.get(record.ids[*index as usize]);
            if known.owner == Owner::Me && known.reference != UNDEFINED {
                // Refused then is refused now; there is nobody to tell.
                let _ = tenant.exemplars.lock().offer(known.reference, exemplar);
            }
        }
    }
}

/// Decides which samples of a record a worker takes, remembering the last window.
struct Share<'a> {
    head: &'a Head,
    fences: &'a Fences,
    index: usize,
    tenant: &'a Tenant,
    window: Option<(WindowNo, bool)>,
    touched: BTreeSet<GenerationKey>,
}

impl<'a> Share<'a> {
    fn new(head: &'a Head, fences: &'a Fences, index: usize, tenant: &'a Tenant) -> Self {
        Share { head, fences, index, tenant, window: None, touched: BTreeSet::new() }
    }

    fn takes(&mut self, t_ms: i64) -> bool {
        let Some(window) = window_of(t_ms, self.head.options.window_ms) else { return true };
        if let Some((last, takes)) = self.window
            && last == window
        {
            return takes;
        }
        let generation = {
            let partition = self.head.partitions[self.index].read();
            let late = partition.tenant(self.tenant.number).and_then(|t| t.late_generation(window));
            late.unwrap_or(0)
        };
        let takes = !self.fences.is_released(self.tenant.id.as_str(), window, generation);
        if takes {
            self.touched.insert((self.tenant.number, window, generation));
            self.head.note_newest(t_ms);
        }
        self.window = Some((window, takes));
        takes
    }
}

/// Brings the tenants' windows up to what was replayed.
fn finish(head: &Head, contents: &BTreeSet<(u64, GenerationKey)>) {
    for tenant in head.tenants.all() {
        let mut windows = tenant.windows.lock();
        for (_, (_, window, generation)) in contents.iter().filter(|c| c.1.0 == tenant.number) {
            if windows.get(*window).is_none_or(|w| *generation >= w.accepting) {
                windows.touch(*window);
            }
        }
    }
}
