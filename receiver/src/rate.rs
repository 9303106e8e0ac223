//! Samples a second of one tenant: a bucket that fills with time.
//!
//! A request is let in while the bucket holds anything, and may leave a debt; so a request larger than the
//! bucket is possible, and the average still holds.

use std::time::Duration;

use parking_lot::Mutex;

/// Longest pause a sender is asked for. Beyond, its own back-off is as good.
const MAX_RETRY_AFTER_S: u32 = 30;

/// The bucket.
#[derive(Debug, Default)]
pub struct RateBucket {
    state: Mutex<Option<State>>,
}

#[derive(Debug, Clone, Copy)]
struct State {
    tokens: f64,
    at: Duration,
}

impl RateBucket {
    /// Takes `samples` at monotonic time `now` under a limit of `per_s` with `burst` above it; 0 = no limit.
    ///
    /// # Errors
    /// Seconds until the bucket holds something again, at least 1; nothing was taken.
    pub fn take(&self, samples: u64, per_s: u64, burst: u64, now: Duration) -> Result<(), u32> {
        if per_s == 0 || samples == 0 {
            return Ok(());
        }
        let (per_s, full) = (per_s as f64, burst.max(1) as f64);
        let mut state = self.state.lock();
        let mut s = state.unwrap_or(State { tokens: full, at: now });
        let passed = now.saturating_sub(s.at).as_secs_f64();
        s.tokens = (s.tokens + passed * per_s).min(full);
        s.at = s.at.max(now);
        let taken = if s.tokens > 0.0 {
            s.tokens -= samples as f64;
            Ok(())
        } else {
            let wait = (-s.tokens / per_s).ceil().max(1.0);
            Err((wait as u32).min(MAX_RETRY_AFTER_S))
        };
        *state = Some(s);
        taken
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn debt_is_paid_by_waiting() {
        let bucket = RateBucket::default();
        let at = Duration::from_secs;
        assert_eq!(bucket.take(500, 100, 200, at(0)), Ok(()), "larger than the bucket, but it was full");
        assert_eq!(bucket.take(1, 100, 200, at(0)), Err(3));
        assert_eq!(bucket.take(1, 100, 200, at(3)), Err(1), "exactly empty");
        assert_eq!(bucket.take(1, 100, 200, at(4)), Ok(()));
        assert_eq!(bucket.take(1_000_000, 100, 200, at(1000)), Ok(()));
        assert_eq!(bucket.take(1, 100, 200, at(1000)), Err(MAX_RETRY_AFTER_S));
        assert_eq!(bucket.take(1, 0, 0, at(1000)), Ok(()), "no limit");
    }

    proptest! {
        #[test]
        fn the_average_holds(requests in prop::collection::vec((1u64..1000, 0u64..3000), 1..100)) {
            let (bucket, per_s, burst) = (RateBucket::default(), 1000u64, 500u64);
            let (mut now_ms, mut taken, mut largest) = (0, 0, 0);
            for (samples, pause_ms) in requests {
                now_ms += pause_ms;
                if bucket.take(samples, per_s, burst, Duration::from_millis(now_ms)).is_ok() {
                    taken += samples;
                    largest = largest.max(samples);
                }
            }
            prop_assert!(taken <= burst + now_ms * per_s / 1000 + largest + 1);
        }
    }
}
