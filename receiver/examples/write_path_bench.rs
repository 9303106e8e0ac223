//! What each step of the write path costs, in CPU nanoseconds a sample, without network and store.
//!
//! `cargo run --release -p cairn-receiver --example write_path_bench [SERIES]`
//!
//! The load: 500 series an instance, 10 labels, about 244 bytes of encoded labels a series, 2,000 samples a
//! request, one sample a series and round. The floor beside it is what the bare steps cost on the machine on which
//! the design was made: decompression by the same crate, and a scan that compares label bytes.

use std::sync::Arc;
use std::time::Duration;

use cairn_model::TenantId;
use cairn_proto::encode::{Sample, TimeSeries, WriteRequest, encode_v1, encode_v2, snappy_block};
use cairn_proto::{Datum, Version, snappy, v1, v2};
use cairn_receiver::TenantLimits;
use cairn_receiver::admission::ByteBudget;
use cairn_receiver::fill::{Rules, fill};
use cairn_receiver::identity::{Identity, NO_ENTRY};
use cairn_receiver::judge::TimeWindow;
use cairn_receiver::scratch::{Scratch, ScratchPool};
use cairn_receiver::wire_keys::WireKeys;
use cairn_runtime::{Metrics, Rng};

/// As in the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REQUEST_SERIES: usize = 2000;
const NOW_MS: i64 = 1_700_000_000_000;
/// Each step is repeated this often and the least time counts: the machine may be shared.
const PASSES: usize = 5;
/// Fifty ticks of the scheduler's clock.
const LEAST_MEASURED: Duration = Duration::from_millis(200);

fn main() {
    let series: usize = std::env::args().nth(1).and_then(|a| a.parse().ok()).unwrap_or(200_000);
    let labels: Vec<_> = (0..series).map(labels).collect();
    let in_order: Vec<usize> = (0..series).collect();
    let rng = Rng::from_seed(1);
    let mut shuffled = in_order.clone();
    for i in (1..series).rev() {
        shuffled.swap(i, rng.below(i as u64 + 1) as usize);
    }
    println!("{series} series, {REQUEST_SERIES} samples a request; ns CPU a sample, least of {PASSES}");
    println!("{:<44} {:>8} {:>8}", "step", "cairn", "floor");
    for (version, floors) in [(Version::V1, [31.5, 26.8]), (Version::V2, [18.2, 14.0])] {
        let encode = |order: &[usize], round: i64| bodies(version, &labels, order, round);
        let (first, second) = (encode(&in_order, 0), encode(&in_order, 1));
        let mixed = encode(&shuffled, 2);
        let wire: usize = second.iter().map(Vec::len).sum();
        println!(
            "remote write {} ({:.1} B a sample on the wire)",
            version.as_str(),
            wire as f64 / series as f64
        );

        let mut buffer = Vec::new();
        let decompress = least(series, || {
            for b in &second {
                std::hint::black_box(decompressed(b, &mut buffer).len());
            }
        });
        row("  decompress", decompress, Some(floors[0]));
        let scan = least(series, || second.iter().for_each(|b| scan(version, decompressed(b, &mut buffer))));
        row("  scan: labels skipped, samples read", scan - decompress, Some(floors[1]));
        if version == Version::V1 {
            let bare = least(series, || second.iter().for_each(|b| bare_scan(decompressed(b, &mut buffer))));
            row("  scan without any check (floor, this run)", bare - decompress, Some(floors[1]));
            let keys = WireKeys::new(&rng);
            let text = vec![7u8; 244];
            let hash = least(series, || {
                for i in 0..series {
                    std::hint::black_box(keys.of_region(std::hint::black_box(&text[..200 + (i & 31)])));
                }
            });
            row("  hash of 200 to 231 bytes", hash, None);
            let hash = least(series, || {
                for i in 0..series {
                    std::hint::black_box(keys.of_region(std::hint::black_box(&text[..241 + (i & 3)])));
                }
            });
            row("  hash of 241 to 244 bytes", hash, None);
        }

        let bench = Bench::new();
        if std::env::args().nth(2).is_some_and(|only| only == version.as_str()) {
            // For a profiler: the steady state and nothing else.
            bench.send(version, &first, &mut buffer);
            for _ in 0..200 {
                bench.send(version, &second, &mut buffer);
            }
            return;
        }
        let new = bench.send(version, &first, &mut buffer);
        let learn = bench.new_series(version, &first, &mut buffer, series);
        let recall = least(series, || assert!(bench.send(version, &second, &mut buffer).new == 0));
        row("  scan, identity, judge, fill: predicted", recall - decompress, Some(floors[1]));
        let shuffle = least(series, || {
            // The order changes every time, so nothing that was learnt helps.
            assert!(bench.send(version, &mixed, &mut buffer).new == 0);
            assert!(bench.send(version, &second, &mut buffer).new == 0);
        });
        row("  the same, sender shuffles its series", shuffle / 2.0 - decompress, None);
        row("  the same, every series new, and learnt", learn - decompress, None);
        row("  together, predicted", recall, Some(floors[0] + floors[1]));
        assert_eq!(new.new, series);
    }
}

