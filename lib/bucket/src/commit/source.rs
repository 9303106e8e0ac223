//! The files of a block that is to be committed.

use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cairn_runtime::Disk;
use ulid::Ulid;

use super::record::FileRecord;
use crate::error::{BucketError, Result};
use crate::layout;

/// A file of a block on this machine.
#[derive(Debug, Clone)]
pub struct SourceFile {
    /// Path inside the block's folder.
    pub rel_path: String,
    /// The content; mapped, so that only pages in flight take memory.
    pub content: Bytes,
}

/// Makes the `meta.json` of a block from its ULID and uploaded files.
pub type MakeMeta = dyn Fn(Ulid, &[FileRecord]) -> String + Send + Sync;

/// A block on this machine: files, and how its `meta.json` is made once its ULID is known.
#[derive(Clone)]
pub struct BlockSource {
    /// `index` and `chunks/…`, in the order in which they are uploaded.
    pub files: Vec<SourceFile>,
    /// See [`MakeMeta`]. Must give the same text for the same arguments.
    pub make_meta: Arc<MakeMeta>,
}

impl BlockSource {
    /// The block in folder `dir`: chunk segments first, then the index. Tombstones and `meta.json` stay.
    ///
    /// # Errors
    /// [`BucketError::Local`] when the disk fails, [`BucketError::NotABlock`] when index or chunks are missing.
    pub fn from_dir(disk: &dyn Disk, dir: &Path, make_meta: Arc<MakeMeta>) -> Result<Self> {
        let local = |path: &Path| {
            let path = path.display().to_string();
            move |source| BucketError::Local { path, source }
        };
        let chunks = dir.join(layout::CHUNKS);
        let mut files = Vec::new();
        for entry in disk.list(&chunks).map_err(local(&chunks))?.into_iter().filter(|e| !e.is_dir) {
            let path = chunks.join(&entry.name);
            files.push(SourceFile {
                rel_path: format!("{}/{}", layout::CHUNKS, entry.name),
                content: disk.map(&path).map_err(local(&path))?,
            });
        }
        let index = dir.join(layout::INDEX);
        if files.is_empty() || !disk.exists(&index).map_err(local(&index))? {
            let reason = "no chunks or no index in it: it is not a finished block".to_owned();
            return Err(BucketError::NotABlock { path: dir.display().to_string(), reason });
        }
        files.push(SourceFile {
            rel_path: layout::INDEX.to_owned(),
            content: disk.map(&index).map_err(local(&index))?,
        });
        Ok(BlockSource { files, make_meta })
    }
}
