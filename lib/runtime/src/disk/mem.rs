//! A file system in memory that crashes and fails on demand.
//!
//! It keeps two states: what the process sees, and what a crash would leave. Written bytes reach the second by
//! `sync_data`, names by `sync_dir`. [`MemDisk::crash`] keeps a random prefix of unsynced appended bytes, as a
//! real disk may. Faults are asked for before every call, so a test can fail each call in turn.

use std::collections::{BTreeMap, HashSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use parking_lot::Mutex;

use super::{DirEntry, Disk, DiskFile, DiskLock, OpenHow};
use crate::rng::Rng;

/// A call that can be made to fail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DiskOp {
    /// Opening or creating.
    Open(PathBuf),
    /// Reading, mapping or listing.
    Read(PathBuf),
    /// Writing so many bytes.
    Write(PathBuf, usize),
    /// `sync_data` or `sync_dir`.
    Sync(PathBuf),
    /// Renaming, linking, removing, cutting.
    Change(PathBuf),
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Input/output error; nothing was done.
    Eio,
    /// No space; a write has put down this many bytes before.
    Enospc(usize),
    /// A write put down this many bytes and then failed.
    ShortWrite(usize),
}

type FaultHook = Box<dyn FnMut(&DiskOp) -> Option<Fault> + Send>;

/// Files in memory. Clones share them.
#[derive(Clone, Default)]
pub struct MemDisk {
    state: Arc<Mutex<State>>,
}

#[derive(Default)]
struct State {
    names: BTreeMap<PathBuf, Node>,
    durable_names: BTreeMap<PathBuf, Node>,
    locks: HashSet<PathBuf>,
    hook: Option<FaultHook>,
    free_bytes: Option<u64>,
    /// Grows with every crash: handles of an earlier life are dead.
    life: u64,
}

#[derive(Clone)]
enum Node {
    Dir,
    File(Arc<Mutex<Content>>),
}

#[derive(Default)]
struct Content {
    seen: Vec<u8>,
    durable: Vec<u8>,
}

impl MemDisk {
    /// An empty file system.
    pub fn new() -> Self {
        Self::default()
    }

    /// Asks `hook` before every call whether and how it fails.
    pub fn set_fault_hook(&self, hook: impl FnMut(&DiskOp) -> Option<Fault> + Send + 'static) {
        self.state.lock().hook = Some(Box::new(hook));
    }

    /// No more faults.
    pub fn clear_faults(&self) {
        self.state.lock().hook = None;
    }

    /// What `free_bytes` answers from now on.
    pub fn set_free_bytes(&self, free: u64) {
        self.state.lock().free_bytes = Some(free);
    }

    /// Power cut: open handles and locks are gone, names and bytes fall back to what was synced, but a random
    /// prefix of bytes appended after the last sync stays.
    pub fn crash(&self, rng: &Rng) {
        let mut s = self.state.lock();
        s.life += 1;
        s.locks.clear();
        s.names = s.durable_names.clone();
        for node in s.names.values() {
            if let Node::File(content) = node {
                let mut c = content.lock();
                let unsynced = c.seen.len().saturating_sub(c.durable.len());
                let mut after = c.durable.clone();
                if unsynced > 0 && c.seen.starts_with(&c.durable) {
                    let kept = rng.below(unsynced as u64 + 1) as usize;
                    after.extend_from_slice(&c.seen[c.durable.len()..c.durable.len() + kept]);
                }
                c.durable.clone_from(&after);
                c.seen = after;
            }
        }
    }

    fn check(&self, op: DiskOp) -> io::Result<()> {
        match self.fault(&op) {
            None => Ok(()),
            Some(f) => Err(f.to_error()),
        }
    }

    fn fault(&self, op: &DiskOp) -> Option<Fault> {
        let mut s = self.state.lock();
        s.hook.as_mut().and_then(|h| h(op))
    }

    fn file(&self, path: &Path) -> io::Result<Arc<Mutex<Content>>> {
        match self.state.lock().names.get(path) {
            Some(Node::File(c)) => Ok(c.clone()),
            Some(Node::Dir) => Err(io::Error::new(io::ErrorKind::IsADirectory, path.display().to_string())),
            None => Err(not_found(path)),
        }
    }
}

impl Fault {
    fn to_error(self) -> io::Error {
        match self {
            Fault::Eio => io::Error::from_raw_os_error(5),
            Fault::Enospc(_) => io::Error::from_raw_os_error(28),
            Fault::ShortWrite(_) => io::Error::from_raw_os_error(5),
        }
    }
}

