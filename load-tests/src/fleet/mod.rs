//! The machines that the generator pretends to scrape: their series, labels and values, round by round.
//!
//! Parts in order: `families` (what one instance exposes) → `symbols` (each label text once) → [`Fleet`], which holds
//! the series of all instances and moves them one round on. Everything follows from the seed, so that a verifier can
//! make the same samples again. Invariant: two series of a run never have the same labels in the same round, and a
//! series that was replaced never comes back.

pub mod families;
mod symbols;
mod values;

use families::{SERIES_PER_INSTANCE, Shape, templates};
pub use symbols::{SymbolId, Symbols};
use values::Place;
pub use values::{mix, unit};

/// Labels of a series that has two of its own, the most there are.
const MOST_LABELS: usize = 11;

/// Series that are replaced together, as when one container of a host restarts.
const CHURN_BLOCK: usize = 10;

/// What makes a fleet; two equal plans give equal samples.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Plan {
    /// Series alive at any time.
    pub series: usize,
    /// Percentage of the series replaced by new ones between two rounds.
    pub churn_percent: f64,
    /// Seed of all values and names.
    pub seed: u64,
    /// Timestamp of the first round, Unix milliseconds.
    pub start_ms: i64,
    /// Milliseconds between two rounds.
    pub step_ms: i64,
}

/// A label as two symbols.
pub type LabelPair = (SymbolId, SymbolId);

/// Where a label's value comes from.
#[derive(Debug, Clone, Copy)]
enum Text {
    Fixed(SymbolId),
    Instance,
    Job,
    Namespace,
    Node,
    Pod,
}

struct Slot {
    labels: Vec<(SymbolId, Text)>,
    shape: Shape,
    group: u64,
}

struct Instance {
    name: SymbolId,
    node: SymbolId,
    job: usize,
}

/// A role that instances play: job, namespace.
const JOBS: &[(&str, &str)] = &[
    ("cart-service", "storefront"),
    ("checkout-api", "payments"),
    ("inventory-sync", "warehouse"),
    ("ledger-writer", "payments"),
    ("order-gateway", "storefront"),
    ("pricing-engine", "catalogue"),
    ("search-indexer", "catalogue"),
    ("session-store", "identity"),
];

/// All series with their present values.
pub struct Fleet {
    plan: Plan,
    /// Every label text in use.
    pub symbols: Symbols,
    slots: Vec<Slot>,
    instances: Vec<Instance>,
    jobs: Vec<(SymbolId, SymbolId)>,
    /// Pod name of each churn block.
    pods: Vec<SymbolId>,
    generations: Vec<u32>,
    values: Vec<f64>,
    round: u64,
    churned_blocks: u64,
}

impl Fleet {
    /// The fleet before its first round. Costs about 8 B a series and 500 B an instance.
    pub fn new(plan: Plan) -> Self {
        let mut symbols = Symbols::default();
        let slots = templates().into_iter().map(|template| slot(&mut symbols, template)).collect();
        let jobs = JOBS.iter().map(|(job, namespace)| (symbols.id(job), symbols.id(namespace))).collect();
        let instance_count = plan.series.div_ceil(SERIES_PER_INSTANCE);
        let instances = (0..instance_count)
            .map(|i| Instance {
                name: symbols.id(&instance_name(plan.seed, i)),
                node: symbols.id(&node_name(i)),
                job: i % JOBS.len(),
            })
            .collect();
        let blocks = plan.series.div_ceil(CHURN_BLOCK);
        let mut fleet = Self {
            plan,
            symbols,
            slots,
            instances,
            jobs,
            pods: Vec::with_capacity(blocks),
            generations: vec![0; blocks],
            values: Vec::with_capacity(plan.series),
            round: 0,
            churned_blocks: 0,
        };
        for block in 0..blocks {
            let pod = fleet.pod(block);
            fleet.pods.push(pod);
        }
        for series in 0..plan.series {
            fleet
                .values
                .push(values::initial(fleet.slots[series % SERIES_PER_INSTANCE].shape, fleet.place(series)));
        }
        fleet
    }

