//! Chunk segments: files of chunks one after the other. Layout: docs/formats/block.md.

use std::path::{Path, PathBuf};

use bytes::Bytes;
use cairn_model::{Chunk, ChunkData, Encoding, TimestampMs};
use cairn_runtime::Disk;

use super::file::FileWriter;
use crate::chunkenc::{ChunkBuilder, CutRule, Malformed, sample_count};
use crate::decbuf::{Decbuf, checksum_holds, put_uvarint};
use crate::error::TsdbError;
use crate::index::ChunkMeta;

/// First four bytes of a segment.
const MAGIC: u32 = 0x85BD_40DD;

/// The only version.
const VERSION: u8 = 1;

/// Magic, version, padding.
const HEADER_BYTES: usize = 8;

/// Size at which a segment is cut, as in Prometheus.
pub const SEGMENT_BYTES: u64 = 512 << 20;

/// Encoding byte of a downsampled chunk of five aggregates.
pub const AGGR_ENCODING: u8 = 0xff;

/// Longest chunk that is written: what a segment must hold beside its header.
const MAX_CHUNK_BYTES: usize = 256 << 20;

/// A chunk as it lies in a block: its payload is passed on undecoded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BlockChunk {
    /// Time of the first sample.
    pub min_ms: TimestampMs,
    /// Time of the last sample.
    pub max_ms: TimestampMs,
    /// Encoding byte: [`Encoding`]'s number, or [`AGGR_ENCODING`].
    pub encoding: u8,
    /// The payload.
    pub data: Bytes,
}

impl BlockChunk {
    /// Encoded chunks as they are; columns are encoded, into several chunks where `rule` wants it.
    pub fn from_chunk(chunk: &Chunk, rule: CutRule) -> Vec<BlockChunk> {
        let (min_ms, max_ms) = (chunk.min_ms, chunk.max_ms);
        let columns = match &chunk.data {
            ChunkData::Encoded(encoding, data) => {
                return vec![BlockChunk { min_ms, max_ms, encoding: *encoding as u8, data: data.clone() }];
            }
            ChunkData::Columns(columns) => columns,
        };
        let mut builder = ChunkBuilder::new(rule);
        builder.push_columns(columns);
        builder.finish().iter().flat_map(|c| Self::from_chunk(c, rule)).collect()
    }

    /// The raw chunk, or `None` when it is of another encoding than raw samples have.
    pub fn to_chunk(&self) -> Option<Chunk> {
        let encoding = Encoding::from_byte(self.encoding)?;
        let data = ChunkData::Encoded(encoding, self.data.clone());
        Some(Chunk { min_ms: self.min_ms, max_ms: self.max_ms, data })
    }

    /// How many samples the chunk says it has.
    pub fn samples(&self) -> usize {
        match self.encoding {
            AGGR_ENCODING => super::aggr::sample_count(&self.data),
            _ => sample_count(&self.data),
        }
    }
}

/// Writes the segments of one block.
pub struct SegmentWriter<'d> {
    disk: &'d dyn Disk,
    dir: PathBuf,
    segment_bytes: u64,
    open: Option<FileWriter>,
    /// Sizes of the closed segments.
    sizes: Vec<u64>,
    frame: Vec<u8>,
}

impl<'d> SegmentWriter<'d> {
    /// Into the folder `dir`, which exists; segments are cut at `segment_bytes`.
    pub fn new(disk: &'d dyn Disk, dir: &Path, segment_bytes: u64) -> Self {
        SegmentWriter {
            disk,
            dir: dir.to_owned(),
            segment_bytes,
            open: None,
            sizes: Vec::new(),
            frame: Vec::new(),
        }
    }

    /// Appends a chunk; gives its place and the bytes it takes.
    ///
    /// # Errors
    /// [`TsdbError::Io`]; [`TsdbError::Invalid`] for a chunk over 256 MiB.
    pub fn write(&mut self, chunk: &BlockChunk) -> Result<(ChunkMeta, u64), TsdbError> {
        if chunk.data.len() > MAX_CHUNK_BYTES {
            let what = format!("a chunk of {} bytes, limit {MAX_CHUNK_BYTES}", chunk.data.len());
            return Err(TsdbError::Invalid { object: self.dir.display().to_string(), what });
        }
        self.frame.clear();
        put_uvarint(&mut self.frame, chunk.data.len() as u64);
        let checked_from = self.frame.len();
        self.frame.push(chunk.encoding);
        self.frame.extend_from_slice(&chunk.data);
        let crc = crc32c::crc32c(&self.frame[checked_from..]);
        self.frame.extend_from_slice(&crc.to_be_bytes());
        let size = self.frame.len() as u64;

        if self
            .open
            .as_ref()
            .is_some_and(|f| f.pos() + size > self.segment_bytes && f.pos() > HEADER_BYTES as u64)
        {
            self.close()?;
        }
        let file = match &mut self.open {
            Some(file) => file,
            none => {
                let path = self.dir.join(segment_name(self.sizes.len()));
                let mut file = FileWriter::create(self.disk, &path)?;
                file.write(&MAGIC.to_be_bytes())?;
                file.write(&[VERSION, 0, 0, 0])?;
                none.insert(file)
            }
        };
        let place = (self.sizes.len() as u64) << 32 | file.pos();
        file.write(&self.frame)?;
        Ok((ChunkMeta { min_ms: chunk.min_ms, max_ms: chunk.max_ms, place }, size))
    }

