//! The one who writes the log: groups of frames into the current segment, one write and one sync each.
//!
//! A thin state machine over [`Disk`]: an open segment with its good and its synced length, or none. Every failure
//! ends the segment, and the next group begins another one, because records encoded for a segment rely on
//! definitions in it.
//!
//! Invariants: nothing is written to a file after a failed write (but cutting it back) or a failed sync; `Ok` is
//! given only for frames that lie below the synced length (with [`SyncMode::Always`], and for control frames in every
//! mode: what they separate must not be undone by a power cut that its block survives); frames are written in the
//! order in which they were submitted; nothing is written after [`Writer::close`].

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use cairn_runtime::{Clock, Disk, DiskFile, OpenHow, Rng};
use tracing::{error, warn};

use super::frame::{self, Kind, Payload, Place};
use super::log::{CommitError, SyncMode};
use super::segment::{HEADER_BYTES, Predecessor, SegmentId, encode_header};

/// The buffer of a group is given back above this size: large groups follow a stall and are rare.
const MAX_KEPT_BUFFER_BYTES: usize = 8 << 20;

/// ENOSPC and EDQUOT: the disk, or this user's share of it, is full.
const FULL_ERRNOS: [i32; 2] = [28, 122];

/// A frame to be written into segment `segment`.
pub struct Submission {
    /// What to write.
    pub payload: Payload,
    /// The segment it was encoded for.
    pub segment: u64,
}

/// Writes groups of frames.
pub struct Writer {
    disk: Arc<dyn Disk>,
    clock: Arc<dyn Clock>,
    rng: Rng,
    dir: PathBuf,
    mode: SyncMode,
    open: Option<OpenSegment>,
    before: Predecessor,
    /// First segment number that may be written.
    next: u64,
    buffer: Vec<u8>,
    counts: Counts,
    /// The newest segment of which a frame is known to be synced, and with it all before that frame.
    settled: u64,
    closed: bool,
}

/// What the writer did, for metrics and truncation.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Successful fdatasyncs.
    pub fsyncs: u64,
    /// Failed fdatasyncs.
    pub failed_fsyncs: u64,
    /// Failed writes and creations.
    pub failed_writes: u64,
    /// Bytes of frames written.
    pub bytes: u64,
    /// Frames written.
    pub frames: u64,
    /// Segments begun.
    pub segments: u64,
}

struct OpenSegment {
    id: SegmentId,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    /// What the segment's header says of the one before.
    before: Predecessor,
    /// End of the last frame that was written whole.
    good: u64,
    /// End of what is known to be synced.
    synced: u64,
    frames: u32,
    last_sync: Duration,
}

impl Writer {
    /// Writes into `dir`, beginning with segment `next`, which does not exist.
    pub fn new(
        (disk, clock, rng): (Arc<dyn Disk>, Arc<dyn Clock>, Rng),
        dir: &Path,
        mode: SyncMode,
        next: u64,
    ) -> Self {
        Writer {
            disk,
            clock,
            rng,
            dir: dir.to_owned(),
            mode,
            open: None,
            before: Predecessor::default(),
            next,
            buffer: Vec::new(),
            counts: Counts::default(),
            settled: 0,
            closed: false,
        }
    }

    /// What was done so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// The newest segment of which a frame is known to be synced.
    pub fn settled(&self) -> u64 {
        self.settled
    }

    /// The least segment number that frames must be encoded for.
    pub fn next_segment(&self) -> u64 {
        self.next
    }

    /// Bytes in the open segment.
    pub fn segment_bytes(&self) -> u64 {
        self.open.as_ref().map_or(0, |o| o.good)
    }

    /// Writes `group` in order and gives each submission's outcome. Frames of a segment that was given up are
    /// answered [`CommitError::SegmentLost`]: encode them again for [`Writer::next_segment`].
    pub fn commit(&mut self, group: &[Submission]) -> Vec<Result<(), CommitError>> {
        let mut outcomes = Vec::with_capacity(group.len());
        let mut rest = group;
        while let Some(first) = rest.first() {
            let run = rest.iter().take_while(|s| s.segment == first.segment).count();
            let outcome = self.commit_run(first.segment, &rest[..run]);
            outcomes.extend(std::iter::repeat_n(outcome, run));
            rest = &rest[run..];
        }
        outcomes
    }

    /// Syncs what an interval mode has left unsynced, if it is due. A failure ends the segment.
    pub fn sync_if_due(&mut self) {
        if self.is_sync_due()
            && let Err(e) = self.sync()
        {
            self.give_up("fdatasync", &e);
        }
    }

    fn is_sync_due(&self) -> bool {
        let Some(open) = self.open.as_ref().filter(|o| o.good > o.synced) else { return false };
        match self.mode {
            SyncMode::Always => true,
            SyncMode::Interval(every) => self.clock.monotonic().saturating_sub(open.last_sync) >= every,
            SyncMode::Never => false,
        }
    }

    /// Syncs everything and writes nothing any more; for an orderly end.
    pub fn close(&mut self) {
        self.finish();
        self.closed = true;
    }

    /// Syncs and closes the open segment.
    fn finish(&mut self) {
        if self.open.as_ref().is_some_and(|o| o.good > o.synced)
            && let Err(e) = self.sync()
        {
            self.give_up("fdatasync", &e);
        }
        self.open = None;
    }

