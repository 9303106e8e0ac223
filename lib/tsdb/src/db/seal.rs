//! The life of a window after its end: closed, cut, verified, released.
//!
//! Each step is made durable before it takes effect. A crash between two repeats the step: a closed window is cut
//! again (or its block found), a released one is not replayed.
//!
//! Invariant: a generation is released only after the caller says that its block was verified, or after it turned
//! out to be empty; late samples are never refused, they go to the next generation (ADR 0001, 6 and 7).

use std::fmt;
use std::sync::Arc;

use cairn_model::{TenantId, TimestampMs};
use serde_json::json;
use tracing::{info, warn};
use ulid::Ulid;

use super::Db;
use super::cut::{cut, holds};
use super::maintain::PendingRelease;
use crate::block::BlockReader;
use crate::error::TsdbError;
use crate::head::series::WindowNo;
use crate::head::side::{Generations, PartKey};
use crate::head::tenant::Tenant;
use crate::meta::{BlockMeta, Compaction, ThanosMeta};
use crate::wal::log::CommitError;
use crate::wal::record::{Control, ControlKind};

/// Closed windows that are remembered for a tenant; older ones share one generation for late samples.
const MAX_CLOSED_WINDOWS: usize = 512;

/// Attempts to write a fence before the disk counts as failing.
const MAX_ATTEMPTS: usize = 4;

/// A sealed generation of a window: the unit that is cut, shipped and released.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct WindowId {
    /// Whose.
    pub tenant: TenantId,
    /// First time of the window.
    pub start_ms: TimestampMs,
    /// First time after it.
    pub end_ms: TimestampMs,
    /// 0 for the samples that came in time, then one more for each batch of late ones.
    pub generation: u32,
}

impl fmt::Display for WindowId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "window {}..{} of {}, generation {}",
            self.start_ms, self.end_ms, self.tenant, self.generation
        )
    }
}

impl Db {
    /// Closes the windows that are due at `now_ms` and gives all sealed generations that are not released, oldest
    /// first. Writers wait some microseconds a window.
    ///
    /// # Errors
    /// [`TsdbError::Io`] when a fence cannot be written; windows closed before stay closed.
    pub async fn closed_windows(&self, now_ms: TimestampMs) -> Result<Vec<WindowId>, TsdbError> {
        let _one_at_a_time = self.sealing.lock().await;
        if self.early.is_replaying() {
            return Ok(Vec::new());
        }
        let timing = self.options.timing();
        let mut sealed = Vec::new();
        for tenant in self.head.tenants.all() {
            // A window whose fence could not be written is closed in memory only. Nothing is cut or released before the
            // fence is durable: at the next start the log would count later samples to the generation that was let go.
            let unfenced: Vec<_> =
                self.unfenced.lock().range((tenant.number, 0)..).map(|(k, g)| (*k, *g)).collect();
            for ((_, window), generation) in unfenced.into_iter().filter(|((t, _), _)| *t == tenant.number) {
                self.close(&tenant, window, Some(generation)).await?;
            }
            let due = tenant.windows.lock().due(now_ms, &timing);
            for window in due {
                self.close(&tenant, window, None).await?;
            }
            if tenant.windows.lock().iter().count() > MAX_CLOSED_WINDOWS {
                // Behind the fence, so that windows and partitions never differ on a late sample's generation.
                let _fence = self.journal.fence();
                let Some(floor) = tenant.windows.lock().forget_oldest(MAX_CLOSED_WINDOWS) else { continue };
                for partition in &self.head.partitions {
                    partition.write().set_floor(tenant.number, floor);
                }
            }
            let windows = tenant.windows.lock();
            let waiting = windows.iter().filter(|(_, w)| w.sealed);
            sealed.extend(waiting.map(|(n, w)| self.window_id(&tenant, n, w.accepting - 1)));
        }
        sealed.sort_by_key(|w| (w.start_ms, w.tenant.clone()));
        Ok(sealed)
    }

    fn window_id(&self, tenant: &Tenant, window: WindowNo, generation: u32) -> WindowId {
        let length_ms = self.head.options.window_ms;
        let start_ms = i64::from(window) * length_ms;
        WindowId { tenant: tenant.id.clone(), start_ms, end_ms: start_ms + length_ms, generation }
    }

