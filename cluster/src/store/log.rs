//! Raft's log and vote: in memory, and in the journal.
//!
//! Writes happen on a thread of their own, off Raft's own task, and are acknowledged after `sync_data`. When half of a
//! large journal is void, it is written anew beside the old one and renamed over it. After any failed write the
//! journal is not used again: Raft is told, stops, and the node says why.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::io;
use std::ops::RangeBounds;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use cairn_runtime::{CpuPool, Disk, DiskFile, OpenHow};
use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use openraft::entry::RaftEntry;
use openraft::storage::{IOFlushed, RaftLogStorage};
use openraft::{LogState, OptionalSend, RaftLogReader};
use parking_lot::Mutex;

use super::RaftTypes;
use super::journal::{Record, decode_journal, encode_record};

/// Version of the journal's records.
const VERSION: u32 = 1;
/// A journal below this size is never rewritten.
const REWRITE_ABOVE_BYTES: u64 = 1 << 20;

/// The log of one node. Clones share it.
#[derive(Clone)]
pub struct LogStore {
    inner: Arc<Mutex<Inner>>,
    cpu: CpuPool,
}

struct Inner {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    file: Box<dyn DiskFile>,
    length: u64,
    failed: bool,
    vote: Option<VoteOf<RaftTypes>>,
    committed: Option<LogIdOf<RaftTypes>>,
    purged: Option<LogIdOf<RaftTypes>>,
    entries: BTreeMap<u64, EntryOf<RaftTypes>>,
}

impl LogStore {
    /// Opens or creates the journal in `dir`.
    ///
    /// # Errors
    /// Of the disk, or `InvalidData` when the journal is corrupt or of a later version.
    pub fn open(disk: Arc<dyn Disk>, dir: &Path, cpu: CpuPool) -> io::Result<Self> {
        disk.create_dir_all(dir)?;
        let path = dir.join("journal");
        let file = disk.open(&path, OpenHow::CreateOrWrite)?;
        let bytes = disk.read(&path)?;
        let (records, sound) =
            decode_journal(&bytes).map_err(|e| io::Error::new(io::ErrorKind::InvalidData, e))?;
        let mut inner = Inner {
            disk,
            path,
            file,
            length: sound as u64,
            failed: false,
            vote: None,
            committed: None,
            purged: None,
            entries: BTreeMap::new(),
        };
        inner.file.set_len(sound as u64)?;
        for record in records {
            inner.replay(record)?;
        }
        if sound == 0 {
            inner.write(&[Record::Version(VERSION)])?;
            inner.disk.sync_dir(dir)?;
        }
        Ok(LogStore { inner: Arc::new(Mutex::new(inner)), cpu })
    }

    /// Makes `records` durable off the caller's task, then takes them over into memory.
    async fn write(&self, records: Vec<Record>) -> io::Result<()> {
        let inner = self.inner.clone();
        // Raft's clock runs while it waits, so it must neither yield nor stand behind background work.
        self.cpu
            .run_blocking(move || {
                let mut inner = inner.lock();
                inner.write(&records)?;
                records.into_iter().try_for_each(|r| inner.replay(r))?;
                inner.rewrite_if_worth_it()
            })
            .await
            .map_err(io::Error::other)?
    }
}

impl Inner {
    fn write(&mut self, records: &[Record]) -> io::Result<()> {
        if self.failed {
            return Err(io::Error::other("the raft journal failed before; restart the node to use it again"));
        }
        let mut bytes = Vec::new();
        records.iter().for_each(|r| encode_record(&mut bytes, r));
        self.failed = true; // until the write is known to be whole
        self.file.write_all_at(&bytes, self.length)?;
        self.file.sync_data()?;
        self.failed = false;
        self.length += bytes.len() as u64;
        Ok(())
    }

