//! A list that begins as zeros and grows a huge page at a time, so that what it has stays where it is.
//!
//! Only the first page grows by moving, while it is small: a small owner's stays in the allocator's memory. The page that
//! comes next is wanted ahead ([`Ahead`]) when seven eighths of the last one are used.
//!
//! Invariant: every page but the last is used whole, and a page never moves once it is whole.

use std::ops::{Index, IndexMut};

use super::{Ahead, AllZeros, HUGE_PAGE_BYTES, Zeros};

/// Bytes of a first page at first: a small page, which the allocator gives without waste.
const FIRST_BYTES: usize = 4096;

/// Values in pages of `PAGE` values, which fill a huge page.
pub struct Pages<T, const PAGE: usize> {
    pages: Vec<Zeros<T>>,
    len: usize,
    ahead: Ahead<[T; PAGE]>,
}

impl<T, const PAGE: usize> Default for Pages<T, PAGE> {
    fn default() -> Self {
        Pages { pages: Vec::new(), len: 0, ahead: Ahead::default() }
    }
}

impl<T: AllZeros, const PAGE: usize> Pages<T, PAGE> {
    const IS_A_HUGE_PAGE: () = {
        let bytes = PAGE * size_of::<T>();
        assert!(bytes <= HUGE_PAGE_BYTES && bytes > HUGE_PAGE_BYTES - HUGE_PAGE_BYTES / 8);
    };

    /// Values in use.
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }

    /// Whether none is in use.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The value at a place, zeros behind the last one that is in use; `None` far behind it.
    #[inline]
    pub fn get(&self, at: usize) -> Option<&T> {
        self.pages.get(at / PAGE)?.get(at % PAGE)
    }

    /// `len` values from a place on, which lie in one page; `None` when they do not.
    #[inline]
    pub fn part(&self, at: usize, len: usize) -> Option<&[T]> {
        self.pages.get(at / PAGE)?.get(at % PAGE..)?.get(..len)
    }

    /// The same, to be written.
    #[inline]
    pub fn part_mut(&mut self, at: usize, len: usize) -> Option<&mut [T]> {
        self.pages.get_mut(at / PAGE)?.get_mut(at % PAGE..)?.get_mut(..len)
    }

    /// Adds `count` zeros, which lie in one page when `count` divides `PAGE` and has always been the same.
    ///
    /// # Panics
    /// As [`Huge::zeroed`](super::Huge::zeroed).
    pub fn grow(&mut self, count: usize) {
        let () = Self::IS_A_HUGE_PAGE;
        self.len += count;
        while self.room() < self.len {
            self.add_room();
        }
        let last = self.pages.last().map_or(0, |page| page.len());
        if self.next_page() == PAGE && self.room() - self.len <= last / 8 {
            self.ahead.want();
        }
    }

    /// The page that comes next, for whoever makes it.
    pub fn ahead(&mut self) -> &mut Ahead<[T; PAGE]> {
        &mut self.ahead
    }

    fn room(&self) -> usize {
        self.pages.last().map_or(0, |last| (self.pages.len() - 1) * PAGE + last.len())
    }

    /// Values of the page that is added next, or that the first one becomes.
    fn next_page(&self) -> usize {
        match self.pages.last() {
            None => FIRST_BYTES / size_of::<T>(),
            // What the allocator would not have in small pages is a whole one at once.
            Some(page) if page.len() * size_of::<T>() * 2 <= HUGE_PAGE_BYTES / 2 => page.len() * 2,
            Some(_) => PAGE,
        }
    }

    fn add_room(&mut self) {
        let len = self.next_page();
        let mut page = if len == PAGE { Zeros::from(self.ahead.take()) } else { Zeros::new(len) };
        match self.pages.last_mut() {
            Some(first) if first.len() < PAGE => {
                page[..first.len()].swap_with_slice(first);
                *first = page;
            }
            _ => self.pages.push(page),
        }
    }
}

impl<T: AllZeros, const PAGE: usize> Index<usize> for Pages<T, PAGE> {
    type Output = T;

    #[inline]
    fn index(&self, at: usize) -> &T {
        &self.pages[at / PAGE][at % PAGE]
    }
}

impl<T: AllZeros, const PAGE: usize> IndexMut<usize> for Pages<T, PAGE> {
    #[inline]
    fn index_mut(&mut self, at: usize) -> &mut T {
        &mut self.pages[at / PAGE][at % PAGE]
    }
}

#[cfg(test)]
mod tests {
    use super::super::Huge;
    use super::*;

    const PAGE: usize = HUGE_PAGE_BYTES / size_of::<Row>();

    #[derive(Clone, Copy, Default, PartialEq, Debug)]
    struct Row([u64; 3]);
    // SAFETY: numbers.
    unsafe impl AllZeros for Row {}

    fn row(at: usize) -> Row {
        Row([at as u64 + 1; 3])
    }

    #[test]
    fn values_keep_their_place_while_pages_are_added() {
        let mut rows = Pages::<Row, PAGE>::default();
        assert_eq!((rows.get(0), rows.part(0, 1)), (None, None));
        let (mut moves, mut at_last) = (0, std::ptr::null());
        for at in 0..2 * PAGE + 5 {
            rows.grow(1);
            assert_eq!(rows[at], Row::default());
            rows[at] = row(at);
            moves += usize::from(!std::ptr::eq(&rows[0], at_last));
            at_last = &rows[0];
        }
        assert_eq!(moves, 10, "4 KiB, 8, 16 … 1 MiB, and the whole page");
        assert!((0..rows.len()).all(|at| rows[at] == row(at) && rows.get(at) == Some(&row(at))));
        assert_eq!((rows.get(rows.len()), rows.get(3 * PAGE)), (Some(&Row::default()), None));
        assert_eq!(rows.part(PAGE - 2, 2), Some(&[row(PAGE - 2), row(PAGE - 1)][..]));
        assert_eq!(rows.part(PAGE - 1, 2), None, "two pages");
    }

    #[test]
    fn the_next_page_is_wanted_in_time_and_used() {
        let mut rows = Pages::<Row, PAGE>::default();
        let wanted_at = |rows: &mut Pages<Row, PAGE>| {
            while !rows.ahead().claim() {
                rows.grow(1);
            }
            rows.len()
        };
        let brought = |rows: &mut Pages<Row, PAGE>, mark| {
            let mut page = Huge::<[Row; PAGE]>::touched();
            page[PAGE - 1] = row(mark);
            rows.ahead().bring(page);
        };
        // Half a huge page is the most of small ones.
        let small = FIRST_BYTES / size_of::<Row>() * 256;
        assert_eq!(wanted_at(&mut rows), small - small / 8);
        brought(&mut rows, 1);
        assert_eq!(wanted_at(&mut rows), PAGE - PAGE / 8);
        assert_eq!(rows[PAGE - 1], row(1), "the first page is the one that was brought");
        brought(&mut rows, 2);
        assert_eq!(wanted_at(&mut rows), 2 * PAGE - PAGE / 8);
        assert_eq!(rows[2 * PAGE - 1], row(2), "and the second");
        rows.grow(PAGE / 4);
        assert_eq!(rows[3 * PAGE - 1], Row::default(), "nobody made the third");
    }
}