    /// The fence: every sample applied before belongs to the sealed generation, every later one to the next. `sealed` is
    /// the generation that an earlier call closed in memory without getting its fence onto the disk.
    async fn close(
        &self,
        tenant: &Arc<Tenant>,
        window: WindowNo,
        mut sealed: Option<u32>,
    ) -> Result<(), TsdbError> {
        // Every open chunk ends: up to a second of computing with a million series.
        let (head, whose) = (self.head.clone(), tenant.clone());
        let left = self.runtime.cpu.run(move || head.leave_window(&whose, window)).await;
        left.map_err(|_| TsdbError::corrupt("the head", 0, "ending its open chunks ended by a panic"))?;
        for _ in 0..MAX_ATTEMPTS {
            let (generation, outcome) = {
                let fence = self.journal.fence();
                // Before the window is closed: a new segment's table is of the time before the fence.
                let segment = fence.segment(&self.head);
                let generation = match sealed {
                    None => {
                        let Some(generation) = tenant.windows.lock().close(window) else { return Ok(()) };
                        self.head.close(tenant, window, generation);
                        generation
                    }
                    // The fence before was not written: what came since then is before this one.
                    Some(generation) => {
                        self.head.reopen_into(tenant, window, generation);
                        generation
                    }
                };
                self.unfenced.lock().insert((tenant.number, window), generation);
                let control = self.control(tenant, window, ControlKind::Closed, generation);
                (generation, fence.submit_controls(&[control], segment))
            };
            sealed = Some(generation);
            self.journal.log().drive();
            match outcome.await.unwrap_or(Err(CommitError::Closed)) {
                Ok(()) => {
                    self.unfenced.lock().remove(&(tenant.number, window));
                    return Ok(());
                }
                Err(CommitError::SegmentLost) => {}
                Err(e) => return Err(self.log_error(e)),
            }
        }
        Err(self.log_error(CommitError::SegmentLost))
    }

    fn control(&self, tenant: &Tenant, window: WindowNo, what: ControlKind, generation: u32) -> Control {
        let length_ms = self.head.options.window_ms;
        let window_ms = i64::from(window) * length_ms;
        Control { what, tenant: tenant.id.to_string(), window_ms, length_ms: length_ms as u64, generation }
    }

    fn log_error(&self, e: CommitError) -> TsdbError {
        let object = self.options.dir.join(super::WAL_DIR).display().to_string();
        TsdbError::Io { verb: "write a fence to", object, source: std::io::Error::other(e.to_string()) }
    }

    /// Cuts a sealed generation into a block below [`Db::blocks_dir`], which answers reads from then on; `None`
    /// when it holds no sample. A block that an earlier attempt wrote is found again when it holds all of it.
    ///
    /// # Errors
    /// [`TsdbError::Io`], [`TsdbError::Invalid`] when `id` names no sealed generation.
    pub async fn cut(&self, id: &WindowId) -> Result<Option<BlockMeta>, TsdbError> {
        let _one_at_a_time = self.sealing.lock().await;
        let (tenant, key) = self.sealed_generation(id)?;
        let which = self.unreleased(&tenant, key);
        if let Some(found) = self.find_block(id, &tenant, which).await? {
            self.cuts.lock().insert(id.clone(), found.ulid);
            return Ok(Some(found));
        }
        let meta = self.block_meta(id, &tenant);
        let (head, disk, dir) = (self.head.clone(), self.runtime.disk.clone(), self.blocks_dir());
        let job = move || cut(&head, &tenant, &which, (&*disk, &dir), meta);
        let object = || id.to_string();
        let cut = self.runtime.cpu.run_behind(job).await;
        let cut = cut.map_err(|_| TsdbError::corrupt(object(), 0, "cutting ended by a panic"))?;
        if let Err(TsdbError::Corrupt { .. }) = &cut {
            // A snapshot names the head-chunk file that is damaged; the log has its samples.
            self.remove_snapshots();
        }
        let meta = cut?;
        if let Some(meta) = &meta {
            self.metrics.blocks_cut.inc();
            info!(ulid = %meta.ulid, series = meta.stats.num_series, samples = meta.stats.num_samples, "cut {id}");
            self.blocks.reload()?;
            self.cuts.lock().insert(id.clone(), meta.ulid);
        }
        Ok(meta)
    }

    /// What a cut of the sealed generation takes: everything before it too that is not released. Usually that is
    /// nothing; a sample counted to an older generation (see [`crate::head::windows`]) must not be left behind.
    fn unreleased(&self, tenant: &Tenant, key: PartKey) -> Generations {
        let pending = self.pending_releases.lock();
        let released =
            pending.iter().filter(|p| p.tenant.number == tenant.number && p.key.window == key.window);
        let from = released.map(|p| p.key.generation + 1).max().unwrap_or(0).min(key.generation);
        Generations { window: key.window, from, through: key.generation }
    }

    /// A block that an earlier attempt wrote and that holds all that the head has of the generation.
    async fn find_block(
        &self,
        id: &WindowId,
        tenant: &Arc<Tenant>,
        which: Generations,
    ) -> Result<Option<BlockMeta>, TsdbError> {
        let of_generation = |m: &BlockMeta| window_of_block(m).as_ref() == Some(id);
        let known = self.cuts.lock().get(id).copied();
        for meta in self.blocks.metas_where(of_generation) {
            if known == Some(meta.ulid) {
                return Ok(Some(meta));
            }
            let folder = self.blocks_dir().join(meta.ulid.to_string());
            let (head, disk, tenant) = (self.head.clone(), self.runtime.disk.clone(), tenant.clone());
            let job = move || holds(&head, &tenant, &which, &BlockReader::open(&*disk, &folder)?);
            match self.runtime.cpu.run_behind(job).await {
                Ok(Ok(true)) => {
                    // Its folder was found; that its name survives a power cut is not known.
                    self.sync_dir(self.blocks_dir()).await?;
                    return Ok(Some(meta));
                }
                Ok(Ok(false)) => {
                    warn!(ulid = %meta.ulid, "a block of {id} lacks samples that the head has; cutting another")
                }
                Ok(Err(e @ TsdbError::Io { .. })) => return Err(e),
                Ok(Err(e)) => warn!(error = %e, "a block of {id} cannot be read; cutting another"),
                Err(_) => return Err(TsdbError::corrupt(id.to_string(), 0, "comparing ended by a panic")),
            }
        }
        Ok(None)
    }

