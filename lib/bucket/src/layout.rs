//! Names of objects: Thanos' for blocks, cairn's own below `cairn/`.
//!
//! ```text
//! <ULID>/meta.json                   makes the folder a block; written last, removed first
//! <ULID>/index, <ULID>/chunks/000001 …
//! <ULID>/deletion-mark.json | no-compact-mark.json | no-downsample-mark.json
//! cairn/commit/<job key>.json        commit record 0 of a job; <job key>.<n>.json those that supersede it
//! cairn/commit/<job key>.retired     the job's block was deleted on purpose: never make it again
//! cairn/probe/<ULID>                 start-up probe, removed at once
//! ```
//! docs/formats/bucket.md is the full page.

use object_store::path::Path;
use ulid::Ulid;

/// File that makes a folder a block.
pub const META: &str = "meta.json";
/// Index of a block.
pub const INDEX: &str = "index";
/// Folder of chunk segments in a block.
pub const CHUNKS: &str = "chunks";
/// Folder of everything that is cairn's own.
pub const OWN: &str = "cairn";

/// `name` in the folder of block `ulid`; `name` may hold slashes.
pub fn in_block(ulid: Ulid, name: &str) -> Path {
    Path::from(format!("{ulid}/{name}"))
}

/// `meta.json` of a block.
pub fn meta(ulid: Ulid) -> Path {
    in_block(ulid, META)
}

/// Folder of a block.
pub fn block(ulid: Ulid) -> Path {
    Path::from(ulid.to_string())
}

/// Commit record number `n` of the job with that key.
pub fn record(job_key: &str, n: u32) -> Path {
    match n {
        0 => Path::from(format!("{OWN}/commit/{job_key}.json")),
        n => Path::from(format!("{OWN}/commit/{job_key}.{n}.json")),
    }
}

/// Folder of the commit records.
pub fn records() -> Path {
    Path::from(format!("{OWN}/commit"))
}

/// Says that the job's block was deleted on purpose.
pub fn retired(job_key: &str) -> Path {
    Path::from(format!("{OWN}/commit/{job_key}.retired"))
}

/// Splits the path of a commit record into job key and number.
pub fn parse_record(path: &Path) -> Option<(String, u32)> {
    let name = path.as_ref().strip_prefix("cairn/commit/")?.strip_suffix(".json")?;
    match name.split_once('.') {
        None => Some((name.to_owned(), 0)),
        Some((key, n)) => Some((key.to_owned(), n.parse().ok().filter(|n| *n > 0)?)),
    }
}

/// The job key in the path of a retired marker.
pub fn parse_retired(path: &Path) -> Option<String> {
    path.as_ref().strip_prefix("cairn/commit/")?.strip_suffix(".retired").map(str::to_owned)
}

/// Object of the start-up probe.
pub fn probe(ulid: Ulid) -> Path {
    Path::from(format!("{OWN}/probe/{ulid}"))
}

/// Splits the path of an object in a block's folder into ULID and name inside it.
pub fn parse_in_block(path: &Path) -> Option<(Ulid, &str)> {
    let (folder, name) = path.as_ref().split_once('/')?;
    Some((parse_ulid(folder)?, name))
}

/// A ULID in its one canonical spelling; other spellings are not ours.
pub fn parse_ulid(text: &str) -> Option<Ulid> {
    Ulid::from_string(text).ok().filter(|u| u.to_string() == text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_back() {
        let u = Ulid::from_parts(u64::MAX >> 16, 2);
        assert_eq!(parse_in_block(&in_block(u, "chunks/000001")), Some((u, "chunks/000001")));
        assert_eq!(parse_in_block(&Path::from("debug/metas/x.json")), None);
        assert_eq!(parse_in_block(&Path::from(u.to_string().to_lowercase() + "/index")), None);
        assert_eq!(parse_record(&record("compact-ab", 0)), Some(("compact-ab".into(), 0)));
        assert_eq!(parse_record(&record("compact-ab", 7)), Some(("compact-ab".into(), 7)));
        assert_eq!(parse_record(&retired("compact-ab")), None);
        assert_eq!(parse_record(&Path::from("cairn/commit/x.0.json")), None);
    }
}
