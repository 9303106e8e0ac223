//! The bucket layout at the head of a histogram chunk: zero threshold, schema, spans, custom bounds.

use cairn_model::Span;
use cairn_model::histogram::{CUSTOM_BUCKETS_SCHEMA, MAX_ACCEPTED_SCHEMA, MIN_ACCEPTED_SCHEMA};

use super::super::Malformed;
use super::super::bits::{BitReader, BitWriter};
use super::super::varbit::{read_int, read_uint, write_int, write_uint};

/// Most buckets on one side of a histogram that is read: 400 times what Prometheus' default limit lets in.
pub const MAX_BUCKETS: u64 = 1 << 16;

/// Most custom bounds that are read.
pub const MAX_CUSTOM_VALUES: u64 = 1 << 16;

/// Spans without a bucket that are read beyond one a bucket: enough for any real writer, and it keeps the memory
/// of decoded samples in proportion to the chunk's bytes.
const MAX_EMPTY_SPANS: u64 = 64;

/// Largest custom bound, times 1000, that is stored as an integer.
const MAX_INTEGER_BOUND: f64 = 33_554_430.0;

/// What all samples of a chunk share.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Layout {
    /// −4…8, −53, or a reserved one on read.
    pub schema: i32,
    /// Width of the zero bucket on either side.
    pub zero_threshold: f64,
    /// Positive buckets.
    pub positive: Vec<Span>,
    /// Negative buckets.
    pub negative: Vec<Span>,
    /// Upper bounds, for schema −53 only.
    pub custom_values: Vec<f64>,
}

impl Layout {
    /// Writes the layout.
    pub fn write(&self, w: &mut BitWriter<'_>) {
        write_zero_threshold(w, self.zero_threshold);
        write_int(w, i64::from(self.schema));
        for side in [&self.positive, &self.negative] {
            write_uint(w, side.len() as u64);
            for span in side {
                write_uint(w, u64::from(span.length));
                write_int(w, i64::from(span.offset));
            }
        }
        if self.schema == CUSTOM_BUCKETS_SCHEMA {
            write_uint(w, self.custom_values.len() as u64);
            for bound in &self.custom_values {
                write_custom_bound(w, *bound);
            }
        }
    }

    /// Reads a layout.
    ///
    /// # Errors
    /// [`Malformed`] for a stream that ends, an unknown schema, more buckets than [`MAX_BUCKETS`], or spans that
    /// run backwards or out of the range of bucket indexes.
    pub fn read(r: &mut BitReader<'_>) -> Result<Layout, Malformed> {
        let zero_threshold = read_zero_threshold(r)?;
        let schema = i32::try_from(read_int(r)?).map_err(|_| r.malformed("schema out of range"))?;
        if schema != CUSTOM_BUCKETS_SCHEMA && !(MIN_ACCEPTED_SCHEMA..=MAX_ACCEPTED_SCHEMA).contains(&schema) {
            return Err(r.malformed("unknown histogram schema"));
        }
        let positive = read_spans(r)?;
        let negative = read_spans(r)?;
        let custom_values = if schema == CUSTOM_BUCKETS_SCHEMA { read_custom_values(r)? } else { Vec::new() };
        Ok(Layout { schema, zero_threshold, positive, negative, custom_values })
    }
}

fn read_spans(r: &mut BitReader<'_>) -> Result<Vec<Span>, Malformed> {
    let n = read_uint(r)?;
    // A span takes two bits at least.
    if n > MAX_BUCKETS || n > r.remaining_bits() as u64 / 2 {
        return Err(r.malformed("more spans than the chunk can hold"));
    }
    let mut spans = Vec::with_capacity(n as usize);
    let (mut buckets, mut end) = (0u64, 0i64);
    for i in 0..n {
        let length = u32::try_from(read_uint(r)?).map_err(|_| r.malformed("span length out of range"))?;
        let offset = i32::try_from(read_int(r)?).map_err(|_| r.malformed("span offset out of range"))?;
        buckets += u64::from(length);
        end += i64::from(offset) + i64::from(length);
        if (i > 0 && offset < 0) || i32::try_from(end).is_err() {
            return Err(r.malformed("span leaves the range of bucket indexes"));
        }
        if buckets > MAX_BUCKETS {
            return Err(r.malformed("too many buckets"));
        }
        spans.push(Span { offset, length });
    }
    if n > buckets + MAX_EMPTY_SPANS {
        return Err(r.malformed("too many empty spans"));
    }
    Ok(spans)
}

