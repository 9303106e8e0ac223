//! The container: a header, sections with checksums, and the manifest as the last of them.
//!
//! A snapshot is written under a temporary name, synced, and gets its own name then, so a file of that name is whole.
//! Its sections are checked all the same before anything in them is believed.

use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use bytes::Bytes;
use cairn_runtime::disk::DiskFile;
use cairn_runtime::{Disk, OpenHow};

use super::Manifest;
use crate::decbuf::checksum_holds;
use crate::error::TsdbError;
use crate::mapped::map_whole;

/// Suffix of a snapshot's file name.
const SUFFIX: &str = ".snapshot";
/// Suffix while it is written.
const TEMPORARY: &str = ".tmp";

/// First bytes of a file: magic, then the version.
const MAGIC: [u8; 8] = *b"CAIRNSN\x01";

/// Bytes before a section's payload.
pub const HEADER_BYTES: usize = 24;

/// Longest payload of a section.
pub const MAX_SECTION_BYTES: usize = 1 << 30;

/// Written bytes that may wait for a sync. A sync of the log waits for all of them where the file system orders data
/// before its journal, and a request for that sync.
pub const UNSYNCED_BYTES: usize = 512 << 10;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum SectionKind {
    /// See [`Manifest`]. The last one.
    Manifest = 1,
    /// Fences: a control payload of the log.
    Controls = 2,
    /// Exemplars or metadata: a batch payload of the log.
    Record = 3,
    /// Names and closed windows of a tenant in a partition.
    Index = 4,
    /// Label pairs of a tenant in a partition.
    Pairs = 5,
    /// Series of a partition.
    Series = 6,
}

impl SectionKind {
    fn from_byte(b: u8) -> Option<Self> {
        use SectionKind::*;
        [Manifest, Controls, Record, Index, Pairs, Series].into_iter().find(|k| *k as u8 == b)
    }
}

/// A section of a file.
#[derive(Debug, Clone)]
pub struct Section {
    /// What it holds.
    pub kind: SectionKind,
    /// Which partition it belongs to, 0 where it belongs to all.
    pub partition: u16,
    /// Which tenant, 0 where it belongs to all.
    pub tenant: u32,
    range: Range<usize>,
    crc: u32,
}

/// Writes a snapshot; what is dropped unfinished is removed.
pub struct SnapshotWriter {
    disk: Arc<dyn Disk>,
    path: PathBuf,
    temporary: PathBuf,
    file: Box<dyn DiskFile>,
    len: u64,
    unsynced: u64,
    finished: bool,
}

impl SnapshotWriter {
    /// Begins the file `name` in `dir`.
    ///
    /// # Errors
    /// [`TsdbError::Io`].
    pub fn create(disk: Arc<dyn Disk>, dir: &Path, name: &str) -> Result<Self, TsdbError> {
        let path = dir.join(name);
        let temporary = dir.join(format!("{name}{TEMPORARY}"));
        let file =
            disk.open(&temporary, OpenHow::CreateOrWrite).map_err(TsdbError::io("create", &temporary))?;
        let mut writer = SnapshotWriter { disk, path, temporary, file, len: 0, unsynced: 0, finished: false };
        writer.file.set_len(0).map_err(TsdbError::io("cut", &writer.temporary))?;
        writer.write(&MAGIC)?;
        Ok(writer)
    }

