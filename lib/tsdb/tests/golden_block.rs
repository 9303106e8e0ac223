//! The golden block of Prometheus 3.14's own writer: read sample for sample, and encoded again to the same bytes.

use std::path::PathBuf;

use cairn_model::histogram::FloatHistogram;
use cairn_model::{CounterResetHint, Encoding, Labels, Span, Value};
use cairn_runtime::RealDisk;
use cairn_tests::conformance::conformance;
use cairn_tsdb::block::{BlockReader, verify};
use cairn_tsdb::chunkenc::histogram::decode::ReadCounts;
use cairn_tsdb::chunkenc::histogram::{Appended, FloatCounts, HistogramReader, IntCounts};
use cairn_tsdb::chunkenc::{ChunkDecoder, HistogramAppender, xor};
use serde_json::Value as Json;

const BLOCK: &str = "01M84QYTCN9FDQ1896AVRD5RQM";

fn golden() -> Option<(PathBuf, BlockReader)> {
    let dir = conformance("prometheus-block")?;
    let block = BlockReader::open(&RealDisk, &dir.join(BLOCK)).unwrap();
    Some((dir, block))
}

#[allow(clippy::disallowed_methods)] // golden data lies on the real disk
fn dump(dir: &std::path::Path) -> Vec<(String, Json)> {
    let packed = std::fs::read(dir.join("dump.jsonl.zst")).unwrap();
    let text = zstd::decode_all(packed.as_slice()).unwrap();
    let lines = String::from_utf8(text).unwrap();
    lines.lines().map(|l| (l.to_owned(), serde_json::from_str(l).unwrap())).collect()
}

fn as_float_histogram(value: &Value) -> FloatHistogram {
    match value {
        Value::Histogram(h) => h.to_float(),
        Value::FloatHistogram(h) => (**h).clone(),
        Value::Float(v) => panic!("float {v} where a histogram was dumped"),
    }
}

#[test]
fn every_sample_is_read_as_prometheus_reads_it() {
    let Some((dir, block)) = golden() else { return };
    let mut lines = dump(&dir).into_iter();
    let (mut series, mut samples) = (0, 0);
    for found in block.select(&[], i64::MIN, i64::MAX).unwrap() {
        let found = found.unwrap();
        series += 1;
        for chunk in &found.chunks {
            let encoding = Encoding::from_byte(chunk.encoding).unwrap();
            for sample in ChunkDecoder::new(encoding, &chunk.data) {
                let sample = sample.unwrap();
                let (raw, line) = lines.next().expect("the dump has a line for every sample");
                samples += 1;
                let labels = line["series"].as_object().unwrap();
                let labels =
                    Labels::from_pairs(labels.iter().map(|(n, v)| (n, v.as_str().unwrap()))).unwrap();
                assert_eq!(found.labels, labels);
                assert_eq!(line["t"].as_i64().unwrap(), sample.t_ms, "{line}");
                match &sample.value {
                    Value::Float(v) => assert_eq!(format!("{:016x}", v.to_bits()), line["bits"], "{line}"),
                    value => compare_histogram(value, &line, &raw),
                }
            }
        }
    }
    assert!(lines.next().is_none(), "the dump has more samples than were read");
    println!("compared {series} series, {samples} samples");
    assert_eq!((series, samples), (6, 2400));
}

/// A number of `raw` to the last bit, which serde_json does not promise.
fn exact(raw: &str, name: &str) -> f64 {
    let (_, rest) = raw.split_once(&format!("\"{name}\":")).unwrap();
    rest.split([',', '}']).next().unwrap().parse().unwrap()
}

