//! Replicas of highly available Prometheus pairs as one series.
//!
//! Two Prometheus servers that scrape the same targets differ in one external label, the *replica label*. Without that
//! label their series are the same series, sampled twice at slightly different times. [`Deduplication::strip`] takes
//! the label off, [`Deduplication::merge`] makes one line of samples of each group ([`penalty`]).
//!
//! Invariant: a series that has no replica keeps its chunks as they are.

pub mod penalty;

use std::sync::Arc;

use cairn_model::chunk::{AggrChunk, Chunk, ChunkData, ColumnValues, Columns};
use cairn_model::sample::Value;
use cairn_model::storage::{Series, StoreError};
use cairn_model::{Labels, TimestampMs};
use cairn_promql::engine::downsampled::Aggregate;
use cairn_promql::engine::{DecodeChunk, SampleBuf};

use penalty::{Point, Sample};

/// How replicas become one.
#[derive(Clone)]
pub struct Deduplication {
    replica_labels: Arc<[String]>,
    decoder: Arc<dyn DecodeChunk>,
}

impl Deduplication {
    /// Series are the same when they differ in nothing but `replica_labels`.
    pub fn new(replica_labels: Vec<String>, decoder: Arc<dyn DecodeChunk>) -> Self {
        Deduplication { replica_labels: replica_labels.into(), decoder }
    }

    /// Takes the replica labels off and sorts anew; replicas follow one another, in the order of what they had.
    pub fn strip(&self, series: &mut [Series]) {
        let is_replica = |name: &str| self.replica_labels.iter().any(|l| l == name);
        for s in series.iter_mut() {
            s.labels = s.labels.filtered(|name| !is_replica(name));
        }
        series.sort_by(|a, b| a.labels.cmp(&b.labels));
    }

    /// Makes one series of each run of equal labels, with samples at least of `range`. `func` is the function or
    /// aggregation around the selector: it says what downsampled data is read as, and whether samples are a counter's.
    ///
    /// Cost: every sample of series that have replicas is decoded.
    ///
    /// # Errors
    /// When a chunk cannot be decoded.
    pub fn merge(
        &self,
        series: Vec<Series>,
        range: (TimestampMs, TimestampMs),
        func: &str,
    ) -> Result<Vec<Series>, StoreError> {
        let mut merged = Vec::with_capacity(series.len());
        let mut rest = series.into_iter().peekable();
        while let Some(first) = rest.next() {
            let mut replicas = vec![first];
            while let Some(next) = rest.next_if(|s| s.labels == replicas[0].labels) {
                replicas.push(next);
            }
            merged.push(match replicas.len() {
                1 => replicas.swap_remove(0),
                _ => self.merge_replicas(replicas, range, func)?,
            });
        }
        Ok(merged)
    }

    fn merge_replicas(
        &self,
        replicas: Vec<Series>,
        range: (TimestampMs, TimestampMs),
        func: &str,
    ) -> Result<Series, StoreError> {
        let aggregate = Aggregate::for_function(func);
        let is_counter = aggregate == Aggregate::Counter;
        let labels: Labels = replicas[0].labels.clone();
        let mut buf = SampleBuf::default();
        let mut line: Vec<Sample> = Vec::new();
        for (i, replica) in replicas.iter().enumerate() {
            buf.fill(&replica.chunks, range, aggregate, &*self.decoder)
                .map_err(|reason| StoreError::Read { object: format!("chunks of {labels}"), reason })?;
            let samples = in_order(&buf);
            line = if i == 0 { samples } else { penalty::merge(line, samples, is_counter) };
        }
        let chunks = chunk(line).map(AggrChunk::Raw).into_iter().collect();
        Ok(Series { labels, chunks })
    }
}

/// Floats and histograms of a buffer in one order of time.
fn in_order(buf: &SampleBuf) -> Vec<Sample> {
    let start = |starts: &[TimestampMs], i: usize| starts.get(i).copied().unwrap_or(0);
    let (f, h) = (&buf.floats, &buf.histograms);
    let mut samples: Vec<Sample> = Vec::with_capacity(buf.len());
    samples.extend((0..f.len()).map(|i| Sample {
        t_ms: f.t_ms[i],
        start_ms: start(&f.start_ms, i),
        value: Point::Float(f.value[i]),
    }));
    if !h.is_empty() {
        samples.extend((0..h.len()).map(|i| Sample {
            t_ms: h.t_ms[i],
            start_ms: start(&h.start_ms, i),
            value: Point::Histogram(h.value[i].clone()),
        }));
        samples.sort_by_key(|s| s.t_ms);
    }
    samples
}

