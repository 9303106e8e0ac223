//! The process' allocator, and memory it holds without need.

/// Measured on the receive path: a few per cent below the system's allocator, and it returns memory to the system.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// Gives memory back to the system that was freed some time ago. The allocator does so itself when it is used again;
/// a process that works on something large now and then, and hardly in between, would keep it until then.
pub fn give_back() {
    // SAFETY: it takes no pointers, and may be called at any time from any thread.
    unsafe { libmimalloc_sys::mi_collect(false) }
}
