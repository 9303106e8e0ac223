//! Whose data it is.
//!
//! Grammar: `[A-Za-z0-9_.-]{1,128}`, not `.` or `..`, not beginning with `_` (reserved for cairn's
//! own names). A tenant is never used as a raw path component.

use std::fmt;
use std::sync::Arc;

/// Longest tenant name, in bytes.
pub const MAX_TENANT_BYTES: usize = 128;

/// Tenant of a write without a tenant header.
pub const DEFAULT_TENANT: &str = "default-tenant";

/// External label that names the tenant of a series.
pub const TENANT_LABEL: &str = "tenant_id";

/// A valid tenant name; cheap to clone.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct TenantId(Arc<str>);

/// Why a name is no tenant.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error(
    "invalid tenant name {name:?}: use 1 to 128 of A-Z a-z 0-9 _ . -, not \".\" or \"..\", not beginning with _"
)]
pub struct InvalidTenant {
    /// The name as it came, cut to 160 characters.
    pub name: String,
}

impl TenantId {
    /// Checks `name` against the grammar.
    ///
    /// # Errors
    /// [`InvalidTenant`] with the offending name.
    pub fn new(name: &str) -> Result<Self, InvalidTenant> {
        let ok = (1..=MAX_TENANT_BYTES).contains(&name.len())
            && name.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'.' | b'-'))
            && name != "."
            && name != ".."
            && !name.starts_with('_');
        if ok {
            Ok(TenantId(Arc::from(name)))
        } else {
            Err(InvalidTenant { name: name.chars().take(160).collect() })
        }
    }

    /// The tenant of writes that name none.
    pub fn default_tenant() -> Self {
        TenantId(Arc::from(DEFAULT_TENANT))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
impl fmt::Debug for TenantId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Which tenants a read may see.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum TenantScope {
    /// Every tenant of the store.
    All,
    /// Exactly these, sorted.
    Only(Vec<TenantId>),
}

impl TenantScope {
    /// Whether `tenant` is in scope.
    pub fn contains(&self, tenant: &str) -> bool {
        match self {
            TenantScope::All => true,
            TenantScope::Only(list) => list.iter().any(|t| t.as_str() == tenant),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grammar_refuses_hostile_names() {
        for bad in ["", ".", "..", "_x", "a/b", "../x", "a b", "ü", "a\0", &"x".repeat(129)] {
            assert!(TenantId::new(bad).is_err(), "{bad:?}");
        }
        for good in ["a", "A-1.b_c", "default-tenant", "...", &"x".repeat(128)] {
            assert_eq!(TenantId::new(good).unwrap().as_str(), good);
        }
    }
}
