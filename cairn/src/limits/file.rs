//! The limits file: YAML in the shape of Thanos' (`write.default`, `write.tenants`), with `query` beside `write`.
//!
//! A tenant has the defaults where it names nothing else. A key that is not known is an error with a suggestion:
//! a limit that is spelt wrongly must not look as if it were in force. docs/limits.md has all keys.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use cairn_model::{PerTenant, TenantId};
use cairn_promql::engine::QueryBounds;
use cairn_receiver::{Limits, TenantLimits};
use serde::Deserialize;

use super::keys::{Key, QUERY, WRITE};
use crate::config::did_you_mean;

/// Largest file that is read. Judgement: 10,000 tenants with every limit of their own.
const MAX_FILE_BYTES: usize = 8 << 20;

/// Keys of Thanos' `write.global`. They have no effect: requests in hand are bounded by `--memory.limit`, and active
/// series are counted where they are, not by another Prometheus.
const THANOS_GLOBAL: [&str; 4] =
    ["max_concurrency", "meta_monitoring_url", "meta_monitoring_http_client", "meta_monitoring_limit_query"];

/// What a file says.
#[derive(Debug, Clone, PartialEq)]
pub struct LimitsFile {
    /// What tenants may send.
    pub write: Limits,
    /// What their queries may use up.
    pub query: PerTenant<QueryBounds>,
    /// What is in it and has no effect.
    pub without_effect: Vec<String>,
}

/// A piece of YAML.
#[derive(Deserialize)]
#[serde(untagged)]
enum Yaml {
    Map(BTreeMap<String, Yaml>),
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Nothing(()),
}

type Map = BTreeMap<String, Yaml>;

impl LimitsFile {
    /// Reads `text`; what it does not name is as in `write` and unbounded for queries.
    ///
    /// # Errors
    /// The path of the key, what is wrong with it, and what would be right.
    pub fn parse(text: &str, write: &TenantLimits) -> Result<Self, String> {
        if text.len() > MAX_FILE_BYTES {
            return Err(format!("{} bytes, the limit is {MAX_FILE_BYTES}", text.len()));
        }
        let mut without_effect = Vec::new();
        let mut file = LimitsFile {
            write: PerTenant::same(write.clone()),
            query: PerTenant::same(QueryBounds::default()),
            without_effect: Vec::new(),
        };
        if text.lines().all(|l| l.trim().is_empty() || l.trim_start().starts_with('#')) {
            return Ok(file);
        }
        let yaml: Yaml = serde_saphyr::from_str(text).map_err(|e| e.to_string())?;
        for (key, section) in map(yaml, "the file")? {
            match key.as_str() {
                "write" => {
                    let mut section = map(section, "write")?;
                    if let Some(global) = section.remove("global") {
                        without_effect = ignored(global)?;
                    }
                    file.write =
                        per_tenant(section, "write", WRITE, write, &["default", "tenants", "global"])?;
                }
                "query" => {
                    let none = QueryBounds::default();
                    file.query =
                        per_tenant(map(section, "query")?, "query", QUERY, &none, &["default", "tenants"])?;
                }
                _ => return Err(unknown("", &key, ["write", "query"].into_iter())),
            }
        }
        file.without_effect = without_effect;
        Ok(file)
    }
}

fn ignored(global: Yaml) -> Result<Vec<String>, String> {
    let global = map(global, "write.global")?;
    let strange = global.keys().find(|k| !THANOS_GLOBAL.contains(&k.as_str()));
    if let Some(key) = strange {
        return Err(unknown("write.global", key, THANOS_GLOBAL.into_iter()));
    }
    Ok(global.keys().map(|k| format!("write.global.{k}")).collect())
}

/// `default` and `tenants` of a section.
fn per_tenant<T: Clone>(
    section: Map,
    path: &str,
    keys: &[Key<T>],
    base: &T,
    known: &'static [&'static str],
) -> Result<PerTenant<T>, String> {
    let mut default = base.clone();
    let mut named = None;
    for (key, value) in section {
        match key.as_str() {
            "default" => read(value, &format!("{path}.default"), "", keys, &mut default)?,
            "tenants" => named = Some(map(value, &format!("{path}.tenants"))?),
            _ => return Err(unknown(path, &key, known.iter().copied())),
        }
    }
    let mut tenants = HashMap::new();
    for (name, value) in named.unwrap_or_default() {
        let path = format!("{path}.tenants.{name}");
        let id = TenantId::new(&name).map_err(|e| format!("{path}: {e}"))?;
        let mut limits = default.clone();
        read(value, &path, "", keys, &mut limits)?;
        tenants.insert(id, Arc::new(limits));
    }
    Ok(PerTenant { default: Arc::new(default), tenants })
}

