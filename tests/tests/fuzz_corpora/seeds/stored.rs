//! What lies on a disk or in a bucket.

use std::path::Path;
use std::sync::Arc;

use cairn_bucket::commit::{CommitRecord, FileRecord, Job};
use cairn_bucket::digest::Sha256;
use cairn_cluster::{ClusterOptions, Coordinator, RaftCoordinator};
use cairn_model::batch::HistogramSample;
use cairn_model::chunk::Aggregates;
use cairn_model::exemplar::Exemplar;
use cairn_model::metadata::{Metadata, MetricType};
use cairn_model::sample::Sample;
use cairn_model::storage::Appendable;
use cairn_model::{Chunk, ChunkData, Labels, TenantId, Value, WriteBatch};
use cairn_runtime::{Disk, MemDisk, Runtime, TcpNet};
use cairn_tsdb::block::{BlockChunk, BlockOptions, BlockWriter, aggr};
use cairn_tsdb::chunkenc::{ChunkBuilder, CutRule};
use cairn_tsdb::index::SymbolSet;
use cairn_tsdb::meta::{BlockMeta, ThanosMeta};
use cairn_tsdb::tombstones::{Interval, Tombstones};
use cairn_tsdb::wal::frame::{self, Kind, Place};
use cairn_tsdb::wal::pack::Packer;
use cairn_tsdb::wal::record::encode_controls;
use cairn_tsdb::wal::segment::{Predecessor, SegmentId, encode_header};
use cairn_tsdb::wal::{BatchRecord, Control, ControlKind};
use cairn_tsdb::{Db, DbOptions};
use ulid::Ulid;

use super::Seeds;
use super::samples::{T0_MS, custom_histograms, float_histograms, floats, histograms};

const BLOCK: Ulid = Ulid(0x0191_0000_0000_0000_0000_0000_0000_0001);

/// Seeds of all targets here.
pub fn seeds() -> Vec<Seeds> {
    let bytes_of = |values: &[Value], xor2| chunks(values, xor2).iter().map(payload).collect::<Vec<_>>();
    let aggregates = Aggregates {
        min_ms: T0_MS,
        max_ms: T0_MS + 600_000,
        count: chunks(&floats(), false).pop(),
        sum: chunks(&floats(), false).pop(),
        min: None,
        max: chunks(&histograms()[..2], false).pop(),
        counter: chunks(&floats()[..3], false).pop(),
    };
    let block = block();
    vec![
        ("chunk_xor", bytes_of(&floats(), false)),
        ("chunk_xor2", bytes_of(&floats(), true)),
        ("chunk_histogram", [bytes_of(&histograms(), false), bytes_of(&custom_histograms(), false)].concat()),
        ("chunk_float_histogram", bytes_of(&float_histograms(), false)),
        ("chunk_aggr", vec![aggr::write(&aggregates).expect("a slot is one chunk"), vec![0; 5]]),
        ("segment", vec![block.segment]),
        ("index", vec![block.index]),
        ("meta", vec![block.meta, BlockMeta::new(BLOCK, 0, 1).to_json()]),
        ("tombstones", tombstones()),
        ("snapshot", vec![head_snapshot()]),
        ("wal", wal()),
        ("raft_journal", vec![raft_journal()]),
        ("commit_record", commit_records()),
    ]
}

/// Chunks of at most 20 samples; every other sample has a start timestamp.
fn chunks(values: &[Value], xor2: bool) -> Vec<Chunk> {
    let mut builder = ChunkBuilder::new(CutRule { max_samples: 20, xor2, ..CutRule::default() });
    for (i, value) in values.iter().enumerate() {
        builder.push(T0_MS + i as i64 * 15_000 + (i as i64 % 3), T0_MS * (i as i64 % 2), value);
    }
    builder.finish()
}

fn payload(chunk: &Chunk) -> Vec<u8> {
    let ChunkData::Encoded(_, bytes) = &chunk.data else { panic!("a builder encodes") };
    bytes.to_vec()
}

