//! Reading downsampled data: which aggregate stands for a sample.
//!
//! The function or aggregation right around a selector says which aggregate it wants, as Thanos' querier maps
//! them; everything else reads the average, which is sum over count. Counters are stored reset-corrected and
//! begin anew with every chunk, so they are read as one rising line across chunks.

use cairn_model::TimestampMs;
use cairn_model::chunk::Aggregates;
use cairn_model::{Chunk, sample::is_stale};

use super::samples::SampleBuf;

/// What a downsampled window is read as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Aggregate {
    /// Least raw value.
    Min,
    /// Greatest raw value.
    Max,
    /// Number of raw samples.
    Count,
    /// Sum of the raw samples.
    Sum,
    /// The running counter.
    Counter,
    /// Sum over count.
    Average,
}

impl Aggregate {
    /// The aggregate for the function or aggregation `name` around a selector.
    pub fn for_function(name: &str) -> Self {
        match name {
            "min" => Aggregate::Min,
            "max" => Aggregate::Max,
            "count" => Aggregate::Count,
            "rate" | "irate" | "increase" | "resets" => Aggregate::Counter,
            _ if name.starts_with("min_") => Aggregate::Min,
            _ if name.starts_with("max_") => Aggregate::Max,
            _ if name.starts_with("count_") => Aggregate::Count,
            _ if name.starts_with("sum_") => Aggregate::Sum,
            _ => Aggregate::Average,
        }
    }
}

/// Where the rising line of a counter is after the chunks read so far.
#[derive(Debug, Default)]
pub(super) struct CounterState {
    total: f64,
    last: Option<(TimestampMs, f64)>,
}

impl CounterState {
    /// The point of the line for a stored sample; `None` when it adds no point. A repeated time carries the
    /// true last raw value of the chunk before, against which the next chunk's first value is compared.
    fn read(&mut self, t: TimestampMs, v: f64) -> Option<f64> {
        if v.is_nan() {
            return None;
        }
        let Some((last_t, last_v)) = self.last else {
            self.total = v;
            self.last = Some((t, v));
            return Some(v);
        };
        if t < last_t {
            return None;
        }
        self.last = Some((t, v));
        if t == last_t {
            return None;
        }
        self.total += if v < last_v { v } else { v - last_v };
        Some(self.total)
    }
}

type Decode<'a> = dyn FnMut(&Chunk, &mut SampleBuf) -> Result<(), String> + 'a;

/// Appends `a` as `aggregate` to `out`. An aggregate that is not stored stands for nothing.
pub(super) fn append(
    a: &Aggregates,
    aggregate: Aggregate,
    counter: &mut CounterState,
    out: &mut SampleBuf,
    decode: &mut Decode<'_>,
) -> Result<(), String> {
    let stored = match aggregate {
        Aggregate::Min => &a.min,
        Aggregate::Max => &a.max,
        Aggregate::Count => &a.count,
        Aggregate::Sum => &a.sum,
        Aggregate::Counter => &a.counter,
        Aggregate::Average => return append_average(a, out, decode),
    };
    let Some(chunk) = stored else { return Ok(()) };
    if aggregate != Aggregate::Counter {
        return decode(chunk, out);
    }
    let mut raw = SampleBuf::default();
    decode(chunk, &mut raw)?;
    for (t, v) in raw.floats.t_ms.iter().zip(&raw.floats.value) {
        if let Some(v) = counter.read(*t, *v) {
            out.floats.push(*t, v, 0);
        }
    }
    // Counter histograms are stored as running totals with reset hints; the rate functions see to resets.
    let h = raw.histograms;
    for (t, v) in h.t_ms.iter().zip(h.value) {
        if out.histograms.t_ms.last().is_none_or(|last| last < t) {
            out.histograms.push(*t, v, 0);
        }
    }
    Ok(())
}