    /// Moves every value one round on, after replacing the share of series that churn. Returns how many are new.
    pub fn advance(&mut self) -> usize {
        self.round += 1;
        let new = if self.round == 1 { self.plan.series } else { self.churn() };
        for series in 0..self.plan.series {
            let shape = self.slots[series % SERIES_PER_INSTANCE].shape;
            self.values[series] = values::next(shape, self.place(series), self.values[series], self.round);
        }
        new
    }

    /// Replaces blocks in a fixed pseudo-random order, so that each comes round once before any comes twice.
    fn churn(&mut self) -> usize {
        let blocks = self.pods.len() as u64;
        let due = ((self.round - 1) as f64 * blocks as f64 * self.plan.churn_percent / 100.0).floor() as u64;
        let stride = coprime_stride(blocks);
        let mut new = 0;
        while self.churned_blocks < due {
            let block = (self.churned_blocks.wrapping_mul(stride) % blocks) as usize;
            self.churned_blocks += 1;
            self.generations[block] += 1;
            self.pods[block] = self.pod(block);
            let members = block * CHURN_BLOCK..((block + 1) * CHURN_BLOCK).min(self.plan.series);
            new += members.len();
            for series in members {
                let shape = self.slots[series % SERIES_PER_INSTANCE].shape;
                self.values[series] = values::initial(shape, self.place(series));
            }
        }
        new
    }

    /// Number of series alive.
    pub fn len(&self) -> usize {
        self.plan.series
    }

    /// Timestamp of the present round, Unix milliseconds.
    pub fn timestamp_ms(&self) -> i64 {
        self.plan.start_ms + (self.round as i64 - 1) * self.plan.step_ms
    }

    /// The present value of a series.
    pub fn value(&self, series: usize) -> f64 {
        self.values[series]
    }

    /// The labels of a series in the order of their names.
    pub fn labels(&self, series: usize) -> impl Iterator<Item = LabelPair> + '_ {
        let instance = &self.instances[series / SERIES_PER_INSTANCE];
        let (job, namespace) = self.jobs[instance.job];
        let pod = self.pods[series / CHURN_BLOCK];
        self.slots[series % SERIES_PER_INSTANCE].labels.iter().map(move |(name, text)| {
            let value = match *text {
                Text::Fixed(value) => value,
                Text::Instance => instance.name,
                Text::Job => job,
                Text::Namespace => namespace,
                Text::Node => instance.node,
                Text::Pod => pod,
            };
            (*name, value)
        })
    }

    /// How often a series has been replaced; its labels change with this number and with nothing else.
    pub fn generation(&self, series: usize) -> u32 {
        self.generations[series / CHURN_BLOCK]
    }

    /// The `instance` label of each instance.
    pub fn instance_names(&self) -> impl Iterator<Item = &str> {
        self.instances.iter().map(|i| self.symbols.text(i.name))
    }

    fn place(&self, series: usize) -> Place {
        let instance = (series / SERIES_PER_INSTANCE) as u64;
        let generation = u64::from(self.generations[series / CHURN_BLOCK]);
        let group = self.slots[series % SERIES_PER_INSTANCE].group;
        Place { seed: self.plan.seed, instance, series: series as u64 ^ (generation << 40), group }
    }

    fn pod(&mut self, block: usize) -> SymbolId {
        let instance = block * CHURN_BLOCK / SERIES_PER_INSTANCE;
        let (job, _) = JOBS[instance % JOBS.len()];
        let generation = self.generations[block];
        let hash = mix(self.plan.seed, instance as u64, 11);
        let name = if generation == 0 {
            format!("{job}-{}", letters(hash))
        } else {
            // The number keeps a replaced block from meeting an old name again.
            let own = mix(self.plan.seed, block as u64, 12 + u64::from(generation));
            format!("{job}-{}-{generation}", letters(own))
        };
        self.symbols.id(&name)
    }
}

fn slot(symbols: &mut Symbols, template: families::Template) -> Slot {
    let mut labels: Vec<(&str, Text)> = vec![
        ("__name__", Text::Fixed(symbols.id(template.name))),
        ("cluster", Text::Fixed(symbols.id("eu1"))),
        ("container", Text::Fixed(symbols.id("app"))),
        ("env", Text::Fixed(symbols.id("prod"))),
        ("instance", Text::Instance),
        ("job", Text::Job),
        ("namespace", Text::Namespace),
        ("pod", Text::Pod),
        ("node", Text::Node),
    ];
    labels.extend(template.labels.iter().map(|(name, value)| (*name, Text::Fixed(symbols.id(value)))));
    if labels.len() < MOST_LABELS {
        labels.push(("endpoint", Text::Fixed(symbols.id("metrics"))));
    }
    labels.sort_by_key(|(name, _)| *name);
    let labels = labels.into_iter().map(|(name, text)| (symbols.id(name), text)).collect();
    Slot { labels, shape: template.shape, group: template.group }
}