/// A snapshot of series of every kind: with full and open chunks, late samples, histograms and start timestamps.
fn head_snapshot() -> Vec<u8> {
    let disk = MemDisk::new();
    let machine = Runtime::simulated(1, T0_MS, Arc::new(TcpNet), Arc::new(disk.clone()));
    let run = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true) // its number is the time
        .build()
        .expect("a runtime for a seed");
    run.block_on(async {
        let options = DbOptions { partitions: 1, ..DbOptions::new("/data") };
        let db = Db::open(options, machine).await.expect("an empty disk opens");
        let kinds = [floats(), histograms(), float_histograms()];
        for (n, values) in kinds.iter().enumerate() {
            let mut batch = WriteBatch::new(TenantId::default_tenant());
            let labels =
                Labels::from_pairs([("__name__", "m"), ("kind", &n.to_string())]).expect("two labels");
            batch.push_floats(labels.as_ref(), &[]);
            for (i, value) in (0i64..).zip(values) {
                let late = if i == 7 { 100_000 } else { 0 };
                let (t_ms, start_ms) = (T0_MS + i * 15_000 - late, T0_MS * (n as i64 % 2));
                match value {
                    Value::Float(v) => {
                        batch.floats.t_ms.push(t_ms);
                        batch.floats.value.push(*v);
                    }
                    value => batch.histograms.push(HistogramSample {
                        t_ms,
                        start_ms,
                        value: value.clone(),
                        refused: false,
                    }),
                }
            }
            let series = batch.series.last_mut().expect("one was pushed");
            series.floats = 0..batch.floats.t_ms.len() as u32;
            series.histograms = 0..batch.histograms.len() as u32;
            db.append(batch).await.expect("a disk in memory takes it");
        }
        assert!(db.take_snapshot().await.expect("a disk in memory takes it"));
    });
    let dir = Path::new("/data/snapshot");
    let snapshots = disk.list(dir).expect("the folder is there");
    disk.read(&dir.join(&snapshots[0].name)).expect("a snapshot was taken")
}

struct Block {
    meta: Vec<u8>,
    index: Vec<u8>,
    segment: Vec<u8>,
}

fn block() -> Block {
    let (disk, dir) = (MemDisk::new(), Path::new("/blocks"));
    disk.create_dir_all(dir).expect("a disk in memory");
    let labels = |n: usize| {
        Labels::from_pairs([("__name__", "m"), ("job", ["a", "b"][n % 2]), ("n", &n.to_string())])
            .expect("names are unique")
    };
    let of_series = [floats(), histograms(), float_histograms(), custom_histograms()];
    let mut symbols = SymbolSet::new();
    (0..of_series.len()).for_each(|n| symbols.add_labels(labels(n).as_ref()));
    let external = Labels::from_pairs([("tenant_id", "acme")]).expect("one label");
    let meta = BlockMeta {
        thanos: Some(ThanosMeta::raw(&external, "receive")),
        ..BlockMeta::new(BLOCK, T0_MS, T0_MS + 7_200_000)
    };
    let mut writer =
        BlockWriter::create(&disk, dir, meta, symbols, BlockOptions::default()).expect("a new block");
    let mut order: Vec<usize> = (0..of_series.len()).collect();
    order.sort_by_key(|n| labels(*n));
    for n in order {
        let chunks: Vec<BlockChunk> = chunks(&of_series[n], false)
            .iter()
            .flat_map(|c| BlockChunk::from_chunk(c, CutRule::default()))
            .collect();
        writer.add_series(labels(n).as_ref(), &chunks).expect("series in order");
    }
    writer.finish().expect("a finished block");
    let read = |name: &str| disk.read(&dir.join(BLOCK.to_string()).join(name)).expect("a file of the block");
    Block { meta: read("meta.json"), index: read("index"), segment: read("chunks/000001") }
}

