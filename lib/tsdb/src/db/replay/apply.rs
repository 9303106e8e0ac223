//! One worker a partition: takes its share of every record, in the order of the log.
//!
//! The worker keeps its own view of the fences it has passed, so a sample gets the generation that it had.

use std::collections::BTreeSet;
use std::sync::Arc;

use cairn_model::TenantId;
use cairn_model::batch::{BatchSeries, HistogramSample, RejectReason, WriteBatch};

use super::ReplayReport;
use super::decode::{Decoded, DecodedBatch};
use super::plan::{Plan, window_of_control};
use super::series::{Known, Owner, SeriesById, UNDEFINED};
use crate::db::journal::GenerationKey;
use crate::head::Head;
use crate::head::chunks::window_of;
use crate::head::partition::{Request, Verdicts};
use crate::head::series::WindowNo;
use crate::head::tenant::Tenant;
use crate::wal::record::{BatchRecord, Control, ControlKind};

/// Fills one partition.
pub struct Worker {
    head: Arc<Head>,
    plan: Arc<Plan>,
    index: usize,
    /// The segment that is being applied, and whether something is missing in it.
    segment: u64,
    damaged: bool,
    /// Series of the present segment by log id.
    series: SeriesById,
    /// Labels of series that were defined and not made yet.
    labels: Vec<u8>,
    batch: WriteBatch,
    /// Index in the record by series of the batch.
    from: Vec<usize>,
    which: Vec<u32>,
    verdicts: Verdicts,
    report: ReplayReport,
    contents: BTreeSet<(u64, GenerationKey)>,
}

impl Worker {
    /// Fills partition `index`.
    pub fn new(head: Arc<Head>, plan: Arc<Plan>, index: usize) -> Self {
        Worker {
            head,
            plan,
            index,
            segment: 0,
            damaged: false,
            series: SeriesById::default(),
            labels: Vec::new(),
            batch: WriteBatch::new(TenantId::default_tenant()),
            from: Vec::new(),
            which: Vec::new(),
            verdicts: Verdicts::default(),
            report: ReplayReport::default(),
            contents: BTreeSet::new(),
        }
    }

    /// The head has what was written before the mark of a snapshot in `segment`, whose records name those series by the
    /// numbers that they have in the head.
    pub fn resume(&mut self, segment: u64) {
        self.segment = segment;
        for (index, partition) in self.head.partitions.iter().enumerate() {
            let mine = index == self.index;
            if !mine && self.index != 0 {
                continue; // only the first worker counts samples of series that nobody defined
            }
            let owner = if mine { Owner::Me } else { Owner::Another };
            partition.read().each_series(|log_id, hash, reference| {
                let reference = if mine { reference } else { UNDEFINED };
                *self.series.entry(log_id as i64) = Known { hash, labels: None, reference, owner };
            });
        }
    }

    /// What was applied, and which generations each segment holds.
    pub fn finish(self) -> (ReplayReport, BTreeSet<(u64, GenerationKey)>) {
        (self.report, self.contents)
    }

    /// Applies the next record.
    pub fn apply(&mut self, decoded: &Decoded) {
        match decoded {
            Decoded::Batch(batch) => {
                self.enter(batch.segment);
                self.apply_batch(batch);
            }
            Decoded::Controls(controls) => controls.iter().for_each(|c| self.pass_fence(c)),
            Decoded::Damage(segment, _) => {
                self.enter(*segment);
                if !std::mem::replace(&mut self.damaged, true) {
                    self.pass_all_fences();
                }
            }
        }
    }

    fn enter(&mut self, segment: u64) {
        if self.segment != segment {
            (self.segment, self.damaged) = (segment, false);
            self.series.clear();
            self.labels = Vec::new();
        }
    }

    fn pass_fence(&mut self, c: &Control) {
        let Some(window) = window_of_control(c, &self.head) else { return };
        let Some(tenant) = self.plan.tenants.get(&c.tenant) else { return };
        let mut partition = self.head.partitions[self.index].write();
        match c.what {
            ControlKind::Closed => {
                // Every segment repeats the table of closed windows, and closing one looks at every series.
                let late = partition.tenant(tenant.number).and_then(|t| t.late_generation(window));
                if late.is_none_or(|late| late <= c.generation) {
                    partition.close_at_once(tenant.number, window, c.generation);
                }
            }
            ControlKind::Floor => partition.set_floor(tenant.number, (window, c.generation)),
            ControlKind::Released | ControlKind::Mark => {}
        }
    }

    /// A fence may have been lost: behave as if all had been passed.
    fn pass_all_fences(&mut self) {
        let mut partition = self.head.partitions[self.index].write();
        for tenant in self.plan.tenants.values() {
            let windows = tenant.windows.lock();
            for (window, state) in windows.iter().filter(|(_, s)| s.accepting > 0) {
                partition.close_at_once(tenant.number, window, state.accepting - 1);
            }
        }
    }

