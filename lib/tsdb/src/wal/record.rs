//! What frames hold: the samples of a request, and the fences of windows.
//!
//! [`BatchRecord`] is columns, as the request is; the head fills one while it appends, the log encodes it, replay
//! decodes it into the same columns again. [`Control`] entries close and release windows.
//!
//! Invariant: `decode(encode(r)) == r`; hostile bytes give an error, never a panic, and allocate within
//! [`MAX_ENTRIES`]. Layout: docs/formats/wal.md.

use std::ops::Range;

use cairn_model::Value;
use cairn_model::exemplar::Exemplar;
use cairn_model::labels::LabelsRef;
use cairn_model::metadata::{Metadata, MetricType};
use cairn_model::sample::Sample;

use super::columns::{
    BadRecord, Reader, put_bytes, put_float, put_ints, put_uvarint, put_values, put_varint, take_ints,
    take_values,
};
use super::histogram::{put_histogram, take_histogram};

/// Most series or samples of one record. A request of 128 MiB has fewer: a sample takes 10 bytes on the wire.
pub const MAX_ENTRIES: usize = 1 << 24;

const VERSION: u8 = 1;

/// One request's accepted data. Reused from request to request.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct BatchRecord {
    /// Placement epoch under which the request was taken.
    pub epoch: u64,
    /// The request, for repair and repeats; 0 when the sender gave none.
    pub request_id: u128,
    /// Whose data it is.
    pub tenant: String,
    /// Log ids of the series.
    pub ids: Vec<i64>,
    /// Which series are defined here, by index into `ids`, rising, with their range of `labels`.
    pub definitions: Vec<(u32, Range<u32>)>,
    /// Canonical label bytes of the definitions.
    pub labels: Vec<u8>,
    /// How many floats each series has, in order of `ids`.
    pub float_counts: Vec<u32>,
    /// Times of the floats, series after series.
    pub t_ms: Vec<i64>,
    /// Values of the floats.
    pub values: Vec<f64>,
    /// Start timestamps of the floats; empty when all are unknown.
    pub start_ms: Vec<i64>,
    /// Histograms with the index of their series.
    pub histograms: Vec<(u32, Sample)>,
    /// Exemplars with the index of their series.
    pub exemplars: Vec<(u32, Exemplar)>,
    /// Metadata by family.
    pub metadata: Vec<(String, Metadata)>,
}

/// A request's accepted data as the encoder takes it: borrowed, so that a batch's columns are not copied.
#[derive(Debug, Clone, Copy, Default)]
pub struct RecordView<'a> {
    /// See [`BatchRecord`].
    pub epoch: u64,
    /// See [`BatchRecord`].
    pub request_id: u128,
    /// See [`BatchRecord`].
    pub tenant: &'a str,
    /// See [`BatchRecord`].
    pub ids: &'a [i64],
    /// Index into `ids`, rising, and canonical labels.
    pub definitions: &'a [(u32, &'a [u8])],
    /// How many floats each series has; empty when each has one.
    pub float_counts: &'a [u32],
    /// See [`BatchRecord`].
    pub t_ms: &'a [i64],
    /// See [`BatchRecord`].
    pub values: &'a [f64],
    /// See [`BatchRecord`].
    pub start_ms: &'a [i64],
    /// Index of the series, time, start timestamp, value.
    pub histograms: &'a [(u32, i64, i64, &'a Value)],
    /// See [`BatchRecord`].
    pub exemplars: &'a [(u32, &'a Exemplar)],
    /// See [`BatchRecord`].
    pub metadata: &'a [(String, Metadata)],
}

impl BatchRecord {
    /// Empties the record and keeps its memory.
    pub fn clear(&mut self) {
        self.tenant.clear();
        self.ids.clear();
        self.definitions.clear();
        self.labels.clear();
        self.float_counts.clear();
        self.t_ms.clear();
        self.values.clear();
        self.start_ms.clear();
        self.histograms.clear();
        self.exemplars.clear();
        self.metadata.clear();
    }

    /// Whether there is nothing to keep.
    pub fn is_empty(&self) -> bool {
        self.t_ms.is_empty()
            && self.histograms.is_empty()
            && self.exemplars.is_empty()
            && self.metadata.is_empty()
    }