fn tombstones() -> Vec<Vec<u8>> {
    let mut stones = Tombstones::default();
    let empty = stones.to_bytes();
    stones.add(16, Interval { min_ms: -5, max_ms: 5 });
    stones.add(16, Interval { min_ms: 7, max_ms: T0_MS });
    stones.add(1 << 40, Interval { min_ms: i64::MIN, max_ms: i64::MAX });
    vec![empty, stones.to_bytes()]
}

fn wal() -> Vec<Vec<u8>> {
    let id = SegmentId { number: 1, salt: 0x5EED };
    let labels = Labels::from_pairs([("__name__", "m"), ("n", "1")]).expect("names are unique");
    let labels = labels.as_bytes().to_vec();
    let sample = |value: &Value| Sample { t_ms: T0_MS, start_ms: 1, value: value.clone() };
    let kinds = [histograms(), float_histograms(), custom_histograms()].concat();
    let record = BatchRecord {
        epoch: 3,
        request_id: 7,
        tenant: "acme".into(),
        ids: vec![1, 5, 9],
        definitions: vec![(1, 0..labels.len() as u32)],
        labels,
        float_counts: vec![1, 0, 2],
        t_ms: vec![T0_MS, T0_MS + 1, T0_MS + 15_000],
        values: vec![1.0, f64::NAN, 0.5],
        start_ms: vec![0, 1, 1],
        histograms: kinds.iter().map(|v| (1, sample(v))).collect(),
        exemplars: vec![(2, Exemplar { labels: Labels::empty(), t_ms: T0_MS, value: 0.5 })],
        metadata: vec![(
            "m".into(),
            Metadata { metric_type: MetricType::Gauge, unit: "s".into(), help: "Help.".into() },
        )],
    };
    let control = |what, generation| Control {
        what,
        tenant: "acme".into(),
        window_ms: T0_MS,
        length_ms: 7_200_000,
        generation,
    };
    let (mut batch, mut controls) = (Vec::new(), Vec::new());
    record.encode(&mut batch);
    let entries =
        [control(ControlKind::Closed, 0), control(ControlKind::Released, 0), control(ControlKind::Floor, 1)];
    encode_controls(&mut controls, &entries);
    let mut segment = id.salt.to_le_bytes().to_vec();
    let begin = segment.len();
    segment.extend(encode_header(id, Predecessor::default()));
    for (n, (kind, raw)) in
        [(Kind::Batch, &batch), (Kind::Control, &controls), (Kind::Batch, &batch)].into_iter().enumerate()
    {
        let synced = (segment.len() - begin) as u64;
        let place = Place { segment: id.number, salt: id.salt, sequence: n as u32, synced };
        frame::encode(&mut segment, &Packer::new().pack(kind, raw), place);
    }
    vec![segment, batch, controls]
}

/// What a node writes when it founds its cluster and takes a piece of work.
fn raft_journal() -> Vec<u8> {
    let disk = MemDisk::new();
    let runtime = Runtime::simulated(1, T0_MS, Arc::new(TcpNet), Arc::new(disk.clone()));
    let tokio = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    tokio.expect("a runtime without I/O").block_on(async {
        let options = ClusterOptions {
            data_dir: "/data".into(),
            peer_address: "127.0.0.1:10900".into(),
            zone: String::new(),
        };
        let node = RaftCoordinator::start(&runtime, &options).await.expect("a node starts");
        node.assign("compactor").await.expect("work is assigned");
        node.stop().await.expect("a node stops");
    });
    disk.read(Path::new("/data/raft/journal")).expect("a journal")
}

fn commit_records() -> Vec<Vec<u8>> {
    let tenant = TenantId::new("acme").expect("a valid tenant");
    let upload = Job::upload(&tenant, "g0", T0_MS, T0_MS + 7_200_000, 0);
    let file = FileRecord { rel_path: "chunks/000001".into(), size_bytes: 7, sha256: Sha256::of(b"chunk") };
    let block = CommitRecord::of_block(Job::compact(&[BLOCK], 300_000, ""), BLOCK, "{}".into(), vec![file]);
    vec![block.to_json().to_vec(), CommitRecord::empty(upload).to_json().to_vec()]
}
