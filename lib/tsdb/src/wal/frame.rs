//! Frames: how records lie in a segment, and how a reader finds its way around damage.
//!
//! [`encode`] puts a header before a payload; [`Scan`] walks the bytes of a segment and yields every frame that is
//! sound and every stretch that is not; [`classify`] tells corruption from a torn tail. All of it is pure.
//!
//! Invariant: a scan yields frames and damage that tile the bytes behind the segment header exactly, in order and
//! without overlap, whatever the bytes are. Layout: docs/formats/wal.md.

use std::ops::Range;

use crc32c::{crc32c, crc32c_append};

/// First bytes of a frame; not valid UTF-8, so label text never holds them.
pub const MAGIC: [u8; 4] = [0xCA, 0x17, 0xF5, 0xA3];

/// Bytes of a frame header.
pub const HEADER_BYTES: usize = 40;

/// Largest payload after decompression (docs/formats/wal.md): above any request the receiver admits (128 MiB).
pub const MAX_RAW_BYTES: usize = 256 << 20;

const VERSION: u8 = 1;

/// What a frame holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Kind {
    /// Samples of one request.
    Batch = 1,
    /// Closed and released windows.
    Control = 2,
}

/// How a payload is stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Compression {
    /// As it is.
    None = 0,
    /// One zstd frame.
    Zstd = 1,
}

/// A payload ready to be framed: everything that does not depend on where it will lie.
#[derive(Debug, Clone)]
pub struct Payload {
    /// What it holds.
    pub kind: Kind,
    /// How it is stored.
    pub compression: Compression,
    /// Length after decompression.
    pub raw_len: u32,
    /// CRC-32C of `bytes`, computed beside the writer.
    pub crc: u32,
    /// As stored.
    pub bytes: Vec<u8>,
}

/// Where a frame lies.
#[derive(Debug, Clone, Copy)]
pub struct Place {
    /// The segment's number.
    pub segment: u64,
    /// The segment's salt.
    pub salt: u32,
    /// Number of the frame in its segment.
    pub sequence: u32,
    /// Offset below which everything was synced before this frame is written.
    pub synced: u64,
}

/// A sound frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Frame<'a> {
    /// Offset of the header in the segment.
    pub offset: u64,
    /// What it holds.
    pub kind: Kind,
    /// How the payload is stored.
    pub compression: Compression,
    /// Length of the payload after decompression.
    pub raw_len: u32,
    /// Number of the frame in its segment.
    pub sequence: u32,
    /// The synced mark.
    pub synced: u64,
    /// The payload as stored.
    pub payload: &'a [u8],
}

/// One step of a [`Scan`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event<'a> {
    /// A sound frame.
    Frame(Frame<'a>),
    /// Bytes `range` of the segment hold no sound frame.
    Damage(Range<u64>),
}

/// What damage means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The bytes were known to be synced: data that was promised is gone from this disk.
    Corruption,
    /// The bytes were on their way when the process ended: nobody was promised them.
    TornTail,
}

/// Damage that begins below `synced_below` is corruption.
pub fn classify(damage: &Range<u64>, synced_below: u64) -> Verdict {
    if damage.start < synced_below { Verdict::Corruption } else { Verdict::TornTail }
}

/// Appends header and payload to `out`.
pub fn encode(out: &mut Vec<u8>, payload: &Payload, place: Place) {
    debug_assert!(payload.raw_len as usize <= MAX_RAW_BYTES);
    let stored = u32::try_from(payload.bytes.len()).expect("payloads are bounded by MAX_RAW_BYTES");
    let mut h = [0u8; HEADER_BYTES];
    h[0..4].copy_from_slice(&MAGIC);
    h[4] = VERSION;
    h[5] = payload.kind as u8;
    h[6] = payload.compression as u8;
    h[8..12].copy_from_slice(&stored.to_le_bytes());
    h[12..16].copy_from_slice(&payload.raw_len.to_le_bytes());
    h[16..20].copy_from_slice(&(place.segment as u32).to_le_bytes());
    h[20..24].copy_from_slice(&place.sequence.to_le_bytes());
    h[24..32].copy_from_slice(&place.synced.to_le_bytes());
    h[32..36].copy_from_slice(&payload.crc.to_le_bytes());
    let crc = header_crc(place.salt, &h);
    h[36..40].copy_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&h);
    out.extend_from_slice(&payload.bytes);
}

