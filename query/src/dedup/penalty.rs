//! The penalty merge: one line of samples of two replicas that were sampled at different times.
//!
//! Taking every sample of both would double the rate of sampling and make counters step back and forth, as the two
//! servers never see a target at the same instant. So the merge stays with one replica for as long as it goes on. The
//! replica that is not picked is not looked at for twice the last distance between samples: only when the picked one
//! has a gap as long as that does the other one take over.
//!
//! Source: the penalty algorithm of Thanos Query. It follows that at a change of replica up to one more interval is
//! missing, and that gaps below twice the interval are not filled.

use std::sync::Arc;

use cairn_model::{FloatHistogram, TimestampMs};

/// Penalty before there are two samples that tell the distance. Thanos' value.
const FIRST_PENALTY_MS: i64 = 5_000;

/// A sample of either kind.
#[derive(Debug, Clone)]
pub struct Sample {
    /// When.
    pub t_ms: TimestampMs,
    /// Since when the counter runs, 0 = unknown.
    pub start_ms: TimestampMs,
    /// What.
    pub value: Point,
}

/// A value.
#[derive(Debug, Clone)]
pub enum Point {
    /// A float, which may be the stale marker.
    Float(f64),
    /// A histogram.
    Histogram(Arc<FloatHistogram>),
}

/// A replica under the merge.
struct Replica {
    samples: std::iter::Peekable<std::vec::IntoIter<Sample>>,
    penalty_ms: i64,
    /// What is added to the values of a counter, see [`Replica::lift`].
    lifted_by: f64,
}

impl Replica {
    fn new(samples: Vec<Sample>) -> Self {
        Replica { samples: samples.into_iter().peekable(), penalty_ms: 0, lifted_by: 0.0 }
    }

    /// Time of the next sample that may be picked after `last_ms`; earlier ones are gone for good.
    fn seek(&mut self, last_ms: Option<TimestampMs>) -> Option<TimestampMs> {
        if let Some(last_ms) = last_ms {
            let from = last_ms.saturating_add(1).saturating_add(self.penalty_ms);
            while self.samples.next_if(|s| s.t_ms < from).is_some() {}
        }
        self.samples.peek().map(|s| s.t_ms)
    }

    /// Takes the next sample.
    fn take(&mut self) -> Option<Sample> {
        self.penalty_ms = 0;
        let mut sample = self.samples.next()?;
        if let Point::Float(v) = &mut sample.value
            && self.lifted_by != 0.0
        {
            *v += self.lifted_by;
        }
        Some(sample)
    }

    /// Lifts the values from here on, so that a counter that is behind the other replica's does not look reset.
    fn lift(&mut self, last: f64) {
        if let Some(Sample { value: Point::Float(v), .. }) = self.samples.peek() {
            let behind = last - (v + self.lifted_by);
            if behind > 0.0 {
                self.lifted_by += behind;
            }
        }
    }
}

/// One line of the samples of `a` and `b`, each in strictly rising order of time. `is_counter` says that values are
/// read by a function over counters, to which a step back is a reset.
///
/// Cost: O(n), each sample is looked at once.
pub fn merge(a: Vec<Sample>, b: Vec<Sample>, is_counter: bool) -> Vec<Sample> {
    let mut line = Vec::with_capacity(a.len().max(b.len()));
    let mut replicas = [Replica::new(a), Replica::new(b)];
    let (mut last_ms, mut last_value, mut last_picked) = (None, f64::NEG_INFINITY, None);
    loop {
        let next = [replicas[0].seek(last_ms), replicas[1].seek(last_ms)];
        let picked = match next {
            [None, None] => return line,
            [Some(a), Some(b)] => {
                let picked = usize::from(b < a);
                let other = &mut replicas[1 - picked];
                other.penalty_ms = last_ms.map_or(FIRST_PENALTY_MS, |last| 2 * (a.min(b) - last));
                picked
            }
            [_, None] => 0,
            [None, _] => 1,
        };
        if is_counter && last_picked.is_some_and(|last| last != picked) {
            replicas[picked].lift(last_value);
        }
        let Some(sample) = replicas[picked].take() else { return line };
        if let Point::Float(v) = sample.value
            && !v.is_nan()
        {
            last_value = v;
        }
        (last_ms, last_picked) = (Some(sample.t_ms), Some(picked));
        line.push(sample);
    }
}

#[cfg(test)]
mod tests;
