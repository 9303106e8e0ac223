//! What few series have, at rest: start timestamps, side samples, the open histogram chunk.

use cairn_model::{Chunk, ChunkData, Encoding};

use crate::chunkenc::{ChunkDecoder, Malformed};
use crate::decbuf::{Decbuf, put_uvarint, put_varint};
use crate::head::histogram::OpenHistogram;
use crate::head::partition::Extra;
use crate::head::series::WindowNo;
use crate::head::side::{Part, PartKey, Side};
use crate::head::starts::Starts;
use crate::snapshot::manifest::{number, window};

/// Appends extra state.
pub fn put_extra(extra: &Extra, out: &mut Vec<u8>) {
    let runs = extra.starts.runs();
    put_uvarint(out, runs.len() as u64);
    for (from, start) in runs {
        put_varint(out, *from);
        put_varint(out, *start);
    }
    put_uvarint(out, extra.side.parts().count() as u64);
    for (key, part) in extra.side.parts() {
        put_varint(out, i64::from(key.window));
        put_uvarint(out, u64::from(key.generation));
        let chunks = part.all_chunks();
        put_uvarint(out, chunks.len() as u64);
        for chunk in &chunks {
            let ChunkData::Encoded(encoding, bytes) = &chunk.data else {
                unreachable!("side chunks are encoded")
            };
            put_varint(out, chunk.min_ms);
            put_varint(out, chunk.max_ms);
            put_chunk(*encoding, bytes, out);
        }
    }
    match &extra.histogram {
        None => out.push(0),
        Some(open) => {
            put_chunk(open.encoding(), open.bytes(), out);
            put_varint(out, i64::from(open.window));
            put_varint(out, open.min_ms);
            put_varint(out, open.max_ms);
        }
    }
}

fn put_chunk(encoding: Encoding, bytes: &[u8], out: &mut Vec<u8>) {
    out.push(encoding as u8);
    put_uvarint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads what [`put_extra`] wrote; `seen` learns of the windows.
///
/// # Errors
/// [`Malformed`].
pub fn take_extra(d: &mut Decbuf<'_>, mut seen: impl FnMut(WindowNo)) -> Result<Extra, Malformed> {
    let mut runs = Vec::new();
    for _ in 0..d.count(2)? {
        runs.push((d.varint()?, d.varint()?));
    }
    let starts = Starts::from_runs(runs).ok_or_else(|| d.fault("start timestamps out of order"))?;
    let mut parts: Vec<(PartKey, Part)> = Vec::new();
    for _ in 0..d.count(3)? {
        let key = PartKey { window: window(d)?, generation: number(d)? };
        let mut chunks = Vec::new();
        for _ in 0..d.count(4)? {
            let (min_ms, max_ms) = (d.varint()?, d.varint()?);
            let encoding = d.take(1)?[0];
            let (encoding, bytes) = take_chunk(encoding, d)?;
            // Side chunks are read by code that trusts them.
            if ChunkDecoder::new(encoding, bytes).any(|sample| sample.is_err()) {
                return Err(d.fault("a side chunk that does not decode"));
            }
            let data = ChunkData::Encoded(encoding, bytes::Bytes::copy_from_slice(bytes));
            chunks.push(Chunk { min_ms, max_ms, data });
        }
        if parts.last().is_some_and(|last| last.0 >= key) {
            return Err(d.fault("side samples out of order"));
        }
        seen(key.window);
        parts.push((key, Part::of_chunks(chunks)));
    }
    let histogram = match d.take(1)?[0] {
        0 => None,
        encoding => {
            let (encoding, bytes) = take_chunk(encoding, d)?;
            let (window, min_ms, max_ms) = (window(d)?, d.varint()?, d.varint()?);
            seen(window);
            let open = OpenHistogram::reopen(window, (min_ms, max_ms), encoding, bytes)?;
            Some(open.ok_or_else(|| d.fault("an open chunk of floats among histograms"))?)
        }
    };
    Ok(Extra { starts, side: Side::of_parts(parts), histogram })
}

fn take_chunk<'a>(encoding: u8, d: &mut Decbuf<'a>) -> Result<(Encoding, &'a [u8]), Malformed> {
    let encoding = Encoding::from_byte(encoding).ok_or_else(|| d.fault("unknown chunk encoding"))?;
    let len = d.count(1)?;
    Ok((encoding, d.take(len)?))
}
