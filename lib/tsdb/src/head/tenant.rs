//! Tenants: name spaces of the head with exact counts, exemplars, metadata and windows of their own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use cairn_model::batch::RejectReason;
use cairn_model::external::ExternalLabels;
use cairn_model::metadata::Metadata;
use cairn_model::tenant::TenantScope;
use cairn_model::{Labels, TenantId};
use hashbrown::HashMap;
use parking_lot::{Mutex, RwLock};

use super::exemplars::Exemplars;
use super::partition::NotAdded;
use super::series::TenantNo;
use super::windows::Windows;

/// Most metric families whose metadata is kept for a tenant; more are ignored and counted.
pub const MAX_METADATA_FAMILIES: usize = 200_000;

/// One tenant.
pub struct Tenant {
    /// Its name.
    pub id: TenantId,
    /// Its number in this process.
    pub number: TenantNo,
    /// What its answers carry beside the series' own labels.
    pub external: ExternalLabels,
    /// Newest exemplars.
    pub exemplars: Mutex<Exemplars>,
    /// Metadata by family, last by arrival.
    pub metadata: RwLock<BTreeMap<String, Metadata>>,
    /// Its windows. Changed only while the log's fence is held, or touched under its shared side.
    pub windows: Mutex<Windows>,
    series: AtomicU64,
}

/// All tenants.
pub struct Tenants {
    by_id: RwLock<HashMap<TenantId, Arc<Tenant>>>,
    configured: Labels,
    exemplars: usize,
}

impl Tenant {
    /// Series in the head.
    pub fn series(&self) -> u64 {
        self.series.load(Ordering::Relaxed)
    }

    /// Takes one series from the limit (0 = none).
    ///
    /// # Errors
    /// When the limit is reached; nothing is taken then.
    pub fn admit(&self, limit: u64) -> Result<(), NotAdded> {
        let add = |n: u64| (limit == 0 || n < limit).then_some(n + 1);
        self.series
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, add)
            .map(|_| ())
            .map_err(|_| NotAdded::Refused(RejectReason::SeriesLimit { limit }))
    }

    /// Counts series that were admitted by an earlier process.
    pub fn remember(&self, series: u64) {
        self.series.fetch_add(series, Ordering::Relaxed);
    }

    /// Gives series back that left the head.
    pub fn forget(&self, series: u64) {
        self.series.fetch_sub(series, Ordering::Relaxed);
    }

    /// Keeps metadata of a family; `false` when there are too many families.
    pub fn set_metadata(&self, family: &str, metadata: &Metadata) -> bool {
        let same = |known: &BTreeMap<String, Metadata>| known.get(family) == Some(metadata);
        if same(&self.metadata.read()) {
            return true;
        }
        let mut known = self.metadata.write();
        if known.len() >= MAX_METADATA_FAMILIES && !known.contains_key(family) {
            return false;
        }
        known.insert(family.to_owned(), metadata.clone());
        true
    }
}

impl Tenants {
    /// No tenant yet. `configured` are the operator's external labels, `exemplars` the ring of each tenant.
    pub fn new(configured: Labels, exemplars: usize) -> Self {
        Tenants { by_id: RwLock::default(), configured, exemplars }
    }

    /// The tenant, made on first use.
    pub fn get_or_add(&self, id: &TenantId) -> Arc<Tenant> {
        if let Some(tenant) = self.by_id.read().get(id) {
            return tenant.clone();
        }
        let mut by_id = self.by_id.write();
        let number = by_id.len() as TenantNo;
        let make = || {
            Arc::new(Tenant {
                id: id.clone(),
                number,
                external: ExternalLabels::for_tenant(id, &self.configured),
                exemplars: Mutex::new(Exemplars::new(self.exemplars)),
                metadata: RwLock::default(),
                windows: Mutex::default(),
                series: AtomicU64::new(0),
            })
        };
        by_id.entry(id.clone()).or_insert_with(make).clone()
    }

    /// The tenant, if it is known.
    pub fn get(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.by_id.read().get(id).cloned()
    }

    /// All tenants, by name.
    pub fn all(&self) -> Vec<Arc<Tenant>> {
        let mut all: Vec<_> = self.by_id.read().values().cloned().collect();
        all.sort_by(|a, b| a.id.cmp(&b.id));
        all
    }

    /// Tenants in scope, by name.
    pub fn in_scope(&self, scope: &TenantScope) -> Vec<Arc<Tenant>> {
        let mut all = self.all();
        all.retain(|t| scope.contains(t.id.as_str()));
        all
    }
}
