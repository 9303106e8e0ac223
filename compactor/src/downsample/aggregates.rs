//! Aggregates of aggregates: count and sum add up, minimum and maximum are taken again, and the counter is read as
//! one line across chunks before it is aggregated.

use cairn_model::chunk::Aggregates;
use cairn_model::{Chunk, ChunkData, Encoding, FloatHistogram, TimestampMs, Value};
use cairn_tsdb::chunkenc::{ChunkDecoder, decode_floats, sample_count};

use super::FloatColumns;
use super::batch::{for_each_window, target_chunks};
use super::float::{RunningCounter, encode_floats};
use super::histogram::{RunningHistogram, encode};

/// Coarser aggregates of `chunks`, in order of time, from windows of `in_ms` to windows of `out_ms`.
///
/// # Errors
/// Why a slot cannot be decoded.
pub fn downsample(chunks: &[Aggregates], in_ms: i64, out_ms: i64) -> Result<Vec<Aggregates>, String> {
    let mut out = Vec::new();
    for run in chunks.chunk_by(|a, b| of_histograms(a) == of_histograms(b)) {
        let (min_ms, max_ms) = (run[0].min_ms, run[run.len() - 1].max_ms);
        let samples = run.iter().filter_map(|a| a.count.as_ref()).map(|c| sample_count(payload(c).1)).sum();
        let batch = (run.len() / target_chunks(min_ms, max_ms, in_ms, out_ms, samples)).max(1);
        for part in run.chunks(batch) {
            let made =
                if of_histograms(&part[0]) { histograms(part, out_ms)? } else { floats(part, out_ms)? };
            out.extend(made);
        }
    }
    Ok(out)
}

/// The rising line of a counter over the chunks of a batch: each time once; a repeated time carries the true last
/// raw value, against which the next is compared. Gives the line and that last raw value.
///
/// # Errors
/// Why a slot cannot be decoded.
pub fn counter_line(chunks: &[Aggregates]) -> Result<(FloatColumns, f64), String> {
    let (mut line, mut last, mut total) = (FloatColumns::default(), None::<(TimestampMs, f64)>, 0.0);
    for c in chunks {
        let stored = decode(c.counter.as_ref())?;
        for (t, v) in stored.t_ms.into_iter().zip(stored.values) {
            match last {
                Some((last_t, _)) if t < last_t => continue,
                Some((last_t, _)) if t == last_t => {}
                Some((_, last_v)) => total += if v < last_v { v } else { v - last_v },
                None => total = v,
            }
            if last.is_none_or(|(last_t, _)| t > last_t) {
                line.t_ms.push(t);
                line.values.push(total);
            }
            last = Some((t, v));
        }
    }
    Ok((line, last.map_or(0.0, |(_, v)| v)))
}

fn floats(part: &[Aggregates], out_ms: i64) -> Result<Option<Aggregates>, String> {
    type Slot = fn(&Aggregates) -> Option<&Chunk>;
    type Fold = fn(&[f64]) -> f64;
    let total: Fold = |w| w.iter().sum();
    let least: Fold = |w| w.iter().copied().fold(f64::INFINITY, |a, b| if b < a { b } else { a });
    let greatest: Fold = |w| w.iter().copied().fold(f64::NEG_INFINITY, |a, b| if b > a { b } else { a });
    let slots: [(Slot, Fold); 4] = [
        (|a| a.count.as_ref(), total),
        (|a| a.sum.as_ref(), total),
        (|a| a.min.as_ref(), least),
        (|a| a.max.as_ref(), greatest),
    ];
    let mut columns = Vec::with_capacity(slots.len());
    for (slot, fold) in slots {
        let mut stored = FloatColumns::default();
        for a in part {
            append(slot(a), &mut stored)?;
        }
        let mut made = FloatColumns::default();
        for_each_window(&stored.t_ms, out_ms, |rows, at| {
            made.t_ms.push(at);
            made.values.push(fold(&stored.values[rows]));
        });
        columns.push(made);
    }
    let (line, last_raw) = counter_line(part)?;
    let mut counter = FloatColumns::default();
    if let Some(first) = line.t_ms.first() {
        counter.t_ms.push(*first);
        counter.values.push(line.values[0]);
        let mut running = RunningCounter::default();
        for_each_window(&line.t_ms, out_ms, |rows, at| {
            line.values[rows].iter().for_each(|v| running.add(*v));
            counter.t_ms.push(at);
            counter.values.push(running.total());
        });
        counter.t_ms.push(line.t_ms[line.t_ms.len() - 1]);
        counter.values.push(last_raw);
    }
    let ends = |c: &FloatColumns| c.t_ms.first().copied().zip(c.t_ms.last().copied());
    let Some((min_ms, max_ms)) = columns.iter().find_map(ends) else { return Ok(None) };
    let slot = |c: &FloatColumns| encode_floats(min_ms, max_ms, &c.t_ms, &c.values);
    Ok(Some(Aggregates {
        min_ms,
        max_ms,
        count: slot(&columns[0]),
        sum: slot(&columns[1]),
        min: slot(&columns[2]),
        max: slot(&columns[3]),
        counter: slot(&counter),
    }))
}

