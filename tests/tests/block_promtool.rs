//! promtool 3.14 as the judge of the blocks that the engine writes: it analyzes them, its dump equals what was
//! written line for line, and the engine's own tools print what promtool prints.

#[path = "../../xtask/src/peers/locate.rs"]
mod locate;

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use cairn_model::{CounterResetHint, Histogram, Labels, Span, Value};
use cairn_runtime::{Disk, RealDisk, Rng};
use cairn_tests::conformance::conformance;
use cairn_tsdb::block::{BlockChunk, BlockOptions, BlockWriter};
use cairn_tsdb::chunkenc::{ChunkBuilder, CutRule};
use cairn_tsdb::index::SymbolSet;
use cairn_tsdb::meta::{BlockMeta, ThanosMeta};
use cairn_tsdb::tools::{
    AnalyzeOptions, BackfillOptions, DumpFormat, DumpOptions, Unseen, analyze, backfill, dump,
    dump_openmetrics, list, open_blocks, print_rows,
};
use ulid::Ulid;

/// Start of all series.
const START_MS: i64 = 1_735_689_600_000;

fn promtool(test: &str) -> Option<PathBuf> {
    match locate::find("promtool") {
        Ok(path) => Some(path),
        Err(e) => {
            assert!(std::env::var_os("CI").is_none(), "{e}");
            let _ = writeln!(std::io::stderr(), "cairn-skip: {test}: {e}");
            None
        }
    }
}

/// What promtool prints; it must succeed.
fn run(promtool: &Path, args: &[&str]) -> String {
    let output = Command::new(promtool).arg("tsdb").args(args).output().unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

/// A folder as promtool wants one: blocks beside a write-ahead log.
fn data_folder() -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    RealDisk.create_dir_all(&dir.path().join("wal")).unwrap();
    dir
}

fn printed(print: impl FnOnce(&mut Vec<u8>)) -> String {
    let mut out = Vec::new();
    print(&mut out);
    String::from_utf8(out).unwrap()
}

type Samples = Vec<(i64, Value)>;

fn float_series(kind: i64, n: i64) -> Samples {
    let value = |i: i64| match kind % 5 {
        0 => (i * 3) as f64,
        1 => 20.0 + (i % 7) as f64 / 8.0,
        2 => 1.0,
        3 => [f64::INFINITY, -0.0, 1e-300, f64::NAN, 123_456_789.0, -1e21][i as usize % 6],
        _ => i as f64 * 0.1,
    };
    (0..n).map(|i| (START_MS + i * 15_000 + kind, Value::Float(value(i)))).collect()
}

/// Counter, gauge and custom-bucket histograms, with resets and buckets that come and go.
fn histogram_series(kind: i64, n: i64) -> Samples {
    let one = |i: i64| {
        let per_bucket = if kind == 1 { 1 + i % 5 } else { 1 + i % 90 };
        let buckets = 2 + i as usize % 90 / 40;
        let mut h = Histogram {
            schema: 2,
            zero_threshold: 0.001,
            zero_count: per_bucket as u64,
            positive_spans: vec![Span { offset: -1, length: 1 }, Span { offset: 2, length: buckets as u32 }],
            positive_buckets: std::iter::once(per_bucket).chain(std::iter::repeat_n(0, buckets)).collect(),
            negative_spans: vec![Span { offset: 0, length: 2 }],
            negative_buckets: vec![per_bucket, 0],
            count: per_bucket as u64 * (4 + buckets as u64),
            sum: per_bucket as f64 * 1.1,
            ..Histogram::default()
        };
        match kind {
            1 => h.reset_hint = CounterResetHint::Gauge,
            2 => {
                h.schema = -53;
                (h.zero_threshold, h.zero_count) = (0.0, 0);
                (h.negative_spans, h.negative_buckets) = (Vec::new(), Vec::new());
                h.positive_spans = vec![Span { offset: 0, length: 3 }];
                h.positive_buckets = vec![per_bucket, 1, 0];
                h.count = per_bucket as u64 * 3 + 2;
                h.custom_values = vec![0.5, 2.5, 1e7];
            }
            _ => {}
        }
        h.validate().unwrap();
        h
    };
    let value = |i| {
        if kind == 3 {
            Value::FloatHistogram(Arc::new(one(i).to_float()))
        } else {
            Value::Histogram(Arc::new(one(i)))
        }
    };
    (0..n).map(|i| (START_MS + i * 30_000, value(i))).collect()
}

