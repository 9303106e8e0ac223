//! What each codec step costs: `cargo run --release -p cairn-tsdb --example codec_bench`.
//!
//! Prints one row a step: ns a sample (for the index: a series) (best of several passes on one thread), bytes a sample, and the floor that
//! was measured for the step on the reference machine where there is one. Data: as a scrape target has them, in the
//! mix of the load generator (counters, gauges, constants, 15 s apart, 1 % of the times off by some ms).

use std::hint::black_box;
use std::path::Path;
use std::sync::Arc;

use cairn_model::{Encoding, Histogram, Labels, MatchOp, Matcher, Span, Value};
use cairn_runtime::{Clock, Disk, MemDisk, SystemClock};
use cairn_tsdb::chunkenc::{ChunkBuilder, ChunkDecoder, CutRule, Xor2Appender, XorAppender, xor};
use cairn_tsdb::index::{ChunkMeta, IndexReader, IndexWriter, SeriesEntry, SymbolSet};

/// Samples a chunk, as the head cuts.
const CHUNK: usize = 120;

/// Series of the data set: large enough that chunks do not stay in the first-level cache.
const SERIES: usize = 4_000;

/// Passes of which the best counts.
const PASSES: usize = 7;

struct Bench {
    clock: SystemClock,
}

impl Bench {
    /// Runs `step` over all data a few times and prints the best.
    fn row(&self, name: &str, samples: usize, bytes: usize, floor_ns: Option<f64>, mut step: impl FnMut()) {
        let mut best = f64::INFINITY;
        for _ in 0..PASSES {
            let start = self.clock.monotonic();
            step();
            let spent = self.clock.monotonic() - start;
            best = best.min(spent.as_nanos() as f64 / samples as f64);
        }
        let floor = floor_ns.map_or("-".to_owned(), |f| format!("{f:.1}"));
        let size = bytes as f64 / samples as f64;
        println!("{name:<44} {best:>8.2} ns each {size:>7.2} B each   floor {floor}");
    }
}

/// A small generator of its own: the same data in every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn series(n: usize) -> Vec<(Vec<i64>, Vec<f64>)> {
    let mut r = Numbers(7);
    (0..n)
        .map(|kind| {
            let mut value = r.below(1_000_000) as f64;
            let mut rows = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
            for i in 0..CHUNK {
                let jitter = if r.below(100) == 0 { r.below(20) as i64 } else { 0 };
                rows.0.push(1_735_689_600_000 + i as i64 * 15_000 + jitter);
                match kind % 4 {
                    0 | 1 => value += r.below(100) as f64,
                    2 => value = r.below(1_000_000) as f64 / 1000.0,
                    _ => {}
                }
                rows.1.push(value);
            }
            rows
        })
        .collect()
}

fn histograms() -> Vec<Value> {
    let mut r = Numbers(9);
    let mut absolute = [0i64; 20];
    (0..CHUNK)
        .map(|_| {
            absolute.iter_mut().for_each(|c| *c += r.below(5) as i64);
            let deltas = (0..20).map(|i| absolute[i] - if i == 0 { 0 } else { absolute[i - 1] }).collect();
            let count = absolute.iter().sum::<i64>() as u64;
            Value::Histogram(Arc::new(Histogram {
                schema: 3,
                zero_threshold: 2f64.powi(-128),
                count,
                sum: count as f64 * 0.25,
                positive_spans: vec![Span { offset: 0, length: 12 }, Span { offset: 3, length: 8 }],
                positive_buckets: deltas,
                ..Histogram::default()
            }))
        })
        .collect()
}

/// Rows of the index: `n` series of ten labels, one chunk each, on a disk in memory.
fn index_rows(bench: &Bench, n: usize) {
    let labels = |i: usize| {
        let mut pairs = vec![("__name__".to_owned(), format!("metric_{:03}", i % 500))];
        pairs.extend((0..8).map(|l| (format!("label_{l}"), format!("value-{l}-{}", i / 500 % (l + 2)))));
        pairs.push(("instance".to_owned(), format!("host-{:05}:9100", i / 500)));
        Labels::from_pairs(pairs).expect("names differ")
    };
    let mut series: Vec<Labels> = (0..n).map(labels).collect();
    series.sort();
    let mut bytes = bytes::Bytes::new();
    let mut write = || {
        let (disk, path) = (MemDisk::new(), Path::new("/index"));
        let mut symbols = SymbolSet::new();
        series.iter().for_each(|l| symbols.add_labels(l.as_ref()));
        let mut w = IndexWriter::create(&disk, path, symbols).expect("memory");
        for (i, l) in series.iter().enumerate() {
            let chunk = ChunkMeta { min_ms: 0, max_ms: 7_199_999, place: 8 + i as u64 * 400 };
            w.add_series(l.as_ref(), &[chunk]).expect("sorted");
        }
        w.finish().expect("memory");
        bytes = disk.map(path).expect("just written");
    };
    write();
    bench.row("index write, 10 labels, a series", n, 0, None, &mut write);
    let size = bytes.len();
    bench.row("index open, a series", n, size, None, || {
        black_box(IndexReader::open("index", bytes.clone()).expect("own index"));
    });
    let index = IndexReader::open("index", bytes.clone()).expect("own index");
    let all = index.all_series().expect("own index");
    let mut entry = SeriesEntry::default();
    bench.row("index series decode, 10 labels", n, size, None, || {
        for r in &all {
            index.series(*r, &mut entry).expect("own index");
            black_box(&entry);
        }
    });
    let regex = Matcher::new(MatchOp::Regex, "instance", "host-.*1:9100").expect("valid");
    let matchers = [Matcher::equal("__name__", "metric_007"), regex];
    let found = index.select(&matchers).expect("own index").len().max(1);
    bench.row("index select, name and regex, a series found", found, 0, None, || {
        black_box(index.select(&matchers).expect("own index"));
    });
}

