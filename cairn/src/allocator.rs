//! The process' allocator, and memory it holds without need.

/// Measured on the receive path: a few per cent below the system's allocator, and it returns memory to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Number of the option `purge_delay`, which the crate does not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// How long freed memory is kept for the next who wants it. Its default is a second, in which what one step of a cut has
/// freed would still be there while the next step takes more. Measured: writes cost the same.
const PURGE_DELAY_MS: std::ffi::c_long = 100;

/// Sets the allocator up for serving; what `MIMALLOC_PURGE_DELAY` says is left as it is.
pub fn set_up() {
    // SAFETY: it takes numbers only; an option may be changed at any time.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, PURGE_DELAY_MS) }
}

/// Gives memory back to the system that was freed some time ago. The allocator does so itself when it is used again;
/// a process that works on something large now and then, and hardly in between, would keep it until then.
pub fn give_back() {
    // SAFETY: it takes no pointers, and may be called at any time from any thread.
    unsafe { libmimalloc_sys::mi_collect(false) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_option_is_the_one_that_is_meant() {
        // SAFETY: it takes a number and gives one.
        let get = || unsafe { libmimalloc_sys::mi_option_get(PURGE_DELAY) };
        assert_eq!(get(), 1000, "the default of no other option near it");
        set_up();
        assert_eq!(get(), PURGE_DELAY_MS);
    }
}
