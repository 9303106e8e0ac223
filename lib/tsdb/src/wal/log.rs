//! Group commit: requests submit frames, one driver writes all that wait with one sync, each learns its outcome.
//!
//! [`Log::segment`] names the segment to encode for; [`Log::submit`] queues a frame in order; the driver is a thread
//! of its own, or the caller itself where computations run inline (simulation, tests).
//!
//! Invariants: frames reach the disk in the order of `submit`; a frame's outcome is given exactly once. The queue is
//! bounded by the receiver's admission budget: a request holds its budget until its outcome is known.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use cairn_runtime::Runtime;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;
use tracing::error;

use super::frame::Payload;
use super::segment::SegmentId;
use super::writer::{Counts, Submission, Writer};

/// When the log syncs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncMode {
    /// Before every acknowledgement.
    Always,
    /// This often; an acknowledged sample may be lost with the power.
    Interval(Duration),
    /// When the system likes.
    Never,
}

impl std::str::FromStr for SyncMode {
    type Err = String;

    /// `always`, `never` or `interval=100ms` (milliseconds or seconds).
    fn from_str(s: &str) -> Result<Self, String> {
        let wrong = || format!("cannot read {s:?} as a sync mode: use always, interval=100ms or never");
        match s {
            "always" => Ok(SyncMode::Always),
            "never" => Ok(SyncMode::Never),
            _ => {
                let every = s.strip_prefix("interval=").ok_or_else(wrong)?;
                let (number, unit_ms) = match every.strip_suffix("ms") {
                    Some(number) => (number, 1),
                    None => (every.strip_suffix('s').ok_or_else(wrong)?, 1000),
                };
                let n: u64 = number.parse().map_err(|_| wrong())?;
                Ok(SyncMode::Interval(Duration::from_millis(n.checked_mul(unit_ms).ok_or_else(wrong)?)))
            }
        }
    }
}

/// How a log is opened.
#[derive(Debug, Clone)]
pub struct LogOptions {
    /// Folder of the segments; made if it does not exist.
    pub dir: PathBuf,
    /// When to sync.
    pub sync: SyncMode,
}

/// Why a frame was not written.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum CommitError {
    /// Encode again for the log's present segment and submit once more.
    #[error("the log segment was given up")]
    SegmentLost,
    #[error("{0}")]
    DiskFull(String),
    #[error("{0}")]
    Failed(String),
    #[error("the log is closed")]
    Closed,
}

/// The outcome of a submitted frame, as a future.
pub type Outcome = oneshot::Receiver<Result<(), CommitError>>;

/// The log of one node. Clones share it.
#[derive(Clone)]
pub struct Log {
    shared: Arc<Shared>,
}

struct Shared {
    queue: Mutex<Queue>,
    arrived: Condvar,
    writer: Mutex<Writer>,
    /// Frames are encoded for this segment.
    segment: AtomicU64,
    /// Bytes in the segment that is being written.
    segment_bytes: AtomicU64,
    /// The newest segment of which a frame is known to be synced.
    settled: AtomicU64,
    disk: Arc<dyn cairn_runtime::Disk>,
    dir: PathBuf,
    inline: bool,
}

#[derive(Default)]
struct Queue {
    waiting: Vec<(Submission, oneshot::Sender<Result<(), CommitError>>)>,
    closed: bool,
}

impl Log {
    /// Opens the log for writing behind `newest`, the newest segment there is. Starts the driver.
    ///
    /// # Errors
    /// When the folder cannot be made or the system gives no thread.
    pub fn open(options: &LogOptions, newest: u64, runtime: &Runtime) -> std::io::Result<Self> {
        runtime.disk.create_dir_all(&options.dir)?;
        let next = newest + 1;
        let machine = (runtime.disk.clone(), runtime.clock.clone(), runtime.rng.fork());
        let shared = Arc::new(Shared {
            queue: Mutex::default(),
            arrived: Condvar::new(),
            writer: Mutex::new(Writer::new(machine, &options.dir, options.sync, next)),
            segment: AtomicU64::new(next),
            segment_bytes: AtomicU64::new(0),
            settled: AtomicU64::new(0),
            disk: runtime.disk.clone(),
            dir: options.dir.clone(),
            inline: runtime.cpu.is_inline(),
        });
        if !shared.inline {
            let (driver, every) = (shared.clone(), options.sync);
            runtime.tasks.spawn_thread("wal", move || {
                let _end = EndOfDriver(driver.clone());
                driver.run(every);
            })?;
        }
        Ok(Log { shared })
    }

    /// The segment that frames must be encoded for now.
    pub fn segment(&self) -> u64 {
        self.shared.segment.load(Ordering::Acquire)
    }

    /// Bytes in the segment that is being written.
    pub fn segment_bytes(&self) -> u64 {
        self.shared.segment_bytes.load(Ordering::Relaxed)
    }

    /// The newest segment of which a frame is known to be synced, and with it everything before that frame.
    pub fn settled(&self) -> u64 {
        self.shared.settled.load(Ordering::Acquire)
    }

    /// Frames encoded from now on go to a new segment. The caller holds off concurrent encoders.
    pub fn begin_segment(&self) -> u64 {
        self.shared.segment_bytes.store(0, Ordering::Relaxed);
        self.shared.segment.fetch_add(1, Ordering::AcqRel) + 1
    }

