//! Memory for small things that are many: no heap object each.
//!
//! [`WordLists`] holds short lists of numbers, the labels of series. [`Text`] holds strings that live until it is
//! rebuilt.
//!
//! Invariant: a handle is valid until it is freed; pages never move, so growth copies nothing.

/// Words of a page of lists.
const PAGE_WORDS: usize = 16 << 10;

/// Lists longer than this get memory of their own and are not reused.
const MAX_REUSED: usize = 128;

/// Immutable short lists of `u32`.
pub struct WordLists {
    pages: Vec<Box<[u32]>>,
    /// Next free word of the last page.
    at: usize,
    free: Vec<Vec<u64>>,
}

/// Names a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct WordList {
    page: u32,
    at: u16,
    len: u16,
}

impl Default for WordLists {
    fn default() -> Self {
        WordLists { pages: Vec::new(), at: PAGE_WORDS, free: vec![Vec::new(); MAX_REUSED + 1] }
    }
}

impl WordLists {
    /// Longest list.
    pub const MAX_LEN: usize = PAGE_WORDS;

    /// Copies `words` in.
    ///
    /// # Panics
    /// When `words` is longer than [`WordLists::MAX_LEN`].
    pub fn add(&mut self, words: &[u32]) -> WordList {
        assert!(words.len() <= Self::MAX_LEN, "callers bound lists by MAX_LEN");
        let reused = self.free.get_mut(words.len()).and_then(Vec::pop);
        let (page, at) = match reused {
            Some(place) => ((place >> 32) as u32, place as u32 as usize),
            None => {
                if self.pages.is_empty() || self.at + words.len() > PAGE_WORDS {
                    self.pages.push(vec![0; PAGE_WORDS].into_boxed_slice());
                    self.at = 0;
                }
                let at = self.at;
                self.at += words.len();
                (self.pages.len() as u32 - 1, at)
            }
        };
        self.pages[page as usize][at..at + words.len()].copy_from_slice(words);
        WordList { page, at: at as u16, len: words.len() as u16 }
    }

    /// The list.
    pub fn get(&self, list: WordList) -> &[u32] {
        let at = usize::from(list.at);
        &self.pages[list.page as usize][at..at + usize::from(list.len)]
    }

    /// Gives a list back.
    pub fn free(&mut self, list: WordList) {
        if let Some(free) = self.free.get_mut(usize::from(list.len)) {
            free.push(u64::from(list.page) << 32 | u64::from(list.at));
        }
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.pages.len() * PAGE_WORDS * 4 + self.free.iter().map(|f| f.capacity() * 8).sum::<usize>()
    }
}

/// Bytes of a page of text.
const TEXT_PAGE_BYTES: usize = 64 << 10;

/// Strings that are added and never removed one by one.
#[derive(Default)]
pub struct Text {
    pages: Vec<String>,
    bytes: usize,
}

/// Names a string.
#[derive(Debug, Clone, Copy, Default)]
pub struct Str {
    page: u32,
    at: u32,
    len: u32,
}

impl Text {
    /// Copies `s` in.
    pub fn add(&mut self, s: &str) -> Str {
        let room = self.pages.last().map_or(0, |p| p.capacity() - p.len());
        if s.len() > room {
            self.pages.push(String::with_capacity(s.len().max(TEXT_PAGE_BYTES)));
        }
        let page = self.pages.len() as u32 - u32::from(!self.pages.is_empty());
        let Some(last) = self.pages.last_mut() else { return Str::default() };
        let at = last.len() as u32;
        last.push_str(s);
        self.bytes += s.len();
        Str { page, at, len: s.len() as u32 }
    }

    /// The string.
    pub fn get(&self, s: Str) -> &str {
        match self.pages.get(s.page as usize) {
            Some(page) => &page[s.at as usize..(s.at + s.len) as usize],
            None => "",
        }
    }

    /// Bytes of all strings ever added.
    pub fn text_bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        self.pages.iter().map(String::capacity).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn lists_and_text_are_found_again(
            lists in prop::collection::vec((prop::collection::vec(any::<u32>(), 0..40), "\\PC{0,20}"), 1..100),
        ) {
            let (mut words, mut text) = (WordLists::default(), Text::default());
            let mut held = Vec::new();
            for (i, (list, s)) in lists.iter().enumerate() {
                held.push((words.add(list), text.add(s), i));
                if i % 3 == 2 {
                    words.free(held.swap_remove(0).0);
                }
            }
            for (w, t, i) in held {
                prop_assert_eq!(words.get(w), &lists[i].0[..]);
                prop_assert_eq!(text.get(t), &lists[i].1);
            }
        }
    }
}
