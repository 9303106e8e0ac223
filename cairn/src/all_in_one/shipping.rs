//! The block way from the head to the bucket: windows that are due are closed, cut, shipped, and released when the
//! bucket's copy was verified.
//!
//! One round at a time. A step that fails is repeated in the next round from where the durable state says it stands;
//! unshipped data is never released. Local blocks go when they are older than the retention *and* the
//! bucket's copy was verified, or replaced by a compacted one.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use cairn_bucket::commit::{Committed, Job};
use cairn_bucket::ship::{Ship, Shipper};
use cairn_cluster::Coordinator;
use cairn_runtime::Runtime;
use cairn_tsdb::db::seal::window_of_block;
use cairn_tsdb::db::{Db, WindowId};
use prometheus::IntGauge;
use serde::{Deserialize, Serialize};
use tracing::warn;
use ulid::Ulid;

/// How often due windows are looked for; a window is due minutes after its end, so a second is soon enough.
const ROUND_EVERY: Duration = Duration::from_secs(1);

/// Name of the note beside a local block that the bucket has.
const SHIPPED: &str = "shipped.json";

/// Generations of one window that may be somebody else's before this looks like the wrong bucket.
const MAX_TAKEN_GENERATIONS: u32 = 100;

/// Content of [`SHIPPED`].
#[derive(Serialize, Deserialize)]
struct Shipped {
    generation: u32,
    /// Name of the bucket's copy; notes of older versions lack it, and the bucket's copy is then read as well.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    block: Option<String>,
}

/// Ships the blocks of one node.
pub struct Shipping {
    db: Arc<Db>,
    shipper: Shipper,
    coordinator: Arc<dyn Coordinator>,
    runtime: Runtime,
    retention: Duration,
    waiting: IntGauge,
}

impl Shipping {
    /// Local blocks stay for `retention` after they were cut.
    pub fn new(
        db: Arc<Db>,
        shipper: Shipper,
        coordinator: Arc<dyn Coordinator>,
        runtime: Runtime,
        retention: Duration,
    ) -> Arc<Self> {
        let help = "Closed windows that are not verified in the bucket yet.";
        let waiting = runtime.metrics.gauge("cairn_shipping_waiting_windows", help);
        Arc::new(Shipping { db, shipper, coordinator, runtime, retention, waiting })
    }

    /// Runs until shutdown.
    pub fn start(self: Arc<Self>) {
        self.recall();
        let (tasks, clock) = (self.runtime.tasks.clone(), self.runtime.clock.clone());
        tasks.spawn_loop("shipping", clock, move |shutdown| {
            let this = self.clone();
            async move {
                while !shutdown.has_begun() {
                    if let Err(e) = this.round().await {
                        warn!("shipping stands still, the data stays here and is tried again: {e:#}");
                    }
                    this.db.maintain().await;
                    tokio::select! {
                        () = shutdown.begun() => {}
                        () = this.runtime.clock.sleep(ROUND_EVERY) => {}
                    }
                }
            }
        });
    }

    async fn round(&self) -> Result<()> {
        let due = self.db.closed_windows(self.runtime.clock.now_ms()).await?;
        self.waiting.set(due.len() as i64);
        let mut failed = None;
        for window in &due {
            // One window that cannot be shipped does not hold up the others.
            if let Err(e) = self.ship(window).await.with_context(|| format!("cannot ship {window}")) {
                failed = Some(e);
                continue;
            }
            self.waiting.dec();
        }
        self.drop_old_blocks(&due).await?;
        failed.map_or(Ok(()), Err)
    }

    async fn ship(&self, window: &WindowId) -> Result<()> {
        let Some(meta) = self.db.cut(window).await? else {
            self.shipper.ship(None, &self.job(window, window.generation)).await?;
            return Ok(self.db.release(window).await?);
        };
        let folder = self.db.blocks_dir().join(meta.ulid.to_string());
        for generation in window.generation..window.generation.saturating_add(MAX_TAKEN_GENERATIONS) {
            let job = self.job(window, generation);
            match self.shipper.ship(Some((&folder, &meta)), &job).await? {
                Committed::Block { holds_source: true, ulid, .. } => {
                    self.remember(&folder, &Shipped { generation, block: Some(ulid.to_string()) })?;
                    self.db.blocks().note_copy(meta.ulid, ulid);
                    return Ok(self.db.release(window).await?);
                }
                // Somebody with other data was first: a wiped folder before an old bucket, or a cut that was made
                // anew. What is here is not in that block, so it gets one of its own.
                other => {
                    warn!(job = %job.key(), ?other, "the bucket has other data for this job, going on to the next")
                }
            }
        }
        bail!("the bucket has {MAX_TAKEN_GENERATIONS} generations of it already; is this its bucket?")
    }

    /// The upload job of a window. One replica group owns every slot while there is one voter, and names the group.
    fn job(&self, window: &WindowId, generation: u32) -> Job {
        let placement = self.coordinator.placement();
        let leader = placement.owners(0).first().map_or(0, |o| o.node);
        Job::upload(&window.tenant, &format!("n{leader}"), window.start_ms, window.end_ms, generation)
    }

    /// Notes beside the block under which generation and name the bucket has it.
    fn remember(&self, folder: &Path, shipped: &Shipped) -> Result<()> {
        let note = serde_json::to_vec(shipped)?;
        let path = folder.join(SHIPPED);
        self.runtime
            .disk
            .write_atomic(&path, &note)
            .with_context(|| format!("cannot write {}", path.display()))
    }

    /// What [`Shipping::remember`] noted, if it did.
    fn remembered(&self, folder: &Path) -> Option<Shipped> {
        let bytes = self.runtime.disk.read(&folder.join(SHIPPED)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Tells the local blocks which copies the bucket has, as noted before the last stop.
    fn recall(&self) {
        let blocks = self.db.blocks();
        for ulid in blocks.metas().iter().map(|m| m.ulid) {
            let shipped = self.remembered(&self.db.blocks_dir().join(ulid.to_string()));
            if let Some(copy) = shipped.and_then(|s| Ulid::from_string(&s.block?).ok()) {
                blocks.note_copy(ulid, copy);
            }
        }
    }

    /// Removes local blocks past the retention whose job the bucket has verified.
    async fn drop_old_blocks(&self, waiting: &[WindowId]) -> Result<()> {
        let waiting: BTreeSet<&WindowId> = waiting.iter().collect();
        let oldest_ms = self.runtime.clock.now_ms() - self.retention.as_millis() as i64;
        let blocks = self.db.blocks();
        let mut removed = false;
        for meta in blocks.metas() {
            let Some(window) = window_of_block(&meta) else { continue };
            if meta.ulid.timestamp_ms() as i64 > oldest_ms || waiting.contains(&window) {
                continue;
            }
            let folder = self.db.blocks_dir().join(meta.ulid.to_string());
            let Some(shipped) = self.remembered(&folder) else { continue };
            if !self.shipper.committer().may_release(&self.job(&window, shipped.generation)).await? {
                continue;
            }
            self.runtime
                .disk
                .remove_dir_all(&folder)
                .with_context(|| format!("cannot remove {}", folder.display()))?;
            removed = true;
        }
        if removed {
            blocks.reload()?;
        }
        Ok(())
    }
}