    /// Queues a frame behind all queued before. With an inline driver, [`Log::drive`] must follow.
    pub fn submit(&self, payload: Payload, segment: u64) -> Outcome {
        let (done, outcome) = oneshot::channel();
        let mut queue = self.shared.queue.lock();
        if queue.closed {
            let _ = done.send(Err(CommitError::Closed)); // the receiver is in our hands
        } else {
            queue.waiting.push((Submission { payload, segment }, done));
            drop(queue);
            self.shared.arrived.notify_one();
        }
        outcome
    }

    /// Writes what is queued, if nobody else does it.
    pub fn drive(&self) {
        if self.shared.inline {
            let group = std::mem::take(&mut self.shared.queue.lock().waiting);
            self.shared.commit(group);
        }
    }

    /// What the writer did so far. Waits for a commit that is under way.
    pub fn counts(&self) -> Counts {
        self.shared.writer.lock().counts()
    }

    /// Removes the segments with numbers up to `last`, oldest first, and gives the bytes that were freed.
    ///
    /// # Errors
    /// When a file cannot be listed or removed; those before it are gone.
    pub fn remove_through(&self, last: u64) -> std::io::Result<u64> {
        let mut freed = 0;
        for (id, len) in list(&*self.shared.disk, &self.shared.dir)? {
            if id.0 <= last {
                self.shared.disk.remove_file(&self.shared.dir.join(id.1.file_name()))?;
                freed += len;
            }
        }
        self.shared.disk.sync_dir(&self.shared.dir)?;
        Ok(freed)
    }

    /// Takes no more frames, writes and syncs those that wait, and ends the driver. Frames that the driver has in its
    /// hands at this moment are written before or answered [`CommitError::Closed`].
    pub fn close(&self) {
        let group = {
            let mut queue = self.shared.queue.lock();
            queue.closed = true;
            std::mem::take(&mut queue.waiting)
        };
        self.shared.arrived.notify_all();
        self.shared.commit(group);
        self.shared.writer.lock().close();
    }
}

/// Segments in `dir` with their length, oldest first.
pub fn list(
    disk: &dyn cairn_runtime::Disk,
    dir: &Path,
) -> std::io::Result<impl Iterator<Item = ((u64, SegmentId), u64)> + use<>> {
    let mut found = BTreeMap::new();
    for entry in disk.list(dir)? {
        if let Some(id) = SegmentId::parse(&entry.name) {
            found.insert((id.number, id), entry.len);
        }
    }
    Ok(found.into_iter())
}

/// Closes the queue when the driver ends, by a panic too: nobody may wait for one that is not there.
struct EndOfDriver(Arc<Shared>);

impl Drop for EndOfDriver {
    fn drop(&mut self) {
        let mut queue = self.0.queue.lock();
        if !queue.closed {
            error!("the thread that writes the log ended by a panic: writes are refused until a restart");
        }
        queue.closed = true;
        queue.waiting.clear(); // whose outcome is dropped learns that the log is closed
    }
}

impl Shared {
    fn run(&self, mode: SyncMode) {
        loop {
            let group = {
                let mut queue = self.queue.lock();
                while queue.waiting.is_empty() && !queue.closed {
                    match mode {
                        SyncMode::Interval(every) => {
                            if self.arrived.wait_for(&mut queue, every).timed_out() {
                                break;
                            }
                        }
                        _ => self.arrived.wait(&mut queue),
                    }
                }
                if queue.closed && queue.waiting.is_empty() {
                    return;
                }
                std::mem::take(&mut queue.waiting)
            };
            self.commit(group);
        }
    }

    fn commit(&self, group: Vec<(Submission, oneshot::Sender<Result<(), CommitError>>)>) {
        let (submissions, waiters): (Vec<_>, Vec<_>) = group.into_iter().unzip();
        let mut writer = self.writer.lock();
        let outcomes = writer.commit(&submissions);
        writer.sync_if_due();
        self.settled.fetch_max(writer.settled(), Ordering::AcqRel);
        let present = self.segment.fetch_max(writer.next_segment(), Ordering::AcqRel);
        if writer.next_segment() >= present {
            self.segment_bytes.store(writer.segment_bytes(), Ordering::Relaxed);
        }
        drop(writer);
        for (waiter, outcome) in waiters.into_iter().zip(outcomes) {
            let _ = waiter.send(outcome); // a request that was given up no longer waits
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sync_modes_are_read_as_flags_give_them() {
        let interval = |ms| Ok(SyncMode::Interval(Duration::from_millis(ms)));
        assert_eq!("always".parse(), Ok(SyncMode::Always));
        assert_eq!("never".parse(), Ok(SyncMode::Never));
        assert_eq!("interval=100ms".parse::<SyncMode>(), interval(100));
        assert_eq!("interval=2s".parse::<SyncMode>(), interval(2000));
        for wrong in
            ["", "sometimes", "interval=", "interval=5", "interval=-1ms", "interval=99999999999999999999s"]
        {
            assert!(wrong.parse::<SyncMode>().unwrap_err().contains("use always, interval=100ms or never"));
        }
    }
}
