//! What all groups share: the ways out (engine, write path, notifier, control plane) and the settings.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_cluster::Coordinator;
use cairn_model::storage::Appendable;
use cairn_model::tenant::TenantScope;
use cairn_model::{Labels, TenantId};
use cairn_notify::Notifier;
use cairn_promql::parser::Features;
use cairn_runtime::Runtime;
use tokio::sync::Semaphore;

use crate::expand::Surroundings;
use crate::metrics::RulerMetrics;
use crate::seams::Evaluator;

/// Where rules read, write and tell.
#[derive(Clone)]
pub struct RulerParts {
    /// Answers queries.
    pub evaluator: Arc<dyn Evaluator>,
    /// Takes results: the write path of the whole ring.
    pub writer: Arc<dyn Appendable>,
    /// Tells Alertmanagers.
    pub notifier: Arc<Notifier>,
    /// Hands out groups.
    pub coordinator: Arc<dyn Coordinator>,
}

/// Settings, named as the flags are.
#[derive(Debug, Clone)]
pub struct RulerOptions {
    /// `--rule-file`: paths, with `*`, `?` and `[…]` in their parts.
    pub rule_files: Vec<String>,
    /// Whom results belong to.
    pub tenant: TenantId,
    /// Whose data rules read.
    pub reads: TenantScope,
    /// Labels that reading adds to each series of this tenant and writing would refuse: taken off results.
    pub implied_labels: Labels,
    /// `--label`: added to alerts that do not have them; `$externalLabels` in templates.
    pub external_labels: Labels,
    /// Where this installation is reached from outside; without a slash at its end.
    pub external_url: String,
    /// `--eval-interval`: of groups that name none.
    pub evaluation_interval_ms: i64,
    /// `--rule-query-offset`: of groups that name none.
    pub query_offset_ms: i64,
    /// `--resend-delay`: alerts that go on firing are told again after this.
    pub resend_delay_ms: i64,
    /// `--for-outage-tolerance`: older `for` states are not restored.
    pub for_outage_tolerance_ms: i64,
    /// `--for-grace-period`: rules with a shorter `for` are not restored, others wait at least this long after a restart.
    pub for_grace_period_ms: i64,
    /// `--rule-concurrent-evaluation`: rules evaluated at once, all groups together.
    pub concurrent_evaluations: usize,
    /// `--enable-feature`: experimental parts of the language that rules may use.
    pub features: Features,
    /// File that remembers how far each group got; `None`: nothing is made up after a restart.
    pub progress_file: Option<std::path::PathBuf>,
}

impl Default for RulerOptions {
    fn default() -> Self {
        let tenant = TenantId::default_tenant();
        RulerOptions {
            rule_files: Vec::new(),
            reads: TenantScope::Only(vec![tenant.clone()]),
            tenant,
            implied_labels: Labels::empty(),
            external_labels: Labels::empty(),
            external_url: String::new(),
            evaluation_interval_ms: 60_000,
            query_offset_ms: 0,
            resend_delay_ms: 60_000,
            for_outage_tolerance_ms: 60 * 60_000,
            for_grace_period_ms: 10 * 60_000,
            concurrent_evaluations: 4,
            features: Features::default(),
            progress_file: None,
        }
    }
}

/// Shared by all groups.
pub(crate) struct Context {
    pub parts: RulerParts,
    pub options: RulerOptions,
    pub surroundings: Surroundings,
    pub runtime: Runtime,
    pub metrics: RulerMetrics,
    /// One permit an evaluation.
    pub evaluations: Semaphore,
}

impl Context {
    pub fn new(parts: RulerParts, options: RulerOptions, runtime: Runtime) -> Context {
        let external: BTreeMap<String, String> =
            options.external_labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        Context {
            surroundings: Surroundings {
                external_labels: Arc::new(external),
                external_url: options.external_url.as_str().into(),
            },
            metrics: RulerMetrics::new(&runtime.metrics),
            evaluations: Semaphore::new(options.concurrent_evaluations.max(1)),
            parts,
            options,
            runtime,
        }
    }

    /// A result's labels without those that reading added.
    pub fn own_labels(&self, labels: Labels) -> Labels {
        let implied = &self.options.implied_labels;
        match labels.iter().any(|(name, value)| implied.get(name) == Some(value)) {
            true => {
                let has_implied_value =
                    |name: &str| implied.get(name).is_some_and(|v| labels.get(name) == Some(v));
                labels.filtered(|name| !has_implied_value(name))
            }
            false => labels,
        }
    }
}
