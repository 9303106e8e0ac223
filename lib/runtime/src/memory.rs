//! Large values that begin as zeros, in memory that huge pages can back, and parts of them given back to the system.
//!
//! State of many series is touched in an order of its own; with small pages every other touch waits for the address
//! to be translated.

use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, null_mut};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

/// Bytes of a huge page.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Bytes of a small page. Where the system's are larger, it refuses to take them back.
const PAGE_BYTES: usize = 4096;

/// Types of which memory full of zeros is a value.
///
/// # Safety
/// It must be one, padding aside, and the type must own nothing that has to be dropped.
pub unsafe trait AllZeros {}

// SAFETY: bytes.
unsafe impl<const N: usize> AllZeros for [u8; N] {}

/// A value in memory of its own, in huge pages where the system has them.
pub struct Huge<T: AllZeros> {
    mapping: NonNull<T>,
}

// SAFETY: it owns the value, as a box does.
unsafe impl<T: AllZeros + Send> Send for Huge<T> {}
// SAFETY: as a box.
unsafe impl<T: AllZeros + Sync> Sync for Huge<T> {}

impl<T: AllZeros> Huge<T> {
    /// A value of zeros. Its memory is taken from the system when it is touched.
    ///
    /// # Panics
    /// When the system has no memory left, as a box would; when `T` needs more than a huge page's alignment.
    pub fn zeroed() -> Self {
        assert!(align_of::<T>() <= HUGE_PAGE_BYTES && size_of::<T>() > 0);
        let value = Self::map().unwrap_or_else(|e| {
            panic!(
                "cannot take memory from the system: {e}; give the process more, or raise vm.max_map_count"
            )
        });
        // SAFETY: the range is the value's own; the advice changes how its memory is provided, not what it holds.
        let advised = unsafe { madvise(value.mapping.as_ptr().cast(), Self::len(), Advice::LinuxHugepage) };
        advised.unwrap_or_default(); // a system without them
        value
    }

    /// Bytes of the mapping.
    const fn len() -> usize {
        size_of::<T>().next_multiple_of(HUGE_PAGE_BYTES)
    }

    /// Maps more than is needed and gives back what lies before and behind the aligned part.
    fn map() -> io::Result<Self> {
        let (len, all) = (Self::len(), Self::len() + HUGE_PAGE_BYTES);
        // SAFETY: a new private mapping at a place of the system's choice, which nobody else knows.
        let begin = unsafe {
            mmap_anonymous(null_mut(), all, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)?
        };
        let before = (begin as usize).next_multiple_of(HUGE_PAGE_BYTES) - begin as usize;
        let value = begin.wrapping_byte_add(before);
        let behind = HUGE_PAGE_BYTES - before;
        // SAFETY: both ranges are parts of the new mapping, whole pages, and not part of the value.
        unsafe {
            if before > 0 {
                munmap(begin, before)?;
            }
            if behind > 0 {
                munmap(value.wrapping_byte_add(len), behind)?;
            }
        }
        NonNull::new(value.cast())
            .map(|mapping| Self { mapping })
            .ok_or_else(|| io::Error::other("mapped at address 0"))
    }
}

impl<T: AllZeros> Deref for Huge<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the mapping lives as long as `self`, is aligned and large enough, and began as zeros, which is a value.
        unsafe { self.mapping.as_ref() }
    }
}

impl<T: AllZeros> DerefMut for Huge<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `self` is borrowed for writing.
        unsafe { self.mapping.as_mut() }
    }
}

impl<T: AllZeros> Drop for Huge<T> {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's alone, and the value owns nothing that has to be dropped.
        let unmapped = unsafe { munmap(self.mapping.as_ptr().cast(), Self::len()) };
        debug_assert!(unmapped.is_ok());
    }
}

/// Gives the memory of `items` back to the system if they fill whole pages; says whether it did. They are zeros then.
pub fn give_back<T: AllZeros>(items: &mut [T]) -> bool {
    let (begin, len) = (items.as_mut_ptr(), size_of_val(items));
    if len == 0 || !(begin as usize).is_multiple_of(PAGE_BYTES) || !len.is_multiple_of(PAGE_BYTES) {
        return false;
    }
    // SAFETY: the range is exactly `items`, which is borrowed for writing. Private memory reads as zeros afterwards,
    // and all zeros is a value of every item.
    let done = unsafe { madvise(begin.cast(), len, Advice::LinuxDontNeed) };
    done.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C, align(4096))]
    struct Pages([u64; 1024]);
    // SAFETY: numbers.
    unsafe impl AllZeros for Pages {}
    // SAFETY: a number.
    unsafe impl AllZeros for u64 {}

    #[test]
    fn what_was_given_back_is_zeros_and_the_rest_is_as_it_was() {
        let mut pages = Huge::<Pages>::zeroed();
        assert!((&raw const *pages as usize).is_multiple_of(HUGE_PAGE_BYTES));
        assert!(pages.0.iter().all(|x| *x == 0));
        pages.0.fill(7);
        assert!(!give_back(&mut pages.0[1..513]), "not whole pages");
        assert!(!give_back(&mut pages.0[..0]));
        assert!(pages.0.iter().all(|x| *x == 7));
        assert!(give_back(&mut pages.0[512..]));
        assert_eq!((pages.0[511], pages.0[512], pages.0[1023]), (7, 0, 0));
        pages.0[1023] = 9;
        assert_eq!(pages.0[1023], 9);
    }
}
