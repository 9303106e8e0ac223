//! One run: a seed, a world, two phases, and what came of it.

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

use cairn_runtime::Clock;
use futures::FutureExt;

use crate::actors::{act, healing};
use crate::invariants::Violation;
use crate::mutants::Mutant;
use crate::world::World;

/// What a run is made of.
#[derive(Debug, Clone, Copy)]
pub struct Settings {
    /// Everything follows from it.
    pub seed: u64,
    /// How long the safety phase lasts, in simulated time.
    pub safety: Duration,
    /// The planted fault, if any.
    pub mutant: Option<Mutant>,
}

impl Settings {
    /// The usual run of `seed`.
    pub fn of_seed(seed: u64) -> Self {
        Settings { seed, safety: Duration::from_secs(3600), mutant: None }
    }
}

/// A run in which everything held.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// Its seed.
    pub seed: u64,
    /// Simulated time.
    pub simulated: Duration,
    /// Disk calls that were made to fail.
    pub faults: u64,
    /// Checks of invariants.
    pub checks: u64,
    /// Lives that began or ended.
    pub lives: u64,
    /// Samples acknowledged, repeats included.
    pub acked: u64,
    /// Events.
    pub events: u64,
    /// Hash over all events and the disk at the end.
    pub trace: u64,
}

/// The line of the command contract.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (seed, seconds) = (self.seed, self.simulated.as_secs());
        let Report { faults, checks, trace, .. } = self;
        write!(f, "seed {seed} ok {seconds} sim-s {faults} faults {checks} checks trace={trace:016x}")
    }
}

/// A run in which something did not hold.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Its seed.
    pub seed: u64,
    /// When, in simulated time.
    pub at: Duration,
    /// What did not hold.
    pub violation: Violation,
    /// The last events before.
    pub last: Vec<String>,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for event in &self.last {
            writeln!(f, "  {event}")?;
        }
        write!(f, "seed {} failed after {} sim-s: {}", self.seed, self.at.as_secs(), self.violation)
    }
}

/// Runs to the end or to the first violation. A panic of the product is a violation.
///
/// # Errors
/// [`Failure`].
pub fn run(settings: &Settings) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .rng_seed(tokio::runtime::RngSeed::from_bytes(&settings.seed.to_le_bytes()))
        .build()
        .expect("a runtime without I/O needs nothing of the system");
    runtime.block_on(async {
        let world = World::new(settings.seed, settings.mutant);
        let caught = AssertUnwindSafe(live(&world, settings)).catch_unwind().await;
        let outcome = caught.unwrap_or_else(|panic| {
            let text = panic.downcast_ref::<String>().cloned();
            let text = text.or_else(|| panic.downcast_ref::<&str>().map(|s| (*s).to_owned()));
            Err(Violation::new("nothing panics", text.unwrap_or_else(|| "a panic without words".into())))
        });
        let at = world.clock.monotonic();
        match outcome {
            Ok(()) => {
                world.event("disk", &format!("{:016x}", world.disk_digest()));
                Ok(Report {
                    seed: settings.seed,
                    simulated: at,
                    faults: world.weather.struck(),
                    checks: world.checks(),
                    lives: world.life(),
                    acked: world.ledger.borrow().acked_samples(),
                    events: world.trace().events(),
                    trace: world.trace().digest(),
                })
            }
            Err(violation) => {
                let last = world.trace().last().map(str::to_owned).collect();
                Err(Failure { seed: settings.seed, at, violation, last })
            }
        }
    })
}

async fn live(world: &World, settings: &Settings) -> Result<(), Violation> {
    let rng = world.fork_rng();
    if !world.start().await {
        return Err(Violation::new("a node heals", "it does not start on an empty disk"));
    }
    act(world, settings.safety).await?;
    healing::heal(world, &rng).await
}
