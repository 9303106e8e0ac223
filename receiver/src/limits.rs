//! What a tenant may send. On by default, changed while running.
//!
//! A [`LimitsBook`] holds the defaults and the tenants that differ; [`LimitsBook::replace`] takes effect with the
//! next request. Limits of a sample or series are a 400 for it alone; the rate is a 429 for the whole request,
//! which stock senders drop, so its default is far above what one tenant of a healthy node sends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use cairn_model::TenantId;

/// Limits of one tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantLimits {
    /// Samples a second on average, 0 = no limit.
    pub samples_per_s: u64,
    /// Samples at once above the average. A single request may exceed it when the tenant has been quiet.
    pub burst_samples: u64,
    /// Labels a series.
    pub labels_per_series: usize,
    /// Bytes of a label's name.
    pub label_name_bytes: usize,
    /// Bytes of a label's value.
    pub label_value_bytes: usize,
    /// Exemplars a request; further ones are left out and counted.
    pub exemplars_per_request: usize,
    /// Metric families a request may describe; further ones are left out and counted.
    pub metadata_per_request: usize,
    /// How old a sample may be when it arrives.
    pub late_window_ms: i64,
    /// How far ahead of our clock a sample may be.
    pub future_window_ms: i64,
}

impl Default for TenantLimits {
    fn default() -> Self {
        TenantLimits {
            // Above what two cores can take in at all.
            samples_per_s: 20_000_000,
            burst_samples: 100_000_000,
            // Twice what Mimir allows: Kubernetes service discovery with all labels kept stays below 50.
            labels_per_series: 64,
            label_name_bytes: 1024,
            label_value_bytes: 4096,
            exemplars_per_request: 10_000,
            metadata_per_request: 20_000,
            // More than a stock sender's backlog (its log is cut every 2 h).
            late_window_ms: 6 * 3_600_000,
            // Prometheus' own bound.
            future_window_ms: 10 * 60_000,
        }
    }
}

/// The limits of all tenants. Reading costs an atomic load.
pub struct LimitsBook {
    current: ArcSwap<Limits>,
    revision: AtomicU64,
}

/// Limits of all tenants at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Limits {
    /// Of tenants that are not named.
    pub default: Arc<TenantLimits>,
    /// Of tenants that differ.
    pub tenants: HashMap<TenantId, Arc<TenantLimits>>,
}

impl LimitsBook {
    /// Starts with `limits`.
    pub fn new(limits: Limits) -> Self {
        LimitsBook { current: ArcSwap::from_pointee(limits), revision: AtomicU64::new(1) }
    }

    /// Puts other limits in force.
    pub fn replace(&self, limits: Limits) {
        self.current.store(Arc::new(limits));
        self.revision.fetch_add(1, Ordering::Release);
    }

    /// Changes with every replacement.
    pub fn revision(&self) -> u64 {
        self.revision.load(Ordering::Acquire)
    }

    /// The limits of `tenant`.
    pub fn of(&self, tenant: &TenantId) -> Arc<TenantLimits> {
        let limits = self.current.load();
        limits.tenants.get(tenant).unwrap_or(&limits.default).clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tenant_that_is_not_named_has_the_defaults() {
        let (a, b) = (TenantId::new("a").unwrap(), TenantId::new("b").unwrap());
        let book = LimitsBook::new(Limits::default());
        let before = book.revision();
        let strict = Arc::new(TenantLimits { labels_per_series: 3, ..TenantLimits::default() });
        book.replace(Limits { tenants: HashMap::from([(a.clone(), strict)]), ..Limits::default() });
        assert_ne!(book.revision(), before);
        assert_eq!(book.of(&a).labels_per_series, 3);
        assert_eq!(book.of(&b).labels_per_series, TenantLimits::default().labels_per_series);
    }
}
