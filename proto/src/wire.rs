//! The protobuf wire format: fields of one message, one after the other.
//!
//! Unknown fields are skipped, groups of old encoders included. Known fields of another wire type are errors, as
//! in Prometheus' own reader.
//!
//! This is a hot file: no allocation, no recursion.

use crate::error::DecodeError;

/// Deepest nesting of (unknown) groups that is skipped. Judgement: no sender of ours writes any.
const MAX_GROUP_DEPTH: usize = 32;

/// Wire type of messages, texts and packed lists.
const LENGTH_DELIMITED: u8 = 2;

/// Largest field number that protobuf allows.
const MAX_FIELD_NUMBER: u64 = (1 << 29) - 1;

/// Reads the fields of one message.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    rest: &'a [u8],
    message: &'static str,
}

/// One field.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Field<'a> {
    /// Its number.
    pub number: u32,
    /// What it holds.
    pub value: FieldValue<'a>,
}

/// The content of a field, by wire type.
#[derive(Debug, Clone, Copy, PartialEq)]
#[allow(missing_docs)] // the protobuf specification's words
pub enum FieldValue<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
}

impl FieldValue<'_> {
    fn wire_type(&self) -> u8 {
        match self {
            FieldValue::Varint(_) => 0,
            FieldValue::Fixed64(_) => 1,
            FieldValue::Bytes(_) => 2,
            FieldValue::Fixed32(_) => 5,
        }
    }
}

impl<'a> Field<'a> {
    /// The bytes of a string, message or packed list; `message` is for the error.
    ///
    /// # Errors
    /// [`DecodeError::WireType`] when it is something else.
    #[inline]
    pub fn bytes(&self, message: &'static str) -> Result<&'a [u8], DecodeError> {
        match self.value {
            FieldValue::Bytes(b) => Ok(b),
            _ => Err(self.wrong_type(message)),
        }
    }

    /// A number of type `int64`, `uint64`, `uint32` or an enum.
    ///
    /// # Errors
    /// [`DecodeError::WireType`] when it is something else.
    #[inline]
    pub fn varint(&self, message: &'static str) -> Result<u64, DecodeError> {
        match self.value {
            FieldValue::Varint(v) => Ok(v),
            _ => Err(self.wrong_type(message)),
        }
    }

    /// A number of type `double`.
    ///
    /// # Errors
    /// [`DecodeError::WireType`] when it is something else.
    #[inline]
    pub fn double(&self, message: &'static str) -> Result<f64, DecodeError> {
        match self.value {
            FieldValue::Fixed64(v) => Ok(f64::from_bits(v)),
            _ => Err(self.wrong_type(message)),
        }
    }

    #[cold]
    fn wrong_type(&self, message: &'static str) -> DecodeError {
        DecodeError::WireType { message, field: self.number, wire_type: self.value.wire_type() }
    }
}

impl<'a> Reader<'a> {
    /// Reads `bytes` as the message of that name.
    #[inline]
    pub fn new(bytes: &'a [u8], message: &'static str) -> Self {
        Reader { rest: bytes, message }
    }

    /// What has not been read yet.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }

    /// The next field that is not a group; `None` at the end and after an error.
    ///
    /// # Errors
    /// [`DecodeError`] when the bytes are no protobuf.
    #[inline]
    pub fn next_field(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        // Nearly all there is: a message or text with a tag of one byte and a length of one or two.
        if let [tag, a, rest @ ..] = self.rest
            && tag & 0x87 == LENGTH_DELIMITED
            && *tag >= 8
        {
            let (len, rest) = match rest {
                _ if *a < 0x80 => (usize::from(*a), rest),
                [b, rest @ ..] if *b < 0x80 => (usize::from(*a & 0x7f) | usize::from(*b) << 7, rest),
                _ => (usize::MAX, rest),
            };
            if let Some((bytes, rest)) = rest.split_at_checked(len) {
                self.rest = rest;
                return Ok(Some(Field { number: u32::from(tag >> 3), value: FieldValue::Bytes(bytes) }));
            }
        }
        self.any_field()
    }

