//! Who this data folder is: `node.json`, written once when the folder is formatted.

use std::path::{Path, PathBuf};

use cairn_runtime::{Disk, Rng};
use serde::{Deserialize, Serialize};

use super::FIRST_NODE;
use crate::placement::Owner;

/// Version of `node.json`.
const VERSION: u32 = 1;

/// The identity of a data folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Identity {
    version: u32,
    /// Name of the node in the cluster.
    pub node: u64,
    /// Random; a folder that is wiped and formatted again is somebody else.
    pub incarnation: u64,
    /// The id that the cluster gets when this node founds it.
    pub cluster_id_hint: String,
}

/// Why the identity cannot be had.
#[derive(Debug, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum IdentityError {
    #[error("cannot access {path}: {source}")]
    Disk { path: PathBuf, source: std::io::Error },
    #[error(
        "{path} is damaged ({reason}): restore it from a backup; a new one would disown the data beside it"
    )]
    Damaged { path: PathBuf, reason: String },
}

impl Identity {
    /// Reads `node.json`, or makes one in a folder that has none.
    ///
    /// # Errors
    /// Of the disk; or when the file cannot be read, because guessing would make acknowledgements of this disk
    /// count for somebody else.
    pub fn load_or_create(disk: &dyn Disk, data_dir: &Path, rng: &Rng) -> Result<Self, IdentityError> {
        let path = data_dir.join("node.json");
        let io = |source| IdentityError::Disk { path: path.clone(), source };
        disk.create_dir_all(data_dir).map_err(io)?;
        if disk.exists(&path).map_err(io)? {
            let bytes = disk.read(&path).map_err(io)?;
            let damaged = |reason: String| IdentityError::Damaged { path: path.clone(), reason };
            let identity: Identity = serde_json::from_slice(&bytes).map_err(|e| damaged(e.to_string()))?;
            if identity.version != VERSION {
                return Err(damaged(format!("version {}, this program knows {VERSION}", identity.version)));
            }
            return Ok(identity);
        }
        let identity = Identity {
            version: VERSION,
            node: FIRST_NODE,
            incarnation: rng.next_u64(),
            cluster_id_hint: format!("{:032x}", rng.next_u128()),
        };
        let bytes = serde_json::to_vec_pretty(&identity).expect("plain fields");
        disk.write_atomic(&path, &bytes).map_err(io)?;
        Ok(identity)
    }

    /// Node and incarnation.
    pub fn owner(&self) -> Owner {
        Owner { node: self.node, incarnation: self.incarnation }
    }
}
