//! Blocks from the bucket onto the local disk, checked against what the bucket's description says of them.

use std::path::Path;
use std::sync::Arc;

use cairn_bucket::digest::{Hasher, Sha256};
use cairn_bucket::fetch::FetchedBlock;
use cairn_bucket::{Bucket, BucketError, layout};
use cairn_runtime::{OpenHow, Runtime};
use ulid::Ulid;

use crate::error::{CompactError, Result};

/// Bytes of one ranged read; bounds memory while a block comes in.
const READ_BYTES: u64 = 16 << 20;

/// Fetches index, chunks and `meta.json` of a block into folder `parent/<ULID>`. Files that have a SHA-256 in the
/// description are checked against it.
///
/// # Errors
/// [`CompactError::BadBlock`] when files are missing or not what the description says.
pub async fn download(
    bucket: &Bucket,
    runtime: &Runtime,
    ulid: Ulid,
    block: &FetchedBlock,
    parent: &Path,
) -> Result<()> {
    let folder = parent.join(ulid.to_string());
    let local = |path: &Path| {
        let path = path.display().to_string();
        move |source| CompactError::Local { path, source }
    };
    let disk = &runtime.disk;
    disk.create_dir_all(&folder.join(layout::CHUNKS)).map_err(local(&folder))?;
    let wanted = |name: &str| name == layout::INDEX || name.starts_with("chunks/");
    for (name, size_bytes) in block.files.iter().filter(|(name, _)| wanted(name)) {
        fetch_file(bucket, runtime, ulid, name, *size_bytes, &folder.join(name), expected(block, name))
            .await?;
    }
    let meta = folder.join(layout::META);
    disk.write_atomic(&meta, &block.meta.to_json()).map_err(local(&meta))?;
    for path in [folder.join(layout::CHUNKS), folder.clone()] {
        disk.sync_dir(&path).map_err(local(&path))?;
    }
    Ok(())
}

/// The digest of a file, if the description has one.
fn expected(block: &FetchedBlock, name: &str) -> Option<Sha256> {
    let files = &block.meta.thanos.as_ref()?.files;
    let hash = files.iter().find(|f| f.rel_path == name)?.hash.as_ref()?;
    (hash.hash_func == "SHA256").then(|| Sha256::parse(&hash.hash_string)).flatten()
}

async fn fetch_file(
    bucket: &Bucket,
    runtime: &Runtime,
    ulid: Ulid,
    name: &str,
    size_bytes: u64,
    to: &Path,
    expected: Option<Sha256>,
) -> Result<()> {
    let local = |source| CompactError::Local { path: to.display().to_string(), source };
    let object = layout::in_block(ulid, name);
    let file = Arc::new(runtime.disk.open(to, OpenHow::CreateNew).map_err(local)?);
    let (mut hasher, mut at) = (Hasher::new(), 0);
    while at < size_bytes {
        let end = size_bytes.min(at + READ_BYTES);
        let bytes = match bucket.get_range(&object, at, end).await {
            Err(e @ (BucketError::Missing { .. } | BucketError::Malformed { .. })) => {
                return Err(CompactError::BadBlock { ulid, reason: e.to_string() });
            }
            other => other?,
        };
        if expected.is_some() {
            hasher.update(&bytes);
        }
        let file = file.clone();
        let written = runtime.cpu.run_behind(move || file.write_all_at(&bytes, at)).await;
        written.map_err(|_| CompactError::Panicked)?.map_err(local)?;
        at = end;
    }
    let got = hasher.finish();
    match expected {
        Some(want) if want != got => Err(CompactError::BadBlock {
            ulid,
            reason: format!("{object} has SHA-256 {got}, meta.json says {want}"),
        }),
        _ => Ok(()),
    }
}
