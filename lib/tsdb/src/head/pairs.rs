//! The label index of one tenant in one partition: interned pairs with their postings.
//!
//! A label `name="value"` is interned once as a *pair*; a series is a list of pair numbers, and a pair knows its
//! series. Names know their pairs, for matchers that must look at values.
//!
//! Invariant: a live pair has at least one series; numbers of dead pairs are reused.

use hashbrown::{HashMap, HashTable};
use xxhash_rust::xxh3::xxh3_64_with_seed;

use super::arena::{Str, Text};
use super::postings::Postings;

/// Number of a pair.
pub type PairId = u32;

/// Text that is no longer used is given back when it is more than this and more than half.
const MIN_WASTE_BYTES: usize = 1 << 20;

/// Interned label pairs of one tenant in one partition.
#[derive(Default)]
pub struct Pairs {
    names: Vec<Name>,
    name_ids: HashMap<Box<str>, u32>,
    pairs: Vec<Pair>,
    free: Vec<PairId>,
    by_text: HashTable<PairId>,
    text: Text,
    wasted: usize,
}

struct Name {
    name: Box<str>,
    pairs: Vec<PairId>,
}

struct Pair {
    name: u32,
    value: Str,
    postings: Postings,
}

impl Pairs {
    fn hash(name: u32, value: &str) -> u64 {
        xxh3_64_with_seed(value.as_bytes(), u64::from(name))
    }

    /// The number of the pair, interning it if it is new.
    pub fn intern(&mut self, name: &str, value: &str) -> PairId {
        let name_id = match self.name_ids.get(name) {
            Some(id) => *id,
            None => {
                let id = self.names.len() as u32;
                self.names.push(Name { name: name.into(), pairs: Vec::new() });
                self.name_ids.insert(name.into(), id);
                id
            }
        };
        let hash = Self::hash(name_id, value);
        let (pairs, text) = (&self.pairs, &self.text);
        let same = |id: &PairId| {
            let p = &pairs[*id as usize];
            p.name == name_id && text.get(p.value) == value
        };
        if let Some(id) = self.by_text.find(hash, same) {
            return *id;
        }
        let pair = Pair { name: name_id, value: self.text.add(value), postings: Postings::default() };
        let id = match self.free.pop() {
            Some(id) => {
                self.pairs[id as usize] = pair;
                id
            }
            None => {
                self.pairs.push(pair);
                self.pairs.len() as PairId - 1
            }
        };
        self.names[name_id as usize].pairs.push(id);
        let (pairs, text) = (&self.pairs, &self.text);
        let rehash = |id: &PairId| {
            let p = &pairs[*id as usize];
            Self::hash(p.name, text.get(p.value))
        };
        self.by_text.insert_unique(hash, id, rehash);
        id
    }

    /// The number of the pair if it is known.
    pub fn find(&self, name: &str, value: &str) -> Option<PairId> {
        let name_id = *self.name_ids.get(name)?;
        let same = |id: &PairId| {
            let p = &self.pairs[*id as usize];
            p.name == name_id && self.text.get(p.value) == value
        };
        self.by_text.find(Self::hash(name_id, value), same).copied()
    }

    /// Name and value of a pair.
    pub fn text(&self, id: PairId) -> (&str, &str) {
        let p = &self.pairs[id as usize];
        (&self.names[p.name as usize].name, self.text.get(p.value))
    }

    /// The series that have the pair.
    pub fn postings(&self, id: PairId) -> &Postings {
        &self.pairs[id as usize].postings
    }

    /// Adds a series to the pair.
    pub fn add_series(&mut self, id: PairId, slot: u32) {
        self.pairs[id as usize].postings.push(slot);
    }

    /// The pairs of a name, in no order.
    pub fn of_name(&self, name: &str) -> &[PairId] {
        self.name_ids.get(name).map_or(&[], |id| &self.names[*id as usize].pairs)
    }

    /// Names that have pairs, in no order.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().filter(|n| !n.pairs.is_empty()).map(|n| &*n.name)
    }

    /// Rewrites the postings of `touched` pairs without the series that `alive` refuses, and forgets pairs that
    /// have none left.
    pub fn sweep(&mut self, touched: impl Iterator<Item = PairId>, alive: impl Fn(u32) -> bool) {
        let mut dead = Vec::new();
        for id in touched {
            let pair = &mut self.pairs[id as usize];
            pair.postings.retain(&alive);
            if pair.postings.is_empty() {
                dead.push(id);
            }
        }
        self.forget(&dead);
        if self.wasted > MIN_WASTE_BYTES && self.wasted * 2 > self.text.text_bytes() {
            self.rebuild_text();
        }
    }

    fn forget(&mut self, dead: &[PairId]) {
        let mut names: Vec<u32> = dead.iter().map(|id| self.pairs[*id as usize].name).collect();
        names.sort_unstable();
        names.dedup();
        let pairs = &self.pairs;
        for name in names {
            self.names[name as usize].pairs.retain(|p| !pairs[*p as usize].postings.is_empty());
        }
        for &id in dead {
            let (name, value) = (self.pairs[id as usize].name, self.pairs[id as usize].value);
            let hash = Self::hash(name, self.text.get(value));
            if let Ok(entry) = self.by_text.find_entry(hash, |other| *other == id) {
                entry.remove();
            }
            self.wasted += self.text.get(value).len();
            self.pairs[id as usize].value = Str::default();
            self.free.push(id);
        }
    }

    fn rebuild_text(&mut self) {
        let mut text = Text::default();
        for name in &self.names {
            for id in &name.pairs {
                let pair = &mut self.pairs[*id as usize];
                pair.value = text.add(self.text.get(pair.value));
            }
        }
        self.text = text;
        self.wasted = 0;
    }

    /// How many pairs are live.
    pub fn len(&self) -> usize {
        self.pairs.len() - self.free.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.pairs.capacity() * size_of::<Pair>()
            + self.pairs.iter().map(|p| p.postings.heap_bytes()).sum::<usize>()
            + self.names.iter().map(|n| n.pairs.capacity() * 4).sum::<usize>()
            + self.by_text.capacity() * 5
            + self.text.heap_bytes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dead_pairs_are_forgotten_and_their_numbers_reused() {
        let mut p = Pairs::default();
        let a = p.intern("job", "a");
        p.add_series(a, 1);
        let b = p.intern("job", "b");
        p.add_series(b, 2);
        assert_eq!(p.intern("job", "a"), a);
        p.sweep([a, b].into_iter(), |slot| slot == 2);
        assert_eq!(p.find("job", "a"), None);
        assert_eq!(p.of_name("job"), [b]);
        assert_eq!(p.intern("pod", "x"), a);
        assert_eq!(p.text(a), ("pod", "x"));
        assert_eq!(p.len(), 2);
    }

    #[test]
    fn unused_text_is_given_back() {
        let mut p = Pairs::default();
        let long = "v".repeat(1000);
        for slot in 0..4000u32 {
            let id = p.intern("pod", &format!("{long}{slot}"));
            p.add_series(id, slot);
        }
        let all: Vec<_> = p.of_name("pod").to_vec();
        p.sweep(all.into_iter(), |slot| slot < 10);
        assert!(p.text.heap_bytes() < 200_000);
        assert_eq!(p.text(p.find("pod", &format!("{long}7")).unwrap()).1, format!("{long}7"));
    }
}
