//! Reading any chunk: sample by sample as model values, or floats as columns.

use cairn_model::sample::Sample;
use cairn_model::{Encoding, TimestampMs, Value};

use super::histogram::HistogramReader;
use super::histogram::decode::AnyHistogramReader;
use super::xor2::Xor2Reader;
use super::{Malformed, xor};

/// Iterator over the samples of one chunk, of any encoding. After an error it is at its end.
#[derive(Debug)]
pub struct ChunkDecoder<'a>(Inner<'a>);

#[derive(Debug)]
enum Inner<'a> {
    Columns(std::iter::Zip<std::vec::IntoIter<TimestampMs>, std::vec::IntoIter<f64>>),
    Xor2(Xor2Reader<'a>),
    Histogram(AnyHistogramReader<'a>),
    Failed(Option<Malformed>),
}

impl<'a> ChunkDecoder<'a> {
    /// Reads `chunk`, the payload of an `encoding` chunk. What is wrong with it comes out as an item.
    pub fn new(encoding: Encoding, chunk: &'a [u8]) -> Self {
        ChunkDecoder(Self::open(encoding, chunk).unwrap_or_else(|m| Inner::Failed(Some(m))))
    }

    fn open(encoding: Encoding, chunk: &'a [u8]) -> Result<Inner<'a>, Malformed> {
        Ok(match encoding {
            Encoding::Xor => {
                let (mut t, mut v) = (Vec::new(), Vec::new());
                xor::decode(chunk, &mut t, &mut v)?;
                Inner::Columns(t.into_iter().zip(v))
            }
            Encoding::Xor2 => Inner::Xor2(Xor2Reader::new(chunk)?),
            Encoding::Histogram => Inner::Histogram(AnyHistogramReader::Int(HistogramReader::new(chunk)?)),
            Encoding::FloatHistogram => {
                Inner::Histogram(AnyHistogramReader::Float(HistogramReader::new(chunk)?))
            }
        })
    }
}

impl Iterator for ChunkDecoder<'_> {
    type Item = Result<Sample, Malformed>;

    fn next(&mut self) -> Option<Self::Item> {
        let read = match &mut self.0 {
            Inner::Columns(rows) => Ok(rows.next().map(|(t, v)| (t, 0, Value::Float(v)))),
            Inner::Xor2(r) => r.read().map(|row| row.map(|(t, start, v)| (t, start, Value::Float(v)))),
            Inner::Histogram(r) => r.read().map(|row| row.map(|(t, v)| (t, 0, v))),
            Inner::Failed(reason) => reason.take().map_or(Ok(None), Err),
        };
        match read {
            Ok(row) => row.map(|(t_ms, start_ms, value)| Ok(Sample { t_ms, start_ms, value })),
            Err(m) => {
                self.0 = Inner::Failed(None);
                Some(Err(m))
            }
        }
    }

    fn size_hint(&self) -> (usize, Option<usize>) {
        let n = match &self.0 {
            Inner::Columns(rows) => rows.len(),
            Inner::Xor2(r) => r.remaining(),
            Inner::Histogram(r) => r.remaining(),
            Inner::Failed(reason) => usize::from(reason.is_some()),
        };
        (0, Some(n))
    }
}

/// Appends the samples of a float chunk to columns. No allocation but the growth of the columns.
///
/// # Errors
/// [`Malformed`] when the bytes are no chunk of that encoding, or the encoding holds no floats; the columns are
/// then as before.
pub fn decode_floats(
    encoding: Encoding,
    chunk: &[u8],
    t_ms: &mut Vec<TimestampMs>,
    values: &mut Vec<f64>,
) -> Result<(), Malformed> {
    match encoding {
        Encoding::Xor => xor::decode(chunk, t_ms, values),
        Encoding::Xor2 => {
            let (t_start, v_start) = (t_ms.len(), values.len());
            let mut r = Xor2Reader::new(chunk)?;
            let mut read_all = || {
                while let Some((t, _, v)) = r.read()? {
                    t_ms.push(t);
                    values.push(v);
                }
                Ok(())
            };
            let outcome = read_all();
            if outcome.is_err() {
                t_ms.truncate(t_start);
                values.truncate(v_start);
            }
            outcome
        }
        Encoding::Histogram | Encoding::FloatHistogram => {
            Err(Malformed { what: "a histogram chunk has no float columns", at: 0 })
        }
    }
}

/// The number of samples that a chunk of any encoding claims to have; 0 for less than a header.
pub fn sample_count(chunk: &[u8]) -> usize {
    chunk.first_chunk::<2>().map_or(0, |b| usize::from(u16::from_be_bytes(*b)))
}