fn not_found(path: &Path) -> io::Error {
    io::Error::new(io::ErrorKind::NotFound, format!("no such file or folder: {}", path.display()))
}

struct MemFile {
    disk: MemDisk,
    path: PathBuf,
    content: Arc<Mutex<Content>>,
    writable: bool,
    life: u64,
}

impl MemFile {
    fn alive(&self) -> io::Result<()> {
        if self.disk.state.lock().life == self.life {
            Ok(())
        } else {
            Err(io::Error::other("the handle is from before a crash"))
        }
    }

    fn may_write(&self) -> io::Result<()> {
        self.alive()?;
        if self.writable { Ok(()) } else { Err(io::Error::from_raw_os_error(9)) }
    }

    fn put(&self, buf: &[u8], offset: u64) {
        let mut c = self.content.lock();
        let (start, end) = (offset as usize, offset as usize + buf.len());
        if c.seen.len() < end {
            c.seen.resize(end, 0);
        }
        c.seen[start..end].copy_from_slice(buf);
    }
}

impl DiskFile for MemFile {
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()> {
        self.alive()?;
        self.disk.check(DiskOp::Read(self.path.clone()))?;
        let c = self.content.lock();
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        match start.checked_add(buf.len()).and_then(|end| c.seen.get(start..end)) {
            Some(bytes) => {
                buf.copy_from_slice(bytes);
                Ok(())
            }
            None => Err(io::ErrorKind::UnexpectedEof.into()),
        }
    }

    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()> {
        self.may_write()?;
        match self.disk.fault(&DiskOp::Write(self.path.clone(), buf.len())) {
            None => {
                self.put(buf, offset);
                Ok(())
            }
            Some(fault) => {
                if let Fault::ShortWrite(n) | Fault::Enospc(n) = fault {
                    self.put(&buf[..n.min(buf.len())], offset);
                }
                Err(fault.to_error())
            }
        }
    }

    fn sync_data(&self) -> io::Result<()> {
        self.alive()?;
        self.disk.check(DiskOp::Sync(self.path.clone()))?;
        let mut c = self.content.lock();
        c.durable = c.seen.clone();
        Ok(())
    }

    fn set_len(&self, len: u64) -> io::Result<()> {
        self.may_write()?;
        self.disk.check(DiskOp::Change(self.path.clone()))?;
        self.content.lock().seen.resize(len as usize, 0);
        Ok(())
    }

    fn len(&self) -> io::Result<u64> {
        self.alive()?;
        Ok(self.content.lock().seen.len() as u64)
    }
}

struct MemLock {
    disk: MemDisk,
    path: PathBuf,
    life: u64,
}

impl DiskLock for MemLock {}

impl Drop for MemLock {
    fn drop(&mut self) {
        let mut s = self.disk.state.lock();
        if s.life == self.life {
            s.locks.remove(&self.path);
        }
    }
}

