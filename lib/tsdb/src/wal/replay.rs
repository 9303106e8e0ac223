//! Reading segments back.
//!
//! [`scan_segment`] lists what lies in a segment: sound frames, and stretches that are not; [`Finding`]s say what the
//! latter mean. Decoding is apart, so that it can be spread over cores. Nothing here stops at damage, and nothing is
//! changed on disk.
//!
//! Invariant: the frames listed are exactly the sound ones, in order.

use std::fmt;
use std::ops::Range;

use super::frame::{Event, Frame, Scan, Verdict, classify};
use super::segment::{HEADER_BYTES, SegmentId, decode_header};

/// Something that lies in a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found<'a> {
    /// A sound frame.
    Frame(Frame<'a>),
    /// Here something is missing.
    Damage(Range<u64>),
}

/// A stretch of a segment that could not be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// The segment's file name.
    pub segment: String,
    /// Which bytes.
    pub range: Range<u64>,
    /// What that means.
    pub verdict: Verdict,
    /// What is wrong.
    pub what: &'static str,
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Range { start, end } = self.range;
        match self.verdict {
            Verdict::Corruption => {
                write!(f, "log segment {} is damaged at bytes {start}..{end}: {}", self.segment, self.what)
            }
            Verdict::TornTail => {
                write!(f, "log segment {} ends in an unfinished write at bytes {start}..{end}", self.segment)
            }
        }
    }
}

/// What lies in a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Scanned<'a> {
    /// In order.
    pub found: Vec<Found<'a>>,
    /// What is not sound.
    pub findings: Vec<Finding>,
    /// Bytes below this were promised to be synced.
    pub synced_below: u64,
}

impl Scanned<'_> {
    /// What it means that the frame at `range` turned out to be unreadable.
    pub fn finding(&self, id: SegmentId, range: Range<u64>, what: &'static str) -> Finding {
        let verdict = classify(&range, self.synced_below);
        Finding { segment: id.file_name(), range, verdict, what }
    }
}

/// Lists what lies in the segment `id` with content `bytes`. `synced_below` is what the next segment's header says of
/// it, 0 when there is none.
pub fn scan_segment(bytes: &[u8], id: SegmentId, synced_below: u64) -> Scanned<'_> {
    let mut scanned = Scanned { synced_below, ..Scanned::default() };
    let mut damaged: Vec<(Range<u64>, &'static str)> = Vec::new();
    if decode_header(bytes, id).is_none() && !bytes.is_empty() {
        damaged.push((0..bytes.len().min(HEADER_BYTES) as u64, "segment header"));
    }
    for event in Scan::new(bytes, HEADER_BYTES, id.number, id.salt) {
        match event {
            Event::Frame(frame) => {
                scanned.synced_below = scanned.synced_below.max(frame.synced);
                scanned.found.push(Found::Frame(frame));
            }
            Event::Damage(range) => {
                damaged.push((range.clone(), "no valid frame"));
                scanned.found.push(Found::Damage(range));
            }
        }
    }
    scanned.findings = damaged.into_iter().map(|(range, what)| scanned.finding(id, range, what)).collect();
    scanned
}