/// The samples as one chunk; `None` without samples.
fn chunk(line: Vec<Sample>) -> Option<Chunk> {
    let (min_ms, max_ms) = (line.first()?.t_ms, line.last()?.t_ms);
    let t_ms = line.iter().map(|s| s.t_ms).collect();
    let start_ms = match line.iter().any(|s| s.start_ms != 0) {
        true => line.iter().map(|s| s.start_ms).collect(),
        false => Vec::new(),
    };
    let floats: Option<Vec<f64>> = line
        .iter()
        .map(|s| match s.value {
            Point::Float(v) => Some(v),
            Point::Histogram(_) => None,
        })
        .collect();
    let mixed = || {
        let value = |s: Sample| match s.value {
            Point::Float(v) => Value::Float(v),
            Point::Histogram(h) => Value::FloatHistogram(h),
        };
        ColumnValues::Mixed(line.into_iter().map(value).collect())
    };
    let values = floats.map_or_else(mixed, ColumnValues::Floats);
    Some(Chunk { min_ms, max_ms, data: ChunkData::Columns(Arc::new(Columns { t_ms, values, start_ms })) })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::FloatHistogram;
    use cairn_promql::engine::ColumnsOnly;

    fn series(replica: &str, values: ColumnValues, t_ms: Vec<i64>) -> Series {
        let labels = Labels::from_pairs([("__name__", "x"), ("replica", replica), ("z", "1")]).unwrap();
        let (min_ms, max_ms) = (t_ms[0], t_ms[t_ms.len() - 1]);
        let data = ChunkData::Columns(Arc::new(Columns { t_ms, values, start_ms: vec![] }));
        Series { labels, chunks: vec![AggrChunk::Raw(Chunk { min_ms, max_ms, data })] }
    }

    fn dedup() -> Deduplication {
        Deduplication::new(vec!["replica".into()], Arc::new(ColumnsOnly))
    }

    fn columns(s: &Series) -> &Columns {
        match &s.chunks[..] {
            [AggrChunk::Raw(Chunk { data: ChunkData::Columns(c), .. })] => c,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn replicas_become_one_series_and_a_lone_one_keeps_its_chunks() {
        let floats = |v: &[f64]| ColumnValues::Floats(v.to_vec());
        let mut all = vec![
            series("a", floats(&[1.0, 2.0]), vec![0, 10_000]),
            series("b", floats(&[1.5, 2.5, 3.5]), vec![3_000, 13_000, 100_000]),
        ];
        all.push(Series { labels: Labels::from_pairs([("__name__", "w")]).unwrap(), ..all[0].clone() });
        dedup().strip(&mut all);
        let merged = dedup().merge(all, (0, 1_000_000), "").unwrap();
        let names: Vec<_> = merged.iter().map(|s| s.labels.to_string()).collect();
        assert_eq!(names, ["w", "x{z=\"1\"}"]);
        assert_eq!(columns(&merged[0]).t_ms, [0, 10_000]);
        // The second replica is only read when the first has ended, and its penalty is over.
        let c = columns(&merged[1]);
        assert_eq!(c.t_ms, [0, 10_000, 100_000]);
        assert!(matches!(&c.values, ColumnValues::Floats(v) if v[..] == [1.0, 2.0, 3.5]));
    }

    #[test]
    fn histograms_and_floats_share_one_line() {
        let h = Value::FloatHistogram(Arc::new(FloatHistogram { count: 2.0, ..Default::default() }));
        let mut all = vec![
            series("a", ColumnValues::Mixed(vec![Value::Float(1.0), h]), vec![0, 10]),
            series("b", ColumnValues::Floats(vec![9.0]), vec![1]),
        ];
        dedup().strip(&mut all);
        let merged = dedup().merge(all, (0, 1000), "").unwrap();
        let c = columns(&merged[0]);
        let ColumnValues::Mixed(values) = &c.values else { panic!("{c:?}") };
        assert_eq!(c.t_ms, [0, 10]);
        assert!(
            matches!((&values[0], &values[1]), (Value::Float(_), Value::FloatHistogram(h)) if h.count == 2.0)
        );
    }
}
