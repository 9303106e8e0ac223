//! What happened, as one number: two runs with equal traces did the same things at the same times.

use std::collections::VecDeque;

use xxhash_rust::xxh3::Xxh3;

/// Last events kept for the message of a failure.
const KEPT: usize = 40;

/// A running hash over events, with the last of them in words.
#[derive(Default)]
pub struct Trace {
    hash: Xxh3,
    events: u64,
    last: VecDeque<String>,
}

impl Trace {
    /// Adds an event: when (milliseconds of monotonic time), who, and what came of it.
    pub fn event(&mut self, at_ms: u128, actor: &str, outcome: &str) {
        let line = format!("{at_ms} {actor} {outcome}");
        self.hash.update(line.as_bytes());
        self.hash.update(b"\n");
        self.events += 1;
        if self.last.len() == KEPT {
            self.last.pop_front();
        }
        self.last.push_back(line);
    }

    /// The hash of everything so far.
    pub fn digest(&self) -> u64 {
        self.hash.digest()
    }

    /// How many events there were.
    pub fn events(&self) -> u64 {
        self.events
    }

    /// The last events, oldest first.
    pub fn last(&self) -> impl Iterator<Item = &str> {
        self.last.iter().map(String::as_str)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_hash_depends_on_every_part_and_on_the_order() {
        let digest = |events: &[(u128, &str, &str)]| {
            let mut trace = Trace::default();
            events.iter().for_each(|(t, a, o)| trace.event(*t, a, o));
            trace.digest()
        };
        let base = digest(&[(1, "writer", "204"), (2, "crash", "done")]);
        assert_eq!(base, digest(&[(1, "writer", "204"), (2, "crash", "done")]));
        for other in [
            digest(&[(2, "crash", "done"), (1, "writer", "204")]),
            digest(&[(1, "writer", "204"), (3, "crash", "done")]),
            digest(&[(1, "writer", "503"), (2, "crash", "done")]),
            digest(&[(1, "writer", "204")]),
        ] {
            assert_ne!(base, other);
        }
    }
}
