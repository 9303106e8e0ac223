//! Memory that is made before its owner needs it.
//!
//! The system clears memory when it is touched first: a huge page in a tenth of a millisecond, or in five on a virtual
//! machine whose host has to find the memory too. Under a lock, everyone who waits for the lock waits for that. So an
//! owner that sees its end near says so ([`Ahead::want`]), whoever has time makes the memory without the lock
//! ([`Huge::touched`]) and brings it ([`Ahead::bring`]). Where nobody did in time, the owner gets untouched memory.
//!
//! Invariant: at most one value is held ahead.

use super::{AllZeros, HUGE_PAGE_BYTES, Huge};

/// The next value of an owner that needs one after the other.
pub struct Ahead<T>(State<T>);

enum State<T> {
    /// It will not be needed soon.
    Idle,
    Wanted,
    /// Somebody makes it.
    Coming,
    Ready(Huge<T>),
}

impl<T> Default for Ahead<T> {
    fn default() -> Self {
        Ahead(State::Idle)
    }
}

impl<T: AllZeros> Ahead<T> {
    /// A value will be needed soon.
    pub fn want(&mut self) {
        if matches!(self.0, State::Idle) {
            self.0 = State::Wanted;
        }
    }

    /// Whether a value is wanted that nobody makes yet.
    pub fn is_lacking(&self) -> bool {
        matches!(self.0, State::Wanted)
    }

    /// Says once for each value that is lacking that the caller shall make and bring it.
    pub fn claim(&mut self) -> bool {
        let lacking = self.is_lacking();
        if lacking {
            self.0 = State::Coming;
        }
        lacking
    }

    /// Here is one. One that comes too late is dropped.
    pub fn bring(&mut self, value: Huge<T>) {
        if matches!(self.0, State::Coming) {
            self.0 = State::Ready(value);
        }
    }

    /// A value of zeros: the one that was brought, or untouched memory. Either way none is wanted any more.
    ///
    /// # Panics
    /// As [`Huge::zeroed`].
    pub fn take(&mut self) -> Huge<T> {
        match std::mem::replace(&mut self.0, State::Idle) {
            State::Ready(value) => value,
            _ => Huge::zeroed(),
        }
    }

    /// Bytes that are held ahead.
    pub fn bytes(&self) -> usize {
        match self.0 {
            State::Ready(_) => size_of::<T>().next_multiple_of(HUGE_PAGE_BYTES),
            _ => 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn marked(mark: u8) -> Huge<[u8; 100]> {
        let mut value = Huge::<[u8; 100]>::touched();
        assert_eq!(*value, [0; 100]);
        value[0] = mark;
        value
    }

    #[test]
    fn what_is_brought_in_time_is_taken_and_what_comes_late_is_dropped() {
        let mut ahead = Ahead::default();
        assert!(!ahead.claim());
        ahead.want();
        assert!(ahead.is_lacking() && ahead.claim());
        ahead.want();
        assert!(!ahead.is_lacking() && !ahead.claim(), "one at a time");
        ahead.bring(marked(1));
        ahead.want();
        assert_eq!((ahead.is_lacking(), ahead.bytes()), (false, HUGE_PAGE_BYTES), "it is here");
        ahead.bring(marked(2));
        assert_eq!((ahead.take()[0], ahead.bytes()), (1, 0));
        ahead.want();
        assert!(ahead.claim());
        assert_eq!(ahead.take()[0], 0, "it is not here yet");
        ahead.bring(marked(3));
        assert_eq!((ahead.take()[0], ahead.is_lacking()), (0, false));
    }
}
