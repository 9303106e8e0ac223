//! Memory while samples are appended: whether there is any ([`crate::head::room`]), and that it comes in time.

use std::time::Duration;

use cairn_model::storage::AppendError;
use tracing::warn;

use super::Db;
use crate::head::room::Room;

/// What a sender is told to wait when there is no memory: long beside a request, short beside its buffers.
const RETRY_AFTER_S: u32 = 5;

impl Db {
    /// Refuses everything while the process is at its limit.
    pub(super) fn check_memory(&self, now: Duration) -> Result<(), AppendError> {
        if self.head.memory.is_due(now) {
            self.measure_memory();
        }
        if self.head.memory.room() != Room::Nothing {
            return Ok(());
        }
        self.metrics.memory_refused.with_label_values(&["request"]).inc();
        let (_, used) = self.head.memory.measured();
        let reason = format!(
            "the process uses {used} bytes of memory and may use {}: raise --memory.limit, or wait for queries to end",
            self.options.memory.process
        );
        Err(AppendError::Unavailable { reason, retry_after_s: RETRY_AFTER_S })
    }

    /// Counts series that were added: now and then the head is measured.
    pub(super) fn note_created(&self, series: u64) {
        if self.head.memory.count(series) {
            self.measure_memory();
        }
    }

    fn measure_memory(&self) {
        self.head.memory.measure(&self.options.memory, || self.head_bytes() as u64);
    }

    /// What is said when all but `series` new series of a request are stored.
    pub(super) fn no_room_for(&self, series: u64) -> AppendError {
        self.metrics.memory_refused.with_label_values(&["series"]).inc_by(series);
        let (used, _) = self.head.memory.measured();
        let reason = format!(
            "no memory for {series} new series, the rest is stored: the head uses {used} bytes and may use {}; raise \
             --memory.limit or lower head_series_limit of the tenant, or wait until series have left with their windows",
            self.options.memory.head
        );
        AppendError::Unavailable { reason, retry_after_s: RETRY_AFTER_S }
    }

    /// Makes memory beside the requests, so that none waits for it.
    pub(super) fn bring_memory(&self) {
        let (cpu, head) = (self.runtime.cpu.clone(), self.head.clone());
        self.runtime.tasks.spawn("memory", async move {
            if let Err(e) = cpu.run_blocking(move || head.bring_memory()).await {
                warn!(error = %e, "cannot make memory before it is needed: requests will wait for it");
            }
        });
    }
}
