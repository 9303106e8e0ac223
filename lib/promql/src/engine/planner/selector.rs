//! Selectors, and the fetches that they read: which data, and what of it is looked at.
//!
//! Invariant: a fetch serves everything that reads it; it narrows times, labels and samples only as far as all of its
//! readers allow.

use cairn_model::labels::METRIC_NAME;
use cairn_model::storage::{SelectHints, WantedLabels};
use cairn_model::{MatchOp, Matcher, TimestampMs};

use super::scope::Scope;
use super::{Built, Planner, built};
use crate::engine::error::QueryError;
use crate::engine::plan::{Edges, Fetch, FetchId, RangeNode, RangeSource, Select};
use crate::parser::ast::{AggregateExpr, AggregateOp, MatrixSelector, VectorSelector};

impl<'q> Planner<'q> {
    pub(super) fn select(&mut self, v: &'q VectorSelector, scope: Scope<'q>) -> Result<Select, QueryError> {
        let reference = self.reference(v.offset.as_ref(), v.at)?;
        let (first, last) = reference.bounds(scope.grid);
        let lookback = self.options.lookback_ms;
        let max_ms = if v.smoothed { last.saturating_add(lookback) } else { last };
        let stats_only = scope.stats_only();
        let labels = match scope.reduced {
            // Sums name the metric where its histograms do not fit together.
            Some(a) => self.labels_of(a, v.smoothed || matches!(a.op, AggregateOp::Sum | AggregateOp::Avg)),
            None => WantedLabels::All,
        };
        let newest_only = first == last && !v.smoothed && !stats_only;
        let min_ms = first.saturating_sub(lookback - 1);
        let fetch = self.fetch(v, (min_ms, max_ms), scope, |f| {
            f.labels = labels;
            f.hints.newest_only = newest_only;
        });
        Ok(Select {
            fetch,
            reference,
            smoothed: v.smoothed,
            one_name: has_one_name(v),
            stats_only,
            span: v.span,
        })
    }

    pub(super) fn matrix(
        &mut self,
        m: &'q MatrixSelector,
        scope: Scope<'q>,
    ) -> Result<Built<RangeNode>, QueryError> {
        let v = &m.selector;
        let reference = self.reference(v.offset.as_ref(), v.at)?;
        let range_ms = m.range.resolve_positive(self.durations())?;
        let lookback = self.options.lookback_ms;
        let (edges, before, after) = match (v.anchored, v.smoothed) {
            (true, _) => (Edges::Anchored, lookback, 0),
            (_, true) => (Edges::Smoothed, lookback, lookback),
            _ => (Edges::Plain, 0, 0),
        };
        let (first, last) = reference.bounds(scope.grid);
        let min_ms = first.saturating_sub(range_ms.saturating_add(before)).saturating_add(1);
        let one_name = has_one_name(v);
        let labels = match scope.reduced {
            // Series of several names could no longer be told apart, which is an error.
            Some(a) if one_name => self.labels_of(a, true),
            _ => WantedLabels::All,
        };
        let fetch = self.fetch(v, (min_ms, last.saturating_add(after)), scope, |f| {
            f.labels = labels;
            f.hints.range_ms = range_ms;
        });
        let source = RangeSource::Selector { fetch, one_name, stats_only: scope.stats_only() };
        let node = RangeNode { source, reference, range_ms, edges, span: m.span };
        Ok(built(node, reference.at_ms.is_some()))
    }

    /// Adds the fetch of a selector, with what `details` knows of its use.
    fn fetch(
        &mut self,
        v: &VectorSelector,
        (min_ms, max_ms): (TimestampMs, TimestampMs),
        scope: Scope<'_>,
        details: impl FnOnce(&mut Fetch),
    ) -> FetchId {
        let (grouping, by) = scope.grouping.map_or((Vec::new(), false), |(g, by)| (g.to_vec(), by));
        let hints = SelectHints {
            step_ms: scope.step_hint_ms,
            func: scope.func.to_owned(),
            grouping,
            by,
            ..SelectHints::default()
        };
        let mut fetch = Fetch {
            matchers: v.matchers.clone(),
            min_ms,
            max_ms,
            labels: WantedLabels::All,
            hints,
            aggregate: self.aggregate_for(scope.func),
            text: v.span.text(self.query).to_owned(),
        };
        details(&mut fetch);
        self.add_fetch(fetch)
    }

    /// The labels that are looked at when `a` reduces series as they come.
    fn labels_of(&self, a: &AggregateExpr, metric_name: bool) -> WantedLabels {
        if self.options.type_and_unit_labels {
            return WantedLabels::All;
        }
        let mut names = a.grouping.clone();
        names.extend(metric_name.then(|| METRIC_NAME.to_owned()));
        names.sort_unstable();
        names.dedup();
        WantedLabels::Only(names)
    }

    /// Reads of the same data share one fetch, whatever surrounds them. It serves all of them.
    pub(super) fn add_fetch(&mut self, fetch: Fetch) -> FetchId {
        let same_matcher = |a: &Matcher, b: &Matcher| a.op == b.op && a.name == b.name && a.value == b.value;
        let same = |f: &Fetch| {
            (f.min_ms, f.max_ms, f.aggregate) == (fetch.min_ms, fetch.max_ms, fetch.aggregate)
                && f.matchers.len() == fetch.matchers.len()
                && f.matchers.iter().zip(&fetch.matchers).all(|(a, b)| same_matcher(a, b))
        };
        let Some(id) = self.fetches.iter().position(same) else {
            self.fetches.push(fetch);
            return FetchId(self.fetches.len() - 1);
        };
        let shared = &mut self.fetches[id];
        shared.labels = std::mem::take(&mut shared.labels).and(&fetch.labels);
        shared.hints.newest_only &= fetch.hints.newest_only;
        FetchId(id)
    }
}

fn has_one_name(v: &VectorSelector) -> bool {
    v.matchers.iter().any(|m| m.name == METRIC_NAME && m.op == MatchOp::Equal && !m.value.is_empty())
}
