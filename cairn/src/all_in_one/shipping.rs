//! The block way from the head to the bucket: windows that are due are closed, cut, shipped, and released when the
//! bucket's copy was verified.
//!
//! One round at a time. A step that fails is repeated in the next round from where the durable state says it stands;
//! unshipped data is never released. Local blocks go when they are older than the retention *and* their job is
//! verified in the bucket.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use cairn_bucket::commit::Job;
use cairn_bucket::ship::{Ship, Shipper};
use cairn_cluster::Coordinator;
use cairn_runtime::Runtime;
use cairn_tsdb::db::seal::window_of_block;
use cairn_tsdb::db::{Db, WindowId};
use prometheus::IntGauge;
use tracing::warn;

/// How often due windows are looked for; a window is due minutes after its end, so a second is soon enough.
const ROUND_EVERY: Duration = Duration::from_secs(1);

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
        let block = self.db.cut(window).await?;
        let folder = block.as_ref().map(|meta| self.db.blocks_dir().join(meta.ulid.to_string()));
        let source = folder.as_deref().zip(block.as_ref());
        self.shipper.ship(source, &self.job(window)).await?;
        self.db.release(window).await?;
        Ok(())
    }

    /// The upload job of a window. One replica group owns every slot while there is one voter, and names the group.
    fn job(&self, window: &WindowId) -> Job {
        let placement = self.coordinator.placement();
        let leader = placement.owners(0).first().map_or(0, |o| o.node);
        let group = format!("n{leader}");
        Job::upload(&window.tenant, &group, window.start_ms, window.end_ms, window.generation)
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
            if self.shipper.committer().verified(&self.job(&window)).await?.is_none() {
                continue;
            }
            let folder = self.db.blocks_dir().join(meta.ulid.to_string());
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
