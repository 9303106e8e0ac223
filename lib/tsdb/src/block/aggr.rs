//! The chunk of a downsampled block: count, sum, min, max and counter, each a chunk of its own, as Thanos stores
//! them under encoding byte 255. Layout: docs/formats/block.md.

use bytes::Bytes;
use cairn_model::chunk::Aggregates;
use cairn_model::{Chunk, ChunkData, Encoding, TimestampMs};

use crate::chunkenc::{self, Malformed};
use crate::decbuf::{Decbuf, put_uvarint};

/// Reads the five slots of `data`; their payloads are not copied.
///
/// # Errors
/// [`Malformed`] when a slot ends early or has an unknown encoding.
pub fn read(min_ms: TimestampMs, max_ms: TimestampMs, data: &Bytes) -> Result<Aggregates, Malformed> {
    let mut d = Decbuf::new(data);
    let mut slot = || -> Result<Option<Chunk>, Malformed> {
        let len = d.count(1)?;
        if len == 0 {
            return Ok(None);
        }
        let encoding =
            Encoding::from_byte(d.take(1)?[0]).ok_or_else(|| d.fault("unknown encoding of an aggregate"))?;
        let payload = data.slice_ref(d.take(len)?);
        Ok(Some(Chunk { min_ms, max_ms, data: ChunkData::Encoded(encoding, payload) }))
    };
    let [count, sum, min, max, counter] = [slot()?, slot()?, slot()?, slot()?, slot()?];
    Ok(Aggregates { min_ms, max_ms, count, sum, min, max, counter })
}

/// The bytes of five slots; columns are encoded. `None` when a slot holds more than one chunk can.
pub fn write(a: &Aggregates) -> Option<Vec<u8>> {
    let mut out = Vec::new();
    for slot in [&a.count, &a.sum, &a.min, &a.max, &a.counter] {
        let Some(chunk) = slot else {
            put_uvarint(&mut out, 0);
            continue;
        };
        let rule = chunkenc::CutRule {
            max_samples: usize::from(u16::MAX),
            histogram_bytes: usize::MAX,
            ..chunkenc::CutRule::default()
        };
        match super::BlockChunk::from_chunk(chunk, rule).as_slice() {
            [] => put_uvarint(&mut out, 0),
            [one] => {
                put_uvarint(&mut out, one.data.len() as u64);
                out.push(one.encoding);
                out.extend_from_slice(&one.data);
            }
            _ => return None,
        }
    }
    Some(out)
}

/// Samples of a chunk of aggregates: those of its first slot that is there.
pub fn sample_count(data: &[u8]) -> usize {
    let mut d = Decbuf::new(data);
    while let Ok(len) = d.count(1) {
        if len > 0 {
            return d.take(1).and_then(|_| d.take(len)).map_or(0, chunkenc::sample_count);
        }
    }
    0
}
