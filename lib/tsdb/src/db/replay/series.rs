//! The series of a segment by their log ids, while it is replayed.
//!
//! Ids rise as series are created and requests repeat their order, so a table of pages with the last page
//! remembered finds almost every series in the cache line behind the one before.

use hashbrown::HashMap;

/// A series that has no reference in the head yet.
pub const UNDEFINED: u64 = 0;

/// Series of a page.
const PAGE: i64 = 512;

/// Whose a series is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Owner {
    /// It was not defined.
    #[default]
    Nobody,
    /// This worker's partition.
    Me,
    /// Another partition.
    Another,
}

/// What is known of a series.
#[derive(Debug, Clone, Copy, Default)]
pub struct Known {
    /// Hash of tenant and labels.
    pub hash: u64,
    /// Reference in the head, or [`UNDEFINED`].
    pub reference: u64,
    /// Begin and length of the labels in the worker's text, if they had to be kept.
    pub labels: Option<(usize, u32)>,
    /// Whose it is.
    pub owner: Owner,
}

/// Series by log id.
#[derive(Default)]
pub struct SeriesById {
    pages: Vec<Box<[Known; PAGE as usize]>>,
    by_number: HashMap<i64, usize>,
    last: Option<(i64, usize)>,
}

impl SeriesById {
    /// Forgets all.
    pub fn clear(&mut self) {
        *self = SeriesById::default();
    }

    /// What is known of `id`; nobody's when nothing is.
    pub fn get(&mut self, id: i64) -> Known {
        match self.page(id.div_euclid(PAGE)) {
            Some(page) => self.pages[page][id.rem_euclid(PAGE) as usize],
            None => Known::default(),
        }
    }

    /// What is known of `id`, for writing.
    pub fn entry(&mut self, id: i64) -> &mut Known {
        let number = id.div_euclid(PAGE);
        let page = self.page(number).unwrap_or_else(|| {
            self.pages.push(Box::new([Known::default(); PAGE as usize]));
            let page = self.pages.len() - 1;
            self.by_number.insert(number, page);
            self.last = Some((number, page));
            page
        });
        &mut self.pages[page][id.rem_euclid(PAGE) as usize]
    }

    fn page(&mut self, number: i64) -> Option<usize> {
        if let Some((last, page)) = self.last
            && last == number
        {
            return Some(page);
        }
        let page = *self.by_number.get(&number)?;
        self.last = Some((number, page));
        Some(page)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #[test]
        fn it_is_a_map(steps in prop::collection::vec((prop_oneof![0i64..2000, any::<i64>()], any::<bool>(), 1u64..9), 0..200)) {
            let (mut table, mut model) = (SeriesById::default(), BTreeMap::new());
            for (id, write, hash) in steps {
                if write {
                    *table.entry(id) = Known { hash, owner: Owner::Me, ..Known::default() };
                    model.insert(id, hash);
                }
                let got = table.get(id);
                prop_assert_eq!((got.owner == Owner::Me).then_some(got.hash), model.get(&id).copied());
            }
        }
    }
}
