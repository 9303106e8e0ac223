//! The postings offset table: for every label pair, where its list of series is.
//!
//! One of [`SAMPLED`] values of a name has its place kept in memory; the rest is read from the file.

use std::ops::Range;

use bytes::Bytes;

use crate::chunkenc::Malformed;
use crate::decbuf::{Decbuf, section};

/// One of this many values of a name has its place kept in memory.
const SAMPLED: usize = 32;

/// A read table.
#[derive(Debug, Clone)]
pub struct PostingsTable {
    /// `u32 count`, then the entries.
    body: Bytes,
    /// Names in order, with "" (all postings) first.
    names: Vec<Name>,
}

#[derive(Debug, Clone)]
struct Name {
    name: Range<u32>,
    /// Place in the body of every [`SAMPLED`]th entry.
    places: Vec<u32>,
    /// Place after the last entry.
    end: u32,
    values: u32,
}

/// A value of a label name and where its list is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ValueEntry<'a> {
    /// The value.
    pub value: &'a str,
    /// Offset of the postings section in the index.
    pub offset: u64,
}

impl PostingsTable {
    /// Reads the table at `offset` of `index`. O(table), once.
    ///
    /// # Errors
    /// [`Malformed`] when checksum, count or texts are not sound, or entries are out of order.
    pub fn read(index: &Bytes, offset: u64) -> Result<PostingsTable, Malformed> {
        let (body, begin) = section(index, offset)?;
        let body = index.slice_ref(body);
        let names = read_names(&body).map_err(|m| m.shifted(begin))?;
        Ok(PostingsTable { body, names })
    }

    /// Label names in order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|n| self.text(&n.name)).filter(|n| !n.is_empty())
    }

    /// How many values a name has.
    pub fn value_count(&self, name: &str) -> usize {
        self.name(name).map_or(0, |n| n.values as usize)
    }

    /// Where the list of a label pair is, if it is there. Walks over at most [`SAMPLED`] entries.
    pub fn find(&self, name: &str, value: &str) -> Option<u64> {
        let first = self.values_from(name, value).next()?;
        (first.value == value).then_some(first.offset)
    }

    /// All values of a name in order.
    pub fn values(&self, name: &str) -> Values<'_> {
        self.values_from(name, "")
    }

    /// The values of a name that are not less than `from`, in order.
    pub fn values_from<'a>(&'a self, name: &str, from: &str) -> Values<'a> {
        let Some(n) = self.name(name) else { return Values(Decbuf::new(&[]), 0, None) };
        let group = n.places.partition_point(|p| {
            read_entry(&mut Decbuf::at(&self.body, *p as usize)).is_ok_and(|e| e.1.value <= from)
        });
        let start = n.places[group.saturating_sub(1)];
        let mut values = Values(Decbuf::at(&self.body, start as usize), n.end as usize, None);
        while let Some(entry) = values.next() {
            if entry.value >= from {
                values.2 = Some(entry);
                break;
            }
        }
        values
    }

    fn name(&self, name: &str) -> Option<&Name> {
        let at = self.names.binary_search_by(|n| self.text(&n.name).cmp(name)).ok()?;
        Some(&self.names[at])
    }

    fn text(&self, range: &Range<u32>) -> &str {
        // Checked when the table was read.
        std::str::from_utf8(&self.body[range.start as usize..range.end as usize]).unwrap_or("")
    }
}

/// Iterator over the values of one name.
#[derive(Debug, Clone)]
pub struct Values<'a>(Decbuf<'a>, usize, Option<ValueEntry<'a>>);

impl<'a> Iterator for Values<'a> {
    type Item = ValueEntry<'a>;

    fn next(&mut self) -> Option<ValueEntry<'a>> {
        if let Some(ready) = self.2.take() {
            return Some(ready);
        }
        if self.0.pos() >= self.1 {
            return None;
        }
        read_entry(&mut self.0).ok().map(|(_, entry)| entry)
    }
}

fn read_entry<'a>(d: &mut Decbuf<'a>) -> Result<(&'a str, ValueEntry<'a>), Malformed> {
    if d.uvarint()? != 2 {
        return Err(d.fault("postings table entry without name and value"));
    }
    let name = d.str()?;
    let value = d.str()?;
    Ok((name, ValueEntry { value, offset: d.uvarint()? }))
}

fn read_names(body: &[u8]) -> Result<Vec<Name>, Malformed> {
    let mut d = Decbuf::new(body);
    let count = d.be_u32()?;
    let mut names: Vec<Name> = Vec::new();
    let mut before: Option<(&str, &str)> = None;
    for _ in 0..count {
        let place = d.pos() as u32;
        let (name, entry) = read_entry(&mut d)?;
        let key = (name, entry.value);
        if before.is_some_and(|b| b >= key) {
            return Err(d.fault("postings table out of order"));
        }
        if before.is_none_or(|b| b.0 != name) {
            // The name stands after one byte of key count and its own length.
            let mut at = Decbuf::at(body, place as usize);
            at.uvarint()?;
            let len = at.uvarint()?;
            let begin = at.pos() as u32;
            names.push(Name { name: begin..begin + len as u32, places: Vec::new(), end: 0, values: 0 });
        }
        before = Some(key);
        let n = names.last_mut().expect("pushed for the first entry of each name");
        if (n.values as usize).is_multiple_of(SAMPLED) {
            n.places.push(place);
        }
        n.values += 1;
        n.end = d.pos() as u32;
    }
    if d.remaining() > 0 {
        return Err(d.fault("postings table has trailing bytes"));
    }
    Ok(names)
}
