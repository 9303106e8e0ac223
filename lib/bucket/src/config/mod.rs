//! Thanos' object storage YAML (`--objstore.config`), read strictly.
//!
//! First [`keys`] finds unknown keys and says what was probably meant; then the typed part is read. [`s3`] turns
//! its part into a client, [`crate::open`] joins all. Secrets are never printed.
//!
//! Invariant: every key that Thanos knows is either honoured, or has no effect here by its nature (a warning
//! says so when it was set to something), or is refused with the reason. None is dropped silently.
//! Source: the configuration of Thanos' objstore, <https://thanos.io/tip/thanos/storage.md/>.

mod keys;
mod s3;
#[cfg(test)]
mod tests;

pub use s3::{LookupType, S3Config, Secret, SseConfig, SseType};

use serde::Deserialize;

use crate::error::{BucketError, Result};

/// Where blocks go.
#[derive(Debug, Clone)]
pub struct BucketConfig {
    /// Which kind of store, with its settings.
    pub provider: Provider,
    /// Everything is below this path of the bucket; without leading or trailing `/`, empty for the root.
    pub prefix: String,
}

/// A kind of object store.
#[derive(Debug, Clone)]
pub enum Provider {
    /// A folder of this machine.
    Filesystem {
        /// The folder; made when it is not there.
        directory: String,
    },
    /// Amazon S3 and those who speak its protocol.
    S3(Box<S3Config>),
}

/// Kinds that Thanos knows and cairn does not speak yet, with the way that works today.
const OTHER_PROVIDERS: &[(&str, &str)] = &[
    ("GCS", "use type S3 with endpoint storage.googleapis.com and HMAC keys"),
    ("AZURE", "no S3 endpoint of its own: put an S3 gateway before it"),
    ("SWIFT", "use type S3 with the S3 middleware of Swift"),
    ("COS", "use type S3 with endpoint cos.<region>.myqcloud.com"),
    ("ALIYUNOSS", "use type S3 with endpoint oss-<region>.aliyuncs.com"),
    ("BOS", "use type S3 with endpoint s3.<region>.bcebos.com"),
    ("OCI", "use type S3 with the S3 compatibility endpoint of OCI"),
    ("OBS", "use type S3 with endpoint obs.<region>.myhuaweicloud.com"),
];

impl BucketConfig {
    /// Reads the YAML. The second value are warnings: keys that were set and change nothing here.
    ///
    /// # Errors
    /// [`BucketError::Config`] names the key and what to write instead.
    pub fn parse(yaml: &str) -> Result<(BucketConfig, Vec<String>)> {
        let bad = |e: serde_saphyr::Error| BucketError::Config(format!("{e}"));
        let tree: serde_json::Value = serde_saphyr::from_str(yaml).map_err(bad)?;
        keys::check(&tree, "", keys::TOP)?;
        let kind = tree.get("type").and_then(|t| t.as_str()).unwrap_or_default().to_ascii_uppercase();
        let mut warnings = Vec::new();
        if tree.pointer("/hedging_config/enabled").and_then(serde_json::Value::as_bool) == Some(true) {
            warnings.push("hedging_config: requests are not hedged; remove it to silence this".to_owned());
        }
        let (provider, prefix) = match kind.as_str() {
            "FILESYSTEM" => {
                check_part(&tree, keys::FILESYSTEM)?;
                let file: Document<FilesystemYaml> = serde_saphyr::from_str(yaml).map_err(bad)?;
                if file.config.directory.is_empty() {
                    return Err(BucketError::Config("config.directory is missing: name the folder".into()));
                }
                (Provider::Filesystem { directory: file.config.directory }, file.prefix)
            }
            "S3" => {
                check_part(&tree, keys::S3)?;
                let file: Document<s3::S3Yaml> = serde_saphyr::from_str(yaml).map_err(bad)?;
                (Provider::S3(Box::new(file.config.check(&mut warnings)?)), file.prefix)
            }
            "" => {
                return Err(BucketError::Config("type is missing: write FILESYSTEM or S3".into()));
            }
            other => return Err(BucketError::Config(unsupported(other))),
        };
        let prefix = prefix.trim_matches('/').to_owned();
        if prefix.split('/').any(|part| part == "." || part == "..") {
            return Err(BucketError::Config(format!("prefix {prefix:?} must not hold . or ..")));
        }
        Ok((BucketConfig { provider, prefix }, warnings))
    }
}

fn check_part(tree: &serde_json::Value, known: &[keys::Key]) -> Result<()> {
    keys::check(tree.get("config").unwrap_or(&serde_json::Value::Null), "config.", known)
}

fn unsupported(kind: &str) -> String {
    match OTHER_PROVIDERS.iter().find(|(name, _)| *name == kind) {
        Some((name, way)) => format!("type {name} is not supported; supported are FILESYSTEM and S3: {way}"),
        None => format!("unknown type {kind:?}; supported are FILESYSTEM and S3"),
    }
}

#[derive(Deserialize)]
struct Document<C> {
    config: C,
    #[serde(default)]
    prefix: String,
}

#[derive(Deserialize)]
struct FilesystemYaml {
    #[serde(default)]
    directory: String,
}
