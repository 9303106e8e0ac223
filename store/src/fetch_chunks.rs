//! Chunks from the bucket by ranged reads: near ones are read together, each is checked against its checksum.
//!
//! The index says where a chunk begins, not how long it is. Chunks of one series lie one after the other, so the
//! next one's beginning is a bound; for the last, the block's description may name the largest chunk, else an
//! estimate is read and what is longer is read again.

use std::collections::BTreeMap;
use std::ops::Range;

use bytes::Bytes;
use cairn_bucket::{Bucket, layout};
use cairn_model::storage::StoreError;
use cairn_tsdb::block::segment::segment_name;
use cairn_tsdb::decbuf::Decbuf;
use futures::{StreamExt, TryStreamExt, stream};

use crate::blocks::Block;
use crate::failure::Failure;
use crate::index_cache::of_bucket;

/// Gaps up to this are read rather than skipped: cheaper than another request. Thanos' figure.
const MAX_GAP_BYTES: u64 = 512 << 10;
/// Longest single read.
const MAX_READ_BYTES: u64 = 16 << 20;
/// Length of a chunk that nothing is known of; Thanos' figure.
const ESTIMATED_CHUNK_BYTES: u64 = 16_000;
/// Reads of one batch that are on the way at once.
const READS_IN_FLIGHT: usize = 8;
/// Longest varint of a length, encoding byte and checksum around a payload.
const FRAME_BYTES: u64 = 5 + 1 + 4;
/// Bytes before the first chunk of a segment.
const SEGMENT_HEADER_BYTES: u64 = 8;

/// Encoding byte and payload of chunks by place.
pub type Chunks = BTreeMap<u64, (u8, Bytes)>;

/// A place (segment in the high, offset in the low 32 bits) with the end that is known for it, if any.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Wanted {
    /// Where the chunk begins.
    pub place: u64,
    /// Where the next one begins, or 0.
    pub next_place: u64,
}

/// Fetches all `wanted` chunks of a block; gives them with the bytes that were read.
///
/// # Errors
/// [`Failure`]; one damaged chunk fails the block.
pub async fn fetch(
    bucket: &Bucket,
    block: &Block,
    mut wanted: Vec<Wanted>,
) -> Result<(Chunks, u64), Failure> {
    wanted.sort_unstable();
    wanted.dedup();
    let reads = plan(block, &wanted)?;
    let fetched: Vec<(Read, Bytes)> = stream::iter(reads)
        .map(|read| async move {
            let object = layout::in_block(block.ulid(), &format!("chunks/{}", segment_name(read.segment)));
            let bytes = bucket.get_range(&object, read.bytes.start, read.bytes.end).await;
            bytes.map(|b| (read, b)).map_err(|e| of_bucket(block.ulid(), e))
        })
        .buffer_unordered(READS_IN_FLIGHT)
        .try_collect()
        .await?;
    let (mut chunks, mut read_bytes, mut longer) = (Chunks::new(), 0, Vec::new());
    for (read, bytes) in fetched {
        read_bytes += bytes.len() as u64;
        for w in &wanted[read.wanted.clone()] {
            let at = (w.place & 0xffff_ffff) - read.bytes.start;
            match parse(&bytes, at as usize) {
                Parsed::Chunk(encoding, payload) => drop(chunks.insert(w.place, (encoding, payload))),
                Parsed::Longer(len) => longer.push((w.place, len)),
                Parsed::Damaged(what) => return Err(damaged(block, w.place, what)),
            }
        }
    }
    for (place, len) in longer {
        let (segment, offset) = split(place);
        let end = offset + len;
        if end > segment_bytes(block, segment) {
            return Err(damaged(block, place, "chunk reaches past its segment"));
        }
        let object = layout::in_block(block.ulid(), &format!("chunks/{}", segment_name(segment)));
        let bytes = bucket.get_range(&object, offset, end).await.map_err(|e| of_bucket(block.ulid(), e))?;
        read_bytes += bytes.len() as u64;
        match parse(&bytes, 0) {
            Parsed::Chunk(encoding, payload) => drop(chunks.insert(place, (encoding, payload))),
            _ => return Err(damaged(block, place, "chunk cannot be read")),
        }
    }
    Ok((chunks, read_bytes))
}