fn all_series() -> BTreeMap<Labels, Samples> {
    let mut all = BTreeMap::new();
    let labels = |pairs: &[(&str, &str)]| Labels::from_pairs(pairs.iter().copied()).unwrap();
    for i in 0..200 {
        let (name, instance) = (format!("metric_{}", i % 9), format!("host-{:02}:9100", i / 9));
        let l = labels(&[("__name__", name.as_str()), ("instance", instance.as_str()), ("job", "node")]);
        all.insert(l, float_series(i, 100 + i));
    }
    let quoted = labels(&[("__name__", "up.2"), ("a b", "\"quoted\\\" \n é"), ("job", "odd")]);
    all.insert(quoted, float_series(1, 1));
    for kind in 0..4 {
        let name = format!("histogram_{kind}");
        all.insert(labels(&[("__name__", name.as_str()), ("job", "native")]), histogram_series(kind, 200));
    }
    all
}

/// Writes `series` as one block with small segments below `dir`.
fn write_block(dir: &Path, series: &BTreeMap<Labels, Samples>, rule: CutRule) -> BlockMeta {
    let mut symbols = SymbolSet::new();
    series.keys().for_each(|l| symbols.add_labels(l.as_ref()));
    let external = Labels::from_pairs([("tenant_id", "acme")]).unwrap();
    let ulid = Ulid::from_parts(START_MS as u64, Rng::from_seed(1).next_u128());
    let meta = BlockMeta {
        thanos: Some(ThanosMeta::raw(&external, "receive")),
        ..BlockMeta::new(ulid, START_MS, START_MS + 7_200_000)
    };
    let options = BlockOptions { segment_bytes: 20_000, ..BlockOptions::default() };
    let mut writer = BlockWriter::create(&RealDisk, dir, meta, symbols, options).unwrap();
    for (labels, samples) in series {
        let mut chunks = ChunkBuilder::new(rule);
        // A start timestamp that changes now and then; only XOR2 keeps it.
        samples.iter().enumerate().for_each(|(i, (t, v))| chunks.push(*t, START_MS - 7 + i as i64 / 40, v));
        let chunks: Vec<BlockChunk> =
            chunks.finish().iter().flat_map(|c| BlockChunk::from_chunk(c, rule)).collect();
        writer.add_series(labels.as_ref(), &chunks).unwrap();
    }
    writer.finish().unwrap()
}

/// promtool's dump asks a series for floats, then float histograms, then integer histograms, and every question that
/// finds another kind swallows a sample.
fn swallowed(first: &Value) -> usize {
    match first {
        Value::Float(_) => 0,
        Value::FloatHistogram(_) => 1,
        Value::Histogram(_) => 2,
    }
}

/// The dump's lines of `series`; what promtool prints of them when `promtool` is set.
fn expected_lines(series: &BTreeMap<Labels, Samples>, promtool: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (labels, samples) in series {
        let pairs: Vec<String> = labels
            .iter()
            .map(|(n, v)| {
                let name = if n.contains(' ') { format!("{n:?}") } else { n.to_owned() };
                format!("{name}={}", cairn_model::labels::quoted(v))
            })
            .collect();
        let skip = if promtool { swallowed(&samples[0].1) } else { 0 };
        for (t, value) in &samples[skip..] {
            let value = match value {
                Value::Float(v) => cairn_model::number::format_g(*v),
                Value::Histogram(h) => h.to_float().to_string(),
                Value::FloatHistogram(h) => h.to_string(),
            };
            lines.push(format!("{{{}}} {value} {t}", pairs.join(", ")));
        }
    }
    lines
}

fn assert_same_lines(got: &str, want: &[String]) {
    let got: Vec<&str> = got.lines().collect();
    for (i, (g, w)) in got.iter().zip(want).enumerate() {
        assert_eq!(g, w, "line {}", i + 1);
    }
    assert_eq!(got.len(), want.len(), "number of lines");
}

