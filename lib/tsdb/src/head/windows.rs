//! Windows of a tenant: which are open, which are due to be closed, which generation late samples belong to.
//!
//! A window takes samples into its *accepting* generation. Closing is a fence: the accepting generation is sealed
//! and the next one accepts. A sealed generation is cut into a block and released when that block was verified. A
//! pure state machine: the caller makes each step durable before it takes it.
//!
//! Invariants: a generation is sealed at most once and released only after it was sealed; a window has at most one
//! sealed generation that is not released; every sample belongs to exactly one generation.

use std::collections::BTreeMap;

use super::series::WindowNo;

/// One window.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Window {
    /// Generation that samples go to now; all before are sealed.
    pub accepting: u32,
    /// Whether the accepting generation may have samples.
    pub touched: bool,
    /// Whether the generation before the accepting one waits for its release.
    pub sealed: bool,
    /// When a generation was released last.
    pub released_ms: i64,
    /// Generations below were released.
    pub unreleased: u32,
}

/// When windows are closed.
#[derive(Debug, Clone, Copy)]
pub struct Timing {
    /// Length of a window.
    pub length_ms: i64,
    /// A window is closed this long after its end.
    pub close_after_ms: i64,
    /// Late samples are sealed at most this often a window.
    pub late_every_ms: i64,
}

/// The windows of a tenant.
#[derive(Debug, Clone, Default)]
pub struct Windows {
    windows: BTreeMap<WindowNo, Window>,
    /// Windows below were forgotten: closed, with this accepting generation.
    floor: Option<(WindowNo, u32)>,
}

impl Windows {
    /// Samples may have gone to `window`; gives the generation that took them.
    pub fn touch(&mut self, window: WindowNo) -> u32 {
        let forgotten = self.forgotten(window);
        let w = self.windows.entry(window).or_insert(Window { accepting: forgotten, ..Window::default() });
        w.touched = true;
        w.accepting
    }

    fn forgotten(&self, window: WindowNo) -> u32 {
        match self.floor {
            Some((floor, accepting)) if window < floor => accepting,
            _ => 0,
        }
    }

    /// Windows whose accepting generation should be closed at `now_ms`, oldest first.
    pub fn due(&self, now_ms: i64, timing: &Timing) -> Vec<WindowNo> {
        let is_due = |(number, w): (&WindowNo, &Window)| {
            let end_ms = (i64::from(*number) + 1) * timing.length_ms;
            let time = match w.accepting {
                0 => end_ms.saturating_add(timing.close_after_ms) <= now_ms,
                _ => w.released_ms.saturating_add(timing.late_every_ms) <= now_ms,
            };
            (w.touched && !w.sealed && time).then_some(*number)
        };
        self.windows.iter().filter_map(is_due).collect()
    }

    /// Seals the accepting generation and gives its number; `None` when one is sealed already.
    pub fn close(&mut self, window: WindowNo) -> Option<u32> {
        let forgotten = self.forgotten(window);
        let w = self.windows.entry(window).or_insert(Window { accepting: forgotten, ..Window::default() });
        if w.sealed {
            return None;
        }
        let generation = w.accepting;
        (w.accepting, w.touched, w.sealed) = (generation + 1, false, true);
        Some(generation)
    }

    /// Releases a sealed generation; `false` when it is not the sealed one.
    pub fn release(&mut self, window: WindowNo, generation: u32, now_ms: i64) -> bool {
        match self.windows.get_mut(&window) {
            Some(w) if w.sealed && w.accepting == generation + 1 => {
                (w.sealed, w.released_ms, w.unreleased) = (false, now_ms, generation + 1);
                true
            }
            _ => false,
        }
    }

    /// Repeats what the log says: `generation` was closed.
    pub fn restore_closed(&mut self, window: WindowNo, generation: u32) {
        let w = self.windows.entry(window).or_default();
        if generation >= w.accepting {
            (w.accepting, w.touched, w.sealed) = (generation + 1, false, true);
        }
    }

    /// Repeats what the log says: `generation` and those before were released.
    pub fn restore_released(&mut self, window: WindowNo, generation: u32) {
        let w = self.windows.entry(window).or_default();
        w.accepting = w.accepting.max(generation + 1);
        w.unreleased = w.unreleased.max(generation + 1);
        if w.accepting == generation + 1 {
            w.sealed = false;
        }
    }

    /// Repeats what the log says: windows below `floor` are closed, and late samples belong to `accepting` at least.
    pub fn restore_floor(&mut self, floor: WindowNo, accepting: u32) {
        self.raise_floor(floor, accepting);
        for (_, w) in self.windows.range_mut(..floor) {
            w.accepting = w.accepting.max(accepting);
        }
    }

    /// The floor only rises: what was closed stays closed, and no generation is given out twice.
    fn raise_floor(&mut self, floor: WindowNo, accepting: u32) {
        let (number, generation) = self.floor.unwrap_or((floor, accepting));
        self.floor = Some((number.max(floor), generation.max(accepting)));
    }

