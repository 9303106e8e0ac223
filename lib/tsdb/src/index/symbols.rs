//! The symbol table: every label name and value of a block once, sorted, addressed by its ordinal.

use bytes::Bytes;

use crate::chunkenc::Malformed;
use crate::decbuf::{Decbuf, section};

/// One of this many symbols has its place kept in memory; a look-up walks over the rest.
const SAMPLED: usize = 4;

/// A read symbol table.
#[derive(Debug, Clone)]
pub struct Symbols {
    /// `u32 count`, then the strings.
    body: Bytes,
    /// Where the body begins in the file, for messages.
    begin: usize,
    /// Place of every [`SAMPLED`]th symbol in the body.
    places: Vec<u32>,
    count: usize,
}

impl Symbols {
    /// Reads the table at `offset` of `index`. O(table), once.
    ///
    /// # Errors
    /// [`Malformed`] when checksum, count or texts are not sound, or the order is not strictly increasing.
    pub fn read(index: &Bytes, offset: u64) -> Result<Symbols, Malformed> {
        let (body, begin) = section(index, offset)?;
        let body = index.slice_ref(body);
        let mut d = Decbuf::new(&body);
        let count = d.be_u32()? as usize;
        if count > d.remaining() {
            return Err(Malformed { what: "symbol count larger than the table", at: begin });
        }
        let mut places = Vec::with_capacity(count / SAMPLED + 1);
        let mut before: Option<&str> = None;
        for i in 0..count {
            if i.is_multiple_of(SAMPLED) {
                places.push(d.pos() as u32);
            }
            let s = d.str().map_err(|m| m.shifted(begin))?;
            if before.is_some_and(|b| b >= s) {
                return Err(d.fault("symbols out of order").shifted(begin));
            }
            before = Some(s);
        }
        Ok(Symbols { body, begin, places, count })
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// The symbol of an ordinal. Walks over at most [`SAMPLED`] strings.
    ///
    /// # Errors
    /// [`Malformed`] when there is no such symbol.
    pub fn get(&self, ordinal: u32) -> Result<&str, Malformed> {
        let i = ordinal as usize;
        let place = self
            .places
            .get(i / SAMPLED)
            .filter(|_| i < self.count)
            .ok_or(Malformed { what: "reference to a symbol that does not exist", at: self.begin })?;
        let mut d = Decbuf::at(&self.body, *place as usize);
        for _ in 0..i % SAMPLED {
            let n = d.count(1)?;
            d.take(n)?;
        }
        d.str()
    }

    /// The ordinal of a text, if the table has it.
    pub fn find(&self, text: &str) -> Option<u32> {
        let group = self
            .places
            .partition_point(|p| Decbuf::at(&self.body, *p as usize).str().is_ok_and(|s| s <= text));
        let first = group.checked_sub(1)? * SAMPLED;
        let mut d = Decbuf::at(&self.body, self.places[group - 1] as usize);
        (first..self.count.min(first + SAMPLED)).find(|_| d.str() == Ok(text)).map(|i| i as u32)
    }

    /// All symbols in order.
    pub fn iter(&self) -> impl Iterator<Item = &str> {
        let mut d = Decbuf::at(&self.body, 4);
        (0..self.count).map_while(move |_| d.str().ok())
    }
}