    /// Appends the encoded record to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let text = |r: &Range<u32>| &self.labels[r.start as usize..r.end as usize];
        let definitions: Vec<_> = self.definitions.iter().map(|(i, r)| (*i, text(r))).collect();
        let histograms: Vec<_> =
            self.histograms.iter().map(|(i, s)| (*i, s.t_ms, s.start_ms, &s.value)).collect();
        let exemplars: Vec<_> = self.exemplars.iter().map(|(i, e)| (*i, e)).collect();
        let view = RecordView {
            epoch: self.epoch,
            request_id: self.request_id,
            tenant: &self.tenant,
            ids: &self.ids,
            definitions: &definitions,
            float_counts: &self.float_counts,
            t_ms: &self.t_ms,
            values: &self.values,
            start_ms: &self.start_ms,
            histograms: &histograms,
            exemplars: &exemplars,
            metadata: &self.metadata,
        };
        view.encode(out);
    }

    /// Replaces the record by the one in `bytes`.
    ///
    /// # Errors
    /// [`BadRecord`]; the record's content is then unspecified.
    pub fn decode(&mut self, bytes: &[u8]) -> Result<(), BadRecord> {
        self.clear();
        let r = &mut Reader(bytes);
        if r.byte()? != VERSION {
            return Err(BadRecord("unknown record version"));
        }
        self.epoch = r.uvarint()?;
        self.request_id = u128::from_le_bytes(r.take(16)?.try_into().expect("sixteen bytes were taken"));
        self.tenant.push_str(r.str()?);
        let n = r.count(MAX_ENTRIES)?;
        take_ints(r, n, &mut self.ids)?;
        self.decode_definitions(r)?;
        self.decode_floats(r)?;
        for _ in 0..r.count_of_bytes()? {
            self.histograms.push(take_histogram(r)?);
        }
        for _ in 0..r.count_of_bytes()? {
            let series = u32::try_from(r.uvarint()?).map_err(|_| BadRecord("series index out of range"))?;
            let (t_ms, value) = (r.varint()?, r.float()?);
            let labels =
                LabelsRef::parse_canonical(r.bytes()?).ok_or(BadRecord("labels of an exemplar"))?.to_labels();
            self.exemplars.push((series, Exemplar { labels, value, t_ms }));
        }
        for _ in 0..r.count_of_bytes()? {
            let family = r.str()?.to_owned();
            let metric_type = MetricType::from_wire(u64::from(r.byte()?));
            let (unit, help) = (r.str()?.to_owned(), r.str()?.to_owned());
            self.metadata.push((family, Metadata { metric_type, unit, help }));
        }
        let in_range = |s: u32| (s as usize) < n;
        if !self.histograms.iter().all(|h| in_range(h.0)) || !self.exemplars.iter().all(|e| in_range(e.0)) {
            return Err(BadRecord("series index out of range"));
        }
        if r.0.is_empty() { Ok(()) } else { Err(BadRecord("bytes left over")) }
    }

    fn decode_definitions(&mut self, r: &mut Reader<'_>) -> Result<(), BadRecord> {
        let mut index = 0u64;
        for i in 0..r.count_of_bytes()? {
            let delta = r.uvarint()?;
            if i > 0 && delta == 0 {
                return Err(BadRecord("series defined twice"));
            }
            index = index.checked_add(delta).ok_or(BadRecord("series index out of range"))?;
            if index >= self.ids.len() as u64 {
                return Err(BadRecord("series index out of range"));
            }
            let labels = LabelsRef::parse_canonical(r.bytes()?).ok_or(BadRecord("labels of a series"))?;
            let start = self.labels.len() as u32;
            self.labels.extend_from_slice(labels.as_bytes());
            self.definitions.push((index as u32, start..self.labels.len() as u32));
        }
        Ok(())
    }

    fn decode_floats(&mut self, r: &mut Reader<'_>) -> Result<(), BadRecord> {
        let (series, floats) = (self.ids.len(), r.count(MAX_ENTRIES)?);
        if floats == 0 {
            self.float_counts.resize(series, 0);
            return Ok(());
        }
        match r.byte()? {
            1 => self.float_counts.resize(series, 1),
            0 => {
                for _ in 0..series {
                    self.float_counts.push(r.count(floats)? as u32);
                }
            }
            _ => return Err(BadRecord("unknown mode of float counts")),
        }
        if self.float_counts.iter().map(|c| u64::from(*c)).sum::<u64>() != floats as u64 {
            return Err(BadRecord("float counts do not add up"));
        }
        take_ints(r, floats, &mut self.t_ms)?;
        take_values(r, floats, &mut self.values)?;
        match r.byte()? {
            0 => Ok(()),
            1 => take_ints(r, floats, &mut self.start_ms),
            _ => Err(BadRecord("unknown mode of start timestamps")),
        }
    }
}