    #[inline(never)]
    fn any_field(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        let field = self.field();
        if field.is_err() {
            // What follows damage has no meaning.
            self.rest = &[];
        }
        field
    }

    fn field(&mut self) -> Result<Option<Field<'a>>, DecodeError> {
        while !self.rest.is_empty() {
            let (number, wire_type) = self.tag()?;
            let value = match wire_type {
                0 => FieldValue::Varint(self.varint()?),
                1 => FieldValue::Fixed64(u64::from_le_bytes(self.fixed()?)),
                2 => FieldValue::Bytes(self.length_delimited()?),
                3 => {
                    self.skip_group(number)?;
                    continue;
                }
                5 => FieldValue::Fixed32(u32::from_le_bytes(self.fixed()?)),
                _ => {
                    return Err(DecodeError::WireType { message: self.message, field: number, wire_type });
                }
            };
            return Ok(Some(Field { number, value }));
        }
        Ok(None)
    }

    /// A varint of up to 64 bits.
    ///
    /// # Errors
    /// [`DecodeError::Varint`] when it is longer or cut off.
    #[inline]
    pub fn varint(&mut self) -> Result<u64, DecodeError> {
        match self.rest {
            [a, rest @ ..] if *a < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*a))
            }
            [a, b, rest @ ..] if *b < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*a & 0x7f) | u64::from(*b) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, DecodeError> {
        let mut value = 0u64;
        for (i, &byte) in self.rest.iter().take(10).enumerate() {
            // The tenth byte has room for one bit.
            if i == 9 && byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * i);
            if byte < 0x80 {
                self.rest = &self.rest[i + 1..];
                return Ok(value);
            }
        }
        Err(DecodeError::Varint { message: self.message })
    }

    #[inline]
    fn tag(&mut self) -> Result<(u32, u8), DecodeError> {
        let tag = self.varint()?;
        let number = tag >> 3;
        if number == 0 || number > MAX_FIELD_NUMBER {
            return Err(DecodeError::FieldNumber { message: self.message, number });
        }
        Ok((number as u32, (tag & 7) as u8))
    }

    #[inline]
    fn length_delimited(&mut self) -> Result<&'a [u8], DecodeError> {
        let need = self.varint()?;
        if need > self.rest.len() as u64 {
            return Err(self.truncated(need));
        }
        let (bytes, rest) = self.rest.split_at(need as usize);
        self.rest = rest;
        Ok(bytes)
    }

    #[inline]
    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        match self.rest.split_first_chunk::<N>() {
            Some((bytes, rest)) => {
                self.rest = rest;
                Ok(*bytes)
            }
            None => Err(self.truncated(N as u64)),
        }
    }

    #[cold]
    fn truncated(&self, need: u64) -> DecodeError {
        DecodeError::Truncated { message: self.message, need, left: self.rest.len() }
    }

    #[cold]
    fn skip_group(&mut self, number: u32) -> Result<(), DecodeError> {
        let broken = DecodeError::Group { message: self.message, limit: MAX_GROUP_DEPTH };
        let mut open = [0u32; MAX_GROUP_DEPTH];
        open[0] = number;
        let mut depth = 1;
        while depth > 0 {
            if self.rest.is_empty() {
                return Err(broken);
            }
            let (number, wire_type) = self.tag()?;
            match wire_type {
                0 => drop(self.varint()?),
                1 => drop(self.fixed::<8>()?),
                2 => drop(self.length_delimited()?),
                3 if depth < MAX_GROUP_DEPTH => {
                    open[depth] = number;
                    depth += 1;
                }
                4 if open[depth - 1] == number => depth -= 1,
                5 => drop(self.fixed::<4>()?),
                3 | 4 => return Err(broken),
                _ => {
                    return Err(DecodeError::WireType { message: self.message, field: number, wire_type });
                }
            }
        }
        Ok(())
    }
}

