//! Buffers for decompressed bodies, used again so that a request neither allocates nor clears pages.

use std::ops::{Deref, DerefMut};
use std::sync::Arc;

use parking_lot::Mutex;

/// Largest buffer that is kept. Judgement: 20 times a stock request (530 KB decompressed).
const KEPT_BYTES_EACH: usize = 10 << 20;
/// All buffers that are kept.
const KEPT_BYTES: usize = 32 << 20;

/// Buffers at rest; clones share them.
#[derive(Clone, Default)]
pub struct BufferPool {
    resting: Arc<Mutex<Vec<Vec<u8>>>>,
}

/// A buffer, given back when dropped. Its content is what the last user left.
pub struct PooledBuffer {
    buffer: Vec<u8>,
    pool: BufferPool,
}

impl BufferPool {
    /// A buffer of any size.
    pub fn take(&self) -> PooledBuffer {
        let buffer = self.resting.lock().pop().unwrap_or_default();
        PooledBuffer { buffer, pool: self.clone() }
    }
}

impl Deref for PooledBuffer {
    type Target = Vec<u8>;

    fn deref(&self) -> &Vec<u8> {
        &self.buffer
    }
}

impl DerefMut for PooledBuffer {
    fn deref_mut(&mut self) -> &mut Vec<u8> {
        &mut self.buffer
    }
}

impl Drop for PooledBuffer {
    fn drop(&mut self) {
        let size = self.buffer.capacity();
        let mut resting = self.pool.resting.lock();
        let kept: usize = resting.iter().map(Vec::capacity).sum();
        if (1..=KEPT_BYTES_EACH).contains(&size) && kept + size <= KEPT_BYTES {
            resting.push(std::mem::take(&mut self.buffer));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn buffers_come_back_and_giants_do_not() {
        let pool = BufferPool::default();
        pool.take().resize(1000, 0);
        let again = pool.take();
        assert_eq!(again.len(), 1000);
        pool.take().resize(KEPT_BYTES_EACH + 1, 0);
        assert_eq!(pool.take().capacity(), 0);
    }

    #[test]
    fn what_rests_is_bounded() {
        let pool = BufferPool::default();
        let mut many: Vec<_> = (0..10).map(|_| pool.take()).collect();
        many.iter_mut().for_each(|b| b.reserve_exact(8 << 20));
        drop(many);
        assert!(pool.resting.lock().iter().map(Vec::capacity).sum::<usize>() <= KEPT_BYTES);
    }
}
