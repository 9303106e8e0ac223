//! Writing an index: symbols first, then series one by one, then everything derived from them.
//!
//! The postings are made by reading the series back, as many label names a pass as fit [`PASS_POSTINGS`], so that
//! memory does not grow with the number of series.

use std::collections::BTreeMap;
use std::path::Path;

use cairn_model::{Labels, LabelsRef};
use cairn_runtime::Disk;
use hashbrown::HashTable;
use xxhash_rust::xxh3::xxh3_64;

use super::postings::write_body;
use super::series::{ChunkMeta, for_each_label, write_entry};
use super::{ALL_POSTINGS, SERIES_ALIGN, Toc};
use crate::block::file::FileWriter;
use crate::decbuf::{Decbuf, put_str, put_uvarint};
use crate::error::TsdbError;

/// Most postings collected in one pass over the series: 64 MiB of them.
const PASS_POSTINGS: u64 = 8 << 20;

/// As many are collected, whatever the number of series: 2 MiB.
const MIN_PASS_POSTINGS: u64 = 1 << 18;

/// Postings collected in one pass for each series: a head of few series is not to grow much while it is cut.
const PASS_POSTINGS_A_SERIES: u64 = 1;

/// Bytes of series read back at once.
const READ_BACK_BYTES: usize = 256 << 10;

/// Postings begin at multiples of this.
const POSTINGS_ALIGN: u64 = 4;

/// Texts that an index will need, collected before it is written.
#[derive(Debug, Clone, Default)]
pub struct SymbolSet {
    arena: Vec<u8>,
    /// End of each text in the arena, in order of insertion.
    ends: Vec<u32>,
    by_hash: HashTable<u32>,
}

impl SymbolSet {
    /// The set of nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds names and values of `labels`.
    pub fn add_labels(&mut self, labels: LabelsRef<'_>) {
        for (name, value) in labels.iter() {
            self.insert(name);
            self.insert(value);
        }
    }

    /// Adds a text; gives its number in order of insertion.
    ///
    /// # Panics
    /// Beyond 4 GiB of text, the format's limit.
    pub fn insert(&mut self, text: &str) -> u32 {
        let hash = xxh3_64(text.as_bytes());
        if let Some(i) = self.by_hash.find(hash, |i| self.bytes(*i) == text.as_bytes()) {
            return *i;
        }
        let number = self.ends.len() as u32;
        self.arena.extend_from_slice(text.as_bytes());
        self.ends.push(u32::try_from(self.arena.len()).expect("symbols of a block stay below 4 GiB"));
        let (arena, ends) = (&self.arena, &self.ends);
        self.by_hash.insert_unique(hash, number, |i| xxh3_64(slice(arena, ends, *i)));
        number
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.ends.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// The same texts in order, numbered by it.
    fn sorted(mut self) -> SymbolSet {
        self.insert("");
        let mut order: Vec<u32> = (0..self.ends.len() as u32).collect();
        order.sort_unstable_by(|a, b| self.bytes(*a).cmp(self.bytes(*b)));
        let mut sorted = SymbolSet::default();
        for i in order {
            sorted.insert(std::str::from_utf8(self.bytes(i)).expect("only whole texts are inserted"));
        }
        sorted
    }

    fn find(&self, text: &str) -> Option<u32> {
        self.by_hash.find(xxh3_64(text.as_bytes()), |i| self.bytes(*i) == text.as_bytes()).copied()
    }

    fn bytes(&self, i: u32) -> &[u8] {
        slice(&self.arena, &self.ends, i)
    }

    fn text(&self, i: u32) -> &str {
        std::str::from_utf8(self.bytes(i)).expect("only whole texts are inserted")
    }
}

fn slice<'a>(arena: &'a [u8], ends: &[u32], i: u32) -> &'a [u8] {
    let i = i as usize;
    let start = if i == 0 { 0 } else { ends[i - 1] as usize };
    &arena[start..ends[i] as usize]
}

/// An index being written.
pub struct IndexWriter {
    file: FileWriter,
    toc: Toc,
    symbols: SymbolSet,
    /// For each label name, how many series have it: the work of the postings passes.
    name_counts: BTreeMap<u32, u64>,
    series: u64,
    last_labels: Option<Labels>,
    last_place: u64,
    max_entry_bytes: u64,
    pairs: Vec<(u32, u32)>,
    entry: Vec<u8>,
    scratch: Vec<u8>,
}

