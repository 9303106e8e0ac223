//! One series of an index: its labels as symbols and the places of its chunks.

use cairn_model::labels::write_label;
use cairn_model::{LabelsRef, TimestampMs};
use hashbrown::HashMap;

use super::Symbols;
use crate::chunkenc::Malformed;
use crate::decbuf::{Decbuf, checksum_holds, put_uvarint, put_varint};

/// Longest series entry that is written or read.
const MAX_ENTRY_BYTES: usize = 64 << 20;

/// Where a chunk is and what it covers: `min_ms ..= max_ms`, both sample times.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ChunkMeta {
    /// Time of the first sample.
    pub min_ms: TimestampMs,
    /// Time of the last sample.
    pub max_ms: TimestampMs,
    /// Segment (0-based) in the high 32 bits, offset in the low 32.
    pub place: u64,
}

impl ChunkMeta {
    /// Whether any sample may lie in `min_ms ..= max_ms`.
    pub fn overlaps(&self, min_ms: TimestampMs, max_ms: TimestampMs) -> bool {
        self.min_ms <= max_ms && min_ms <= self.max_ms
    }
}

/// A series as read; reuse it so that reading many allocates once.
#[derive(Debug, Clone, Default)]
pub struct SeriesEntry {
    /// Labels in canonical form.
    label_bytes: Vec<u8>,
    /// Chunks in order of time.
    pub chunks: Vec<ChunkMeta>,
}

impl SeriesEntry {
    /// The labels.
    pub fn labels(&self) -> LabelsRef<'_> {
        LabelsRef::from_canonical(&self.label_bytes)
    }

    /// Reads the entry that begins at `at` of `file` (`uvarint len | body | CRC`) into `self`.
    ///
    /// # Errors
    /// [`Malformed`] with positions in `file`: checksum, symbols, order of labels, or order of chunks.
    pub fn read(&mut self, file: &[u8], at: usize, symbols: &Symbols) -> Result<(), Malformed> {
        self.read_with(file, at, |name, value| Ok((symbols.get(name)?, symbols.get(value)?)))
    }

    /// The same, where series after series is read: label texts that came before are not looked up again.
    ///
    /// # Errors
    /// As [`SeriesEntry::read`].
    pub fn read_known<'f>(
        &mut self,
        file: &[u8],
        at: usize,
        symbols: &'f Symbols,
        known: &mut KnownSymbols<'f>,
    ) -> Result<(), Malformed> {
        self.read_with(file, at, |name, value| Ok((known.get(name, symbols)?, known.get(value, symbols)?)))
    }

    fn read_with<'f>(
        &mut self,
        file: &[u8],
        at: usize,
        mut texts: impl FnMut(u32, u32) -> Result<(&'f str, &'f str), Malformed>,
    ) -> Result<(), Malformed> {
        let body = entry_body(file, at)?;
        let mut d = Decbuf::new(body.0);
        self.read_body(&mut d, &mut texts).map_err(|m| m.shifted(body.1))
    }

    fn read_body<'f>(
        &mut self,
        d: &mut Decbuf<'_>,
        texts: &mut impl FnMut(u32, u32) -> Result<(&'f str, &'f str), Malformed>,
    ) -> Result<(), Malformed> {
        self.label_bytes.clear();
        self.chunks.clear();
        let mut name_before = "";
        for_each_label(d, |name, value, at| {
            let (name, value) = texts(name, value)?;
            if name <= name_before || value.is_empty() {
                return Err(Malformed { what: "labels out of order, repeated or empty", at });
            }
            write_label(&mut self.label_bytes, name, value);
            name_before = name;
            Ok(())
        })?;
        read_chunks(d, &mut self.chunks)?;
        if d.remaining() > 0 {
            return Err(d.fault("series entry has trailing bytes"));
        }
        Ok(())
    }
}

/// Symbols of one index that were looked up before. The series of a metric name the same ones again and again, and
/// looking one up walks the table and checks its text.
#[derive(Debug, Default)]
pub struct KnownSymbols<'f>(HashMap<u32, &'f str>);

