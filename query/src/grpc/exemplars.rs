//! `thanos.Exemplars`: exemplars of the series that an expression selects, a series a frame.

use cairn_model::exemplar::Exemplar;
use cairn_model::labels::Labels;
use cairn_promql::parser::{Features, parse};
use cairn_proto::thanos as wire;
use cairn_proto::thanos::exemplars_response::Result as Frame;
use cairn_proto::thanos::exemplars_server::Exemplars;
use tonic::{Request, Response, Status};

use super::convert::{label_set, partial_response, scope, status};
use super::{Frames, stream_of};
use crate::fanout::Fanout;

/// Answers from all stores.
pub struct ExemplarsApi {
    fanout: Fanout,
    features: Features,
}

impl ExemplarsApi {
    /// Over `fanout`; expressions may use `features`.
    pub fn new(fanout: Fanout, features: Features) -> Self {
        ExemplarsApi { fanout, features }
    }
}

#[tonic::async_trait]
impl Exemplars for ExemplarsApi {
    type ExemplarsStream = Frames<wire::ExemplarsResponse>;

    async fn exemplars(
        &self,
        request: Request<wire::ExemplarsRequest>,
    ) -> Result<Response<Self::ExemplarsStream>, Status> {
        let tenants = scope(request.metadata())?;
        let r = request.into_inner();
        let expr = parse(&r.query, self.features).map_err(|e| Status::invalid_argument(e.to_string()))?;
        let matchers: Vec<_> = expr.selectors().into_iter().map(|s| s.matchers.clone()).collect();
        let fanout = self.fanout.with_partial_response(partial_response(r.partial_response_strategy()));
        let (found, warnings) =
            fanout.exemplars(&tenants, &matchers, r.start, r.end).await.map_err(status)?;
        let warnings = warnings.into_iter().map(Frame::Warning);
        let data = found.iter().map(|(labels, exemplars)| Frame::Data(series(labels, exemplars)));
        let frames = warnings.chain(data);
        Ok(stream_of(frames.map(|f| wire::ExemplarsResponse { result: Some(f) }).collect()))
    }
}

fn series(labels: &Labels, exemplars: &[Exemplar]) -> wire::ExemplarData {
    let exemplar = |e: &Exemplar| wire::Exemplar {
        labels: Some(label_set(e.labels.as_ref())),
        value: e.value,
        ts: e.t_ms,
    };
    wire::ExemplarData {
        series_labels: Some(label_set(labels.as_ref())),
        exemplars: exemplars.iter().map(exemplar).collect(),
    }
}
