//! Remote write 2.0: `io.prometheus.write.v2.Request`.
//!
//! Texts stand once a request in a table of symbols; labels are lists of indexes into it. [`Request::read`]
//! finds the table wherever it stands, then the series are walked.
//!
//! This is a hot file: the only allocation is the table of symbol ranges, whose memory is used again.

use std::ops::Range;

use crate::datum::Data;
use crate::error::DecodeError;
use crate::wire::{Field, FieldValue, Reader};

const REQUEST: &str = "Request";
const TIME_SERIES: &str = "TimeSeries";
const EXEMPLAR: &str = "Exemplar";

/// Most symbols a request may have. Judgement: a stock sender needs about 300 for 2,000 samples; a million
/// keeps what is held per symbol below 32 MiB.
pub const MAX_SYMBOLS: usize = 1 << 20;

/// Tag of `TimeSeries.labels_refs`, packed.
const PACKED_REFS_TAG: u8 = 0x0a;

/// A request whose table of symbols has been found.
#[derive(Debug, Clone, Copy)]
pub struct Request<'a, 's> {
    body: &'a [u8],
    symbols: &'s [Range<u32>],
    first_series: usize,
}

impl<'a, 's> Request<'a, 's> {
    /// Reads the outermost level of a decompressed body, filling `symbols` with the ranges of the symbols.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are damaged or hold more than [`MAX_SYMBOLS`].
    pub fn read(body: &'a [u8], symbols: &'s mut Vec<Range<u32>>) -> Result<Self, DecodeError> {
        symbols.clear();
        let mut reader = Reader::new(body, REQUEST);
        let mut first_series = None;
        loop {
            let at = body.len() - reader.rest().len();
            let Some(field) = reader.next_field()? else { break };
            match field.number {
                4 => {
                    if symbols.len() == MAX_SYMBOLS {
                        return Err(DecodeError::TooManySymbols { limit: MAX_SYMBOLS });
                    }
                    let len = field.bytes(REQUEST)?.len();
                    let end = body.len() - reader.rest().len();
                    // Bodies are bounded far below 4 GiB by the snappy format itself.
                    symbols.push((end - len) as u32..end as u32);
                }
                5 => {
                    field.bytes(REQUEST)?;
                    first_series.get_or_insert(at);
                }
                _ => {}
            }
        }
        Ok(Request { body, symbols, first_series: first_series.unwrap_or(body.len()) })
    }

    /// How many symbols there are.
    pub fn symbol_count(&self) -> usize {
        self.symbols.len()
    }

    /// Symbol `index`, not checked for UTF-8; `None` when the table is shorter.
    #[inline]
    pub fn symbol(&self, index: u64) -> Option<&'a [u8]> {
        let range = self.symbols.get(usize::try_from(index).ok()?)?;
        Some(&self.body[range.start as usize..range.end as usize])
    }

    /// All symbols in order.
    pub fn symbols(&self) -> impl Iterator<Item = &'a [u8]> + '_ {
        self.symbols.iter().map(|range| &self.body[range.start as usize..range.end as usize])
    }

    /// The series in order.
    pub fn series(&self) -> SeriesIter<'a> {
        SeriesIter { reader: Reader::new(&self.body[self.first_series..], REQUEST) }
    }
}

/// Walks the series of a request.
#[derive(Debug, Clone)]
pub struct SeriesIter<'a> {
    reader: Reader<'a>,
}

impl<'a> Iterator for SeriesIter<'a> {
    type Item = Result<Series<'a>, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        loop {
            match self.reader.next_field() {
                Ok(Some(field)) if field.number == 5 => {
                    return Some(field.bytes(REQUEST).map(|bytes| Series { bytes }));
                }
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

/// A series as it came.
#[derive(Debug, Clone, Copy)]
pub struct Series<'a> {
    bytes: &'a [u8],
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

    /// The packed list of label references at the front, as every encoder writes it, and the length of the
    /// field that holds it. Empty when the message begins otherwise.
    ///
    /// # Errors
    /// [`DecodeError`] when its length lies.
    #[inline]
    pub fn leading_refs(self) -> Result<(Refs<'a>, usize), DecodeError> {
        if self.bytes.first() != Some(&PACKED_REFS_TAG) {
            return Ok((Refs::packed(&[]), 0));
        }
        let mut reader = Reader::new(self.bytes, TIME_SERIES);
        let field = reader.next_field()?.expect("the message is not empty");
        Ok((Refs::packed(field.bytes(TIME_SERIES)?), self.bytes.len() - reader.rest().len()))
    }

    /// All label references of the message, wherever they stand, packed or not.
    pub fn refs(self) -> AllRefs<'a> {
        AllRefs {
            reader: Reader::new(self.bytes, TIME_SERIES),
            packed: Refs::packed(&[]),
            message: TIME_SERIES,
        }
    }

