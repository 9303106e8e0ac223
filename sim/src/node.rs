//! One node, wired as the all-in-one is: control plane, database, receiver, and reads over head and blocks.
//!
//! A node lives until it is stopped or killed; the next life is another `Node` over the same disk. Requests go
//! through the receiver's own routes, so the status contract is what is tested, not a function behind it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use cairn_cluster::{ClusterOptions, RaftCoordinator};
use cairn_model::chunk::{AggrChunk, ChunkData, ColumnValues, Columns};
use cairn_model::storage::{Appendable, Queryable, SeriesRequest, StoreApi, StoreError};
use cairn_model::{TimestampMs, Value};
use cairn_proto::Version;
use cairn_query::{Fanout, PartialResponse};
use cairn_receiver::{Limits, LimitsBook, Receiver, ReceiverConfig};
use cairn_runtime::{Clock, Disk, MemDisk, Runtime, TcpNet};
use cairn_tsdb::chunkenc::ChunkDecoder;
use cairn_tsdb::head::order;
use cairn_tsdb::{Db, DbOptions};
use http::StatusCode;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, RETRY_AFTER};
use http_body_util::BodyExt;
use tower::ServiceExt;

use crate::ledger::Contents;
use crate::life_disk::LifeDisk;
use crate::mutants::{Mutant, Sabotaged};
use crate::traffic::Offer;

/// The node's folder.
pub const DATA_DIR: &str = "/data";
/// Windows: short, so that many close in a run.
pub const BLOCK_DURATION: Duration = Duration::from_secs(600);
/// Small segments, so that the log is rotated and removed.
const SEGMENT_BYTES: u64 = 16 << 10;
/// How long a stop may take before its work is left to die.
const STOP_PATIENCE: Duration = Duration::from_secs(5);

/// What a start needs.
pub struct Machine {
    /// Time, shared by all lives.
    pub clock: Arc<dyn Clock>,
    /// The disk, shared by all lives.
    pub disk: MemDisk,
    /// The planted fault.
    pub mutant: Option<Mutant>,
}

/// A running node.
pub struct Node {
    /// Its seams.
    pub runtime: Runtime,
    /// The control plane.
    pub coordinator: Arc<RaftCoordinator>,
    /// The database.
    pub db: Arc<Db>,
    disk: LifeDisk,
    routes: Router,
    fanout: Fanout,
}

/// An answer to a write.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// Whether the sender was told when to come back.
    pub retry_after: bool,
    /// The text.
    pub text: String,
}

impl Node {
    /// Starts a life with randomness of its own.
    ///
    /// # Errors
    /// In words, when the disk fails.
    pub async fn start(machine: &Machine, seed: u64) -> Result<Self, String> {
        let disk = LifeDisk::new(&machine.disk);
        let mut runtime = Runtime::simulated(seed, 0, Arc::new(TcpNet), Arc::new(disk.clone()));
        runtime.clock = machine.clock.clone();
        let options = ClusterOptions {
            data_dir: DATA_DIR.into(),
            peer_address: "127.0.0.1:10900".into(),
            zone: String::new(),
        };
        let coordinator = match RaftCoordinator::start(&runtime, &options).await {
            Ok(coordinator) => coordinator,
            Err(e) => {
                runtime.tasks.stop(&*runtime.clock, STOP_PATIENCE).await;
                return Err(format!("control plane: {e}"));
            }
        };
        let options = DbOptions {
            block_duration: BLOCK_DURATION,
            close_after: Duration::from_secs(60),
            late_every: Duration::from_secs(120),
            wal_segment_bytes: SEGMENT_BYTES,
            // A snapshot every few thousand samples: most starts load one, some replay everything.
            replay_budget: Duration::from_micros(200),
            partitions: 2,
            ..DbOptions::new(format!("{DATA_DIR}/tsdb"))
        };
        let db = match Db::open(options, runtime.clone()).await {
            Ok(db) => db,
            Err(e) => {
                stop_control_plane(&runtime, &coordinator).await;
                return Err(format!("database: {e}"));
            }
        };
        let store: Arc<dyn Appendable> = match machine.mutant {
            Some(mutant) => Arc::new(Sabotaged::new(db.clone(), mutant, runtime.rng.fork())),
            None => db.clone(),
        };
        let limits = Arc::new(LimitsBook::new(Limits::default()));
        let receiver = Receiver::new(ReceiverConfig::default(), &runtime, store, limits)
            .map_err(|e| format!("receiver: {e}"))?;
        let stores: Vec<Arc<dyn StoreApi>> = vec![db.head_store(), Arc::new(db.blocks())];
        let fanout = Fanout::new(stores, PartialResponse::Abort, 0);
        Ok(Node { runtime, coordinator, db, disk, routes: receiver.routes(), fanout })
    }

