//! `meta.json` of a block, as Prometheus and Thanos write it: JSON indented by one tab.
//!
//! Unknown fields are ignored on read. Times: `min_time .. max_time`, half-open.

use std::collections::BTreeMap;

use cairn_model::{Labels, TimestampMs};
use serde::{Deserialize, Serialize};
use ulid::Ulid;

/// File name inside a block.
pub const META_FILE: &str = "meta.json";

/// The only version of the file, and of its Thanos part.
const VERSION: u32 = 1;

/// What a block is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BlockMeta {
    /// Name of the block's folder.
    #[serde(with = "ulid_text")]
    pub ulid: Ulid,
    /// First time that the block covers.
    pub min_time: TimestampMs,
    /// First time after the block.
    pub max_time: TimestampMs,
    /// Counts.
    #[serde(default)]
    pub stats: BlockStats,
    /// Where the block comes from.
    #[serde(default)]
    pub compaction: Compaction,
    /// 1.
    pub version: u32,
    /// Thanos' part; absent in Prometheus' own blocks.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub thanos: Option<ThanosMeta>,
}

/// Counts of a block; a 0 is left out of the file.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase", default)]
#[allow(missing_docs)] // the names say it
pub struct BlockStats {
    #[serde(skip_serializing_if = "is_zero")]
    pub num_samples: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_float_samples: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_histogram_samples: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_series: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_chunks: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub num_tombstones: u64,
}

/// A block's ancestry.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Compaction {
    /// 1 for a head's block, else one more than its highest parent's.
    pub level: u32,
    /// All level-1 ancestors, sorted; a head's block names itself.
    #[serde(
        skip_serializing_if = "Vec::is_empty",
        serialize_with = "ulid_texts::serialize",
        deserialize_with = "ulid_texts::nullable"
    )]
    pub sources: Vec<Ulid>,
    /// Empty outcome of a compaction, to be deleted.
    #[serde(skip_serializing_if = "is_false")]
    pub deletable: bool,
    /// Direct inputs.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub parents: Vec<BlockDesc>,
    /// Not to be compacted again.
    #[serde(skip_serializing_if = "is_false")]
    pub failed: bool,
    /// Sorted remarks such as `from-out-of-order`.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub hints: Vec<String>,
}

/// A parent of a block.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // as in BlockMeta
pub struct BlockDesc {
    #[serde(with = "ulid_text")]
    pub ulid: Ulid,
    pub min_time: TimestampMs,
    pub max_time: TimestampMs,
}

/// Thanos' part of the file.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct ThanosMeta {
    /// 1; 0 or absent is read as 1.
    #[serde(skip_serializing_if = "is_zero_u32")]
    pub version: u32,
    /// External labels.
    #[serde(deserialize_with = "nullable")]
    pub labels: BTreeMap<String, String>,
    /// Resolution.
    pub downsample: Downsample,
    /// Who made the block: `receive`, `compactor`, `sidecar`, `ruler`, ….
    pub source: String,
    /// Names of the chunk segments.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub segment_files: Vec<String>,
    /// All files of the block.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub files: Vec<BlockFile>,
    /// Rewrites applied, passed through as they are.
    #[serde(skip_serializing_if = "Vec::is_empty", deserialize_with = "nullable")]
    pub rewrites: Vec<serde_json::Value>,
    /// Sizes that let a gateway read with one request.
    #[serde(skip_serializing_if = "IndexStats::is_empty")]
    pub index_stats: IndexStats,
    /// Anything, passed through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub extensions: Option<serde_json::Value>,
    /// RFC 3339; used for the consistency delay.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub upload_time: Option<String>,
}

/// Resolution of a block's samples.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Downsample {
    /// Milliseconds; 0 = raw.
    pub resolution: i64,
}

/// A file of a block.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[allow(missing_docs)] // the names say it
pub struct BlockFile {
    pub rel_path: String,
    #[serde(default, skip_serializing_if = "is_zero")]
    pub size_bytes: u64,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<FileHash>,
}

/// A checksum of a file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs)] // the names say it
pub struct FileHash {
    pub hash_func: String,
    pub hash_string: String,
}