impl IndexWriter {
    /// Creates the file and writes the symbols.
    ///
    /// # Errors
    /// [`TsdbError::Io`].
    pub fn create(disk: &dyn Disk, path: &Path, symbols: SymbolSet) -> Result<Self, TsdbError> {
        let mut file = FileWriter::create(disk, path)?;
        file.write(&Toc::file_header())?;
        let symbols = symbols.sorted();
        let mut body = Vec::with_capacity(4 + symbols.arena.len() + symbols.len() * 2);
        body.extend_from_slice(&(symbols.len() as u32).to_be_bytes());
        for i in 0..symbols.len() as u32 {
            put_str(&mut body, symbols.text(i));
        }
        let mut toc = Toc { symbols: file.pos(), ..Toc::default() };
        file.write_section(&body)?;
        toc.series = file.pos();
        Ok(IndexWriter {
            file,
            toc,
            symbols,
            name_counts: BTreeMap::new(),
            series: 0,
            last_labels: None,
            last_place: 0,
            max_entry_bytes: 0,
            pairs: Vec::new(),
            entry: Vec::new(),
            scratch: Vec::new(),
        })
    }

    /// Adds a series; labels increase from call to call, chunk places over the whole file. Gives its reference.
    ///
    /// # Errors
    /// [`TsdbError::Invalid`] when an order is broken, a symbol is missing, or the index outgrows the format's
    /// 64 GiB.
    pub fn add_series(&mut self, labels: LabelsRef<'_>, chunks: &[ChunkMeta]) -> Result<u32, TsdbError> {
        if self.last_labels.as_ref().is_some_and(|last| last.as_ref() >= labels) {
            let last = self.last_labels.take().unwrap_or_default();
            return Err(self.invalid(format!("series {labels} comes after {last}: series must increase")));
        }
        self.check_chunks(labels, chunks)?;
        self.pairs.clear();
        for (name, value) in labels.iter() {
            let pair = self.symbols.find(name).zip(self.symbols.find(value));
            let Some((name, value)) = pair else {
                return Err(
                    self.invalid(format!("label {name}={value:?} of {labels} is not among the symbols"))
                );
            };
            *self.name_counts.entry(name).or_insert(0) += 1;
            self.pairs.push((name, value));
        }
        self.file.pad_to(SERIES_ALIGN)?;
        let reference = u32::try_from(self.file.pos() / SERIES_ALIGN)
            .map_err(|_| self.invalid("more than 64 GiB of series: split the block".to_owned()))?;
        self.entry.clear();
        write_entry(&mut self.entry, &mut self.scratch, &self.pairs, chunks);
        self.file.write(&self.entry)?;
        self.max_entry_bytes = self.max_entry_bytes.max(self.entry.len() as u64);
        self.series += 1;
        self.last_labels = Some(labels.to_labels());
        self.last_place = chunks.last().map_or(self.last_place, |c| c.place);
        Ok(reference)
    }

    /// Size of the largest series entry, for readers that fetch one with one request.
    pub fn max_entry_bytes(&self) -> u64 {
        self.max_entry_bytes
    }

    /// How many series were added.
    pub fn series_count(&self) -> u64 {
        self.series
    }

    /// Writes postings, their table and the table of contents, and makes the file durable. Gives its length.
    ///
    /// # Errors
    /// [`TsdbError::Io`]; [`TsdbError::Invalid`] when a section outgrows the format.
    pub fn finish(mut self) -> Result<u64, TsdbError> {
        self.toc.label_indices = self.file.pos();
        let mut table = Vec::new();
        table.extend_from_slice(&[0; 4]);
        let mut entries = 0u32;
        self.file.pad_to(POSTINGS_ALIGN)?;
        self.toc.postings = self.file.pos();

        let mut all = Vec::with_capacity(self.series as usize);
        self.each_series(|reference, _| {
            all.push(reference);
            Ok(())
        })?;
        let (name, value) = ALL_POSTINGS;
        self.write_list(name, value, &all, &mut table)?;
        entries += 1;
        drop(all);

        let names: Vec<(u32, u64)> = std::mem::take(&mut self.name_counts).into_iter().collect();
        let most = (self.series * PASS_POSTINGS_A_SERIES).clamp(MIN_PASS_POSTINGS, PASS_POSTINGS);
        let mut rest = names.as_slice();
        while let Some(first) = rest.first() {
            let mut sum = first.1;
            let more = rest[1..].iter().take_while(|(_, n)| {
                sum += n;
                sum <= most
            });
            let (pass, after) = rest.split_at(1 + more.count());
            entries += self.write_pass(pass, &mut table)?;
            rest = after;
        }
        table[..4].copy_from_slice(&entries.to_be_bytes());
        self.toc.postings_table = self.file.pos();
        self.toc.label_index_table = self.toc.postings_table;
        self.file.write_section(&table)?;
        self.file.write(&self.toc.to_bytes())?;
        self.file.finish()
    }

