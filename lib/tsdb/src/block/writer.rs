//! Writing a block: series in order of labels, their chunks as they are, then everything else; durable and whole
//! under its final name, or not there at all.

use std::path::{Path, PathBuf};

use cairn_model::{Encoding, LabelsRef};
use cairn_runtime::Disk;
use tracing::warn;

use super::segment::{SEGMENT_BYTES, SegmentWriter, segment_name};
use super::{BlockChunk, CHUNKS_DIR, DELETED_SUFFIX, INDEX_FILE, TOMBSTONES_FILE, UNFINISHED_SUFFIX};
use crate::error::TsdbError;
use crate::index::{ChunkMeta, IndexWriter, SymbolSet};
use crate::meta::{BlockFile, BlockMeta, IndexStats, META_FILE};
use crate::tombstones::Tombstones;

/// How a block is written.
#[derive(Debug, Clone)]
pub struct BlockOptions {
    /// Size at which a chunk segment is cut.
    pub segment_bytes: u64,
    /// Whether an empty tombstones file is written: Prometheus wants one beside local blocks, a bucket has none.
    pub tombstones: bool,
}

impl Default for BlockOptions {
    fn default() -> Self {
        BlockOptions { segment_bytes: SEGMENT_BYTES, tombstones: true }
    }
}

/// A block being written. Dropped before [`BlockWriter::finish`], it leaves a folder that
/// [`remove_unfinished`] clears.
pub struct BlockWriter<'d> {
    disk: &'d dyn Disk,
    parent: PathBuf,
    folder: PathBuf,
    meta: BlockMeta,
    options: BlockOptions,
    segments: SegmentWriter<'d>,
    index: IndexWriter,
    stats: IndexStats,
    places: Vec<ChunkMeta>,
}

impl<'d> BlockWriter<'d> {
    /// Begins the block that `meta` describes, below `parent`. `symbols` holds every label name and value that
    /// will come. The counts of `meta`, and the files in its Thanos part, are filled in at the end.
    ///
    /// # Errors
    /// [`TsdbError::Io`].
    pub fn create(
        disk: &'d dyn Disk,
        parent: &Path,
        meta: BlockMeta,
        symbols: SymbolSet,
        options: BlockOptions,
    ) -> Result<Self, TsdbError> {
        let folder = parent.join(format!("{}{UNFINISHED_SUFFIX}", meta.ulid));
        let chunks = folder.join(CHUNKS_DIR);
        disk.create_dir_all(&chunks).map_err(TsdbError::io("create", &chunks))?;
        let segments = SegmentWriter::new(disk, &chunks, options.segment_bytes);
        let index = IndexWriter::create(disk, &folder.join(INDEX_FILE), symbols)?;
        let parent = parent.to_owned();
        let stats = IndexStats::default();
        Ok(BlockWriter { disk, parent, folder, meta, options, segments, index, stats, places: Vec::new() })
    }

    /// Adds a series with its chunks in order of time. Labels increase from call to call.
    ///
    /// # Errors
    /// [`TsdbError::Io`]; [`TsdbError::Invalid`] when an order is broken or a chunk leaves the block's range. The
    /// block is then to be given up.
    pub fn add_series(&mut self, labels: LabelsRef<'_>, chunks: &[BlockChunk]) -> Result<(), TsdbError> {
        self.places.clear();
        for chunk in chunks {
            if chunk.min_ms < self.meta.min_time || chunk.max_ms >= self.meta.max_time {
                let (from, to) = (self.meta.min_time, self.meta.max_time);
                let what = format!(
                    "chunk {}..={} of {labels} lies outside the block's range {from}..{to}",
                    chunk.min_ms, chunk.max_ms
                );
                return Err(TsdbError::Invalid { object: self.folder.display().to_string(), what });
            }
            let (place, size) = self.segments.write(chunk)?;
            self.places.push(place);
            self.stats.chunk_max_size = self.stats.chunk_max_size.max(size);
            let samples = chunk.samples() as u64;
            let stats = &mut self.meta.stats;
            stats.num_chunks += 1;
            stats.num_samples += samples;
            match Encoding::from_byte(chunk.encoding) {
                Some(Encoding::Xor | Encoding::Xor2) => stats.num_float_samples += samples,
                Some(Encoding::Histogram | Encoding::FloatHistogram) => {
                    stats.num_histogram_samples += samples
                }
                None => {}
            }
        }
        self.index.add_series(labels, &self.places)?;
        self.meta.stats.num_series += 1;
        Ok(())
    }

