//! The seams between those who keep data and those who read or write it.
//!
//! - [`Appendable`] takes a [`WriteBatch`] and answers when it is durable. The head implements it for one node,
//!   the receiver's router for the ring; the ruler and self-monitoring write through the router's.
//! - [`StoreApi`] answers series from one store: head, local blocks, bucket, later a remote node. Answers are
//!   sorted, so that many can be merged.
//! - [`Queryable`] is what an evaluation sees: all stores merged and deduplicated.
//!
//! Time ranges here are closed, `min_ms ..= max_ms`, as in Prometheus' Querier and Thanos' StoreAPI.

use std::sync::Arc;

use async_trait::async_trait;
use futures::stream::BoxStream;

use crate::batch::{Appended, WriteBatch};
use crate::chunk::{AggrChunk, ChunkData};
use crate::exemplar::Exemplar;
use crate::labels::Labels;
use crate::matcher::Matcher;
use crate::metadata::Metadata;
use crate::read_bounds::ReadBounds;
use crate::sample::TimestampMs;
use crate::tenant::TenantScope;

/// Takes samples.
#[async_trait]
pub trait Appendable: Send + Sync {
    /// Makes `batch` durable and readable. Verdicts are per series and sample: an `Ok` may hold rejections.
    /// When this returns, every sample that is not rejected survives a crash; when it fails, some may have
    /// been stored, and repeating the batch is free. Concurrent calls may share one fsync.
    async fn append(&self, batch: WriteBatch) -> Result<Appended, AppendError>;
}

/// Why a batch could not be made durable.
#[derive(Debug, Clone, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum AppendError {
    /// The sender should repeat the request after `retry_after_s`.
    #[error("cannot store samples now: {reason}")]
    Unavailable { reason: String, retry_after_s: u32 },
    /// Free space, or raise the local budget.
    #[error("cannot store samples: disk full: {0}")]
    DiskFull(String),
    /// The process is stopping.
    #[error("cannot store samples: shutting down")]
    ShuttingDown,
}

/// What to read.
#[derive(Debug, Clone)]
pub struct SeriesRequest {
    /// Tenants the caller may see.
    pub tenants: TenantScope,
    /// First sample time wanted.
    pub min_ms: TimestampMs,
    /// Last sample time wanted.
    pub max_ms: TimestampMs,
    /// All must hold. External labels are matched like any other.
    pub matchers: Vec<Matcher>,
    /// Answer labels only.
    pub skip_chunks: bool,
    /// At most this many series, 0 = no limit.
    pub limit: usize,
    /// Coarsest resolution that the answer may have, 0 = raw.
    pub max_resolution_ms: i64,
    /// Labels that the reader looks at.
    pub labels: WantedLabels,
    /// What the samples are for.
    pub hints: SelectHints,
    /// What may be read.
    pub bounds: ReadBounds,
}

/// Which labels of a series its reader looks at.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub enum WantedLabels {
    /// All of them.
    #[default]
    All,
    /// Those with these names, sorted: others tell series apart, and order them, but need not be answered. So an
    /// answer may hold equal labels again and again, each time another series. Only for a store that
    /// [`StoreApi::answers_few_labels`], and only when no other store is asked: what two stores know of one series
    /// is joined by all its labels. Without names the order does not matter either.
    Only(Vec<String>),
}

impl WantedLabels {
    /// What two readers of one answer look at.
    pub fn and(self, other: &WantedLabels) -> WantedLabels {
        match (self, other) {
            (WantedLabels::Only(mut names), WantedLabels::Only(more)) => {
                names.extend_from_slice(more);
                names.sort_unstable();
                names.dedup();
                WantedLabels::Only(names)
            }
            _ => WantedLabels::All,
        }
    }

    /// Whether a label is looked at.
    pub fn has(&self, name: &str) -> bool {
        match self {
            WantedLabels::All => true,
            WantedLabels::Only(names) => names.binary_search_by(|n| n.as_str().cmp(name)).is_ok(),
        }
    }

