//! Tombstones: stretches of series that are deleted but still in the chunks. Layout: docs/formats/block.md.

use std::collections::BTreeMap;

use cairn_model::TimestampMs;

use crate::chunkenc::Malformed;
use crate::decbuf::{Decbuf, checksum_holds, put_uvarint, put_varint};

/// First four bytes of a tombstones file.
const MAGIC: u32 = 0x0130_BA30;

/// The only version.
const VERSION: u8 = 1;

/// Magic and version.
const HEADER_BYTES: usize = 5;

/// A deleted stretch, `min_ms ..= max_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Interval {
    /// First deleted time.
    pub min_ms: TimestampMs,
    /// Last deleted time.
    pub max_ms: TimestampMs,
}

impl Interval {
    /// Whether `t` is deleted.
    pub fn contains(&self, t_ms: TimestampMs) -> bool {
        (self.min_ms..=self.max_ms).contains(&t_ms)
    }
}

/// Deleted stretches by series reference; those of one series are sorted and apart.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tombstones(BTreeMap<u64, Vec<Interval>>);

impl Tombstones {
    /// Reads a tombstones file.
    ///
    /// # Errors
    /// [`Malformed`] when magic, version or checksum are not right, or an entry is broken.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut d = Decbuf::new(bytes);
        if d.be_u32()? != MAGIC {
            return Err(Malformed { what: "not a tombstones file: wrong magic number", at: 0 });
        }
        if d.take(1)?[0] != VERSION {
            return Err(Malformed { what: "unsupported tombstones version", at: 4 });
        }
        let body_len = d.remaining().checked_sub(4).ok_or_else(|| d.fault("ends early"))?;
        let body = d.take(body_len)?;
        if !checksum_holds(d.be_u32()?, body) {
            return Err(Malformed { what: "checksum mismatch in tombstones", at: HEADER_BYTES });
        }
        let mut d = Decbuf::new(body);
        let mut stones = Tombstones::default();
        while d.remaining() > 0 {
            let read = |d: &mut Decbuf<'_>| Ok((d.uvarint()?, d.varint()?, d.varint()?));
            let (reference, min_ms, max_ms) = read(&mut d).map_err(|m: Malformed| m.shifted(HEADER_BYTES))?;
            if max_ms < min_ms {
                return Err(d.fault("tombstone ends before it begins").shifted(HEADER_BYTES));
            }
            stones.0.entry(reference).or_default().push(Interval { min_ms, max_ms });
        }
        stones.0.values_mut().for_each(merge);
        Ok(stones)
    }

    /// The file's bytes.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        out.extend_from_slice(&MAGIC.to_be_bytes());
        out.push(VERSION);
        for (reference, intervals) in &self.0 {
            for i in intervals {
                put_uvarint(&mut out, *reference);
                put_varint(&mut out, i.min_ms);
                put_varint(&mut out, i.max_ms);
            }
        }
        let crc = crc32c::crc32c(&out[HEADER_BYTES..]);
        out.extend_from_slice(&crc.to_be_bytes());
        out
    }

    /// Marks a stretch of a series deleted; joins what it touches.
    pub fn add(&mut self, reference: u64, interval: Interval) {
        let of_series = self.0.entry(reference).or_default();
        of_series.push(interval);
        merge(of_series);
    }

    /// Deleted stretches of a series, sorted and apart.
    pub fn of(&self, reference: u64) -> &[Interval] {
        self.0.get(&reference).map_or(&[], Vec::as_slice)
    }

    /// How many stretches there are.
    pub fn count(&self) -> u64 {
        self.0.values().map(|i| i.len() as u64).sum()
    }

    /// Whether nothing is deleted.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Sorts and joins stretches that overlap or touch.
fn merge(intervals: &mut Vec<Interval>) {
    intervals.sort_unstable();
    intervals.dedup_by(|next, kept| {
        let joined = next.min_ms <= kept.max_ms.saturating_add(1);
        if joined {
            kept.max_ms = kept.max_ms.max(next.max_ms);
        }
        joined
    });
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn an_empty_file_is_nine_bytes() {
        let bytes = Tombstones::default().to_bytes();
        assert_eq!(bytes, [0x01, 0x30, 0xBA, 0x30, 1, 0, 0, 0, 0]);
        assert!(Tombstones::read(&bytes).unwrap().is_empty());
    }

    #[test]
    fn touching_stretches_join() {
        let mut t = Tombstones::default();
        for (min_ms, max_ms) in [(10, 20), (40, 50), (21, 30), (45, 60)] {
            t.add(1, Interval { min_ms, max_ms });
        }
        assert_eq!(t.of(1), [Interval { min_ms: 10, max_ms: 30 }, Interval { min_ms: 40, max_ms: 60 }]);
        assert_eq!(t.count(), 2);
        assert_eq!(t.of(2), []);
    }

    proptest! {
        #[test]
        fn files_round_trip(raw in prop::collection::vec((0u64..5, -100i64..100, 0i64..50), 0..30)) {
            let mut t = Tombstones::default();
            for (reference, min_ms, len) in &raw {
                t.add(*reference, Interval { min_ms: *min_ms, max_ms: min_ms + len });
            }
            prop_assert_eq!(Tombstones::read(&t.to_bytes()).unwrap(), t.clone());
            for (reference, min_ms, len) in raw {
                for at in [min_ms, min_ms + len] {
                    prop_assert!(t.of(reference).iter().any(|i| i.contains(at)));
                }
            }
        }

        #[test]
        fn every_flipped_bit_is_noticed(bit in 0usize..8 * 30) {
            let mut t = Tombstones::default();
            t.add(3, Interval { min_ms: -5, max_ms: 1 << 40 });
            t.add(9, Interval { min_ms: 7, max_ms: 8 });
            let mut bytes = t.to_bytes();
            let bit = bit % (bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
            prop_assert!(Tombstones::read(&bytes).is_err());
        }
    }
}