impl RecordView<'_> {
    /// Appends the encoded record to `out`.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let label_bytes: usize = self.definitions.iter().map(|d| d.1.len() + 4).sum();
        out.reserve(64 + label_bytes + self.t_ms.len() * 10);
        out.push(VERSION);
        put_uvarint(out, self.epoch);
        out.extend_from_slice(&self.request_id.to_le_bytes());
        put_bytes(out, self.tenant.as_bytes());
        put_uvarint(out, self.ids.len() as u64);
        put_ints(out, self.ids);
        put_uvarint(out, self.definitions.len() as u64);
        let mut previous = 0;
        for (index, labels) in self.definitions {
            put_uvarint(out, u64::from(index - previous));
            previous = *index;
            put_bytes(out, labels);
        }
        self.encode_floats(out);
        put_uvarint(out, self.histograms.len() as u64);
        for (series, t_ms, start_ms, value) in self.histograms {
            put_histogram(out, *series, (*t_ms, *start_ms), value);
        }
        put_uvarint(out, self.exemplars.len() as u64);
        for (series, e) in self.exemplars {
            put_uvarint(out, u64::from(*series));
            put_varint(out, e.t_ms);
            put_float(out, e.value);
            put_bytes(out, e.labels.as_bytes());
        }
        put_uvarint(out, self.metadata.len() as u64);
        for (family, m) in self.metadata {
            put_bytes(out, family.as_bytes());
            out.push(m.metric_type as u8);
            put_bytes(out, m.unit.as_bytes());
            put_bytes(out, m.help.as_bytes());
        }
    }

    fn encode_floats(&self, out: &mut Vec<u8>) {
        debug_assert_eq!(self.t_ms.len(), self.values.len());
        put_uvarint(out, self.t_ms.len() as u64);
        if self.t_ms.is_empty() {
            return;
        }
        if self.float_counts.iter().all(|c| *c == 1) {
            debug_assert_eq!(self.t_ms.len(), self.ids.len());
            out.push(1);
        } else {
            debug_assert_eq!(self.float_counts.len(), self.ids.len());
            out.push(0);
            self.float_counts.iter().for_each(|c| put_uvarint(out, u64::from(*c)));
        }
        put_ints(out, self.t_ms);
        put_values(out, self.values);
        if self.start_ms.is_empty() {
            out.push(0);
        } else {
            out.push(1);
            put_ints(out, self.start_ms);
        }
    }
}

/// A fence of a window in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Control {
    /// What happened.
    pub what: ControlKind,
    /// Whose window.
    pub tenant: String,
    /// Start of the window.
    pub window_ms: i64,
    /// Its length.
    pub length_ms: u64,
    /// The generation that was closed or released.
    pub generation: u32,
}

impl Control {
    /// Whether this is the mark of the head snapshot `id`.
    pub fn is_mark(&self, id: u64) -> bool {
        self.what == ControlKind::Mark && self.window_ms == id as i64
    }
}

/// What a [`Control`] says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum ControlKind {
    /// Samples behind this record belong to later generations.
    Closed = 1,
    /// This generation and those before it are in verified blocks.
    Released = 2,
    /// All windows that begin before this one are closed; their late samples belong to the named generation.
    Floor = 3,
    /// A head snapshot holds everything before this record; the window's start is its number, the rest is empty.
    Mark = 4,
}

/// Appends encoded control entries to `out`.
pub fn encode_controls(out: &mut Vec<u8>, entries: &[Control]) {
    out.push(VERSION);
    for e in entries {
        out.push(e.what as u8);
        put_bytes(out, e.tenant.as_bytes());
        put_varint(out, e.window_ms);
        put_uvarint(out, e.length_ms);
        put_uvarint(out, u64::from(e.generation));
    }
}

