//! The healing phase: the faults are off, and everything must work: the node starts, what was refused is accepted,
//! windows are sealed, and all of it is still there after a crash and a restart.

use std::time::Duration;

use cairn_runtime::{Clock, Rng};

use super::{jobs, sealer, senders};
use crate::Violation;
use crate::traffic::Offer;
use crate::world::World;

/// How long healing may take before anything is expected.
const PATIENCE: Duration = Duration::from_secs(10);
/// New requests that must be accepted.
const REQUESTS: usize = 20;

fn not_healed(what: impl Into<String>) -> Violation {
    Violation::new("a node heals", what)
}

/// Heals.
///
/// # Errors
/// What still fails, or is wrong.
pub async fn heal(world: &World, rng: &Rng) -> Result<(), Violation> {
    world.note_weather();
    world.weather.clear();
    if world.weather.is_bad() {
        world.crash().await;
    }
    if world.node().is_some() && !jobs::take(world).await? {
        world.stop().await;
    }
    if world.node().is_none() && !world.start().await {
        return Err(not_healed("it does not start on a sound disk"));
    }
    world.clock.sleep(PATIENCE).await;
    world.audit("after the faults").await?;

    let repeated = std::mem::take(&mut *world.pending.borrow_mut());
    for offer in repeated {
        senders::send(world, offer).await?;
    }
    for _ in 0..REQUESTS {
        senders::send(world, Offer::random(rng, world.clock.now_ms())).await?;
    }
    if !world.pending.borrow().is_empty() {
        return Err(not_healed(format!("{} requests are still refused", world.pending.borrow().len())));
    }
    if !jobs::take(world).await? {
        return Err(not_healed("the control plane assigns nothing"));
    }
    sealer::round(world).await.map_err(not_healed)?;
    sealer::round(world).await.map_err(not_healed)?;
    world.audit("healed").await?;

    world.crash().await;
    for when in ["after a crash on a sound disk", "after a restart on a sound disk"] {
        if !world.start().await {
            return Err(not_healed(format!("it does not start {when}")));
        }
        world.audit(when).await?;
        world.stop().await;
    }
    Ok(())
}
