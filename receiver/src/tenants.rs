//! What a receiver remembers of each tenant: its known series, its rate, its limits in force.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_model::TenantId;
use hashbrown::HashMap;
use parking_lot::RwLock;

use crate::identity::Identity;
use crate::limits::LimitsBook;
use crate::rate::RateBucket;

/// Tenants that are remembered. Beyond, those quiet for [`QUIET`] make room.
const MAX_TENANTS: usize = 10_000;
/// See [`MAX_TENANTS`].
const QUIET: Duration = Duration::from_secs(3600);

/// One tenant.
pub struct Tenant {
    /// Series that it has sent.
    pub identity: Identity,
    /// Its rate.
    pub rate: RateBucket,
    /// Revision of the limits under which `identity` was filled.
    judged_under: AtomicU64,
    /// Monotonic seconds of its last request.
    last_seen_s: AtomicU64,
}

impl Tenant {
    /// Forgets known series when the limits have changed since they were judged.
    pub fn follow(&self, limits: &LimitsBook) {
        let revision = limits.revision();
        if self.judged_under.swap(revision, Ordering::AcqRel) != revision {
            self.identity.clear();
        }
    }
}

/// More tenants at once than a node remembers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("cannot take in another tenant now: {MAX_TENANTS} have written within the last hour")]
pub struct TooManyTenants;

/// All tenants.
pub struct Tenants {
    map: RwLock<HashMap<TenantId, Arc<Tenant>>>,
    max_known_series: usize,
}

impl Tenants {
    /// Knows nobody; remembers `max_known_series` series of each.
    pub fn new(max_known_series: usize) -> Self {
        Tenants { map: RwLock::default(), max_known_series }
    }

    /// The tenant of that name, new if it is unknown.
    ///
    /// # Errors
    /// [`TooManyTenants`] when none has been quiet.
    pub fn get(
        &self,
        id: &TenantId,
        limits: &LimitsBook,
        now: Duration,
    ) -> Result<Arc<Tenant>, TooManyTenants> {
        if let Some(tenant) = self.map.read().get(id) {
            tenant.last_seen_s.store(now.as_secs(), Ordering::Relaxed);
            return Ok(tenant.clone());
        }
        let mut map = self.map.write();
        if map.len() >= MAX_TENANTS {
            let quiet_since = now.saturating_sub(QUIET).as_secs();
            map.retain(|_, t| t.last_seen_s.load(Ordering::Relaxed) > quiet_since);
            if map.len() >= MAX_TENANTS {
                return Err(TooManyTenants);
            }
        }
        let tenant = map.entry(id.clone()).or_insert_with(|| {
            Arc::new(Tenant {
                identity: Identity::new(self.max_known_series),
                rate: RateBucket::default(),
                judged_under: AtomicU64::new(limits.revision()),
                last_seen_s: AtomicU64::new(now.as_secs()),
            })
        });
        Ok(tenant.clone())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::Limits;

    #[test]
    fn quiet_tenants_make_room_and_busy_ones_do_not() {
        let (tenants, limits) = (Tenants::new(10), LimitsBook::new(Limits::default()));
        let id = |i: usize| TenantId::new(&format!("t{i}")).unwrap();
        for i in 0..MAX_TENANTS {
            assert!(tenants.get(&id(i), &limits, Duration::from_secs(1)).is_ok());
        }
        assert_eq!(
            tenants.get(&id(MAX_TENANTS), &limits, Duration::from_secs(2)).err(),
            Some(TooManyTenants)
        );
        assert!(tenants.get(&id(0), &limits, Duration::from_secs(3000)).is_ok());
        assert!(tenants.get(&id(MAX_TENANTS), &limits, Duration::from_secs(3601)).is_ok());
        assert_eq!(tenants.map.read().len(), 2);
    }
}