#[test]
fn a_block_of_ours_dumps_line_for_line() {
    let Some(promtool) = promtool("a_block_of_ours_dumps_line_for_line") else { return };
    let dir = data_folder();
    let folder = dir.path().to_str().unwrap();
    let series = all_series();
    let meta = write_block(dir.path(), &series, CutRule::default());

    let want = expected_lines(&series, true);
    assert_same_lines(&run(&promtool, &["dump", folder]), &want);
    println!("compared {} series, {} lines", series.len(), want.len());

    let blocks = open_blocks(&RealDisk, dir.path()).unwrap();
    let mut ours = Vec::new();
    let counted = dump(&blocks, &DumpOptions::default(), &mut ours, &Unseen).unwrap();
    assert_eq!(counted, (series.len() as u64, meta.stats.num_samples));
    assert_same_lines(&String::from_utf8(ours).unwrap(), &expected_lines(&series, false));

    // The floats of one metric, in a range, through promtool's index reader.
    let matched = run(
        &promtool,
        &[
            "dump-openmetrics",
            "--match={__name__=~\"metric_[34]\", instance!=\"host-01:9100\"}",
            &format!("--min-time={}", START_MS + 60_000),
            &format!("--max-time={}", START_MS + 120_000),
            folder,
        ],
    );
    let matchers = vec![
        cairn_model::Matcher::new(cairn_model::MatchOp::Regex, "__name__", "metric_[34]").unwrap(),
        cairn_model::Matcher::new(cairn_model::MatchOp::NotEqual, "instance", "host-01:9100").unwrap(),
    ];
    let options = DumpOptions {
        min_ms: START_MS + 60_000,
        max_ms: START_MS + 120_000,
        matcher_sets: vec![matchers],
        format: DumpFormat::Prom,
    };
    let ours = printed(|out| {
        let (series, samples) = dump_openmetrics(&blocks, &options, out, &Unseen).unwrap();
        assert!(series > 30 && samples > 100);
    });
    assert_eq!(ours, matched);
}

#[test]
fn xor2_chunks_of_ours_dump_line_for_line() {
    let Some(promtool) = promtool("xor2_chunks_of_ours_dump_line_for_line") else { return };
    let dir = data_folder();
    let mut series = all_series();
    for samples in series.values_mut() {
        if let Some(&(t, Value::Float(_))) = samples.last() {
            let stale = Value::Float(cairn_model::sample::stale_nan());
            samples.push((t + 15_000, stale.clone()));
            samples.push((t + 30_000, Value::Float(1.0)));
            samples.push((t + 44_999, stale));
        }
    }
    write_block(dir.path(), &series, CutRule { xor2: true, max_samples: 250, ..CutRule::default() });
    assert_same_lines(
        &run(&promtool, &["dump", dir.path().to_str().unwrap()]),
        &expected_lines(&series, true),
    );
}

/// Sections of an analysis, each with its lines sorted: promtool leaves the order of equal counts to chance.
fn sections(text: &str) -> Vec<BTreeSet<String>> {
    text.split("\n\n").map(|s| s.lines().map(str::to_owned).collect()).collect()
}

fn assert_same_analysis(promtool: &Path, dir: &Path) {
    let theirs = run(promtool, &["analyze", "--extended", "--limit=1000", dir.to_str().unwrap()]);
    let blocks = open_blocks(&RealDisk, dir).unwrap();
    let options = AnalyzeOptions { limit: 1000, extended: true, matchers: None };
    let ours = printed(|out| analyze(blocks.last().unwrap(), &options, out, &Unseen).unwrap());
    let (theirs, ours) = (sections(&theirs), sections(&ours));
    assert_eq!(ours.len(), theirs.len());
    for (o, t) in ours.iter().zip(&theirs) {
        assert_eq!(o, t);
    }
}

#[test]
fn a_block_of_ours_is_analyzed_and_listed_as_by_promtool() {
    let Some(promtool) = promtool("a_block_of_ours_is_analyzed_and_listed_as_by_promtool") else { return };
    let dir = data_folder();
    write_block(dir.path(), &all_series(), CutRule::default());
    assert_same_analysis(&promtool, dir.path());
    assert_same_list(&promtool, dir.path());
}

fn assert_same_list(promtool: &Path, dir: &Path) {
    let rows = list(&open_blocks(&RealDisk, dir).unwrap());
    for (human, args) in [(false, vec!["list"]), (true, vec!["list", "-r"])] {
        let args: Vec<&str> = args.into_iter().chain([dir.to_str().unwrap()]).collect();
        assert_eq!(printed(|out| print_rows(&rows, true, human, out).unwrap()), run(promtool, &args));
    }
}

