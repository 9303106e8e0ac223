//! Samples per CPU second of a pass-through merge, a vertical merge, and downsampling raw → 5 m → 1 h.
//!
//! `cargo run --release -p cairn-compactor --example compact_bench [SERIES [HOURS]]` on the machine's temporary
//! folder. Prints one JSON object a line.
#![allow(clippy::disallowed_methods)] // a program of its own

use std::path::Path;

use cairn_compactor::downsample::{FIVE_MINUTES_MS, ONE_HOUR_MS, downsample_block};
use cairn_compactor::merge::merge_blocks;
use cairn_model::{Labels, Value};
use cairn_runtime::RealDisk;
use cairn_tsdb::block::{BlockChunk, BlockOptions, BlockReader, BlockWriter};
use cairn_tsdb::chunkenc::{ChunkBuilder, CutRule};
use cairn_tsdb::index::SymbolSet;
use cairn_tsdb::meta::{BlockMeta, ThanosMeta};
use ulid::Ulid;

const HOUR_MS: i64 = 3_600_000;
const STEP_MS: i64 = 60_000;

/// User and system seconds of this process so far.
fn cpu_seconds() -> f64 {
    let stat = std::fs::read_to_string("/proc/self/stat").expect("Linux");
    let after_name = stat.rsplit(')').next().expect("a name in brackets");
    let field =
        |i: usize| after_name.split_whitespace().nth(i).and_then(|t| t.parse::<f64>().ok()).unwrap_or(0.0);
    // Ticks of 1/100 s, as Linux reports them to programs.
    (field(11) + field(12)) / 100.0
}

fn labels(i: usize) -> Labels {
    let pairs = [
        ("__name__", format!("bench_metric_{:02}", i % 40)),
        ("instance", format!("host-{:05}:9100", i / 40)),
        ("job", "bench".to_owned()),
        ("region", "eu-west-1".to_owned()),
        ("zone", format!("eu-west-1{}", ["a", "b", "c"][i % 3])),
    ];
    Labels::from_pairs(pairs).expect("no name twice")
}

fn write_block(dir: &Path, n: u64, from_h: i64, series: usize) -> Ulid {
    let ulid = Ulid::from_parts(n, 1);
    let mut meta = BlockMeta::new(ulid, from_h * HOUR_MS, (from_h + 2) * HOUR_MS);
    meta.thanos =
        Some(ThanosMeta::raw(&Labels::from_pairs([("tenant_id", "b")]).expect("one label"), "receive"));
    let mut all: Vec<(Labels, usize)> = (0..series).map(|i| (labels(i), i)).collect();
    all.sort();
    let mut symbols = SymbolSet::new();
    all.iter().for_each(|(l, _)| symbols.add_labels(l.as_ref()));
    let options = BlockOptions { tombstones: false, ..BlockOptions::default() };
    let mut w = BlockWriter::create(&RealDisk, dir, meta, symbols, options).expect("a block");
    for (l, i) in &all {
        let mut b = ChunkBuilder::new(CutRule::default());
        let mut x = *i as u64 | 1;
        for t in (from_h * HOUR_MS..(from_h + 2) * HOUR_MS).step_by(STEP_MS as usize) {
            x = x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            b.push(t, 0, &Value::Float((t / STEP_MS * 10) as f64 + ((x >> 59) as f64)));
        }
        let chunks: Vec<BlockChunk> =
            b.finish().iter().flat_map(|c| BlockChunk::from_chunk(c, CutRule::default())).collect();
        w.add_series(l.as_ref(), &chunks).expect("a series");
    }
    w.finish().expect("a whole block");
    ulid
}

fn open(dir: &Path, ulids: &[Ulid]) -> Vec<BlockReader> {
    let one = |u: &Ulid| BlockReader::open(&RealDisk, &dir.join(u.to_string())).expect("a block");
    ulids.iter().map(one).collect()
}

fn measured<T>(what: &str, input_samples: u64, work: impl FnOnce() -> T) -> T {
    let start = cpu_seconds();
    let out = work();
    let cpu = cpu_seconds() - start;
    let rate = input_samples as f64 / cpu.max(1e-9) / 1e6;
    println!(
        "{{\"measure\":\"{what}\",\"input_samples\":{input_samples},\"cpu_s\":{cpu:.2},\"million_samples_per_cpu_s\":{rate:.1}}}"
    );
    out
}

fn main() {
    let mut arguments = std::env::args().skip(1).map(|a| a.parse::<usize>().expect("a number"));
    let (series, hours) = (arguments.next().unwrap_or(10_000), arguments.next().unwrap_or(48));
    let dir = tempfile::tempdir().expect("a temporary folder");
    let dir = dir.path();
    let inputs: Vec<Ulid> =
        (0..hours / 2).map(|i| write_block(dir, i as u64, i as i64 * 2, series)).collect();
    let readers = open(dir, &inputs);
    let samples: u64 = readers.iter().map(|r| r.meta().stats.num_samples).sum();
    let go_on = || false;
    let (merged, _) = measured("merge_pass_through", samples, || {
        merge_blocks(&RealDisk, &readers, dir, Ulid::from_parts(1_000, 1), &go_on)
            .expect("sound")
            .expect("samples")
    });
    let whole = open(dir, &[merged.ulid]);
    let raw = &whole[0];
    let pair = open(dir, &[merged.ulid, inputs[0]]);
    measured("merge_vertical_with_equal_chunks", samples + pair[1].meta().stats.num_samples, || {
        merge_blocks(&RealDisk, &pair, dir, Ulid::from_parts(1_001, 1), &go_on).expect("sound")
    });
    let five = measured("downsample_raw_to_5m", samples, || {
        downsample_block(&RealDisk, raw, FIVE_MINUTES_MS, dir, Ulid::from_parts(1_002, 1), &go_on)
            .expect("sound")
    })
    .expect("samples");
    let five = open(dir, &[five.ulid]);
    measured("downsample_5m_to_1h", five[0].meta().stats.num_samples, || {
        downsample_block(&RealDisk, &five[0], ONE_HOUR_MS, dir, Ulid::from_parts(1_003, 1), &go_on)
            .expect("sound")
    });
}
