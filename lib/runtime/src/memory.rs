//! Large values that begin as zeros, in memory that huge pages can back, and parts of them given back to the system.
//!
//! State of many series is touched in an order of its own; with small pages every other touch waits for the address
//! to be translated.

mod ahead;
mod pages;
mod process;

use std::ffi::c_void;
use std::io;
use std::ops::{Deref, DerefMut};
use std::ptr::{NonNull, null_mut};

use rustix::mm::{Advice, MapFlags, ProtFlags, madvise, mmap_anonymous, munmap};

pub use ahead::Ahead;
pub use pages::Pages;
pub use process::own_bytes;

/// Bytes of a huge page.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Bytes of a small page. Where the system's are larger, it refuses to take them back.
const PAGE_BYTES: usize = 4096;

/// Types of which memory full of zeros is a value.
///
/// # Safety
/// It must be one, padding aside, and the type must own nothing that has to be dropped.
pub unsafe trait AllZeros {}

// SAFETY: a number.
unsafe impl AllZeros for u8 {}
// SAFETY: each of them is.
unsafe impl<T: AllZeros, const N: usize> AllZeros for [T; N] {}

/// A value in memory of its own, in huge pages where the system has them.
///
/// Constructors give values of types that are [`AllZeros`] only, or slices of such.
pub struct Huge<T: ?Sized> {
    mapping: NonNull<T>,
}

// SAFETY: it owns the value, as a box does.
unsafe impl<T: ?Sized + Send> Send for Huge<T> {}
// SAFETY: as a box.
unsafe impl<T: ?Sized + Sync> Sync for Huge<T> {}

impl<T: AllZeros> Huge<T> {
    /// A value of zeros. Its memory is taken from the system when it is touched.
    ///
    /// # Panics
    /// When the system has no memory left, as a box would; when `T` needs more than a huge page's alignment.
    pub fn zeroed() -> Self {
        Self { mapping: take(1) }
    }

    /// A value of zeros whose memory is there already. Takes milliseconds: see [`Ahead`].
    ///
    /// # Panics
    /// As [`Huge::zeroed`].
    pub fn touched() -> Self {
        let value = Self::zeroed();
        let begin: *mut u8 = value.mapping.as_ptr().cast();
        for at in (0..size_of::<T>()).step_by(PAGE_BYTES) {
            // SAFETY: inside the value, which is ours; zero is what is there.
            unsafe { begin.add(at).write_volatile(0) }
        }
        value
    }
}

impl<T: AllZeros> Huge<[T]> {
    /// A slice of `len` values of zeros.
    ///
    /// # Panics
    /// As [`Huge::zeroed`]; when it has no bytes.
    pub fn zeroed_slice(len: usize) -> Self {
        Self { mapping: NonNull::slice_from_raw_parts(take(len), len) }
    }
}

/// Takes memory for `len` values from the system.
fn take<T: AllZeros>(len: usize) -> NonNull<T> {
    let bytes = size_of::<T>().checked_mul(len).expect("a slice fits the address space");
    assert!(align_of::<T>() <= HUGE_PAGE_BYTES && bytes > 0);
    let bytes = bytes.next_multiple_of(HUGE_PAGE_BYTES);
    let begin = map(bytes).unwrap_or_else(|e| {
        panic!("cannot take memory from the system: {e}; give the process more, or raise vm.max_map_count")
    });
    // SAFETY: the range is a mapping of our own; the advice changes how its memory is provided, not what it holds.
    let advised = unsafe { madvise(begin.as_ptr(), bytes, Advice::LinuxHugepage) };
    advised.unwrap_or_default(); // a system without them
    begin.cast()
}

/// Maps more than is needed and gives back what lies before and behind the aligned part.
fn map(bytes: usize) -> io::Result<NonNull<c_void>> {
    let all = bytes + HUGE_PAGE_BYTES;
    // SAFETY: a new private mapping at a place of the system's choice, which nobody else knows.
    let begin =
        unsafe { mmap_anonymous(null_mut(), all, ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE)? };
    let before = (begin as usize).next_multiple_of(HUGE_PAGE_BYTES) - begin as usize;
    let aligned = begin.wrapping_byte_add(before);
    let behind = HUGE_PAGE_BYTES - before;
    // SAFETY: both ranges are parts of the new mapping, whole pages, and not part of the aligned one.
    unsafe {
        if before > 0 {
            munmap(begin, before)?;
        }
        if behind > 0 {
            munmap(aligned.wrapping_byte_add(bytes), behind)?;
        }
    }
    NonNull::new(aligned).ok_or_else(|| io::Error::other("mapped at address 0"))
}

impl<T: ?Sized> Deref for Huge<T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: the mapping lives as long as `self`, is aligned and large enough, and began as zeros, which is a value.
        unsafe { self.mapping.as_ref() }
    }
}

impl<T: ?Sized> DerefMut for Huge<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: as in `deref`, and `self` is borrowed for writing.
        unsafe { self.mapping.as_mut() }
    }
}

impl<T: ?Sized> Drop for Huge<T> {
    fn drop(&mut self) {
        let bytes = size_of_val(&**self).next_multiple_of(HUGE_PAGE_BYTES);
        // SAFETY: the mapping is this value's alone, and the value owns nothing that has to be dropped.
        let unmapped = unsafe { munmap(self.mapping.as_ptr().cast(), bytes) };
        debug_assert!(unmapped.is_ok());
    }
}

/// A slice that begins as zeros: in huge pages when it fills more than half of one, else in the allocator's memory.
pub enum Zeros<T> {
    /// In the allocator's memory.
    Small(Box<[T]>),
    /// In memory of its own.
    Large(Huge<[T]>),
}

impl<T: AllZeros> Zeros<T> {
    /// `len` values.
    ///
    /// # Panics
    /// As [`Huge::zeroed`].
    pub fn new(len: usize) -> Self {
        if len > HUGE_PAGE_BYTES / 2 / size_of::<T>().max(1) {
            return Zeros::Large(Huge::zeroed_slice(len));
        }
        // SAFETY: zeros are values of the type.
        Zeros::Small(unsafe { Box::new_zeroed_slice(len).assume_init() })
    }
}

impl<T, const N: usize> From<Huge<[T; N]>> for Zeros<T> {
    fn from(values: Huge<[T; N]>) -> Self {
        let mapping = NonNull::slice_from_raw_parts(values.mapping.cast(), N);
        std::mem::forget(values); // the mapping has another owner now, of the same size
        Zeros::Large(Huge { mapping })
    }
}

impl<T> Default for Zeros<T> {
    fn default() -> Self {
        Zeros::Small(Box::default())
    }
}

impl<T> Deref for Zeros<T> {
    type Target = [T];

    #[inline]
    fn deref(&self) -> &[T] {
        match self {
            Zeros::Small(values) => values,
            Zeros::Large(values) => values,
        }
    }
}

impl<T> DerefMut for Zeros<T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut [T] {
        match self {
            Zeros::Small(values) => values,
            Zeros::Large(values) => values,
        }
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

    #[test]
    fn a_slice_of_zeros_is_small_or_large() {
        for (len, large) in [(0, false), (7, false), (131_072, false), (131_073, true), (600_000, true)] {
            let mut zeros = Zeros::<u64>::new(len);
            assert_eq!((zeros.len(), matches!(zeros, Zeros::Large(_))), (len, large));
            assert!(zeros.iter().all(|x| *x == 0));
            zeros.fill(7);
            assert_eq!(zeros.iter().sum::<u64>(), 7 * len as u64);
        }
    }
}