    fn sealed_generation(&self, id: &WindowId) -> Result<(Arc<Tenant>, PartKey), TsdbError> {
        let invalid = |what: &str| TsdbError::Invalid { object: id.to_string(), what: what.to_owned() };
        let tenant = self.head.tenants.get(&id.tenant).ok_or_else(|| invalid("the tenant is not known"))?;
        let window = crate::head::chunks::window_of(id.start_ms, self.head.options.window_ms)
            .ok_or_else(|| invalid("there is no such window"))?;
        let state = tenant.windows.lock().get(window);
        match state {
            Some(w) if w.sealed && w.accepting == id.generation + 1 => {
                Ok((tenant, PartKey { window, generation: id.generation }))
            }
            _ => Err(invalid("the generation is not sealed, or was released")),
        }
    }

    fn block_meta(&self, id: &WindowId, tenant: &Tenant) -> BlockMeta {
        let random = self.runtime.rng.next_u128();
        let ulid = Ulid::from_parts(self.runtime.clock.now_ms().max(0) as u64, random);
        let labels = tenant.external.labels().iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
        let window = json!({ "start_ms": id.start_ms, "end_ms": id.end_ms, "generation": id.generation });
        BlockMeta {
            ulid,
            min_time: id.start_ms,
            max_time: id.end_ms,
            stats: Default::default(),
            compaction: Compaction { level: 1, sources: vec![ulid], ..Compaction::default() },
            version: 1,
            thanos: Some(ThanosMeta {
                version: 1,
                labels,
                source: self.options.block_source.clone(),
                extensions: Some(json!({ EXTENSION: { "tenant": id.tenant.as_str(), "window": window } })),
                ..ThanosMeta::default()
            }),
        }
    }

    /// The generation's block was verified (or there is none, because it was empty): the head forgets its samples as
    /// soon as no read that began before is running, see [`Db::maintain`].
    ///
    /// # Errors
    /// [`TsdbError::Io`] when the release cannot be written; nothing is forgotten then.
    pub async fn release(&self, id: &WindowId) -> Result<(), TsdbError> {
        let _one_at_a_time = self.sealing.lock().await;
        let (tenant, key) = self.sealed_generation(id)?;
        for _ in 0..MAX_ATTEMPTS {
            let control = self.control(&tenant, key.window, ControlKind::Released, key.generation);
            let outcome = {
                let fence = self.journal.fence();
                fence.submit_controls(&[control], fence.segment(&self.head))
            };
            self.journal.log().drive();
            match outcome.await.unwrap_or(Err(CommitError::Closed)) {
                Ok(()) => {
                    let now_ms = self.runtime.clock.now_ms();
                    tenant.windows.lock().release(key.window, key.generation, now_ms);
                    self.cuts.lock().remove(id);
                    let readers = self.head.reads_before();
                    self.pending_releases.lock().push(PendingRelease { tenant, key, readers });
                    self.metrics.released.inc();
                    return Ok(());
                }
                Err(CommitError::SegmentLost) => {}
                Err(e) => return Err(self.log_error(e)),
            }
        }
        Err(self.log_error(CommitError::SegmentLost))
    }

    /// Seals, cuts and releases everything due at `now_ms`: for a node whose local blocks are all there is. Gives the
    /// blocks that were cut.
    ///
    /// # Errors
    /// As the steps; what was done before stays done.
    pub async fn seal_locally(&self, now_ms: TimestampMs) -> Result<Vec<BlockMeta>, TsdbError> {
        let mut blocks = Vec::new();
        for id in self.closed_windows(now_ms).await? {
            blocks.extend(self.cut(&id).await?);
            self.release(&id).await?;
        }
        Ok(blocks)
    }
}

/// Key of our part of `meta.json`'s extensions.
const EXTENSION: &str = "cairn";

/// The generation that a block of the head was cut from; `None` for other blocks.
pub fn window_of_block(meta: &BlockMeta) -> Option<WindowId> {
    let ours = meta.thanos.as_ref()?.extensions.as_ref()?.get(EXTENSION)?;
    let window = ours.get("window")?;
    Some(WindowId {
        tenant: TenantId::new(ours.get("tenant")?.as_str()?).ok()?,
        start_ms: window.get("start_ms")?.as_i64()?,
        end_ms: window.get("end_ms")?.as_i64()?,
        generation: u32::try_from(window.get("generation")?.as_u64()?).ok()?,
    })
}