impl Disk for MemDisk {
    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Box<dyn DiskFile>> {
        self.check(DiskOp::Open(path.to_owned()))?;
        let mut s = self.state.lock();
        let existing = match s.names.get(path) {
            Some(Node::Dir) => return Err(io::ErrorKind::IsADirectory.into()),
            Some(Node::File(c)) => Some(c.clone()),
            None => None,
        };
        let content = match (existing, how) {
            (Some(_), OpenHow::CreateNew) => return Err(io::ErrorKind::AlreadyExists.into()),
            (Some(c), _) => c,
            (None, OpenHow::Read | OpenHow::Write) => return Err(not_found(path)),
            (None, OpenHow::CreateNew | OpenHow::CreateOrWrite) => {
                let parent = path.parent().unwrap_or(Path::new("/"));
                if !matches!(s.names.get(parent), Some(Node::Dir)) && parent != Path::new("/") {
                    return Err(not_found(parent));
                }
                let c = Arc::new(Mutex::new(Content::default()));
                s.names.insert(path.to_owned(), Node::File(c.clone()));
                c
            }
        };
        let (disk, path, life) = (self.clone(), path.to_owned(), s.life);
        Ok(Box::new(MemFile { disk, path, content, writable: how != OpenHow::Read, life }))
    }

    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.check(DiskOp::Read(path.to_owned()))?;
        Ok(self.file(path)?.lock().seen.clone())
    }

    fn map(&self, path: &Path) -> io::Result<Bytes> {
        self.read(path).map(Bytes::from)
    }

    fn exists(&self, path: &Path) -> io::Result<bool> {
        Ok(self.state.lock().names.contains_key(path))
    }

    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.check(DiskOp::Read(dir.to_owned()))?;
        let s = self.state.lock();
        if !matches!(s.names.get(dir), Some(Node::Dir)) {
            return Err(not_found(dir));
        }
        let entry = |(path, node): (&PathBuf, &Node)| DirEntry {
            name: path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default(),
            is_dir: matches!(node, Node::Dir),
            len: match node {
                Node::Dir => 0,
                Node::File(c) => c.lock().seen.len() as u64,
            },
        };
        // Paths are ordered by component, so what lies inside a folder follows its name.
        let inside = s.names.range(dir.to_owned()..).skip(1).take_while(|(p, _)| p.starts_with(dir));
        let mut entries: Vec<_> = inside.filter(|(p, _)| p.parent() == Some(dir)).map(entry).collect();
        entries.sort();
        Ok(entries)
    }

    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.check(DiskOp::Open(dir.to_owned()))?;
        let mut s = self.state.lock();
        for ancestor in dir.ancestors() {
            match s.names.get(ancestor) {
                Some(Node::File(_)) => return Err(io::ErrorKind::NotADirectory.into()),
                Some(Node::Dir) => {}
                None => {
                    s.names.insert(ancestor.to_owned(), Node::Dir);
                }
            }
        }
        Ok(())
    }

    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(DiskOp::Change(from.to_owned()))?;
        let mut s = self.state.lock();
        let moved: Vec<PathBuf> = s.names.keys().filter(|p| p.starts_with(from)).cloned().collect();
        if moved.is_empty() {
            return Err(not_found(from));
        }
        for old in moved {
            let new = match old.strip_prefix(from) {
                Ok(rest) if rest.as_os_str().is_empty() => to.to_owned(),
                Ok(rest) => to.join(rest),
                Err(_) => continue,
            };
            let node = s.names.remove(&old).expect("listed above");
            s.names.insert(new, node);
        }
        Ok(())
    }

    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.check(DiskOp::Change(from.to_owned()))?;
        let content = self.file(from)?;
        let mut s = self.state.lock();
        if s.names.contains_key(to) {
            return Err(io::ErrorKind::AlreadyExists.into());
        }
        s.names.insert(to.to_owned(), Node::File(content));
        Ok(())
    }

    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.check(DiskOp::Change(path.to_owned()))?;
        self.file(path)?;
        self.state.lock().names.remove(path);
        Ok(())
    }

    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.check(DiskOp::Change(dir.to_owned()))?;
        let mut s = self.state.lock();
        if !s.names.contains_key(dir) {
            return Err(not_found(dir));
        }
        s.names.retain(|p, _| !p.starts_with(dir));
        Ok(())
    }

    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.check(DiskOp::Sync(dir.to_owned()))?;
        let mut s = self.state.lock();
        let s = &mut *s;
        // A folder's own name is durable with it: callers make folders first and files inside later.
        for ancestor in dir.ancestors() {
            if let Some(Node::Dir) = s.names.get(ancestor) {
                s.durable_names.insert(ancestor.to_owned(), Node::Dir);
            }
        }
        let in_dir = |p: &PathBuf| p.parent() == Some(dir);
        let gone: Vec<PathBuf> =
            s.durable_names.keys().filter(|p| in_dir(p) && !s.names.contains_key(*p)).cloned().collect();
        for path in gone {
            s.durable_names.retain(|p, _| !p.starts_with(&path));
        }
        for (path, node) in s.names.iter().filter(|(p, _)| in_dir(p)) {
            s.durable_names.insert(path.clone(), node.clone());
            if let Node::Dir = node {
                // A folder that was moved here brings the names that were durable inside it; the simple and
                // safe reading for callers that sync files before renaming their folder.
                // Paths are ordered by component, so what lies inside a folder follows its name.
                let inside = s.names.range(path.clone()..).take_while(|(p, _)| p.starts_with(path));
                for (inner, n) in inside {
                    s.durable_names.entry(inner.clone()).or_insert_with(|| n.clone());
                }
            }
        }
        Ok(())
    }

    fn free_bytes(&self, _path: &Path) -> io::Result<u64> {
        Ok(self.state.lock().free_bytes.unwrap_or(1 << 40))
    }

    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        let mut s = self.state.lock();
        if !s.locks.insert(path.to_owned()) {
            return Err(io::ErrorKind::WouldBlock.into());
        }
        Ok(Box::new(MemLock { disk: self.clone(), path: path.to_owned(), life: s.life }))
    }
}