/// Largest entries of index and chunk files, in bytes.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
#[allow(missing_docs)] // the names say it
pub struct IndexStats {
    #[serde(skip_serializing_if = "is_zero")]
    pub series_max_size: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub chunk_max_size: u64,
}

impl IndexStats {
    fn is_empty(&self) -> bool {
        *self == IndexStats::default()
    }
}

/// Why a `meta.json` cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMeta {
    /// Not the JSON of a block's description.
    #[error("invalid {META_FILE}: {0}")]
    Json(String),
    /// Written by something newer.
    #[error("unexpected {META_FILE} version {0}, want 1")]
    Version(u32),
    /// Thanos' part is newer.
    #[error("unexpected thanos version {0} in {META_FILE}, want 1")]
    ThanosVersion(u32),
    /// Nothing can lie in that range.
    #[error("{META_FILE} covers no time: minTime {min}, maxTime {max}")]
    Range {
        /// `minTime`.
        min: TimestampMs,
        /// `maxTime`.
        max: TimestampMs,
    },
}

impl BlockMeta {
    /// A block of level 1 that covers `min_time .. max_time`.
    pub fn new(ulid: Ulid, min_time: TimestampMs, max_time: TimestampMs) -> Self {
        BlockMeta {
            ulid,
            min_time,
            max_time,
            stats: BlockStats::default(),
            compaction: Compaction { level: 1, sources: vec![ulid], ..Compaction::default() },
            version: VERSION,
            thanos: None,
        }
    }

    /// Reads and checks a file.
    ///
    /// # Errors
    /// [`InvalidMeta`].
    pub fn read(json: &[u8]) -> Result<Self, InvalidMeta> {
        let mut meta: BlockMeta =
            serde_json::from_slice(json).map_err(|e| InvalidMeta::Json(e.to_string()))?;
        if meta.version != VERSION {
            return Err(InvalidMeta::Version(meta.version));
        }
        if let Some(thanos) = &mut meta.thanos {
            match thanos.version {
                0 => thanos.version = VERSION,
                VERSION => {}
                other => return Err(InvalidMeta::ThanosVersion(other)),
            }
        }
        if meta.max_time < meta.min_time {
            return Err(InvalidMeta::Range { min: meta.min_time, max: meta.max_time });
        }
        Ok(meta)
    }

    /// The file's bytes.
    pub fn to_json(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let tabs = serde_json::ser::PrettyFormatter::with_indent(b"\t");
        let mut serializer = serde_json::Serializer::with_formatter(&mut out, tabs);
        self.serialize(&mut serializer).expect("plain data with text keys always serialises");
        out
    }

    /// External labels; empty for Prometheus' own blocks.
    pub fn external_labels(&self) -> Labels {
        let pairs = self.thanos.iter().flat_map(|t| &t.labels);
        Labels::from_pairs(pairs).expect("a map has no key twice")
    }

    /// Resolution in milliseconds, 0 = raw.
    pub fn resolution_ms(&self) -> i64 {
        self.thanos.as_ref().map_or(0, |t| t.downsample.resolution)
    }

    /// Whether any time of `min_ms ..= max_ms` is covered.
    pub fn overlaps(&self, min_ms: TimestampMs, max_ms: TimestampMs) -> bool {
        self.min_time <= max_ms && min_ms < self.max_time
    }
}

impl ThanosMeta {
    /// A raw block's part.
    pub fn raw(external: &Labels, source: &str) -> Self {
        ThanosMeta {
            version: VERSION,
            labels: external.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect(),
            source: source.to_owned(),
            ..ThanosMeta::default()
        }
    }
}

fn is_zero(n: &u64) -> bool {
    *n == 0
}

fn is_zero_u32(n: &u32) -> bool {
    *n == 0
}

fn is_false(b: &bool) -> bool {
    !*b
}

/// Go writes an empty list or map as `null`.
fn nullable<'de, D: serde::Deserializer<'de>, T: Deserialize<'de> + Default>(d: D) -> Result<T, D::Error> {
    Ok(Option::<T>::deserialize(d)?.unwrap_or_default())
}

/// ULIDs as their 26 characters.
mod ulid_text {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use ulid::Ulid;

