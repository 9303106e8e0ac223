//! One series of an index: its labels as symbols and the places of its chunks.

use cairn_model::labels::write_label;
use cairn_model::{LabelsRef, TimestampMs};

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
        self.read_with(file, at, |label, out| write_of(label, symbols, out))
    }

    /// The same, where series after series is read: label texts that came before are not looked up again.
    ///
    /// # Errors
    /// As [`SeriesEntry::read`].
    pub fn read_known(
        &mut self,
        file: &[u8],
        at: usize,
        symbols: &Symbols,
        known: &mut KnownSymbols,
    ) -> Result<(), Malformed> {
        self.read_with(file, at, |label, out| known.write(label, symbols, out))
    }

    fn read_with(
        &mut self,
        file: &[u8],
        at: usize,
        mut write: impl FnMut(LabelSymbols, &mut Vec<u8>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        let body = entry_body(file, at)?;
        let mut d = Decbuf::new(body.0);
        self.read_body(&mut d, &mut write).map_err(|m| m.shifted(body.1))
    }

    fn read_body(
        &mut self,
        d: &mut Decbuf<'_>,
        write: &mut impl FnMut(LabelSymbols, &mut Vec<u8>) -> Result<(), Malformed>,
    ) -> Result<(), Malformed> {
        self.label_bytes.clear();
        self.chunks.clear();
        let mut name_before = None;
        for_each_label(d, |name, value, at| {
            // Symbols are numbered in order of their texts.
            if name_before >= Some(name) {
                return Err(Malformed { what: "labels out of order or repeated", at });
            }
            name_before = Some(name);
            write(LabelSymbols { name, value, at }, &mut self.label_bytes)
        })?;
        read_chunks(d, &mut self.chunks)?;
        if d.remaining() > 0 {
            return Err(d.fault("series entry has trailing bytes"));
        }
        Ok(())
    }
}

/// A label as a series entry names it, and where.
#[derive(Clone, Copy)]
struct LabelSymbols {
    name: u32,
    value: u32,
    at: usize,
}

/// Appends a label in canonical form.
fn write_of(label: LabelSymbols, symbols: &Symbols, out: &mut Vec<u8>) -> Result<(), Malformed> {
    let (name, value) = (symbols.get(label.name)?, symbols.get(label.value)?);
    if name.is_empty() || value.is_empty() {
        return Err(Malformed { what: "empty label", at: label.at });
    }
    write_label(out, name, value);
    Ok(())
}

/// Labels of one index that were written before. The series of a metric name the same ones again and again, and looking
/// a symbol up walks the table and checks its text. A label that meets another one in its place is forgotten.
#[derive(Debug)]
pub struct KnownSymbols(Box<[KnownLabel]>);

#[derive(Debug, Clone, Copy)]
struct KnownLabel {
    /// Of name and value.
    symbols: (u32, u32),
    /// Bytes of `text` that are used; none for no label.
    len: u8,
    /// Canonical form.
    text: [u8; KNOWN_BYTES],
}

/// Labels that are remembered: 64 KiB. Judgement: the labels of a selector, instances left out, are some dozens.
const KNOWN_LABELS: usize = 1024;

/// Longest label that is remembered: it makes an entry a cache line.
const KNOWN_BYTES: usize = 55;

impl Default for KnownSymbols {
    fn default() -> Self {
        let none = KnownLabel { symbols: (0, 0), len: 0, text: [0; KNOWN_BYTES] };
        KnownSymbols(vec![none; KNOWN_LABELS].into_boxed_slice())
    }
}

impl KnownSymbols {
    #[inline]
    fn write(&mut self, label: LabelSymbols, symbols: &Symbols, out: &mut Vec<u8>) -> Result<(), Malformed> {
        let place = (label.name.wrapping_mul(31) ^ label.value) as usize % KNOWN_LABELS;
        let known = &mut self.0[place];
        if known.len > 0 && known.symbols == (label.name, label.value) {
            // All of it and then cut: copying a length that the compiler knows takes a few instructions.
            let end = out.len() + usize::from(known.len);
            out.extend_from_slice(&known.text);
            out.truncate(end);
            return Ok(());
        }
        let begin = out.len();
        write_of(label, symbols, out)?;
        let text = &out[begin..];
        if let Some(place) = known.text.get_mut(..text.len()) {
            place.copy_from_slice(text);
            (known.symbols, known.len) = ((label.name, label.value), text.len() as u8);
        }
        Ok(())
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
