//! Who acts on the world, each with randomness of its own, all at once until the safety phase ends.
//!
//! [`senders`] write, [`jobs`] takes work from the control plane, [`sealer`] closes, cuts and releases windows,
//! [`elements`] makes the weather and moves the wall clock, [`operator`] crashes and restarts the node, [`auditor`]
//! reads; [`healing`] is what they all do once the faults are off.

pub mod auditor;
pub mod elements;
pub mod healing;
pub mod jobs;
pub mod operator;
pub mod sealer;
pub mod senders;

use std::time::Duration;

use cairn_runtime::{Clock, Rng};

use crate::Violation;
use crate::world::World;

/// Waits a random time of about `mean`.
async fn pause(world: &World, rng: &Rng, mean: Duration) {
    let ms = mean.as_millis() as u64;
    world.clock.sleep(Duration::from_millis(ms / 2 + rng.below(ms + 1))).await;
}

/// The safety phase: everyone acts until `end` of monotonic time, or until something is wrong.
///
/// # Errors
/// The first violation.
pub async fn act(world: &World, end: Duration) -> Result<(), Violation> {
    futures::try_join!(
        senders::act(world, world.fork_rng(), end),
        senders::act(world, world.fork_rng(), end),
        jobs::act(world, world.fork_rng(), end),
        sealer::act(world, world.fork_rng(), end),
        elements::weather(world, world.fork_rng(), end),
        elements::wall_clock(world, world.fork_rng(), end),
        operator::act(world, world.fork_rng(), end),
        auditor::act(world, world.fork_rng(), end),
    )
    .map(drop)
}