    /// Appends a section.
    ///
    /// # Errors
    /// [`TsdbError::Io`]; [`TsdbError::Invalid`] when the payload is longer than [`MAX_SECTION_BYTES`].
    pub fn section(
        &mut self,
        kind: SectionKind,
        (partition, tenant): (u16, u32),
        payload: &[u8],
    ) -> Result<(), TsdbError> {
        if payload.len() > MAX_SECTION_BYTES {
            let what = format!("a section of {} bytes is longer than {MAX_SECTION_BYTES}", payload.len());
            return Err(TsdbError::Invalid { object: self.path.display().to_string(), what });
        }
        let mut h = [0u8; HEADER_BYTES];
        h[0] = kind as u8;
        h[2..4].copy_from_slice(&partition.to_le_bytes());
        h[4..8].copy_from_slice(&tenant.to_le_bytes());
        h[8..12].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        h[12..16].copy_from_slice(&crc32c::crc32c(payload).to_le_bytes());
        let crc = crc32c::crc32c(&h[..20]);
        h[20..24].copy_from_slice(&crc.to_le_bytes());
        self.write(&h)?;
        self.write(payload)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<(), TsdbError> {
        self.file.write_all_at(bytes, self.len).map_err(TsdbError::io("write", &self.temporary))?;
        self.len += bytes.len() as u64;
        self.unsynced += bytes.len() as u64;
        if self.unsynced > UNSYNCED_BYTES as u64 {
            self.file.sync_data().map_err(TsdbError::io("sync", &self.temporary))?;
            self.unsynced = 0;
        }
        Ok(())
    }

    /// Appends the manifest, makes the file durable and gives it its name. Gives its length.
    ///
    /// # Errors
    /// [`TsdbError::Io`].
    pub fn finish(mut self, manifest: &Manifest) -> Result<u64, TsdbError> {
        self.section(SectionKind::Manifest, (0, 0), &manifest.to_bytes())?;
        self.file.sync_data().map_err(TsdbError::io("sync", &self.temporary))?;
        self.disk.rename(&self.temporary, &self.path).map_err(TsdbError::io("rename", &self.temporary))?;
        self.finished = true;
        if let Some(dir) = self.path.parent() {
            self.disk.sync_dir(dir).map_err(TsdbError::io("sync", dir))?;
        }
        Ok(self.len)
    }
}

impl Drop for SnapshotWriter {
    fn drop(&mut self) {
        if !self.finished {
            let _ = self.disk.remove_file(&self.temporary); // the next start removes it otherwise
        }
    }
}

/// A snapshot that was opened: its manifest is read, its other sections are checked when they are asked for.
pub struct SnapshotFile {
    /// Where it lies.
    pub path: PathBuf,
    /// What it stands for.
    pub manifest: Manifest,
    content: Bytes,
    sections: Vec<Section>,
}

impl SnapshotFile {
    /// Opens the file at `path`.
    ///
    /// # Errors
    /// [`TsdbError::Io`]; [`TsdbError::Corrupt`] when it is not a whole snapshot of this version.
    pub fn open(disk: &dyn Disk, path: &Path) -> Result<Self, TsdbError> {
        let content = map_whole(disk, path, |_| {}).map_err(TsdbError::io("read", path))?;
        Self::from_bytes(path, content)
    }

    /// The same for bytes in memory.
    ///
    /// # Errors
    /// As [`SnapshotFile::open`].
    pub fn from_bytes(path: &Path, content: Bytes) -> Result<Self, TsdbError> {
        let corrupt = |at: usize, what: &str| TsdbError::corrupt(path.display().to_string(), at as u64, what);
        if content.first_chunk() != Some(&MAGIC) {
            return Err(corrupt(0, "not a head snapshot of this version"));
        }
        let (mut at, mut sections) = (MAGIC.len(), Vec::new());
        while at < content.len() {
            let section =
                section_at(&content, at).ok_or_else(|| corrupt(at, "no section header, or one cut off"))?;
            at = section.range.end;
            sections.push(section);
        }
        let last = sections.last().filter(|s| s.kind == SectionKind::Manifest);
        let last = last.ok_or_else(|| corrupt(at, "it ends before its manifest"))?.range.clone();
        let mut file =
            SnapshotFile { path: path.to_owned(), manifest: Manifest::default(), content, sections };
        let manifest = file.payload(file.sections.last().expect("the manifest"))?;
        file.manifest = Manifest::read(&manifest)
            .map_err(|m| TsdbError::malformed(path.display().to_string(), last.start as u64, m))?;
        Ok(file)
    }

    /// The sections in the order of the file.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }

    /// The payload of a section, checked.
    ///
    /// # Errors
    /// [`TsdbError::Corrupt`] when its checksum differs.
    pub fn payload(&self, section: &Section) -> Result<Bytes, TsdbError> {
        let payload = self.content.slice(section.range.clone());
        if !checksum_holds(section.crc, &payload) {
            let object = self.path.display().to_string();
            return Err(TsdbError::corrupt(object, section.range.start as u64, "checksum mismatch"));
        }
        Ok(payload)
    }

