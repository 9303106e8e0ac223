//! The machine, behind seams: the only crate that touches clocks, randomness, sockets, files, threads and tasks.
//!
//! Everything above takes a [`Runtime`], so the same code runs on the real machine and in a seeded simulation.
//! The parts: [`clock`], [`rng`], [`net`], [`disk`] stand for the machine; [`tasks`] supervises background work;
//! [`cpu`] runs long computations beside the event loop, on several cores where it pays; [`memory`] is for large states;
//! [`metrics`] is the registry of `/metrics`.
//!
//! Invariant: with a simulated [`Runtime`], the same seed gives the same sequence of effects.

#[cfg(not(tokio_unstable))]
compile_error!(
    "build with RUSTFLAGS=\"--cfg tokio_unstable\" (.cargo/config.toml does): one flag set for everything"
);

pub mod clock;
pub mod cpu;
pub mod disk;
pub mod memory;
pub mod metrics;
pub mod net;
pub mod rng;
pub mod tasks;

use std::sync::Arc;

pub use clock::{Clock, ManualClock, SystemClock, TokioClock};
pub use cpu::CpuPool;
pub use disk::{Disk, DiskFile, MemDisk, OpenHow, RealDisk};
pub use metrics::Metrics;
pub use net::{Listener, Net, Stream, TcpNet};
pub use rng::Rng;
pub use tasks::{Shutdown, Tasks};

/// All seams of one process (or of one simulated node). Cheap to clone.
#[derive(Clone)]
pub struct Runtime {
    /// Wall and monotonic time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Rng,
    /// Sockets.
    pub net: Arc<dyn Net>,
    /// Files.
    pub disk: Arc<dyn Disk>,
    /// Background work.
    pub tasks: Tasks,
    /// Long computations.
    pub cpu: CpuPool,
    /// Own metrics.
    pub metrics: Metrics,
}

impl Runtime {
    /// The real machine, computing on `threads` cores at most.
    pub fn system(threads: usize) -> Self {
        let metrics = Metrics::new().with_process();
        Runtime {
            clock: Arc::new(SystemClock::new()),
            rng: Rng::from_entropy(),
            net: Arc::new(TcpNet),
            disk: Arc::new(RealDisk),
            tasks: Tasks::new(&metrics),
            cpu: CpuPool::threads(threads),
            metrics,
        }
    }

    /// For tests and simulation: files in memory, time that moves only with tokio's (paused) clock, a fixed seed,
    /// computations inline. The network is given, because only the simulation has one of its own.
    pub fn simulated(seed: u64, start_ms: i64, net: Arc<dyn Net>, disk: Arc<dyn Disk>) -> Self {
        let metrics = Metrics::new();
        Runtime {
            clock: Arc::new(TokioClock::starting_at(start_ms)),
            rng: Rng::from_seed(seed),
            net,
            disk,
            tasks: Tasks::new(&metrics),
            cpu: CpuPool::inline(),
            metrics,
        }
    }
}