fn read_custom_values(r: &mut BitReader<'_>) -> Result<Vec<f64>, Malformed> {
    let n = read_uint(r)?;
    // A bound takes five bits at least.
    if n > MAX_CUSTOM_VALUES || n > r.remaining_bits() as u64 / 5 {
        return Err(r.malformed("more custom bounds than the chunk can hold"));
    }
    (0..n).map(|_| read_custom_bound(r)).collect()
}

/// One byte for 0 and the powers of two 2^−243 … 2^10, nine bytes for others.
fn write_zero_threshold(w: &mut BitWriter<'_>, threshold: f64) {
    if threshold == 0.0 {
        return w.write_byte(0);
    }
    let bits = threshold.to_bits();
    let exponent = (bits >> 52) as i64 - 1022; // of 0.5 × 2^exponent
    if bits & ((1 << 52) - 1) == 0 && (-242..=11).contains(&exponent) {
        return w.write_byte((exponent + 243) as u8);
    }
    w.write_byte(255);
    w.write(bits, 64);
}

fn read_zero_threshold(r: &mut BitReader<'_>) -> Result<f64, Malformed> {
    Ok(match r.read(8)? {
        0 => 0.0,
        255 => f64::from_bits(r.read(64)?),
        // 0.5 × 2^(b − 243), whose biased exponent is b − 243 + 1022.
        b => f64::from_bits((b + 779) << 52),
    })
}

/// Multiples of 0.001 from 0 to 33,554.43 as an integer, others as a 0 bit and 64 bits.
fn write_custom_bound(w: &mut BitWriter<'_>, bound: f64) {
    let thousandfold = bound * 1000.0;
    let integer = thousandfold.round();
    if (0.0..=MAX_INTEGER_BOUND).contains(&thousandfold) && integer / 1000.0 == bound {
        write_uint(w, integer as u64 + 1);
    } else {
        w.write(0, 1);
        w.write(bound.to_bits(), 64);
    }
}

fn read_custom_bound(r: &mut BitReader<'_>) -> Result<f64, Malformed> {
    Ok(match read_uint(r)? {
        0 => f64::from_bits(r.read(64)?),
        n => (n - 1) as f64 / 1000.0,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bits_of(write: impl FnOnce(&mut BitWriter<'_>)) -> usize {
        let mut bytes = Vec::new();
        let mut w = BitWriter::new(&mut bytes);
        write(&mut w);
        let free = w.finish();
        bytes.len() * 8 - free as usize
    }

    #[test]
    fn zero_thresholds_take_a_byte_when_they_are_powers_of_two() {
        for (threshold, bits) in [
            (0.0, 8),
            (2f64.powi(-128), 8),
            (2f64.powi(-243), 8),
            (2f64.powi(-244), 72),
            (1024.0, 8),
            (2048.0, 72),
            (0.001, 72),
        ] {
            assert_eq!(bits_of(|w| write_zero_threshold(w, threshold)), bits, "{threshold}");
            let mut bytes = Vec::new();
            let mut w = BitWriter::new(&mut bytes);
            write_zero_threshold(&mut w, threshold);
            w.finish();
            assert_eq!(read_zero_threshold(&mut BitReader::new(&bytes)).unwrap(), threshold);
        }
        let mut bytes = Vec::new();
        let mut w = BitWriter::new(&mut bytes);
        write_zero_threshold(&mut w, 2f64.powi(-128));
        w.finish();
        assert_eq!(bytes, [116]);
    }

    #[test]
    fn custom_bounds_are_integers_where_they_can() {
        for (bound, bits) in
            [(0.0, 5), (0.006, 5), (0.1, 13), (33_554.43, 32), (33_554.431, 65), (-1.0, 65), (1.0 / 3.0, 65)]
        {
            assert_eq!(bits_of(|w| write_custom_bound(w, bound)), bits, "{bound}");
            let mut bytes = Vec::new();
            let mut w = BitWriter::new(&mut bytes);
            write_custom_bound(&mut w, bound);
            w.finish();
            assert_eq!(read_custom_bound(&mut BitReader::new(&bytes)).unwrap(), bound);
        }
    }

    #[test]
    fn layouts_that_would_exhaust_memory_are_refused() {
        let hostile = [
            vec![Span { offset: 0, length: u32::MAX }],
            vec![Span { offset: 0, length: 1 }, Span { offset: -1, length: 1 }],
            vec![Span { offset: i32::MAX, length: 1 }],
            vec![Span::default(); 100],
        ];
        for positive in hostile {
            let layout = Layout { positive, ..Layout::default() };
            let mut bytes = Vec::new();
            let mut w = BitWriter::new(&mut bytes);
            layout.write(&mut w);
            w.write(0, 64);
            w.finish();
            assert!(Layout::read(&mut BitReader::new(&bytes)).is_err(), "{layout:?}");
        }
    }
}