fn header_crc(salt: u32, header: &[u8; HEADER_BYTES]) -> u32 {
    crc32c_append(crc32c(&salt.to_le_bytes()), &header[..HEADER_BYTES - 4])
}

/// Walks the frames of a segment.
pub struct Scan<'a> {
    bytes: &'a [u8],
    at: usize,
    segment: u64,
    salt: u32,
}

/// A header whose CRC holds.
struct Header {
    kind: Option<Kind>,
    compression: Option<Compression>,
    version: u8,
    stored_len: u32,
    raw_len: u32,
    sequence: u32,
    synced: u64,
    payload_crc: u32,
}

impl<'a> Scan<'a> {
    /// Walks `bytes`, a whole segment, from `start` (its header's length).
    pub fn new(bytes: &'a [u8], start: usize, segment: u64, salt: u32) -> Self {
        Scan { bytes, at: start.min(bytes.len()), segment, salt }
    }

    fn header_at(&self, at: usize) -> Option<Header> {
        let h: &[u8; HEADER_BYTES] = self.bytes.get(at..at + HEADER_BYTES)?.try_into().ok()?;
        let u32_at = |i: usize| u32::from_le_bytes([h[i], h[i + 1], h[i + 2], h[i + 3]]);
        let sound =
            h[..4] == MAGIC && u32_at(36) == header_crc(self.salt, h) && u32_at(16) == self.segment as u32;
        sound.then(|| Header {
            kind: match h[5] {
                1 => Some(Kind::Batch),
                2 => Some(Kind::Control),
                _ => None,
            },
            compression: match h[6] {
                0 => Some(Compression::None),
                1 => Some(Compression::Zstd),
                _ => None,
            },
            version: h[4],
            stored_len: u32_at(8),
            raw_len: u32_at(12),
            sequence: u32_at(20),
            synced: u64::from(u32_at(24)) | u64::from(u32_at(28)) << 32,
            payload_crc: u32_at(32),
        })
    }

    /// The frame at `at` if header and payload are sound, else where its known extent ends.
    fn frame_at(&self, at: usize) -> Result<(Frame<'a>, usize), usize> {
        let Some(h) = self.header_at(at) else { return Err(at + 1) };
        let start = at + HEADER_BYTES;
        let Some(payload) =
            start.checked_add(h.stored_len as usize).and_then(|end| self.bytes.get(start..end))
        else {
            return Err(at + 1); // cut short, or a forged length: look for frames behind the header
        };
        let end = start + payload.len();
        let (Some(kind), Some(compression)) = (h.kind, h.compression) else { return Err(end) };
        if h.version != VERSION || h.raw_len as usize > MAX_RAW_BYTES || crc32c(payload) != h.payload_crc {
            return Err(end);
        }
        let (raw_len, sequence, synced) = (h.raw_len, h.sequence, h.synced);
        Ok((Frame { offset: at as u64, kind, compression, raw_len, sequence, synced, payload }, end))
    }

    /// Where the next header may begin, at `from` or behind.
    fn next_magic(&self, from: usize) -> Option<usize> {
        let rest = self.bytes.get(from..)?;
        rest.windows(MAGIC.len()).position(|w| w == MAGIC).map(|i| from + i)
    }
}

impl<'a> Iterator for Scan<'a> {
    type Item = Event<'a>;