    /// Sends a request and reads the answer.
    pub async fn write(&self, offer: &Offer) -> Answer {
        let content_type = match offer.version {
            Version::V1 => "application/x-protobuf",
            Version::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        };
        let request = http::Request::post("/api/v1/write")
            .header(CONTENT_TYPE, content_type)
            .header(CONTENT_ENCODING, "snappy")
            .header("THANOS-TENANT", offer.tenant.as_str())
            .body(Body::from(offer.body()))
            .expect("a valid request");
        let response = match self.routes.clone().oneshot(request).await {
            Ok(response) => response,
            Err(never) => match never {},
        };
        let (status, retry_after) = (response.status(), response.headers().contains_key(RETRY_AFTER));
        let body = response.into_body().collect().await.map(|b| b.to_bytes()).unwrap_or_default();
        Answer { status, retry_after, text: String::from_utf8_lossy(&body).into_owned() }
    }

    /// Everything that a reader sees.
    ///
    /// # Errors
    /// When a store cannot answer; what is missing is never left out silently.
    pub async fn read_all(&self) -> Result<Contents, StoreError> {
        let request = SeriesRequest::new(TimestampMs::MIN, TimestampMs::MAX, Vec::new());
        let selected = self.fanout.select(request).await?;
        if let Some(warning) = selected.warnings.into_iter().next() {
            return Err(StoreError::Unavailable { store: "a part".into(), reason: warning });
        }
        let mut contents = Contents::new();
        for series in selected.series {
            let samples = contents.entry(series.labels.to_string()).or_default();
            for chunk in &series.chunks {
                let AggrChunk::Raw(chunk) = chunk else { continue };
                add_chunk(samples, &chunk.data)?;
            }
        }
        Ok(contents)
    }

    /// Ends in good order: work finishes, the log is synced.
    pub async fn stop(&self) {
        self.db.shutdown();
        stop_control_plane(&self.runtime, &self.coordinator).await;
        self.disk.end();
    }

    /// Ends at once: nothing of this life reaches the disk any more.
    pub fn kill(&self) {
        self.disk.end();
    }

    /// Lets what is left of a killed life run out.
    pub async fn bury(&self) {
        stop_control_plane(&self.runtime, &self.coordinator).await;
    }
}

async fn stop_control_plane(runtime: &Runtime, coordinator: &RaftCoordinator) {
    runtime.tasks.stop(&*runtime.clock, STOP_PATIENCE).await;
    tokio::select! {
        _ = coordinator.stop() => {}
        () = runtime.clock.sleep(STOP_PATIENCE) => {}
    }
}

fn add_chunk(samples: &mut BTreeMap<TimestampMs, Value>, data: &ChunkData) -> Result<(), StoreError> {
    let mut add = |t_ms: TimestampMs, value: Value| {
        if samples.get(&t_ms).is_none_or(|there| order::compare(&value, there).is_gt()) {
            samples.insert(t_ms, value);
        }
    };
    match data {
        ChunkData::Encoded(encoding, bytes) => {
            for sample in ChunkDecoder::new(*encoding, bytes) {
                let unsound = |e| StoreError::Read { object: "chunk".into(), reason: format!("{e:?}") };
                let sample = sample.map_err(unsound)?;
                add(sample.t_ms, sample.value);
            }
        }
        ChunkData::Columns(columns) => {
            let Columns { t_ms, values, .. } = &**columns;
            t_ms.iter().enumerate().for_each(|(i, t)| match values {
                ColumnValues::Floats(v) => add(*t, Value::Float(v[i])),
                ColumnValues::Mixed(v) => add(*t, v[i].clone()),
            });
        }
    }
    Ok(())
}

/// A digest of every file on the disk: names, lengths and bytes.
pub fn disk_digest(disk: &dyn Disk) -> u64 {
    let mut hash = xxhash_rust::xxh3::Xxh3::new();
    let mut folders = vec![std::path::PathBuf::from(DATA_DIR)];
    while let Some(folder) = folders.pop() {
        for entry in disk.list(&folder).unwrap_or_default() {
            let path = folder.join(&entry.name);
            hash.update(path.to_string_lossy().as_bytes());
            if entry.is_dir {
                folders.push(path);
            } else {
                hash.update(&disk.read(&path).unwrap_or_default());
            }
        }
    }
    hash.digest()
}