    /// Completes the block and gives its description. When this returns, the block survives a crash.
    ///
    /// # Errors
    /// As [`BlockWriter::add_series`]; what was written is removed then.
    pub fn finish(self) -> Result<BlockMeta, TsdbError> {
        let (disk, mut folder) = (self.disk, self.folder.clone());
        let outcome = self.complete(&mut folder);
        if outcome.is_err() {
            remove(disk, &folder);
        }
        outcome
    }

    /// Keeps in `folder` where the block lies.
    fn complete(mut self, folder: &mut PathBuf) -> Result<BlockMeta, TsdbError> {
        let segment_sizes = self.segments.finish()?;
        self.stats.series_max_size = self.index.max_entry_bytes();
        let index_size = self.index.finish()?;
        if self.options.tombstones {
            let path = self.folder.join(TOMBSTONES_FILE);
            let empty = Tombstones::default().to_bytes();
            self.disk.write_atomic(&path, &empty).map_err(TsdbError::io("write", &path))?;
        }
        if let Some(thanos) = &mut self.meta.thanos {
            let file = |rel_path: String, size_bytes| BlockFile { rel_path, size_bytes, hash: None };
            let segments = segment_sizes.iter().enumerate();
            thanos.files =
                segments.map(|(i, s)| file(format!("{CHUNKS_DIR}/{}", segment_name(i)), *s)).collect();
            thanos.files.push(file(INDEX_FILE.into(), index_size));
            thanos.files.push(file(META_FILE.into(), 0));
            thanos.segment_files = (0..segment_sizes.len()).map(segment_name).collect();
            thanos.index_stats = self.stats;
        }
        let path = self.folder.join(META_FILE);
        self.disk.write_atomic(&path, &self.meta.to_json()).map_err(TsdbError::io("write", &path))?;

        let chunks = self.folder.join(CHUNKS_DIR);
        let place = self.parent.join(self.meta.ulid.to_string());
        self.disk.sync_dir(&chunks).map_err(TsdbError::io("sync", &chunks))?;
        self.disk.sync_dir(&self.folder).map_err(TsdbError::io("sync", &self.folder))?;
        self.disk.rename(&self.folder, &place).map_err(TsdbError::io("rename", &self.folder))?;
        *folder = place;
        self.disk.sync_dir(&self.parent).map_err(TsdbError::io("sync", &self.parent))?;
        Ok(self.meta)
    }

    /// Gives up and removes what was written.
    pub fn abandon(self) {
        remove(self.disk, &self.folder);
    }
}

fn remove(disk: &dyn Disk, folder: &Path) {
    if let Err(e) = disk.remove_dir_all(folder) {
        warn!(folder = %folder.display(), error = %e, "cannot remove an unfinished block; the next start will");
    }
}

/// Removes folders of blocks that were never finished below `parent`; gives how many. To be called before anyone
/// writes there.
///
/// # Errors
/// [`TsdbError::Io`].
pub fn remove_unfinished(disk: &dyn Disk, parent: &Path) -> Result<usize, TsdbError> {
    let mut removed = 0;
    for entry in disk.list(parent).map_err(TsdbError::io("list", parent))? {
        let unfinished = [UNFINISHED_SUFFIX, DELETED_SUFFIX].iter().any(|s| entry.name.ends_with(s));
        if entry.is_dir && unfinished {
            let folder = parent.join(&entry.name);
            disk.remove_dir_all(&folder).map_err(TsdbError::io("remove", &folder))?;
            removed += 1;
        }
    }
    Ok(removed)
}
