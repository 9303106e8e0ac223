//! Payloads: compressed or not, whichever is worth it, with their CRC. Runs on the requests' threads, not on the
//! writer's.

use crc32c::crc32c;

use super::columns::BadRecord;
use super::frame::{Compression, Frame, Kind, MAX_RAW_BYTES, Payload};

/// zstd's level. Measured with `append_bench`: level 1 takes 4.9 instead of 6.3 bytes a sample of the generator's
/// load; higher levels take twice the time for 3 % less.
const ZSTD_LEVEL: i32 = 1;

/// Payloads shorter than this stay as they are: a zstd frame costs 12 bytes and some microseconds.
const MIN_COMPRESSED_BYTES: usize = 256;

/// A reusable compressor.
pub struct Packer {
    zstd: zstd::bulk::Compressor<'static>,
}

impl Packer {
    /// A compressor.
    ///
    /// # Panics
    /// When zstd cannot allocate its state.
    pub fn new() -> Self {
        Packer { zstd: zstd::bulk::Compressor::new(ZSTD_LEVEL).expect("zstd's state fits in memory") }
    }

    /// Makes `raw` a payload.
    ///
    /// # Panics
    /// When `raw` is longer than [`MAX_RAW_BYTES`]: requests are bounded below.
    pub fn pack(&mut self, kind: Kind, raw: &[u8]) -> Payload {
        assert!(raw.len() <= MAX_RAW_BYTES, "requests are bounded far below the largest payload");
        let raw_len = raw.len() as u32;
        if raw.len() >= MIN_COMPRESSED_BYTES
            && let Ok(bytes) = self.zstd.compress(raw)
            && bytes.len() < raw.len()
        {
            let crc = crc32c(&bytes);
            return Payload { kind, compression: Compression::Zstd, raw_len, crc, bytes };
        }
        let crc = crc32c(raw);
        Payload { kind, compression: Compression::None, raw_len, crc, bytes: raw.to_vec() }
    }
}

impl Default for Packer {
    fn default() -> Self {
        Packer::new()
    }
}

/// A reusable decompressor with the last payload.
pub struct Unpacker {
    zstd: zstd::bulk::Decompressor<'static>,
    raw: Vec<u8>,
}

impl Unpacker {
    /// A decompressor.
    ///
    /// # Panics
    /// When zstd cannot allocate its state.
    pub fn new() -> Self {
        let zstd = zstd::bulk::Decompressor::new().expect("zstd's state fits in memory");
        Unpacker { zstd, raw: Vec::new() }
    }

    /// The payload of `frame`, decompressed.
    ///
    /// # Errors
    /// [`BadRecord`] when it does not decompress to its stated length.
    pub fn unpack<'a>(&'a mut self, frame: &Frame<'a>) -> Result<&'a [u8], BadRecord> {
        let length = frame.raw_len as usize;
        let raw = match frame.compression {
            Compression::None => frame.payload,
            Compression::Zstd => {
                if length > MAX_RAW_BYTES {
                    return Err(BadRecord("payload out of bounds"));
                }
                self.raw.clear();
                self.raw.reserve(length);
                self.zstd
                    .decompress_to_buffer(frame.payload, &mut self.raw)
                    .map_err(|_| BadRecord("payload does not decompress"))?;
                &self.raw
            }
        };
        if raw.len() == length { Ok(raw) } else { Err(BadRecord("payload of another length")) }
    }
}

impl Default for Unpacker {
    fn default() -> Self {
        Unpacker::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn frame<'a>(payload: &'a Payload, raw_len: u32) -> Frame<'a> {
        let Payload { kind, compression, ref bytes, .. } = *payload;
        Frame { offset: 0, kind, compression, raw_len, sequence: 0, synced: 0, payload: bytes }
    }

    proptest! {
        #[test]
        fn payloads_round_trip(bytes in prop::collection::vec(0u8..8, 0..2000), at in any::<prop::sample::Index>()) {
            let mut payload = Packer::new().pack(Kind::Batch, &bytes);
            let mut unpacker = Unpacker::new();
            prop_assert_eq!(unpacker.unpack(&frame(&payload, payload.raw_len)).unwrap(), &bytes[..]);
            prop_assert!(unpacker.unpack(&frame(&payload, payload.raw_len + 1)).is_err());
            if !payload.bytes.is_empty() {
                let at = at.index(payload.bytes.len());
                payload.bytes[at] ^= 1;
                // Must not panic; the frame's CRC is what detects it.
                let _ = unpacker.unpack(&frame(&payload, payload.raw_len));
            }
        }
    }
}
