//! Many stores as one [`Queryable`].
//!
//! A request goes to every store whose time range and external labels can match, all at once. What a store
//! cannot answer becomes a warning that names it, or fails the request when partial answers are refused.
//!
//! Invariant: stores are asked in the order of their list, each as soon as the one before has begun; what a store
//! takes note of before it first waits, it knows before the next one is asked. Data moves down the list (head, local
//! blocks, bucket), so a reader that goes the same way misses none on its move.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use cairn_model::exemplar::Exemplar;
use cairn_model::labels::Labels;
use cairn_model::matcher::Matcher;
use cairn_model::metadata::Metadata;
use cairn_model::storage::{
    LabelsRequest, MAY_BE_PARTIAL, Names, Queryable, SelectedSeries, Series, SeriesRequest, StoreApi,
    StoreError, StoreInfo, WantedLabels,
};
use cairn_model::tenant::TenantScope;
use cairn_model::{NameSet, ReadBounds};
use futures::TryStreamExt;
use futures::future::{BoxFuture, join_all};

use crate::merge::merge_series;

/// Label by which selectors of stores name a store.
const ADDRESS_LABEL: &str = "__address__";

/// What to do when a store cannot answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PartialResponse {
    /// Answer without it and warn.
    Warn,
    /// Fail the request.
    Abort,
}

/// Asks all stores and merges.
#[derive(Clone)]
pub struct Fanout {
    stores: Vec<Arc<dyn StoreApi>>,
    on_failure: PartialResponse,
    max_series: usize,
}

impl Fanout {
    /// Over `stores`; a selector may answer at most `max_series` series, 0 = no limit.
    pub fn new(stores: Vec<Arc<dyn StoreApi>>, on_failure: PartialResponse, max_series: usize) -> Self {
        Fanout { stores, on_failure, max_series }
    }

    /// The same stores with another rule for failures: rules must not be evaluated on half an answer.
    pub fn with_partial_response(&self, on_failure: PartialResponse) -> Self {
        Fanout { on_failure, ..self.clone() }
    }

    /// The stores that have data of one of `selectors`, by external labels and by name as `__address__`; all of them
    /// without selectors.
    pub fn with_stores_of(&self, selectors: &[Vec<Matcher>]) -> Self {
        let wanted = |store: &Arc<dyn StoreApi>| {
            let info = store.info();
            let fits = |set: &Labels| {
                let value = |name: &str| match name {
                    ADDRESS_LABEL => Some(info.name.as_str()),
                    _ => set.get(name),
                };
                let one = |m: &Matcher| m.matches(value(&m.name).unwrap_or(""));
                selectors.iter().any(|all| all.iter().all(one))
            };
            match info.label_sets.as_slice() {
                [] => fits(&Labels::empty()),
                sets => sets.iter().any(fits),
            }
        };
        let mut narrowed = self.clone();
        if !selectors.is_empty() {
            narrowed.stores.retain(wanted);
        }
        narrowed
    }

    /// The stores, for status pages.
    pub fn stores(&self) -> &[Arc<dyn StoreApi>] {
        &self.stores
    }

    /// Metadata of all stores, with warnings; the same family may come more than once.
    pub async fn metadata(
        &self,
        tenants: &TenantScope,
        metric: Option<&str>,
    ) -> Result<(Vec<(String, Metadata)>, Vec<String>), StoreError> {
        let asked =
            self.stores.iter().map(|s| async move { (s.info().name, s.metadata(tenants, metric).await) });
        let (lists, warnings) = self.judge(join_all(asked).await)?;
        Ok((lists.into_iter().flatten().collect(), warnings))
    }

    /// Exemplars of all stores by series, each series once and in order of time, with warnings.
    pub async fn exemplars(
        &self,
        tenants: &TenantScope,
        matchers: &[Vec<Matcher>],
        min_ms: i64,
        max_ms: i64,
    ) -> Result<(Vec<(Labels, Vec<Exemplar>)>, Vec<String>), StoreError> {
        let asked = self
            .stores
            .iter()
            .map(|s| async move { (s.info().name, s.exemplars(tenants, matchers, min_ms, max_ms).await) });
        let (lists, warnings) = self.judge(join_all(asked).await)?;
        let mut merged: BTreeMap<Labels, Vec<Exemplar>> = BTreeMap::new();
        for (labels, exemplars) in lists.into_iter().flatten() {
            let series = merged.entry(labels).or_default();
            exemplars.into_iter().for_each(|e| {
                if !series.contains(&e) {
                    series.push(e);
                }
            });
        }
        merged.values_mut().for_each(|list| list.sort_by_key(|e| e.t_ms));
        Ok((merged.into_iter().collect(), warnings))
    }

