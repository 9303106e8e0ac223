//! Column codecs of WAL records: whole numbers as runs of deltas, values split into integers and the rest.
//!
//! Requests repeat themselves: log ids rise by one, times are the scrape's, most values are whole numbers. So ids
//! and times shrink to a few bytes a request, and values to the bytes that they need.
//!
//! Invariant: decoding gives back exactly what was encoded, bits of NaNs and signs of zeros included; hostile bytes
//! give [`BadRecord`] and never allocate more than the caller's bound. Layout: docs/formats/wal.md.
//!
//! This is a hot file: encoding allocates only the growth of the caller's vector.

/// Largest whole number that a float represents with all its neighbours.
const MAX_EXACT_INTEGER: u64 = 1 << 53;

/// Bytes that are no record, or not one of this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("malformed log record: {0}")]
pub struct BadRecord(pub &'static str);

/// Reads a record from front to back.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a>(pub &'a [u8]);

impl<'a> Reader<'a> {
    /// The next `n` bytes.
    pub fn take(&mut self, n: usize) -> Result<&'a [u8], BadRecord> {
        if self.0.len() < n {
            return Err(BadRecord("cut short"));
        }
        let (head, rest) = self.0.split_at(n);
        self.0 = rest;
        Ok(head)
    }

    /// One byte.
    pub fn byte(&mut self) -> Result<u8, BadRecord> {
        Ok(self.take(1)?[0])
    }

    /// Eight bytes as the bits of a float.
    pub fn float(&mut self) -> Result<f64, BadRecord> {
        let bytes = self.take(8)?.try_into().expect("eight bytes were taken");
        Ok(f64::from_bits(u64::from_le_bytes(bytes)))
    }

    /// LEB128.
    #[inline]
    pub fn uvarint(&mut self) -> Result<u64, BadRecord> {
        let mut v = 0u64;
        for (i, &b) in self.0.iter().enumerate().take(10) {
            v |= u64::from(b & 0x7F).checked_shl(7 * i as u32).unwrap_or(0);
            if b < 0x80 {
                self.0 = &self.0[i + 1..];
                return Ok(v);
            }
        }
        Err(BadRecord("number without end"))
    }

    /// Zig-zag LEB128.
    #[inline]
    pub fn varint(&mut self) -> Result<i64, BadRecord> {
        self.uvarint().map(unzigzag)
    }

    /// A count of at most `bound`.
    pub fn count(&mut self, bound: usize) -> Result<usize, BadRecord> {
        match usize::try_from(self.uvarint()?) {
            Ok(n) if n <= bound => Ok(n),
            _ => Err(BadRecord("count out of bounds")),
        }
    }

    /// A count of things that take at least one byte each.
    pub fn count_of_bytes(&mut self) -> Result<usize, BadRecord> {
        self.count(self.0.len())
    }

    /// A length and that many bytes.
    pub fn bytes(&mut self) -> Result<&'a [u8], BadRecord> {
        let n = self.count_of_bytes()?;
        self.take(n)
    }

    /// A length and that much UTF-8.
    pub fn str(&mut self) -> Result<&'a str, BadRecord> {
        std::str::from_utf8(self.bytes()?).map_err(|_| BadRecord("text is not UTF-8"))
    }
}

/// Appends LEB128.
#[inline]
pub fn put_uvarint(out: &mut Vec<u8>, mut v: u64) {
    while v >= 0x80 {
        out.push(v as u8 | 0x80);
        v >>= 7;
    }
    out.push(v as u8);
}

/// Appends zig-zag LEB128.
#[inline]
pub fn put_varint(out: &mut Vec<u8>, v: i64) {
    put_uvarint(out, ((v << 1) ^ (v >> 63)) as u64);
}

/// Appends a length and the bytes.
pub fn put_bytes(out: &mut Vec<u8>, b: &[u8]) {
    put_uvarint(out, b.len() as u64);
    out.extend_from_slice(b);
}

/// Appends the bits of a float.
pub fn put_float(out: &mut Vec<u8>, v: f64) {
    out.extend_from_slice(&v.to_bits().to_le_bytes());
}

fn unzigzag(v: u64) -> i64 {
    (v >> 1) as i64 ^ -((v & 1) as i64)
}

/// Appends a column of whole numbers; the reader must know its length.
pub fn put_ints(out: &mut Vec<u8>, values: &[i64]) {
    let mut runs = 0usize;
    let (mut previous, mut delta) = (0i64, None);
    for &v in values {
        let d = v.wrapping_sub(previous);
        if delta != Some(d) {
            delta = Some(d);
            runs += 1;
        }
        previous = v;
    }
    // A run costs a length more than a plain delta, so runs pay when they are two long on average.
    if runs * 2 > values.len() {
        out.push(1);
        let mut previous = 0i64;
        for &v in values {
            put_varint(out, v.wrapping_sub(previous));
            previous = v;
        }
        return;
    }
    out.push(0);
    let mut previous = 0i64;
    let mut rest = values;
    while let Some(&first) = rest.first() {
        let d = first.wrapping_sub(previous);
        let mut length = 1;
        previous = first;
        while length < rest.len() && rest[length].wrapping_sub(previous) == d {
            previous = rest[length];
            length += 1;
        }
        put_varint(out, d);
        put_uvarint(out, length as u64);
        rest = &rest[length..];
    }
}

