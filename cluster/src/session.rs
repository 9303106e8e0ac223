//! Sessions: who is alive, in the leader's memory only.
//!
//! A node renews every [`RENEW_EVERY`]; its session lives for [`SESSION_TTL`] after the renewal arrived. The
//! holder counts its time from when it *sent* the renewal, so it always gives up before the leader does. A new
//! leader knows nobody and grants everybody a full TTL, so that a change of leader ends no session.
//!
//! Inequality: `RENEW_EVERY * 2 < SESSION_TTL`: one lost renewal ends nothing.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::placement::Owner;

/// How long a session lives after a renewal.
pub const SESSION_TTL: Duration = Duration::from_secs(6);

/// How often a node renews.
pub const RENEW_EVERY: Duration = Duration::from_secs(2);

const _: () = assert!(RENEW_EVERY.as_millis() * 2 < SESSION_TTL.as_millis());

/// Live sessions. All times are the leader's monotonic clock.
#[derive(Debug, Default)]
pub struct SessionTable {
    expires: BTreeMap<Owner, Duration>,
}

impl SessionTable {
    /// A new leader's table: every member lives for a full TTL.
    pub fn of_new_leader(members: impl IntoIterator<Item = Owner>, now: Duration) -> Self {
        SessionTable { expires: members.into_iter().map(|m| (m, now + SESSION_TTL)).collect() }
    }

    /// A renewal arrived. An older incarnation of the node is dead from now on.
    pub fn renew(&mut self, owner: Owner, now: Duration) {
        self.expires.retain(|o, _| o.node != owner.node || o.incarnation == owner.incarnation);
        self.expires.insert(owner, now + SESSION_TTL);
    }

    /// Whether `owner` may hold work.
    pub fn is_live(&self, owner: Owner, now: Duration) -> bool {
        self.expires.get(&owner).is_some_and(|e| *e > now)
    }

    /// Takes out and gives those whose time is up.
    pub fn expire(&mut self, now: Duration) -> Vec<Owner> {
        let dead: Vec<_> = self.expires.iter().filter(|(_, e)| **e <= now).map(|(o, _)| *o).collect();
        dead.iter().for_each(|o| {
            self.expires.remove(o);
        });
        dead
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: Owner = Owner { node: 1, incarnation: 1 };
    const A2: Owner = Owner { node: 1, incarnation: 2 };
    const B: Owner = Owner { node: 2, incarnation: 1 };

    fn s(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_session_lives_for_its_ttl_after_the_last_renewal() {
        let mut t = SessionTable::of_new_leader([A, B], s(0));
        t.renew(A, s(4));
        assert_eq!(t.expire(s(6)), [B]);
        assert!(t.is_live(A, s(9)) && !t.is_live(A, s(10)) && !t.is_live(B, s(6)));
    }

    #[test]
    fn a_new_incarnation_ends_the_old_one() {
        let mut t = SessionTable::of_new_leader([A], s(0));
        t.renew(A2, s(1));
        assert!(!t.is_live(A, s(1)) && t.is_live(A2, s(1)));
    }
}
