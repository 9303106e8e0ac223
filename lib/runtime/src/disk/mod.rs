//! Files: what the storage engine, the Raft log and the outbox may ask of a disk.
//!
//! Calls block; those who call them run on threads that may. [`RealDisk`] is the machine's; [`MemDisk`] keeps
//! files in memory, forgets unsynced bytes when it "crashes", and fails on demand.
//!
//! What survives a crash: bytes that [`DiskFile::sync_data`] returned for, under a name that
//! [`Disk::sync_dir`] of its folder returned for after the name was made. Nothing else may be relied on.
//! After a failed `sync_data` a file's unsynced bytes are in doubt for ever: never write to it again.

mod mem;
mod real;

use std::io;
use std::path::Path;

use bytes::Bytes;

pub use mem::{DiskOp, Fault, MemDisk};
pub use real::RealDisk;

/// How to open a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OpenHow {
    /// Must exist; reading only.
    Read,
    /// Must exist; reading and writing.
    Write,
    /// Must not exist; reading and writing.
    CreateNew,
    /// Made if it does not exist; reading and writing.
    CreateOrWrite,
}

/// An open file. Positions are explicit, so a file may be shared.
pub trait DiskFile: Send + Sync {
    /// Fills `buf` from `offset`. Fewer bytes in the file are an error of kind `UnexpectedEof`.
    fn read_exact_at(&self, buf: &mut [u8], offset: u64) -> io::Result<()>;

    /// Writes all of `buf` at `offset`. After an error any prefix may have been written.
    fn write_all_at(&self, buf: &[u8], offset: u64) -> io::Result<()>;

    /// Makes everything written so far durable (`fdatasync`).
    fn sync_data(&self) -> io::Result<()>;

    /// Cuts or extends the file.
    fn set_len(&self, len: u64) -> io::Result<()>;

    /// Length in bytes.
    fn len(&self) -> io::Result<u64>;

    /// Whether the file is empty.
    fn is_empty(&self) -> io::Result<bool> {
        Ok(self.len()? == 0)
    }
}

/// An entry of a folder.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// Name inside the folder.
    pub name: String,
    /// Whether it is a folder itself.
    pub is_dir: bool,
    /// Length of a file in bytes, 0 for a folder.
    pub len: u64,
}

/// Held while a process owns a folder; released when dropped.
pub trait DiskLock: Send + Sync {}

/// A file system.
pub trait Disk: Send + Sync {
    /// Opens a file.
    fn open(&self, path: &Path, how: OpenHow) -> io::Result<Box<dyn DiskFile>>;

    /// Reads a whole file. Callers bound what they read by its length in [`Disk::list`] where it may be large.
    fn read(&self, path: &Path) -> io::Result<Vec<u8>>;

    /// The file's bytes without copying where the system can map it. The file must not be cut or overwritten
    /// while the bytes are alive; removing it is fine.
    fn map(&self, path: &Path) -> io::Result<Bytes>;

    /// Writes a whole file so that a crash leaves the old or the new content: temporary file, sync, rename,
    /// sync of the folder.
    fn write_atomic(&self, path: &Path, content: &[u8]) -> io::Result<()> {
        let dir = path.parent().ok_or_else(|| io::Error::other("a file needs a folder"))?;
        let mut temporary = path.as_os_str().to_owned();
        temporary.push(".tmp");
        let temporary = Path::new(&temporary);
        let file = self.open(temporary, OpenHow::CreateOrWrite)?;
        file.set_len(0)?;
        file.write_all_at(content, 0)?;
        file.sync_data()?;
        self.rename(temporary, path)?;
        self.sync_dir(dir)
    }

    /// Whether a file or folder is there.
    fn exists(&self, path: &Path) -> io::Result<bool>;

    /// Entries of a folder, sorted by name.
    fn list(&self, dir: &Path) -> io::Result<Vec<DirEntry>>;

    /// Makes a folder and those above it.
    fn create_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Moves a file or folder, replacing a file of that name. Durable after `sync_dir` of both folders.
    fn rename(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Gives a file a second name; fails with `AlreadyExists` when the name is taken.
    fn hard_link(&self, from: &Path, to: &Path) -> io::Result<()>;

    /// Removes a file.
    fn remove_file(&self, path: &Path) -> io::Result<()>;

    /// Removes a folder with everything in it.
    fn remove_dir_all(&self, dir: &Path) -> io::Result<()>;

    /// Makes the folder's names durable.
    fn sync_dir(&self, dir: &Path) -> io::Result<()>;

    /// Bytes that can still be written to the file system of `path`.
    fn free_bytes(&self, path: &Path) -> io::Result<u64>;

    /// Takes the lock file `path` for this process; fails with `WouldBlock` when another holds it.
    fn lock(&self, path: &Path) -> io::Result<Box<dyn DiskLock>>;
}

#[cfg(test)]
mod tests;
