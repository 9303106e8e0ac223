//! The commit record: the object whose creation decides which ULID a job's block has.

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use super::job::Job;
use crate::digest::Sha256;
use crate::error::{BucketError, Result};
use crate::layout;

/// Version of the record's format; a reader refuses others.
const VERSION: u32 = 1;

/// A file of a block, as uploaded.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileRecord {
    /// Path inside the block's folder.
    pub rel_path: String,
    /// Size.
    pub size_bytes: u64,
    /// Digest of the content.
    pub sha256: Sha256,
}

/// A commit record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CommitRecord {
    version: u32,
    /// The job in full, to tell equal keys of different jobs.
    pub job: Job,
    /// The one block of this record; `None` when the job had nothing to commit.
    #[serde(with = "optional_ulid")]
    pub ulid: Option<Ulid>,
    /// The exact text of the block's `meta.json`; empty without block.
    pub meta: String,
    /// Every other file of the block.
    pub files: Vec<FileRecord>,
}

impl CommitRecord {
    /// A record of a block.
    pub fn of_block(job: Job, ulid: Ulid, meta: String, files: Vec<FileRecord>) -> Self {
        CommitRecord { version: VERSION, job, ulid: Some(ulid), meta, files }
    }

    /// A record of nothing to commit.
    pub fn empty(job: Job) -> Self {
        CommitRecord { version: VERSION, job, ulid: None, meta: String::new(), files: Vec::new() }
    }

    /// The record's bytes.
    pub fn to_json(&self) -> Bytes {
        serde_json::to_vec_pretty(self).expect("records are plain data").into()
    }

    /// Reads a record; `object` names it in errors.
    ///
    /// # Errors
    /// [`BucketError::Malformed`], also for a version that is not known: then a newer cairn wrote it, and doing
    /// anything to its job would be wrong.
    pub fn from_json(object: &str, bytes: &[u8]) -> Result<Self> {
        let bad = |reason: String| BucketError::Malformed { object: object.to_owned(), reason };
        let record: CommitRecord = serde_json::from_slice(bytes).map_err(|e| bad(e.to_string()))?;
        if record.version != VERSION {
            return Err(bad(format!("version {}; this cairn knows {VERSION}: update it", record.version)));
        }
        let escapes = |f: &&FileRecord| {
            f.rel_path == layout::META || f.rel_path.split('/').any(|p| p.is_empty() || p == "." || p == "..")
        };
        if let Some(f) = record.files.iter().find(escapes) {
            return Err(bad(format!("{:?} cannot be a file of a block", f.rel_path)));
        }
        Ok(record)
    }
}

mod optional_ulid {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use ulid::Ulid;

    pub fn serialize<S: Serializer>(u: &Option<Ulid>, s: S) -> Result<S::Ok, S::Error> {
        u.map(|u| u.to_string()).serialize(s)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Ulid>, D::Error> {
        let Some(text) = Option::<String>::deserialize(d)? else { return Ok(None) };
        crate::layout::parse_ulid(&text).map(Some).ok_or_else(|| serde::de::Error::custom("not a ULID"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_survives_its_bytes_and_refuses_what_it_cannot_trust() {
        let job = Job::compact(&[Ulid::from_parts(1, 1)], 0, "");
        let file = FileRecord { rel_path: "index".into(), size_bytes: 3, sha256: Sha256::of(b"abc") };
        let r = CommitRecord::of_block(job.clone(), Ulid::from_parts(2, 2), "{}\n".into(), vec![file]);
        assert_eq!(CommitRecord::from_json("x", &r.to_json()).unwrap(), r);
        let e = CommitRecord::empty(job);
        assert_eq!(CommitRecord::from_json("x", &e.to_json()).unwrap(), e);

        let text = String::from_utf8(r.to_json().to_vec()).unwrap();
        for (from, to) in
            [("\"version\": 1", "\"version\": 2"), ("\"index\"", "\"../x\""), ("\"index\"", "\"meta.json\"")]
        {
            let broken = text.replacen(from, to, 1);
            assert_ne!(broken, text);
            assert!(CommitRecord::from_json("x", broken.as_bytes()).is_err(), "{to}");
        }
    }
}
