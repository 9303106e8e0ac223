//! What a series holds, item by item: the part that 1.0 and 2.0 share.
//!
//! This is a hot file: a float sample costs a few instructions and no allocation.

use cairn_model::TimestampMs;

use crate::error::DecodeError;
use crate::histogram::HistogramBytes;
use crate::wire::Reader;

const SAMPLE: &str = "Sample";
const TIME_SERIES: &str = "TimeSeries";

/// One item of a series.
#[derive(Debug, Clone, Copy)]
pub enum Datum<'a> {
    /// A float sample.
    Float(FloatSample),
    /// A native histogram sample, decoded on demand.
    Histogram(HistogramBytes<'a>),
    /// An exemplar: the bytes of its message, whose layout depends on the version.
    Exemplar(&'a [u8]),
    /// 2.0 only: metadata of the series' family.
    Metadata(MetadataRefs),
    /// A label (1.0) or a list of label references (2.0) behind the leading run: the caller must look at all
    /// labels again.
    Label,
}

/// A float sample.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FloatSample {
    /// When.
    pub t_ms: TimestampMs,
    /// The value, stale markers to the bit.
    pub value: f64,
    /// Start timestamp, 0 = unknown; always 0 in 1.0.
    pub start_ms: TimestampMs,
}

/// Metadata of 2.0: type and the indexes of two symbols.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct MetadataRefs {
    /// Number of the type, see [`cairn_model::metadata::MetricType::from_wire`].
    pub metric_type: u64,
    /// Symbol of the help text.
    pub help_ref: u64,
    /// Symbol of the unit.
    pub unit_ref: u64,
}

/// Items of a series; `V2` chooses the field numbers.
#[derive(Debug, Clone)]
pub struct Data<'a, const V2: bool> {
    reader: Reader<'a>,
}

impl<'a, const V2: bool> Data<'a, V2> {
    /// Reads the rest of a `TimeSeries` message from a field boundary on.
    #[inline]
    pub(crate) fn new(rest: &'a [u8]) -> Self {
        Data { reader: Reader::new(rest, TIME_SERIES) }
    }

    /// Whether nothing is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.reader.rest().is_empty()
    }

    /// The next item if it is a float sample as nearly all are written: value, time of six bytes, in 2.0 perhaps a
    /// start timestamp of six bytes. Anything else is left for [`Iterator::next`]. Made for the hot path.
    #[inline(always)]
    pub fn next_plain_float(&mut self) -> Option<FloatSample> {
        let [0x12, len, 0x09, rest @ ..] = self.reader.rest() else { return None };
        let (value, rest) = rest.split_first_chunk::<8>()?;
        let [0x10, rest @ ..] = rest else { return None };
        let (time, mut rest) = rest.split_first_chunk::<6>()?;
        let t_ms = six_byte_varint(time)?;
        let mut start_ms = 0;
        if *len != PLAIN_FLOAT_LEN {
            let [0x18, after @ ..] = rest else { return None };
            let (start, after) = after.split_first_chunk::<6>()?;
            if !V2 || *len != PLAIN_FLOAT_LEN + 7 {
                return None;
            }
            (start_ms, rest) = (six_byte_varint(start)?, after);
        }
        self.reader = Reader::new(rest, TIME_SERIES);
        Some(FloatSample { t_ms, value: f64::from_le_bytes(*value), start_ms })
    }
}

/// Tag and value, tag and time of six bytes.
const PLAIN_FLOAT_LEN: u8 = 9 + 7;

