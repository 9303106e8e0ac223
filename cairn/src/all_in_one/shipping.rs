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
use cairn_runtime::{Runtime, Shutdown};
use cairn_tsdb::block::DELETED_SUFFIX;
use cairn_tsdb::db::seal::window_of_block;
use cairn_tsdb::db::{Db, WindowId};
use cairn_tsdb::meta::BlockMeta;
use prometheus::IntGauge;
use serde::{Deserialize, Serialize};
use tracing::warn;
use ulid::Ulid;

use super::bucket::Proof;

/// How often due windows are looked for; a window is due minutes after its end, so a second is soon enough.
const ROUND_EVERY: Duration = Duration::from_secs(1);

/// Time between two looks for full chunks. Judgement: at a million samples a second some hundred kilobytes are waiting
/// then.
const WRITE_OUT_EVERY: Duration = Duration::from_millis(200);

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

    /// Runs until shutdown. Nothing is shipped before the bucket has proven itself.
    pub fn start(self: Arc<Self>, proof: Proof) {
        self.recall();
        let (tasks, clock) = (self.runtime.tasks.clone(), self.runtime.clock.clone());
        let (shipping, keeping) = (self.clone(), self);
        tasks.spawn_loop("shipping", clock.clone(), move |shutdown| {
            let (this, proof) = (shipping.clone(), proof.clone());
            async move {
                if !proof.proven(&shutdown).await {
                    return;
                }
                while !shutdown.has_begun() {
                    if let Err(e) = this.round().await {
                        warn!("shipping stands still, the data stays here and is tried again: {e:#}");
                    }
                    this.pause(ROUND_EVERY, &shutdown).await;
                }
            }
        });
        // On their own: a slow bucket must not keep head chunks in memory and segments on the disk, and a snapshot must
        // not keep head chunks.
        let writing_out = keeping.clone();
        tasks.spawn_loop("maintenance", clock.clone(), move |shutdown| {
            let this = keeping.clone();
            async move {
                while !shutdown.has_begun() {
                    this.db.maintain().await;
                    crate::allocator::give_back();
                    this.pause(ROUND_EVERY, &shutdown).await;
                }
            }
        });
        tasks.spawn_loop("head chunks", clock, move |shutdown| {
            let this = writing_out.clone();
            async move {
                while !shutdown.has_begun() {
                    this.db.write_full_chunks().await;
                    this.pause(WRITE_OUT_EVERY, &shutdown).await;
                }
            }
        });
    }

    async fn pause(&self, time: Duration, shutdown: &Shutdown) {
        tokio::select! {
            () = shutdown.begun() => {}
            () = self.runtime.clock.sleep(time) => {}
        }
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
        self.ship_block(window, &meta).await?;
        Ok(self.db.release(window).await?)
    }

    /// Takes a local block to the bucket under the first generation that is not somebody else's, and notes which.
    async fn ship_block(&self, window: &WindowId, meta: &BlockMeta) -> Result<()> {
        let folder = self.db.blocks_dir().join(meta.ulid.to_string());
        for generation in window.generation..window.generation.saturating_add(MAX_TAKEN_GENERATIONS) {
            let job = self.job(window, generation);
            match self.shipper.ship(Some((&folder, meta)), &job).await? {
                Committed::Block { holds_source: true, ulid, .. } => {
                    self.remember(&folder, &Shipped { generation, block: Some(ulid.to_string()) }).await?;
                    self.db.blocks().note_copy(meta.ulid, ulid);
                    return Ok(());
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
    async fn remember(&self, folder: &Path, shipped: &Shipped) -> Result<()> {
        let note = serde_json::to_vec(shipped)?;
        let (disk, path) = (self.runtime.disk.clone(), folder.join(SHIPPED));
        let cannot = format!("cannot write {}", path.display());
        let writing = self.runtime.cpu.run_blocking(move || disk.write_atomic(&path, &note));
        writing.await?.context(cannot)
    }

    /// What [`Shipping::remember`] noted, if it did.
    fn remembered(&self, folder: &Path) -> Option<Shipped> {
        let bytes = self.runtime.disk.read(&folder.join(SHIPPED)).ok()?;
        serde_json::from_slice(&bytes).ok()
    }

    /// Tells the local blocks which copies the bucket has, as noted before the last stop.
    fn recall(&self) {
        let blocks = self.db.blocks();
        let aside = blocks.quarantined().into_iter().map(|q| q.folder);
        let sound = blocks.metas().into_iter().map(|m| self.db.blocks_dir().join(m.ulid.to_string()));
        for folder in sound.chain(aside).collect::<Vec<_>>() {
            let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
            let Ok(ulid) = Ulid::from_string(&name) else { continue };
            let shipped = self.remembered(&folder);
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
        let (mut removed, mut failed) = (false, None);
        for meta in blocks.metas() {
            let Some(window) = window_of_block(&meta) else { continue };
            if meta.ulid.timestamp_ms() as i64 > oldest_ms || waiting.contains(&window) {
                continue;
            }
            // One block that cannot be dropped does not keep the others.
            match self.drop_block(&window, &meta).await {
                Ok(dropped) => removed |= dropped,
                Err(e) => failed = Some(e.context(format!("cannot drop local block {}", meta.ulid))),
            }
        }
        if removed {
            blocks.reload()?;
        }
        failed.map_or(Ok(()), Err)
    }

    /// Removes a local block whose job the bucket has verified; `false` when it has not.
    async fn drop_block(&self, window: &WindowId, meta: &BlockMeta) -> Result<bool> {
        let folder = self.db.blocks_dir().join(meta.ulid.to_string());
        let Some(shipped) = self.remembered(&folder) else {
            // It was replaced by another cut before it was shipped; what it holds may be nowhere else.
            self.ship_block(window, meta).await?;
            return Ok(false);
        };
        if !self.shipper.committer().may_release(&self.job(window, shipped.generation)).await? {
            return Ok(false);
        }
        // Under a name that the next start removes, or a crash in the middle would leave half a block.
        let gone = self.db.blocks_dir().join(format!("{}{DELETED_SUFFIX}", meta.ulid));
        let disk = &self.runtime.disk;
        disk.rename(&folder, &gone).with_context(|| format!("cannot rename {}", folder.display()))?;
        disk.remove_dir_all(&gone).with_context(|| format!("cannot remove {}", gone.display()))?;
        Ok(true)
    }
}