    fn relevant<'a>(
        &'a self,
        min_ms: i64,
        max_ms: i64,
        matchers: &'a [Matcher],
    ) -> impl Iterator<Item = (StoreInfo, &'a Arc<dyn StoreApi>)> {
        self.stores
            .iter()
            .map(|s| (s.info(), s))
            .filter(move |(info, _)| can_match(info, min_ms, max_ms, matchers))
    }

    /// Splits answers from failures, and turns failures into warnings where that is allowed.
    fn judge<T>(
        &self,
        answers: Vec<(String, Result<T, StoreError>)>,
    ) -> Result<(Vec<T>, Vec<String>), StoreError> {
        let (mut good, mut warnings) = (Vec::with_capacity(answers.len()), Vec::new());
        for (store, answer) in answers {
            match answer {
                Ok(a) => good.push(a),
                // A budget is the caller's, not the store's: a partial answer would hide it.
                Err(
                    e @ (StoreError::LimitExceeded { .. } | StoreError::Busy { .. } | StoreError::Canceled),
                ) => {
                    return Err(e);
                }
                Err(e) if self.on_failure == PartialResponse::Abort => return Err(e),
                Err(e) => warnings.push(format!("answer is partial: {store}: {e}")),
            }
        }
        Ok((good, warnings))
    }

    /// Parts of stores that are set aside. Only a warning even where partial answers are refused: what a part held may
    /// well be answered by another store, and one bad block must not stop every rule.
    fn gaps(&self) -> impl Iterator<Item = String> {
        let of_store = |s: &Arc<dyn StoreApi>| {
            let name = s.info().name;
            s.gaps().into_iter().map(move |gap| format!("{MAY_BE_PARTIAL}{name}: {gap}"))
        };
        self.stores.iter().flat_map(of_store)
    }

    async fn collect(
        &self,
        store: &Arc<dyn StoreApi>,
        request: SeriesRequest,
    ) -> Result<Vec<Series>, StoreError> {
        let (limit, bounds) = (request.limit, request.bounds.clone());
        let mut stream = store.series(request).await?;
        let (mut all, mut bytes) = (Vec::new(), 0);
        while let Some(mut batch) = stream.try_next().await? {
            let more = bytes_of(&batch, &bounds);
            bounds.held.add(more as u64)?;
            bytes += more;
            all.append(&mut batch);
            bounds.admit(all.len(), bytes, limit)?;
        }
        Ok(all)
    }

    /// What `ask` gets of the stores that can match `request`, united.
    async fn names<'a>(
        &'a self,
        request: &'a LabelsRequest,
        ask: impl Fn(&'a dyn StoreApi) -> BoxFuture<'a, Result<Names, StoreError>>,
    ) -> Result<Names, StoreError> {
        let asked = self.relevant(request.min_ms, request.max_ms, &request.matchers);
        let answers = join_all(asked.map(|(info, store)| {
            let answer = ask(&**store);
            async move { (info.name, answer.await) }
        }))
        .await;
        let (lists, mut warnings) = self.judge(answers)?;
        warnings.extend(self.gaps());
        union(lists, warnings, request)
    }
}

/// Whether a store with this `info` can hold anything of the request. A store without label sets may.
fn can_match(info: &StoreInfo, min_ms: i64, max_ms: i64, matchers: &[Matcher]) -> bool {
    if info.max_ms < min_ms || info.min_ms > max_ms {
        return false;
    }
    let fits = |set: &cairn_model::Labels| {
        matchers.iter().all(|m| set.get(&m.name).is_none_or(|value| m.matches(value)))
    };
    info.label_sets.is_empty() || info.label_sets.iter().any(fits)
}

#[async_trait]
impl Queryable for Fanout {
    async fn select(&self, mut request: SeriesRequest) -> Result<SelectedSeries, StoreError> {
        request.bounds.tighten_series(self.max_series as u64);
        let asked: Vec<_> = self.relevant(request.min_ms, request.max_ms, &request.matchers).collect();
        let is_alone = matches!(&asked[..], [(_, store)] if store.answers_few_labels());
        if !is_alone {
            request.labels = WantedLabels::All; // they are what answers are joined by
        }
        let answers = join_all(asked.into_iter().map(|(info, store)| {
            let request = request.clone();
            async move { (info.name, self.collect(store, request).await) }
        }))
        .await;
        let (lists, mut warnings) = self.judge(answers)?;
        warnings.extend(self.gaps());
        let mut series = match request.labels {
            WantedLabels::All => merge_series(lists),
            WantedLabels::Only(_) => lists.into_iter().flatten().collect(),
        };
        if request.limit > 0 {
            series.truncate(request.limit);
        }
        request.bounds.admit(series.len(), bytes_of(&series, &request.bounds), request.limit)?;
        Ok(SelectedSeries { series, warnings })
    }

    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError> {
        self.names(&request, |store| store.label_names(request.clone())).await
    }

    async fn label_values(&self, name: &str, request: LabelsRequest) -> Result<Names, StoreError> {
        self.names(&request, |store| store.label_values(name, request.clone())).await
    }
}

/// What series occupy, where that is bounded.
fn bytes_of(series: &[Series], bounds: &ReadBounds) -> usize {
    let matters = bounds.max_bytes > 0 || bounds.held.is_counted();
    if !matters { 0 } else { series.iter().map(Series::bytes).sum() }
}

fn union(lists: Vec<Names>, mut warnings: Vec<String>, request: &LabelsRequest) -> Result<Names, StoreError> {
    let mut found = NameSet::new(request.limit, request.bounds.clone());
    for list in lists {
        let _ = list.values.iter().try_for_each(|value| found.add(value));
        warnings.extend(list.warnings);
    }
    Ok(Names { values: found.finish()?, warnings })
}

#[cfg(test)]
mod tests;
