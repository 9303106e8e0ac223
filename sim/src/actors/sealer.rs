//! The sealer closes windows that are due, cuts them into blocks, releases them, and keeps house.

use std::time::Duration;

use cairn_runtime::{Clock, Rng};

use super::pause;
use crate::Violation;
use crate::mutants::Mutant;
use crate::world::World;

/// Time between rounds.
const ROUND: Duration = Duration::from_secs(40);

/// Seals until `end`. What fails is tried again in the next round.
///
/// # Errors
/// None; what sealing breaks is found by reading.
pub async fn act(world: &World, rng: Rng, end: Duration) -> Result<(), Violation> {
    while world.clock.monotonic() < end {
        pause(world, &rng, ROUND).await;
        if let Err(why) = round(world).await {
            world.event("sealer", &format!("not sealed: {why}"));
        }
    }
    Ok(())
}

/// One round.
///
/// # Errors
/// In words, when the disk fails.
pub async fn round(world: &World) -> Result<(), String> {
    let Some(node) = world.node() else { return Ok(()) };
    let now_ms = world.clock.now_ms();
    // Every window that ended by now may be closed from here on.
    world.open_from_ms.set(world.open_from_ms.get().max(now_ms));
    let windows = node.db.closed_windows(now_ms).await.map_err(|e| e.to_string())?;
    for id in &windows {
        if world.mutant != Some(Mutant::ReleaseBeforeCut) {
            let meta = node.db.cut(id).await.map_err(|e| e.to_string())?;
            let samples = meta.map_or(0, |m| m.stats.num_samples);
            world.event("sealer", &format!("cut {id}: {samples} samples"));
        }
        node.db.release(id).await.map_err(|e| e.to_string())?;
    }
    node.db.maintain().await;
    Ok(())
}
