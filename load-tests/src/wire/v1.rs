//! `prometheus.WriteRequest`: labels as texts beside every sample.

use super::protobuf::{bytes_len, put_bytes, put_sample, put_varint, sample_len, varint_len};
use crate::fleet::Fleet;

const TIMESERIES: u8 = 0x0a; // WriteRequest.timeseries = 1
const LABELS: u8 = 0x0a; // TimeSeries.labels = 1
const SAMPLES: u8 = 0x12; // TimeSeries.samples = 2
const NAME: u8 = 0x0a; // Label.name = 1
const VALUE: u8 = 0x12; // Label.value = 2

/// Appends the message that holds the present sample of each given series.
pub fn encode(fleet: &Fleet, series: &[u32], out: &mut Vec<u8>) {
    let timestamp_ms = fleet.timestamp_ms();
    let sample = sample_len(timestamp_ms);
    for &series in series {
        let length = labels_len(fleet, series) + 1 + varint_len(sample as u64) + sample;
        out.push(TIMESERIES);
        put_varint(out, length as u64);
        for (name, value) in fleet.labels(series as usize) {
            put_label(fleet.symbols.text(name), fleet.symbols.text(value), out);
        }
        put_sample(out, SAMPLES, fleet.value(series as usize), timestamp_ms);
    }
}

/// Appends a series with any labels (sorted by name) and any samples (value, timestamp in ms).
pub fn put_series(labels: &[(String, String)], samples: &[(f64, i64)], out: &mut Vec<u8>) {
    let label = |(name, value): &(String, String)| bytes_len(bytes_len(name.len()) + bytes_len(value.len()));
    let sample = |(_, timestamp_ms): &(f64, i64)| bytes_len(sample_len(*timestamp_ms));
    let length = labels.iter().map(label).sum::<usize>() + samples.iter().map(sample).sum::<usize>();
    out.push(TIMESERIES);
    put_varint(out, length as u64);
    for (name, value) in labels {
        put_label(name, value, out);
    }
    for (value, timestamp_ms) in samples {
        put_sample(out, SAMPLES, *value, *timestamp_ms);
    }
}

fn put_label(name: &str, value: &str, out: &mut Vec<u8>) {
    out.push(LABELS);
    put_varint(out, (bytes_len(name.len()) + bytes_len(value.len())) as u64);
    put_bytes(out, NAME, name.as_bytes());
    put_bytes(out, VALUE, value.as_bytes());
}

/// Bytes of a series' labels on the wire.
pub fn labels_len(fleet: &Fleet, series: u32) -> usize {
    let label = |(name, value)| {
        bytes_len(bytes_len(fleet.symbols.text(name).len()) + bytes_len(fleet.symbols.text(value).len()))
    };
    fleet.labels(series as usize).map(label).sum()
}
