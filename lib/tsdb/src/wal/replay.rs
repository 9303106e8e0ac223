//! Reading segments back.
//!
//! [`read_segment`] walks one segment and hands every sound record to its caller; what is not sound becomes a
//! [`Finding`]. Nothing here stops at damage, and nothing is changed on disk.
//!
//! Invariant: the records given are exactly those of the sound frames, in order.

use std::fmt;
use std::ops::Range;

use super::frame::{Event, Kind, Scan, Verdict, classify};
use super::pack::Unpacker;
use super::record::{BatchRecord, Control, decode_controls};
use super::segment::{HEADER_BYTES, Predecessor, SegmentId, decode_header};

/// A record of the log.
pub enum Record<'a> {
    /// A request's data.
    Batch(&'a mut BatchRecord),
    /// Fences of windows.
    Controls(Vec<Control>),
    /// Here something is missing.
    Damage,
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

/// What became of a segment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SegmentReport {
    /// Sound frames.
    pub frames: u64,
    /// What was not sound, in order.
    pub findings: Vec<Finding>,
    /// What the header says of the segment before; `None` when the header is damaged.
    pub before: Option<Predecessor>,
}

/// Reads the segment `id` with content `bytes`. `synced_below` is what the next segment's header says of it, 0 when
/// there is none. Frames of a kind that is not `wanted` are left undecoded.
pub fn read_segment(
    bytes: &[u8],
    id: SegmentId,
    synced_below: u64,
    wanted: impl Fn(Kind) -> bool,
    mut each: impl FnMut(Record<'_>),
) -> SegmentReport {
    let mut report = SegmentReport { before: decode_header(bytes, id), ..SegmentReport::default() };
    let segment = id.file_name();
    let (mut unpacker, mut batch) = (Unpacker::new(), BatchRecord::default());
    let mut synced = synced_below;
    let mut damaged: Vec<(Range<u64>, &'static str)> = Vec::new();
    if report.before.is_none() && !bytes.is_empty() {
        damaged.push((0..bytes.len().min(HEADER_BYTES) as u64, "segment header"));
    }
    for event in Scan::new(bytes, HEADER_BYTES, id.number, id.salt) {
        let frame = match event {
            Event::Damage(range) => {
                damaged.push((range, "no valid frame"));
                each(Record::Damage);
                continue;
            }
            Event::Frame(frame) => frame,
        };
        synced = synced.max(frame.synced);
        report.frames += 1;
        if !wanted(frame.kind) {
            continue;
        }
        let decoded = unpacker.unpack(&frame).and_then(|raw| match frame.kind {
            Kind::Batch => batch.decode(raw).map(|()| None),
            Kind::Control => decode_controls(raw).map(Some),
        });
        match decoded {
            Ok(None) => each(Record::Batch(&mut batch)),
            Ok(Some(controls)) => each(Record::Controls(controls)),
            Err(bad) => {
                let end = frame.offset + (super::frame::HEADER_BYTES + frame.payload.len()) as u64;
                report.frames -= 1;
                damaged.push((frame.offset..end, bad.0));
                each(Record::Damage);
            }
        }
    }
    for (range, what) in damaged {
        let verdict = classify(&range, synced);
        report.findings.push(Finding { segment: segment.clone(), range, verdict, what });
    }
    report
}
