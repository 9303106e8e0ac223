//! All services but Store: Info, Exemplars, Metadata, Rules, Status, Targets, health, reflection.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use cairn_model::labels::Labels;
use cairn_model::rules::{
    AlertState, AlertStatus, AlertingStatus, RuleGroupStatus, RuleStatus, RulesFilter, RulesSource,
};
use cairn_proto::thanos as wire;
use cairn_proto::thanos::exemplars_client::ExemplarsClient;
use cairn_proto::thanos::info::info_client::InfoClient;
use cairn_proto::thanos::metadata_client::MetadataClient;
use cairn_proto::thanos::rules_client::RulesClient;
use cairn_proto::thanos::status_client::StatusClient;
use cairn_proto::thanos::targets_client::TargetsClient;
use futures::{StreamExt, TryStreamExt};
use parking_lot::Mutex;
use tonic::{Code, Request};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::ServerReflectionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;

use crate::world::{World, routes};

/// One group with a recording rule and a firing alert; keeps the filters it was asked with.
#[derive(Default)]
struct OneGroup {
    asked: Mutex<Vec<RulesFilter>>,
}

impl RulesSource for OneGroup {
    fn rule_groups(&self, filter: &RulesFilter) -> Vec<RuleGroupStatus> {
        self.asked.lock().push(filter.clone());
        let pairs = |list: &[(&str, &str)]| -> BTreeMap<String, String> {
            list.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())).collect()
        };
        let recording = RuleStatus {
            name: "up:sum".into(),
            query: "sum(up)".into(),
            labels: pairs(&[("team", "x")]),
            health: "err",
            last_error: Some("broken".into()),
            duration: Duration::from_millis(250),
            last_evaluation_ms: Some(1_500),
            alerting: None,
        };
        let alert = AlertStatus {
            labels: Labels::from_pairs([("alertname", "Down")]).unwrap(),
            annotations: Labels::from_pairs([("summary", "a is down")]).unwrap(),
            state: AlertState::Firing,
            active_at_ms: -500,
            value: 1.0,
        };
        let alerting = RuleStatus {
            name: "Down".into(),
            query: "up == 0".into(),
            health: "unknown",
            last_error: None,
            last_evaluation_ms: None,
            alerting: Some(AlertingStatus {
                state: None,
                for_ms: 1_500,
                keep_firing_for_ms: 60_000,
                annotations: pairs(&[("summary", "{{ $labels.job }} is down")]),
                alerts: vec![alert],
            }),
            ..recording.clone()
        };
        vec![RuleGroupStatus {
            name: "g".into(),
            file: "rules.yml".into(),
            interval_ms: 30_000,
            limit: 7,
            abort_on_partial: true,
            duration: Duration::from_secs(1),
            last_evaluation_ms: Some(1_500),
            rules: vec![recording, alerting],
        }]
    }
}

fn with_rules(source: Arc<OneGroup>) -> Router {
    World { rules: Some(source), ..World::default() }.routes()
}

async fn all<T>(stream: tonic::Response<tonic::Streaming<T>>) -> Vec<T> {
    stream.into_inner().try_collect().await.unwrap()
}

#[tokio::test]
async fn info_tells_tenants_times_and_what_is_served() {
    let ask =
        async |routes| InfoClient::new(routes).info(wire::info::InfoRequest {}).await.unwrap().into_inner();
    let info = ask(routes(false)).await;
    let tenants: Vec<_> = info.label_sets.iter().map(|s| s.labels[0].value.as_str()).collect();
    assert_eq!((tenants, info.component_type.as_str()), (vec!["a", "b"], "receive"));
    let store = info.store.unwrap();
    assert_eq!((store.min_time, store.max_time, store.tsdb_infos.len()), (0, 1000, 2));
    assert!(store.supports_sharding && store.supports_without_replica_labels);
    let exemplars = info.exemplars.unwrap();
    assert_eq!((exemplars.min_time, exemplars.max_time), (i64::MIN, i64::MAX));
    assert!(info.metric_metadata.is_some() && info.targets.is_some() && info.status.is_some());
    assert!(info.rules.is_none() && info.query.is_none(), "what is not served is not announced");
    assert!(ask(with_rules(Arc::default())).await.rules.is_some());
}

