//! Stand-ins for tests: a store in memory that is written and queried like the real ones, a control plane that can give a
//! group to somebody else, an Alertmanager that remembers. The engine, the templates and the clock are the product's.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use cairn_cluster::placement::{Owner, Placement};
use cairn_cluster::{ClusterError, Coordinator, Token};
use cairn_model::batch::Appended;
use cairn_model::chunk::{ColumnValues, Columns};
use cairn_model::sample::Value;
use cairn_model::storage::{
    AppendError, Appendable, LabelsRequest, Names, Queryable, SelectedSeries, Series, SeriesRequest,
    StoreError,
};
use cairn_model::{AggrChunk, Chunk, ChunkData, Labels, TimestampMs, WriteBatch};
use cairn_notify::{AlertmanagerUrl, Notifier, NotifierOptions, Transport, TransportError};
use cairn_promql::engine::ColumnsOnly;
use cairn_promql::{Engine, engine::EngineOptions};
use cairn_runtime::{Disk, MemDisk, Runtime, TcpNet};
use parking_lot::Mutex;

use crate::context::{RulerOptions, RulerParts};
use crate::engine::EngineEvaluator;
use crate::ruler::Ruler;

type Samples = BTreeMap<TimestampMs, Value>;

/// A store and write path.
#[derive(Default)]
pub struct Memory {
    pub series: Mutex<BTreeMap<Labels, Samples>>,
    pub refuses_writes: AtomicBool,
    pub refuses_reads: AtomicBool,
    /// Milliseconds that each query takes.
    pub read_ms: AtomicU64,
    runtime: Mutex<Option<Runtime>>,
}

impl Memory {
    /// Puts one sample in, as a sender would.
    pub fn put(&self, labels: &[(&str, &str)], t_ms: TimestampMs, v: f64) {
        let labels = Labels::from_pairs(labels.iter().copied()).unwrap();
        self.series.lock().entry(labels).or_default().insert(t_ms, Value::Float(v));
    }

    /// `up{job}` each 15 s in a range.
    pub fn put_up(&self, job: &str, from_ms: TimestampMs, to_ms: TimestampMs, v: f64) {
        for t in (from_ms..to_ms).step_by(15_000) {
            self.put(&[("__name__", "up"), ("job", job)], t, v);
        }
    }

    /// Times and values of a series; a stale marker is NaN.
    pub fn floats(&self, series: &str) -> Vec<(TimestampMs, f64)> {
        let all = self.series.lock();
        let found = all.iter().find(|(labels, _)| labels.to_string() == series);
        let float = |(t, v): (&TimestampMs, &Value)| match v {
            Value::Float(v) => (*t, *v),
            _ => panic!("a histogram"),
        };
        found.map(|(_, samples)| samples.iter().map(float).collect()).unwrap_or_default()
    }

    /// Names of all series written under a metric name.
    pub fn names(&self, metric: &str) -> Vec<String> {
        self.series.lock().keys().filter(|l| l.metric_name() == metric).map(ToString::to_string).collect()
    }
}

#[async_trait]
impl Appendable for Memory {
    async fn append(&self, batch: WriteBatch) -> Result<Appended, AppendError> {
        if self.refuses_writes.load(Ordering::Relaxed) {
            return Err(AppendError::Unavailable { reason: "the test says so".to_owned(), retry_after_s: 1 });
        }
        let mut all = self.series.lock();
        for series in &batch.series {
            let labels = batch.labels_of(series).expect("rules write labels").to_labels();
            let samples = all.entry(labels).or_default();
            for i in series.floats.start as usize..series.floats.end as usize {
                samples.insert(batch.floats.t_ms[i], Value::Float(batch.floats.value[i]));
            }
            for i in series.histograms.start as usize..series.histograms.end as usize {
                samples.insert(batch.histograms[i].t_ms, batch.histograms[i].value.clone());
            }
        }
        Ok(Appended { floats: batch.floats.t_ms.len() as u64, ..Appended::default() })
    }
}

#[async_trait]
impl Queryable for Memory {
    async fn select(&self, request: SeriesRequest) -> Result<SelectedSeries, StoreError> {
        let runtime = self.runtime.lock().clone();
        if let Some(runtime) = runtime {
            runtime.clock.sleep(Duration::from_millis(self.read_ms.load(Ordering::Relaxed))).await;
        }
        if self.refuses_reads.load(Ordering::Relaxed) {
            return Err(StoreError::Unavailable {
                store: "memory".to_owned(),
                reason: "the test says so".to_owned(),
            });
        }
        let all = self.series.lock();
        let matching =
            all.iter().filter(|(l, _)| request.matchers.iter().all(|m| m.matches_labels(l.as_ref())));
        let series = matching.filter_map(|(labels, samples)| {
            let (t_ms, values): (Vec<i64>, Vec<Value>) =
                samples.range(request.min_ms..=request.max_ms).map(|(t, v)| (*t, v.clone())).unzip();
            let chunk = Chunk {
                min_ms: *t_ms.first()?,
                max_ms: *t_ms.last()?,
                data: ChunkData::Columns(Arc::new(Columns {
                    t_ms,
                    values: ColumnValues::Mixed(values),
                    start_ms: Vec::new(),
                })),
            };
            Some(Series { labels: labels.clone(), chunks: vec![AggrChunk::Raw(chunk)] })
        });
        Ok(SelectedSeries { series: series.collect(), warnings: Vec::new() })
    }

