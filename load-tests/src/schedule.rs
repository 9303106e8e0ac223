//! Which series go into which request over which connection: pure, so that a verifier finds the same again.
//!
//! Without shuffling, request `i` holds the `i`-th run of series and goes over connection `i mod connections`, as a
//! sender's shard does. With shuffling each connection keeps its series but sends them in another order every round.

use crate::acked_log::Run;

/// The series of one request and its number within the round.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestPlan {
    /// Number within the round.
    pub index: u32,
    /// Series in the order of the body.
    pub series: Vec<u32>,
}

/// The requests of a round, by connection.
pub fn requests(run: &Run, round: u64) -> Vec<Vec<RequestPlan>> {
    let total = run.plan.series.div_ceil(run.request_samples);
    (0..run.connections)
        .map(|lane| {
            let runs = (lane..total).step_by(run.connections).flat_map(|request| {
                let first = request * run.request_samples;
                first as u32..(first + run.request_samples).min(run.plan.series) as u32
            });
            let mut series: Vec<u32> = runs.collect();
            if run.shuffle {
                shuffle(&mut series, run.plan.seed ^ round.wrapping_mul(0x9e37_79b9) ^ ((lane as u64) << 48));
            }
            let index = |n: usize| (n * run.connections + lane) as u32;
            series
                .chunks(run.request_samples)
                .enumerate()
                .map(|(n, series)| RequestPlan { index: index(n), series: series.to_vec() })
                .collect()
        })
        .collect()
}

/// Fisher-Yates over a splitmix64 sequence.
fn shuffle(series: &mut [u32], seed: u64) {
    for last in (1..series.len()).rev() {
        let hash = crate::fleet::mix(seed, last as u64, 21);
        series.swap(last, (hash % (last as u64 + 1)) as usize);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fleet::Plan;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_series_is_sent_once_a_round_over_the_same_connection(
            series in 1usize..5_000, request_samples in 1usize..700, connections in 1usize..9, shuffle: bool,
        ) {
            let plan = Plan { series, churn_percent: 0.0, seed: 5, start_ms: 0, step_ms: 15_000 };
            let run = Run { plan, rounds: 2, request_samples, connections, shuffle };
            let rounds = [requests(&run, 1), requests(&run, 2)];
            for lanes in &rounds {
                let mut all: Vec<u32> = lanes.iter().flatten().flat_map(|r| r.series.clone()).collect();
                all.sort_unstable();
                prop_assert_eq!(all, (0..series as u32).collect::<Vec<_>>());
                let mut numbers: Vec<u32> = lanes.iter().flatten().map(|r| r.index).collect();
                let count = numbers.len();
                numbers.sort_unstable();
                numbers.dedup();
                prop_assert_eq!(numbers.len(), count);
            }
            for (first, second) in rounds[0].iter().zip(&rounds[1]) {
                let members = |lane: &[RequestPlan]| {
                    let mut all: Vec<u32> = lane.iter().flat_map(|r| r.series.clone()).collect();
                    all.sort_unstable();
                    all
                };
                prop_assert_eq!(members(first), members(second));
            }
        }
    }

    #[test]
    fn shuffling_gives_each_round_another_order() {
        let plan = Plan { series: 4_000, churn_percent: 0.0, seed: 5, start_ms: 0, step_ms: 15_000 };
        let run = Run { plan, rounds: 2, request_samples: 2_000, connections: 1, shuffle: true };
        assert_ne!(requests(&run, 1), requests(&run, 2));
    }
}