    pub fn serialize<S: Serializer>(ulid: &Ulid, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(&ulid.to_string())
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Ulid, D::Error> {
        let text = String::deserialize(d)?;
        Ulid::from_string(&text).map_err(|e| D::Error::custom(format!("{text:?} is not a ULID: {e}")))
    }
}

/// Lists of ULIDs.
mod ulid_texts {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use ulid::Ulid;

    #[derive(Serialize, Deserialize)]
    #[serde(transparent)]
    struct Text(#[serde(with = "super::ulid_text")] Ulid);

    pub fn serialize<S: Serializer>(list: &[Ulid], s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(list.iter().map(|u| Text(*u)))
    }

    pub fn nullable<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<Ulid>, D::Error> {
        let list = Option::<Vec<Text>>::deserialize(d)?.unwrap_or_default();
        Ok(list.into_iter().map(|t| t.0).collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_of_thanos_are_read_and_written_back_equal() {
        let json = "{\n\t\"ulid\": \"01M84QYTCN9FDQ1896AVRD5RQM\",\n\t\"minTime\": 0,\n\t\"maxTime\": 7200000,\n\t\"stats\": {\n\t\t\"numSamples\": 3,\n\t\t\"numSeries\": 1,\n\t\t\"numChunks\": 1\n\t},\n\t\"compaction\": {\n\t\t\"level\": 2,\n\t\t\"sources\": [\n\t\t\t\"01M84QYTCN9FDQ1896AVRD5RQM\"\n\t\t],\n\t\t\"parents\": [\n\t\t\t{\n\t\t\t\t\"ulid\": \"01M84QYTCN9FDQ1896AVRD5RQM\",\n\t\t\t\t\"minTime\": 0,\n\t\t\t\t\"maxTime\": 1\n\t\t\t}\n\t\t]\n\t},\n\t\"version\": 1,\n\t\"thanos\": {\n\t\t\"version\": 1,\n\t\t\"labels\": {\n\t\t\t\"tenant_id\": \"a\"\n\t\t},\n\t\t\"downsample\": {\n\t\t\t\"resolution\": 300000\n\t\t},\n\t\t\"source\": \"compactor\",\n\t\t\"files\": [\n\t\t\t{\n\t\t\t\t\"rel_path\": \"index\",\n\t\t\t\t\"size_bytes\": 9\n\t\t\t},\n\t\t\t{\n\t\t\t\t\"rel_path\": \"meta.json\"\n\t\t\t}\n\t\t],\n\t\t\"index_stats\": {\n\t\t\t\"series_max_size\": 5\n\t\t}\n\t}\n}";
        let meta = BlockMeta::read(json.as_bytes()).unwrap();
        assert_eq!(meta.resolution_ms(), 300_000);
        assert_eq!(meta.external_labels().get("tenant_id"), Some("a"));
        assert_eq!(String::from_utf8(meta.to_json()).unwrap(), json);
    }

    #[test]
    fn nulls_and_unknown_fields_are_accepted() {
        let json = r#"{"ulid":"01M84QYTCN9FDQ1896AVRD5RQM","minTime":1,"maxTime":2,"version":1,"new":{},
            "compaction":{"level":1,"sources":null,"parents":null,"hints":null},"thanos":{"labels":null,"downsample":{"resolution":0},"source":""}}"#;
        let meta = BlockMeta::read(json.as_bytes()).unwrap();
        assert_eq!(meta.thanos.unwrap().version, 1);
        assert!(meta.compaction.sources.is_empty());
    }

    #[test]
    fn newer_versions_and_nonsense_are_refused_with_the_reason() {
        let with = |version: u32, max: i64| {
            format!(
                r#"{{"ulid":"01M84QYTCN9FDQ1896AVRD5RQM","minTime":1,"maxTime":{max},"version":{version}}}"#
            )
        };
        assert_eq!(BlockMeta::read(with(2, 2).as_bytes()), Err(InvalidMeta::Version(2)));
        assert_eq!(BlockMeta::read(with(1, 0).as_bytes()), Err(InvalidMeta::Range { min: 1, max: 0 }));
        let e = BlockMeta::read(br#"{"ulid":"x","minTime":0,"maxTime":1,"version":1}"#).unwrap_err();
        assert!(e.to_string().contains("\"x\" is not a ULID"), "{e}");
    }
}