impl<'f> KnownSymbols<'f> {
    fn get(&mut self, ordinal: u32, symbols: &'f Symbols) -> Result<&'f str, Malformed> {
        if let Some(text) = self.0.get(&ordinal).copied() {
            return Ok(text);
        }
        let text = symbols.get(ordinal)?;
        self.0.insert(ordinal, text);
        Ok(text)
    }
}

/// The body of the entry at `at` and where it begins.
///
/// # Errors
/// [`Malformed`] when it leaves the file or its checksum differs.
pub fn entry_body(file: &[u8], at: usize) -> Result<(&[u8], usize), Malformed> {
    let mut d = Decbuf::at(file, at);
    let len = d.count(1)?;
    if len > MAX_ENTRY_BYTES {
        return Err(d.fault("series entry too long"));
    }
    let begin = d.pos();
    let body = d.take(len)?;
    if !checksum_holds(d.be_u32()?, body) {
        return Err(Malformed { what: "checksum mismatch in a series entry", at: begin });
    }
    Ok((body, begin))
}

/// Calls `each` with name symbol, value symbol and position of every label.
///
/// # Errors
/// [`Malformed`] when the entry is broken, or what `each` gives.
pub fn for_each_label(
    d: &mut Decbuf<'_>,
    mut each: impl FnMut(u32, u32, usize) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    for _ in 0..d.count(2)? {
        let at = d.pos();
        let symbol = |v: u64| u32::try_from(v).map_err(|_| Malformed { what: "symbol out of range", at });
        let (name, value) = (symbol(d.uvarint()?)?, symbol(d.uvarint()?)?);
        each(name, value, at)?;
    }
    Ok(())
}

fn read_chunks(d: &mut Decbuf<'_>, out: &mut Vec<ChunkMeta>) -> Result<(), Malformed> {
    let n = d.count(3)?;
    out.reserve(n);
    let mut before: Option<ChunkMeta> = None;
    for _ in 0..n {
        let min_ms = match before {
            None => d.varint()?,
            Some(b) => b.max_ms.wrapping_add(d.uvarint()? as i64),
        };
        let max_ms = min_ms.wrapping_add(d.uvarint()? as i64);
        let place = match before {
            None => d.uvarint()?,
            Some(b) => b.place.wrapping_add(d.varint()? as u64),
        };
        if max_ms < min_ms || before.is_some_and(|b| min_ms < b.max_ms) {
            return Err(d.fault("chunks of a series out of order"));
        }
        let meta = ChunkMeta { min_ms, max_ms, place };
        out.push(meta);
        before = Some(meta);
    }
    Ok(())
}

/// Appends an entry with its length and checksum.
pub fn write_entry(out: &mut Vec<u8>, scratch: &mut Vec<u8>, labels: &[(u32, u32)], chunks: &[ChunkMeta]) {
    scratch.clear();
    put_uvarint(scratch, labels.len() as u64);
    for (name, value) in labels {
        put_uvarint(scratch, u64::from(*name));
        put_uvarint(scratch, u64::from(*value));
    }
    put_uvarint(scratch, chunks.len() as u64);
    let mut before: Option<&ChunkMeta> = None;
    for c in chunks {
        match before {
            None => put_varint(scratch, c.min_ms),
            Some(b) => put_uvarint(scratch, c.min_ms.wrapping_sub(b.max_ms) as u64),
        }
        put_uvarint(scratch, c.max_ms.wrapping_sub(c.min_ms) as u64);
        match before {
            None => put_uvarint(scratch, c.place),
            Some(b) => put_varint(scratch, c.place.wrapping_sub(b.place) as i64),
        }
        before = Some(c);
    }
    put_uvarint(out, scratch.len() as u64);
    out.extend_from_slice(scratch);
    out.extend_from_slice(&crc32c::crc32c(scratch).to_be_bytes());
}
