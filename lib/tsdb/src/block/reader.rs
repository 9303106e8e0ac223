//! Reading a block: series by matchers and time, chunks as slices of the mapped segments, deleted stretches
//! left out.

use std::path::{Path, PathBuf};
use std::str::FromStr;

use cairn_model::{AggrChunk, Encoding, Labels, Matcher, TimestampMs};
use cairn_runtime::Disk;
use ulid::Ulid;

use super::segment::{AGGR_ENCODING, Segments};
use super::{BlockChunk, CHUNKS_DIR, INDEX_FILE, TOMBSTONES_FILE, aggr};
use crate::chunkenc::{ChunkBuilder, ChunkDecoder, CutRule};
use crate::error::TsdbError;
use crate::index::{ChunkMeta, IndexReader, SeriesEntry};
use crate::meta::{BlockMeta, META_FILE};
use crate::tombstones::{Interval, Tombstones};

/// An open block. Cheap memory: files are mapped, only samples of the index's tables are held.
#[derive(Debug)]
pub struct BlockReader {
    folder: PathBuf,
    meta: BlockMeta,
    index: IndexReader,
    segments: Segments,
    tombstones: Tombstones,
    /// Size of description and tombstones.
    small_files_bytes: u64,
}

/// A series of a block with the chunks that overlap the range asked for.
#[derive(Debug, Clone)]
pub struct BlockSeries {
    /// Labels without external labels.
    pub labels: Labels,
    /// Chunks in order of time; they may reach past the range.
    pub chunks: Vec<BlockChunk>,
}

impl BlockReader {
    /// Opens the block in `folder`.
    ///
    /// # Errors
    /// [`TsdbError::Io`]; [`TsdbError::Corrupt`] naming the file that is not sound. Chunks are checked when they
    /// are read.
    pub fn open(disk: &dyn Disk, folder: &Path) -> Result<BlockReader, TsdbError> {
        let (meta, mut small_files_bytes) = read_meta(disk, folder)?;
        let path = folder.join(INDEX_FILE);
        let index = disk.map(&path).map_err(TsdbError::io("map", &path))?;
        let index = IndexReader::open(path.display().to_string(), index)?;
        let segments = Segments::open(disk, &folder.join(CHUNKS_DIR))?;
        let path = folder.join(TOMBSTONES_FILE);
        let tombstones = match disk.exists(&path).map_err(TsdbError::io("look for", &path))? {
            false => Tombstones::default(),
            true => {
                let bytes = disk.read(&path).map_err(TsdbError::io("read", &path))?;
                small_files_bytes += bytes.len() as u64;
                let object = path.display().to_string();
                Tombstones::read(&bytes).map_err(|m| TsdbError::malformed(object, 0, m))?
            }
        };
        Ok(BlockReader { folder: folder.to_owned(), meta, index, segments, tombstones, small_files_bytes })
    }

    /// The block's description.
    pub fn meta(&self) -> &BlockMeta {
        &self.meta
    }

    /// The block's folder.
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The index.
    pub fn index(&self) -> &IndexReader {
        &self.index
    }

    /// Bytes of all files that belong to the block.
    pub fn size_bytes(&self) -> u64 {
        self.index.size_bytes() + self.segments.size().1 + self.small_files_bytes
    }

    /// The chunk segments.
    pub fn segments(&self) -> &Segments {
        &self.segments
    }

    /// What is deleted but still in the chunks.
    pub fn tombstones(&self) -> &Tombstones {
        &self.tombstones
    }

