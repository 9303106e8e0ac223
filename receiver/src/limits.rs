//! What a tenant may send. On by default, changed while running.
//!
//! A [`LimitsBook`] holds the defaults and the tenants that differ; [`LimitsBook::replace`] takes effect with the
//! next request. Limits of a sample or series are a 400 for it alone. The rate is a 429 for the whole request and
//! its size a 413; stock senders drop both, so the defaults are far above what one tenant of a healthy node sends.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use arc_swap::ArcSwap;
use cairn_model::{PerTenant, TenantId};

/// Limits of one tenant.
#[derive(Debug, Clone, PartialEq)]
pub struct TenantLimits {
    /// Bytes of a request's body as it comes, 0 = what the receiver takes. Never more than that.
    pub body_bytes: u64,
    /// Bytes of a request's body decompressed, 0 = what the receiver takes. Never more than that.
    pub decoded_bytes: u64,
    /// Series a request, 0 = no limit.
    pub series_per_request: u64,
    /// Samples a request, 0 = no limit.
    pub samples_per_request: u64,
    /// Series in the head, 0 = no limit. Above it new series are refused, existing ones go on.
    pub active_series: u64,
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
            body_bytes: 0,
            decoded_bytes: 0,
            series_per_request: 0,
            samples_per_request: 0,
            // What fits into 8 GiB at the size that a series has in the head.
            active_series: 10_000_000,
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
pub type Limits = PerTenant<TenantLimits>;

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
        self.current.load().of(tenant).clone()
    }

    /// How many series `tenant` may have in the head, for a store that asks at every new one; 0 = no limit.
    pub fn active_series(&self, tenant: &TenantId) -> u64 {
        self.current.load().of(tenant).active_series
    }

    /// The limits of all tenants.
    pub fn all(&self) -> Arc<Limits> {
        self.current.load_full()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashMap;

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
