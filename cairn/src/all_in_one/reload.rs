//! What is read again while cairn runs: rules and limits, on SIGHUP and on `POST /-/reload`.
//!
//! Each is reloaded for itself: broken rules do not keep new limits from being in force. What fails keeps its old
//! state and shows in the log, in the answer, and in its metric.

use std::sync::Arc;

use anyhow::Result;
use axum::Router;
use axum::extract::State;
use axum::routing::post;
use cairn_net::ApiError;
use cairn_ruler::Ruler;
use cairn_runtime::Runtime;
use tracing::{error, info};

use crate::limits::LimitsInForce;

/// What can be reloaded.
#[derive(Clone)]
pub struct Reload {
    /// Rule files.
    pub ruler: Ruler,
    /// Limits of tenants.
    pub limits: Arc<LimitsInForce>,
}

impl Reload {
    /// Reloads everything; the error names all that failed.
    async fn all(&self) -> Result<(), String> {
        let limits = self.limits.reload().map_err(|e| format!("limits of tenants: {e}"));
        let rules = self.ruler.reload().await.map_err(|e| format!("rules: {e}"));
        let failed: Vec<String> = [rules, limits].into_iter().filter_map(Result::err).collect();
        if failed.is_empty() { Ok(()) } else { Err(failed.join("; ")) }
    }

    /// `POST /-/reload`.
    pub fn routes(self) -> Router {
        Router::new().route("/-/reload", post(answer).put(answer)).with_state(self)
    }

    /// Reloads at every SIGHUP, and limits whenever their file changes.
    pub fn start(self, runtime: &Runtime) -> Result<()> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut hangup = signal(SignalKind::hangup())?;
        let shutdown = runtime.tasks.shutdown().clone();
        let limits = self.limits.clone();
        runtime
            .tasks
            .spawn_loop("limits", runtime.clock.clone(), move |shutdown| limits.clone().watch(shutdown));
        runtime.tasks.spawn("reload", async move {
            loop {
                tokio::select! {
                    () = shutdown.begun() => return,
                    _ = hangup.recv() => {}
                }
                match self.all().await {
                    Ok(()) => info!("rules and limits reloaded"),
                    Err(e) => error!("not reloaded, the old state stays in force: {e}"),
                }
            }
        });
        Ok(())
    }
}

async fn answer(State(reload): State<Reload>) -> Result<&'static str, ApiError> {
    reload.all().await.map_err(|e| ApiError::Internal(format!("failed to reload config: {e}")))?;
    Ok("")
}