    /// Whether no label is looked at.
    pub fn is_none(&self) -> bool {
        matches!(self, WantedLabels::Only(names) if names.is_empty())
    }
}

impl SeriesRequest {
    /// Raw samples of all tenants.
    pub fn new(min_ms: TimestampMs, max_ms: TimestampMs, matchers: Vec<Matcher>) -> Self {
        SeriesRequest {
            tenants: TenantScope::All,
            min_ms,
            max_ms,
            matchers,
            skip_chunks: false,
            limit: 0,
            max_resolution_ms: 0,
            labels: WantedLabels::All,
            hints: SelectHints::default(),
            bounds: ReadBounds::default(),
        }
    }
}

/// What an evaluation is going to do with the samples; a store may ignore all of it.
#[derive(Debug, Clone, Default)]
pub struct SelectHints {
    /// Step of a range query, 0 for instant.
    pub step_ms: i64,
    /// Range of the surrounding range function, 0 for none.
    pub range_ms: i64,
    /// Name of the function or aggregation right around the selector, or empty.
    pub func: String,
    /// Labels of the aggregation around the selector.
    pub grouping: Vec<String>,
    /// Whether `grouping` is `by` (else `without`).
    pub by: bool,
    /// Of every series only the last sample of the range is looked at.
    pub newest_only: bool,
}

/// One series of an answer. Chunks are in order of `min_ms`; they may overlap, and may reach past the range
/// that was asked for.
#[derive(Debug, Clone)]
pub struct Series {
    /// Labels, external ones included.
    pub labels: Labels,
    /// Its data.
    pub chunks: Vec<AggrChunk>,
}

impl Series {
    /// What it occupies: its labels, and encoded bytes, or 16 for each sample in columns.
    pub fn bytes(&self) -> usize {
        let data = |d: &ChunkData| match d {
            ChunkData::Encoded(_, bytes) => bytes.len(),
            ChunkData::Columns(c) => c.t_ms.len() * 16,
        };
        let chunk = |c: &AggrChunk| match c {
            AggrChunk::Raw(c) => data(&c.data),
            AggrChunk::Downsampled(a) => [&a.count, &a.sum, &a.min, &a.max, &a.counter]
                .into_iter()
                .flatten()
                .map(|c| data(&c.data))
                .sum(),
        };
        self.labels.as_bytes().len() + self.chunks.iter().map(chunk).sum::<usize>()
    }
}

/// A stream of batches of series, in increasing order of labels; the same labels may come in several
/// consecutive entries.
pub type SeriesStream = BoxStream<'static, Result<Vec<Series>, StoreError>>;

/// Names or values, with what went wrong on the way.
#[derive(Debug, Clone, Default)]
pub struct Names {
    /// Sorted, unique.
    pub values: Vec<String>,
    /// Warnings for the user.
    pub warnings: Vec<String>,
}

/// What a store can say of itself.
#[derive(Debug, Clone)]
pub struct StoreInfo {
    /// For messages and status pages, for instance `head` or `bucket`.
    pub name: String,
    /// First time that may be answered.
    pub min_ms: TimestampMs,
    /// Last time that may be answered.
    pub max_ms: TimestampMs,
    /// External label sets of its data.
    pub label_sets: Vec<Labels>,
}

/// Why a store cannot answer.
#[derive(Debug, Clone, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum StoreError {
    #[error("cannot read {object}: {reason}")]
    Read { object: String, reason: String },
    #[error("{store} is unavailable: {reason}")]
    Unavailable { store: String, reason: String },
    /// A budget of the query is used up.
    #[error(
        "at least {needed} {what} are needed, the limit is {limit}: narrow the query's matchers or time range"
    )]
    LimitExceeded { what: String, needed: u64, limit: u64 },
    /// Requests at a time hold too much memory together.
    #[error("queries at a time hold {held} bytes, the limit is {limit}: try again, or raise --memory.limit")]
    Busy { held: u64, limit: u64 },
    #[error("query was canceled")]
    Canceled,
    #[error("not supported: {0}")]
    Unsupported(String),
}

