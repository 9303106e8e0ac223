//! `thanos.Store`: series, label names, label values, each within what a query of its tenants may use up.

use std::sync::Arc;

use cairn_model::labels::Labels;
use cairn_model::storage::{LabelsRequest, Queryable, Series, SeriesRequest};
use cairn_promql::Engine;
use cairn_proto::thanos as wire;
use cairn_proto::thanos::series_response::Result as Frame;
use cairn_proto::thanos::store_server::Store;
use tonic::{Request, Response, Status};

use super::convert::{
    Wanted, aggr_chunks, hints, matchers, partial_response, scope, shard, status, wire_labels,
};
use super::{Frames, ToWire};
use crate::fanout::{Fanout, PartialResponse};
use crate::reading::Reading;

/// Most series in one message, whatever the caller asks for.
const MAX_BATCH: usize = 4_096;

/// Answers from all stores.
pub struct StoreGrpc {
    fanout: Fanout,
    to_wire: Arc<ToWire>,
    engine: Engine,
}

impl StoreGrpc {
    /// Over `fanout`, with the bounds that queries of `engine` have.
    pub fn new(fanout: Fanout, to_wire: Arc<ToWire>, engine: Engine) -> Self {
        StoreGrpc { fanout, to_wire, engine }
    }

    /// `disabled` is the older field, which wins.
    fn fanout_for(&self, disabled: bool, strategy: wire::PartialResponseStrategy) -> Fanout {
        let asked = if disabled { PartialResponse::Abort } else { partial_response(strategy) };
        self.fanout.with_partial_response(asked)
    }
}

#[tonic::async_trait]
impl Store for StoreGrpc {
    type SeriesStream = Frames<wire::SeriesResponse>;

    async fn series(
        &self,
        request: Request<wire::SeriesRequest>,
    ) -> Result<Response<Self::SeriesStream>, Status> {
        let tenants = scope(request.metadata())?;
        let r = request.into_inner();
        let mut select = SeriesRequest::new(r.min_time, r.max_time, matchers(&r.matchers)?);
        if select.matchers.is_empty() {
            return Err(Status::invalid_argument("no matchers specified (excluding external labels)"));
        }
        let reading = Reading::begin(&self.engine, &tenants);
        select.tenants = tenants;
        select.bounds = reading.bounds().clone();
        select.skip_chunks = r.skip_chunks;
        select.max_resolution_ms = r.max_resolution_window;
        select.hints = hints(r.query_hints.as_ref());
        let limit = usize::try_from(r.limit).unwrap_or(0);
        // What is dropped or joined below must not count, so then stores answer everything.
        let counts_as_stored = r.shard_info.is_none() && r.without_replica_labels.is_empty();
        select.limit = if counts_as_stored { limit } else { 0 };
        let fanout = self.fanout_for(r.partial_response_disabled, r.partial_response_strategy());
        let selected = reading.in_time(late(), async { fanout.select(select).await.map_err(status) }).await?;

        let mut series = without_labels(selected.series, &r.without_replica_labels);
        if let Some(shard) = r.shard_info.as_ref().map(shard) {
            series.retain(|s| shard.holds(&s.labels));
        }
        if limit > 0 {
            series.truncate(limit);
        }
        let warnings = selected.warnings.into_iter().map(|w| Ok(frame(Frame::Warning(w))));
        let batch = (r.response_batch_size.max(1) as usize).min(MAX_BATCH);
        let (wanted, to_wire) = (Wanted::of(&r), self.to_wire.clone());
        let mut rest = series.into_iter();
        let frames = std::iter::from_fn(move || {
            let _ = &reading; // what is being sent is still held
            let part: Vec<Series> = rest.by_ref().take(batch).collect();
            (!part.is_empty()).then(|| encode(part, batch, &wanted, &*to_wire))
        });
        Ok(Response::new(Box::pin(futures::stream::iter(warnings.chain(frames)))))
    }

