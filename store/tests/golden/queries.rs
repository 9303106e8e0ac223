//! The golden range queries: cairn's engine over cairn's store, beside Thanos' answers over the same bucket.

use std::collections::BTreeMap;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_model::storage::{
    LabelsRequest, Names, Queryable, SelectedSeries, SeriesRequest, StoreApi, StoreError,
};
use cairn_model::{Encoding, Labels};
use cairn_promql::engine::{DecodeChunk, SampleBuf};
use cairn_promql::{Engine, EngineOptions, QueryOptions, QueryValue};
use cairn_runtime::Runtime;
use cairn_store::{BucketStore, collect};
use cairn_tests::conformance::conformance;
use cairn_tsdb::chunkenc::ChunkDecoder;

use super::{DONE, RAW, store_over, unpack};

/// One store is all there is: nothing to merge.
struct OneStore(BucketStore);

#[async_trait]
impl Queryable for OneStore {
    async fn select(&self, request: SeriesRequest) -> Result<SelectedSeries, StoreError> {
        Ok(SelectedSeries { series: collect(&self.0, request).await?, warnings: Vec::new() })
    }
    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError> {
        self.0.label_names(request).await
    }
    async fn label_values(&self, name: &str, request: LabelsRequest) -> Result<Names, StoreError> {
        self.0.label_values(name, request).await
    }
}

struct Decoder;

impl DecodeChunk for Decoder {
    fn decode(
        &self,
        encoding: Encoding,
        data: &Bytes,
        _: i64,
        _: i64,
        out: &mut SampleBuf,
    ) -> Result<(), String> {
        for sample in ChunkDecoder::new(encoding, data) {
            let s = sample.map_err(|e| e.to_string())?;
            out.push(s.t_ms, &s.value, s.start_ms);
        }
        Ok(())
    }
}

/// Series of a range query by labels.
type Answer = BTreeMap<Labels, BTreeMap<i64, f64>>;

fn theirs(response: &serde_json::Value) -> Answer {
    let result = response["data"]["result"].as_array().expect("a matrix");
    let series = |s: &serde_json::Value| {
        let metric = s["metric"].as_object().expect("labels");
        let labels =
            Labels::from_pairs(metric.iter().map(|(n, v)| (n, v.as_str().expect("text")))).expect("unique");
        let point = |p: &serde_json::Value| {
            let t_ms = (p[0].as_f64().expect("seconds") * 1e3).round() as i64;
            (t_ms, p[1].as_str().expect("text").parse::<f64>().expect("a number"))
        };
        (labels, s["values"].as_array().into_iter().flatten().map(point).collect())
    };
    result.iter().map(series).collect()
}

fn ours(value: QueryValue) -> Answer {
    let QueryValue::Matrix(matrix) = value else { panic!("a range query gives a matrix") };
    let series = |s: cairn_promql::value::MatrixSeries| {
        assert!(s.histograms.is_empty());
        (s.labels, s.floats.into_iter().map(|p| (p.t_ms, p.value)).collect())
    };
    matrix.into_iter().map(series).collect()
}

/// Names the first difference.
fn difference(ours: &Answer, theirs: &Answer) -> Option<String> {
    if !ours.keys().eq(theirs.keys()) {
        return Some(format!("series {:?}, want {:?}", ours.keys(), theirs.keys()));
    }
    for (labels, want) in theirs {
        let got = &ours[labels];
        if !got.keys().eq(want.keys()) {
            return Some(format!("{labels}: times {:?}, want {:?}", got.keys(), want.keys()));
        }
        for (t, w) in want {
            let g = got[t];
            if (g - w).abs() > 1e-9 * g.abs().max(w.abs()).max(1e-300) {
                return Some(format!("{labels} at {t}: {g}, want {w}"));
            }
        }
    }
    None
}

async fn compare(archive: &str, resolution: &str) -> Option<(usize, usize, usize, Vec<String>)> {
    let dir = unpack(archive)?;
    let path = conformance("thanos-bucket")?.join("golden-query-range.json");
    #[allow(clippy::disallowed_methods)] // a test's input
    let golden: serde_json::Value =
        serde_json::from_slice(&std::fs::read(path).expect("the file")).expect("JSON");
    let (store, _cache, _) = store_over(dir.path(), |_| {}).await;
    let queryable = OneStore(store);
    let runtime = Runtime::system(2);
    let engine = Engine::new(EngineOptions::new(std::sync::Arc::new(Decoder), runtime.cpu, runtime.clock));
    let (mut queries, mut series, mut points, mut differences) = (0, 0, 0, Vec::new());
    for case in golden.as_array().expect("a list").iter().filter(|c| c["max_source_resolution"] == resolution)
    {
        let query = case["query"].as_str().expect("text");
        let ms = |key: &str| case[key].as_i64().expect("seconds") * 1000;
        let max_resolution_ms = match resolution {
            "5m" => 300_000,
            "1h" => 3_600_000,
            _ => 0,
        };
        let options = QueryOptions {
            max_resolution_ms,
            // Thanos looks back as far as the resolution in force.
            lookback_ms: Some(max_resolution_ms.max(300_000)),
            ..QueryOptions::default()
        };
        let result = engine
            .range(&queryable, query, ms("start"), ms("end"), ms("step"), &options)
            .await
            .unwrap_or_else(|e| panic!("{query}: {e}"));
        let (got, want) = (ours(result.value), theirs(&case["response"]));
        queries += 1;
        series += want.len();
        points += want.values().map(BTreeMap::len).sum::<usize>();
        differences.extend(difference(&got, &want).map(|d| format!("{query} [{resolution}]: {d}")));
    }
    println!("{archive} at {resolution}: compared {queries} queries, {series} series, {points} points");
    Some((queries, series, points, differences))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn raw_queries_over_both_archives_answer_as_thanos_does() {
    for archive in [RAW, DONE] {
        let Some((queries, series, points, differences)) = compare(archive, "0s").await else { return };
        assert!(differences.is_empty(), "{differences:#?}");
        assert!(queries == 24 && series > 40 && points > 1_000);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn downsampled_queries_answer_as_thanos_does() {
    for resolution in ["5m", "1h"] {
        let Some((queries, series, points, differences)) = compare(DONE, resolution).await else { return };
        assert!(differences.is_empty(), "{differences:#?}");
        assert!(queries == 24 && series > 40 && points > 1_000);
    }
}
