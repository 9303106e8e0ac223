//! The keys of the YAML, and what was probably meant by one that is not among them.

use serde_json::Value;

use crate::error::{BucketError, Result};

/// A key with the keys below it; a free-form mapping has none to check.
pub(super) struct Key(pub &'static str, pub Below);

/// What may stand below a key.
pub(super) enum Below {
    /// A scalar, a list, or a mapping with keys of the user's own.
    Anything,
    /// A mapping with exactly these keys.
    Keys(&'static [Key]),
}

use Below::{Anything, Keys};

pub(super) const TOP: &[Key] = &[
    Key("type", Anything),
    Key("config", Anything),
    Key("prefix", Anything),
    Key(
        "hedging_config",
        Keys(&[Key("enabled", Anything), Key("up_to", Anything), Key("quantile", Anything)]),
    ),
];

pub(super) const FILESYSTEM: &[Key] = &[Key("directory", Anything)];

const TLS: &[Key] = &[
    Key("ca_file", Anything),
    Key("cert_file", Anything),
    Key("key_file", Anything),
    Key("server_name", Anything),
    Key("insecure_skip_verify", Anything),
];

const HTTP: &[Key] = &[
    Key("idle_conn_timeout", Anything),
    Key("response_header_timeout", Anything),
    Key("insecure_skip_verify", Anything),
    Key("tls_handshake_timeout", Anything),
    Key("expect_continue_timeout", Anything),
    Key("max_idle_conns", Anything),
    Key("max_idle_conns_per_host", Anything),
    Key("max_conns_per_host", Anything),
    Key("tls_config", Keys(TLS)),
    Key("disable_compression", Anything),
];

pub(super) const S3: &[Key] = &[
    Key("bucket", Anything),
    Key("endpoint", Anything),
    Key("region", Anything),
    Key("disable_dualstack", Anything),
    Key("aws_sdk_auth", Anything),
    Key("access_key", Anything),
    Key("secret_key", Anything),
    Key("session_token", Anything),
    Key("insecure", Anything),
    Key("signature_version2", Anything),
    Key("put_user_metadata", Anything),
    Key("http_config", Keys(HTTP)),
    Key("trace", Keys(&[Key("enable", Anything)])),
    Key("list_objects_version", Anything),
    Key("bucket_lookup_type", Anything),
    Key("send_content_md5", Anything),
    Key("disable_multipart", Anything),
    Key("part_size", Anything),
    Key(
        "sse_config",
        Keys(&[
            Key("type", Anything),
            Key("kms_key_id", Anything),
            Key("kms_encryption_context", Anything),
            Key("encryption_key", Anything),
        ]),
    ),
    Key("sts_endpoint", Anything),
    Key("max_retries", Anything),
];

/// Fails on the first key of `tree` that is not among `known`; `at` is the path of `tree`, ending in a dot.
pub(super) fn check(tree: &Value, at: &str, known: &[Key]) -> Result<()> {
    let Value::Object(map) = tree else {
        return match tree {
            Value::Null => Ok(()),
            _ => Err(BucketError::Config(format!("{} must be a mapping", at.trim_end_matches('.')))),
        };
    };
    for (name, below) in map {
        match known.iter().find(|k| k.0 == name) {
            Some(Key(_, Keys(keys))) => check(below, &format!("{at}{name}."), keys)?,
            Some(Key(_, Anything)) => {}
            None => return Err(BucketError::Config(format!("unknown key {at}{name}{}", hint(name, known)))),
        }
    }
    Ok(())
}

fn hint(name: &str, known: &[Key]) -> String {
    let nearest = known.iter().map(|k| (distance(name, k.0), k.0)).min();
    match nearest {
        Some((d, key)) if d <= 2.max(name.len() / 3) => format!(": did you mean {key}?"),
        _ => format!("; known are {}", known.iter().map(|k| k.0).collect::<Vec<_>>().join(", ")),
    }
}

/// Edits that turn `a` into `b` (Levenshtein), over bytes: keys are ASCII. O(len a × len b).
fn distance(a: &str, b: &str) -> usize {
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.bytes().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.bytes().enumerate() {
            let replace = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replace.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}
