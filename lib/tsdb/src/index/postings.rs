//! Sorted lists of series references: read in place from the file, or owned as the outcome of set operations.

use crate::chunkenc::Malformed;
use crate::decbuf::{Decbuf, section};

/// A list as it lies in the file: big-endian `u32`s, increasing.
#[derive(Debug, Clone, Copy)]
pub struct PostingsRef<'a>(&'a [[u8; 4]]);

impl<'a> PostingsRef<'a> {
    /// Reads the list at `offset` of `file`.
    ///
    /// # Errors
    /// [`Malformed`] when the checksum differs or the count is not that of the bytes.
    pub fn read(file: &'a [u8], offset: u64) -> Result<Self, Malformed> {
        let (body, begin) = section(file, offset)?;
        Self::parse(body).map_err(|m| m.shifted(begin))
    }

    /// Reads a section's body: `u32 n`, then n references.
    ///
    /// # Errors
    /// [`Malformed`] when the count is not that of the bytes.
    pub fn parse(body: &'a [u8]) -> Result<Self, Malformed> {
        let mut d = Decbuf::new(body);
        let n = d.be_u32()? as usize;
        match body[4..].as_chunks::<4>() {
            (refs, []) if refs.len() == n => Ok(PostingsRef(refs)),
            _ => Err(Malformed { what: "postings count differs from the list's length", at: 0 }),
        }
    }

    /// How many.
    pub fn len(self) -> usize {
        self.0.len()
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// All references in order.
    pub fn iter(self) -> impl Iterator<Item = u32> + 'a {
        self.0.iter().map(|b| u32::from_be_bytes(*b))
    }

    /// Whether the list strictly increases.
    pub fn is_sorted(self) -> bool {
        self.0.is_sorted_by(|a, b| a < b) // big-endian bytes compare as their numbers
    }

    /// Drops from `refs` what is not in this list (`keep`) or what is (`!keep`). Skips in growing steps, so a short
    /// `refs` against a long list costs O(short × log long).
    pub fn filter(self, refs: &mut Vec<u32>, keep: bool) {
        let mut rest = self.0;
        refs.retain(|r| {
            let wanted = r.to_be_bytes();
            let mut step = 1;
            while step < rest.len() && rest[step] < wanted {
                step *= 2;
            }
            let from = step / 2;
            let window = &rest[from..rest.len().min(step + 1)];
            rest = &rest[from + window.partition_point(|x| *x < wanted)..];
            (rest.first() == Some(&wanted)) == keep
        });
    }
}

/// The union of lists, sorted and unique.
pub fn union<'a>(lists: impl IntoIterator<Item = PostingsRef<'a>>) -> Vec<u32> {
    let mut all: Vec<u32> = Vec::new();
    let mut count = 0;
    for list in lists {
        all.extend(list.iter());
        count += 1;
    }
    if count > 1 {
        all.sort_unstable();
        all.dedup();
    }
    all
}

/// The body of a list for [`PostingsRef::parse`], to be framed as a section.
pub fn write_body(out: &mut Vec<u8>, refs: &[u32]) {
    out.extend_from_slice(&(refs.len() as u32).to_be_bytes());
    for r in refs {
        out.extend_from_slice(&r.to_be_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn body(refs: &BTreeSet<u32>) -> Vec<u8> {
        let mut out = Vec::new();
        write_body(&mut out, &refs.iter().copied().collect::<Vec<_>>());
        out
    }

    proptest! {
        #[test]
        fn set_operations_are_set_operations(
            a in prop::collection::btree_set(0u32..200, 0..60),
            b in prop::collection::btree_set(0u32..200, 0..60),
        ) {
            let (body_a, body_b) = (body(&a), body(&b));
            let (list_a, list_b) = (PostingsRef::parse(&body_a).unwrap(), PostingsRef::parse(&body_b).unwrap());
            prop_assert!(list_a.is_sorted());
            prop_assert_eq!(union([list_a, list_b]), a.union(&b).copied().collect::<Vec<_>>());
            let mut kept = union([list_a]);
            list_b.filter(&mut kept, true);
            prop_assert_eq!(kept, a.intersection(&b).copied().collect::<Vec<_>>());
            let mut left = union([list_a]);
            list_b.filter(&mut left, false);
            prop_assert_eq!(left, a.difference(&b).copied().collect::<Vec<_>>());
        }
    }
}
