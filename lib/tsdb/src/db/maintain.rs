//! Housekeeping: head-chunk files to disk, released generations out of memory, unneeded segments off the disk, and a
//! head snapshot when one is due.
//!
//! [`Db::maintain`] does one round; it is called about once a second and never blocks writers for long. Repeating it
//! is free, and a failure only postpones.

use std::path::Path;
use std::sync::Arc;

use cairn_runtime::{Disk, OpenHow};
use tracing::warn;

use super::{Db, HEAD_DIR};
use crate::error::TsdbError;
use crate::head::side::PartKey;
use crate::head::tenant::Tenant;
use crate::snapshot::file::UNSYNCED_BYTES;

/// A generation that is released but may still be read.
pub struct PendingRelease {
    /// Whose.
    pub tenant: Arc<Tenant>,
    /// Which.
    pub key: PartKey,
    /// Unique as soon as no read from before the release is running.
    pub readers: Arc<()>,
}

/// Removes head-chunk files of an earlier process but those that `keep` accepts by partition and number: the log has
/// what they hold.
pub fn remove_head_files(
    disk: &dyn Disk,
    dir: &Path,
    keep: impl Fn(usize, u32) -> bool,
) -> Result<(), TsdbError> {
    for entry in disk.list(dir).map_err(TsdbError::io("list", dir))? {
        if parse_head_file(&entry.name).is_some_and(|(partition, number)| keep(partition, number)) {
            continue;
        }
        let path = dir.join(&entry.name);
        disk.remove_file(&path).map_err(TsdbError::io("remove", &path))?;
    }
    Ok(())
}

/// Name of a head-chunk file.
pub fn head_file_name(partition: usize, number: u32) -> String {
    format!("{partition:03}-{number:08}.chunks")
}

fn parse_head_file(name: &str) -> Option<(usize, u32)> {
    let (partition, number) = name.strip_suffix(".chunks")?.split_once('-')?;
    Some((partition.parse().ok()?, number.parse().ok()?))
}

impl Db {
    /// One round of housekeeping. Nothing while the log is replayed: which segments are needed is not known yet.
    pub async fn maintain(&self) {
        if self.early.is_replaying() {
            return;
        }
        self.write_full_chunks().await;
        // While a window is cut no series may leave.
        if let Ok(_sealing) = self.sealing.try_lock() {
            self.apply_releases().await;
        }
        self.remove_segments();
        self.snapshot_if_due().await;
        self.update_metrics();
    }

    /// Writes full chunks out, so that they are file pages and no longer the process' own memory. Part of
    /// [`Db::maintain`], which may be busy with a snapshot for seconds; to be called more often where chunks fill quickly.
    pub async fn write_full_chunks(&self) {
        if !self.early.is_replaying() {
            self.write_head_files().await;
        }
    }

    /// The same at any time.
    pub(super) async fn write_head_files(&self) {
        let _one_at_a_time = self.head_files.lock().await;
        for (index, partition) in self.head.partitions.iter().enumerate() {
            let unwritten = partition.read().chunks.full.unwritten();
            for (number, content) in unwritten {
                let path = self.options.dir.join(HEAD_DIR).join(head_file_name(index, number));
                let disk = self.runtime.disk.clone();
                // Synced although the log has it all: only a sync tells whether the disk took it, and a window is cut from
                // these files before its part of the log goes.
                let job = move || -> std::io::Result<(bytes::Bytes, u32)> {
                    let file = disk.open(&path, OpenHow::CreateOrWrite)?;
                    file.set_len(0)?;
                    for (piece, at) in content.chunks(UNSYNCED_BYTES).zip((0..).step_by(UNSYNCED_BYTES)) {
                        file.write_all_at(piece, at)?;
                        file.sync_data()?;
                    }
                    drop(file);
                    Ok((disk.map(&path)?, crc32c::crc32c(&content)))
                };
                match self.runtime.cpu.run_behind(job).await {
                    Ok(Ok((mapped, crc))) => partition.write().chunks.full.written(number, mapped, crc),
                    Ok(Err(e)) => {
                        warn!(error = %e, "cannot write a head-chunk file; its chunks stay in memory");
                        return;
                    }
                    Err(_) => return,
                }
            }
        }
    }

    /// Forgets released generations that nobody reads any more.
    async fn apply_releases(&self) {
        let _no_file_is_written = self.head_files.lock().await;
        let ready = {
            let mut pending = self.pending_releases.lock();
            let all = std::mem::take(&mut *pending);
            let (ready, wait): (Vec<_>, Vec<_>) =
                all.into_iter().partition(|p| Arc::strong_count(&p.readers) == 1);
            *pending = wait;
            ready
        };
        for release in ready {
            let head = self.head.clone();
            let forgetting = self.runtime.cpu.run(move || head.release(&release.tenant, release.key)).await;
            let Ok((left, files)) = forgetting else { continue };
            self.metrics.head_series_removed.inc_by(left);
            self.remove_released_files(&files);
        }
    }

    /// Removes head-chunk files, named by partition and number.
    pub(super) fn remove_released_files(&self, files: &[(usize, u32)]) {
        for (partition, number) in files {
            let path = self.options.dir.join(HEAD_DIR).join(head_file_name(*partition, *number));
            if let Err(e) = self.runtime.disk.remove_file(&path) {
                warn!(path = %path.display(), error = %e, "cannot remove a head-chunk file; the next start will");
            }
        }
    }

    /// Removes log segments, oldest first, of which everything is released.
    fn remove_segments(&self) {
        let tenants = self.head.tenants.all();
        let by_number: std::collections::BTreeMap<_, _> = tenants.iter().map(|t| (t.number, t)).collect();
        let needed = |(tenant, window, generation): &super::journal::GenerationKey| {
            by_number.get(tenant).is_none_or(|t| t.windows.lock().is_needed(*window, *generation))
        };
        // The table of closed windows is a segment's first frame, so it is durable when any of its frames is.
        let last = self.journal.unneeded_through(self.journal.log().settled(), needed);
        if last == 0 {
            return;
        }
        match self.journal.log().remove_through(last) {
            Ok(_) => self.journal.forget_through(last),
            Err(e) => warn!(error = %e, "cannot remove log segments that are no longer needed"),
        }
    }

    pub(crate) fn update_metrics(&self) {
        // Before the counts are read: of two who are here at once the later one has the greater ones.
        let mut reported = self.reported.lock();
        let counts = self.journal.log().counts();
        let m = &self.metrics;
        m.wal_fsyncs.inc_by(counts.fsyncs - reported.fsyncs);
        m.wal_failed_fsyncs.inc_by(counts.failed_fsyncs - reported.failed_fsyncs);
        m.wal_failed_writes.inc_by(counts.failed_writes - reported.failed_writes);
        m.wal_bytes.inc_by(counts.bytes - reported.bytes);
        m.wal_frames.inc_by(counts.frames - reported.frames);
        *reported = counts;
        m.head_series.set(self.head.series() as i64);
        for (part, bytes) in self.head.heap_bytes().parts() {
            m.head_bytes.with_label_values(&[part]).set(bytes as i64);
        }
    }
}

#[cfg(test)]
mod tests;
