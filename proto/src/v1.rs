//! Remote write 1.0: `prometheus.WriteRequest`.
//!
//! A series is first known by its *label region*, the leading run of label fields as it came: equal regions are
//! equal series, so a receiver that has seen the region before need not look inside.
//!
//! This is a hot file: no allocation.

use cairn_model::metadata::MetricType;

use crate::datum::Data;
use crate::error::DecodeError;
use crate::wire::Reader;

const WRITE_REQUEST: &str = "WriteRequest";
const TIME_SERIES: &str = "TimeSeries";
const LABEL: &str = "Label";
const METRIC_METADATA: &str = "MetricMetadata";
const EXEMPLAR: &str = "Exemplar";

/// Tag of `TimeSeries.labels`.
const LABEL_TAG: u8 = 0x0a;

/// Items of a request, in its order.
#[derive(Debug, Clone)]
pub struct Request<'a> {
    reader: Reader<'a>,
}

/// One item of a request.
#[derive(Debug, Clone, Copy)]
pub enum Item<'a> {
    /// A series.
    Series(Series<'a>),
    /// Metadata of a metric family.
    Metadata(FamilyMetadata<'a>),
}

/// A series as it came.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    bytes: &'a [u8],
}

/// Metadata of a metric family; texts are not checked yet.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct FamilyMetadata<'a> {
    /// Kind of the family.
    pub metric_type: MetricType,
    /// Its name.
    pub family: &'a [u8],
    /// Help text.
    pub help: &'a [u8],
    /// Unit.
    pub unit: &'a [u8],
}

/// An exemplar; its labels are read on demand.
#[derive(Debug, Clone)]
pub struct Exemplar<'a> {
    /// The measured value.
    pub value: f64,
    /// When.
    pub t_ms: i64,
    /// Its labels.
    pub labels: Labels<'a>,
}

impl<'a> Request<'a> {
    /// Reads a decompressed body.
    pub fn new(body: &'a [u8]) -> Self {
        Request { reader: Reader::new(body, WRITE_REQUEST) }
    }
}

impl<'a> Iterator for Request<'a> {
    type Item = Result<Item<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let field = match self.reader.next_field() {
                Ok(Some(field)) => field,
                Ok(None) => return None,
                Err(e) => return Some(Err(e)),
            };
            return Some(match field.number {
                1 => field.bytes(WRITE_REQUEST).map(|bytes| Item::Series(Series { bytes })),
                3 => field.bytes(WRITE_REQUEST).and_then(metadata).map(Item::Metadata),
                _ => continue,
            });
        }
    }
}

impl<'a> Series<'a> {
    /// Takes the bytes of a `TimeSeries` message, for instance those that [`Series::bytes`] gave.
    pub fn from_bytes(bytes: &'a [u8]) -> Self {
        Series { bytes }
    }

    /// The whole message.
    pub fn bytes(self) -> &'a [u8] {
        self.bytes
    }

    /// The first `len` bytes when the leading run of labels may end there: no label follows.
    #[inline]
    pub fn region_of_len(self, len: usize) -> Option<&'a [u8]> {
        match self.bytes.get(len) {
            Some(&LABEL_TAG) => None,
            Some(_) => Some(&self.bytes[..len]),
            None => (len == self.bytes.len()).then_some(self.bytes),
        }
    }

    /// The leading run of label fields, found by walking it.
    ///
    /// # Errors
    /// [`DecodeError`] when a length in it lies.
    pub fn region(self) -> Result<&'a [u8], DecodeError> {
        let mut rest = self.bytes;
        while let [LABEL_TAG, len, after @ ..] = rest {
            match after.split_at_checked(usize::from(*len)) {
                Some((_, after)) if *len < 0x80 => rest = after,
                // A long label, or damage.
                _ => {
                    let mut reader = Reader::new(rest, TIME_SERIES);
                    reader.next_field()?;
                    rest = reader.rest();
                }
            }
        }
        if rest == [LABEL_TAG] {
            Reader::new(rest, TIME_SERIES).next_field()?;
        }
        Ok(&self.bytes[..self.bytes.len() - rest.len()])
    }

    /// All labels of the message, wherever they stand.
    pub fn labels(self) -> Labels<'a> {
        Labels { reader: Reader::new(self.bytes, TIME_SERIES), field: 1 }
    }

    /// What stands behind a region of `region_len` bytes.
    #[inline]
    pub fn data(self, region_len: usize) -> Data<'a, false> {
        Data::new(&self.bytes[region_len..])
    }
}

/// `(name, value)` of labels in the order in which they came; not checked in any way.
#[derive(Debug, Clone)]
pub struct Labels<'a> {
    reader: Reader<'a>,
    field: u32,
}

impl<'a> Iterator for Labels<'a> {
    type Item = Result<(&'a [u8], &'a [u8]), DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.reader.next_field() {
                Ok(Some(field)) if field.number == self.field => {
                    return Some(field.bytes(TIME_SERIES).and_then(label));
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

/// `1 name, 2 value`.
fn label(bytes: &[u8]) -> Result<(&[u8], &[u8]), DecodeError> {
    let mut reader = Reader::new(bytes, LABEL);
    let (mut name, mut value): (&[u8], &[u8]) = (&[], &[]);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => name = field.bytes(LABEL)?,
            2 => value = field.bytes(LABEL)?,
            _ => {}
        }
    }
    Ok((name, value))
}

/// Reads an exemplar of 1.0: `1 labels, 2 value, 3 timestamp`.
///
/// # Errors
/// [`DecodeError`] when the message is damaged, its labels included.
pub fn exemplar(bytes: &[u8]) -> Result<Exemplar<'_>, DecodeError> {
    let labels = Labels { reader: Reader::new(bytes, EXEMPLAR), field: 1 };
    let mut exemplar = Exemplar { value: 0.0, t_ms: 0, labels };
    let mut reader = Reader::new(bytes, EXEMPLAR);
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => drop(label(field.bytes(EXEMPLAR)?)?),
            2 => exemplar.value = field.double(EXEMPLAR)?,
            3 => exemplar.t_ms = field.varint(EXEMPLAR)? as i64,
            _ => {}
        }
    }
    Ok(exemplar)
}

/// `1 type, 2 metric_family_name, 4 help, 5 unit`.
fn metadata(bytes: &[u8]) -> Result<FamilyMetadata<'_>, DecodeError> {
    let mut reader = Reader::new(bytes, METRIC_METADATA);
    let mut metadata = FamilyMetadata::default();
    while let Some(field) = reader.next_field()? {
        match field.number {
            1 => metadata.metric_type = MetricType::from_wire(field.varint(METRIC_METADATA)?),
            2 => metadata.family = field.bytes(METRIC_METADATA)?,
            4 => metadata.help = field.bytes(METRIC_METADATA)?,
            5 => metadata.unit = field.bytes(METRIC_METADATA)?,
            _ => {}
        }
    }
    Ok(metadata)
}
