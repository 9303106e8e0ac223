//! The auditor reads everything now and then.

use std::time::Duration;

use cairn_runtime::{Clock, Rng};

use super::pause;
use crate::Violation;
use crate::world::World;

/// Time between reads.
const ROUND: Duration = Duration::from_secs(90);

/// Reads until `end`.
///
/// # Errors
/// What a read finds.
pub async fn act(world: &World, rng: Rng, end: Duration) -> Result<(), Violation> {
    while world.clock.monotonic() < end {
        pause(world, &rng, ROUND).await;
        world.audit("at some time").await?;
    }
    Ok(())
}