    fn replay(&mut self, record: Record) -> io::Result<()> {
        match record {
            Record::Version(VERSION) => {}
            Record::Version(v) => {
                let text = format!(
                    "raft journal has version {v}, this program knows {VERSION}: run the newer program"
                );
                return Err(io::Error::new(io::ErrorKind::InvalidData, text));
            }
            Record::Vote(v) => self.vote = Some(v),
            Record::Entry(e) => {
                self.entries.insert(e.log_id().index, e);
            }
            Record::TruncateAfter(last) => {
                let first_void = last.map_or(0, |l| l.index + 1);
                self.entries.split_off(&first_void);
            }
            Record::Purge(up_to) => {
                self.entries = self.entries.split_off(&(up_to.index + 1));
                self.purged = Some(up_to);
            }
            Record::Committed(c) => self.committed = c,
        }
        Ok(())
    }

    fn rewrite_if_worth_it(&mut self) -> io::Result<()> {
        if self.length < REWRITE_ABOVE_BYTES {
            return Ok(());
        }
        let mut live = vec![Record::Version(VERSION)];
        live.extend(self.vote.map(Record::Vote));
        live.extend(self.purged.map(Record::Purge));
        live.extend(self.entries.values().cloned().map(Record::Entry));
        live.push(Record::Committed(self.committed));
        let mut bytes = Vec::new();
        live.iter().for_each(|r| encode_record(&mut bytes, r));
        if bytes.len() as u64 * 2 > self.length {
            return Ok(());
        }
        self.disk.write_atomic(&self.path, &bytes)?;
        self.file = self.disk.open(&self.path, OpenHow::Write)?;
        self.length = bytes.len() as u64;
        Ok(())
    }
}

impl RaftLogReader<RaftTypes> for LogStore {
    async fn try_get_log_entries<RB: RangeBounds<u64> + Clone + Debug + OptionalSend>(
        &mut self,
        range: RB,
    ) -> io::Result<Vec<EntryOf<RaftTypes>>> {
        Ok(self.inner.lock().entries.range(range).map(|(_, e)| e.clone()).collect())
    }

    async fn read_vote(&mut self) -> io::Result<Option<VoteOf<RaftTypes>>> {
        Ok(self.inner.lock().vote)
    }
}

impl RaftLogStorage<RaftTypes> for LogStore {
    type LogReader = Self;

    async fn get_log_state(&mut self) -> io::Result<LogState<RaftTypes>> {
        let inner = self.inner.lock();
        let last = inner.entries.values().next_back().map(|e| e.log_id()).or(inner.purged);
        Ok(LogState { last_purged_log_id: inner.purged, last_log_id: last })
    }

    async fn get_log_reader(&mut self) -> Self {
        self.clone()
    }

    async fn save_vote(&mut self, vote: &VoteOf<RaftTypes>) -> io::Result<()> {
        self.write(vec![Record::Vote(*vote)]).await
    }

    async fn save_committed(&mut self, committed: Option<LogIdOf<RaftTypes>>) -> io::Result<()> {
        self.write(vec![Record::Committed(committed)]).await
    }

    async fn read_committed(&mut self) -> io::Result<Option<LogIdOf<RaftTypes>>> {
        Ok(self.inner.lock().committed)
    }

    async fn append<I>(&mut self, entries: I, callback: IOFlushed<RaftTypes>) -> io::Result<()>
    where
        I: IntoIterator<Item = EntryOf<RaftTypes>> + OptionalSend,
        I::IntoIter: OptionalSend,
    {
        let records: Vec<_> = entries.into_iter().map(Record::Entry).collect();
        let written = self.write(records).await;
        let told = written.as_ref().copied().map_err(|e| io::Error::new(e.kind(), e.to_string()));
        callback.io_completed(told);
        written
    }

    async fn truncate_after(&mut self, last: Option<LogIdOf<RaftTypes>>) -> io::Result<()> {
        self.write(vec![Record::TruncateAfter(last)]).await
    }

    async fn purge(&mut self, up_to: LogIdOf<RaftTypes>) -> io::Result<()> {
        self.write(vec![Record::Purge(up_to)]).await
    }
}