fn append_average(a: &Aggregates, out: &mut SampleBuf, decode: &mut Decode<'_>) -> Result<(), String> {
    let (Some(sum), Some(count)) = (&a.sum, &a.count) else { return Ok(()) };
    let (mut sums, mut counts) = (SampleBuf::default(), SampleBuf::default());
    decode(sum, &mut sums)?;
    decode(count, &mut counts)?;
    let count_at = |t: &TimestampMs| {
        counts.floats.t_ms.binary_search(t).ok().map(|i| counts.floats.value[i]).filter(|n| *n > 0.0)
    };
    for (t, v) in sums.floats.t_ms.iter().zip(&sums.floats.value) {
        if let Some(n) = count_at(t).filter(|_| !is_stale(*v)) {
            out.floats.push(*t, v / n, 0);
        }
    }
    for (t, h) in sums.histograms.t_ms.iter().zip(&sums.histograms.value) {
        if let Some(n) = count_at(t) {
            let mut mean = (**h).clone();
            mean.div(n);
            out.histograms.push(*t, std::sync::Arc::new(mean), 0);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cairn_model::chunk::{ColumnValues, Columns};
    use cairn_model::{AggrChunk, ChunkData};

    use super::super::samples::ColumnsOnly;
    use super::*;

    fn chunk(samples: &[(i64, f64)]) -> Option<Chunk> {
        Some(Chunk {
            min_ms: samples[0].0,
            max_ms: samples[samples.len() - 1].0,
            data: ChunkData::Columns(Arc::new(Columns {
                t_ms: samples.iter().map(|s| s.0).collect(),
                values: ColumnValues::Floats(samples.iter().map(|s| s.1).collect()),
                start_ms: Vec::new(),
            })),
        })
    }

    fn read(chunks: Vec<Aggregates>, aggregate: Aggregate) -> Vec<(i64, f64)> {
        let chunks: Vec<_> = chunks.into_iter().map(|a| AggrChunk::Downsampled(Box::new(a))).collect();
        let mut buf = SampleBuf::default();
        buf.fill(&chunks, (0, 10_000), aggregate, &ColumnsOnly).unwrap();
        buf.floats.t_ms.into_iter().zip(buf.floats.value).collect()
    }

    #[test]
    fn a_counter_is_one_rising_line_across_chunks() {
        let first = Aggregates {
            min_ms: 10,
            max_ms: 299,
            counter: chunk(&[(10, 100.0), (99, 130.0), (199, 150.0), (199, 7.0)]),
            ..Default::default()
        };
        // True last raw value 7, next chunk begins at 9: grown by 2, no reset.
        let second = Aggregates {
            min_ms: 300,
            max_ms: 499,
            counter: chunk(&[(300, 9.0), (399, 20.0), (399, 20.0)]),
            ..Default::default()
        };
        assert_eq!(
            read(vec![first, second], Aggregate::Counter),
            [(10, 100.0), (99, 130.0), (199, 150.0), (300, 152.0), (399, 163.0)]
        );
    }

    #[test]
    fn everything_else_reads_its_aggregate_or_the_average() {
        let a = Aggregates {
            min_ms: 99,
            max_ms: 199,
            count: chunk(&[(99, 4.0), (199, 2.0)]),
            sum: chunk(&[(99, 10.0), (199, 3.0)]),
            min: chunk(&[(99, 1.0), (199, 1.0)]),
            ..Default::default()
        };
        assert_eq!(read(vec![a.clone()], Aggregate::Average), [(99, 2.5), (199, 1.5)]);
        assert_eq!(read(vec![a.clone()], Aggregate::for_function("min_over_time")), [(99, 1.0), (199, 1.0)]);
        assert_eq!(
            read(vec![a.clone()], Aggregate::for_function("count_over_time")),
            [(99, 4.0), (199, 2.0)]
        );
        assert_eq!(read(vec![a], Aggregate::Max), []);
        assert_eq!(Aggregate::for_function("sum"), Aggregate::Average);
        assert_eq!(Aggregate::for_function("sum_over_time"), Aggregate::Sum);
    }
}