#[tokio::test]
async fn exemplars_come_by_series_for_the_selectors_of_an_expression() {
    let ask = async |routes, query: &str, end| {
        let request = wire::ExemplarsRequest { query: query.into(), start: 0, end, ..Default::default() };
        ExemplarsClient::new(routes).exemplars(request).await
    };
    let query = r#"sum(up{instance="i3"}) / sum(up{instance="i4"})"#;
    let frames = all(ask(routes(false), query, 3).await.unwrap()).await;
    assert_eq!(frames.len(), 2, "both replicas of i3; those of i4 are later: {frames:?}");
    for (frame, replica) in frames.iter().zip(["r1", "r2"]) {
        let Some(wire::exemplars_response::Result::Data(data)) = &frame.result else { panic!("{frame:?}") };
        let labels = &data.series_labels.as_ref().unwrap().labels;
        let pair = |i: usize| (labels[i].name.as_str(), labels[i].value.as_str());
        assert_eq!([pair(1), pair(2)], [("instance", "i3"), ("replica", replica)]);
        let exemplar = &data.exemplars[0];
        assert_eq!((exemplar.value, exemplar.ts), (1.5, 3));
        assert_eq!(exemplar.labels.as_ref().unwrap().labels[0].value, "t1");
    }
    assert!(all(ask(routes(false), "1 + 1", 100).await.unwrap()).await.is_empty());
    assert_eq!(ask(routes(false), "up{", 100).await.unwrap_err().code(), Code::InvalidArgument);
    let partial = all(ask(routes(true), "up", 100).await.unwrap()).await;
    let warned = |f: &wire::ExemplarsResponse| matches!(&f.result, Some(wire::exemplars_response::Result::Warning(w)) if w.contains("two is unavailable"));
    assert!(partial.len() == 21 && partial.iter().any(warned));
}