/// Sets what `value` names; `within` is the name so far, for maps within a map.
fn read<T: Clone>(
    value: Yaml,
    path: &str,
    within: &str,
    keys: &[Key<T>],
    limits: &mut T,
) -> Result<(), String> {
    for (key, value) in map(value, path)? {
        let name = format!("{within}{key}");
        let path = format!("{path}.{key}");
        let inner = format!("{name}.");
        if keys.iter().any(|k| k.name.starts_with(&inner)) {
            read(value, &path, &inner, keys, limits)?;
            continue;
        }
        let Some(known) = keys.iter().find(|k| k.name == name) else {
            let parent = path.strip_suffix(&format!(".{name}")).unwrap_or(&path);
            return Err(unknown(parent, &name, keys.iter().map(|k| k.name)));
        };
        let text = match value {
            Yaml::Bool(b) => b.to_string(),
            Yaml::Integer(i) => i.to_string(),
            Yaml::Float(f) => f.to_string(),
            Yaml::Text(t) => t,
            Yaml::Map(_) | Yaml::Nothing(()) => return Err(format!("{path}: a value is missing")),
        };
        known.set(limits, &text).map_err(|e| format!("{path}: {e}"))?;
    }
    Ok(())
}

/// A map; nothing is an empty one.
fn map(yaml: Yaml, path: &str) -> Result<Map, String> {
    match yaml {
        Yaml::Map(map) => Ok(map),
        Yaml::Nothing(()) => Ok(Map::new()),
        _ => Err(format!("{path}: keys and values are expected")),
    }
}

fn unknown<'a>(path: &str, key: &str, known: impl Iterator<Item = &'a str> + Clone) -> String {
    let place = if path.is_empty() { String::new() } else { format!("{path}: ") };
    let hint = did_you_mean(key, known.clone());
    let all = known.collect::<Vec<_>>().join(", ");
    format!("{place}unknown key {key:?}{hint}; known are {all}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    fn parse(text: &str) -> Result<LimitsFile, String> {
        LimitsFile::parse(text, &TenantLimits::default())
    }

    #[test]
    fn a_tenant_has_the_defaults_where_it_names_nothing_else() {
        let file = parse(
            "write:
  global: {max_concurrency: 30, meta_monitoring_url: 'http://x'}
  default:
    request: {size_bytes_limit: 1MiB, samples_limit: 5000}
    head_series_limit: 1000
  tenants:
    acme:
      request: {samples_limit: 0}
      ingestion_rate: 100
    quiet:
query:
  tenants:
    acme: {timeout: 5s, max_bytes: 2GiB}
",
        )
        .unwrap();
        let of = |name| file.write.of(&TenantId::new(name).unwrap()).clone();
        let default = TenantLimits {
            decoded_bytes: 1 << 20,
            samples_per_request: 5000,
            active_series: 1000,
            ..TenantLimits::default()
        };
        assert_eq!(*of("anybody"), default);
        assert_eq!(*of("quiet"), default);
        let acme = TenantLimits { samples_per_request: 0, samples_per_s: 100, ..default };
        assert_eq!(*of("acme"), acme);
        let acme = file.query.of(&TenantId::new("acme").unwrap()).clone();
        assert_eq!((acme.timeout, acme.max_bytes, acme.max_series), (Duration::from_secs(5), 2 << 30, 0));
        assert_eq!(file.without_effect, ["write.global.max_concurrency", "write.global.meta_monitoring_url"]);
    }

    #[test]
    fn nothing_changes_nothing() {
        for text in ["", "# later\n", "write:\n", "write: {default: }\nquery: {tenants: }\n"] {
            let file = parse(text).unwrap_or_else(|e| panic!("{text:?}: {e}"));
            assert_eq!(*file.write.default, TenantLimits::default());
        }
    }

    #[test]
    fn what_is_wrong_is_named_with_its_path_and_what_was_meant() {
        for (text, says) in [
            ("wirte: {}", "unknown key \"wirte\", did you mean \"write\"?"),
            ("write: {defaults: {}}", "write: unknown key \"defaults\", did you mean \"default\"?"),
            (
                "write: {tenants: {a: {head_serie_limit: 1}}}",
                "write.tenants.a: unknown key \"head_serie_limit\", did you mean \"head_series_limit\"?",
            ),
            (
                "write: {default: {request: {sample_limit: 1}}}",
                "write.default: unknown key \"request.sample_limit\", did you mean \"request.samples_limit\"?",
            ),
            ("write: {global: {concurrency: 1}}", "write.global: unknown key \"concurrency\""),
            ("write: {tenants: {a/b: {}}}", "write.tenants.a/b: invalid tenant name"),
            (
                "write: {default: {head_series_limit: many}}",
                "write.default.head_series_limit: \"many\" is not",
            ),
            (
                "write: {default: {head_series_limit: }}",
                "write.default.head_series_limit: a value is missing",
            ),
            ("write: {default: {request: 5}}", "write.default.request: keys and values are expected"),
            ("query: {default: {timeout: soon}}", "query.default.timeout: \"soon\" is not a duration"),
            ("[", "line 1"),
        ] {
            let e = parse(text).unwrap_err();
            assert!(e.contains(says), "{text}: {e}");
        }
    }
}
