//! What a query writes more than once is evaluated once: told by how many samples are decoded for it.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_trait::async_trait;
use bytes::Bytes;
use cairn_model::chunk::ColumnValues;
use cairn_model::storage::{LabelsRequest, Names, Queryable, SelectedSeries, SeriesRequest, StoreError};
use cairn_model::{AggrChunk, ChunkData, Encoding, Labels, TimestampMs};
use cairn_promql::engine::{DecodeChunk, SampleBuf};
use cairn_promql::memory::MemoryStore;
use cairn_promql::{Engine, EngineOptions, QueryOptions};
use cairn_runtime::{CpuPool, ManualClock};
use futures::FutureExt;

/// Samples that are stored.
const SAMPLES: usize = 12 * 241;

/// Twelve counters of two jobs, 15 s apart for an hour, in chunks that must be decoded.
struct Encoded(MemoryStore);

impl Encoded {
    fn new() -> Self {
        let mut store = MemoryStore::default();
        for i in 0..12 {
            let (job, instance) = (["a", "b"][i % 2], i.to_string());
            let labels = [("__name__", "x_total"), ("job", job), ("instance", &instance)];
            let samples = (0..=240).map(|n| (n * 15_000, (i * n as usize) as f64));
            store.add_floats(Labels::from_pairs(labels).unwrap(), samples);
        }
        Encoded(store)
    }
}

#[async_trait]
impl Queryable for Encoded {
    async fn select(&self, request: SeriesRequest) -> Result<SelectedSeries, StoreError> {
        let mut selected = self.0.select(request).await?;
        for chunk in selected.series.iter_mut().flat_map(|s| &mut s.chunks) {
            let AggrChunk::Raw(chunk) = chunk else { panic!("nothing was downsampled") };
            let ChunkData::Columns(columns) = &chunk.data else { panic!("stores in memory have columns") };
            let ColumnValues::Floats(values) = &columns.values else { panic!("only floats were added") };
            let samples = columns.t_ms.iter().zip(values);
            let bytes =
                samples.flat_map(|(t, v)| [t.to_le_bytes(), v.to_le_bytes()]).flatten().collect::<Vec<_>>();
            chunk.data = ChunkData::Encoded(Encoding::Xor, Bytes::from(bytes));
        }
        Ok(selected)
    }

    async fn label_names(&self, request: LabelsRequest) -> Result<Names, StoreError> {
        self.0.label_names(request).await
    }

    async fn label_values(&self, name: &str, request: LabelsRequest) -> Result<Names, StoreError> {
        self.0.label_values(name, request).await
    }
}

/// Decodes what [`Encoded`] answers, and counts the samples.
#[derive(Default)]
struct CountingDecoder(AtomicUsize);

impl DecodeChunk for CountingDecoder {
    fn decode(
        &self,
        _: Encoding,
        data: &Bytes,
        _: TimestampMs,
        _: TimestampMs,
        out: &mut SampleBuf,
    ) -> Result<(), String> {
        for sample in data.chunks_exact(16) {
            let (t, v) = sample.split_at(8);
            let t = i64::from_le_bytes(t.try_into().expect("eight bytes"));
            out.floats.push(t, f64::from_le_bytes(v.try_into().expect("eight bytes")), 0);
            self.0.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    }
}

/// How often everything is decoded for `query`, evaluated over the hour.
fn decoded(query: &str, step_ms: i64, edit: impl FnOnce(&mut EngineOptions)) -> f64 {
    let decoder = Arc::new(CountingDecoder::default());
    let clock = Arc::new(ManualClock::starting_at(0));
    let mut options = EngineOptions::new(decoder.clone(), CpuPool::inline(), clock);
    edit(&mut options);
    let engine = Engine::new(options);
    let store = Encoded::new();
    let query_options = QueryOptions::default();
    let answer = engine.range(&store, query, 0, 3_600_000, step_ms, &query_options).now_or_never();
    answer.expect("a query in memory does not wait").unwrap_or_else(|e| panic!("{query}: {e}"));
    decoder.0.load(Ordering::Relaxed) as f64 / SAMPLES as f64
}

#[test]
fn what_is_written_more_than_once_is_decoded_once() {
    for (query, times) in [
        ("x_total", 1.0),
        ("x_total / (x_total + x_total)", 1.0),
        ("rate(x_total[5m]) / (rate(x_total[5m]) + 1)", 1.0),
        ("sum by (job) (rate(x_total[5m])) / on () group_left () sum(rate(x_total[5m]))", 1.0),
        ("sum(rate(x_total[5m])) / (sum( rate(x_total[5m])) + max((rate(x_total[5m]))))", 1.0),
        ("sum(x_total) / count(x_total)", 1.0),
        ("topk(1, x_total) or bottomk(1, x_total)", 1.0),
        ("avg(abs(x_total)) + scalar(avg(abs(x_total))) * avg(x_total)", 1.0),
        ("max_over_time(sum(x_total)[5m:1m]) - min_over_time(sum(x_total)[5m:1m])", 1.0),
        ("sum(x_total @ 1800) + x_total{job='b'} * scalar(sum(x_total @ 1800))", 1.5),
        // Not the same computation.
        ("rate(x_total[5m]) / rate(x_total[1m])", 2.0),
        ("sum(x_total) + sum(x_total offset 1m)", 2.0),
        ("sum(x_total) + max_over_time(sum(x_total)[5m:1m])", 2.0),
    ] {
        assert_eq!(decoded(query, 60_000, |_| {}), times, "{query}");
    }
}

#[test]
fn a_value_makes_room_for_others_once_its_last_user_has_it() {
    // 12 series at 100,001 steps: one such value is kept, two are more than is kept of a query.
    let step_ms = 36;
    let twice = |of: &str| format!("sum({of}) / count({of})");
    for (query, times) in [
        (format!("{} + {}", twice("x_total"), twice("x_total offset 1m")), 2.0),
        (format!("sum(x_total / x_total) + {}", twice("x_total offset 1m")), 2.0),
        // Both are wanted at a time.
        ("sum(x_total) + sum(x_total offset 1m) + count(x_total) + count(x_total offset 1m)".to_owned(), 3.0),
    ] {
        assert_eq!(decoded(&query, step_ms, |_| {}), times, "{query}");
    }
}

#[test]
fn what_would_take_too_much_memory_is_streamed_each_time() {
    let query = "sum(x_total) / count(x_total)";
    let limit = |o: &mut EngineOptions| o.max_samples = 1_000;
    assert_eq!(decoded(query, 60_000, limit), 1.0, "12 series at 61 steps are less");
    assert_eq!(
        decoded(query, 30_000, limit),
        2.0,
        "12 series at 121 steps are more, but are not all held as a stream"
    );
    assert_eq!(
        decoded(query, 18, |_| {}),
        2.0,
        "12 series at 200,001 steps are more than is kept of a query"
    );
}