    /// Makes all segments durable and gives their sizes.
    ///
    /// # Errors
    /// [`TsdbError::Io`].
    pub fn finish(mut self) -> Result<Vec<u64>, TsdbError> {
        self.close()?;
        Ok(self.sizes)
    }

    fn close(&mut self) -> Result<(), TsdbError> {
        if let Some(file) = self.open.take() {
            self.sizes.push(file.finish()?);
        }
        Ok(())
    }
}

/// Name of the segment of an index that counts from 0.
pub fn segment_name(index: usize) -> String {
    format!("{:06}", index + 1)
}

/// The segments of a block, mapped.
#[derive(Debug, Clone)]
pub struct Segments {
    object: String,
    files: Vec<Bytes>,
}

impl Segments {
    /// Maps the segments in folder `dir`.
    ///
    /// # Errors
    /// [`TsdbError::Io`], [`TsdbError::Corrupt`] when a file is no segment or one is missing in the sequence.
    pub fn open(disk: &dyn Disk, dir: &Path) -> Result<Segments, TsdbError> {
        let mut files = Vec::new();
        for entry in disk.list(dir).map_err(TsdbError::io("list", dir))? {
            // Names that are not all digits are leftovers that no reader looks at.
            if entry.is_dir || entry.name.is_empty() || !entry.name.bytes().all(|b| b.is_ascii_digit()) {
                continue;
            }
            let path = dir.join(&entry.name);
            if entry.name != segment_name(files.len()) {
                let what = format!("chunk segment {} is missing", segment_name(files.len()));
                return Err(TsdbError::corrupt(dir.display().to_string(), 0, what));
            }
            files.push(disk.map(&path).map_err(TsdbError::io("map", &path))?);
        }
        Self::from_bytes(dir.display().to_string(), files)
    }

    /// Segments in memory; `object` names their folder in errors.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] when one is no segment.
    pub fn from_bytes(object: impl Into<String>, files: Vec<Bytes>) -> Result<Segments, TsdbError> {
        let segments = Segments { object: object.into(), files };
        for (i, file) in segments.files.iter().enumerate() {
            check_header(file).map_err(|m| TsdbError::malformed(segments.name(i), 0, m))?;
        }
        Ok(segments)
    }

    /// How many there are, and their total size in bytes.
    pub fn size(&self) -> (usize, u64) {
        (self.files.len(), self.files.iter().map(|f| f.len() as u64).sum())
    }

    /// The chunk at the place that the index gave, without copying, its checksum checked.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] naming segment and offset.
    pub fn read(&self, meta: &ChunkMeta) -> Result<BlockChunk, TsdbError> {
        let (segment, offset) = ((meta.place >> 32) as usize, meta.place & 0xffff_ffff);
        let Some(file) = self.files.get(segment) else {
            return Err(TsdbError::corrupt(
                self.name(segment),
                offset,
                "the index names a segment that is not there",
            ));
        };
        let (encoding, data) =
            read_chunk(file, offset as usize).map_err(|m| TsdbError::malformed(self.name(segment), 0, m))?;
        Ok(BlockChunk { min_ms: meta.min_ms, max_ms: meta.max_ms, encoding, data })
    }

    /// Name of a segment for messages.
    pub fn name(&self, segment: usize) -> String {
        format!("{}/{}", self.object, segment_name(segment))
    }
}

fn check_header(file: &[u8]) -> Result<(), Malformed> {
    let mut d = Decbuf::new(file);
    if d.be_u32()? != MAGIC {
        return Err(Malformed { what: "not a chunk segment: wrong magic number", at: 0 });
    }
    if d.take(4)?[0] != VERSION {
        return Err(Malformed { what: "unsupported chunk segment version", at: 4 });
    }
    Ok(())
}

/// Reads the record `uvarint len | u8 encoding | data | u32 CRC` at `offset`.
pub fn read_chunk(file: &Bytes, offset: usize) -> Result<(u8, Bytes), Malformed> {
    if offset < HEADER_BYTES {
        return Err(Malformed { what: "chunk inside the segment's header", at: offset });
    }
    let mut d = Decbuf::at(file, offset);
    let len = d.count(1)?;
    let begin = d.pos();
    let checked = d.take(len + 1)?;
    if !checksum_holds(d.be_u32()?, checked) {
        return Err(Malformed { what: "checksum mismatch in a chunk", at: offset });
    }
    Ok((checked[0], file.slice(begin + 1..begin + 1 + len)))
}