fn histograms(part: &[Aggregates], out_ms: i64) -> Result<Option<Aggregates>, String> {
    let mut counts = FloatColumns::default();
    let (mut sums, mut counters) = (Vec::new(), Vec::new());
    for a in part {
        append(a.count.as_ref(), &mut counts)?;
        append_histograms(a.sum.as_ref(), &mut sums)?;
        append_histograms(a.counter.as_ref(), &mut counters)?;
    }
    let schema = sums.iter().chain(&counters).map(|(_, h)| h.schema).min().unwrap_or(0);
    sums.iter_mut().chain(&mut counters).for_each(|(_, h)| h.reduce_resolution(schema));
    let cannot = || "histograms of one batch do not add up".to_owned();

    let mut count_out = FloatColumns::default();
    for_each_window(&counts.t_ms, out_ms, |rows, at| {
        count_out.t_ms.push(at);
        count_out.values.push(counts.values[rows].iter().sum());
    });
    let (mut sum_out, mut addable) = (Vec::new(), true);
    let sum_times: Vec<TimestampMs> = sums.iter().map(|(t, _)| *t).collect();
    for_each_window(&sum_times, out_ms, |rows, at| {
        let mut sum = sums[rows.start].1.clone();
        addable &= sums[rows][1..].iter().all(|(_, h)| sum.add(h).is_ok());
        sum_out.push((at, sum));
    });
    let (mut line, mut running, mut last_t) = (Vec::new(), RunningHistogram::default(), None);
    for (t, h) in &counters {
        // A repeated time carries the true last raw value: it is only what the next one is compared with.
        if last_t == Some(*t) {
            running.set_last(h);
        } else if last_t.is_none_or(|last| last < *t) {
            addable &= running.add(h).is_some();
            line.push((*t, running.total().clone()));
        }
        last_t = last_t.max(Some(*t));
    }
    if !addable {
        return Err(cannot());
    }
    let line_times: Vec<TimestampMs> = line.iter().map(|(t, _)| *t).collect();
    let mut counter_out = Vec::new();
    if let (Some(first), Some(last)) = (line.first(), counters.last()) {
        counter_out.push(first.clone());
        for_each_window(&line_times, out_ms, |rows, at| counter_out.push((at, line[rows.end - 1].1.clone())));
        counter_out.push((line_times[line_times.len() - 1], last.1.clone()));
    }
    let Some((&min_ms, &max_ms)) = count_out.t_ms.first().zip(count_out.t_ms.last()) else { return Ok(None) };
    Ok(Some(Aggregates {
        min_ms,
        max_ms,
        count: encode_floats(min_ms, max_ms, &count_out.t_ms, &count_out.values),
        sum: Some(encode(min_ms, max_ms, sum_out, true).ok_or_else(cannot)?),
        min: None,
        max: None,
        counter: Some(encode(min_ms, max_ms, counter_out, false).ok_or_else(cannot)?),
    }))
}

fn of_histograms(a: &Aggregates) -> bool {
    let slot = a.counter.as_ref().or(a.sum.as_ref());
    slot.is_some_and(|c| matches!(payload(c).0, Encoding::FloatHistogram | Encoding::Histogram))
}

/// Encoding and payload of a slot that was read from a block.
fn payload(c: &Chunk) -> (Encoding, &[u8]) {
    match &c.data {
        ChunkData::Encoded(encoding, bytes) => (*encoding, bytes),
        ChunkData::Columns(_) => (Encoding::Xor, &[]),
    }
}

fn decode(slot: Option<&Chunk>) -> Result<FloatColumns, String> {
    let mut columns = FloatColumns::default();
    append(slot, &mut columns)?;
    Ok(columns)
}

fn append(slot: Option<&Chunk>, out: &mut FloatColumns) -> Result<(), String> {
    let Some(slot) = slot else { return Ok(()) };
    let (encoding, bytes) = payload(slot);
    let from = out.t_ms.len();
    decode_floats(encoding, bytes, &mut out.t_ms, &mut out.values).map_err(|m| m.to_string())?;
    out.drop_nans(from);
    Ok(())
}

fn append_histograms(
    slot: Option<&Chunk>,
    out: &mut Vec<(TimestampMs, FloatHistogram)>,
) -> Result<(), String> {
    let Some(slot) = slot else { return Ok(()) };
    let (encoding, bytes) = payload(slot);
    for s in ChunkDecoder::new(encoding, bytes) {
        let s = s.map_err(|m| m.to_string())?;
        match s.value {
            Value::FloatHistogram(h) if !h.is_stale() => out.push((s.t_ms, (*h).clone())),
            Value::Histogram(h) if !h.is_stale() => out.push((s.t_ms, h.to_float())),
            _ => {}
        }
    }
    Ok(())
}
