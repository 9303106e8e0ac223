//! Three instances of a small service, step by step.

use crate::fleet::{mix, unit};

/// The float that marks the end of a series: a NaN with this payload. Source: Prometheus, staleness handling.
const STALE: u64 = 0x7ff0_0000_0000_0002;

/// The instances, as the compliance queries name them.
const INSTANCES: &[&str] = &["demo.promlabs.com:10000", "demo.promlabs.com:10001", "demo.promlabs.com:10002"];

/// Routes of the service: method, path, status, requests a second, median seconds.
const ROUTES: &[(&str, &str, &str, f64, f64)] = &[
    ("GET", "/api/bar", "200", 21.0, 0.011),
    ("GET", "/api/foo", "200", 34.0, 0.004),
    ("GET", "/api/foo", "500", 0.4, 0.020),
    ("POST", "/api/bar", "200", 6.0, 0.030),
    ("POST", "/api/foo", "200", 9.0, 0.016),
    ("POST", "/api/nonexistent", "404", 1.5, 0.001),
];
/// Finite bucket bounds: a geometric row from 0.1 ms.
const BUCKETS: usize = 25;
const FIRST_BOUND: f64 = 0.000_1;
const BOUND_FACTOR: f64 = 1.5;

/// An instance goes away once in this many seconds …
const OUTAGE_EVERY_S: u64 = 2_400;
/// … for this long; the first outage of each is shifted against the others'.
const OUTAGE_S: u64 = 190;
/// The intermittent family is there for the first part of each period.
const INTERMITTENT_PERIOD_S: u64 = 300;
const INTERMITTENT_PRESENT_S: u64 = 120;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Kind {
    /// Memory of a kind: mean bytes.
    Memory(f64),
    /// Seconds of CPU in a mode: share of one second.
    Cpu(f64),
    Cpus,
    DiskUsage,
    DiskTotal,
    /// Cumulative bucket of a route up to the bound with this number; [`BUCKETS`] means +Inf.
    Bucket(usize, usize),
    Count(usize),
    Sum(usize),
    BatchLastSuccess,
    BatchRuns,
    Intermittent,
    Holiday,
}

impl Kind {
    fn is_counter(self) -> bool {
        matches!(self, Self::Cpu(_) | Self::Bucket(..) | Self::Count(_) | Self::Sum(_) | Self::BatchRuns)
    }
}

/// Labels of a series, sorted by name.
pub type Labels = Vec<(String, String)>;

struct Series {
    labels: Labels,
    kind: Kind,
    instance: usize,
    value: f64,
    /// Whether its last sample was a value, so that its end needs a marker.
    alive: bool,
}

/// The service with its clock.
pub struct Service {
    seed: u64,
    start_ms: i64,
    step_ms: i64,
    step: u64,
    series: Vec<Series>,
    sample: Vec<(usize, f64)>,
    was_down: Vec<bool>,
    resets: u64,
    stale_markers: u64,
}

impl Service {
    /// The service before its first scrape.
    pub fn new(seed: u64, start_ms: i64, step_ms: i64) -> Self {
        let series = (0..INSTANCES.len()).flat_map(instance_series).collect();
        Self {
            seed,
            start_ms,
            step_ms,
            step: 0,
            series,
            sample: Vec::new(),
            was_down: vec![false; INSTANCES.len()],
            resets: 0,
            stale_markers: 0,
        }
    }

    /// Number of series.
    pub fn len(&self) -> usize {
        self.series.len()
    }

