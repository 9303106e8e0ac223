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

/// Stands for the name of a pair whose number is free.
const FREE: u32 = u32::MAX;

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
    /// Bytes of all postings: counted as they grow, since there may be millions of lists.
    posting_bytes: usize,
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
        let name_id = self.name_id(name);
        let hash = Self::hash(name_id, value);
        if let Some(id) = self.find_numbered(hash, name_id, value) {
            return id;
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
        self.list(hash, name_id, id);
        id
    }

    /// The number of a name, given to it if it is new.
    fn name_id(&mut self, name: &str) -> u32 {
        if let Some(id) = self.name_ids.get(name) {
            return *id;
        }
        let id = self.names.len() as u32;
        self.names.push(Name { name: name.into(), pairs: Vec::new() });
        self.name_ids.insert(name.into(), id);
        id
    }

    /// Makes a new pair known by its name and its text.
    fn list(&mut self, hash: u64, name_id: u32, id: PairId) {
        self.names[name_id as usize].pairs.push(id);
        let (pairs, text) = (&self.pairs, &self.text);
        let rehash = |id: &PairId| {
            let p = &pairs[*id as usize];
            Self::hash(p.name, text.get(p.value))
        };
        self.by_text.insert_unique(hash, id, rehash);
    }

    /// The number of the pair if it is known.
    pub fn find(&self, name: &str, value: &str) -> Option<PairId> {
        let name_id = *self.name_ids.get(name)?;
        self.find_numbered(Self::hash(name_id, value), name_id, value)
    }

    fn find_numbered(&self, hash: u64, name_id: u32, value: &str) -> Option<PairId> {
        let same = |id: &PairId| {
            let p = &self.pairs[*id as usize];
            p.name == name_id && self.text.get(p.value) == value
        };
        self.by_text.find(hash, same).copied()
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
        let postings = &mut self.pairs[id as usize].postings;
        self.posting_bytes -= postings.heap_bytes();
        postings.push(slot);
        self.posting_bytes += postings.heap_bytes();
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
            self.posting_bytes -= pair.postings.heap_bytes();
            pair.postings.retain(&alive);
            self.posting_bytes += pair.postings.heap_bytes();
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
            (self.pairs[id as usize].name, self.pairs[id as usize].value) = (FREE, Str::default());
            self.free.push(id);
        }
    }

    /// Forgets pairs without series.
    pub fn forget_unused(&mut self) {
        let unused = |(_, p): &(u32, &Pair)| p.name != FREE && p.postings.is_empty();
        let unused: Vec<PairId> = (0u32..).zip(&self.pairs).filter(unused).map(|(id, _)| id).collect();
        self.forget(&unused);
    }

    /// Numbers of pairs are below this.
    pub fn end(&self) -> PairId {
        self.pairs.len() as PairId
    }

    /// Number of the name, and value, of the pair with a number that is in use.
    pub fn numbered(&self, id: PairId) -> Option<(u32, &str)> {
        let pair = self.pairs.get(id as usize).filter(|p| p.name != FREE)?;
        Some((pair.name, self.text.get(pair.value)))
    }

    /// Whether a pair has this number.
    pub fn has(&self, id: PairId) -> bool {
        self.pairs.get(id as usize).is_some_and(|p| p.name != FREE)
    }

    /// All names ever interned, by number.
    pub fn all_names(&self) -> impl ExactSizeIterator<Item = &str> {
        self.names.iter().map(|n| &*n.name)
    }

    /// Adds a name under the next number; `false` when it is there already.
    pub fn add_name(&mut self, name: &str) -> bool {
        let known = self.name_ids.contains_key(name);
        self.name_id(name);
        !known
    }

    /// Leaves the next number of a pair free.
    pub fn add_free(&mut self) {
        self.free.push(self.pairs.len() as PairId);
        self.pairs.push(Pair { name: FREE, value: Str::default(), postings: Postings::default() });
    }

    /// Adds a pair under the next number; `false` when it is there already or no name has the number `name_id`.
    pub fn add_numbered(&mut self, name_id: u32, value: &str) -> bool {
        let hash = Self::hash(name_id, value);
        if name_id as usize >= self.names.len() || self.find_numbered(hash, name_id, value).is_some() {
            return false;
        }
        let id = self.pairs.len() as PairId;
        let pair = Pair { name: name_id, value: self.text.add(value), postings: Postings::default() };
        self.pairs.push(pair);
        self.list(hash, name_id, id);
        true
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
            + self.posting_bytes
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
    fn bytes_of_postings_are_those_of_all_lists() {
        let mut p = Pairs::default();
        let counted = |p: &Pairs| p.pairs.iter().map(|pair| pair.postings.heap_bytes()).sum::<usize>();
        let ids: Vec<PairId> = (0..50).map(|i| p.intern("pod", &format!("p{i}"))).collect();
        (0..4000u32).for_each(|slot| p.add_series(ids[slot as usize % ids.len()], slot));
        assert!(p.posting_bytes > 4000 && p.posting_bytes == counted(&p));
        p.sweep(ids.iter().copied().take(30), |slot| slot % 7 == 0);
        assert_eq!(p.posting_bytes, counted(&p));
        p.sweep(ids.into_iter(), |_| false);
        assert_eq!((p.posting_bytes, counted(&p)), (0, 0));
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
