//! What senders know: every value that was offered, and the greatest that was acknowledged.
//!
//! Kept outside the node, so that no crash touches it. The order of values is the product's own
//! ([`cairn_tsdb::head::order`]), because it is part of the promise (ADR 0001, the head is a join).

use std::collections::BTreeMap;

use cairn_model::external::ExternalLabels;
use cairn_model::{Labels, TenantId, TimestampMs, Value};
use cairn_tsdb::head::order;

use crate::traffic::Offer;

/// Series as readers see them: labels with the external ones, as text.
pub type SeriesName = String;

/// What a reader sees: one value by series and time.
pub type Contents = BTreeMap<SeriesName, BTreeMap<TimestampMs, Value>>;

/// What is known of one series at one time.
#[derive(Debug, Clone, Default)]
pub struct Known {
    /// Values that were offered and may be stored.
    pub offered: Vec<Value>,
    /// The greatest value that was acknowledged.
    pub acked: Option<Value>,
}

/// Everything that was offered.
#[derive(Debug, Clone, Default)]
pub struct Ledger {
    series: BTreeMap<SeriesName, BTreeMap<TimestampMs, Known>>,
    acked: u64,
}

/// The name under which a tenant's series is read.
pub fn name_of(tenant: &TenantId, labels: &Labels) -> SeriesName {
    ExternalLabels::for_tenant(tenant, &Labels::empty()).merge(labels.as_ref()).to_string()
}

impl Ledger {
    /// Notes samples that are about to be sent, those for which `admissible` holds.
    pub fn offer(&mut self, offer: &Offer, admissible: impl Fn(TimestampMs) -> bool) {
        for (labels, t_ms, value) in offer.samples().filter(|(_, t, _)| admissible(*t)) {
            let known = self.entry(&offer.tenant, labels, t_ms);
            if !known.offered.iter().any(|v| order::same(v, value)) {
                known.offered.push(value.clone());
            }
        }
    }

    /// Notes that the answer promised durability of these samples.
    pub fn ack(&mut self, offer: &Offer, durable: impl Fn(&Labels, TimestampMs) -> bool) {
        for (labels, t_ms, value) in offer.samples().filter(|(labels, t, _)| durable(labels, *t)) {
            let known = self.entry(&offer.tenant, labels, t_ms);
            if known.acked.as_ref().is_none_or(|there| order::compare(value, there).is_gt()) {
                known.acked = Some(value.clone());
            }
            self.acked += 1;
        }
    }

    /// What is known of a series at a time.
    pub fn known(&self, name: &str, t_ms: TimestampMs) -> Option<&Known> {
        self.series.get(name)?.get(&t_ms)
    }

    /// The part that speaks of the samples of `offer`.
    pub fn clone_for(&self, offer: &Offer) -> Self {
        let mut part = Ledger::default();
        for (labels, t_ms, _) in offer.samples() {
            if let Some(known) = self.known(&name_of(&offer.tenant, labels), t_ms) {
                *part.entry(&offer.tenant, labels, t_ms) = known.clone();
            }
        }
        part
    }

    /// Whether a series was offered one value only at a time.
    pub fn is_undisputed(&self, offer: &Offer, labels: &Labels, t_ms: TimestampMs) -> bool {
        self.known(&name_of(&offer.tenant, labels), t_ms).is_none_or(|k| k.offered.len() < 2)
    }

    /// The greatest acknowledged values.
    pub fn acked(&self) -> Contents {
        let of_series = |times: &BTreeMap<TimestampMs, Known>| {
            times.iter().filter_map(|(t, k)| Some((*t, k.acked.clone()?))).collect::<BTreeMap<_, _>>()
        };
        self.series.iter().map(|(name, times)| (name.clone(), of_series(times))).collect()
    }

    /// Samples acknowledged, repeats included.
    pub fn acked_samples(&self) -> u64 {
        self.acked
    }

    fn entry(&mut self, tenant: &TenantId, labels: &Labels, t_ms: TimestampMs) -> &mut Known {
        self.series.entry(name_of(tenant, labels)).or_default().entry(t_ms).or_default()
    }
}
