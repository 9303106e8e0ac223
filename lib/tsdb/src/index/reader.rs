//! Reading an index, mapped or in memory.

use bytes::Bytes;
use std::ops::ControlFlow;

use cairn_model::{Matcher, NameSet};

use super::postings::{PostingsRef, union};
use super::select::select;
use super::series::{KnownSymbols, SeriesEntry};
use super::{ALL_POSTINGS, PostingsTable, SERIES_ALIGN, Symbols, Toc};
use crate::chunkenc::Malformed;
use crate::error::TsdbError;

/// An open index. Cheap to share; keeps about 1/4 of the symbols' and 1/32 of the label pairs' places in memory.
#[derive(Debug, Clone)]
pub struct IndexReader {
    object: String,
    bytes: Bytes,
    toc: Toc,
    symbols: Symbols,
    table: PostingsTable,
}

impl IndexReader {
    /// Opens the index in `bytes`; `object` names it in errors. Reads symbols and postings table once.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] when a part is not sound.
    pub fn open(object: impl Into<String>, bytes: Bytes) -> Result<IndexReader, TsdbError> {
        let object = object.into();
        let parse = || -> Result<_, Malformed> {
            let toc = Toc::read(&bytes)?;
            let symbols = Symbols::read(&bytes, toc.symbols)?;
            let table = PostingsTable::read(&bytes, toc.postings_table)?;
            Ok((toc, symbols, table))
        };
        match parse() {
            Ok((toc, symbols, table)) => Ok(IndexReader { object, bytes, toc, symbols, table }),
            Err(m) => Err(TsdbError::malformed(object, 0, m)),
        }
    }

    /// The table of contents.
    pub fn toc(&self) -> Toc {
        self.toc
    }

    /// Size of the file.
    pub fn size_bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The symbol table.
    pub fn symbols(&self) -> &Symbols {
        &self.symbols
    }

    /// The postings offset table.
    pub fn postings_table(&self) -> &PostingsTable {
        &self.table
    }

    /// Reads the series of a reference into `entry`.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] when there is no sound series at that place.
    pub fn series(&self, reference: u32, entry: &mut SeriesEntry) -> Result<(), TsdbError> {
        let at = self.place_of(reference)?;
        entry.read(&self.bytes, at, &self.symbols).map_err(|m| self.corrupt(m))
    }

    /// The same for one of many series, with the symbols that those before it had.
    ///
    /// # Errors
    /// As [`IndexReader::series`].
    pub fn next_series(
        &self,
        reference: u32,
        entry: &mut SeriesEntry,
        known: &mut KnownSymbols,
    ) -> Result<(), TsdbError> {
        let at = self.place_of(reference)?;
        entry.read_known(&self.bytes, at, &self.symbols, known).map_err(|m| self.corrupt(m))
    }

    fn place_of(&self, reference: u32) -> Result<usize, TsdbError> {
        let offset = u64::from(reference) * SERIES_ALIGN;
        if offset < self.toc.series || offset >= self.toc.label_indices {
            return Err(TsdbError::corrupt(&self.object, offset, "series reference outside the series"));
        }
        Ok(usize::try_from(offset).unwrap_or(usize::MAX))
    }

    /// The list of a label pair, if it is there.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] when its section is not sound.
    pub fn postings(&self, name: &str, value: &str) -> Result<Option<PostingsRef<'_>>, TsdbError> {
        self.table.find(name, value).map(|offset| self.postings_at(offset)).transpose()
    }

    /// The list at an offset that the table gave.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] when its section is not sound.
    pub fn postings_at(&self, offset: u64) -> Result<PostingsRef<'_>, TsdbError> {
        PostingsRef::read(&self.bytes, offset).map_err(|m| self.corrupt(m))
    }

    /// References of all series, in order of their labels.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] when the list is missing or not sound.
    pub fn all_series(&self) -> Result<Vec<u32>, TsdbError> {
        let (name, value) = ALL_POSTINGS;
        match self.postings(name, value)? {
            Some(list) => Ok(union([list])),
            None => Err(TsdbError::corrupt(&self.object, self.toc.postings_table, "no list of all series")),
        }
    }

    /// References of the series for which all matchers hold, in order of their labels.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] when a list that is needed is not sound.
    pub fn select(&self, matchers: &[Matcher]) -> Result<Vec<u32>, TsdbError> {
        select(self, matchers)
    }

    /// Adds the names of labels of the series for which all matchers hold, for as long as `found` takes them; says
    /// whether there was any.
    ///
    /// # Errors
    /// As [`IndexReader::select`].
    pub fn label_names(&self, matchers: &[Matcher], found: &mut NameSet) -> Result<bool, TsdbError> {
        if matchers.is_empty() {
            let _ = self.table.names().try_for_each(|name| found.add(name));
            return Ok(self.table.names().next().is_some());
        }
        let (mut symbols, mut any) = (std::collections::BTreeSet::new(), false);
        for reference in self.select(matchers)? {
            if found.go_on().is_break() {
                break;
            }
            let mut new = Vec::new();
            self.label_symbols(reference, |name, _| {
                any = true;
                if symbols.insert(name) {
                    new.push(name);
                }
            })?;
            for name in new {
                let _ = found.add(self.symbol(name)?); // the next round asks
            }
        }
        Ok(any)
    }

    /// Adds the values of label `name` among the series for which all matchers hold, for as long as `found` takes them.
    ///
    /// # Errors
    /// As [`IndexReader::select`].
    pub fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        found: &mut NameSet,
    ) -> Result<(), TsdbError> {
        // Matchers on the label itself need no look at the series.
        let (own, others): (Vec<&Matcher>, Vec<&Matcher>) = matchers.iter().partition(|m| m.name == name);
        let mut wanted = self.table.values(name).filter(|e| own.iter().all(|m| m.matches(e.value)));
        if others.is_empty() {
            let _ = wanted.try_for_each(|e| found.add(e.value));
            return Ok(());
        }
        let series = self.select(matchers)?;
        for entry in wanted {
            let mut common = series.clone();
            self.postings_at(entry.offset)?.filter(&mut common, true);
            let go_on = if common.is_empty() { found.go_on() } else { found.add(entry.value) };
            if go_on == ControlFlow::Break(()) {
                break;
            }
        }
        Ok(())
    }

    /// Calls `each` with name and value symbol of every label of a series.
    pub(crate) fn label_symbols(
        &self,
        reference: u32,
        mut each: impl FnMut(u32, u32),
    ) -> Result<(), TsdbError> {
        let at = (u64::from(reference) * SERIES_ALIGN) as usize;
        let mut read = || {
            let (body, _) = super::series::entry_body(&self.bytes, at)?;
            super::series::for_each_label(&mut crate::decbuf::Decbuf::new(body), |name, value, _| {
                each(name, value);
                Ok(())
            })
        };
        read().map_err(|m| self.corrupt(m))
    }

    fn symbol(&self, ordinal: u32) -> Result<&str, TsdbError> {
        self.symbols.get(ordinal).map_err(|m| self.corrupt(m))
    }

    fn corrupt(&self, m: Malformed) -> TsdbError {
        TsdbError::malformed(&self.object, 0, m)
    }
}