impl<'a, const V2: bool> Iterator for Data<'a, V2> {
    type Item = Result<Datum<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let field = match self.reader.next_field() {
                Ok(Some(field)) => field,
                Ok(None) => return None,
                Err(e) => return Some(Err(e)),
            };
            let datum = match (field.number, V2) {
                (2, _) => field.bytes(TIME_SERIES).and_then(sample::<V2>).map(Datum::Float),
                (1, _) => field.bytes(TIME_SERIES).map(|_| Datum::Label).or_else(|e| match field.value {
                    // One reference, not packed.
                    crate::wire::FieldValue::Varint(_) if V2 => Ok(Datum::Label),
                    _ => Err(e),
                }),
                (4, false) | (3, true) => {
                    field.bytes(TIME_SERIES).map(|b| Datum::Histogram(HistogramBytes(b)))
                }
                (3, false) | (4, true) => field.bytes(TIME_SERIES).map(Datum::Exemplar),
                (5, true) => field.bytes(TIME_SERIES).and_then(metadata).map(Datum::Metadata),
                _ => continue,
            };
            return Some(datum);
        }
    }
}

/// `1 value double, 2 timestamp int64`, in 2.0 also `3 start_timestamp int64`.
#[inline]
fn sample<const V2: bool>(bytes: &[u8]) -> Result<FloatSample, DecodeError> {
    // As every encoder writes it: value, then timestamp, and nothing else.
    if let [0x09, value @ ..] = bytes
        && let Some((value, [0x10, time @ ..])) = value.split_first_chunk::<8>()
    {
        let mut reader = Reader::new(time, SAMPLE);
        let t_ms = reader.varint()? as i64;
        if reader.rest().is_empty() {
            return Ok(FloatSample { t_ms, value: f64::from_le_bytes(*value), start_ms: 0 });
        }
    }
    sample_in_any_order::<V2>(bytes)
}

/// The number in `bytes` if it takes exactly six, as milliseconds do from 1971 to 2109.
#[inline]
fn six_byte_varint(bytes: &[u8; 6]) -> Option<i64> {
    let [a, b, c, d, e, f] = *bytes;
    let word = i64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    if word & 0x8080_8080_8080 != 0x0080_8080_8080 {
        return None;
    }
    // Pairs of 7 bits, then pairs of 14, then the last.
    let pairs = word & 0x007f_007f_007f | (word & 0x7f00_7f00_7f00) >> 1;
    Some(pairs & 0x3fff | (pairs & 0x3fff_0000) >> 2 | (pairs & 0x3fff_0000_0000) >> 4)
}

fn sample_in_any_order<const V2: bool>(bytes: &[u8]) -> Result<FloatSample, DecodeError> {
    let mut reader = Reader::new(bytes, SAMPLE);
    let mut sample = FloatSample { t_ms: 0, value: 0.0, start_ms: 0 };
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => sample.value = field.double(SAMPLE)?,
            2 => sample.t_ms = field.varint(SAMPLE)? as i64,
            3 if V2 => sample.start_ms = field.varint(SAMPLE)? as i64,
            _ => {}
        }
    }
    Ok(sample)
}

