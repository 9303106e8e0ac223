//! Senders write requests, repeat those that were not acknowledged, and sometimes those that were.

use std::time::Duration;

use cairn_runtime::{Clock, Rng};
use futures::future::try_join_all;
use http::StatusCode;

use super::pause;
use crate::Violation;
use crate::invariants::status_contract::{self, Circumstances, Meaning};
use crate::traffic::Offer;
use crate::world::World;

/// Time between rounds.
const ROUND: Duration = Duration::from_secs(5);

/// Writes until `end`.
///
/// # Errors
/// An answer that breaks the status contract.
pub async fn act(world: &World, rng: Rng, end: Duration) -> Result<(), Violation> {
    let mut last: Option<Offer> = None;
    while world.clock.monotonic() < end {
        pause(world, &rng, ROUND).await;
        let mut round: Vec<Offer> =
            (0..1 + rng.below(3)).map(|_| Offer::random(&rng, world.clock.now_ms())).collect();
        if rng.below(4) == 0 {
            round.extend(world.pending.borrow_mut().pop());
        }
        if rng.below(8) == 0 {
            round.extend(last.take());
        }
        last = round.first().cloned();
        try_join_all(round.into_iter().map(|offer| send(world, offer))).await?;
    }
    Ok(())
}

/// Sends one request and judges the answer. What is not acknowledged is kept for another time.
///
/// # Errors
/// An answer that breaks the status contract.
pub async fn send(world: &World, offer: Offer) -> Result<(), Violation> {
    let Some(node) = world.node() else {
        world.pending.borrow_mut().push(offer);
        return Ok(());
    };
    let life = world.life();
    world.note_weather();
    let before = world.ledger.borrow().clone_for(&offer);
    // The clock is not moved while requests are in flight, so a sample is admissible for both or for neither.
    let admissible: Vec<i64> = offer.samples().map(|s| s.1).filter(|t| world.admissible(*t)).collect();
    let admissible = |t: i64| admissible.contains(&t);
    world.ledger.borrow_mut().offer(&offer, admissible);
    world.in_flight.set(world.in_flight.get() + 1);
    let answer = node.write(&offer).await;
    world.in_flight.set(world.in_flight.get() - 1);
    let text = answer.text.lines().next().unwrap_or_default();
    world.event("sender", &format!("{} {} {text}", offer.tenant, answer.status.as_u16()));
    if world.life() != life {
        // Nobody was there to read the answer.
        world.pending.borrow_mut().push(offer);
        return Ok(());
    }
    let after = world.ledger.borrow().clone_for(&offer);
    let (excused, open_from_ms) = (world.is_excused(), world.open_from_ms.get());
    let around = Circumstances { before: &before, after: &after, excused, open_from_ms };
    match status_contract::check(&offer, &answer, admissible, &around)? {
        // Of a 400 the sender knows only that what is not named is durable: what may be a conflict is left out.
        Meaning::Durable if answer.status == StatusCode::BAD_REQUEST => world
            .ledger
            .borrow_mut()
            .ack(&offer, |labels, t| admissible(t) && after.is_undisputed(&offer, labels, t)),
        Meaning::Durable => world.ledger.borrow_mut().ack(&offer, |_, t| admissible(t)),
        Meaning::Repeat => world.pending.borrow_mut().push(offer),
    }
    world.checked();
    Ok(())
}
