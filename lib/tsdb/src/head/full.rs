//! Full chunks of a partition: built in memory, then files that are mapped.
//!
//! A full chunk is appended to a buffer; a buffer that is large enough becomes a file, written and mapped by
//! maintenance without the partition's lock. Chunks of a series are chained from the newest to the oldest, so a
//! series holds one number. Files are a cache of what the log has: a start deletes them and replays.
//!
//! Invariant: a chunk names only chunks in its own or older files, and files are deleted oldest first, so a link
//! to a deleted file means that everything behind it is gone too. Layout: docs/formats/head.md.

use std::collections::VecDeque;

use bytes::Bytes;
use cairn_model::{Encoding, TimestampMs};
use cairn_runtime::memory::{Ahead, HUGE_PAGE_BYTES, Huge};
use crc32c::crc32c;

use super::series::{TenantNo, WindowNo};
use crate::snapshot::manifest::{HeadFile, PartitionFiles};

/// A buffer of this size becomes a file: a huge page, so that the buffers of all cores do not count.
pub const FILE_BYTES: usize = HUGE_PAGE_BYTES;

/// Memory for the next file is wanted when this one has so many bytes. Judgement: at 3 MB a second, a million
/// samples of three bytes, what is left fills in 40 ms.
const WANT_AT: usize = FILE_BYTES / 16 * 15;

/// Bytes before a chunk's payload.
pub const HEADER_BYTES: usize = 40;

/// First bytes of a file: magic and version, so that no chunk lies at 0.
const FILE_MAGIC: [u8; 8] = *b"CAIRNHC\x01";

const OFFSET_BITS: u32 = 32;

/// A full chunk as stored.
#[derive(Debug, Clone)]
pub struct FullChunk {
    /// The chunk before it in its series, or 0.
    pub before: u64,
    /// Time of its first sample.
    pub min_ms: TimestampMs,
    /// Time of its last sample.
    pub max_ms: TimestampMs,
    /// How it is encoded.
    pub encoding: Encoding,
    /// Its payload; shares the file's memory where it can.
    pub bytes: Bytes,
}

/// What a chunk's header says, without its payload.
#[derive(Debug, Clone, Copy)]
pub struct FullHeader {
    /// The chunk before it in its series, or 0.
    pub before: u64,
    /// Time of its first sample.
    pub min_ms: TimestampMs,
    /// Time of its last sample.
    pub max_ms: TimestampMs,
}

struct File {
    content: Bytes,
    on_disk: bool,
    /// CRC of the content as it was in memory; 0 until it was written.
    crc: u32,
    /// (tenant, window) of its chunks.
    windows: Vec<(TenantNo, WindowNo)>,
}

/// A file under construction.
#[derive(Default)]
struct Building {
    memory: Option<Huge<[u8; FILE_BYTES]>>,
    len: usize,
}

impl Building {
    /// Appends what the caller saw to have room.
    fn extend(&mut self, bytes: &[u8], ahead: &mut Ahead<[u8; FILE_BYTES]>) {
        let memory = self.memory.get_or_insert_with(|| ahead.take());
        if self.len < WANT_AT && self.len + bytes.len() >= WANT_AT {
            ahead.want();
        }
        memory[self.len..self.len + bytes.len()].copy_from_slice(bytes);
        self.len += bytes.len();
    }
}

impl AsRef<[u8]> for Building {
    fn as_ref(&self) -> &[u8] {
        self.memory.as_ref().map_or(&[], |memory| &memory[..self.len])
    }
}

/// The full chunks of a partition.
pub struct FullChunks {
    files: VecDeque<File>,
    /// Number of the first of `files`.
    first: u32,
    building: Building,
    /// Memory for the next file.
    pub ahead: Ahead<[u8; FILE_BYTES]>,
    building_windows: Vec<(TenantNo, WindowNo)>,
}