    /// Writes the lists of some label names; gives how many.
    fn write_pass(&mut self, names: &[(u32, u64)], table: &mut Vec<u8>) -> Result<u32, TsdbError> {
        let mut lists: Vec<Vec<(u32, u32)>> =
            names.iter().map(|(_, n)| Vec::with_capacity(*n as usize)).collect();
        self.each_series(|reference, body| {
            let found = for_each_label(&mut Decbuf::new(body), |name, value, _| {
                if let Ok(i) = names.binary_search_by_key(&name, |n| n.0) {
                    lists[i].push((value, reference));
                }
                Ok(())
            });
            found.map_err(|m| TsdbError::malformed("the index being written", 0, m))
        })?;
        let mut written = 0;
        let mut refs = Vec::new();
        for ((name, _), mut list) in names.iter().zip(lists) {
            list.sort_unstable();
            let name = self.symbols.text(*name).to_owned();
            for of_value in list.chunk_by(|a, b| a.0 == b.0) {
                refs.clear();
                refs.extend(of_value.iter().map(|(_, r)| *r));
                let value = self.symbols.text(of_value[0].0).to_owned();
                self.write_list(&name, &value, &refs, table)?;
                written += 1;
            }
        }
        Ok(written)
    }

    fn write_list(
        &mut self,
        name: &str,
        value: &str,
        refs: &[u32],
        table: &mut Vec<u8>,
    ) -> Result<(), TsdbError> {
        self.file.pad_to(POSTINGS_ALIGN)?;
        put_uvarint(table, 2);
        put_str(table, name);
        put_str(table, value);
        put_uvarint(table, self.file.pos());
        self.scratch.clear();
        write_body(&mut self.scratch, refs);
        self.file.write_section(&self.scratch)
    }

    /// Reads the series part back and calls `each` with reference and body of every entry.
    fn each_series(
        &mut self,
        mut each: impl FnMut(u32, &[u8]) -> Result<(), TsdbError>,
    ) -> Result<(), TsdbError> {
        let (mut at, end) = (self.toc.series, self.toc.label_indices);
        let mut buf = Vec::new();
        let mut begin = at; // file offset of buf[0]
        for _ in 0..self.series {
            at = at.next_multiple_of(SERIES_ALIGN);
            let entry = loop {
                let mut d = Decbuf::at(&buf, (at - begin) as usize);
                if let Ok(len) = d.uvarint()
                    && d.remaining() as u64 >= len + 4
                {
                    break d.pos()..d.pos() + len as usize;
                }
                // The entry is not whole in the buffer: read from its start, more each time round.
                let left = end.saturating_sub(at);
                if begin == at && buf.len() as u64 == left {
                    let object = self.file.path().display().to_string();
                    return Err(TsdbError::corrupt(
                        object,
                        at,
                        "series read back differ from what was written",
                    ));
                }
                let wanted = if begin == at { buf.len() * 2 } else { 0 }.max(READ_BACK_BYTES);
                buf.resize(wanted.min(left as usize), 0);
                begin = at;
                self.file.read_back(at, &mut buf)?;
            };
            let reference = (at / SERIES_ALIGN) as u32;
            at = begin + entry.end as u64 + 4;
            each(reference, &buf[entry])?;
        }
        Ok(())
    }

    fn check_chunks(&self, labels: LabelsRef<'_>, chunks: &[ChunkMeta]) -> Result<(), TsdbError> {
        let mut place = self.last_place;
        for (i, c) in chunks.iter().enumerate() {
            if c.max_ms < c.min_ms || (i > 0 && c.min_ms <= chunks[i - 1].max_ms) {
                let before = if i == 0 { 0 } else { chunks[i - 1].max_ms };
                let (min, max) = (c.min_ms, c.max_ms);
                return Err(self.invalid(format!(
                    "chunk {min}..={max} of {labels} after {before}: chunks of a series must not overlap"
                )));
            }
            if c.place < place {
                let what =
                    format!("chunk at {} of {labels} after one at {place}: places must increase", c.place);
                return Err(self.invalid(what));
            }
            place = c.place;
        }
        Ok(())
    }

    fn invalid(&self, what: String) -> TsdbError {
        TsdbError::Invalid { object: self.file.path().display().to_string(), what }
    }
}
