//! The head as a [`StoreApi`].
//!
//! A read selects its series partition by partition, sorts them by their answered labels (external labels
//! included), and gathers chunks slice by slice, so that no lock is held for long and answers begin early.
//!
//! Invariant: no sample acknowledged before the call is missing, unless its generation was released; and nothing is
//! released while a read that began before is running.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use async_trait::async_trait;
use cairn_model::exemplar::Exemplar;
use cairn_model::metadata::Metadata;
use cairn_model::storage::{
    LabelsRequest, Names, Series, SeriesRequest, SeriesStream, StoreApi, StoreError, StoreInfo,
};
use cairn_model::tenant::TenantScope;
use cairn_model::{Labels, Matcher, TimestampMs};
use futures::StreamExt;

use super::read::Gathered;
use super::select::select;
use super::sorting::{Picked, Selected, sort_into};
use super::state::Head;
use super::tenant::Tenant;

/// Series of a batch of an answer.
const BATCH_SERIES: usize = 256;

/// Reads the head.
#[derive(Clone)]
pub struct HeadStore {
    head: Arc<Head>,
}

impl HeadStore {
    /// Reads `head`.
    pub fn new(head: Arc<Head>) -> Self {
        HeadStore { head }
    }

    fn select(
        &self,
        scope: &TenantScope,
        matchers: &[Matcher],
        range: (TimestampMs, TimestampMs),
    ) -> Vec<Selected> {
        let (mut selected, mut tenants) = (Vec::new(), 0);
        for tenant in self.head.tenants.in_scope(scope) {
            let Some(rest) = tenant.external.narrow(matchers) else { continue };
            let (mut all, mut stable) = (Vec::with_capacity(self.head.partitions.len()), true);
            for partition in &self.head.partitions {
                let (slots, sweeps) = {
                    let partition = partition.read();
                    let slots = partition.tenant(tenant.number).map(|t| select(t, &rest)).unwrap_or_default();
                    (slots, partition.sweeps())
                };
                let mut picked = Picked::default();
                for slice in slots.chunks(BATCH_SERIES) {
                    let partition = partition.read();
                    stable &= partition.sweeps() == sweeps;
                    for &slot in slice.iter().filter(|slot| partition.has_data(**slot, range)) {
                        partition.pick(slot, &mut picked);
                    }
                }
                all.push(picked);
            }
            tenants += 1;
            sort_into(&all, &tenant.external, stable, &mut selected);
        }
        if tenants > 1 {
            selected.sort_by(|a, b| a.labels.cmp(&b.labels)); // merges the sorted runs of tenants
        }
        selected
    }

    fn gather(&self, batch: Vec<Selected>, range: (TimestampMs, TimestampMs)) -> Vec<Series> {
        let mut by_partition: BTreeMap<u8, Vec<usize>> = BTreeMap::new();
        for (i, s) in batch.iter().enumerate() {
            by_partition.entry(s.partition).or_default().push(i);
        }
        let mut chunks: Vec<Vec<_>> = batch.iter().map(|_| Vec::new()).collect();
        for (index, of_partition) in by_partition {
            let mut gathered = Gathered::default();
            {
                let partition = self.head.partitions[usize::from(index)].read();
                for &i in &of_partition {
                    partition.gather(batch[i].slot, range, &mut gathered);
                    gathered.end_series();
                }
            }
            for (i, found) in of_partition.into_iter().zip(gathered.finish()) {
                chunks[i] = found;
            }
        }
        let all = batch.into_iter().zip(chunks);
        // A series without chunks was released while the read went on, and then its block answers.
        all.filter(|(_, c)| !c.is_empty()).map(|(s, chunks)| Series { labels: s.labels, chunks }).collect()
    }

    fn each_tenant(&self, scope: &TenantScope, mut visit: impl FnMut(&Tenant)) {
        self.head.tenants.in_scope(scope).iter().for_each(|t| visit(t));
    }

