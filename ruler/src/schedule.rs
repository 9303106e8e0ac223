//! When a group is evaluated: slots on a grid, and which of them were missed.
//!
//! Each group has its own offset within its interval, from a hash of its identity, so that groups do not all start at
//! once; the offset is the same on every node and after every restart. Pure.

/// Missed evaluations of recording rules are made up this far back: they fall into open or late windows.
pub const MAKE_UP_HORIZON_MS: i64 = 10 * 60 * 1000;

/// The grid of a group.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Grid {
    interval_ms: i64,
    offset_ms: i64,
}

/// What is to be evaluated now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Plan {
    /// First timestamp to make up, if any; from here each slot before `current_ms`.
    pub make_up_from_ms: Option<i64>,
    /// The newest slot.
    pub current_ms: i64,
    /// Slots between the last evaluation and `current_ms`.
    pub missed: u64,
    /// Those of them that are too old to be made up.
    pub lost: u64,
}

impl Grid {
    /// The grid of a group of this hash. `interval_ms` must be positive.
    pub fn new(interval_ms: i64, hash: u64) -> Grid {
        assert!(interval_ms > 0, "an interval is positive");
        Grid { interval_ms, offset_ms: (hash % interval_ms as u64) as i64 }
    }

    /// Time between slots.
    pub fn interval_ms(self) -> i64 {
        self.interval_ms
    }

    /// The newest slot at or before a time.
    pub fn slot_at(self, now_ms: i64) -> i64 {
        (now_ms - self.offset_ms).div_euclid(self.interval_ms) * self.interval_ms + self.offset_ms
    }

    /// The first slot after a time.
    pub fn slot_after(self, now_ms: i64) -> i64 {
        self.slot_at(now_ms) + self.interval_ms
    }

    /// What is due at a time, given the last slot that was evaluated; `None` when its successor has not come.
    /// Without a last slot only the newest one is due.
    pub fn plan(self, last_ms: Option<i64>, now_ms: i64) -> Option<Plan> {
        let current_ms = self.slot_at(now_ms);
        let Some(last_ms) = last_ms.map(|last| self.slot_at(last)) else {
            return Some(Plan { make_up_from_ms: None, current_ms, missed: 0, lost: 0 });
        };
        if current_ms <= last_ms {
            return None;
        }
        let missed = ((current_ms - last_ms) / self.interval_ms - 1) as u64;
        let oldest = self.slot_after(now_ms - MAKE_UP_HORIZON_MS - 1).max(last_ms + self.interval_ms);
        let kept = ((current_ms - oldest) / self.interval_ms).max(0) as u64;
        Some(Plan { make_up_from_ms: (kept > 0).then_some(oldest), current_ms, missed, lost: missed - kept })
    }

    /// The slots to make up, the oldest first.
    pub fn make_up(self, plan: &Plan) -> impl Iterator<Item = i64> + use<> {
        let from_ms = plan.make_up_from_ms.unwrap_or(plan.current_ms);
        (from_ms..plan.current_ms).step_by(self.interval_ms as usize)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn missed_slots_within_ten_minutes_are_made_up() {
        let grid = Grid::new(60_000, 7_000);
        assert_eq!(
            grid.plan(None, 100_000).unwrap(),
            Plan { make_up_from_ms: None, current_ms: 67_000, missed: 0, lost: 0 }
        );
        assert_eq!(grid.plan(Some(67_000), 126_999), None);
        assert_eq!(grid.plan(Some(67_000), 127_000).unwrap().missed, 0);
        let plan = grid.plan(Some(67_000), 310_000).unwrap();
        assert_eq!((plan.missed, plan.lost, plan.current_ms), (3, 0, 307_000));
        assert_eq!(grid.make_up(&plan).collect::<Vec<_>>(), [127_000, 187_000, 247_000]);
        let plan = grid.plan(Some(67_000), 3_600_000).unwrap();
        assert_eq!((plan.missed, plan.lost), (57, 48));
        assert_eq!(grid.make_up(&plan).next(), Some(3_007_000));
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Last evaluation, lost, made up and current slots are every slot once.
        #[test]
        fn no_slot_is_skipped_silently_or_taken_twice(
            interval in 1_000i64..4_000_000, hash in any::<u64>(), last in -10_000_000i64..10_000_000, later in 0i64..20_000_000
        ) {
            let grid = Grid::new(interval, hash);
            let (last, now) = (grid.slot_at(last), last + later);
            let Some(plan) = grid.plan(Some(last), now) else {
                prop_assert!(grid.slot_at(now) <= last);
                return Ok(());
            };
            let made_up: Vec<i64> = grid.make_up(&plan).collect();
            prop_assert_eq!(made_up.len() as u64 + plan.lost, plan.missed);
            prop_assert_eq!(last + (plan.missed as i64 + 1) * interval, plan.current_ms);
            prop_assert!(plan.current_ms <= now && now < plan.current_ms + interval);
            for t in &made_up {
                prop_assert_eq!(grid.slot_at(*t), *t);
                prop_assert!(*t > last && *t < plan.current_ms && *t >= now - MAKE_UP_HORIZON_MS);
            }
            if let Some(first) = made_up.first() {
                prop_assert!(plan.lost == 0 || first - interval < now - MAKE_UP_HORIZON_MS);
            }
        }
    }
}
