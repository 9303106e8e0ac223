//! The head as a [`StoreApi`].
//!
//! A read selects its series partition by partition, sorts them by their answered labels (external labels
//! included), and gathers chunks slice by slice, so that no lock is held for long and answers begin early.
//!
//! Invariant: no sample acknowledged before the call is missing, unless its generation was released; and nothing is
//! released while a read that began before is running.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use cairn_model::exemplar::Exemplar;
use cairn_model::metadata::Metadata;
use cairn_model::storage::{
    LabelsRequest, Names, Series, SeriesRequest, SeriesStream, StoreApi, StoreError, StoreInfo, WantedLabels,
};
use cairn_model::tenant::TenantScope;
use cairn_model::{AggrChunk, Labels, Matcher, NameSet, TimestampMs};
use cairn_runtime::CpuPool;
use futures::StreamExt;
use parking_lot::RwLock;

use super::partition::Partition;
use super::read::Gathered;
use super::select::select;
use super::sorting::{Picked, Selected, Wish, sort_into, without_labels};
use super::state::Head;
use super::tenant::Tenant;

/// Series of a batch of an answer.
const BATCH_SERIES: usize = 4096;
/// Series that are looked at under one lock.
const SLICE_SERIES: usize = 256;
/// Series from which on several cores work on them. Judgement: some hundred microseconds of work.
const SPREAD_SERIES: usize = 1024;

/// What a chunk of one sample takes: count, time and value.
const SAMPLE_BYTES: usize = 20;
/// About what an open chunk with its tail takes. Judgement: half of a full one on the generator's load.
const OPEN_CHUNK_BYTES: usize = 192;

/// What is gathered of the series of an answer.
#[derive(Clone, Copy)]
enum Chunks {
    /// Labels are all that is asked for.
    None,
    /// Samples of this range, perhaps only the last of each series.
    Of { range: (TimestampMs, TimestampMs), newest_only: bool },
}

/// Reads the head.
#[derive(Clone)]
pub struct HeadStore {
    head: Arc<Head>,
    cpu: CpuPool,
}

impl HeadStore {
    /// Reads `head` on the threads of `cpu`.
    pub fn new(head: Arc<Head>, cpu: CpuPool) -> Self {
        HeadStore { head, cpu }
    }

    /// Whether the head can answer yet.
    fn answers(&self) -> Result<(), StoreError> {
        if self.head.is_complete() {
            return Ok(());
        }
        let reason = "its log is being replayed, ask again in a moment".to_owned();
        Err(StoreError::Unavailable { store: "head".to_owned(), reason })
    }