    fn apply_batch(&mut self, decoded: &DecodedBatch) {
        let record = &decoded.record;
        let tenant = self.head.tenants.get_or_add(&decoded.tenant);
        if self.index == 0 {
            for (family, metadata) in &record.metadata {
                tenant.set_metadata(family, metadata);
            }
        }
        self.define(decoded);
        if self.index == 0 {
            self.report.defined += record.definitions.len() as u64;
        }
        self.fill_batch(record, &tenant);
        self.head.note_newest(&self.batch);
        let admit = || tenant.admit(0);
        let request = Request {
            tenant: tenant.number,
            batch: &self.batch,
            segment: 0,
            admit: &admit,
            next_log_id: self.head.log_ids(),
        };
        self.verdicts.reset(self.batch.series.len());
        self.which.clear();
        self.which.extend(0..self.batch.series.len() as u32);
        self.head.partitions[self.index].write().append(&request, &self.which, &mut self.verdicts);
        let refused = self.verdicts.refused.iter().filter(|r| r.3 != RejectReason::Conflict);
        self.report.refused += refused.map(|r| u64::from(r.2)).sum::<u64>();
        self.report.samples += self.verdicts.floats + self.verdicts.histograms;
        self.report.series += self.verdicts.created;
        self.remember_references(record, &tenant);
        self.keep_labels(record);
    }

    fn define(&mut self, decoded: &DecodedBatch) {
        let record = &decoded.record;
        for ((index, _), &hash) in record.definitions.iter().zip(&decoded.hashes) {
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
    fn fill_batch(&mut self, record: &BatchRecord, tenant: &Arc<Tenant>) {
        self.batch.clear(tenant.id.clone());
        self.from.clear();
        let mut share = Share::new(&self.head, &self.plan, self.index, tenant);
        let mut histograms = record.histograms.iter().peekable();
        let mut definitions = record.definitions.iter().peekable();
        let mut end = 0usize;
        for (i, id) in record.ids.iter().enumerate() {
            let defined = definitions.next_if(|d| d.0 as usize == i);
            let floats = end..end + record.float_counts[i] as usize;
            end = floats.end;
            let known = self.series.get(*id);
            let lost = known.owner == Owner::Nobody && self.index == 0;
            let (first_float, first_histogram) = (self.batch.floats.t_ms.len(), self.batch.histograms.len());
            if known.owner == Owner::Me {
                for k in floats {
                    let t_ms = record.t_ms[k];
                    if share.takes(t_ms) {
                        self.batch.floats.t_ms.push(t_ms);
                        self.batch.floats.value.push(record.values[k]);
                        self.batch.floats.start_ms.extend(record.start_ms.get(k));
                    }
                }
            } else if lost {
                self.report.undefined += floats.len() as u64;
            }
            while let Some((_, s)) = histograms.next_if(|h| h.0 as usize == i) {
                if known.owner == Owner::Me && share.takes(s.t_ms) {
                    let (t_ms, start_ms, value) = (s.t_ms, s.start_ms, s.value.clone());
                    self.batch.histograms.push(HistogramSample { t_ms, start_ms, value, refused: false });
                } else if lost {
                    self.report.undefined += 1;
                }
            }
            let floats = first_float as u32..self.batch.floats.t_ms.len() as u32;
            let histograms = first_histogram as u32..self.batch.histograms.len() as u32;
            if floats.is_empty() && histograms.is_empty() {
                continue;
            }
            let start = self.batch.arena.len() as u32;
            if known.reference == UNDEFINED {
                let text = match (defined, known.labels) {
                    (Some((_, range)), _) => &record.labels[range.start as usize..range.end as usize],
                    (None, Some((at, len))) => &self.labels[at..at + len as usize],
                    (None, None) => unreachable!("keep_labels() keeps what was not made"),
                };
                self.batch.arena.extend_from_slice(text);
            }
            self.batch.series.push(BatchSeries {
                known_ref: known.reference,
                hash: known.hash,
                labels: start..self.batch.arena.len() as u32,
                floats,
                histograms,
                ..BatchSeries::default()
            });
            self.from.push(i);
        }
        self.contents.extend(share.touched.into_iter().map(|key| (self.segment, key)));
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
    plan: &'a Plan,
    index: usize,
    tenant: &'a Tenant,
    /// First and last time of the window, and whether its samples are taken.
    window: Option<(i64, i64, bool)>,
    touched: BTreeSet<GenerationKey>,
}

impl<'a> Share<'a> {
    fn new(head: &'a Head, plan: &'a Plan, index: usize, tenant: &'a Tenant) -> Self {
        Share { head, plan, index, tenant, window: None, touched: BTreeSet::new() }
    }

    fn takes(&mut self, t_ms: i64) -> bool {
        if let Some((first, last, takes)) = self.window
            && (first..=last).contains(&t_ms)
        {
            return takes;
        }
        let length_ms = self.head.options.window_ms;
        let Some(window) = window_of(t_ms, length_ms) else { return true };
        let takes = self.takes_window(window);
        let first = i64::from(window) * length_ms;
        self.window = Some((first, first + length_ms - 1, takes));
        takes
    }

    fn takes_window(&mut self, window: WindowNo) -> bool {
        let generation = {
            let partition = self.head.partitions[self.index].read();
            let late = partition.tenant(self.tenant.number).and_then(|t| t.late_generation(window));
            late.unwrap_or(0)
        };
        let takes = !self.plan.is_released(self.tenant.id.as_str(), window, generation);
        if takes {
            self.touched.insert((self.tenant.number, window, generation));
        }
        takes
    }
}
