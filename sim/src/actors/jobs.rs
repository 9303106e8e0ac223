//! A worker takes a job from the control plane again and again and checks what its tokens are worth.

use std::time::Duration;

use cairn_cluster::{ClusterError, Coordinator};
use cairn_runtime::{Clock, Rng};

use super::pause;
use crate::Violation;
use crate::world::World;

/// The job's name.
const JOB: &str = "rules/sim";
/// Time between assignments.
const ROUND: Duration = Duration::from_secs(20);

/// Takes the job until `end`.
///
/// # Errors
/// A token or an epoch that does not grow, or an old token that is still good.
pub async fn act(world: &World, rng: Rng, end: Duration) -> Result<(), Violation> {
    while world.clock.monotonic() < end {
        pause(world, &rng, ROUND).await;
        take(world).await?;
    }
    Ok(())
}

/// Takes the job once; `false` when the control plane could not be reached.
///
/// # Errors
/// As [`act`].
pub async fn take(world: &World) -> Result<bool, Violation> {
    let Some(node) = world.node() else { return Ok(false) };
    let life = world.life();
    let before = world.seen.borrow().token;
    let assigned = tokio::select! {
        assigned = node.coordinator.assign(JOB) => assigned.map_err(|e| e.to_string()),
        () = world.clock.sleep(Duration::from_secs(10)) => Err("no answer".to_owned()),
    };
    if world.life() != life {
        return Ok(false);
    }
    let token = match assigned {
        Ok(token) => token,
        Err(why) => {
            world.event("job", &format!("not assigned: {why}"));
            return Ok(false);
        }
    };
    world.event("job", &format!("token {token}"));
    world.seen.borrow_mut().token(token)?;
    world.seen.borrow_mut().epoch(node.coordinator.placement().epoch)?;
    if let Err(e) = node.coordinator.check(JOB, token) {
        return Err(Violation::new("tokens and epochs grow", format!("the newest token is refused: {e}")));
    }
    if !matches!(node.coordinator.check(JOB, before), Err(ClusterError::Fenced { .. })) {
        return Err(Violation::new(
            "tokens and epochs grow",
            format!("the old token {before} is still good"),
        ));
    }
    world.checked();
    Ok(true)
}
