//! The weather over the disk, and the wall clock that somebody moves.

use std::time::Duration;

use cairn_runtime::{Clock, Rng};

use super::pause;
use crate::Violation;
use crate::world::World;

/// Time between storms.
const FAIR: Duration = Duration::from_secs(150);
/// How long a storm lasts.
const STORM: Duration = Duration::from_secs(12);
/// Time between moves of the wall clock.
const MOVE: Duration = Duration::from_secs(400);

/// Storms come and go until `end`.
///
/// # Errors
/// None.
pub async fn weather(world: &World, rng: Rng, end: Duration) -> Result<(), Violation> {
    while world.clock.monotonic() < end {
        pause(world, &rng, FAIR).await;
        let storm = world.weather.storm(&rng);
        world.event("weather", &format!("{storm:?}"));
        pause(world, &rng, STORM).await;
        world.note_weather();
        world.weather.clear();
        world.event("weather", "fair");
    }
    Ok(())
}

/// Moves the wall clock, mostly ahead, so that windows close early, and back, so that closed ones get samples.
///
/// # Errors
/// None.
pub async fn wall_clock(world: &World, rng: Rng, end: Duration) -> Result<(), Violation> {
    let mut skew_ms = 0;
    while world.clock.monotonic() < end {
        pause(world, &rng, MOVE).await;
        if world.in_flight.get() == 0 {
            skew_ms += rng.below(40 * 60_000) as i64 - 10 * 60_000;
            world.clock.set_skew_ms(skew_ms);
            world.event("clock", &format!("skew {skew_ms} ms"));
        }
    }
    Ok(())
}
