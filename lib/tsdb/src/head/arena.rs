//! Memory for small things that are many: no heap object each.
//!
//! [`ByteBlocks`] holds the open chunks: blocks of a few size classes, reused through free lists. [`WordLists`]
//! holds short lists of numbers, the labels of series. [`Text`] holds strings that live until it is rebuilt.
//!
//! Invariant: a handle is valid until it is freed; pages never move, so growth copies nothing.

/// Bytes of a block by class. XOR chunks of 120 samples end near 350 bytes on the generator's load.
const BLOCK_BYTES: [usize; 16] =
    [48, 80, 112, 144, 176, 208, 256, 304, 352, 416, 512, 640, 832, 1088, 1472, 2048];

/// Bytes of a page of blocks, about.
const PAGE_BYTES: usize = 64 << 10;

/// Bits of a block handle that name the block inside its class.
const INDEX_BITS: u32 = 28;

/// Blocks of bytes in size classes.
#[derive(Default)]
pub struct ByteBlocks {
    classes: [Class; BLOCK_BYTES.len()],
}

#[derive(Default)]
struct Class {
    pages: Vec<Box<[u8]>>,
    /// Blocks ever made.
    made: u32,
    free: Vec<u32>,
}

/// Names a block; [`Block::NONE`] names none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block(u32);

impl Block {
    /// No block.
    pub const NONE: Block = Block(u32::MAX);

    fn class(self) -> usize {
        (self.0 >> INDEX_BITS) as usize
    }

    fn index(self) -> u32 {
        self.0 & ((1 << INDEX_BITS) - 1)
    }
}

/// Blocks of class `class` in a page.
fn per_page(class: usize) -> usize {
    PAGE_BYTES / BLOCK_BYTES[class]
}

impl ByteBlocks {
    /// Largest content of a block.
    pub const MAX_BYTES: usize = BLOCK_BYTES[BLOCK_BYTES.len() - 1];

    /// Puts `content` into `block` or into a larger one, which replaces it.
    ///
    /// # Panics
    /// When `content` is longer than [`ByteBlocks::MAX_BYTES`].
    pub fn store(&mut self, block: Block, content: &[u8]) -> Block {
        let fits = block != Block::NONE && content.len() <= BLOCK_BYTES[block.class()];
        let target = if fits {
            block
        } else {
            self.free(block);
            self.allocate(content.len())
        };
        self.bytes_mut(target)[..content.len()].copy_from_slice(content);
        target
    }

    /// The block's bytes, as long as its class.
    pub fn bytes(&self, block: Block) -> &[u8] {
        let (class, index) = (block.class(), block.index() as usize);
        let (size, per_page) = (BLOCK_BYTES[class], per_page(class));
        let at = index % per_page * size;
        &self.classes[class].pages[index / per_page][at..at + size]
    }

    fn bytes_mut(&mut self, block: Block) -> &mut [u8] {
        let (class, index) = (block.class(), block.index() as usize);
        let (size, per_page) = (BLOCK_BYTES[class], per_page(class));
        let at = index % per_page * size;
        &mut self.classes[class].pages[index / per_page][at..at + size]
    }

    /// Gives a block back; [`Block::NONE`] is fine.
    pub fn free(&mut self, block: Block) {
        if block != Block::NONE {
            self.classes[block.class()].free.push(block.index());
        }
    }

    fn allocate(&mut self, len: usize) -> Block {
        let class = BLOCK_BYTES.iter().position(|size| *size >= len).expect("content fits the largest class");
        let c = &mut self.classes[class];
        let index = c.free.pop().unwrap_or_else(|| {
            let index = c.made;
            if index as usize / per_page(class) == c.pages.len() {
                c.pages.push(vec![0; per_page(class) * BLOCK_BYTES[class]].into_boxed_slice());
            }
            c.made += 1;
            index
        });
        debug_assert!(index < 1 << INDEX_BITS);
        Block((class as u32) << INDEX_BITS | index)
    }

    /// Bytes on the heap.
    pub fn heap_bytes(&self) -> usize {
        let class =
            |(i, c): (usize, &Class)| c.pages.len() * per_page(i) * BLOCK_BYTES[i] + c.free.capacity() * 4;
        self.classes.iter().enumerate().map(class).sum()
    }

    /// Gives free pages back when nothing is in use.
    pub fn trim(&mut self) {
        for c in &mut self.classes {
            if c.free.len() == c.made as usize && c.made > 0 {
                *c = Class::default();
            }
        }
    }
}

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
        fn blocks_hold_what_was_put_into_them(
            steps in prop::collection::vec((0usize..20, 0usize..=ByteBlocks::MAX_BYTES, any::<u8>()), 1..200),
        ) {
            let mut blocks = ByteBlocks::default();
            let mut held: Vec<(Block, Vec<u8>)> = vec![(Block::NONE, Vec::new()); 20];
            for (i, len, fill) in steps {
                let content = vec![fill; len];
                if len % 7 == 0 {
                    blocks.free(held[i].0);
                    held[i] = (Block::NONE, Vec::new());
                } else {
                    held[i] = (blocks.store(held[i].0, &content), content);
                }
                for (block, content) in &held {
                    if *block != Block::NONE {
                        prop_assert_eq!(&blocks.bytes(*block)[..content.len()], &content[..]);
                    }
                }
            }
        }

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
