//! Buffered sequential writing of one file, with positions, and reading back what was written.

use std::path::{Path, PathBuf};

use cairn_runtime::{Disk, DiskFile, OpenHow};

use crate::error::TsdbError;

/// Bytes collected before a write: large enough to make calls rare, small beside any budget.
const BUFFER_BYTES: usize = 256 << 10;

/// Writes a new file from front to back.
pub struct FileWriter {
    path: PathBuf,
    file: Box<dyn DiskFile>,
    buffer: Vec<u8>,
    /// Bytes handed to the file so far.
    written: u64,
}

impl FileWriter {
    /// Creates `path`, which must not exist.
    ///
    /// # Errors
    /// [`TsdbError::Io`].
    pub fn create(disk: &dyn Disk, path: &Path) -> Result<Self, TsdbError> {
        let file = disk.open(path, OpenHow::CreateNew).map_err(TsdbError::io("create", path))?;
        Ok(FileWriter { path: path.to_owned(), file, buffer: Vec::with_capacity(BUFFER_BYTES), written: 0 })
    }

    /// Where the next byte goes.
    pub fn pos(&self) -> u64 {
        self.written + self.buffer.len() as u64
    }

    /// Appends bytes.
    ///
    /// # Errors
    /// [`TsdbError::Io`]; the file is then to be thrown away.
    pub fn write(&mut self, bytes: &[u8]) -> Result<(), TsdbError> {
        if self.buffer.len() + bytes.len() > BUFFER_BYTES {
            self.flush()?;
        }
        if bytes.len() >= BUFFER_BYTES {
            self.put(bytes)
        } else {
            self.buffer.extend_from_slice(bytes);
            Ok(())
        }
    }

    /// Appends zeros up to a multiple of `align`.
    ///
    /// # Errors
    /// As [`FileWriter::write`].
    pub fn pad_to(&mut self, align: u64) -> Result<(), TsdbError> {
        let missing = self.pos().next_multiple_of(align) - self.pos();
        self.write(&[0u8; 16][..missing as usize])
    }

    /// Appends `u32 len | body | u32 CRC`.
    ///
    /// # Errors
    /// As [`FileWriter::write`]; [`TsdbError::Invalid`] for a body over 4 GiB.
    pub fn write_section(&mut self, body: &[u8]) -> Result<(), TsdbError> {
        let len = u32::try_from(body.len()).map_err(|_| TsdbError::Invalid {
            object: self.path.display().to_string(),
            what: format!("a section of {} bytes exceeds the format's 4 GiB", body.len()),
        })?;
        self.write(&len.to_be_bytes())?;
        self.write(body)?;
        self.write(&crc32c::crc32c(body).to_be_bytes())
    }

    /// Overwrites bytes written earlier.
    ///
    /// # Errors
    /// [`TsdbError::Io`].
    pub fn patch(&mut self, at: u64, bytes: &[u8]) -> Result<(), TsdbError> {
        self.flush()?;
        self.file.write_all_at(bytes, at).map_err(TsdbError::io("write", &self.path))
    }

    /// Fills `buf` from what was written at `at`.
    ///
    /// # Errors
    /// [`TsdbError::Io`].
    pub fn read_back(&mut self, at: u64, buf: &mut [u8]) -> Result<(), TsdbError> {
        self.flush()?;
        self.file.read_exact_at(buf, at).map_err(TsdbError::io("read back", &self.path))
    }

    /// Makes the content durable and gives its length. The name is durable after the folder's sync.
    ///
    /// # Errors
    /// [`TsdbError::Io`].
    pub fn finish(mut self) -> Result<u64, TsdbError> {
        self.flush()?;
        self.file.sync_data().map_err(TsdbError::io("sync", &self.path))?;
        Ok(self.written)
    }

    /// The file's path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    fn flush(&mut self) -> Result<(), TsdbError> {
        let buffer = std::mem::take(&mut self.buffer);
        let outcome = self.put(&buffer);
        self.buffer = buffer;
        self.buffer.clear();
        outcome
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), TsdbError> {
        self.file.write_all_at(bytes, self.written).map_err(TsdbError::io("write", &self.path))?;
        self.written += bytes.len() as u64;
        Ok(())
    }
}