/// Undoes protobuf's zigzag encoding of `sint32` and `sint64`.
#[inline]
pub fn zigzag(n: u64) -> i64 {
    (n >> 1) as i64 ^ -((n & 1) as i64)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<Field<'_>>, DecodeError> {
        let mut reader = Reader::new(bytes, "Test");
        std::iter::from_fn(|| reader.next_field().transpose()).collect()
    }

    #[test]
    fn fields_of_every_wire_type_are_read() {
        let bytes =
            [&[0x08, 0x96, 0x01][..], &[0x11, 1, 0, 0, 0, 0, 0, 0, 0], &[0x1a, 2, 7, 8], &[0x25, 9, 0, 0, 0]];
        let got = all(&bytes.concat()).map(|f| f.len());
        assert_eq!(got, Ok(4));
        let bytes = bytes.concat();
        let fields = all(&bytes).unwrap();
        assert_eq!(fields[0].value, FieldValue::Varint(150));
        assert_eq!(fields[1].value, FieldValue::Fixed64(1));
        assert_eq!(fields[2].value, FieldValue::Bytes(&[7, 8]));
        assert_eq!(fields[3], Field { number: 4, value: FieldValue::Fixed32(9) });
    }

    #[test]
    fn groups_are_skipped_and_must_close() {
        // group 1 { varint, group 2 {} } then field 3
        assert_eq!(all(&[0x0b, 0x08, 1, 0x13, 0x14, 0x0c, 0x18, 5]).unwrap().len(), 1);
        for open in [&[0x0b][..], &[0x0b, 0x14], &[0x0b; 40], &[0x0b, 0x13, 0x0c, 0x14]] {
            assert!(matches!(all(open), Err(DecodeError::Group { .. })), "{open:?}");
        }
        assert!(matches!(all(&[0x0c]), Err(DecodeError::WireType { wire_type: 4, .. })));
    }

    #[test]
    fn damage_is_named() {
        let truncated = DecodeError::Truncated { message: "Test", need: 3, left: 1 };
        assert_eq!(all(&[0x0a, 3, 1]), Err(truncated));
        assert_eq!(truncated.to_string(), "cannot read Test: a field announces 3 bytes and 1 are left");
        assert!(matches!(all(&[0x09, 1]), Err(DecodeError::Truncated { need: 8, .. })));
        assert!(matches!(all(&[0x08]), Err(DecodeError::Varint { .. })));
        assert!(matches!(all(&[0x08, 0x80]), Err(DecodeError::Varint { .. })));
        assert!(matches!(all(&[0x00]), Err(DecodeError::FieldNumber { number: 0, .. })));
        assert!(matches!(all(&[0x0e]), Err(DecodeError::WireType { wire_type: 6, .. })));
        let length_of_all_ones = [&[0x0a][..], &[0xff; 9], &[1]].concat();
        assert!(matches!(all(&length_of_all_ones), Err(DecodeError::Truncated { need: u64::MAX, .. })));
    }

    #[test]
    fn varints_hold_64_bits_and_no_more() {
        let max = [&[0xff; 9][..], &[1]].concat();
        assert_eq!(Reader::new(&max, "T").varint(), Ok(u64::MAX));
        let too_big = [&[0xff; 9][..], &[2]].concat();
        assert!(Reader::new(&too_big, "T").varint().is_err());
        assert!(Reader::new(&[0x80; 11], "T").varint().is_err());
        // Longer than needed is allowed.
        assert_eq!(Reader::new(&[0x81, 0x80, 0x00], "T").varint(), Ok(1));
    }

    #[test]
    fn zigzag_maps_both_signs() {
        assert_eq!([0, 1, 2, 3, u64::MAX].map(zigzag), [0, -1, 1, -2, i64::MIN]);
    }
}
