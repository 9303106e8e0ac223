//! What a query may use up at most: of the engine, and of the tenants that it reads.

use std::time::Duration;

use cairn_model::tenant::TenantScope;

/// Bounds of one query. Zero bounds nothing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QueryBounds {
    /// Longest time.
    pub timeout: Duration,
    /// Samples in memory at a time.
    pub max_samples: u64,
    /// Series read.
    pub max_series: u64,
    /// Bytes of labels and chunks read.
    pub max_bytes: u64,
    /// Steps of the query or of a subquery.
    pub max_steps: u64,
}

impl QueryBounds {
    /// The tighter of each.
    pub fn tighter(self, other: Self) -> Self {
        QueryBounds {
            timeout: tighter(self.timeout, other.timeout),
            max_samples: tighter(self.max_samples, other.max_samples),
            max_series: tighter(self.max_series, other.max_series),
            max_bytes: tighter(self.max_bytes, other.max_bytes),
            max_steps: tighter(self.max_steps, other.max_steps),
        }
    }
}

fn tighter<T: Ord + Default>(a: T, b: T) -> T {
    let none = T::default();
    match (a == none, b == none) {
        (true, _) => b,
        (_, true) => a,
        _ => a.min(b),
    }
}

/// Knows what the queries of each tenant may use up. May change between two queries.
pub trait TenantBounds: Send + Sync {
    /// Bounds of a query that reads `tenants`.
    fn bounds(&self, tenants: &TenantScope) -> QueryBounds;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tighter_bound_holds_and_zero_bounds_nothing() {
        let engine =
            QueryBounds { timeout: Duration::from_secs(10), max_series: 5, ..QueryBounds::default() };
        let tenant = QueryBounds { timeout: Duration::from_secs(20), max_series: 3, max_bytes: 7, ..engine };
        let both = QueryBounds { max_series: 3, max_bytes: 7, ..engine };
        assert_eq!(engine.tighter(tenant), both);
        assert_eq!(tenant.tighter(engine), both);
    }
}