/// Reads control entries.
///
/// # Errors
/// [`BadRecord`] when `bytes` are not control entries of a known version.
pub fn decode_controls(bytes: &[u8]) -> Result<Vec<Control>, BadRecord> {
    let r = &mut Reader(bytes);
    if r.byte()? != VERSION {
        return Err(BadRecord("unknown record version"));
    }
    let mut entries = Vec::new();
    while !r.0.is_empty() {
        let what = match r.byte()? {
            1 => ControlKind::Closed,
            2 => ControlKind::Released,
            3 => ControlKind::Floor,
            4 => ControlKind::Mark,
            _ => return Err(BadRecord("unknown control entry")),
        };
        let (tenant, window_ms, length_ms) = (r.str()?.to_owned(), r.varint()?, r.uvarint()?);
        let generation = u32::try_from(r.uvarint()?).map_err(|_| BadRecord("generation out of range"))?;
        entries.push(Control { what, tenant, window_ms, length_ms, generation });
    }
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::{CounterResetHint, FloatHistogram, Histogram, Labels, Span};
    use std::sync::Arc;

    fn sample_record() -> BatchRecord {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a")]).unwrap();
        let n = labels.as_bytes().len() as u32;
        let histogram = Histogram {
            reset_hint: CounterResetHint::Gauge,
            schema: -53,
            count: 3,
            sum: -0.0,
            positive_spans: vec![Span { offset: -2, length: 3 }],
            positive_buckets: vec![1, 0, -1],
            negative_buckets: vec![i64::MIN],
            custom_values: vec![0.5, f64::INFINITY],
            ..Default::default()
        };
        let float = FloatHistogram { count: 1.5, negative_buckets: vec![2.5], ..Default::default() };
        let h = |value| Sample { t_ms: -7, start_ms: 3, value };
        BatchRecord {
            epoch: 300,
            request_id: 1 << 100,
            tenant: "acme".into(),
            ids: vec![7, 8, 2],
            definitions: vec![(0, 0..n), (2, n..2 * n)],
            labels: [labels.as_bytes(), labels.as_bytes()].concat(),
            float_counts: vec![1, 0, 2],
            t_ms: vec![5, 6, 7],
            values: vec![1.0, 0.25, -0.0],
            start_ms: vec![1, 1, 1],
            histograms: vec![
                (1, h(Value::Histogram(Arc::new(histogram)))),
                (2, h(Value::FloatHistogram(Arc::new(float)))),
            ],
            exemplars: vec![(2, Exemplar { labels, value: 0.5, t_ms: 9 })],
            metadata: vec![("up".into(), Metadata { help: "é".into(), ..Default::default() })],
        }
    }

    #[test]
    fn records_round_trip() {
        for record in [sample_record(), BatchRecord::default()] {
            let mut bytes = Vec::new();
            record.encode(&mut bytes);
            let mut back = sample_record();
            back.decode(&bytes).unwrap();
            assert_eq!(back, record);
        }
    }

    #[test]
    fn every_cut_and_every_flipped_bit_is_an_error_or_another_record() {
        let mut bytes = Vec::new();
        sample_record().encode(&mut bytes);
        let mut back = BatchRecord::default();
        for cut in 0..bytes.len() {
            assert!(back.decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for bit in 0..bytes.len() * 8 {
            bytes[bit / 8] ^= 1 << (bit % 8);
            let _ = back.decode(&bytes); // must not panic; the frame's CRC is what detects it
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
    }

    #[test]
    fn controls_round_trip() {
        let entry = |what, generation| Control {
            what,
            tenant: "t".into(),
            window_ms: -7_200_000,
            length_ms: 7_200_000,
            generation,
        };
        let entries = [entry(ControlKind::Closed, 0), entry(ControlKind::Released, 3)];
        let mut bytes = Vec::new();
        encode_controls(&mut bytes, &entries);
        assert_eq!(decode_controls(&bytes).unwrap(), entries);
        for cut in 2..bytes.len() {
            if let Ok(fewer) = decode_controls(&bytes[..cut]) {
                assert!(entries.starts_with(&fewer), "cut at {cut}");
            }
        }
    }
}