    /// Label names or values without looking at series: possible when no matcher narrows.
    fn pairs_of_all(&self, request: &LabelsRequest, name: Option<&str>) -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        self.each_tenant(&request.tenants, |tenant| {
            let mut any = false;
            for partition in &self.head.partitions {
                let partition = partition.read();
                let Some(index) = partition.tenant(tenant.number).filter(|i| !i.all.is_empty()) else {
                    continue;
                };
                any = true;
                match name {
                    None => found.extend(index.pairs.names().map(str::to_owned)),
                    Some(name) if tenant.external.labels().get(name).is_none() => {
                        let values =
                            index.pairs.of_name(name).iter().map(|p| index.pairs.text(*p).1.to_owned());
                        found.extend(values);
                    }
                    Some(_) => {}
                }
            }
            if any {
                match name {
                    None => found.extend(tenant.external.labels().iter().map(|(n, _)| n.to_owned())),
                    Some(name) => found.extend(tenant.external.labels().get(name).map(str::to_owned)),
                }
            }
        });
        found
    }

    /// Whether a request covers everything in the head, so that no series needs to be looked at.
    fn covers_all(&self, request: &LabelsRequest) -> bool {
        let info = self.info();
        request.matchers.is_empty() && request.min_ms <= info.min_ms && request.max_ms >= info.max_ms
    }
}

fn limited(values: BTreeSet<String>, limit: usize) -> Names {
    let limit = if limit == 0 { usize::MAX } else { limit };
    let cut = values.len() > limit;
    let warnings = if cut { vec!["results truncated due to limit".to_owned()] } else { Vec::new() };
    Names { values: values.into_iter().take(limit).collect(), warnings }
}

#[async_trait]
impl StoreApi for HeadStore {
    fn info(&self) -> StoreInfo {
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

    async fn series(&self, request: SeriesRequest) -> Result<SeriesStream, StoreError> {
        let reading = self.head.begin_read();
        let range = (request.min_ms, request.max_ms);
        let mut selected = self.select(&request.tenants, &request.matchers, range);
        if request.limit > 0 {
            selected.truncate(request.limit);
        }
        let (store, skip_chunks) = (self.clone(), request.skip_chunks);
        let rest = selected.into_iter();
        let batches = futures::stream::unfold((rest, reading), move |(mut rest, reading)| {
            let store = store.clone();
            async move {
                let batch: Vec<Selected> = rest.by_ref().take(BATCH_SERIES).collect();
                if batch.is_empty() {
                    return None;
                }
                let series = if skip_chunks {
                    batch.into_iter().map(|s| Series { labels: s.labels, chunks: Vec::new() }).collect()
                } else {
                    store.gather(batch, range)
                };
                Some((Ok(series), (rest, reading)))
            }
        });
        Ok(batches.boxed())
    }

    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError> {
        if self.covers_all(&request) {
            return Ok(limited(self.pairs_of_all(&request, None), request.limit));
        }
        let mut names = BTreeSet::new();
        for s in self.select(&request.tenants, &request.matchers, (request.min_ms, request.max_ms)) {
            for (n, _) in s.labels.iter() {
                if !names.contains(n) {
                    names.insert(n.to_owned());
                }
            }
        }
        Ok(limited(names, request.limit))
    }

    async fn label_values(&self, name: &str, request: LabelsRequest) -> Result<Names, StoreError> {
        if self.covers_all(&request) {
            return Ok(limited(self.pairs_of_all(&request, Some(name)), request.limit));
        }
        let mut values = BTreeSet::new();
        for s in self.select(&request.tenants, &request.matchers, (request.min_ms, request.max_ms)) {
            if let Some(v) = s.labels.get(name)
                && !values.contains(v)
            {
                values.insert(v.to_owned());
            }
        }
        Ok(limited(values, request.limit))
    }

    async fn exemplars(
        &self,
        tenants: &TenantScope,
        matchers: &[Vec<Matcher>],
        min_ms: TimestampMs,
        max_ms: TimestampMs,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, StoreError> {
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
        let mut found = Vec::new();
        self.each_tenant(tenants, |tenant| {
            let known = tenant.metadata.read();
            let of = |(f, m): (&String, &Metadata)| (f.clone(), m.clone());
            match metric {
                Some(metric) => found.extend(known.get_key_value(metric).map(of)),
                None => found.extend(known.iter().map(of)),
            }
        });
        Ok(found)
    }
}
