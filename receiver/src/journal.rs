//! The last refusals of the node, for `/api/v1/status/rejected`: who sends what that is not stored, and why.

use std::collections::VecDeque;

use cairn_model::batch::Rejection;
use cairn_model::tenant::TenantScope;
use cairn_model::{TenantId, TimestampMs};
use parking_lot::Mutex;

/// Refusals that are kept. At most 1 KiB each.
pub const MAX_KEPT: usize = 1000;
/// Refusals that one request adds, so that one sender cannot push out all others at once.
const MAX_A_REQUEST: usize = 10;

/// The journal.
#[derive(Default)]
pub struct Journal {
    entries: Mutex<VecDeque<Entry>>,
}

/// One refusal.
#[derive(Debug, Clone, PartialEq)]
pub struct Entry {
    /// When it was refused.
    pub at_ms: TimestampMs,
    /// Whose data it was.
    pub tenant: TenantId,
    /// What was refused and why.
    pub rejection: Rejection,
}

impl Journal {
    /// Adds the first refusals of a request.
    pub fn add(&self, tenant: &TenantId, at_ms: TimestampMs, rejections: &[Rejection]) {
        let mut entries = self.entries.lock();
        for rejection in rejections.iter().take(MAX_A_REQUEST) {
            if entries.len() == MAX_KEPT {
                entries.pop_front();
            }
            entries.push_back(Entry { at_ms, tenant: tenant.clone(), rejection: rejection.clone() });
        }
    }

    /// The newest refusals of `tenants`, newest first, `limit` at most.
    pub fn newest(&self, tenants: &TenantScope, limit: usize) -> Vec<Entry> {
        let entries = self.entries.lock();
        entries.iter().rev().filter(|e| tenants.contains(e.tenant.as_str())).take(limit).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::batch::RejectReason;

    fn refusal(labels: &str) -> Rejection {
        Rejection {
            series: None,
            labels: labels.into(),
            t_ms: None,
            samples: 1,
            reason: RejectReason::NoSamples,
        }
    }

    #[test]
    fn the_newest_are_kept_and_tenants_see_their_own() {
        let journal = Journal::default();
        let (a, b) = (TenantId::new("a").unwrap(), TenantId::new("b").unwrap());
        for i in 0..MAX_KEPT as i64 {
            journal.add(&a, i, &[refusal(&i.to_string())]);
        }
        journal.add(&b, 7, &vec![refusal("flood"); 5000]);
        assert_eq!(journal.newest(&TenantScope::All, usize::MAX).len(), MAX_KEPT);
        let of_b = journal.newest(&TenantScope::Only(vec![b]), usize::MAX);
        assert_eq!(of_b.len(), MAX_A_REQUEST);
        let of_a = journal.newest(&TenantScope::Only(vec![a]), 1);
        assert_eq!(&*of_a[0].rejection.labels, "999");
    }
}
