//! What comes over the network.

use cairn_model::Value;
use cairn_model::metadata::{Metadata, MetricType};
use cairn_proto::encode::{Exemplar, Sample, TimeSeries, WriteRequest, encode_v1, encode_v2, snappy_block};
use cairn_proto::thanos as wire;
use prost::Message;

use super::Seeds;
use super::samples::{T0_MS, custom_histograms, float_histograms, floats, histograms};

/// Seeds of all targets here.
pub fn seeds() -> Vec<Seeds> {
    let v1: Vec<_> = requests().iter().map(encode_v1).collect();
    let v2: Vec<_> = requests().iter().map(encode_v2).collect();
    let snappy = v1.iter().map(|body| snappy_block(body)).chain([
        snappy_block(b""),
        snappy_block(&[7; 5_000]),
        (0..=255).collect(),
    ]);
    let versioned = |version: u8, body: &Vec<u8>| [&[version][..], body].concat();
    let whole = v1.iter().map(|b| versioned(0, b)).chain(v2.iter().map(|b| versioned(1, b))).collect();
    vec![
        ("snappy", snappy.collect()),
        ("remote_write_v1", v1),
        ("remote_write_v2", v2),
        ("write_request", whole),
        ("api_request", API.iter().map(|text| text.as_bytes().to_vec()).collect()),
        ("grpc_request", grpc()),
    ]
}

fn series(name: &str, values: &[Value]) -> TimeSeries {
    let sample = |(i, value): (usize, &Value)| Sample {
        t_ms: T0_MS + i as i64 * 15_000,
        start_ms: if i % 2 == 0 { 0 } else { T0_MS - 1 },
        value: value.clone(),
    };
    TimeSeries {
        samples: values.iter().enumerate().map(sample).collect(),
        ..TimeSeries::floats(&[("__name__", name), ("job", "fuzz"), ("le", "+Inf")], &[])
    }
}

fn requests() -> Vec<WriteRequest> {
    let exemplars =
        vec![Exemplar { labels: vec![("trace_id".into(), "abc".into())], value: 0.5, t_ms: T0_MS }];
    let metadata =
        Metadata { metric_type: MetricType::Counter, unit: "seconds".into(), help: "Some help.".into() };
    let unsorted =
        TimeSeries::floats(&[("z", "1"), ("__name__", "é"), ("a", ""), ("a", "2")], &[(T0_MS, 1.0)]);
    let full = TimeSeries { exemplars, metadata: Some(metadata.clone()), ..series("f_total", &floats()) };
    vec![
        WriteRequest {
            series: vec![
                full.clone(),
                series("h", &histograms()),
                series("fh", &float_histograms()),
                series("nhcb", &custom_histograms()),
            ],
            metadata: vec![("f".to_owned(), metadata)],
        },
        WriteRequest {
            series: vec![full.clone(), unsorted, full, series("empty", &[])],
            ..Default::default()
        },
        WriteRequest::default(),
    ]
}

/// Targets of the HTTP API; a form follows in the second line.
const API: &[&str] = &[
    "/api/v1/query?query=up&time=1700000000.5&timeout=1m&limit=3&stats=all",
    "/api/v1/query_range?query=sum%20by%20(job)(rate(a_total%5B5m%5D))&start=0&end=2015-07-01T20:10:51.781Z&step=15",
    "/api/v1/query_range\nquery=vector(1)&start=1&end=100&step=0.5&lookback_delta=1m",
    "/api/v1/series?match[]=up&match[]={job=~\"a|b\"}&start=-1&end=1e9&limit=0",
    "/api/v1/labels?match[]={__name__=~\".%2B\"}&limit=x",
    "/api/v1/label/U__a_2e_b/values?start=NaN",
    "/api/v1/metadata?metric=a&limit=1&limit_per_metric=-1",
    "/api/v1/query_exemplars?query=a{b=\"c\"}%20%2B%20d&start=0&end=1",
    "/api/v1/format_query?query=a%2Bb",
    "/api/v1/parse_query?query=a[5m:1m]%20offset%201d",
    "/api/v1/status/tsdb?limit=10000",
    "/api/v1/targets?state=active&scrapePool=x",
    "/api/v1/read",
    "/api/v1/query?query=%zz&time=99999999999999999999",
];

fn grpc() -> Vec<Vec<u8>> {
    let matcher = |kind: wire::label_matcher::Type, value: &str| wire::LabelMatcher {
        r#type: kind.into(),
        name: "job".into(),
        value: value.into(),
    };
    let matchers =
        vec![matcher(wire::label_matcher::Type::Re, "a|b.*"), matcher(wire::label_matcher::Type::Neq, "")];
    let series = wire::SeriesRequest {
        min_time: 1,
        max_time: i64::MAX,
        matchers: matchers.clone(),
        aggregates: vec![wire::Aggr::Sum.into()],
        shard_info: Some(wire::ShardInfo {
            shard_index: 1,
            total_shards: 3,
            by: true,
            labels: vec!["job".into()],
        }),
        without_replica_labels: vec!["replica".into()],
        limit: 7,
        ..Default::default()
    };
    let names =
        wire::LabelNamesRequest { start: -1, end: 9, matchers: matchers.clone(), ..Default::default() };
    let values = wire::LabelValuesRequest { label: "job".into(), matchers, limit: 1, ..Default::default() };
    let call = |n: u8, message: Vec<u8>| [vec![n], message].concat();
    vec![
        call(0, series.encode_to_vec()),
        call(1, names.encode_to_vec()),
        call(2, values.encode_to_vec()),
        call(3, Vec::new()),
    ]
}
