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
            let (name, value) = (fleet.symbols.text(name), fleet.symbols.text(value));
            out.push(LABELS);
            put_varint(out, (bytes_len(name.len()) + bytes_len(value.len())) as u64);
            put_bytes(out, NAME, name.as_bytes());
            put_bytes(out, VALUE, value.as_bytes());
        }
        put_sample(out, SAMPLES, fleet.value(series as usize), timestamp_ms);
    }
}

/// Bytes of a series' labels on the wire.
pub fn labels_len(fleet: &Fleet, series: u32) -> usize {
    let label = |(name, value)| {
        bytes_len(bytes_len(fleet.symbols.text(name).len()) + bytes_len(fleet.symbols.text(value).len()))
    };
    fleet.labels(series as usize).map(label).sum()
}