    /// Labels of all series, in the order of the indexes that [`Self::scrape`] gives.
    pub fn series(&self) -> impl Iterator<Item = Labels> + '_ {
        self.series.iter().map(|s| s.labels.clone())
    }

    /// How often an instance has restarted so far.
    pub fn resets(&self) -> u64 {
        self.resets
    }

    /// Stale markers sent so far.
    pub fn stale_markers(&self) -> u64 {
        self.stale_markers
    }

    /// The samples of the present step: index of the series, value.
    pub fn scrape(&self) -> impl Iterator<Item = (usize, f64)> + '_ {
        self.sample.iter().copied()
    }

    /// Goes to the next step and returns its timestamp, Unix milliseconds.
    pub fn advance(&mut self) -> i64 {
        let timestamp_ms = self.start_ms + self.step as i64 * self.step_ms;
        let since_start_s = self.step * self.step_ms as u64 / 1_000;
        let down: Vec<bool> = (0..INSTANCES.len()).map(|i| is_down(i, since_start_s)).collect();
        let restarted: Vec<bool> = self.was_down.iter().zip(&down).map(|(was, is)| *was && !is).collect();
        self.resets += restarted.iter().filter(|r| **r).count() as u64;
        self.sample.clear();
        for index in 0..self.series.len() {
            let series = &mut self.series[index];
            if restarted[series.instance] && series.kind.is_counter() {
                series.value = 0.0;
            }
            let absent = series.kind == Kind::Intermittent
                && since_start_s % INTERMITTENT_PERIOD_S >= INTERMITTENT_PRESENT_S;
            if down[series.instance] || absent {
                if series.alive {
                    series.alive = false;
                    self.stale_markers += 1;
                    self.sample.push((index, f64::from_bits(STALE)));
                }
                continue;
            }
            series.alive = true;
            let group = match series.kind {
                Kind::Bucket(route, _) | Kind::Count(route) | Kind::Sum(route) => route as u64,
                _ => 1_000 + index as u64,
            };
            let draw = unit(mix(self.seed ^ (self.step << 8), series.instance as u64, group));
            series.value = next(series.kind, series.value, draw, timestamp_ms, self.step_ms as f64 / 1_000.0);
            self.sample.push((index, series.value));
        }
        self.was_down = down;
        self.step += 1;
        timestamp_ms
    }
}

fn is_down(instance: usize, since_start_s: u64) -> bool {
    let shifted = since_start_s + instance as u64 * 700;
    // Never in the first minute of a period, so that every instance begins with values.
    (OUTAGE_EVERY_S / 2..OUTAGE_EVERY_S / 2 + OUTAGE_S).contains(&(shifted % OUTAGE_EVERY_S))
}

/// The value after `before`, `step_s` seconds later.
fn next(kind: Kind, before: f64, draw: f64, timestamp_ms: i64, step_s: f64) -> f64 {
    let now_s = timestamp_ms as f64 / 1_000.0;
    match kind {
        Kind::Memory(mean) => {
            let swing = (now_s / 1_700.0).sin() * 0.1 + (draw - 0.5) * 0.04;
            (mean * (1.0 + swing)).round()
        }
        Kind::Cpu(share) => before + step_s * share * (0.7 + 0.6 * draw),
        Kind::Cpus => 4.0,
        // Fills for half an hour, then is cleaned up.
        Kind::DiskUsage => (4.0e9 + 2.0e6 * (now_s % 1_800.0) + 5.0e5 * draw).round(),
        Kind::DiskTotal => 1.6e10,
        Kind::Bucket(route, bound) => {
            before + (requests(route, draw, step_s) * share_below(route, bound)).floor()
        }
        Kind::Count(route) => before + requests(route, draw, step_s),
        Kind::Sum(route) => before + requests(route, draw, step_s) * ROUTES[route].4 * (1.1 + 0.2 * draw),
        // A batch job ends every half minute; one run in five fails and leaves the time as it was.
        Kind::BatchLastSuccess => {
            if before == 0.0 || draw > 0.2 {
                (now_s / 30.0).floor() * 30.0
            } else {
                before
            }
        }
        Kind::BatchRuns => before + if (now_s % 30.0) < step_s { 1.0 } else { 0.0 },
        Kind::Intermittent => 1.0,
        Kind::Holiday => f64::from(u8::from(((now_s / 86_400.0) as i64 + 4) % 7 == 0)),
    }
}

fn requests(route: usize, draw: f64, step_s: f64) -> f64 {
    (ROUTES[route].3 * step_s * (0.6 + 0.8 * draw)).round()
}

/// Share of a route's requests at or below a bound: logistic over the logarithm, a half at the median.
fn share_below(route: usize, bound: usize) -> f64 {
    if bound == BUCKETS {
        return 1.0;
    }
    let seconds = FIRST_BOUND * BOUND_FACTOR.powi(bound as i32);
    1.0 / (1.0 + (ROUTES[route].4 / seconds).powf(2.2))
}