    async fn label_names(
        &self,
        request: Request<wire::LabelNamesRequest>,
    ) -> Result<Response<wire::LabelNamesResponse>, Status> {
        let tenants = scope(request.metadata())?;
        let r = request.into_inner();
        let reading = Reading::begin(&self.engine, &tenants);
        let asked = LabelsRequest {
            tenants,
            bounds: reading.bounds().clone(),
            ..LabelsRequest::new(r.start, r.end, matchers(&r.matchers)?)
        };
        let fanout = self.fanout_for(r.partial_response_disabled, r.partial_response_strategy());
        let names = async { fanout.label_names(asked).await.map_err(status) };
        let mut found = reading.in_time(late(), names).await?;
        found.values.retain(|n| !r.without_replica_labels.contains(n));
        truncate(&mut found.values, r.limit);
        Ok(Response::new(wire::LabelNamesResponse {
            names: found.values,
            warnings: found.warnings,
            hints: None,
        }))
    }

    async fn label_values(
        &self,
        request: Request<wire::LabelValuesRequest>,
    ) -> Result<Response<wire::LabelValuesResponse>, Status> {
        let tenants = scope(request.metadata())?;
        let r = request.into_inner();
        if r.label.is_empty() {
            return Err(Status::invalid_argument("label name parameter cannot be empty"));
        }
        if r.without_replica_labels.contains(&r.label) {
            return Ok(Response::new(wire::LabelValuesResponse::default()));
        }
        let reading = Reading::begin(&self.engine, &tenants);
        let asked = LabelsRequest {
            tenants,
            limit: usize::try_from(r.limit).unwrap_or(0),
            bounds: reading.bounds().clone(),
            ..LabelsRequest::new(r.start, r.end, matchers(&r.matchers)?)
        };
        let fanout = self.fanout_for(r.partial_response_disabled, r.partial_response_strategy());
        let values = async { fanout.label_values(&r.label, asked).await.map_err(status) };
        let mut found = reading.in_time(late(), values).await?;
        truncate(&mut found.values, r.limit);
        Ok(Response::new(wire::LabelValuesResponse {
            values: found.values,
            warnings: found.warnings,
            hints: None,
        }))
    }
}

/// What a call is answered that runs out of time.
fn late() -> Status {
    Status::deadline_exceeded(
        "reading took longer than a query of these tenants may (--query.timeout, or `timeout` of the limits file)",
    )
}

fn frame(result: Frame) -> wire::SeriesResponse {
    wire::SeriesResponse { result: Some(result) }
}

fn encode(
    part: Vec<Series>,
    batch: usize,
    wanted: &Wanted,
    to_wire: &ToWire,
) -> Result<wire::SeriesResponse, Status> {
    let mut series: Vec<wire::Series> = Vec::with_capacity(part.len());
    for s in &part {
        let chunks = aggr_chunks(&s.chunks, wanted, to_wire)
            .map_err(|e| Status::internal(format!("cannot encode chunks of {}: {e}", s.labels)))?;
        series.push(wire::Series { labels: wire_labels(s.labels.as_ref()), chunks });
    }
    // A caller that did not ask for batches may not know them.
    Ok(match (batch, series.pop()) {
        (1, Some(only)) => frame(Frame::Series(only)),
        (_, last) => {
            series.extend(last);
            frame(Frame::Batch(wire::SeriesBatch { series }))
        }
    })
}

/// Series without `drop`ped labels, sorted anew; those that become equal are joined.
fn without_labels(mut series: Vec<Series>, drop: &[String]) -> Vec<Series> {
    if drop.is_empty() {
        return series;
    }
    let keeps = |labels: &Labels| labels.filtered(|n| !drop.iter().any(|d| d == n));
    series.iter_mut().for_each(|s| s.labels = keeps(&s.labels));
    // Stable, so that chunks of a series that was split by replica stay in their replica's order.
    series.sort_by(|a, b| a.labels.cmp(&b.labels));
    crate::merge::merge_series(vec![series])
}

fn truncate(values: &mut Vec<String>, limit: i64) {
    if let Some(limit) = usize::try_from(limit).ok().filter(|l| *l > 0) {
        values.truncate(limit);
    }
}
