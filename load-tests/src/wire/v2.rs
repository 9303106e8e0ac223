//! `io.prometheus.write.v2.Request`: every text once a request, series refer to it by number.

use super::protobuf::{put_bytes, put_sample, put_varint, sample_len, varint_len};
use crate::fleet::{Fleet, SymbolId};

const SYMBOLS: u8 = 0x22; // Request.symbols = 4
const TIMESERIES: u8 = 0x2a; // Request.timeseries = 5
const LABELS_REFS: u8 = 0x0a; // TimeSeries.labels_refs = 1, packed
const SAMPLES: u8 = 0x12; // TimeSeries.samples = 2

/// Buffers kept between requests.
#[derive(Default)]
pub struct Scratch {
    /// For each text of the fleet: the request it was last used in and its number there.
    uses: Vec<(u32, u32)>,
    request: u32,
    table: Vec<SymbolId>,
    series: Vec<u8>,
    refs: Vec<u8>,
}

impl Scratch {
    fn begin(&mut self, fleet: &Fleet) {
        self.request += 1;
        self.table.clear();
        self.series.clear();
        self.uses.resize(fleet.symbols.len(), (0, 0));
    }

    fn reference(&mut self, symbol: SymbolId) -> u64 {
        let (request, number) = &mut self.uses[symbol.index()];
        if *request != self.request {
            self.table.push(symbol);
            // Symbol 0 is the empty text.
            (*request, *number) = (self.request, self.table.len() as u32);
        }
        u64::from(*number)
    }
}

/// Appends the message that holds the present sample of each given series.
pub fn encode(fleet: &Fleet, series: &[u32], scratch: &mut Scratch, out: &mut Vec<u8>) {
    scratch.begin(fleet);
    let timestamp_ms = fleet.timestamp_ms();
    let sample = sample_len(timestamp_ms);
    for &series in series {
        let mut refs = std::mem::take(&mut scratch.refs);
        refs.clear();
        for (name, value) in fleet.labels(series as usize) {
            put_varint(&mut refs, scratch.reference(name));
            put_varint(&mut refs, scratch.reference(value));
        }
        let length = 1 + varint_len(refs.len() as u64) + refs.len() + 1 + varint_len(sample as u64) + sample;
        scratch.series.push(TIMESERIES);
        put_varint(&mut scratch.series, length as u64);
        put_bytes(&mut scratch.series, LABELS_REFS, &refs);
        put_sample(&mut scratch.series, SAMPLES, fleet.value(series as usize), timestamp_ms);
        scratch.refs = refs;
    }
    put_bytes(out, SYMBOLS, b"");
    for symbol in &scratch.table {
        put_bytes(out, SYMBOLS, fleet.symbols.text(*symbol).as_bytes());
    }
    out.extend_from_slice(&scratch.series);
}