/// An address; the seed chooses the network, so that runs with other seeds are other machines.
fn instance_name(seed: u64, index: usize) -> String {
    let network = 10 + seed % 190;
    format!("{network}.{}.{}.{}:9100", 16 + index / 62_500, index / 250 % 250, index % 250 + 1)
}

fn node_name(index: usize) -> String {
    format!("worker-{}-{:05}", ["a", "b", "c"][index % 3], index)
}

/// Five letters as Kubernetes appends them.
fn letters(hash: u64) -> String {
    const ALPHABET: &[u8] = b"bcdfghjklmnpqrstvwxz2456789";
    (0..5).map(|i| char::from(ALPHABET[(hash >> (i * 8)) as usize % ALPHABET.len()])).collect()
}

/// A step that visits every one of `n` places before any twice.
fn coprime_stride(n: u64) -> u64 {
    let gcd = |mut a: u64, mut b: u64| {
        while b != 0 {
            (a, b) = (b, a % b);
        }
        a
    };
    // Near the golden ratio of n, so that neighbours in time are far apart in place.
    let near = (n as f64 * 0.618) as u64;
    (near.max(1)..).find(|candidate| gcd(*candidate, n.max(1)) == 1).unwrap_or(1)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn plan(series: usize, churn_percent: f64) -> Plan {
        Plan { series, churn_percent, seed: 7, start_ms: 1_000, step_ms: 15_000 }
    }

    fn identity(fleet: &Fleet, series: usize) -> Vec<(String, String)> {
        fleet
            .labels(series)
            .map(|(n, v)| (fleet.symbols.text(n).to_owned(), fleet.symbols.text(v).to_owned()))
            .collect()
    }

    #[test]
    fn labels_are_sorted_ten_or_eleven_and_unique_over_series_and_time() {
        let mut fleet = Fleet::new(plan(1_300, 10.0));
        let mut seen = HashSet::new();
        for _ in 0..15 {
            let new = fleet.advance();
            let mut fresh = 0;
            let mut alive = HashSet::new();
            for series in 0..fleet.len() {
                let labels = identity(&fleet, series);
                assert!((10..=11).contains(&labels.len()), "{labels:?}");
                assert!(labels.windows(2).all(|w| w[0].0 < w[1].0), "{labels:?}");
                assert!(alive.insert(labels.clone()), "twice in one round: {labels:?}");
                fresh += usize::from(seen.insert(labels));
            }
            assert_eq!(fresh, new, "a replaced series must not come back");
        }
    }

    #[test]
    fn the_share_that_churns_is_exact_over_time() {
        let mut fleet = Fleet::new(plan(20_000, 1.0));
        assert_eq!(fleet.advance(), 20_000);
        let replaced: usize = (0..10).map(|_| fleet.advance()).sum();
        assert_eq!(replaced, 2_000);
        let mut still = Fleet::new(plan(20_000, 0.0));
        still.advance();
        assert_eq!(still.advance(), 0);
    }

    #[test]
    fn equal_plans_give_equal_samples_and_another_seed_gives_others() {
        let sum = |seed| {
            let mut fleet = Fleet::new(Plan { seed, ..plan(1_000, 1.0) });
            for _ in 0..5 {
                fleet.advance();
            }
            (0..1_000).map(|s| fleet.value(s)).sum::<f64>()
        };
        assert_eq!(sum(1).to_bits(), sum(1).to_bits());
        assert_ne!(sum(1).to_bits(), sum(2).to_bits());
    }

    #[test]
    fn rounds_are_one_step_apart() {
        let mut fleet = Fleet::new(plan(500, 0.0));
        fleet.advance();
        assert_eq!((fleet.round, fleet.timestamp_ms()), (1, 1_000));
        fleet.advance();
        assert_eq!((fleet.round, fleet.timestamp_ms()), (2, 16_000));
    }
}
