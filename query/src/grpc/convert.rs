//! Between Thanos' wire types and the model's.

use cairn_model::TimestampMs;
use cairn_model::chunk::{AggrChunk, Aggregates, Chunk, Encoding};
use cairn_model::labels::LabelsRef;
use cairn_model::matcher::{MatchOp, Matcher};
use cairn_model::storage::{SelectHints, StoreError};
use cairn_model::tenant::{TenantId, TenantScope};
use cairn_proto::thanos as wire;
use prost_types::Timestamp;
use tonic::Status;
use tonic::metadata::MetadataMap;

use super::{ToWire, WireChunk};
use crate::fanout::PartialResponse;
use crate::shard::Shard;

/// 0001-01-01T00:00:00Z.
const YEAR_ONE_MS: TimestampMs = -62_135_596_800_000;

/// Metadata key of the tenant; gRPC writes keys in lower case.
const TENANT_KEY: &str = "thanos-tenant";

/// Labels as a wire set.
pub fn label_set(labels: LabelsRef<'_>) -> wire::LabelSet {
    wire::LabelSet { labels: wire_labels(labels) }
}

/// Labels as a wire list.
pub fn wire_labels(labels: LabelsRef<'_>) -> Vec<wire::Label> {
    labels.iter().map(|(n, v)| wire::Label { name: n.to_owned(), value: v.to_owned() }).collect()
}

/// Tenants that the caller may read: all without metadata. Thanos sends its default tenant where none was asked for, so
/// that name means all as well.
pub fn scope(metadata: &MetadataMap) -> Result<TenantScope, Status> {
    let Some(value) = metadata.get(TENANT_KEY) else { return Ok(TenantScope::All) };
    let name = value.to_str().map_err(|_| Status::invalid_argument("the tenant is not plain ASCII text"))?;
    if name.is_empty() || name == cairn_model::tenant::DEFAULT_TENANT {
        return Ok(TenantScope::All);
    }
    let tenant = TenantId::new(name).map_err(|e| Status::invalid_argument(e.to_string()))?;
    Ok(TenantScope::Only(vec![tenant]))
}

/// What to do when a store cannot answer.
pub fn partial_response(strategy: wire::PartialResponseStrategy) -> PartialResponse {
    match strategy {
        wire::PartialResponseStrategy::Warn => PartialResponse::Warn,
        wire::PartialResponseStrategy::Abort => PartialResponse::Abort,
    }
}

/// A time on the wire; one that never was is the first of year 1, as Go's zero time.
pub fn timestamp(t_ms: Option<TimestampMs>) -> Timestamp {
    let t_ms = t_ms.unwrap_or(YEAR_ONE_MS);
    Timestamp { seconds: t_ms.div_euclid(1000), nanos: t_ms.rem_euclid(1000) as i32 * 1_000_000 }
}

/// Wire matchers, compiled.
pub fn matchers(list: &[wire::LabelMatcher]) -> Result<Vec<Matcher>, Status> {
    list.iter()
        .map(|m| {
            let op = match m.r#type() {
                wire::label_matcher::Type::Eq => MatchOp::Equal,
                wire::label_matcher::Type::Neq => MatchOp::NotEqual,
                wire::label_matcher::Type::Re => MatchOp::Regex,
                wire::label_matcher::Type::Nre => MatchOp::NotRegex,
            };
            Matcher::new(op, m.name.as_str(), m.value.as_str())
                .map_err(|e| Status::invalid_argument(e.to_string()))
        })
        .collect()
}

/// What the samples are for.
pub fn hints(h: Option<&wire::QueryHints>) -> SelectHints {
    let Some(h) = h else { return SelectHints::default() };
    SelectHints {
        step_ms: h.step_millis,
        range_ms: h.range.as_ref().map_or(0, |r| r.millis),
        func: h.func.as_ref().map(|f| f.name.clone()).unwrap_or_default(),
        grouping: h.grouping.as_ref().map(|g| g.labels.clone()).unwrap_or_default(),
        by: h.grouping.as_ref().is_some_and(|g| g.by),
        newest_only: false,
    }
}

/// Which aggregates a request wants; none named means all there are.
#[derive(Debug, Clone)]
pub struct Wanted(Vec<wire::Aggr>);

impl Wanted {
    /// Reads the request's list.
    pub fn of(request: &wire::SeriesRequest) -> Self {
        Wanted(request.aggregates().collect())
    }

    fn has(&self, a: wire::Aggr) -> bool {
        self.0.is_empty() || self.0.contains(&a)
    }
}

/// Chunks as the wire has them.
pub fn aggr_chunks(
    chunks: &[AggrChunk],
    wanted: &Wanted,
    to_wire: &ToWire,
) -> Result<Vec<wire::AggrChunk>, String> {
    let mut out = Vec::with_capacity(chunks.len());
    for chunk in chunks {
        match chunk {
            AggrChunk::Raw(raw) => {
                for c in to_wire(raw)? {
                    let (min_time, max_time) = (c.min_ms, c.max_ms);
                    out.push(wire::AggrChunk {
                        min_time,
                        max_time,
                        raw: Some(wire_chunk(c)),
                        ..Default::default()
                    });
                }
            }
            AggrChunk::Downsampled(a) => out.push(aggregates(a, wanted, to_wire)?),
        }
    }
    Ok(out)
}

fn aggregates(a: &Aggregates, wanted: &Wanted, to_wire: &ToWire) -> Result<wire::AggrChunk, String> {
    let slot = |chunk: &Option<Chunk>, aggr: wire::Aggr| -> Result<Option<wire::Chunk>, String> {
        match chunk {
            Some(c) if wanted.has(aggr) => Ok(to_wire(c)?.into_iter().next().map(wire_chunk)),
            _ => Ok(None),
        }
    };
    Ok(wire::AggrChunk {
        min_time: a.min_ms,
        max_time: a.max_ms,
        raw: None,
        count: slot(&a.count, wire::Aggr::Count)?,
        sum: slot(&a.sum, wire::Aggr::Sum)?,
        min: slot(&a.min, wire::Aggr::Min)?,
        max: slot(&a.max, wire::Aggr::Max)?,
        counter: slot(&a.counter, wire::Aggr::Counter)?,
    })
}

fn wire_chunk(c: WireChunk) -> wire::Chunk {
    let encoding = match c.encoding {
        Encoding::Histogram => wire::chunk::Encoding::Histogram,
        Encoding::FloatHistogram => wire::chunk::Encoding::FloatHistogram,
        Encoding::Xor | Encoding::Xor2 => wire::chunk::Encoding::Xor,
    };
    debug_assert_ne!(c.encoding, Encoding::Xor2, "the wire does not know XOR2");
    wire::Chunk { r#type: encoding.into(), data: c.data, hash: 0 }
}

/// The shard that is asked for.
pub fn shard(s: &wire::ShardInfo) -> Shard {
    Shard { index: s.shard_index, total: s.total_shards, by: s.by, labels: s.labels.clone() }
}

/// Errors of a store as gRPC codes.
pub fn status(e: StoreError) -> Status {
    let text = e.to_string();
    match e {
        StoreError::Read { .. } => Status::internal(text),
        StoreError::Unavailable { .. } => Status::unavailable(text),
        StoreError::LimitExceeded { .. } | StoreError::Busy { .. } => Status::resource_exhausted(text),
        StoreError::Canceled => Status::cancelled(text),
        StoreError::Unsupported(_) => Status::unimplemented(text),
    }
}
