//! What is in the bucket: one list of all objects, and the `meta.json` of each block.
//!
//! A folder is a block when it has a readable `meta.json`; without one it is a partial upload, with one that
//! cannot be read it is broken, named and left alone. Metas never change, so each is read once; a mark is seen by
//! its name in the list and read only by who needs its time.
//!
//! The list may be stale: what is missing in it may be there. Deciders that delete allow for it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use cairn_tsdb::meta::BlockMeta;
use futures::{StreamExt, TryStreamExt, stream};
use object_store::path::Path;
use parking_lot::Mutex;
use ulid::Ulid;

use crate::bucket::Bucket;
use crate::error::Result;
use crate::layout;
use crate::marks::MarkKind;

/// Metas that are read at once; Thanos' `--block-meta-fetch-concurrency`.
const METAS_IN_FLIGHT: usize = 32;

/// A folder with a ULID's name.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Folder {
    /// Names inside the folder with their sizes in bytes.
    pub objects: BTreeMap<String, u64>,
    /// When the newest of them was written, Unix milliseconds by the store's clock.
    pub newest_ms: i64,
    /// Its marks.
    pub marks: BTreeSet<MarkKind>,
}

impl Folder {
    /// Whether the list shows a `meta.json`.
    pub fn has_meta(&self) -> bool {
        self.objects.contains_key(layout::META)
    }
}

/// A block that can be read.
#[derive(Debug, Clone)]
pub struct FetchedBlock {
    /// Its description.
    pub meta: Arc<BlockMeta>,
    /// Its marks.
    pub marks: BTreeSet<MarkKind>,
    /// Sizes of its files by name.
    pub files: BTreeMap<String, u64>,
}

/// Everything in the bucket at one look.
#[derive(Debug, Clone, Default)]
pub struct BucketView {
    /// Readable blocks.
    pub blocks: BTreeMap<Ulid, FetchedBlock>,
    /// All folders, readable or not.
    pub folders: BTreeMap<Ulid, Folder>,
    /// Blocks whose `meta.json` cannot be used, with the reason.
    pub broken: BTreeMap<Ulid, String>,
    /// Numbers of the commit records by job key, as listed.
    pub records: BTreeMap<String, BTreeSet<u32>>,
    /// Job keys with a retired marker, as listed.
    pub retired: BTreeSet<String>,
}

/// A meta that was read, or why it is none.
type ReadMeta = std::result::Result<Arc<BlockMeta>, String>;

/// Looks at a bucket again and again. Cheap to clone; clones share the metas that were read.
#[derive(Clone)]
pub struct Fetcher {
    bucket: Bucket,
    known: Arc<Mutex<BTreeMap<Ulid, Arc<BlockMeta>>>>,
}

impl Fetcher {
    /// Nothing was read yet.
    pub fn new(bucket: Bucket) -> Self {
        Fetcher { bucket, known: Arc::default() }
    }

    /// The bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Looks now. O(objects) to list, one read for each block that is new since the last look.
    ///
    /// # Errors
    /// When the list fails, or a meta cannot be fetched for a reason that may pass: a view with holes would look
    /// like deleted blocks.
    pub async fn look(&self) -> Result<BucketView> {
        let mut view = self.list().await?;
        let with_meta: Vec<Ulid> =
            view.folders.iter().filter(|(_, f)| f.has_meta()).map(|(ulid, _)| *ulid).collect();
        let metas: Vec<(Ulid, Option<ReadMeta>)> = stream::iter(with_meta)
            .map(|ulid| async move { Ok::<_, crate::BucketError>((ulid, self.meta(ulid).await?)) })
            .buffer_unordered(METAS_IN_FLIGHT)
            .try_collect()
            .await?;
        for (ulid, meta) in metas {
            let folder = &view.folders[&ulid];
            match meta {
                Some(Ok(meta)) => {
                    let (marks, files) = (folder.marks.clone(), folder.objects.clone());
                    view.blocks.insert(ulid, FetchedBlock { meta, marks, files });
                }
                Some(Err(reason)) => {
                    view.broken.insert(ulid, reason);
                }
                // Deleted since it was listed.
                None => {}
            }
        }
        self.known.lock().retain(|ulid, _| view.folders.contains_key(ulid));
        Ok(view)
    }

    async fn list(&self) -> Result<BucketView> {
        let mut view = BucketView::default();
        let mut objects = self.bucket.list(None);
        while let Some(object) = objects.try_next().await? {
            if let Some((ulid, name)) = layout::parse_in_block(&object.location) {
                let folder = view.folders.entry(ulid).or_default();
                folder.newest_ms = folder.newest_ms.max(object.last_modified.timestamp_millis());
                folder.marks.extend(MarkKind::of_file(name));
                folder.objects.insert(name.to_owned(), object.size);
            } else if let Some((key, n)) = layout::parse_record(&object.location) {
                view.records.entry(key).or_default().insert(n);
            } else if let Some(key) = layout::parse_retired(&object.location) {
                view.retired.insert(key);
            }
        }
        Ok(view)
    }

    /// `None` when there is no object; an inner error when there is one that is no meta.
    async fn meta(&self, ulid: Ulid) -> Result<Option<ReadMeta>> {
        if let Some(known) = self.known.lock().get(&ulid) {
            return Ok(Some(Ok(known.clone())));
        }
        let path: Path = layout::meta(ulid);
        let Some(bytes) = self.bucket.get(&path).await? else { return Ok(None) };
        Ok(Some(match BlockMeta::read(&bytes) {
            Ok(meta) if meta.ulid == ulid => {
                let meta = Arc::new(meta);
                self.known.lock().insert(ulid, meta.clone());
                Ok(meta)
            }
            Ok(meta) => Err(format!("{path} says ulid {}", meta.ulid)),
            Err(e) => Err(format!("{path}: {e}")),
        }))
    }
}
