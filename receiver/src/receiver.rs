//! The receiver: what its requests share.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use cairn_model::storage::Appendable;
use cairn_runtime::Runtime;

use crate::admission::ByteBudget;
use crate::buffers::BufferPool;
use crate::config::{BudgetTooSmall, ReceiverConfig};
use crate::journal::Journal;
use crate::limits::LimitsBook;
use crate::metrics::ReceiverMetrics;
use crate::quarantine::Quarantine;
use crate::scratch::ScratchPool;
use crate::tenants::Tenants;
use crate::wire_keys::WireKeys;

/// Takes in write requests and hands them to a store.
pub struct Receiver {
    pub(crate) config: ReceiverConfig,
    pub(crate) runtime: Runtime,
    pub(crate) store: Arc<dyn Appendable>,
    pub(crate) limits: Arc<LimitsBook>,
    pub(crate) budget: ByteBudget,
    pub(crate) buffers: BufferPool,
    pub(crate) scratch: ScratchPool,
    pub(crate) tenants: Tenants,
    pub(crate) journal: Journal,
    pub(crate) quarantine: Quarantine,
    pub(crate) metrics: ReceiverMetrics,
    pub(crate) keys: Arc<WireKeys>,
    pub(crate) external: Arc<[String]>,
    pub(crate) held: ArcSwapOption<String>,
}

impl Receiver {
    /// A receiver that writes to `store`: the head of one node, or the router of a ring. Once a process, because
    /// it registers metrics.
    ///
    /// # Errors
    /// [`BudgetTooSmall`] when the settings contradict one another.
    pub fn new(
        config: ReceiverConfig,
        runtime: &Runtime,
        store: Arc<dyn Appendable>,
        limits: Arc<LimitsBook>,
    ) -> Result<Arc<Self>, BudgetTooSmall> {
        config.validate()?;
        let keep = config.quarantine_dir.clone().map(|dir| (runtime.disk.clone(), dir));
        Ok(Arc::new(Receiver {
            runtime: runtime.clone(),
            store,
            limits,
            budget: ByteBudget::new(config.admission_bytes, &runtime.metrics),
            buffers: BufferPool::default(),
            scratch: ScratchPool::default(),
            tenants: Tenants::new(config.max_known_series),
            journal: Journal::default(),
            quarantine: Quarantine::new(keep),
            metrics: ReceiverMetrics::new(&runtime.metrics),
            keys: Arc::new(WireKeys::new(&runtime.rng.fork())),
            external: config.external_labels.clone().into(),
            held: ArcSwapOption::empty(),
            config,
        }))
    }

    /// Answers every write with 503 and `reason` until it is `None` again: while the node is not ready, or while
    /// its clock is in doubt, when a verdict about time could refuse good samples for ever.
    pub fn hold(&self, reason: Option<String>) {
        self.held.store(reason.map(Arc::new));
    }

    /// What was refused lately.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }
}