fn instance_series(instance: usize) -> Vec<Series> {
    let mut all = Vec::new();
    let mut add = |name: &str, own: &[(&str, &str)], kind: Kind| {
        let mut labels: Labels = [("__name__", name), ("instance", INSTANCES[instance]), ("job", "demo")]
            .iter()
            .chain(own)
            .map(|(n, v)| ((*n).to_owned(), (*v).to_owned()))
            .collect();
        labels.sort();
        all.push(Series { labels, kind, instance, value: 0.0, alive: false });
    };
    for (kind, mean) in [("buffers", 1.2e8), ("cached", 1.9e9), ("free", 9.0e8), ("used", 4.1e9)] {
        add(
            "demo_memory_usage_bytes",
            &[("type", kind)],
            Kind::Memory(mean * (1.0 + instance as f64 / 10.0)),
        );
    }
    for (mode, share) in [("idle", 2.9), ("system", 0.3), ("user", 0.8)] {
        add("demo_cpu_usage_seconds_total", &[("mode", mode)], Kind::Cpu(share));
    }
    add("demo_num_cpus", &[], Kind::Cpus);
    add("demo_disk_usage_bytes", &[], Kind::DiskUsage);
    add("demo_disk_total_bytes", &[], Kind::DiskTotal);
    add("demo_batch_last_success_timestamp_seconds", &[], Kind::BatchLastSuccess);
    add("demo_batch_runs_total", &[], Kind::BatchRuns);
    add("demo_intermittent_metric", &[], Kind::Intermittent);
    add("demo_is_holiday", &[], Kind::Holiday);
    for (route, (method, path, status, _, _)) in ROUTES.iter().enumerate() {
        let own = [("method", *method), ("path", *path), ("status", *status)];
        for bound in 0..=BUCKETS {
            let le = if bound == BUCKETS {
                "+Inf".to_owned()
            } else {
                format!("{}", FIRST_BOUND * BOUND_FACTOR.powi(bound as i32))
            };
            let with_le = [own.as_slice(), &[("le", le.as_str())]].concat();
            add("demo_api_request_duration_seconds_bucket", &with_le, Kind::Bucket(route, bound));
        }
        add("demo_api_request_duration_seconds_count", &own, Kind::Count(route));
        add("demo_api_request_duration_seconds_sum", &own, Kind::Sum(route));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// Every sample of two hours at 5 s, by series.
    fn two_hours(seed: u64) -> (Service, Vec<Vec<f64>>) {
        let mut service = Service::new(seed, 1_700_000_000_000, 5_000);
        let mut samples = vec![Vec::new(); service.len()];
        for _ in 0..1_440 {
            service.advance();
            service.scrape().for_each(|(index, value)| samples[index].push(value));
        }
        (service, samples)
    }

    #[test]
    fn series_are_distinct_and_their_labels_sorted() {
        let service = Service::new(1, 0, 5_000);
        let distinct: HashSet<Labels> = service.series().collect();
        assert_eq!(distinct.len(), service.len());
        assert!(service.series().all(|l| l.windows(2).all(|w| w[0].0 < w[1].0)));
    }

    #[test]
    fn counters_fall_only_to_restart_and_buckets_are_cumulative() {
        let (service, samples) = two_hours(1);
        assert!(service.resets() >= 6, "{} resets in two hours", service.resets());
        assert!(service.stale_markers() > 100);
        for (series, values) in service.series.iter().zip(&samples).filter(|(s, _)| s.kind.is_counter()) {
            let values: Vec<f64> = values.iter().copied().filter(|v| !v.is_nan()).collect();
            let falls = values.windows(2).filter(|w| w[1] < w[0]).count();
            assert!(falls <= 4, "{:?} fell {falls} times", series.labels);
        }
        let buckets: Vec<usize> = (0..samples.len())
            .filter(|i| {
                matches!(service.series[*i].kind, Kind::Bucket(1, _)) && service.series[*i].instance == 0
            })
            .collect();
        assert_eq!(buckets.len(), BUCKETS + 1);
        for pair in buckets.windows(2) {
            let holds =
                samples[pair[0]].iter().zip(&samples[pair[1]]).all(|(low, high)| low <= high || low.is_nan());
            assert!(holds, "bucket {} is above bucket {}", pair[0], pair[1]);
        }
    }

    #[test]
    fn a_series_that_ends_is_marked_once() {
        let (_, samples) = two_hours(1);
        for values in samples {
            assert!(values.windows(2).all(|w| !(w[0].is_nan() && w[1].is_nan())));
            assert!(values.iter().filter(|v| v.is_nan()).all(|v| v.to_bits() == STALE));
            assert!(!values[0].is_nan());
        }
    }

    #[test]
    fn equal_seeds_give_equal_samples() {
        let bits = |seed| two_hours(seed).1.concat().iter().map(|v| v.to_bits()).collect::<Vec<_>>();
        assert_eq!(bits(1), bits(1));
        assert_ne!(bits(1), bits(2));
    }
}
