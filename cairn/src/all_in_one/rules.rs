//! The ruler with its ways in and out: engine, write path, Alertmanagers, control plane.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use cairn_cluster::Coordinator;
use cairn_model::external::ExternalLabels;
use cairn_model::storage::Appendable;
use cairn_model::tenant::TenantScope;
use cairn_notify::{HttpTransport, Notifier, NotifierOptions};
use cairn_promql::Engine;
use cairn_query::Fanout;
use cairn_ruler::{EngineEvaluator, Ruler, RulerOptions, RulerParts};
use cairn_runtime::Runtime;

use super::settings::Settings;
use crate::config::ServeFlags;

/// How long one request to an Alertmanager may take; Prometheus' default.
const ALERTMANAGER_TIMEOUT: Duration = Duration::from_secs(10);

/// What the ruler works with.
pub struct Surroundings {
    /// Evaluates.
    pub engine: Engine,
    /// What is read.
    pub fanout: Fanout,
    /// Where results go.
    pub writes: Arc<dyn Appendable>,
    /// Hands out groups.
    pub coordinator: Arc<dyn Coordinator>,
}

/// Loads the rules and starts them.
///
/// # Errors
/// When a rule file cannot be read or does not hold valid rules.
pub async fn start(
    runtime: &Runtime,
    flags: &ServeFlags,
    settings: &Settings,
    around: Surroundings,
    http_address: String,
) -> Result<Ruler> {
    let transport =
        HttpTransport::new(ALERTMANAGER_TIMEOUT).context("cannot set up the Alertmanager client")?;
    let outbox = NotifierOptions {
        alertmanagers: settings.alertmanagers.clone(),
        outbox_dir: Some(flags.data_dir.join("outbox")),
    };
    let notifier = Arc::new(Notifier::new(outbox, Arc::new(transport), runtime));
    notifier.start(runtime);
    let external_url = flags.external_url.clone().unwrap_or_else(|| format!("http://{http_address}"));
    let tenant = settings.default_tenant.clone();
    let options = RulerOptions {
        rule_files: flags.rule_file.clone(),
        reads: TenantScope::Only(vec![tenant.clone()]),
        implied_labels: ExternalLabels::for_tenant(&tenant, &settings.external_labels).labels().clone(),
        tenant,
        external_labels: settings.external_labels.clone(),
        external_url: external_url.trim_end_matches('/').to_owned(),
        evaluation_interval_ms: flags.eval_interval.0.as_millis() as i64,
        resend_delay_ms: flags.resend_delay.0.as_millis() as i64,
        features: around.engine.options().features,
        progress_file: Some(flags.data_dir.join("rules-progress.json")),
        ..RulerOptions::default()
    };
    let parts = RulerParts {
        evaluator: Arc::new(EngineEvaluator::new(around.engine, Arc::new(around.fanout))),
        writer: around.writes,
        notifier,
        coordinator: around.coordinator,
    };
    let ruler = Ruler::new(parts, options, runtime);
    ruler.reload().await?;
    Ok(ruler)
}

/// `/api/v1/rules` and what belongs to it.
pub fn routes(ruler: Ruler, runtime: &Runtime) -> Router {
    // Dashboards of other origins read rules as they read queries.
    cairn_query::api::edge(cairn_ruler::api::router(ruler), runtime.cpu.clone())
}