/// Appends `n` whole numbers to `values`. The caller has bounded `n`.
pub fn take_ints(r: &mut Reader<'_>, n: usize, values: &mut Vec<i64>) -> Result<(), BadRecord> {
    let mut previous = 0i64;
    match r.byte()? {
        0 => {
            let mut left = n;
            while left > 0 {
                let (d, length) = (r.varint()?, r.count(left)?);
                if length == 0 {
                    return Err(BadRecord("empty run"));
                }
                values.reserve(length);
                for _ in 0..length {
                    previous = previous.wrapping_add(d);
                    values.push(previous);
                }
                left -= length;
            }
        }
        1 => {
            if r.0.len() < n {
                return Err(BadRecord("cut short"));
            }
            values.reserve(n);
            for _ in 0..n {
                previous = previous.wrapping_add(r.varint()?);
                values.push(previous);
            }
        }
        _ => return Err(BadRecord("unknown mode of an int column")),
    }
    Ok(())
}

/// `v` as a whole number, if that loses nothing.
#[inline]
fn as_integer(v: f64) -> Option<i64> {
    let i = v as i64;
    let exact = (i as f64).to_bits() == v.to_bits() && i.unsigned_abs() <= MAX_EXACT_INTEGER;
    exact.then_some(i)
}

/// Appends a column of values; the reader must know its length.
pub fn put_values(out: &mut Vec<u8>, values: &[f64]) {
    let bitmap = out.len();
    out.resize(bitmap + values.len().div_ceil(8), 0);
    for (i, &v) in values.iter().enumerate() {
        if let Some(integer) = as_integer(v) {
            out[bitmap + i / 8] |= 1 << (i % 8);
            put_varint(out, integer);
        }
    }
    for (i, &v) in values.iter().enumerate() {
        if out[bitmap + i / 8] >> (i % 8) & 1 == 0 {
            put_float(out, v);
        }
    }
}

/// Appends `n` values to `values`. The caller has bounded `n`.
pub fn take_values(r: &mut Reader<'_>, n: usize, values: &mut Vec<f64>) -> Result<(), BadRecord> {
    let bitmap = r.take(n.div_ceil(8))?;
    let is_integer = |i: usize| bitmap[i / 8] >> (i % 8) & 1 == 1;
    let start = values.len();
    values.resize(start + n, 0.0);
    for (i, v) in values[start..].iter_mut().enumerate() {
        if is_integer(i) {
            *v = r.varint()? as f64;
        }
    }
    for (i, v) in values[start..].iter_mut().enumerate() {
        if !is_integer(i) {
            *v = r.float()?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn ints_round_trip(values: &[i64]) -> usize {
        let mut out = Vec::new();
        put_ints(&mut out, values);
        let (mut r, mut back) = (Reader(&out), Vec::new());
        take_ints(&mut r, values.len(), &mut back).unwrap();
        assert_eq!(back, values);
        assert!(r.0.is_empty());
        out.len()
    }

    #[test]
    fn regular_columns_shrink_to_a_few_bytes() {
        let ids: Vec<i64> = (500..2500).collect();
        assert!(ints_round_trip(&ids) <= 7);
        let times = vec![1_700_000_000_000i64; 2000];
        assert!(ints_round_trip(&times) <= 14);
    }

    fn any_value() -> impl Strategy<Value = f64> {
        prop_oneof![
            any::<u64>().prop_map(f64::from_bits),
            (-1000i64..1000).prop_map(|i| i as f64),
            Just(-0.0),
            Just(cairn_model::sample::stale_nan()),
            Just(9_007_199_254_740_993.0),
            Just(i64::MIN as f64),
        ]
    }

    proptest! {
        #[test]
        fn any_ints_round_trip(values in prop::collection::vec(prop_oneof![any::<i64>(), 0i64..3], 0..100)) {
            ints_round_trip(&values);
        }

        #[test]
        fn any_values_round_trip_to_the_bit(values in prop::collection::vec(any_value(), 0..100)) {
            let mut out = Vec::new();
            put_values(&mut out, &values);
            let (mut r, mut back) = (Reader(&out), Vec::new());
            take_values(&mut r, values.len(), &mut back).unwrap();
            prop_assert!(r.0.is_empty());
            let bits = |v: &[f64]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
            prop_assert_eq!(bits(&back), bits(&values));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..64), n in 0usize..200) {
            let _ = take_ints(&mut Reader(&bytes), n, &mut Vec::new());
            let _ = take_values(&mut Reader(&bytes), n, &mut Vec::new());
        }
    }
}