#[tokio::test]
async fn metadata_is_one_frame_of_families_with_all_that_their_senders_said() {
    let ask = async |down, request| {
        let stream = MetadataClient::new(routes(down)).metric_metadata(request).await?;
        Ok::<_, tonic::Status>(all(stream).await)
    };
    let families = |frames: &[wire::MetricMetadataResponse]| {
        let Some(wire::metric_metadata_response::Result::Metadata(m)) = &frames.last().unwrap().result else {
            panic!("{frames:?}")
        };
        m.metadata.iter().map(|(n, e)| (n.clone(), e.metas.clone())).collect::<BTreeMap<_, _>>()
    };
    let everything = wire::MetricMetadataRequest { limit: -1, ..Default::default() };
    let frames = ask(false, everything.clone()).await.unwrap();
    let found = families(&frames);
    assert_eq!(found.keys().collect::<Vec<_>>(), ["head", "two", "up"]);
    let helps: Vec<_> = found["up"].iter().map(|m| m.help.as_str()).collect();
    assert_eq!(helps, ["up by head", "up by two"]);
    assert_eq!((found["up"][0].r#type.as_str(), found["up"][0].unit.as_str()), ("gauge", "seconds"));

    let one = wire::MetricMetadataRequest { metric: "two".into(), ..everything.clone() };
    assert_eq!(families(&ask(false, one).await.unwrap()).keys().collect::<Vec<_>>(), ["two"]);
    let first = wire::MetricMetadataRequest { limit: 1, ..Default::default() };
    assert_eq!(families(&ask(false, first).await.unwrap()).keys().collect::<Vec<_>>(), ["head"]);

    assert_eq!(ask(true, everything.clone()).await.unwrap().len(), 2, "a warning, then what there is");
    let partial_response_strategy = wire::PartialResponseStrategy::Abort.into();
    let strict = wire::MetricMetadataRequest { partial_response_strategy, ..everything };
    assert_eq!(ask(true, strict).await.unwrap_err().code(), Code::Unavailable);
}

#[tokio::test]
async fn rules_come_a_group_a_frame_with_their_state() {
    let source = Arc::<OneGroup>::default();
    let request = wire::RulesRequest {
        r#type: wire::rules_request::Type::Alert.into(),
        matcher_string: vec![r#"{team="x"}"#.into()],
        rule_name: vec!["n".into()],
        rule_group: vec!["g".into()],
        file: vec!["f".into()],
        ..Default::default()
    };
    let mut client = RulesClient::new(with_rules(source.clone()));
    let frames = all(client.rules(request).await.unwrap()).await;
    let Some(wire::rules_response::Result::Group(group)) = &frames[0].result else { panic!("{frames:?}") };
    assert_eq!((group.name.as_str(), group.file.as_str(), group.interval), ("g", "rules.yml", 30.0));
    assert_eq!((group.limit, group.evaluation_duration_seconds), (7, 1.0));
    assert_eq!(group.partial_response_strategy(), wire::PartialResponseStrategy::Abort);
    let [first, second] = group.rules.as_slice() else { panic!("{group:?}") };
    let Some(wire::rule::Result::Recording(recording)) = &first.result else { panic!("{first:?}") };
    assert_eq!((recording.health.as_str(), recording.last_error.as_str()), ("err", "broken"));
    assert_eq!(recording.labels.as_ref().unwrap().labels[0].name, "team");
    let last = recording.last_evaluation.unwrap();
    assert_eq!((last.seconds, last.nanos, recording.evaluation_duration_seconds), (1, 500_000_000, 0.25));
    let Some(wire::rule::Result::Alert(alert)) = &second.result else { panic!("{second:?}") };
    assert_eq!(alert.state(), wire::AlertState::Unknown, "not evaluated yet");
    assert_eq!(alert.last_evaluation.unwrap().seconds, -62_135_596_800, "never: Go's zero time");
    assert_eq!((alert.duration_seconds, alert.keep_firing_for_seconds), (1.5, 60.0));
    assert_eq!(alert.annotations.as_ref().unwrap().labels[0].value, "{{ $labels.job }} is down");
    let active = &alert.alerts[0];
    assert_eq!((active.state(), active.value.as_str()), (wire::AlertState::Firing, "1e+00"));
    let at = active.active_at.unwrap();
    assert_eq!((at.seconds, at.nanos), (-1, 500_000_000), "before 1970 the fraction still counts upwards");

    let asked = source.asked.lock().pop().unwrap();
    assert_eq!(asked.alerting, Some(true));
    assert_eq!([&asked.names, &asked.groups, &asked.files], [&["n"], &["g"], &["f"]]);
    assert_eq!(asked.selectors[0][0].to_string(), r#"team="x""#);
    let broken = wire::RulesRequest { matcher_string: vec!["{".into()], ..Default::default() };
    assert_eq!(client.rules(broken).await.unwrap_err().code(), Code::InvalidArgument);
    let unserved = RulesClient::new(routes(false)).rules(wire::RulesRequest::default()).await;
    assert_eq!(unserved.unwrap_err().code(), Code::Unimplemented);
}

#[tokio::test]
async fn statistics_count_the_heads_series_by_tenant() {
    let ask = async |request| {
        let frames = all(StatusClient::new(routes(false)).tsdb_statistics(request).await.unwrap()).await;
        let [frame] = frames.as_slice() else { panic!("{frames:?}") };
        let Some(wire::tsdb_statistics_response::Result::Statistics(s)) = &frame.result else {
            panic!("{frame:?}")
        };
        s.statistics.clone()
    };
    let all = ask(wire::TsdbStatisticsRequest::default()).await;
    assert_eq!(all.keys().collect::<Vec<_>>(), ["a"], "the downsampled series of b is not in the head");
    let head = all["a"].head_statistics.as_ref().unwrap();
    // 10 instances, 2 replicas, the name and the tenant.
    assert_eq!((head.num_series, head.num_label_pairs, head.chunk_count), (20, 14, 20));
    assert_eq!((head.min_time, head.max_time), (0, 1000));
    let stat = |s: &wire::Statistic| (s.name.clone(), s.value);
    assert_eq!(stat(&all["a"].series_count_by_metric_name[0]), ("up".into(), 20));
    assert_eq!(stat(&all["a"].label_value_count_by_label_name[0]), ("instance".into(), 10));
    assert_eq!(all["a"].series_count_by_label_value_pair.len(), 10, "ten entries unless asked otherwise");

    let instance = wire::LabelMatcher { name: "instance".into(), value: "i1".into(), ..Default::default() };
    let narrow = wire::TsdbStatisticsRequest { limit: 1, matchers: vec![instance], ..Default::default() };
    let some = ask(narrow).await;
    assert_eq!(some["a"].head_statistics.as_ref().unwrap().num_series, 2);
    assert_eq!(some["a"].series_count_by_label_value_pair.len(), 1);
    let other = wire::TsdbStatisticsRequest { tenant: "b".into(), ..Default::default() };
    assert!(ask(other).await.is_empty());

    let mut foreign = Request::new(wire::TsdbStatisticsRequest { tenant: "a".into(), ..Default::default() });
    foreign.metadata_mut().insert("thanos-tenant", "b".parse().unwrap());
    let stream = StatusClient::new(routes(false)).tsdb_statistics(foreign).await.unwrap();
    let Some(wire::tsdb_statistics_response::Result::Statistics(s)) = &self::all(stream).await[0].result
    else {
        panic!("no statistics")
    };
    assert!(s.statistics.is_empty(), "a tenant cannot count another's series");
}

#[tokio::test]
async fn targets_are_none_in_one_frame() {
    let mut client = TargetsClient::new(routes(false));
    let frames = all(client.targets(wire::TargetsRequest::default()).await.unwrap()).await;
    let none = wire::targets_response::Result::Targets(wire::TargetDiscovery::default());
    assert_eq!(frames, [wire::TargetsResponse { result: Some(none) }]);
}

#[tokio::test]
async fn health_is_serving_and_reflection_lists_the_services() {
    let health = HealthClient::new(routes(false)).check(HealthCheckRequest::default()).await.unwrap();
    assert_eq!(health.into_inner().status, 1, "SERVING");

    let list = MessageRequest::ListServices(String::new());
    let asked = ServerReflectionRequest { host: String::new(), message_request: Some(list) };
    let mut client = ServerReflectionClient::new(routes(false));
    let stream = client.server_reflection_info(futures::stream::iter([asked])).await.unwrap();
    let answer = stream.into_inner().next().await.expect("one answer").unwrap();
    let Some(MessageResponse::ListServicesResponse(list)) = answer.message_response else {
        panic!("{answer:?}");
    };
    let names: Vec<_> = list.service.iter().map(|s| s.name.as_str()).collect();
    for service in [
        "thanos.Store",
        "thanos.info.Info",
        "thanos.Exemplars",
        "thanos.Metadata",
        "thanos.Rules",
        "thanos.Status",
        "thanos.Targets",
        "grpc.health.v1.Health",
    ] {
        assert!(names.contains(&service), "{service} is not in {names:?}");
    }
}