    fn next(&mut self) -> Option<Event<'a>> {
        let begin = self.at;
        let mut at = begin;
        while at < self.bytes.len() {
            match self.frame_at(at) {
                Ok((frame, end)) if at == begin => {
                    self.at = end;
                    return Some(Event::Frame(frame));
                }
                Ok(_) => break,
                Err(resume) => at = self.next_magic(resume).unwrap_or(self.bytes.len()),
            }
        }
        self.at = at;
        (at > begin).then_some(Event::Damage(begin as u64..at as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SALT: u32 = 0x5EED;

    fn payload(bytes: &[u8]) -> Payload {
        let (raw_len, crc) = (bytes.len() as u32, crc32c(bytes));
        Payload { kind: Kind::Batch, compression: Compression::None, raw_len, crc, bytes: bytes.to_vec() }
    }

    fn log_of(payloads: &[Vec<u8>]) -> (Vec<u8>, Vec<u64>) {
        let (mut out, mut offsets) = (Vec::new(), Vec::new());
        for (i, p) in payloads.iter().enumerate() {
            offsets.push(out.len() as u64);
            let synced = out.len() as u64;
            encode(&mut out, &payload(p), Place { segment: 9, salt: SALT, sequence: i as u32, synced });
        }
        (out, offsets)
    }

    fn scan(bytes: &[u8]) -> Vec<Event<'_>> {
        Scan::new(bytes, 0, 9, SALT).collect()
    }

    fn assert_tiles(events: &[Event<'_>], len: usize) {
        let mut at = 0;
        for e in events {
            let (start, end) = match e {
                Event::Frame(f) => (f.offset, f.offset + (HEADER_BYTES + f.payload.len()) as u64),
                Event::Damage(r) => (r.start, r.end),
            };
            assert_eq!(start, at);
            assert!(end > start);
            at = end;
        }
        assert_eq!(at, len as u64);
    }

    #[test]
    fn a_damaged_header_costs_its_own_frame_only() {
        let (mut log, offsets) = log_of(&[b"one".to_vec(), b"two".to_vec(), b"three".to_vec()]);
        log[offsets[1] as usize + 9] ^= 0x10;
        let events = scan(&log);
        assert_tiles(&events, log.len());
        assert!(matches!(&events[1], Event::Damage(r) if *r == (offsets[1]..offsets[2])));
        assert!(matches!(&events[2], Event::Frame(f) if f.payload == b"three"));
        assert_eq!(classify(&(offsets[1]..offsets[2]), offsets[2]), Verdict::Corruption);
    }

    #[test]
    fn a_frame_inside_a_label_value_is_not_taken_for_one() {
        // Forged with every field right but the salt, which an outsider does not know.
        let mut forged = Vec::new();
        encode(&mut forged, &payload(b"evil"), Place { segment: 9, salt: SALT + 1, sequence: 7, synced: 0 });
        let (mut log, offsets) = log_of(&[b"one".to_vec(), forged, b"three".to_vec()]);
        log[offsets[1] as usize] ^= 1;
        let found = scan(&log);
        assert!(!found.iter().any(|e| matches!(e, Event::Frame(f) if f.payload == b"evil")), "{found:?}");
    }

    #[test]
    fn frames_of_another_segment_are_damage() {
        let (log, _) = log_of(&[b"one".to_vec()]);
        let events: Vec<_> = Scan::new(&log, 0, 8, SALT).collect();
        assert_eq!(events, [Event::Damage(0..log.len() as u64)]);
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_are_tiled(bytes in prop::collection::vec(any::<u8>(), 0..400)) {
            assert_tiles(&scan(&bytes), bytes.len());
        }

        #[test]
        fn damage_anywhere_leaves_all_other_frames(
            payloads in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..60), 1..8),
            at in any::<prop::sample::Index>(), bit in 0u8..8,
        ) {
            let (mut log, offsets) = log_of(&payloads);
            let at = at.index(log.len());
            log[at] ^= 1 << bit;
            let events = scan(&log);
            assert_tiles(&events, log.len());
            let hit = offsets.iter().rposition(|&o| o as usize <= at).unwrap();
            for (i, p) in payloads.iter().enumerate() {
                let found = events.iter().any(
                    |e| matches!(e, Event::Frame(f) if f.sequence == i as u32 && f.payload == &p[..]));
                prop_assert_eq!(found, i != hit, "frame {} of {}, hit {}", i, payloads.len(), hit);
            }
        }
    }
}