impl Default for FullChunks {
    fn default() -> Self {
        FullChunks {
            files: VecDeque::new(),
            first: 1,
            building: Building::default(),
            ahead: Ahead::default(),
            building_windows: Vec::new(),
        }
    }
}

impl FullChunks {
    /// No chunks yet; the next file gets the number `first`.
    pub fn beginning_at(first: u32) -> Self {
        FullChunks { first, ..FullChunks::default() }
    }

    /// Adds the file that follows, as an earlier process wrote it.
    pub fn adopt(&mut self, content: Bytes, file: &HeadFile) {
        self.files.push_back(File { content, on_disk: true, crc: file.crc, windows: file.windows.clone() });
    }

    /// The files with numbers below `end`, up to the first that is not on disk yet.
    pub fn on_disk(&self, end: u32) -> PartitionFiles {
        let below = self.files.iter().take((end - self.first) as usize).take_while(|f| f.on_disk);
        let file =
            |f: &File| HeadFile { len: f.content.len() as u64, crc: f.crc, windows: f.windows.clone() };
        PartitionFiles { first: self.first, files: below.map(file).collect() }
    }

    /// The number that the next file will have.
    pub fn next_file(&self) -> u32 {
        self.first + self.files.len() as u32
    }

    /// Tenants and windows with chunks in files.
    pub fn windows(&self) -> impl Iterator<Item = (TenantNo, WindowNo)> + '_ {
        self.files.iter().flat_map(|f| f.windows.iter().copied())
    }

    /// Whether a locator names a place in a file that is here, or a file that was dropped.
    pub fn may_have(&self, locator: u64) -> bool {
        let dropped = (locator >> OFFSET_BITS) < u64::from(self.first);
        dropped || self.content(locator).is_some_and(|(content, at)| at + HEADER_BYTES <= content.len())
    }

    /// Appends a chunk and gives its locator.
    #[allow(clippy::too_many_arguments)] // one line of the file's layout
    pub fn push(
        &mut self,
        slot: u32,
        (tenant, window): (TenantNo, WindowNo),
        before: u64,
        (min_ms, max_ms): (TimestampMs, TimestampMs),
        encoding: Encoding,
        payload: &[u8],
    ) -> u64 {
        let mut header = [0; HEADER_BYTES];
        header[..8].copy_from_slice(&before.to_le_bytes());
        header[8..16].copy_from_slice(&min_ms.to_le_bytes());
        header[16..24].copy_from_slice(&max_ms.to_le_bytes());
        header[24..28].copy_from_slice(&slot.to_le_bytes());
        header[28..32].copy_from_slice(&(payload.len() as u32).to_le_bytes());
        header[32] = encoding as u8;
        header[36..].copy_from_slice(&crc32c(payload).to_le_bytes());
        if self.building.len + HEADER_BYTES + payload.len() > FILE_BYTES {
            self.cut_file();
        }
        let file = (u64::from(self.first) + self.files.len() as u64) << OFFSET_BITS;
        if FILE_MAGIC.len() + HEADER_BYTES + payload.len() > FILE_BYTES {
            // Histograms of very many buckets: a file of its own.
            let content = [&FILE_MAGIC[..], &header, payload].concat().into();
            self.files.push_back(File { content, on_disk: false, crc: 0, windows: vec![(tenant, window)] });
            return file | FILE_MAGIC.len() as u64;
        }
        if self.building.len == 0 {
            self.building.extend(&FILE_MAGIC, &mut self.ahead);
        }
        let at = self.building.len;
        self.building.extend(&header, &mut self.ahead);
        self.building.extend(payload, &mut self.ahead);
        if !self.building_windows.contains(&(tenant, window)) {
            self.building_windows.push((tenant, window));
        }
        file | at as u64
    }

    /// The header at a locator; `None` when it names nothing that is still here.
    pub fn header(&self, locator: u64) -> Option<FullHeader> {
        let (content, at) = self.content(locator)?;
        let h = content.get(at..at + HEADER_BYTES)?;
        let word = |i: usize| u64::from_le_bytes(h[i..i + 8].try_into().expect("eight bytes"));
        Some(FullHeader { before: word(0), min_ms: word(8) as i64, max_ms: word(16) as i64 })
    }

    /// The chunk at a locator; `None` when it names nothing that is still here.
    pub fn get(&self, locator: u64) -> Option<FullChunk> {
        let header = self.header(locator)?;
        let (content, at) = self.content(locator)?;
        let len = u32::from_le_bytes(content[at + 28..at + 32].try_into().expect("four bytes")) as usize;
        let encoding = Encoding::from_byte(content[at + 32])?;
        let range = at + HEADER_BYTES..at + HEADER_BYTES + len;
        let bytes = match self.file(locator) {
            Some(file) => file.content.slice(range),
            None => Bytes::copy_from_slice(&content[range]),
        };
        let FullHeader { before, min_ms, max_ms } = header;
        Some(FullChunk { before, min_ms, max_ms, encoding, bytes })
    }

    fn file(&self, locator: u64) -> Option<&File> {
        let number = (locator >> OFFSET_BITS) as u32;
        self.files.get(number.checked_sub(self.first)? as usize)
    }

    fn content(&self, locator: u64) -> Option<(&[u8], usize)> {
        if locator == 0 {
            return None;
        }
        let at = locator as u32 as usize;
        match self.file(locator) {
            Some(file) => Some((&file.content, at)),
            None => {
                let building = u64::from(self.first) + self.files.len() as u64;
                (locator >> OFFSET_BITS == building).then_some((self.building.as_ref(), at))
            }
        }
    }

    /// Ends the buffer, so that maintenance can write it.
    pub fn cut_file(&mut self) {
        if self.building.len == 0 {
            return;
        }
        let content = Bytes::from_owner(std::mem::take(&mut self.building));
        let windows = std::mem::take(&mut self.building_windows);
        self.files.push_back(File { content, on_disk: false, crc: 0, windows });
    }

    /// Files that are not on disk yet.
    pub fn unwritten(&self) -> Vec<(u32, Bytes)> {
        let all = self.files.iter().enumerate().filter(|(_, f)| !f.on_disk);
        all.map(|(i, f)| (self.first + i as u32, f.content.clone())).collect()
    }

    /// A file was written; `mapped` has its content, whose CRC was `crc` in memory.
    pub fn written(&mut self, number: u32, mapped: Bytes, crc: u32) {
        let Some(i) = number.checked_sub(self.first) else { return };
        if let Some(file) = self.files.get_mut(i as usize) {
            debug_assert_eq!(file.content.len(), mapped.len());
            file.content = mapped;
            (file.on_disk, file.crc) = (true, crc);
        }
    }

    /// Files on disk with chunks of a window, each with the CRC that its content must have.
    pub fn written_of(&self, tenant: TenantNo, window: WindowNo) -> Vec<(u32, Bytes, u32)> {
        let has = |f: &File| f.on_disk && f.windows.contains(&(tenant, window));
        let numbered = (self.first..).zip(&self.files).filter(|(_, f)| has(f));
        numbered.map(|(number, f)| (number, f.content.clone(), f.crc)).collect()
    }

    /// Forgets the oldest files as long as `released` holds for all their windows, and gives their numbers.
    pub fn drop_released(&mut self, released: impl Fn(TenantNo, WindowNo) -> bool) -> Vec<u32> {
        let mut dropped = Vec::new();
        while let Some(file) = self.files.front() {
            if !file.windows.iter().all(|(t, w)| released(*t, *w)) {
                break;
            }
            if file.on_disk {
                dropped.push(self.first);
            }
            self.files.pop_front();
            self.first += 1;
        }
        dropped
    }

    /// Bytes in memory of its own, mapped files left out.
    pub fn heap_bytes(&self) -> usize {
        let unwritten = self.files.iter().filter(|f| !f.on_disk).map(|f| f.content.len());
        self.ahead.bytes() + self.building.len + unwritten.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chunk_larger_than_a_file_has_one_of_its_own() {
        let mut full = FullChunks::default();
        let first = full.push(1, (0, 0), 0, (0, 9), Encoding::Xor, b"small");
        let large = vec![7; FILE_BYTES];
        let second = full.push(1, (0, 0), first, (10, 19), Encoding::Histogram, &large);
        let third = full.push(1, (0, 0), second, (20, 29), Encoding::Xor, b"small too");
        let sizes: Vec<usize> = full.unwritten().iter().map(|(_, content)| content.len()).collect();
        assert_eq!(sizes, [8 + HEADER_BYTES + 5, 8 + HEADER_BYTES + FILE_BYTES]);
        let last = full.get(third).unwrap();
        assert_eq!((last.before, &last.bytes[..]), (second, &b"small too"[..]));
        let middle = full.get(last.before).unwrap();
        assert_eq!((middle.before, middle.bytes.len(), middle.max_ms), (first, FILE_BYTES, 19));
        assert_eq!(&full.get(middle.before).unwrap().bytes[..], b"small");
    }

    #[test]
    fn memory_for_the_next_file_is_wanted_in_time_and_used() {
        let mut full = FullChunks::default();
        let push = |full: &mut FullChunks| {
            full.push(1, (0, 0), 0, (0, 9), Encoding::Xor, &[7; FILE_BYTES / 32]);
        };
        (0..29).for_each(|_| push(&mut full));
        assert!(!full.ahead.is_lacking());
        push(&mut full);
        assert!(full.ahead.claim());
        full.ahead.bring(Huge::touched());
        push(&mut full);
        assert_eq!((full.next_file(), full.ahead.bytes()), (1, FILE_BYTES));
        push(&mut full);
        assert_eq!((full.next_file(), full.ahead.bytes()), (2, 0));
        (0..28).for_each(|_| push(&mut full));
        assert!(!full.ahead.is_lacking());
        push(&mut full);
        assert!(full.ahead.is_lacking(), "for the third file");
    }

    #[test]
    fn chains_are_walked_from_new_to_old_across_files_until_one_was_dropped() {
        let mut full = FullChunks::default();
        let mut last = 0;
        for i in 0..6i64 {
            last = full.push(3, (0, i as WindowNo), last, (i * 10, i * 10 + 9), Encoding::Xor, &[i as u8; 5]);
            if i % 2 == 1 {
                full.cut_file();
            }
        }
        let chain = |full: &FullChunks| {
            let (mut at, mut seen) = (last, Vec::new());
            while let Some(c) = full.get(at) {
                assert_eq!(&c.bytes[..], &[(c.min_ms / 10) as u8; 5]);
                seen.push(c.min_ms);
                at = c.before;
            }
            seen
        };
        assert_eq!(chain(&full), [50, 40, 30, 20, 10, 0]);
        for (number, content) in full.unwritten() {
            let (mapped, crc) = (Bytes::copy_from_slice(&content), crc32c(&content));
            drop(content);
            full.written(number, mapped, crc);
        }
        assert_eq!(full.written_of(0, 1).iter().map(|f| f.0).collect::<Vec<_>>(), [1]);
        assert_eq!(full.heap_bytes(), 0);
        assert_eq!(
            full.drop_released(|_, w| w != 0 && w != 3),
            Vec::<u32>::new(),
            "the oldest file is needed"
        );
        assert_eq!(full.drop_released(|_, w| w < 2), [1]);
        assert_eq!(chain(&full), [50, 40, 30, 20]);
        let next = full.push(3, (0, 9), last, (90, 99), Encoding::Xor, b"x");
        assert_eq!(full.get(next).unwrap().before, last);
    }
}