/// One ranged read and which of the wanted chunks lie in it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Read {
    segment: usize,
    bytes: Range<u64>,
    wanted: Range<usize>,
}

fn plan(block: &Block, wanted: &[Wanted]) -> Result<Vec<Read>, Failure> {
    let stats = block.meta.thanos.as_ref().map(|t| t.index_stats).unwrap_or_default();
    let guess = match stats.chunk_max_size {
        0 => ESTIMATED_CHUNK_BYTES,
        n => n + FRAME_BYTES,
    };
    let mut reads: Vec<Read> = Vec::new();
    for (i, w) in wanted.iter().enumerate() {
        let (segment, start) = split(w.place);
        let size = segment_bytes(block, segment);
        if start < SEGMENT_HEADER_BYTES || start >= size {
            return Err(damaged(block, w.place, "the index names a place outside the segment"));
        }
        let known = w.next_place > w.place && w.next_place >> 32 == w.place >> 32;
        let end = if known { split(w.next_place).1 } else { start.saturating_add(guess) }.min(size);
        match reads.last_mut() {
            Some(r)
                if r.segment == segment
                    && start <= r.bytes.end.saturating_add(MAX_GAP_BYTES)
                    && end.saturating_sub(r.bytes.start) <= MAX_READ_BYTES =>
            {
                r.bytes.end = r.bytes.end.max(end);
                r.wanted.end = i + 1;
            }
            _ => reads.push(Read { segment, bytes: start..end, wanted: i..i + 1 }),
        }
    }
    Ok(reads)
}

enum Parsed {
    Chunk(u8, Bytes),
    /// The record has this many bytes from its beginning.
    Longer(u64),
    Damaged(&'static str),
}

/// Reads the record `uvarint len | u8 encoding | data | u32 CRC` at `at`.
fn parse(bytes: &Bytes, at: usize) -> Parsed {
    let mut d = Decbuf::at(bytes, at);
    let Ok(len) = d.uvarint() else {
        return if bytes.len() - at < 5 {
            Parsed::Longer(5)
        } else {
            Parsed::Damaged("no length of a chunk")
        };
    };
    let begin = d.pos();
    let Some(end) = usize::try_from(len).ok().and_then(|n| begin.checked_add(n)?.checked_add(5)) else {
        return Parsed::Damaged("length of a chunk is out of range");
    };
    if end > bytes.len() {
        return Parsed::Longer((end - at) as u64);
    }
    let checked = &bytes[begin..end - 4];
    if crc32c::crc32c(checked).to_be_bytes() != bytes[end - 4..end] {
        return Parsed::Damaged("checksum mismatch in a chunk");
    }
    Parsed::Chunk(checked[0], bytes.slice(begin + 1..end - 4))
}

fn split(place: u64) -> (usize, u64) {
    ((place >> 32) as usize, place & 0xffff_ffff)
}

fn segment_bytes(block: &Block, segment: usize) -> u64 {
    block.files.get(&format!("chunks/{}", segment_name(segment))).copied().unwrap_or(0)
}

fn damaged(block: &Block, place: u64, what: &str) -> Failure {
    let (segment, offset) = split(place);
    let reason = format!("chunks/{}: {what} (at byte {offset})", segment_name(segment));
    Failure::Corrupt { ulid: block.ulid(), reason }
}

/// A damaged block as an answer's error.
pub fn as_store_error(f: Failure) -> StoreError {
    match f {
        Failure::Corrupt { ulid, reason } => StoreError::Read { object: format!("block {ulid}"), reason },
        Failure::Passing(e) => e,
    }
}