    fn commit_run(&mut self, segment: u64, run: &[Submission]) -> Result<(), CommitError> {
        if self.closed {
            return Err(CommitError::Closed);
        }
        if segment < self.next {
            return Err(CommitError::SegmentLost);
        }
        if let Err(e) = self.ensure_open(segment) {
            return Err(self.failed_write("create a log segment", e));
        }
        let open = self.open.as_mut().expect("ensure_open() left a segment open");
        self.buffer.clear();
        for (i, s) in run.iter().enumerate() {
            let sequence = open.frames + i as u32;
            let place = Place { segment, salt: open.id.salt, sequence, synced: open.synced };
            frame::encode(&mut self.buffer, &s.payload, place);
        }
        if let Err(e) = open.file.write_all_at(&self.buffer, open.good) {
            return Err(self.failed_write("write the log", e));
        }
        open.good += self.buffer.len() as u64;
        open.frames += run.len() as u32;
        self.counts.bytes += self.buffer.len() as u64;
        if self.buffer.capacity() > MAX_KEPT_BUFFER_BYTES {
            self.buffer = Vec::new();
        }
        self.counts.frames += run.len() as u64;
        let separates = run.iter().any(|s| s.payload.kind == Kind::Control);
        if (separates || self.is_sync_due())
            && let Err(e) = self.sync()
        {
            self.give_up("fdatasync", &e);
            return Err(CommitError::SegmentLost);
        }
        Ok(())
    }

    /// Makes `segment` the open one.
    fn ensure_open(&mut self, segment: u64) -> io::Result<()> {
        if self.open.as_ref().is_some_and(|o| o.id.number == segment) {
            return Ok(());
        }
        self.finish();
        let id = SegmentId { number: segment, salt: self.rng.next_u64() as u32 };
        self.next = segment;
        let path = self.dir.join(id.file_name());
        let file = self.disk.open(&path, OpenHow::CreateNew)?;
        let header = encode_header(id, self.before);
        let made = file.write_all_at(&header, 0).and_then(|()| self.disk.sync_dir(&self.dir));
        if let Err(e) = made {
            drop(file);
            self.remove_empty(&path);
            return Err(e);
        }
        let (good, last_sync) = (HEADER_BYTES as u64, self.clock.monotonic());
        self.counts.segments += 1;
        let before = std::mem::replace(&mut self.before, Predecessor { number: segment, synced: 0 });
        self.open = Some(OpenSegment { id, path, file, before, good, synced: 0, frames: 0, last_sync });
        Ok(())
    }

    fn sync(&mut self) -> io::Result<()> {
        let Some(open) = &mut self.open else { return Ok(()) };
        match open.file.sync_data() {
            Ok(()) => {
                open.synced = open.good;
                if open.frames > 0 {
                    self.settled = self.settled.max(open.id.number);
                }
                open.last_sync = self.clock.monotonic();
                self.before.synced = open.synced;
                self.counts.fsyncs += 1;
                Ok(())
            }
            Err(e) => {
                self.counts.failed_fsyncs += 1;
                Err(e)
            }
        }
    }

    /// A write failed: cuts the open segment back to its last whole frame and leaves it for good.
    fn failed_write(&mut self, action: &str, e: io::Error) -> CommitError {
        self.counts.failed_writes += 1;
        let full = e.raw_os_error().is_some_and(|n| FULL_ERRNOS.contains(&n))
            || e.kind() == io::ErrorKind::StorageFull;
        let had_segment = self.open.is_some();
        if let Some(open) = self.open.take() {
            if open.frames == 0 {
                self.before = open.before;
                drop(open.file);
                self.remove_empty(&open.path);
            } else {
                if let Err(cut) = open.file.set_len(open.good) {
                    warn!(path = %open.path.display(), error = %cut, "cannot cut the log back to its last good offset; replay will skip the torn frame");
                }
                // With the lazier modes it holds frames that were acknowledged and are not synced yet.
                if open.good > open.synced && open.file.sync_data().is_err() {
                    self.counts.failed_fsyncs += 1;
                }
            }
        }
        self.next += 1;
        if full {
            return CommitError::DiskFull(format!("cannot {action} in {}: {e}", self.dir.display()));
        }
        error!(dir = %self.dir.display(), error = %e, "cannot {action}; going on in a new segment");
        if had_segment {
            CommitError::SegmentLost
        } else {
            CommitError::Failed(format!("cannot {action} in {}: {e}", self.dir.display()))
        }
    }

    /// The open segment's unsynced bytes are in doubt for ever: never touch it again.
    fn give_up(&mut self, action: &str, e: &io::Error) {
        if let Some(open) = self.open.take() {
            error!(path = %open.path.display(), error = %e, "{action} failed; the file is not written again, requests in flight go to a new segment");
        }
        self.next += 1;
    }

    /// Removes a segment that holds no frame. It may stay: replay takes an empty segment as it is.
    fn remove_empty(&self, path: &Path) {
        if let Err(e) = self.disk.remove_file(path) {
            warn!(path = %path.display(), error = %e, "cannot remove an empty log segment");
        }
    }
}