fn compare_histogram(value: &Value, line: &Json, raw: &str) {
    let kind = if matches!(value, Value::Histogram(_)) { "int" } else { "float" };
    assert_eq!(line["kind"], kind, "{line}");
    let h = &line["h"];
    let floats = |name: &str| -> Vec<f64> {
        h[name].as_array().into_iter().flatten().map(|v| v.as_f64().unwrap()).collect()
    };
    let spans = |name: &str| -> Vec<Span> {
        let span = |s: &Json| Span {
            offset: s["Offset"].as_i64().unwrap() as i32,
            length: s["Length"].as_u64().unwrap() as u32,
        };
        h[name].as_array().into_iter().flatten().map(span).collect()
    };
    let want = FloatHistogram {
        reset_hint: CounterResetHint::from_wire(h["reset_hint"].as_u64().unwrap()),
        schema: h["schema"].as_i64().unwrap() as i32,
        zero_threshold: exact(raw, "zero_threshold"),
        zero_count: h["zero_count"].as_f64().unwrap(),
        count: h["count"].as_f64().unwrap(),
        sum: exact(raw, "sum"),
        positive_spans: spans("positive_spans"),
        negative_spans: spans("negative_spans"),
        positive_buckets: floats("positive_buckets"),
        negative_buckets: floats("negative_buckets"),
        custom_values: floats("custom_values"),
    };
    let got = as_float_histogram(value);
    assert!(got.bits_eq(&want), "got {got:?}, want {want:?}");
}

/// Encodes the samples of one chunk again; `before` is the chunk before it in the same series.
fn encode_again<C: ReadCounts>(data: &[u8], before: Option<&HistogramAppender<C>>) -> HistogramAppender<C> {
    let mut reader = HistogramReader::<C>::new(data).unwrap();
    let (t, first) = reader.read().unwrap().expect("no chunk is empty");
    let mut chunk = HistogramAppender::start(before, t, &first);
    while let Some((t, h)) = reader.read().unwrap() {
        assert!(
            matches!(chunk.append(t, &h), Appended::InPlace),
            "a sample at {t} did not fit its own chunk"
        );
    }
    chunk
}

#[test]
fn every_chunk_is_encoded_again_to_prometheus_bytes() {
    let Some((_, block)) = golden() else { return };
    let mut compared = [0usize; 5];
    for found in block.select(&[], i64::MIN, i64::MAX).unwrap() {
        let found = found.unwrap();
        let (mut ints, mut floats) = (None, None);
        for (i, chunk) in found.chunks.iter().enumerate() {
            if i + 1 == found.chunks.len() {
                // The chunk still open when the head was written out: Prometheus encodes it again by itself.
                (ints, floats) = (None, None);
            }
            compared[chunk.encoding as usize] += 1;
            let again = match Encoding::from_byte(chunk.encoding).unwrap() {
                Encoding::Xor => {
                    let (mut t, mut v) = (Vec::new(), Vec::new());
                    xor::decode(&chunk.data, &mut t, &mut v).unwrap();
                    xor::encode(&t, &v)
                }
                Encoding::Histogram => {
                    let again = encode_again::<IntCounts>(&chunk.data, ints.as_ref());
                    let bytes = again.bytes().to_vec();
                    ints = Some(again);
                    bytes
                }
                Encoding::FloatHistogram => {
                    let again = encode_again::<FloatCounts>(&chunk.data, floats.as_ref());
                    let bytes = again.bytes().to_vec();
                    floats = Some(again);
                    bytes
                }
                Encoding::Xor2 => panic!("the golden block has no XOR2 chunk"),
            };
            assert_eq!(again[3..], chunk.data[3..], "{} from {}", found.labels, chunk.min_ms);
            assert_eq!(again[..2], chunk.data[..2]);
            assert_eq!(again[2], chunk.data[2], "header of {} from {}", found.labels, chunk.min_ms);
        }
    }
    println!("compared chunks by encoding: {compared:?}");
    assert_eq!(compared.iter().sum::<usize>(), 32);
}

#[test]
fn the_block_verifies() {
    let Some((_, block)) = golden() else { return };
    let outcome = verify(&block);
    assert!(outcome.is_sound(), "{:#?}", outcome.findings);
    assert_eq!(outcome.stats, block.meta().stats);
}