    /// Whether samples of this generation may be needed from the head or the log.
    pub fn is_needed(&self, window: WindowNo, generation: u32) -> bool {
        match self.windows.get(&window) {
            Some(w) if generation >= w.accepting => w.touched,
            // Cutting a generation takes all before it that are not released.
            Some(w) => generation >= w.unreleased && (w.sealed || w.touched),
            None => generation >= self.forgotten(window),
        }
    }

    /// One window's state.
    pub fn get(&self, window: WindowNo) -> Option<Window> {
        self.windows.get(&window).copied()
    }

    /// All windows, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (WindowNo, Window)> + '_ {
        self.windows.iter().map(|(n, w)| (*n, *w))
    }

    /// Windows with samples in the head, oldest first.
    pub fn with_data(&self) -> impl Iterator<Item = WindowNo> + '_ {
        self.windows.iter().filter(|(_, w)| w.touched || w.sealed).map(|(n, _)| *n)
    }

    /// Forgets closed windows without samples until at most `keep` windows are left; late samples of forgotten
    /// ones go to a generation above all that they had. Gives the floor.
    pub fn forget_oldest(&mut self, keep: usize) -> Option<(WindowNo, u32)> {
        while self.windows.len() > keep {
            let Some((number, w)) = self.windows.first_key_value().map(|(n, w)| (*n, *w)) else { break };
            if w.touched || w.sealed {
                break;
            }
            self.raise_floor(number + 1, w.accepting.max(1));
            self.windows.remove(&number);
        }
        self.floor
    }

    /// The floor, see [`Windows::forget_oldest`].
    pub fn floor(&self) -> Option<(WindowNo, u32)> {
        self.floor
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TIMING: Timing = Timing { length_ms: 100, close_after_ms: 30, late_every_ms: 60 };

    #[test]
    fn a_window_is_due_after_its_end_and_late_data_later_again() {
        let mut w = Windows::default();
        assert_eq!(w.touch(0), 0);
        assert!(w.due(129, &TIMING).is_empty());
        assert_eq!(w.due(130, &TIMING), [0]);
        assert_eq!(w.close(0), Some(0));
        assert_eq!(w.touch(0), 1, "late samples belong to the next generation");
        assert!(w.due(1000, &TIMING).is_empty(), "not before the sealed one is released");
        assert!(!w.release(0, 1, 200));
        assert!(w.release(0, 0, 200));
        assert!(!w.is_needed(0, 0) && w.is_needed(0, 1));
        assert!(w.due(259, &TIMING).is_empty());
        assert_eq!(w.due(260, &TIMING), [0]);
    }

    #[derive(Debug, Clone)]
    enum Step {
        Sample(WindowNo),
        Close(WindowNo),
        Cut(WindowNo),
        Release(WindowNo),
        Forget,
    }

    fn step() -> impl Strategy<Value = Step> {
        (0..4, 0u8..8).prop_map(|(w, kind)| match kind {
            0..=3 => Step::Sample(w),
            4 => Step::Close(w),
            5 => Step::Cut(w),
            6 => Step::Release(w),
            _ => Step::Forget,
        })
    }

    proptest! {
        /// Whatever the order of events: each sample is cut into exactly one block, and nothing is released that
        /// was not cut.
        #[test]
        fn every_sample_is_in_exactly_one_generation(steps in prop::collection::vec(step(), 1..80)) {
            let mut windows = Windows::default();
            let mut head: Vec<(WindowNo, u32, u32)> = Vec::new(); // (window, generation, sample)
            let mut blocks: BTreeMap<(WindowNo, u32), Vec<u32>> = BTreeMap::new();
            let (mut next, mut now) = (0u32, 0i64);
            for s in steps {
                now += 10;
                match s {
                    Step::Sample(w) => {
                        let generation = windows.touch(w);
                        prop_assert!(!blocks.contains_key(&(w, generation)), "a block's generation takes no more");
                        head.push((w, generation, next));
                        next += 1;
                    }
                    Step::Close(w) => {
                        let before = windows.get(w);
                        match windows.close(w) {
                            Some(g) => prop_assert_eq!(windows.touch(w), g + 1),
                            None => prop_assert!(before.unwrap().sealed),
                        }
                    }
                    Step::Cut(w) => if let Some(state) = windows.get(w) && state.sealed {
                        let g = state.accepting - 1;
                        let cut = head.iter().filter(|s| s.0 == w && s.1 <= g).map(|s| s.2).collect();
                        blocks.insert((w, g), cut);
                    },
                    Step::Release(w) => if let Some(state) = windows.get(w) && state.sealed {
                        let g = state.accepting - 1;
                        if blocks.contains_key(&(w, g)) && windows.release(w, g, now) {
                            head.retain(|s| !(s.0 == w && s.1 <= g));
                        }
                    },
                    Step::Forget => { windows.forget_oldest(2); }
                }
                for (w, g, _) in &head {
                    prop_assert!(windows.is_needed(*w, *g), "window {} generation {}", w, g);
                }
            }
            let mut seen: Vec<u32> = head.iter().filter(|s| !blocks.contains_key(&(s.0, s.1))).map(|s| s.2)
                .chain(blocks.values().flatten().copied()).collect();
            seen.sort_unstable();
            prop_assert_eq!(seen, (0..next).collect::<Vec<_>>());
        }
    }
}
