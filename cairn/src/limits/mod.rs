//! Limits of tenants, from a file that may change while cairn runs (`--receive.limits-config-file`).
//!
//! [`keys`] are the limits by name, [`file`] reads them, [`api`] shows those in force. [`LimitsInForce`] holds them for
//! the receiver (`LimitsBook`), the head (active series) and the engine ([`TenantBounds`]). A file that cannot be
//! read or understood changes nothing: the old limits stay, and a metric and the log say so.

mod api;
mod file;
mod keys;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cairn_model::PerTenant;
use cairn_model::tenant::TenantScope;
use cairn_promql::engine::{QueryBounds, TenantBounds};
use cairn_receiver::{Limits, LimitsBook, TenantLimits};
use cairn_runtime::{Disk, Runtime};
use parking_lot::Mutex;
use prometheus::{Gauge, IntGauge};
use tracing::{error, info, warn};

pub use api::routes;
use file::LimitsFile;

/// How often the file is looked at. Its content is compared, so that it does not matter how it was replaced.
/// Judgement: an operator waits that long without asking why; reading a small file costs nothing.
const WATCH_EVERY: Duration = Duration::from_secs(5);

/// Where limits are written.
#[derive(Debug, Clone)]
pub enum LimitsSource {
    /// Nowhere: everybody has the defaults.
    Defaults,
    /// On the command line.
    Inline(String),
    /// In a file, which is read again.
    File(PathBuf),
}

impl LimitsSource {
    /// How messages call it.
    fn name(&self) -> String {
        match self {
            LimitsSource::Defaults => "the defaults".to_owned(),
            LimitsSource::Inline(_) => "--receive.limits-config".to_owned(),
            LimitsSource::File(path) => format!("--receive.limits-config-file {}", path.display()),
        }
    }
}

/// Why limits are not in force.
#[derive(Debug, thiserror::Error)]
#[error("{origin}: {reason}")]
pub struct LimitsError {
    origin: String,
    reason: String,
}

/// The limits of all tenants.
pub struct LimitsInForce {
    /// What tenants may send.
    pub write: Arc<LimitsBook>,
    query: ArcSwap<PerTenant<QueryBounds>>,
    source: LimitsSource,
    /// What holds where the file says nothing.
    base: TenantLimits,
    disk: Arc<dyn Disk>,
    clock: Arc<dyn cairn_runtime::Clock>,
    /// What was read last, or why it could not be: a look that finds the same has nothing to do.
    seen: Mutex<Option<Result<String, String>>>,
    successful: IntGauge,
    success_s: Gauge,
}

impl LimitsInForce {
    /// Reads the limits. Blocks on the disk for a moment. Once a process, because it registers metrics.
    ///
    /// # Errors
    /// When the limits cannot be read or understood: a start must not go on without them.
    pub fn load(
        source: LimitsSource,
        base: TenantLimits,
        runtime: &Runtime,
    ) -> Result<Arc<Self>, LimitsError> {
        let m = &runtime.metrics;
        let limits = Arc::new(LimitsInForce {
            write: Arc::new(LimitsBook::new(Limits::same(base.clone()))),
            query: ArcSwap::default(),
            source,
            base,
            disk: runtime.disk.clone(),
            clock: runtime.clock.clone(),
            seen: Mutex::default(),
            successful: m.gauge(
                "cairn_limits_last_reload_successful",
                "Whether the limits of tenants as last read are in force (1), or older ones because they are broken (0).",
            ),
            success_s: m.float_gauge(
                "cairn_limits_last_reload_success_timestamp_seconds",
                "When limits of tenants were last put in force.",
            ),
        });
        limits.reload()?;
        Ok(limits)
    }

    /// Reads the limits again and puts them in force, for the next request and query. Blocks on the disk for a moment.
    ///
    /// # Errors
    /// When they cannot be read or understood; then the old ones stay in force.
    pub fn reload(&self) -> Result<(), LimitsError> {
        let text = self.read();
        self.put_in_force(text)
    }

    /// Whether the limits as last read are in force.
    pub fn is_current(&self) -> bool {
        self.successful.get() == 1
    }

    /// Follows the file until shutdown; returns at once when there is none.
    pub async fn watch(self: Arc<Self>, shutdown: cairn_runtime::Shutdown) {
        if !matches!(self.source, LimitsSource::File(_)) {
            return;
        }
        loop {
            tokio::select! {
                () = shutdown.begun() => return,
                () = self.clock.sleep(WATCH_EVERY) => self.look(),
            }
        }
    }

    /// Puts the file in force when it is another than at the last look.
    fn look(&self) {
        let text = self.read();
        if self.seen.lock().as_ref() == Some(&text) {
            return;
        }
        match self.put_in_force(text) {
            Ok(()) => info!("limits of tenants reloaded: {} has changed", self.source.name()),
            Err(e) => error!("limits of tenants are not reloaded, the old ones stay in force: {e}"),
        }
    }

    fn read(&self) -> Result<String, String> {
        match &self.source {
            LimitsSource::Defaults => Ok(String::new()),
            LimitsSource::Inline(text) => Ok(text.clone()),
            LimitsSource::File(path) => {
                let bytes = self.disk.read(path).map_err(|e| e.to_string())?;
                String::from_utf8(bytes).map_err(|_| "it is not UTF-8 text".to_owned())
            }
        }
    }

    fn put_in_force(&self, text: Result<String, String>) -> Result<(), LimitsError> {
        // Held until the end: two reloads at once must not leave one's text and the other's limits.
        let mut seen = self.seen.lock();
        let read = text.clone().and_then(|text| LimitsFile::parse(&text, &self.base));
        *seen = Some(text);
        self.successful.set(i64::from(read.is_ok()));
        let file = read.map_err(|reason| LimitsError { origin: self.source.name(), reason })?;
        if !file.without_effect.is_empty() {
            warn!("{}: without effect here: {}", self.source.name(), file.without_effect.join(", "));
        }
        // Known series are judged anew after a replacement, so equal limits are not replaced.
        if *self.write.all() != file.write {
            self.write.replace(file.write);
        }
        self.query.store(Arc::new(file.query));
        self.success_s.set(self.clock.now_ms() as f64 / 1000.0);
        Ok(())
    }
}

impl TenantBounds for LimitsInForce {
    /// Of several tenants the tightest bound of each kind; of all tenants, that is of a caller who names none, the
    /// defaults.
    fn bounds(&self, tenants: &TenantScope) -> QueryBounds {
        let query = self.query.load();
        match tenants {
            TenantScope::All => *query.default,
            TenantScope::Only(list) => {
                list.iter().map(|t| **query.of(t)).fold(QueryBounds::default(), QueryBounds::tighter)
            }
        }
    }
}

#[cfg(test)]
mod tests;