/// Labels to read, with the range and matchers that narrow them.
#[derive(Debug, Clone)]
pub struct LabelsRequest {
    /// Tenants the caller may see.
    pub tenants: TenantScope,
    /// First time of interest; a store may answer for whole blocks.
    pub min_ms: TimestampMs,
    /// Last time of interest.
    pub max_ms: TimestampMs,
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// At most this many, 0 = no limit.
    pub limit: usize,
    /// What may be read; series do not count, as none are answered.
    pub bounds: ReadBounds,
}

impl LabelsRequest {
    /// Of all tenants.
    pub fn new(min_ms: TimestampMs, max_ms: TimestampMs, matchers: Vec<Matcher>) -> Self {
        LabelsRequest {
            tenants: TenantScope::All,
            min_ms,
            max_ms,
            matchers,
            limit: 0,
            bounds: ReadBounds::default(),
        }
    }
}

/// How a warning begins that tells of a [gap](StoreApi::gaps): what is missing may well be answered by another store,
/// so it is no reason to refuse an answer.
pub const MAY_BE_PARTIAL: &str = "answer may be partial: ";

/// A store of series.
#[async_trait]
pub trait StoreApi: Send + Sync {
    /// What it holds now. Cheap.
    fn info(&self) -> StoreInfo;

    /// What it should hold and cannot answer now, in words for the user. Asked after the answer was read.
    fn gaps(&self) -> Vec<String> {
        Vec::new()
    }

    /// Whether it can follow [`WantedLabels::Only`]. Then it answers each series in one entry.
    fn answers_few_labels(&self) -> bool {
        false
    }

    /// Series that match, see [`SeriesStream`]. A snapshot: samples appended after the call may be missing, and
    /// no sample acknowledged before it is.
    async fn series(&self, request: SeriesRequest) -> Result<SeriesStream, StoreError>;

    /// Names of labels of matching series.
    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError>;

    /// Values of label `name` among matching series.
    async fn label_values(&self, name: &str, request: LabelsRequest) -> Result<Names, StoreError>;

    /// Exemplars of series that match any of the matcher lists. Stores without exemplars answer none.
    async fn exemplars(
        &self,
        _tenants: &TenantScope,
        _matchers: &[Vec<Matcher>],
        _min_ms: TimestampMs,
        _max_ms: TimestampMs,
    ) -> Result<Vec<(Labels, Vec<Exemplar>)>, StoreError> {
        Ok(Vec::new())
    }

    /// Metadata by metric family; `metric` narrows to one family. Stores without metadata answer none.
    async fn metadata(
        &self,
        _tenants: &TenantScope,
        _metric: Option<&str>,
    ) -> Result<Vec<(String, Metadata)>, StoreError> {
        Ok(Vec::new())
    }
}

/// The merged answer that an evaluation reads.
#[derive(Debug, Clone, Default)]
pub struct SelectedSeries {
    /// One entry a series, with strictly increasing labels unless [`WantedLabels::Only`] some were wanted.
    pub series: Vec<Series>,
    /// What is missing or doubtful.
    pub warnings: Vec<String>,
}

/// All stores as one.
#[async_trait]
pub trait Queryable: Send + Sync {
    /// Everything that matches, merged.
    async fn select(&self, request: SeriesRequest) -> Result<SelectedSeries, StoreError>;

    /// Names of labels of matching series.
    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError>;

    /// Values of label `name` among matching series.
    async fn label_values(&self, name: &str, request: LabelsRequest) -> Result<Names, StoreError>;
}

#[async_trait]
impl<T: Appendable + ?Sized> Appendable for Arc<T> {
    async fn append(&self, batch: WriteBatch) -> Result<Appended, AppendError> {
        (**self).append(batch).await
    }
}
