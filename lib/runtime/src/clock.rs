//! Wall time, monotonic time and sleeping.
//!
//! Wall time stamps data and may jump; monotonic time measures durations and leases and never goes back.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures::future::BoxFuture;
use parking_lot::Mutex;
use tokio::sync::oneshot;

/// A source of time.
pub trait Clock: Send + Sync {
    /// Milliseconds since the Unix epoch. May jump in either direction.
    fn now_ms(&self) -> i64;

    /// Time since an arbitrary start. Never goes back.
    fn monotonic(&self) -> Duration;

    /// Completes after `duration` of monotonic time.
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()>;
}

/// The machine's clocks.
pub struct SystemClock {
    start: std::time::Instant,
}

impl SystemClock {
    /// Monotonic time starts at zero now.
    #[allow(clippy::new_without_default, clippy::disallowed_methods)] // this is the one place that may ask
    pub fn new() -> Self {
        SystemClock { start: std::time::Instant::now() }
    }
}

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods)] // this is the one place that may ask
    fn now_ms(&self) -> i64 {
        match std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH) {
            Ok(d) => d.as_millis() as i64,
            Err(before_epoch) => -(before_epoch.duration().as_millis() as i64),
        }
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    #[allow(clippy::disallowed_methods)] // this is the one place that may sleep
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// Follows tokio's clock, which tests and the simulation pause and advance. Wall time is `start_ms` plus the
/// time that has passed, plus a skew that can be set.
pub struct TokioClock {
    start: Mutex<Option<tokio::time::Instant>>,
    start_ms: i64,
    skew_ms: std::sync::atomic::AtomicI64,
}

impl TokioClock {
    /// Wall time `start_ms` at the first use inside a runtime.
    pub fn starting_at(start_ms: i64) -> Self {
        TokioClock { start: Mutex::new(None), start_ms, skew_ms: 0.into() }
    }

    /// Lets this clock's wall time differ from the others'.
    pub fn set_skew_ms(&self, skew_ms: i64) {
        self.skew_ms.store(skew_ms, std::sync::atomic::Ordering::Relaxed);
    }
}

impl Clock for TokioClock {
    fn now_ms(&self) -> i64 {
        let skew = self.skew_ms.load(std::sync::atomic::Ordering::Relaxed);
        self.start_ms + self.monotonic().as_millis() as i64 + skew
    }

    #[allow(clippy::disallowed_methods)] // tokio's clock is the simulated one here
    fn monotonic(&self) -> Duration {
        let now = tokio::time::Instant::now();
        let start = *self.start.lock().get_or_insert(now);
        now.duration_since(start)
    }

    #[allow(clippy::disallowed_methods)] // tokio's clock is the simulated one here
    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(duration))
    }
}

/// A clock that moves only when told to; for tests without a paused runtime. Clones share the time.
#[derive(Clone)]
pub struct ManualClock {
    state: Arc<Mutex<ManualState>>,
}

struct ManualState {
    wall_ms: i64,
    monotonic: Duration,
    sleepers: BTreeMap<(Duration, u64), oneshot::Sender<()>>,
    next_sleeper: u64,
}

impl ManualClock {
    /// Wall time `start_ms`, monotonic time zero.
    pub fn starting_at(start_ms: i64) -> Self {
        let state = ManualState {
            wall_ms: start_ms,
            monotonic: Duration::ZERO,
            sleepers: BTreeMap::new(),
            next_sleeper: 0,
        };
        ManualClock { state: Arc::new(Mutex::new(state)) }
    }

    /// Moves both clocks and wakes those whose time has come.
    pub fn advance(&self, by: Duration) {
        let mut s = self.state.lock();
        s.wall_ms += by.as_millis() as i64;
        s.monotonic += by;
        let now = s.monotonic;
        while let Some(first) = s.sleepers.first_entry() {
            if first.key().0 > now {
                break;
            }
            // A sleeper that went away needs no waking.
            let _ = first.remove().send(());
        }
    }

    /// Moves wall time only, as an operator or NTP does.
    pub fn set_wall_ms(&self, wall_ms: i64) {
        self.state.lock().wall_ms = wall_ms;
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> i64 {
        self.state.lock().wall_ms
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().monotonic
    }

    fn sleep(&self, duration: Duration) -> BoxFuture<'static, ()> {
        let mut s = self.state.lock();
        if duration.is_zero() {
            return Box::pin(async {});
        }
        let (wake, woken) = oneshot::channel();
        let key = (s.monotonic + duration, s.next_sleeper);
        s.next_sleeper += 1;
        s.sleepers.insert(key, wake);
        Box::pin(async move {
            // The clock itself went away: nothing will ever wake this sleeper, so let it go on.
            let _ = woken.await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_manual_clock_wakes_sleepers_in_time() {
        let clock = ManualClock::starting_at(1_000);
        let short = clock.sleep(Duration::from_secs(1));
        let mut long = clock.sleep(Duration::from_secs(3));
        clock.advance(Duration::from_secs(1));
        short.await;
        assert_eq!(clock.now_ms(), 2_000);
        assert!(futures::poll!(&mut long).is_pending());
        clock.advance(Duration::from_secs(2));
        long.await;
    }

    #[tokio::test(start_paused = true)]
    async fn a_tokio_clock_follows_paused_time() {
        let clock = TokioClock::starting_at(5_000);
        assert_eq!(clock.now_ms(), 5_000);
        clock.sleep(Duration::from_millis(250)).await;
        assert_eq!(clock.now_ms(), 5_250);
        clock.set_skew_ms(-1_000);
        assert_eq!(clock.now_ms(), 4_250);
    }
}