    /// An error of a decoder of `section`'s payload.
    pub fn malformed(&self, section: &Section, m: crate::chunkenc::Malformed) -> TsdbError {
        TsdbError::malformed(self.path.display().to_string(), section.range.start as u64, m)
    }
}

fn section_at(content: &[u8], at: usize) -> Option<Section> {
    let h: &[u8; HEADER_BYTES] = content.get(at..)?.first_chunk()?;
    let word = |i: usize| u32::from_le_bytes([h[i], h[i + 1], h[i + 2], h[i + 3]]);
    if !checksum_holds(word(20), &h[..20]) {
        return None;
    }
    let (start, len) = (at + HEADER_BYTES, word(8) as usize);
    if len > MAX_SECTION_BYTES || content.len() - start < len {
        return None;
    }
    Some(Section {
        kind: SectionKind::from_byte(h[0])?,
        partition: u16::from_le_bytes([h[2], h[3]]),
        tenant: word(4),
        range: start..start + len,
        crc: word(12),
    })
}

/// The name of the snapshot `id`, whose tail begins in log segment `segment`.
pub fn name(segment: u64, id: u64) -> String {
    format!("{segment:010}-{id:016x}{SUFFIX}")
}

/// Names of the snapshots in `dir`, the newest first. Unfinished ones are removed.
///
/// # Errors
/// [`TsdbError::Io`].
pub fn list(disk: &dyn Disk, dir: &Path) -> Result<Vec<String>, TsdbError> {
    let mut names = Vec::new();
    for entry in disk.list(dir).map_err(TsdbError::io("list", dir))? {
        if entry.name.ends_with(TEMPORARY) {
            let path = dir.join(&entry.name);
            disk.remove_file(&path).map_err(TsdbError::io("remove", &path))?;
        } else if entry.name.ends_with(SUFFIX) {
            names.push(entry.name);
        }
    }
    names.sort_unstable_by(|a, b| b.cmp(a));
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_runtime::MemDisk;

    fn written(disk: &MemDisk, name: &str) -> PathBuf {
        let dir = Path::new("/snapshots");
        disk.create_dir_all(dir).unwrap();
        let mut w = SnapshotWriter::create(Arc::new(disk.clone()), dir, name).unwrap();
        w.section(SectionKind::Series, (3, 0), b"series of partition 3").unwrap();
        w.section(SectionKind::Pairs, (1, 7), &[9; 1000]).unwrap();
        w.finish(&Manifest { id: 5, segment: 2, ..Manifest::default() }).unwrap();
        dir.join(name)
    }

    #[test]
    fn sections_come_back_and_every_flipped_bit_is_noticed() {
        let disk = MemDisk::new();
        let path = written(&disk, &name(2, 5));
        let whole = disk.read(&path).unwrap();
        let read = |bytes: &[u8]| -> Result<Vec<Bytes>, TsdbError> {
            let file = SnapshotFile::from_bytes(&path, Bytes::copy_from_slice(bytes))?;
            assert_eq!((file.manifest.id, file.manifest.segment), (5, 2));
            file.sections().iter().map(|s| file.payload(s)).collect()
        };
        let sections = read(&whole).unwrap();
        assert_eq!(&sections[0][..], b"series of partition 3");
        assert_eq!(sections.len(), 3);
        for i in 0..whole.len() * 8 {
            let mut flipped = whole.clone();
            flipped[i / 8] ^= 1 << (i % 8);
            assert!(read(&flipped).is_err(), "bit {i}");
        }
        for len in 0..whole.len() {
            assert!(read(&whole[..len]).is_err(), "cut to {len}");
        }
    }

    #[test]
    fn the_newest_comes_first_and_unfinished_ones_are_removed() {
        let disk = MemDisk::new();
        let dir = Path::new("/snapshots");
        written(&disk, &name(2, 5));
        written(&disk, &name(11, 4));
        drop(SnapshotWriter::create(Arc::new(disk.clone()), dir, &name(12, 1)).unwrap());
        disk.open(&dir.join("x.snapshot.tmp"), OpenHow::CreateNew).unwrap();
        assert_eq!(list(&disk, dir).unwrap(), [name(11, 4), name(2, 5)]);
        assert_eq!(disk.list(dir).unwrap().len(), 2);
    }
}
