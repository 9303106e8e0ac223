//! A receiver over a store in memory, and requests to send to it.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use async_trait::async_trait;
use axum::Router;
use axum::body::Body;
use cairn_model::batch::{Appended, RejectReason, Rejection};
use cairn_model::metadata::Metadata;
use cairn_model::storage::{AppendError, Appendable};
use cairn_model::{Labels, LabelsRef, Value, WriteBatch};
use cairn_proto::encode::{TimeSeries, WriteRequest, encode_v1, encode_v2, snappy_block};
use cairn_receiver::{Limits, LimitsBook, Receiver, ReceiverConfig};
use cairn_runtime::{ManualClock, MemDisk, Runtime, TcpNet};
use http::{HeaderMap, Request};
use http_body_util::BodyExt;
use parking_lot::Mutex;
use tower::ServiceExt;

/// What the clock of every harness says.
pub const NOW_MS: i64 = 1_700_000_000_000;

pub const V1: &str = "application/x-protobuf";
pub const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

/// A sample as stored: time, start and value.
pub type Stored = BTreeMap<i64, (i64, Value)>;

/// Keeps everything by tenant and labels, gives references, and misbehaves on demand.
#[derive(Default)]
pub struct MemStore {
    state: Mutex<State>,
    /// Batches taken.
    pub batches: AtomicU64,
    /// Series that came without labels.
    pub by_reference: AtomicU64,
    /// What the next appends answer instead.
    pub failures: Mutex<Vec<AppendError>>,
    /// Panics at a series of this metric name.
    pub panic_at: Mutex<Option<String>>,
    /// Refuses new series above so many.
    pub series_limit: Mutex<Option<usize>>,
    /// Never answers while it is held.
    pub stuck: Mutex<bool>,
}

#[derive(Default)]
struct State {
    refs: HashMap<u64, (String, Labels)>,
    ids: HashMap<(String, Labels), u64>,
    data: BTreeMap<(String, String), Stored>,
    exemplars: Vec<(String, cairn_model::exemplar::Exemplar)>,
    metadata: BTreeMap<String, Metadata>,
    next_ref: u64,
}

impl MemStore {
    /// Forgets all references, as a head does when it drops series, but no data.
    pub fn forget_references(&self) {
        let mut s = self.state.lock();
        s.refs.clear();
        s.ids.clear();
    }

    /// Samples by series, as `tenant/labels`.
    pub fn samples(&self) -> BTreeMap<String, Stored> {
        self.state.lock().data.iter().map(|((t, l), s)| (format!("{t}/{l}"), s.clone())).collect()
    }

    pub fn series_names(&self) -> Vec<String> {
        self.samples().into_keys().collect()
    }

    pub fn exemplars(&self) -> Vec<(String, cairn_model::exemplar::Exemplar)> {
        self.state.lock().exemplars.clone()
    }

    pub fn metadata(&self) -> BTreeMap<String, Metadata> {
        self.state.lock().metadata.clone()
    }

    fn take(&self, batch: WriteBatch) -> Appended {
        let mut s = self.state.lock();
        let mut answer = Appended { refs: vec![0; batch.series.len()], ..Appended::default() };
        let tenant = batch.tenant.as_str().to_owned();
        for (i, series) in batch.series.iter().enumerate() {
            let labels = match batch.labels_of(series) {
                Some(labels) => {
                    assert!(LabelsRef::parse_canonical(labels.as_bytes()).is_some());
                    labels.to_labels()
                }
                None => {
                    self.by_reference.fetch_add(1, Ordering::Relaxed);
                    match s.refs.get(&series.known_ref) {
                        Some((t, l)) if *t == tenant && l.hash_with_prefix(t) == series.hash => l.clone(),
                        _ => {
                            answer.unknown.push(i as u32);
                            continue;
                        }
                    }
                }
            };
            assert_eq!(labels.hash_with_prefix(&tenant), series.hash);
            assert!(self.panic_at.lock().as_deref() != Some(labels.metric_name()), "expected by the test");
            let text = labels.to_string();
            let refuse = |reason, t_ms, samples| Rejection {
                series: Some(i as u32),
                labels: text.as_str().into(),
                t_ms,
                samples,
                reason,
            };
            let key = (tenant.clone(), labels.clone());
            let id = match s.ids.get(&key) {
                Some(id) => *id,
                None => {
                    if let Some(limit) = self.series_limit.lock().filter(|l| s.ids.len() >= *l) {
                        let reason = RejectReason::SeriesLimit { limit: limit as u64 };
                        answer.rejections.push(refuse(reason, None, series.floats.len() as u32));
                        continue;
                    }
                    s.next_ref += 1;
                    let id = s.next_ref;
                    s.refs.insert(id, key.clone());
                    s.ids.insert(key, id);
                    id
                }
            };
            answer.refs[i] = id;
            let floats = series.floats.clone().map(|f| {
                let f = f as usize;
                let start = batch.floats.start_ms.get(f).copied().unwrap_or(0);
                (batch.floats.t_ms[f], start, Value::Float(batch.floats.value[f]))
            });
            let histograms = series.histograms.clone().map(|h| {
                let h = &batch.histograms[h as usize];
                (h.t_ms, h.start_ms, h.value.clone())
            });
            let stored = s.data.entry((tenant.clone(), text.clone())).or_default();
            for (t, start, value) in floats.chain(histograms) {
                match stored.get(&t) {
                    Some((_, old)) if *old != value => {
                        answer.rejections.push(refuse(RejectReason::Conflict, Some(t), 1));
                        continue;
                    }
                    _ => drop(stored.insert(t, (start, value.clone()))),
                }
                if value.is_histogram() {
                    answer.histograms += 1;
                } else {
                    answer.floats += 1;
                }
            }
            for e in &batch.exemplars[series.exemplars.start as usize..series.exemplars.end as usize] {
                s.exemplars.push((text.clone(), e.clone()));
                answer.exemplars += 1;
            }
        }
        s.metadata.extend(batch.metadata.iter().cloned());
        answer.spare = Some(Box::new(batch));
        answer
    }
}

