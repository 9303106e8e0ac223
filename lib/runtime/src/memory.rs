//! Large values that begin as zeros, in memory that huge pages can back, and parts of them given back to the system.
//!
//! State of many series is touched in an order of its own; with small pages every other touch waits for the address
//! to be translated. The allocator asks for huge pages where a value is a multiple of one and aligned to it
//! (`#[repr(align(2097152))]`).

use rustix::mm::{Advice, madvise};

/// Bytes of a huge page.
pub const HUGE_PAGE_BYTES: usize = 2 << 20;

/// Bytes of a small page. Where the system's are larger, it refuses to take them back.
const PAGE_BYTES: usize = 4096;

/// Types of which memory full of zeros is a value.
///
/// # Safety
/// It must be one, padding aside, and the type must own nothing that has to be dropped.
pub unsafe trait AllZeros {}

/// A value of zeros. Its memory is taken from the system when it is touched.
pub fn zeroed<T: AllZeros>() -> Box<T> {
    // SAFETY: all zeros is a value of `T`, as its implementation of `AllZeros` asserts.
    unsafe { Box::<T>::new_zeroed().assume_init() }
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
        let mut pages = zeroed::<Pages>();
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