fn main() {
    let bench = Bench { clock: SystemClock::new() };
    let data = series(SERIES);
    let total = SERIES * CHUNK;
    let chunks: Vec<Vec<u8>> = data.iter().map(|(t, v)| xor::encode(t, v)).collect();
    let bytes: usize = chunks.iter().map(Vec::len).sum();

    let mut out = Vec::with_capacity(1 << 12);
    bench.row("xor encode, a chunk in one go", total, bytes, Some(15.0), || {
        for (t, v) in &data {
            out.clear();
            XorAppender::start(&mut out).append(&mut out, t, v);
            black_box(&out);
        }
    });
    bench.row("xor encode, 8 samples at a time", total, bytes, Some(15.0), || {
        for (t, v) in &data {
            out.clear();
            let mut appender = XorAppender::start(&mut out);
            for (t, v) in t.chunks(8).zip(v.chunks(8)) {
                appender.append(&mut out, t, v);
            }
            black_box(&out);
        }
    });
    let (mut t_out, mut v_out) = (Vec::with_capacity(CHUNK), Vec::with_capacity(CHUNK));
    bench.row("xor decode to columns", total, bytes, Some(4.9), || {
        for chunk in &chunks {
            t_out.clear();
            v_out.clear();
            xor::decode(chunk, &mut t_out, &mut v_out).expect("own chunk");
            black_box((&t_out, &v_out));
        }
    });

    let encode_xor2 = |out: &mut Vec<u8>, t: &[i64], v: &[f64]| {
        out.clear();
        let mut appender = Xor2Appender::start(out);
        t.iter().zip(v).for_each(|(t, v)| appender.append(out, *t, 0, *v));
    };
    let chunks2: Vec<Vec<u8>> = data
        .iter()
        .map(|(t, v)| {
            let mut chunk = Vec::new();
            encode_xor2(&mut chunk, t, v);
            chunk
        })
        .collect();
    let bytes2: usize = chunks2.iter().map(Vec::len).sum();
    bench.row("xor2 encode, sample by sample", total, bytes2, None, || {
        for (t, v) in &data {
            encode_xor2(&mut out, t, v);
            black_box(&out);
        }
    });
    bench.row("xor2 decode to columns", total, bytes2, None, || {
        for chunk in &chunks2 {
            t_out.clear();
            v_out.clear();
            cairn_tsdb::chunkenc::decode_floats(Encoding::Xor2, chunk, &mut t_out, &mut v_out)
                .expect("own chunk");
            black_box((&t_out, &v_out));
        }
    });

    let histograms = histograms();
    let build = || {
        let mut b = ChunkBuilder::new(CutRule::default());
        histograms.iter().enumerate().for_each(|(i, h)| b.push(i as i64 * 15_000, 0, h));
        b.finish()
    };
    let built: Vec<(Encoding, bytes::Bytes)> = build()
        .into_iter()
        .filter_map(|c| match c.data {
            cairn_model::ChunkData::Encoded(encoding, bytes) => Some((encoding, bytes)),
            cairn_model::ChunkData::Columns(_) => None,
        })
        .collect();
    let built_bytes: usize = built.iter().map(|(_, b)| b.len()).sum();
    let repeat = 200;
    bench.row("histogram encode, 20 buckets", CHUNK * repeat, built_bytes * repeat, None, || {
        (0..repeat).for_each(|_| drop(black_box(build())));
    });
    bench.row("histogram decode, 20 buckets", CHUNK * repeat, built_bytes * repeat, None, || {
        for (encoding, chunk) in std::iter::repeat_n(&built, repeat).flatten() {
            ChunkDecoder::new(*encoding, chunk).for_each(|s| drop(black_box(s)));
        }
    });
    index_rows(&bench, 200_000);
}
