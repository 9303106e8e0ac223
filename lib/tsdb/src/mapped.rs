//! Files that are mapped: read by calls first.
//!
//! A sector that cannot be read is an error of a call, and would end the process when its mapped page is touched. So
//! whoever can do without a file, or must say which one it is, reads it through before it maps it.

use std::io;
use std::path::Path;

use bytes::Bytes;
use cairn_runtime::{Disk, OpenHow};

/// Bytes of a read.
const PIECE: usize = 1 << 20;

/// Reads the file at `path` to its end, then maps it. `look` sees the content piece by piece.
///
/// # Errors
/// What the disk says.
pub fn map_whole(disk: &dyn Disk, path: &Path, mut look: impl FnMut(&[u8])) -> io::Result<Bytes> {
    let file = disk.open(path, OpenHow::Read)?;
    let len = file.len()?;
    let (mut buffer, mut at) = (vec![0u8; PIECE.min(len as usize)], 0);
    while at < len {
        let now = buffer.len().min((len - at) as usize);
        file.read_exact_at(&mut buffer[..now], at)?;
        look(&buffer[..now]);
        at += now as u64;
    }
    disk.map(path)
}
