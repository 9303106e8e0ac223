//! The few pieces of protobuf's wire format that remote write needs. Source: protobuf.dev, "Encoding".

/// Appends a base-128 varint.
pub fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Bytes that [`put_varint`] appends.
pub fn varint_len(value: u64) -> usize {
    (64 - (value | 1).leading_zeros() as usize).div_ceil(7)
}

/// Appends a length-delimited field.
pub fn put_bytes(out: &mut Vec<u8>, tag: u8, bytes: &[u8]) {
    out.push(tag);
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Bytes that [`put_bytes`] appends for a field of `len` bytes.
pub fn bytes_len(len: usize) -> usize {
    1 + varint_len(len as u64) + len
}

/// Appends a `Sample` message (1: double value, 2: int64 timestamp in ms) as field `tag`.
pub fn put_sample(out: &mut Vec<u8>, tag: u8, value: f64, timestamp_ms: i64) {
    out.push(tag);
    put_varint(out, (sample_len(timestamp_ms)) as u64);
    out.push(0x09);
    out.extend_from_slice(&value.to_le_bytes());
    out.push(0x10);
    put_varint(out, timestamp_ms as u64);
}

/// Bytes of a `Sample` message without tag and length.
pub fn sample_len(timestamp_ms: i64) -> usize {
    10 + varint_len(timestamp_ms as u64)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_varint_has_the_announced_length_and_reads_back(value: u64) {
            let mut out = Vec::new();
            put_varint(&mut out, value);
            prop_assert_eq!(out.len(), varint_len(value));
            let back = out.iter().rev().fold(0u64, |acc, b| (acc << 7) | u64::from(b & 0x7f));
            prop_assert_eq!(back, value);
        }
    }
}
