//! The disk as one life of a node sees it: a process that was killed can do nothing any more, whatever of it still
//! runs in the simulation.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use cairn_runtime::disk::{DirEntry, DiskLock};
use cairn_runtime::{Disk, DiskFile, MemDisk, OpenHow};

/// A disk that is there until [`LifeDisk::end`].
#[derive(Clone)]
pub struct LifeDisk {
    disk: MemDisk,
    ended: Arc<AtomicBool>,
}

impl LifeDisk {
    /// A new life on `disk`. Open files of an earlier life are dead by [`MemDisk::crash`] itself.
    pub fn new(disk: &MemDisk) -> Self {
        LifeDisk { disk: disk.clone(), ended: Arc::default() }
    }

    /// From now on every call fails.
    pub fn end(&self) {
        self.ended.store(true, Ordering::SeqCst);
    }

    fn alive(&self) -> io::Result<&MemDisk> {
        if self.ended.load(Ordering::SeqCst) {
            return Err(io::Error::other("the process was killed"));
        }
        Ok(&self.disk)
    }
}

impl Disk for LifeDisk {
    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Box<dyn DiskFile>> {
        self.alive()?.open(path, how)
    }
    fn read(&self, path: &Path) -> io::Result<Vec<u8>> {
        self.alive()?.read(path)
    }
    fn map(&self, path: &Path) -> io::Result<Bytes> {
        self.alive()?.map(path)
    }
    fn exists(&self, path: &Path) -> io::Result<bool> {
        self.alive()?.exists(path)
    }
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>> {
        self.alive()?.list(dir)
    }
    fn create_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.alive()?.create_dir_all(dir)
    }
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.alive()?.rename(from, to)
    }
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()> {
        self.alive()?.hard_link(from, to)
    }
    fn remove_file(&self, path: &Path) -> io::Result<()> {
        self.alive()?.remove_file(path)
    }
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()> {
        self.alive()?.remove_dir_all(dir)
    }
    fn sync_dir(&self, dir: &Path) -> io::Result<()> {
        self.alive()?.sync_dir(dir)
    }
    fn free_bytes(&self, path: &Path) -> io::Result<u64> {
        self.alive()?.free_bytes(path)
    }
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>> {
        self.alive()?.lock(path)
    }
}
