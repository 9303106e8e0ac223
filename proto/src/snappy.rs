//! Snappy blocks: the declared length first, then the data.
//!
//! A block is `uvarint decoded length`, then literals and copies. The length is a claim of the sender: it is
//! checked against a limit before anything is allocated, and against the data when it is decompressed.

use snap::raw::Decoder;

/// Why a body is no snappy block.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SnappyError {
    /// Nothing there at all.
    #[error("cannot decompress the body: it is empty, send a snappy block")]
    Empty,
    /// The framing format that files use.
    #[error("cannot decompress the body: it is a framed snappy stream, send the block format")]
    Framed,
    /// No length, or one above what the format can say.
    #[error("cannot decompress the body: no snappy block begins with such a length")]
    Header,
    /// The block decompresses to more than may be.
    #[error("cannot decompress the body: it declares {declared} bytes, limit {limit}")]
    TooLarge {
        /// What the sender claims.
        declared: u64,
        /// What may be.
        limit: u64,
    },
    /// The data is damaged, or its length is not what was declared.
    #[error("cannot decompress the body: {0}")]
    Corrupt(String),
}

/// The decoded length that `body` claims.
///
/// # Errors
/// [`SnappyError::Empty`], [`SnappyError::Framed`] or [`SnappyError::Header`].
pub fn declared_len(body: &[u8]) -> Result<u64, SnappyError> {
    if body.is_empty() {
        return Err(SnappyError::Empty);
    }
    if body.starts_with(b"\xff\x06\x00\x00sNaPpY") {
        return Err(SnappyError::Framed);
    }
    let mut len = 0u64;
    for (i, &byte) in body.iter().take(5).enumerate() {
        len |= u64::from(byte & 0x7f) << (7 * i);
        if byte < 0x80 {
            return if len <= u64::from(u32::MAX) { Ok(len) } else { Err(SnappyError::Header) };
        }
    }
    Err(SnappyError::Header)
}

/// Decompresses `body` into `buffer` and gives the decoded bytes. The buffer grows to the declared length if it
/// is shorter and never shrinks, so that it can be used again without being cleared.
///
/// # Errors
/// [`SnappyError`]; nothing is allocated when more than `limit` bytes are declared.
pub fn decompress<'b>(body: &[u8], buffer: &'b mut Vec<u8>, limit: u64) -> Result<&'b [u8], SnappyError> {
    let declared = declared_len(body)?;
    if declared > limit {
        return Err(SnappyError::TooLarge { declared, limit });
    }
    let len = declared as usize;
    if buffer.len() < len {
        buffer.resize(len, 0);
    }
    let written = Decoder::new()
        .decompress(body, &mut buffer[..len])
        .map_err(|e| SnappyError::Corrupt(e.to_string()))?;
    Ok(&buffer[..written])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn block(data: &[u8]) -> Vec<u8> {
        crate::encode::snappy_block(data)
    }

    #[test]
    fn bombs_are_refused_by_their_claim() {
        let bomb = [0x80, 0x80, 0x80, 0x80, 0x04]; // 1 GiB
        let mut buffer = Vec::new();
        let refused = decompress(&bomb, &mut buffer, 128 << 20);
        assert_eq!(refused, Err(SnappyError::TooLarge { declared: 1 << 30, limit: 128 << 20 }));
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn each_kind_of_damage_has_its_own_words() {
        let mut buffer = Vec::new();
        let mut text = |body: &[u8]| decompress(body, &mut buffer, 1000).unwrap_err().to_string();
        assert!(text(b"").contains("empty"));
        assert!(text(b"\xff\x06\x00\x00sNaPpY....").contains("framed"));
        assert!(text(b"\xff\xff\xff\xff\xff\x01").contains("length"));
        assert!(text(b"\xff\xff\xff\xff\x7f").contains("length"));
        // A length that lies in either direction.
        let honest = block(&[7; 100]);
        for claim in [99, 101] {
            let mut lying = honest.clone();
            lying[0] = claim;
            assert!(text(&lying).contains("cannot decompress"), "{claim}");
        }
    }

    #[test]
    fn a_buffer_is_used_again() {
        let mut buffer = vec![9; 1000];
        assert_eq!(decompress(&block(b"abc"), &mut buffer, 10), Ok(&b"abc"[..]));
        assert_eq!(buffer.len(), 1000);
        assert_eq!(decompress(&block(b""), &mut buffer, 10), Ok(&b""[..]));
    }

    proptest! {
        #[test]
        fn round_trips(data in prop::collection::vec(any::<u8>(), 0..2000)) {
            let mut buffer = Vec::new();
            prop_assert_eq!(decompress(&block(&data), &mut buffer, 2000), Ok(&data[..]));
        }
    }
}