    async fn label_names(&self, _request: LabelsRequest) -> Result<Names, StoreError> {
        Err(StoreError::Unsupported("not needed here".to_owned()))
    }

    async fn label_values(&self, _name: &str, _request: LabelsRequest) -> Result<Names, StoreError> {
        Err(StoreError::Unsupported("not needed here".to_owned()))
    }
}

/// Gives each assignment the next token; only the newest counts.
#[derive(Default)]
pub struct Assigner {
    held: Mutex<BTreeMap<String, Token>>,
    next: AtomicU64,
}

impl Assigner {
    /// Another node takes everything.
    pub fn take_all(&self) {
        for token in self.held.lock().values_mut() {
            token.index += 1_000;
        }
    }
}

#[async_trait]
impl Coordinator for Assigner {
    fn this_node(&self) -> Owner {
        Owner { node: 1, incarnation: 1 }
    }

    fn placement(&self) -> Arc<Placement> {
        Arc::new(Placement::none())
    }

    async fn assign(&self, name: &str) -> Result<Token, ClusterError> {
        let token = Token { reign: 0, index: self.next.fetch_add(1, Ordering::Relaxed) };
        self.held.lock().insert(name.to_owned(), token);
        Ok(token)
    }

    async fn release(&self, name: &str, token: Token) -> Result<(), ClusterError> {
        self.held.lock().retain(|held, t| held != name || *t != token);
        Ok(())
    }

    fn check(&self, name: &str, token: Token) -> Result<(), ClusterError> {
        match self.held.lock().get(name) {
            Some(current) if *current == token => Ok(()),
            _ => Err(ClusterError::Fenced { name: name.to_owned(), token }),
        }
    }
}

/// Remembers what was posted.
#[derive(Default)]
pub struct Inbox(pub Mutex<Vec<serde_json::Value>>);

#[async_trait]
impl Transport for Inbox {
    async fn post(&self, _to: &AlertmanagerUrl, body: Vec<u8>) -> Result<(), TransportError> {
        let alerts: Vec<serde_json::Value> = serde_json::from_slice(&body).unwrap();
        self.0.lock().extend(alerts);
        Ok(())
    }
}

/// A whole ruler in one place.
pub struct World {
    pub runtime: Runtime,
    pub memory: Arc<Memory>,
    pub assigner: Arc<Assigner>,
    pub inbox: Arc<Inbox>,
    pub ruler: Ruler,
}

pub const RULES: &str = "/etc/rules.yml";
/// A slot of every whole-minute grid is somewhere after this.
pub const START_MS: i64 = 1_700_000_000_000;

impl World {
    pub fn new(rules: &str) -> World {
        World::over(Arc::new(MemDisk::default()), Arc::new(Memory::default()), START_MS, rules)
    }

    /// A new process on what an older one left.
    pub fn over(disk: Arc<dyn Disk>, memory: Arc<Memory>, now_ms: i64, rules: &str) -> World {
        let runtime = Runtime::simulated(7, now_ms, Arc::new(TcpNet), disk);
        write_rules(&runtime, rules);
        *memory.runtime.lock() = Some(runtime.clone());
        let options = EngineOptions::new(Arc::new(ColumnsOnly), runtime.cpu.clone(), runtime.clock.clone());
        let inbox = Arc::new(Inbox::default());
        let notifier = Notifier::new(
            NotifierOptions {
                alertmanagers: vec![AlertmanagerUrl::parse("http://am:9093").unwrap()],
                outbox_dir: None,
            },
            inbox.clone(),
            &runtime,
        );
        notifier.start(&runtime);
        let assigner = Arc::new(Assigner::default());
        let parts = RulerParts {
            evaluator: Arc::new(EngineEvaluator::new(Engine::new(options), memory.clone())),
            writer: memory.clone(),
            notifier: Arc::new(notifier),
            coordinator: assigner.clone(),
        };
        let options = RulerOptions {
            rule_files: vec![RULES.to_owned()],
            external_labels: Labels::from_pairs([("cluster", "eu1")]).unwrap(),
            external_url: "http://cairn".to_owned(),
            progress_file: Some("/data/ruler/progress.json".into()),
            ..RulerOptions::default()
        };
        let ruler = Ruler::new(parts, options, &runtime);
        World { runtime, memory, assigner, inbox, ruler }
    }

    pub async fn sleep_min(&self, minutes: u64) {
        self.runtime.clock.sleep(Duration::from_secs(60 * minutes)).await;
    }

    pub fn now_ms(&self) -> i64 {
        self.runtime.clock.now_ms()
    }

    pub async fn rewrite_rules(&self, rules: &str) -> Result<(), crate::error::LoadError> {
        write_rules(&self.runtime, rules);
        self.ruler.reload().await
    }

    pub async fn stop(&self) {
        assert!(
            self.runtime.tasks.stop(&*self.runtime.clock, Duration::from_secs(600)).await,
            "all work ends"
        );
    }

    /// The value of a metric line.
    pub fn metric(&self, line: &str) -> f64 {
        let text = self.runtime.metrics.render();
        let found = text.lines().find_map(|l| l.strip_prefix(line)?.trim().parse().ok());
        found.unwrap_or_else(|| panic!("no {line} in {text}"))
    }
}

fn write_rules(runtime: &Runtime, rules: &str) {
    runtime.disk.create_dir_all(Path::new("/etc")).unwrap();
    runtime.disk.write_atomic(Path::new(RULES), rules.as_bytes()).unwrap();
}
