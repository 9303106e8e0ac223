//! The newest exemplars of a tenant, in a bounded ring.
//!
//! As in Prometheus: an exemplar equal to the newest of its series is a repeat, one that is older is refused.
//!
//! Invariant: at most `capacity` exemplars are kept; the oldest arrival leaves first.

use std::collections::VecDeque;

use cairn_model::exemplar::{Exemplar, MAX_EXEMPLAR_LABEL_CHARS};
use hashbrown::HashMap;

/// A ring of exemplars by series reference.
pub struct Exemplars {
    ring: VecDeque<(u64, Exemplar)>,
    newest: HashMap<u64, Exemplar>,
    capacity: usize,
}

impl Exemplars {
    /// An empty ring; 0 keeps none.
    pub fn new(capacity: usize) -> Self {
        Exemplars { ring: VecDeque::new(), newest: HashMap::new(), capacity }
    }

    /// Keeps an exemplar of series `reference`.
    ///
    /// # Errors
    /// Why it is not kept.
    pub fn offer(&mut self, reference: u64, exemplar: &Exemplar) -> Result<(), &'static str> {
        if self.capacity == 0 {
            return Err("exemplars are not kept: raise the limit to keep them");
        }
        let chars = |s: &str| s.chars().count();
        if exemplar.labels.iter().map(|(n, v)| chars(n) + chars(v)).sum::<usize>() > MAX_EXEMPLAR_LABEL_CHARS
        {
            return Err("label set of an exemplar exceeds 128 characters");
        }
        if let Some(newest) = self.newest.get(&reference) {
            if newest.labels == exemplar.labels
                && newest.value.to_bits() == exemplar.value.to_bits()
                && newest.t_ms == exemplar.t_ms
            {
                return Ok(());
            }
            if exemplar.t_ms < newest.t_ms {
                return Err("out of order exemplar");
            }
            if exemplar.t_ms == newest.t_ms {
                return Err("duplicate exemplar");
            }
        }
        if self.ring.len() >= self.capacity
            && let Some((gone, old)) = self.ring.pop_front()
            && self.newest.get(&gone).is_some_and(|n| n.t_ms == old.t_ms)
        {
            self.newest.remove(&gone);
        }
        self.newest.insert(reference, exemplar.clone());
        self.ring.push_back((reference, exemplar.clone()));
        Ok(())
    }

    /// Exemplars in `min_ms ..= max_ms`, in order of arrival.
    pub fn in_range(&self, min_ms: i64, max_ms: i64) -> impl Iterator<Item = &(u64, Exemplar)> {
        self.ring.iter().filter(move |(_, e)| (min_ms..=max_ms).contains(&e.t_ms))
    }

    /// How many are kept.
    pub fn len(&self) -> usize {
        self.ring.len()
    }

    /// Whether there is none.
    pub fn is_empty(&self) -> bool {
        self.ring.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::Labels;

    fn exemplar(t_ms: i64, id: &str) -> Exemplar {
        Exemplar { labels: Labels::from_pairs([("trace_id", id)]).unwrap(), value: 1.0, t_ms }
    }

    #[test]
    fn the_ring_is_bounded_and_refuses_what_prometheus_refuses() {
        let mut ring = Exemplars::new(2);
        assert_eq!(ring.offer(1, &exemplar(10, "a")), Ok(()));
        assert_eq!(ring.offer(1, &exemplar(10, "a")), Ok(()), "a repeat");
        assert_eq!(ring.len(), 1);
        assert!(ring.offer(1, &exemplar(9, "b")).is_err());
        assert!(ring.offer(1, &exemplar(10, "b")).is_err());
        assert!(ring.offer(1, &exemplar(11, &"x".repeat(121))).is_err());
        ring.offer(2, &exemplar(5, "c")).unwrap();
        ring.offer(2, &exemplar(6, "d")).unwrap();
        assert_eq!(ring.in_range(0, 100).map(|e| e.1.t_ms).collect::<Vec<_>>(), [5, 6]);
        assert_eq!(ring.offer(1, &exemplar(1, "e")), Ok(()), "its series has left the ring");
    }
}