/// What a round of requests came to.
#[derive(Default)]
struct Sent {
    new: usize,
}

struct Bench {
    identity: Identity,
    rules: Rules,
    budget: ByteBudget,
    scratch: ScratchPool,
}

impl Bench {
    fn new() -> Self {
        let limits = Arc::new(TenantLimits::default());
        let rules = Rules {
            tenant: TenantId::default_tenant(),
            window: TimeWindow::at(NOW_MS, &limits),
            limits,
            external: Arc::new(["tenant_id".to_owned()]),
            keys: Arc::new(WireKeys::new(&Rng::from_seed(2))),
        };
        let scratch = ScratchPool::default();
        Bench {
            scratch,
            identity: Identity::new(usize::MAX),
            rules,
            budget: ByteBudget::new(1 << 40, &Metrics::new()),
        }
    }

    fn send(&self, version: Version, bodies: &[Vec<u8>], buffer: &mut Vec<u8>) -> Sent {
        let mut sent = Sent::default();
        for wire in bodies {
            let body = decompressed(wire, buffer);
            let mut permit =
                self.budget.take((wire.len() + 2 * body.len()) as u64).expect("the budget is huge");
            let view = self.identity.view(1);
            let scratch = self.scratch.take();
            let mut filled = fill(version, body, &self.rules, Some(view), &mut permit, scratch)
                .expect("the request is valid");
            assert_eq!(filled.batch.floats.t_ms.len(), filled.batch.series.len());
            assert!(!filled.verdicts.is_failure());
            sent.new += filled.trail.entries.iter().filter(|e| **e == NO_ENTRY).count();
            filled.trail.new.iter_mut().for_each(|l| l.store_ref = 1 + l.hash);
            let wanted = self.identity.learn(&filled.trail.new, &mut filled.trail.entries, 1);
            self.identity.bring_memory(wanted);
            std::hint::black_box(&filled.batch);
            let (batch, trail) = (Some(Box::new(filled.batch)), filled.trail);
            self.scratch.give(Scratch { batch, trail, ..filled.scratch });
        }
        sent
    }

    fn new_series(&self, version: Version, bodies: &[Vec<u8>], buffer: &mut Vec<u8>, series: usize) -> f64 {
        least(series, || assert_eq!(Bench::new().send(version, bodies, buffer).new, series))
    }
}

fn decompressed<'b>(wire: &[u8], buffer: &'b mut Vec<u8>) -> &'b [u8] {
    snappy::decompress(wire, buffer, 128 << 20).expect("the encoder writes snappy")
}

fn scan(version: Version, body: &[u8]) {
    let mut sum = 0i64;
    let mut add = |datum: Result<Datum<'_>, _>| {
        if let Ok(Datum::Float(s)) = datum {
            sum = sum.wrapping_add(s.t_ms ^ s.value.to_bits() as i64);
        }
    };
    match version {
        Version::V1 => {
            for item in v1::Request::new(body) {
                if let Ok(v1::Item::Series(s)) = item {
                    let region = s.region().expect("the encoder writes labels").len();
                    s.data(region).for_each(&mut add);
                }
            }
        }
        Version::V2 => {
            let mut symbols = Vec::new();
            let request = v2::Request::read(body, &mut symbols).expect("the encoder writes requests");
            for s in request.series().flatten() {
                let (_, len) = s.leading_refs().expect("the encoder writes references");
                s.data(len).for_each(&mut add);
            }
        }
    }
    std::hint::black_box(sum);
}

