//! What is committed at most once.

use std::fmt;

use cairn_model::TenantId;
use serde::{Deserialize, Serialize};
use ulid::Ulid;

use crate::digest::Sha256;

/// Bytes of the digest in a job key: 128 bits, so that nobody who chooses tenant names finds two alike.
const KEY_DIGEST_BYTES: usize = 16;

/// A piece of work whose result is one block, or the certainty that there is nothing to put in one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum Job {
    /// A closed window of a tenant's data.
    Upload {
        /// Whose data.
        tenant: String,
        /// The slots whose first owner is one replica group; the name of that group.
        group: String,
        /// Start of the window.
        min_ms: i64,
        /// End of the window, exclusive.
        max_ms: i64,
        /// 0 for the window's first block, then one more for each that late data needed.
        generation: u32,
    },
    /// Blocks merged into one, or one block downsampled.
    Compact {
        /// ULIDs of the inputs, sorted.
        sources: Vec<String>,
        /// Resolution of the output: 0, 300,000 or 3,600,000.
        resolution_ms: i64,
        /// Whatever else changes the output, as text; empty when nothing does.
        parameters: String,
    },
}

impl Job {
    /// The upload of a window.
    pub fn upload(tenant: &TenantId, group: &str, min_ms: i64, max_ms: i64, generation: u32) -> Self {
        Job::Upload {
            tenant: tenant.as_str().to_owned(),
            group: group.to_owned(),
            min_ms,
            max_ms,
            generation,
        }
    }

    /// A compaction or downsampling; the order of `sources` does not matter.
    pub fn compact(sources: &[Ulid], resolution_ms: i64, parameters: &str) -> Self {
        let mut sources: Vec<String> = sources.iter().map(Ulid::to_string).collect();
        sources.sort_unstable();
        sources.dedup();
        Job::Compact { sources, resolution_ms, parameters: parameters.to_owned() }
    }

    /// The name of the job's records: equal for equal jobs, different for different ones, safe as a file name.
    pub fn key(&self) -> JobKey {
        let digest =
            Sha256::of(&serde_json::to_vec(self).expect("jobs are plain data")).short_hex(KEY_DIGEST_BYTES);
        JobKey(match self {
            Job::Upload { min_ms, generation, .. } => {
                format!("upload-{}-g{generation}-{digest}", min_ms.div_euclid(1000))
            }
            Job::Compact { resolution_ms, .. } => format!("compact-{}-{digest}", resolution_ms / 1000),
        })
    }
}

/// Name of a job's records. Holds neither dots nor slashes.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct JobKey(String);

impl JobKey {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for JobKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_differ_where_jobs_differ_and_are_file_names() {
        let tenant = TenantId::new("a.b").unwrap();
        let u = |n| Ulid::from_parts(n, 0);
        let jobs = [
            Job::upload(&tenant, "g0", 0, 7_200_000, 0),
            Job::upload(&tenant, "g0", 0, 7_200_000, 1),
            Job::upload(&tenant, "g1", 0, 7_200_000, 0),
            Job::upload(&TenantId::new("a").unwrap(), "g0", 0, 7_200_000, 0),
            Job::upload(&tenant, "g0", -7_200_000, 0, 0),
            Job::compact(&[u(1), u(2)], 0, ""),
            Job::compact(&[u(1), u(2)], 300_000, ""),
            Job::compact(&[u(1), u(2)], 0, "penalty"),
            Job::compact(&[u(1)], 0, ""),
        ];
        let keys: std::collections::BTreeSet<_> = jobs.iter().map(Job::key).collect();
        assert_eq!(keys.len(), jobs.len());
        for k in keys {
            assert!(k.as_str().bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-'), "{k}");
        }
        assert_eq!(Job::compact(&[u(2), u(1), u(2)], 0, "").key(), Job::compact(&[u(1), u(2)], 0, "").key());
    }
}