#[async_trait]
impl Appendable for MemStore {
    async fn append(&self, batch: WriteBatch) -> Result<Appended, AppendError> {
        if *self.stuck.lock() {
            std::future::pending::<()>().await;
        }
        if let Some(failure) = self.failures.lock().pop() {
            return Err(failure);
        }
        self.batches.fetch_add(1, Ordering::Relaxed);
        Ok(self.take(batch))
    }
}

/// An answer in full.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    pub text: String,
}

impl Answer {
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|v| v.to_str().unwrap())
    }

    /// The three Written headers, if all are there.
    pub fn written(&self) -> Option<[u64; 3]> {
        let n = |kind: &str| self.header(&format!("x-prometheus-remote-write-{kind}-written"))?.parse().ok();
        Some([n("samples")?, n("histograms")?, n("exemplars")?])
    }
}

pub struct Harness {
    pub store: Arc<MemStore>,
    pub receiver: Arc<Receiver>,
    pub router: Router,
    pub limits: Arc<LimitsBook>,
    pub clock: ManualClock,
    pub disk: Arc<MemDisk>,
    pub runtime: Runtime,
}

impl Harness {
    pub fn new() -> Self {
        Self::with(ReceiverConfig::default())
    }

    pub fn with(config: ReceiverConfig) -> Self {
        let (clock, disk) = (ManualClock::starting_at(NOW_MS), Arc::new(MemDisk::new()));
        let mut runtime = Runtime::simulated(1, NOW_MS, Arc::new(TcpNet), disk.clone());
        runtime.clock = Arc::new(clock.clone());
        let store = Arc::new(MemStore::default());
        let limits = Arc::new(LimitsBook::new(Limits::default()));
        let receiver = Receiver::new(config, &runtime, store.clone(), limits.clone()).unwrap();
        let router = receiver.routes();
        Harness { store, receiver, router, limits, clock, disk, runtime }
    }

    pub async fn ask(&self, request: Request<Body>) -> Answer {
        let response = self.router.clone().oneshot(request).await.unwrap();
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let body = response.into_body().collect().await.unwrap().to_bytes();
        Answer { status, headers, text: String::from_utf8(body.to_vec()).unwrap() }
    }

    /// Sends a body as it is.
    pub async fn post(&self, path: &str, content_type: &str, body: Vec<u8>) -> Answer {
        self.ask(post(path, content_type).body(Body::from(body)).unwrap()).await
    }

    /// Sends series as 1.0 to `/api/v1/write`.
    pub async fn v1(&self, series: Vec<TimeSeries>) -> Answer {
        self.post("/api/v1/write", V1, body_v1(series)).await
    }

    /// Sends series as 2.0 to `/api/v1/write`.
    pub async fn v2(&self, series: Vec<TimeSeries>) -> Answer {
        self.post("/api/v1/write", V2, body_v2(series)).await
    }

    pub fn metric(&self, line_start: &str) -> f64 {
        let text = self.runtime.metrics.render();
        let line = text.lines().find(|l| l.starts_with(line_start) && l[line_start.len()..].starts_with(' '));
        line.map_or(0.0, |l| l.rsplit(' ').next().unwrap().parse().unwrap())
    }
}

pub fn post(path: &str, content_type: &str) -> http::request::Builder {
    Request::post(path).header("content-type", content_type).header("content-encoding", "snappy")
}

pub fn body_v1(series: Vec<TimeSeries>) -> Vec<u8> {
    snappy_block(&encode_v1(&WriteRequest { series, ..WriteRequest::default() }))
}

pub fn body_v2(series: Vec<TimeSeries>) -> Vec<u8> {
    snappy_block(&encode_v2(&WriteRequest { series, ..WriteRequest::default() }))
}

/// A valid series with one sample at `NOW_MS`.
pub fn series(name: &str) -> TimeSeries {
    TimeSeries::floats(&[("__name__", name), ("job", "test")], &[(NOW_MS, 1.0)])
}