    /// Runs `f` on the pool.
    async fn compute<T: Send + 'static>(
        &self,
        f: impl FnOnce(&HeadStore) -> T + Send + 'static,
    ) -> Result<T, StoreError> {
        let store = self.clone();
        let done = self.cpu.run(move || f(&store)).await;
        done.map_err(|e| StoreError::Read { object: "head".to_owned(), reason: e.to_string() })
    }

    /// Runs `part` for every number below `parts`, on several cores when there are many series, and gives the results in
    /// their order.
    fn spread<R: Send>(&self, series: usize, parts: usize, part: impl Fn(usize) -> R + Sync) -> Vec<R> {
        if series < SPREAD_SERIES { (0..parts).map(part).collect() } else { self.cpu.share(parts, part) }
    }

    /// The series of a request, in the order in which they are answered. They are counted while they are found, before
    /// labels are made of them.
    fn select(&self, request: &SeriesRequest) -> Result<Vec<Selected>, StoreError> {
        let tenants = self.head.tenants.in_scope(&request.tenants);
        // Tenants are merged by all labels.
        let wanted = if tenants.len() == 1 { &request.labels } else { &WantedLabels::All };
        let wish = Wish {
            labels: wanted,
            limit: request.limit,
            bounds: &request.bounds,
            bytes: AtomicUsize::new(0),
        };
        let counted = AtomicUsize::new(0);
        let mut selected = Vec::new();
        let mut runs = 0;
        for tenant in &tenants {
            let Some(rest) = tenant.external.narrow(&request.matchers) else { continue };
            // Where external labels make series alike, labels tell which.
            let labelled = !wanted.is_none() || self.has_replaced(tenant);
            let find = |partition| Self::find(partition, tenant, &rest);
            let found: Vec<Found> = self.head.partitions.iter().map(find).collect();
            let series = found.iter().map(|f| f.slots.len()).sum();
            let picked = self.spread(series, found.len(), |i| {
                self.pick(&self.head.partitions[i], &found[i], tenant, request, labelled, &counted)
            });
            let picked = picked.into_iter().collect::<Result<Vec<_>, _>>()?;
            runs += 1;
            match labelled {
                true => sort_into(&picked, &tenant.external, &wish, &self.cpu, &mut selected)?,
                false => without_labels(&picked, &mut selected),
            }
        }
        if runs > 1 {
            selected.sort_by(|a, b| a.labels.cmp(&b.labels)); // merges the sorted runs of tenants
        }
        if request.limit > 0 {
            selected.truncate(request.limit);
        }
        Ok(selected)
    }

    /// Whether series have labels of their own that external labels replace.
    fn has_replaced(&self, tenant: &Tenant) -> bool {
        let has = |partition: &RwLock<Partition>| {
            let partition = partition.read();
            let pairs = partition.tenant(tenant.number).map(|index| &index.pairs);
            let mut names = tenant.external.labels().iter().map(|(name, _)| name);
            pairs.is_some_and(|pairs| names.any(|name| !pairs.of_name(name).is_empty()))
        };
        self.head.partitions.iter().any(has)
    }

    /// The series of one partition that match.
    fn find(partition: &RwLock<Partition>, tenant: &Tenant, matchers: &[Matcher]) -> Found {
        let partition = partition.read();
        let slots = partition.tenant(tenant.number).map(|index| select(index, matchers));
        Found { slots: slots.unwrap_or_default(), sweeps: partition.sweeps() }
    }

    /// Those of them that have data, slice by slice; `counted` are all series of the answer.
    fn pick(
        &self,
        partition: &RwLock<Partition>,
        found: &Found,
        tenant: &Tenant,
        request: &SeriesRequest,
        labelled: bool,
        counted: &AtomicUsize,
    ) -> Result<Picked, StoreError> {
        let range = (request.min_ms, request.max_ms);
        let mut picked = Picked::default();
        let count = |new| {
            let before = counted.fetch_add(new, Ordering::Relaxed);
            request.bounds.admit(before + new, 0, request.limit)
        };
        for slice in found.slots.chunks(SLICE_SERIES) {
            let had = picked.count();
            let guard = partition.read();
            if guard.sweeps() != found.sweeps {
                // Pair numbers may have got another meaning: all anew, this time under one lock.
                picked = Picked::default();
                guard.pick(tenant.number, &found.slots, range, labelled, &mut picked);
                drop(guard);
                counted.fetch_sub(had, Ordering::Relaxed);
                count(picked.count())?;
                break;
            }
            guard.pick(tenant.number, slice, range, labelled, &mut picked);
            drop(guard);
            count(picked.count() - had)?;
        }
        Ok(picked)
    }

    fn answer(&self, batch: Vec<Selected>, what: Chunks) -> Vec<Series> {
        let chunks = match what {
            Chunks::None => batch.iter().map(|_| Vec::new()).collect(),
            Chunks::Of { range, newest_only } => self.gather(&batch, range, newest_only),
        };
        let mut series: Vec<Series> = Vec::with_capacity(batch.len());
        for (s, chunks) in batch.into_iter().zip(chunks) {
            match series.last_mut() {
                Some(same) if s.repeats => {
                    same.chunks.extend(chunks);
                    same.chunks.sort_by_key(AggrChunk::min_ms);
                }
                _ => series.push(Series { labels: s.labels, chunks }),
            }
        }
        if !matches!(what, Chunks::None) {
            // A series without chunks was released while the read went on, and then its block answers.
            series.retain(|s| !s.chunks.is_empty());
        }
        series
    }

    fn gather(
        &self,
        batch: &[Selected],
        range: (TimestampMs, TimestampMs),
        newest_only: bool,
    ) -> Vec<Vec<AggrChunk>> {
        let mut by_partition: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (i, s) in batch.iter().enumerate() {
            by_partition.entry(s.partition).or_default().push(i);
        }
        let slices: Vec<&[usize]> = by_partition.values().flat_map(|of| of.chunks(SLICE_SERIES)).collect();
        let gathered = self.spread(batch.len(), slices.len(), |at| {
            self.gather_slice(slices[at].iter().map(|i| &batch[*i]), range, newest_only)
        });
        let mut chunks: Vec<Vec<_>> = batch.iter().map(|_| Vec::new()).collect();
        for (slice, found) in slices.iter().zip(gathered) {
            for (i, found) in slice.iter().zip(found) {
                chunks[*i] = found;
            }
        }
        chunks
    }

    /// The chunks of some series of one partition, under one lock.
    fn gather_slice<'a>(
        &self,
        series: impl ExactSizeIterator<Item = &'a Selected> + Clone,
        range: (TimestampMs, TimestampMs),
        newest_only: bool,
    ) -> Vec<Vec<AggrChunk>> {
        let Some(first) = series.clone().next() else { return Vec::new() };
        let bytes = if newest_only { SAMPLE_BYTES } else { OPEN_CHUNK_BYTES };
        let mut gathered = Gathered::with_room(series.len(), bytes);
        let partition = self.head.partitions[usize::from(first.partition)].read();
        for s in series {
            if !(newest_only && partition.gather_newest(s.slot, range, &mut gathered)) {
                partition.gather(s.slot, range, &mut gathered);
            }
            gathered.end_series();
        }
        drop(partition);
        gathered.finish()
    }

    /// Label names or values without looking at series: possible when no matcher narrows.
    fn pairs_of_all(
        &self,
        request: &LabelsRequest,
        name: Option<&str>,
        found: &mut NameSet,
    ) -> ControlFlow<()> {
        for tenant in self.head.tenants.in_scope(&request.tenants) {
            let external = tenant.external.labels();
            let mut any = false;
            for partition in &self.head.partitions {
                let partition = partition.read();
                let Some(index) = partition.tenant(tenant.number).filter(|i| !i.all.is_empty()) else {
                    continue;
                };
                any = true;
                match name {
                    None => index.pairs.names().try_for_each(|n| found.add(n))?,
                    Some(name) if external.get(name).is_none() => {
                        let mut pairs = index.pairs.of_name(name).iter();
                        pairs.try_for_each(|p| found.add(index.pairs.text(*p).1))?;
                    }
                    Some(_) => {}
                }
            }
            if any {
                add_external(external, name, found)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// The same among the series that match and have samples in the range.
    fn pairs_of_matching(
        &self,
        request: &LabelsRequest,
        name: Option<&str>,
        found: &mut NameSet,
    ) -> ControlFlow<()> {
        let range = (request.min_ms, request.max_ms);
        for tenant in self.head.tenants.in_scope(&request.tenants) {
            let Some(rest) = tenant.external.narrow(&request.matchers) else { continue };
            let external = tenant.external.labels();
            let mut any = false;
            for partition in &self.head.partitions {
                let slots = partition.read().tenant(tenant.number).map(|t| select(t, &rest));
                for slice in slots.unwrap_or_default().chunks(SLICE_SERIES) {
                    found.go_on()?;
                    let partition = partition.read();
                    let Some(index) = partition.tenant(tenant.number) else { continue };
                    let mut pairs = BTreeSet::new();
                    for slot in slice.iter().filter(|slot| partition.has_data(**slot, range)) {
                        any = true;
                        pairs.extend(partition.pairs_of(*slot));
                    }
                    for (n, value) in pairs.into_iter().map(|pair| index.pairs.text(pair)) {
                        match name {
                            None => found.add(n)?,
                            Some(name) if name == n && external.get(n).is_none() => found.add(value)?,
                            Some(_) => {}
                        }
                    }
                }
            }
            if any {
                add_external(external, name, found)?;
            }
        }
        ControlFlow::Continue(())
    }

    /// Label names, or values of a name. Without matchers the label index answers for the whole head, as a block's does
    /// for the whole block: looking at every series for the exact range would cost a thousand times as much.
    fn names(&self, request: &LabelsRequest, name: Option<&str>) -> Result<Names, StoreError> {
        let info = self.info();
        let mut found = NameSet::new(request.limit, request.bounds.clone());
        let _ = if request.max_ms < info.min_ms || request.min_ms > info.max_ms {
            ControlFlow::Continue(())
        } else if request.matchers.is_empty() {
            self.pairs_of_all(request, name, &mut found)
        } else {
            self.pairs_of_matching(request, name, &mut found)
        };
        let warnings =
            if found.is_cut() { vec!["results truncated due to limit".to_owned()] } else { Vec::new() };
        Ok(Names { values: found.finish()?, warnings })
    }
}

/// Adds what external labels give: their names, or the value of one.
fn add_external(external: &Labels, name: Option<&str>, found: &mut NameSet) -> ControlFlow<()> {
    match name {
        None => external.iter().try_for_each(|(n, _)| found.add(n)),
        Some(name) => external.get(name).map_or(ControlFlow::Continue(()), |value| found.add(value)),
    }
}

/// The series of a partition that match, and when they were found.
struct Found {
    slots: Vec<u32>,
    sweeps: u64,
}

/// Takes the first series; those that repeat one stay with it.
fn next_batch(selected: &mut Vec<Selected>) -> Vec<Selected> {
    let mut end = BATCH_SERIES.min(selected.len());
    while selected.get(end).is_some_and(|s| s.repeats) {
        end += 1;
    }
    let rest = selected.split_off(end);
    std::mem::replace(selected, rest)
}

#[async_trait]
impl StoreApi for HeadStore {
    fn info(&self) -> StoreInfo {
        if !self.head.is_complete() {
            // Whoever is asked for any time must be told that the answer is missing.
            return StoreInfo {
                name: "head".into(),
                min_ms: i64::MIN,
                max_ms: i64::MAX,
                label_sets: Vec::new(),
            };
        }
        let length_ms = self.head.options.window_ms;
        let (mut oldest, mut label_sets) = (i64::MAX, Vec::new());
        for tenant in self.head.tenants.all() {
            if let Some(window) = tenant.windows.lock().with_data().next() {
                oldest = oldest.min(i64::from(window) * length_ms);
            }
            label_sets.push(tenant.external.labels().clone());
        }
        let newest = self.head.newest_ms();
        // An empty head has an empty range, which no request overlaps.
        let (min_ms, max_ms) = if oldest > newest { (i64::MAX, i64::MIN) } else { (oldest, newest) };
        StoreInfo { name: "head".into(), min_ms, max_ms, label_sets }
    }

    fn answers_few_labels(&self) -> bool {
        true
    }

    async fn series(&self, request: SeriesRequest) -> Result<SeriesStream, StoreError> {
        self.answers()?;
        // From here on nothing is released that the read has not seen, however long it waits for the pool.
        let reading = self.head.begin_read();
        let what = match request.skip_chunks {
            true => Chunks::None,
            false => {
                Chunks::Of { range: (request.min_ms, request.max_ms), newest_only: request.hints.newest_only }
            }
        };
        // The first batch comes with the selection: most answers are one batch.
        let first = self.compute(move |store| {
            let mut rest = store.select(&request)?;
            let first = next_batch(&mut rest);
            Ok((store.answer(first, what), rest))
        });
        let (first, mut rest) = first.await??;
        let batches = std::iter::from_fn(move || (!rest.is_empty()).then(|| next_batch(&mut rest)));
        let (store, at_once) = (self.clone(), self.cpu.parallelism());
        let answer = move |batch: Vec<Selected>| {
            let (store, reading) = (store.clone(), reading.clone());
            async move {
                let series = store.compute(move |store| store.answer(batch, what)).await;
                drop(reading);
                series
            }
        };
        let others = futures::stream::iter(batches).map(answer).buffered(at_once);
        Ok(futures::stream::iter([Ok(first)]).chain(others).boxed())
    }

    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError> {
        self.answers()?;
        self.compute(move |store| store.names(&request, None)).await?
    }

    async fn label_values(&self, name: &str, request: LabelsRequest) -> Result<Names, StoreError> {
        self.answers()?;
        let name = name.to_owned();
        self.compute(move |store| store.names(&request, Some(&name))).await?
    }

    async fn exemplars(
        &self,
        tenants: &TenantScope,
        matchers: &[Vec<Matcher>],
        min_ms: TimestampMs,
        max_ms: TimestampMs,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, StoreError> {
        self.answers()?;
        let mut found: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        for tenant in self.head.tenants.in_scope(tenants) {
            let kept: Vec<_> = tenant.exemplars.lock().in_range(min_ms, max_ms).cloned().collect();
            let mut labels_by_ref: BTreeMap<u64, Option<Labels>> = BTreeMap::new();
            for (reference, exemplar) in kept {
                let labels = labels_by_ref.entry(reference).or_insert_with(|| {
                    let own = self.head.labels_of(reference)?;
                    let merged = tenant.external.merge(own.as_ref());
                    let holds = |list: &Vec<Matcher>| list.iter().all(|m| m.matches_labels(merged.as_ref()));
                    matchers.iter().any(holds).then_some(merged)
                });
                if let Some(labels) = labels {
                    found.entry(labels.clone()).or_default().push(exemplar);
                }
            }
        }
        for list in found.values_mut() {
            list.sort_by_key(|e| e.t_ms);
        }
        Ok(found.into_iter().collect())
    }

    async fn metadata(
        &self,
        tenants: &TenantScope,
        metric: Option<&str>,
    ) -> Result<Vec<(String, Metadata)>, StoreError> {
        self.answers()?;
        let mut found = Vec::new();
        for tenant in self.head.tenants.in_scope(tenants) {
            let known = tenant.metadata.read();
            let of = |(f, m): (&String, &Metadata)| (f.clone(), m.clone());
            match metric {
                Some(metric) => found.extend(known.get_key_value(metric).map(of)),
                None => found.extend(known.iter().map(of)),
            }
        }
        Ok(found)
    }
}