    /// Series for which all matchers hold and that have samples between `min_ms` and `max_ms` (both inclusive),
    /// in order of labels, read as the iterator moves.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] when the index is not sound; per series, when that series or a chunk is not.
    pub fn select<'a>(
        &'a self,
        matchers: &[Matcher],
        min_ms: TimestampMs,
        max_ms: TimestampMs,
    ) -> Result<impl Iterator<Item = Result<BlockSeries, TsdbError>> + 'a, TsdbError> {
        let references = self.index.select(matchers)?;
        let mut entry = SeriesEntry::default();
        Ok(references.into_iter().filter_map(move |reference| {
            let read = self.index.series(reference, &mut entry);
            match read.and_then(|()| self.chunks_of(reference, &entry.chunks, min_ms, max_ms)) {
                Ok(chunks) if chunks.is_empty() => None,
                Ok(chunks) => Some(Ok(BlockSeries { labels: entry.labels().to_labels(), chunks })),
                Err(e) => Some(Err(e)),
            }
        }))
    }

    /// The chunks of a series, of those at `metas`, that overlap `min_ms ..= max_ms`, without deleted samples.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] naming segment and offset.
    pub fn chunks_of(
        &self,
        reference: u32,
        metas: &[ChunkMeta],
        min_ms: TimestampMs,
        max_ms: TimestampMs,
    ) -> Result<Vec<BlockChunk>, TsdbError> {
        let deleted = self.tombstones.of(u64::from(reference));
        let mut out = Vec::with_capacity(metas.len());
        for meta in metas.iter().filter(|c| c.overlaps(min_ms, max_ms)) {
            let touched = |i: &&Interval| i.min_ms <= meta.max_ms && meta.min_ms <= i.max_ms;
            let touching: Vec<Interval> = deleted.iter().filter(touched).copied().collect();
            if touching.iter().any(|i| i.contains(meta.min_ms) && i.contains(meta.max_ms)) {
                continue;
            }
            let chunk = self.segments.read(meta)?;
            if touching.is_empty() {
                out.push(chunk);
            } else {
                let rest = without(&chunk, &touching).map_err(|m| {
                    let object = self.segments.name((meta.place >> 32) as usize);
                    TsdbError::malformed(object, meta.place & 0xffff_ffff, m)
                })?;
                out.extend(rest.into_iter().filter(|c| c.min_ms <= max_ms && min_ms <= c.max_ms));
            }
        }
        Ok(out)
    }

    /// A chunk as stores answer it.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] for broken aggregates, [`TsdbError::Unsupported`] for an unknown encoding.
    pub fn to_aggr(&self, chunk: &BlockChunk) -> Result<AggrChunk, TsdbError> {
        if let Some(raw) = chunk.to_chunk() {
            return Ok(AggrChunk::Raw(raw));
        }
        if chunk.encoding != AGGR_ENCODING {
            let object = self.folder.display();
            return Err(TsdbError::Unsupported(format!("chunk encoding {} in {object}", chunk.encoding)));
        }
        match aggr::read(chunk.min_ms, chunk.max_ms, &chunk.data) {
            Ok(a) => Ok(AggrChunk::Downsampled(Box::new(a))),
            Err(m) => Err(TsdbError::malformed(self.folder.join(CHUNKS_DIR).display().to_string(), 0, m)),
        }
    }
}

/// Reads and checks the description of the block in `folder`; its ULID must be the folder's name. Gives the file's
/// size too.
///
/// # Errors
/// [`TsdbError::Io`]; [`TsdbError::Corrupt`].
fn read_meta(disk: &dyn Disk, folder: &Path) -> Result<(BlockMeta, u64), TsdbError> {
    let path = folder.join(META_FILE);
    let object = || path.display().to_string();
    let json = disk.read(&path).map_err(TsdbError::io("read", &path))?;
    let meta = BlockMeta::read(&json).map_err(|e| TsdbError::corrupt(object(), 0, e.to_string()))?;
    let name = folder.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    if Ulid::from_str(&name).is_ok_and(|u| u != meta.ulid) {
        let what = format!("it says ulid {}, its folder is {name}", meta.ulid);
        return Err(TsdbError::corrupt(object(), 0, what));
    }
    Ok((meta, json.len() as u64))
}

/// A chunk without the samples in `deleted`, encoded anew. Aggregates are kept whole: a delete drops or rebuilds
/// them where blocks are rewritten.
fn without(chunk: &BlockChunk, deleted: &[Interval]) -> Result<Vec<BlockChunk>, crate::chunkenc::Malformed> {
    let Some(encoding) = Encoding::from_byte(chunk.encoding) else { return Ok(vec![chunk.clone()]) };
    let rule = CutRule {
        max_samples: usize::from(u16::MAX),
        xor2: encoding == Encoding::Xor2,
        ..CutRule::default()
    };
    let mut builder = ChunkBuilder::new(rule);
    for sample in ChunkDecoder::new(encoding, &chunk.data) {
        let s = sample?;
        if !deleted.iter().any(|i| i.contains(s.t_ms)) {
            builder.push(s.t_ms, s.start_ms, &s.value);
        }
    }
    Ok(builder.finish().iter().flat_map(|c| BlockChunk::from_chunk(c, rule)).collect())
}
