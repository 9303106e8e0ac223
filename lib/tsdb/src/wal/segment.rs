//! Segment files: their names and their headers. Layout: docs/formats/wal.md.

use crc32c::crc32c;

/// Bytes of a segment header; the first frame follows.
pub const HEADER_BYTES: usize = 48;

const MAGIC: &[u8; 8] = b"CAIRNWAL";
const VERSION: u16 = 1;

/// What a segment is called. Enough to read it: the header only repeats it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct SegmentId {
    /// From 1, rising, never reused.
    pub number: u64,
    /// Random; seeds the CRC of frame headers.
    pub salt: u32,
}

/// What a segment knows of the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Predecessor {
    /// Its number, 0 for none.
    pub number: u64,
    /// How much of it was known to be synced when this segment began.
    pub synced: u64,
}

impl SegmentId {
    /// The file's name.
    pub fn file_name(self) -> String {
        format!("{:010}-{:08x}.wal", self.number, self.salt)
    }

    /// The segment of a file name; `None` for files that are no segments.
    pub fn parse(file_name: &str) -> Option<Self> {
        let (number, rest) = file_name.split_once('-')?;
        let salt = rest.strip_suffix(".wal")?;
        if number.len() < 10 || salt.len() != 8 {
            return None;
        }
        Some(SegmentId { number: number.parse().ok()?, salt: u32::from_str_radix(salt, 16).ok()? })
    }
}

/// The header of segment `id`.
pub fn encode_header(id: SegmentId, before: Predecessor) -> [u8; HEADER_BYTES] {
    let mut h = [0u8; HEADER_BYTES];
    h[0..8].copy_from_slice(MAGIC);
    h[8..10].copy_from_slice(&VERSION.to_le_bytes());
    h[12..16].copy_from_slice(&id.salt.to_le_bytes());
    h[16..24].copy_from_slice(&id.number.to_le_bytes());
    h[24..32].copy_from_slice(&before.number.to_le_bytes());
    h[32..40].copy_from_slice(&before.synced.to_le_bytes());
    let crc = crc32c(&h[..44]);
    h[44..48].copy_from_slice(&crc.to_le_bytes());
    h
}

/// What the header at the start of `bytes` says of the segment before, or `None` when it is damaged, of another
/// version, or not the header of `id`.
pub fn decode_header(bytes: &[u8], id: SegmentId) -> Option<Predecessor> {
    let h: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
    let u64_at = |i: usize| u64::from_le_bytes(h[i..i + 8].try_into().expect("eight bytes"));
    let before = Predecessor { number: u64_at(24), synced: u64_at(32) };
    // Comparing whole headers checks magic, version, salt, number and CRC at once.
    (*h == encode_header(id, before)).then_some(before)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_headers_round_trip() {
        let id = SegmentId { number: 42, salt: 0x00AB_CDEF };
        assert_eq!(id.file_name(), "0000000042-00abcdef.wal");
        assert_eq!(SegmentId::parse(&id.file_name()), Some(id));
        let before = Predecessor { number: 41, synced: 4096 };
        let mut header = encode_header(id, before);
        assert_eq!(decode_header(&header, id), Some(before));
        assert_eq!(decode_header(&header, SegmentId { number: 43, ..id }), None);
        for i in 0..HEADER_BYTES * 8 {
            header[i / 8] ^= 1 << (i % 8);
            assert_eq!(decode_header(&header, id), None, "bit {i}");
            header[i / 8] ^= 1 << (i % 8);
        }
    }

    #[test]
    fn other_files_are_not_segments() {
        for name in
            ["", "lock", "0000000001.wal", "1-00000000.wal", "000000000x-00000000.wal", "0000000001-0.wal"]
        {
            assert_eq!(SegmentId::parse(name), None, "{name}");
        }
    }
}