/// The least that any reader of 1.0 must do: lengths are believed, one sample a series.
fn bare_scan(body: &[u8]) {
    let (mut at, mut sum) = (0, 0i64);
    while at < body.len() {
        let (len, head) = if body[at + 1] < 0x80 {
            (body[at + 1] as usize, 2)
        } else {
            ((body[at + 1] & 0x7f) as usize | (body[at + 2] as usize) << 7, 3)
        };
        at += head;
        let end = at + len;
        while body[at] == 0x0a {
            at += 2 + body[at + 1] as usize;
        }
        let value = u64::from_le_bytes(body[at + 3..at + 11].try_into().expect("eight bytes"));
        let time = body[at + 12..end].iter().rev().fold(0i64, |t, b| t << 7 | i64::from(b & 0x7f));
        sum = sum.wrapping_add(time ^ value as i64);
        at = end;
    }
    std::hint::black_box(sum);
}

fn row(step: &str, ns: f64, floor: Option<f64>) {
    match floor {
        Some(floor) => println!("{step:<44} {ns:>8.1} {floor:>8.1}   x {:.2}", ns / floor),
        None => println!("{step:<44} {ns:>8.1} {:>8}", "-"),
    }
}

/// CPU time of one pass in nanoseconds a series, the least of several; a pass is repeated until the scheduler's
/// clock, which ticks every few milliseconds, is fine enough.
fn least(series: usize, mut pass: impl FnMut()) -> f64 {
    let passes = if std::env::args().nth(2).is_some() { 1 } else { PASSES };
    (0..passes)
        .map(|_| {
            let start = cpu_time();
            let mut rounds = 0;
            loop {
                pass();
                rounds += 1;
                let took = cpu_time() - start;
                if took >= LEAST_MEASURED {
                    break took.as_nanos() as f64 / (rounds * series) as f64;
                }
            }
        })
        .fold(f64::INFINITY, f64::min)
}

/// CPU time of this thread, as the scheduler counts it.
fn cpu_time() -> Duration {
    let text =
        std::fs::read_to_string("/proc/thread-self/schedstat").expect("Linux with scheduler statistics");
    let ns = text.split(' ').next().and_then(|n| n.parse().ok()).expect("the first field is a number");
    Duration::from_nanos(ns)
}

fn bodies(version: Version, labels: &[Vec<(String, String)>], order: &[usize], round: i64) -> Vec<Vec<u8>> {
    let sample = |i: usize| Sample {
        t_ms: NOW_MS + round * 15_000,
        start_ms: 0,
        // Never zero, which would be left out on the wire.
        value: cairn_model::Value::Float(
            1.0 + if i.is_multiple_of(3) { i as f64 } else { (i as i64 + round) as f64 * 0.5 },
        ),
    };
    let request = |chunk: &[usize]| {
        let series = chunk.iter().map(|&i| TimeSeries {
            labels: labels[i].clone(),
            samples: vec![sample(i)],
            ..TimeSeries::default()
        });
        let request = WriteRequest { series: series.collect(), ..WriteRequest::default() };
        snappy_block(&match version {
            Version::V1 => encode_v1(&request),
            Version::V2 => encode_v2(&request),
        })
    };
    order.chunks(REQUEST_SERIES).map(request).collect()
}

/// Labels as a node exporter behind service discovery has them.
fn labels(i: usize) -> Vec<(String, String)> {
    let (instance, metric) = (i / 500, i % 500);
    [
        ("__name__", format!("node_subsystem_{}_operations_total", metric / 8)),
        ("cluster", "production-eu-west-1".to_owned()),
        ("cpu", format!("{}", metric % 8)),
        ("instance", format!("10.{}.{}.{}:9100", instance / 65536, instance / 256 % 256, instance % 256)),
        ("job", "kubernetes-node-exporter".to_owned()),
        ("mode", ["user", "system", "idle", "iowait"][metric % 4].to_owned()),
        ("namespace", "monitoring".to_owned()),
        ("node", format!("ip-10-{}-{}.compute.internal", instance / 256, instance % 256)),
        ("pod", format!("node-exporter-{:05x}", instance * 7919)),
        ("region", "eu-west-1".to_owned()),
    ]
    .into_iter()
    .map(|(n, v)| (n.to_owned(), v))
    .collect()
}
