//! Bad weather on the disk: calls fail at random for a while, or the power goes in the middle of one.

use std::sync::Arc;

use cairn_runtime::disk::{DiskOp, Fault};
use cairn_runtime::{MemDisk, Rng};
use parking_lot::Mutex;

/// A kind of bad weather.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Storm {
    /// Anything fails now and then.
    Flaky,
    /// No sync succeeds.
    NoSync,
    /// Writes find no space, after putting down a part.
    Full,
    /// Writes put down a part and fail.
    Short,
}

const STORMS: [Storm; 4] = [Storm::Flaky, Storm::NoSync, Storm::Full, Storm::Short];

/// The weather over one disk.
#[derive(Clone)]
pub struct Weather {
    disk: MemDisk,
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    storm: Option<Storm>,
    /// Calls until the power goes; it is gone at 0.
    power: Option<u64>,
    rng: Option<Rng>,
    struck: u64,
}

impl Weather {
    /// Fair weather over `disk`, with faults drawn from `rng` later.
    pub fn over(disk: &MemDisk, rng: &Rng) -> Self {
        let state = Arc::new(Mutex::new(State { rng: Some(rng.fork()), ..State::default() }));
        let seen = state.clone();
        disk.set_fault_hook(move |op| seen.lock().strike(op));
        Weather { disk: disk.clone(), state }
    }

    /// A storm of a random kind begins.
    pub fn storm(&self, rng: &Rng) -> Storm {
        let storm = STORMS[rng.below(STORMS.len() as u64) as usize];
        self.state.lock().storm = Some(storm);
        storm
    }

    /// The storm is over.
    pub fn clear(&self) {
        self.state.lock().storm = None;
    }

    /// Whether calls fail now.
    pub fn is_bad(&self) -> bool {
        let state = self.state.lock();
        state.storm.is_some() || state.power.is_some()
    }

    /// The power goes at the `calls`-th disk call from now.
    pub fn cut_power_after(&self, calls: u64) {
        self.state.lock().power = Some(calls);
    }

    /// Whether the power is gone.
    pub fn is_dark(&self) -> bool {
        self.state.lock().power == Some(0)
    }

    /// What a power cut leaves on the disk; the power is back.
    pub fn crash(&self, rng: &Rng) {
        self.disk.crash(rng);
        self.state.lock().power = None;
    }

    /// Calls that failed.
    pub fn struck(&self) -> u64 {
        self.state.lock().struck
    }
}

impl State {
    fn strike(&mut self, op: &DiskOp) -> Option<Fault> {
        let fault = self.choose(op);
        self.struck += u64::from(fault.is_some());
        fault
    }

    fn choose(&mut self, op: &DiskOp) -> Option<Fault> {
        let rng = self.rng.as_ref()?;
        if let Some(calls) = &mut self.power {
            if *calls > 0 {
                *calls -= 1;
            }
            if *calls == 0 {
                return Some(match op {
                    DiskOp::Write(_, bytes) => Fault::ShortWrite(rng.below(*bytes as u64 + 1) as usize),
                    _ => Fault::Eio,
                });
            }
        }
        let part = |bytes: usize| rng.below(bytes as u64 + 1) as usize;
        match (self.storm?, op) {
            (Storm::Flaky, DiskOp::Write(_, n)) if rng.below(8) == 0 => Some(Fault::ShortWrite(part(*n))),
            (Storm::Flaky, _) if rng.below(12) == 0 => Some(Fault::Eio),
            (Storm::NoSync, DiskOp::Sync(_)) => Some(Fault::Eio),
            (Storm::Full, DiskOp::Write(_, n)) => Some(Fault::Enospc(part(*n))),
            (Storm::Full, DiskOp::Open(_)) if rng.below(4) == 0 => Some(Fault::Enospc(0)),
            (Storm::Short, DiskOp::Write(_, n)) if rng.below(3) == 0 => Some(Fault::ShortWrite(part(*n))),
            _ => None,
        }
    }
}