#[test]
fn prometheus_own_block_is_printed_as_by_promtool() {
    let test = "prometheus_own_block_is_printed_as_by_promtool";
    let (Some(promtool), Some(golden)) = (promtool(test), conformance("prometheus-block")) else { return };
    let dir = data_folder();
    copy_blocks(&golden, dir.path());
    assert_same_list(&promtool, dir.path());
    assert_same_analysis(&promtool, dir.path());
    let theirs = run(&promtool, &["dump", dir.path().to_str().unwrap()]);
    let blocks = open_blocks(&RealDisk, dir.path()).unwrap();
    let ours =
        printed(|out| assert_eq!(dump(&blocks, &DumpOptions::default(), out, &Unseen).unwrap(), (6, 2400)));
    let theirs: BTreeSet<&str> = theirs.lines().collect();
    let ours: BTreeSet<&str> = ours.lines().collect();
    assert!(theirs.is_subset(&ours));
    // Two samples of each of three integer histogram series, one of a float histogram series.
    assert_eq!((theirs.len(), ours.len()), (2393, 2400));
}

/// Copies the blocks below `from`; promtool wants to write beside them.
fn copy_blocks(from: &Path, to: &Path) {
    for entry in RealDisk.list(from).unwrap().into_iter().filter(|e| e.is_dir) {
        let (from, to) = (from.join(&entry.name), to.join(&entry.name));
        RealDisk.create_dir_all(&to.join("chunks")).unwrap();
        for file in ["meta.json", "index", "tombstones", "chunks/000001"] {
            RealDisk.write_atomic(&to.join(file), &RealDisk.read(&from.join(file)).unwrap()).unwrap();
        }
    }
}

#[test]
fn imported_text_gives_the_blocks_that_promtool_makes_of_it() {
    let Some(promtool) = promtool("imported_text_gives_the_blocks_that_promtool_makes_of_it") else { return };
    let (theirs, ours) = (data_folder(), data_folder());
    let mut text = String::from("# HELP http_requests_total Requests.\n# TYPE http_requests_total counter\n");
    for t in (0..30_000).step_by(30) {
        for host in 0..7 {
            let value = t * (host + 1) / 10;
            text.push_str(&format!(
                "http_requests_total{{host=\"h{host}\",code=\"200\"}} {value} {}.5\n",
                1_735_689_600 + t
            ));
        }
    }
    text.push_str("# EOF\n");
    let input = theirs.path().join("in.om");
    RealDisk.write_atomic(&input, text.as_bytes()).unwrap();
    let (input, folder) = (input.to_str().unwrap(), theirs.path().to_str().unwrap());
    run(&promtool, &["create-blocks-from", "openmetrics", input, folder]);

    let options = BackfillOptions {
        input: "in.om".into(),
        max_block_ms: 0,
        labels: Labels::empty(),
        human: false,
        quiet: false,
    };
    let rng = Rng::from_seed(3);
    let next = || Ulid::from_parts(START_MS as u64, rng.next_u128());
    let table = printed(|out| {
        backfill(&RealDisk, ours.path(), &text, &options, next, out, &Unseen).unwrap();
    });
    // Time range, duration, samples and series of every block; chunks are cut by another rule.
    let columns = |table: &str| -> Vec<Vec<String>> {
        let row = |r: &str| {
            let words: Vec<&str> = r.split_whitespace().collect();
            [1, 2, 3, 4, 6].map(|i| words[i].to_owned()).to_vec()
        };
        table.lines().skip(1).map(row).collect()
    };
    let listed = run(&promtool, &["list", folder]);
    assert_eq!(columns(&table), columns(&listed));
    assert_eq!(columns(&table).len(), 5);
    let bytes = |table: &str| -> u64 {
        table.lines().skip(1).map(|r| r.split_whitespace().last().unwrap().parse::<u64>().unwrap()).sum()
    };
    let (our_bytes, their_bytes) = (bytes(&table), bytes(&listed));
    assert!(our_bytes <= their_bytes + their_bytes / 50, "{our_bytes} bytes, promtool needs {their_bytes}");
    let dumped = run(&promtool, &["dump", ours.path().to_str().unwrap()]);
    assert_eq!(dumped, run(&promtool, &["dump", folder]));
    println!("compared {} lines; {our_bytes} bytes, promtool's {their_bytes}", dumped.lines().count());
}