/// `1 type, 3 help_ref, 4 unit_ref`.
fn metadata(bytes: &[u8]) -> Result<MetadataRefs, DecodeError> {
    const METADATA: &str = "Metadata";
    let mut reader = Reader::new(bytes, METADATA);
    let mut refs = MetadataRefs::default();
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => refs.metric_type = field.varint(METADATA)?,
            3 => refs.help_ref = field.varint(METADATA)?,
            4 => refs.unit_ref = field.varint(METADATA)?,
            _ => {}
        }
    }
    Ok(refs)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn samples_in_any_order_and_with_unknown_fields_are_read() {
        let value = [&[0x09][..], &2.5f64.to_le_bytes()].concat();
        let time = [0x10, 0x96, 0x01];
        let start = [0x18, 7];
        let unknown = [0x7a, 1, 0];
        let want = FloatSample { t_ms: 150, value: 2.5, start_ms: 0 };
        assert_eq!(sample::<false>(&[&value[..], &time].concat()), Ok(want));
        assert_eq!(sample::<false>(&[&time[..], &value].concat()), Ok(want));
        assert_eq!(
            sample::<true>(&[&value[..], &time, &start, &unknown].concat()),
            Ok(FloatSample { start_ms: 7, ..want })
        );
        // 1.0 has no start timestamp: field 3 is unknown there.
        assert_eq!(sample::<false>(&[&value[..], &time, &start].concat()), Ok(want));
        // proto3 leaves zeros out; a later value of the same field wins.
        assert_eq!(sample::<true>(&[]), Ok(FloatSample { t_ms: 0, value: 0.0, start_ms: 0 }));
        assert_eq!(sample::<true>(&[&value[..], &[0x10, 1], &time].concat()), Ok(want));
    }

    #[test]
    fn plain_floats_are_what_the_walk_finds() {
        let time = |tag: u8, t: i64| {
            let bytes = (0..6).map(|i| (t >> (7 * i)) as u8 & 0x7f | if i < 5 { 0x80 } else { 0 });
            std::iter::once(tag).chain(bytes).collect::<Vec<u8>>()
        };
        let sample = |parts: &[&[u8]]| {
            let inner = parts.concat();
            [&[0x12, inner.len() as u8][..], &inner].concat()
        };
        let value = [&[0x09][..], &2.5f64.to_le_bytes()].concat();
        let (t, start) = (time(0x10, 1_700_000_000_000), time(0x18, 1_600_000_000_000));
        for (bytes, plain) in [
            (sample(&[&value, &t]), true),
            (sample(&[&value, &t, &start]), true),
            (sample(&[&value, &t, &[0x18, 7]]), false),
            (sample(&[&value, &[0x10, 5]]), false),
            (sample(&[&t, &value]), false),
            (sample(&[&value]), false),
            (sample(&[]), false),
        ] {
            for cut in 0..=bytes.len() {
                let mut fast = Data::<true>::new(&bytes[..cut]);
                let walked = Data::<true>::new(&bytes[..cut]).next();
                match fast.next_plain_float() {
                    Some(s) => {
                        assert!(matches!(walked, Some(Ok(Datum::Float(w))) if w == s) && fast.is_empty());
                    }
                    None => assert!(!plain || cut < bytes.len(), "{bytes:?}"),
                }
            }
        }
        // 1.0 has no start timestamp.
        assert_eq!(Data::<false>::new(&sample(&[&value, &t, &start])).next_plain_float(), None);
    }

    #[test]
    fn a_sample_cut_anywhere_is_an_error_or_shorter() {
        let whole = [&[0x09][..], &2.5f64.to_le_bytes(), &[0x10, 0x96, 0x01]].concat();
        for cut in 0..whole.len() {
            match sample::<true>(&whole[..cut]) {
                Ok(s) => assert!(s.t_ms == 0, "cut at {cut}"),
                Err(e) => assert!(e.to_string().contains("Sample")),
            }
        }
    }

    #[test]
    fn times_of_six_bytes_are_read_like_any_other() {
        for t in [1i64 << 35, (1 << 42) - 1, 1_700_000_000_123, 0x2aa_aaaa_aaaa, 0x155_5555_5555] {
            let bytes: Vec<u8> =
                (0..6).map(|i| (t >> (7 * i)) as u8 & 0x7f | if i < 5 { 0x80 } else { 0 }).collect();
            assert_eq!(six_byte_varint(bytes.first_chunk().unwrap()), Some(t));
            assert_eq!(Reader::new(&bytes, "T").varint(), Ok(t as u64));
        }
        assert_eq!(six_byte_varint(&[0x80, 0x80, 0x01, 0x80, 0x80, 0x01]), None);
        assert_eq!(six_byte_varint(&[0x80; 6]), None);
    }

    #[test]
    fn negative_times_take_ten_bytes() {
        let mut bytes = vec![0x10];
        bytes.extend([0xff; 9]);
        bytes.push(1);
        assert_eq!(sample::<true>(&bytes).unwrap().t_ms, -1);
    }
}
