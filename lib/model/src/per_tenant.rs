//! A value for each tenant: one for all, and those of tenants that differ.

use std::collections::HashMap;
use std::sync::Arc;

use crate::tenant::TenantId;

/// Values of all tenants at one time.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct PerTenant<T> {
    /// Of tenants that are not named.
    pub default: Arc<T>,
    /// Of tenants that differ.
    pub tenants: HashMap<TenantId, Arc<T>>,
}

impl<T> PerTenant<T> {
    /// The same for everybody.
    pub fn same(value: T) -> Self {
        PerTenant { default: Arc::new(value), tenants: HashMap::new() }
    }

    /// What holds for `tenant`.
    pub fn of(&self, tenant: &TenantId) -> &Arc<T> {
        self.tenants.get(tenant).unwrap_or(&self.default)
    }
}
