//! One call for series or label lists, within what the tenants that it reads may use up: the bounds that hold for their
//! queries hold for it.
//!
//! Stores are told how much the answer may hold, and stop when the call is dropped or out of time.

use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use cairn_model::memory_share::Held;
use cairn_model::tenant::TenantScope;
use cairn_model::{Cancel, CancelOnDrop, ReadBounds};
use cairn_promql::Engine;
use cairn_runtime::Clock;
use futures::future::{Either, select};

/// A call under way. When it is dropped, stores stop reading for it.
pub struct Reading {
    bounds: ReadBounds,
    timeout: Duration,
    clock: Arc<dyn Clock>,
    _gone: CancelOnDrop,
}

impl Reading {
    /// Begins a call that reads `tenants`.
    pub fn begin(engine: &Engine, tenants: &TenantScope) -> Self {
        let may = engine.bounds_of(tenants);
        let cancel = Cancel::new();
        let bounds = ReadBounds {
            max_series: may.max_series,
            max_bytes: may.max_bytes,
            held: Held::of(engine.options().memory.clone()),
            cancel: cancel.clone(),
        };
        let clock = engine.options().clock.clone();
        Reading { bounds, timeout: may.timeout, clock, _gone: CancelOnDrop(cancel) }
    }

    /// What each request of the call may read.
    pub fn bounds(&self) -> &ReadBounds {
        &self.bounds
    }

    /// Waits for `work`, all that the call waits for, or answers `late` when its time is up.
    ///
    /// # Errors
    /// Those of `work`, and `late`.
    pub async fn in_time<T, E>(&self, late: E, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
        match select(pin!(work), self.clock.sleep(self.timeout)).await {
            Either::Left((done, _)) => done,
            Either::Right(_) => Err(late),
        }
    }
}
