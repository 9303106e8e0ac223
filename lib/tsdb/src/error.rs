//! The crate's error: outcomes that a caller tells apart.

use std::io;
use std::path::Path;

use crate::chunkenc::Malformed;

/// What can go wrong in the storage engine.
#[derive(Debug, thiserror::Error)]
pub enum TsdbError {
    /// Bytes at rest are not what was written. The object is to be set aside; other objects are unharmed.
    #[error("cannot read {object}: {what} (at byte {offset})")]
    Corrupt {
        /// File or part of a file.
        object: String,
        /// What is wrong, with both values where two are compared.
        what: String,
        /// Where in the object.
        offset: u64,
    },
    /// The disk failed.
    #[error("cannot {verb} {object}: {source}")]
    Io {
        /// What was tried, for instance "write".
        verb: &'static str,
        /// File or folder.
        object: String,
        /// What the disk said.
        source: io::Error,
    },
    /// The caller's input breaks a rule of the format.
    #[error("cannot write {object}: {what}")]
    Invalid {
        /// What was to be written.
        object: String,
        /// The rule, with both values.
        what: String,
    },
    /// Sound, but of a kind this version does not handle.
    #[error("not supported: {0}")]
    Unsupported(String),
}

impl TsdbError {
    /// A finding in `object` at `offset`.
    pub fn corrupt(object: impl Into<String>, offset: u64, what: impl Into<String>) -> Self {
        TsdbError::Corrupt { object: object.into(), what: what.into(), offset }
    }

    /// A finding of a decoder whose bytes begin at `base` of `object`.
    pub fn malformed(object: impl Into<String>, base: u64, m: Malformed) -> Self {
        Self::corrupt(object, base + m.at as u64, m.what)
    }

    /// Wraps a disk's error: `.map_err(TsdbError::io("write", &path))`.
    pub fn io<'a>(verb: &'static str, path: &'a Path) -> impl FnOnce(io::Error) -> TsdbError + 'a {
        move |source| TsdbError::Io { verb, object: path.display().to_string(), source }
    }
}
