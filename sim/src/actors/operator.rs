//! The operator, and the power supply: the node is restarted politely, killed, or loses power in the middle of a disk
//! call, and is started again, perhaps on a disk that still fails.

use std::time::Duration;

use cairn_runtime::{Clock, Rng};

use super::{jobs, pause};
use crate::Violation;
use crate::world::World;

/// How often the operator looks.
const LOOK: Duration = Duration::from_secs(2);
/// One look in so many brings a restart of some kind.
const EVERY: u64 = 60;
/// The power may go at one of so many disk calls to come.
const CALLS: u64 = 400;

/// Restarts until `end`.
///
/// # Errors
/// What the first read after a start finds.
pub async fn act(world: &World, rng: Rng, end: Duration) -> Result<(), Violation> {
    while world.clock.monotonic() < end {
        pause(world, &rng, LOOK).await;
        world.note_weather();
        if world.weather.is_dark() {
            world.crash().await;
        }
        if world.node().is_some() {
            match rng.below(EVERY * 4) {
                0 => world.stop().await,
                1 | 2 => world.crash().await,
                3 => {
                    world.weather.cut_power_after(1 + rng.below(CALLS));
                    world.event("power", "about to go");
                }
                // A control plane that met a failing disk ends, as a supervisor would find by its probes.
                4..=8 if !jobs::take(world).await? => world.stop().await,
                _ => {}
            }
        }
        if world.node().is_none() && world.start().await {
            world.audit("after a start").await?;
        }
    }
    Ok(())
}