    /// What stands behind the first `len` bytes.
    #[inline]
    pub fn data(self, len: usize) -> Data<'a, true> {
        Data::new(&self.bytes[len..])
    }
}

/// A packed list of references.
#[derive(Debug, Clone, Copy)]
pub struct Refs<'a> {
    reader: Reader<'a>,
}

impl<'a> Refs<'a> {
    fn packed(bytes: &'a [u8]) -> Self {
        Refs { reader: Reader::new(bytes, TIME_SERIES) }
    }

    /// Whether nothing is left.
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.reader.rest().is_empty()
    }

    /// The next reference if it takes one or two bytes, as those below 16,384 do; else `None`, and nothing is
    /// read. Made for the hot path, where an error's room on the stack costs more than the reference.
    #[inline]
    pub fn next_small(&mut self) -> Option<usize> {
        let (reference, rest) = match self.reader.rest() {
            [a, rest @ ..] if *a < 0x80 => (usize::from(*a), rest),
            [a, b, rest @ ..] if *b < 0x80 => (usize::from(*a & 0x7f) | usize::from(*b) << 7, rest),
            _ => return None,
        };
        self.reader = Reader::new(rest, TIME_SERIES);
        Some(reference)
    }
}

impl Iterator for Refs<'_> {
    type Item = Result<u64, DecodeError>;

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        (!self.reader.rest().is_empty()).then(|| {
            let read = self.reader.varint();
            if read.is_err() {
                // What follows a damaged number has no meaning.
                self.reader = Reader::new(&[], TIME_SERIES);
            }
            read
        })
    }
}

/// References of all fields number 1 of a message.
#[derive(Debug, Clone)]
pub struct AllRefs<'a> {
    reader: Reader<'a>,
    packed: Refs<'a>,
    message: &'static str,
}

impl Iterator for AllRefs<'_> {
    type Item = Result<u64, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            if let Some(reference) = self.packed.next() {
                return Some(reference);
            }
            match self.reader.next_field() {
                Ok(Some(Field { number: 1, value: FieldValue::Varint(v) })) => return Some(Ok(v)),
                Ok(Some(field)) if field.number == 1 => match field.bytes(self.message) {
                    Ok(bytes) => self.packed = Refs::packed(bytes),
                    Err(e) => return Some(Err(e)),
                },
                Ok(Some(_)) => {}
                Ok(None) => return None,
                Err(e) => return Some(Err(e)),
            }
        }
    }
}

/// An exemplar; its labels are read on demand.
#[derive(Debug, Clone)]
pub struct Exemplar<'a> {
    /// The measured value.
    pub value: f64,
    /// When.
    pub t_ms: i64,
    /// References of its labels: name, value, name, value, …
    pub refs: AllRefs<'a>,
}

/// Reads an exemplar of 2.0: `1 labels_refs, 2 value, 3 timestamp`.
///
/// # Errors
/// [`DecodeError`] when the message is damaged, its references included.
pub fn exemplar(bytes: &[u8]) -> Result<Exemplar<'_>, DecodeError> {
    let refs = AllRefs { reader: Reader::new(bytes, EXEMPLAR), packed: Refs::packed(&[]), message: EXEMPLAR };
    refs.clone().try_for_each(|r| r.map(drop))?;
    let mut exemplar = Exemplar { value: 0.0, t_ms: 0, refs };
    let mut reader = Reader::new(bytes, EXEMPLAR);
    while let Some(field) = reader.next_field()? {
        match field.number {
            2 => exemplar.value = field.double(EXEMPLAR)?,
            3 => exemplar.t_ms = field.varint(EXEMPLAR)? as i64,
            _ => {}
        }
    }
    Ok(exemplar)
}
