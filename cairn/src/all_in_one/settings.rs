//! Flags as the typed settings that the roles take. Each refusal names the flag.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use cairn_bucket::config::BucketConfig;
use cairn_model::Labels;
use cairn_model::labels::is_legacy_label_name;
use cairn_model::tenant::{TENANT_LABEL, TenantId};
use cairn_notify::AlertmanagerUrl;
use tracing::warn;

use crate::config::ServeFlags;
use crate::limits::LimitsSource;

/// Settings that need more than a look at their text.
pub struct Settings {
    /// `--label`
    pub external_labels: Labels,
    /// `--receive.default-tenant-id`
    pub default_tenant: TenantId,
    /// `--alertmanagers.url`
    pub alertmanagers: Vec<AlertmanagerUrl>,
    /// `--objstore.config[-file]`, or a folder in the data folder.
    pub bucket: BucketConfig,
    /// `--receive.limits-config[-file]`
    pub limits: LimitsSource,
}

impl Settings {
    /// Checks the flags.
    ///
    /// # Errors
    /// Names the flag, its value and what to write instead.
    pub fn from_flags(flags: &ServeFlags) -> Result<Self> {
        if !flags.enable_feature.iter().all(|f| f.has_effect()) {
            warn!("--enable-feature: some are of Prometheus and change nothing here");
        }
        let default_tenant = TenantId::new(&flags.default_tenant).context("--receive.default-tenant-id")?;
        let alertmanagers = flags
            .alertmanagers_url
            .iter()
            .map(|url| AlertmanagerUrl::parse(url).with_context(|| format!("--alertmanagers.url {url:?}")))
            .collect::<Result<_>>()?;
        Ok(Settings {
            external_labels: external_labels(&flags.label)?,
            default_tenant,
            alertmanagers,
            bucket: bucket(flags)?,
            limits: limits(flags),
        })
    }
}

/// `name="value"` as Thanos has it; quotes may be left out.
fn external_labels(list: &[String]) -> Result<Labels> {
    let mut pairs = Vec::new();
    for text in list {
        let wrong = || format!("--label {text:?} is not name=\"value\"");
        let (name, value) = text.split_once('=').with_context(wrong)?;
        let value = value.strip_prefix('"').and_then(|v| v.strip_suffix('"')).unwrap_or(value);
        ensure!(is_legacy_label_name(name) && !value.is_empty(), wrong());
        ensure!(name != TENANT_LABEL, "--label {text:?}: {TENANT_LABEL} is set by cairn itself");
        pairs.push((name, value));
    }
    Labels::from_pairs(pairs).context("--label")
}

fn bucket(flags: &ServeFlags) -> Result<BucketConfig> {
    let (yaml, origin) = match (&flags.objstore_config, &flags.objstore_config_file) {
        (Some(yaml), _) => (yaml.clone(), "--objstore.config".to_owned()),
        (None, Some(path)) => {
            let origin = format!("--objstore.config-file {}", path.display());
            #[allow(clippy::disallowed_methods)] // read once, before there is a runtime
            let text = std::fs::read_to_string(path).with_context(|| origin.clone())?;
            (text, origin)
        }
        (None, None) => (local_bucket(flags.data_dir.join("bucket")), "--data-dir".to_owned()),
    };
    let (config, warnings) = BucketConfig::parse(&yaml).with_context(|| origin.clone())?;
    warnings.iter().for_each(|w| warn!("{origin}: {w}"));
    Ok(config)
}

fn limits(flags: &ServeFlags) -> LimitsSource {
    match (&flags.limits_config, &flags.limits_config_file) {
        (Some(yaml), _) => LimitsSource::Inline(yaml.clone()),
        (None, Some(path)) => LimitsSource::File(path.clone()),
        (None, None) => LimitsSource::Defaults,
    }
}

fn local_bucket(directory: PathBuf) -> String {
    let directory = serde_json::to_string(&directory.to_string_lossy()).expect("a string");
    format!("{{\"type\": \"FILESYSTEM\", \"config\": {{\"directory\": {directory}}}}}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_are_read_with_and_without_quotes() {
        let l = external_labels(&["region=\"eu\"".into(), "az=b".into()]).unwrap();
        assert_eq!(l.to_string(), "{az=\"b\", region=\"eu\"}");
        for bad in ["x", "1a=b", "a=", "tenant_id=x"] {
            let e = external_labels(&[bad.into()]).unwrap_err().to_string();
            assert!(e.contains("--label") && e.contains(bad), "{e}");
        }
    }
}
