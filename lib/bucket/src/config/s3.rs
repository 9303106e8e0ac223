//! The S3 part of the YAML.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use serde::Deserialize;

use crate::error::{BucketError, Result};

/// Part of a multipart upload when the YAML names none; Thanos' default.
const DEFAULT_PART_BYTES: u64 = 64 << 20;
/// Part when the YAML says 0; Thanos' choice.
const ZERO_PART_BYTES: u64 = 128 << 20;
/// Smallest part that S3 takes.
const MIN_PART_BYTES: u64 = 5 << 20;

/// S3 settings after checking.
#[derive(Debug, Clone)]
pub struct S3Config {
    /// The bucket.
    pub bucket: String,
    /// Host and port, without scheme.
    pub endpoint: String,
    /// Region; guessed from the endpoint when the YAML names none.
    pub region: String,
    /// Static credentials; without them the environment, web identity, container or instance role is asked.
    pub credentials: Option<(String, Secret)>,
    /// Token of temporary credentials.
    pub session_token: Option<Secret>,
    /// Plain HTTP.
    pub insecure: bool,
    /// How requests name the bucket.
    pub lookup: LookupType,
    /// Metadata of every object; `X-Amz-Storage-Class` sets the storage class.
    pub user_metadata: BTreeMap<String, String>,
    /// Server-side encryption.
    pub sse: Option<SseConfig>,
    /// Own endpoint of the token service.
    pub sts_endpoint: Option<String>,
    /// Requests are repeated so many times.
    pub max_retries: Option<usize>,
    /// Larger objects are uploaded in parts of this size; `None` never splits.
    pub part_bytes: Option<u64>,
    /// Transport.
    pub http: HttpConfig,
}

/// How requests name the bucket.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LookupType {
    /// By the endpoint: in the host name for Amazon and Aliyun, else in the path.
    #[default]
    Auto,
    /// In the host name.
    VirtualHosted,
    /// In the path.
    Path,
}

/// Text that is never printed.
#[derive(Clone, PartialEq, Eq, Default, Deserialize)]
#[serde(transparent)]
pub struct Secret(pub String);

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("<secret>")
    }
}

/// Server-side encryption.
#[derive(Debug, Clone)]
pub struct SseConfig {
    /// Which kind.
    pub kind: SseType,
    /// Key of the key service, for [`SseType::Kms`].
    pub kms_key_id: String,
    /// File with the customer's 32-byte key, for [`SseType::Customer`].
    pub key_file: String,
}

/// Kind of server-side encryption.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SseType {
    /// Keys of the store.
    S3,
    /// Keys of the key service.
    Kms,
    /// The customer's key with every request.
    Customer,
}

/// Transport settings; `None` keeps the client's own.
#[derive(Debug, Clone, Default)]
pub struct HttpConfig {
    /// Idle connections are closed after this.
    pub idle_timeout: Option<Duration>,
    /// Longest wait for the next bytes of an answer.
    pub read_timeout: Option<Duration>,
    /// Longest wait for a connection, TLS included.
    pub connect_timeout: Option<Duration>,
    /// Idle connections kept.
    pub max_idle_per_host: Option<usize>,
    /// Requests at a time, 0 = no limit.
    pub max_requests: usize,
    /// File with certificates to trust besides the system's.
    pub ca_file: Option<String>,
    /// Takes any certificate.
    pub insecure_skip_verify: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct S3Yaml {
    bucket: String,
    endpoint: String,
    region: String,
    aws_sdk_auth: bool,
    access_key: String,
    secret_key: Secret,
    session_token: Secret,
    insecure: bool,
    signature_version2: bool,
    put_user_metadata: BTreeMap<String, String>,
    http_config: HttpYaml,
    trace: TraceYaml,
    list_objects_version: String,
    bucket_lookup_type: String,
    disable_multipart: bool,
    part_size: Option<u64>,
    sse_config: SseYaml,
    sts_endpoint: String,
    max_retries: Option<usize>,
    // Without effect: dual-stack host names are never made up here, and SigV4 covers the body with SHA-256.
    #[serde(rename = "disable_dualstack")]
    _disable_dualstack: bool,
    #[serde(rename = "send_content_md5")]
    _send_content_md5: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TraceYaml {
    enable: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct SseYaml {
    r#type: String,
    kms_key_id: String,
    kms_encryption_context: BTreeMap<String, String>,
    encryption_key: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct HttpYaml {
    idle_conn_timeout: Option<String>,
    response_header_timeout: Option<String>,
    insecure_skip_verify: bool,
    tls_handshake_timeout: Option<String>,
    max_idle_conns_per_host: Option<usize>,
    max_conns_per_host: usize,
    tls_config: TlsYaml,
    // Without effect: no `Expect` is sent, the bound per host is the only one, and nothing asks for compression.
    #[serde(rename = "expect_continue_timeout")]
    _expect_continue_timeout: Option<String>,
    #[serde(rename = "max_idle_conns")]
    _max_idle_conns: Option<usize>,
    #[serde(rename = "disable_compression")]
    _disable_compression: bool,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct TlsYaml {
    ca_file: String,
    cert_file: String,
    key_file: String,
    server_name: String,
    insecure_skip_verify: bool,
}

fn refuse<T>(key: &str, why: &str) -> Result<T> {
    Err(BucketError::Config(format!("config.{key} {why}")))
}

impl S3Yaml {
    pub(super) fn check(self, warnings: &mut Vec<String>) -> Result<S3Config> {
        if self.bucket.is_empty() {
            return refuse("bucket", "is missing: name the bucket");
        }
        if self.endpoint.is_empty() {
            return refuse("endpoint", "is missing: name the host, for instance s3.eu-west-1.amazonaws.com");
        }
        if self.endpoint.contains("://") || self.endpoint.contains('/') {
            return refuse(
                "endpoint",
                "must be a host without scheme or path; insecure: true means plain HTTP",
            );
        }
        if self.signature_version2 {
            return refuse("signature_version2", "is not supported: only version 4 is; remove the key");
        }
        if !matches!(self.list_objects_version.as_str(), "" | "v2") {
            return refuse("list_objects_version", "is not supported: only v2 is; remove the key");
        }
        if self.trace.enable {
            warnings.push("config.trace.enable: requests are not traced; see the objstore metrics".into());
        }
        let credentials = match (self.access_key.is_empty(), self.secret_key.0.is_empty()) {
            (true, true) => None,
            (false, false) if self.aws_sdk_auth => {
                return refuse("aws_sdk_auth", "and access_key exclude one another: keep one of them");
            }
            (false, false) => Some((self.access_key, self.secret_key)),
            (true, false) => return refuse("access_key", "is missing beside secret_key"),
            (false, true) => return refuse("secret_key", "is missing beside access_key"),
        };
        let lookup = match self.bucket_lookup_type.as_str() {
            "" | "auto" => LookupType::Auto,
            "virtual-hosted" => LookupType::VirtualHosted,
            "path" => LookupType::Path,
            other => {
                return refuse(
                    "bucket_lookup_type",
                    &format!("{other:?}: write auto, virtual-hosted or path"),
                );
            }
        };
        let part_bytes = match (self.disable_multipart, self.part_size.unwrap_or(DEFAULT_PART_BYTES)) {
            (true, _) => None,
            (false, 0) => Some(ZERO_PART_BYTES),
            (false, n) if n < MIN_PART_BYTES => {
                return refuse("part_size", "must be 5 MiB (5242880) or more");
            }
            (false, n) => Some(n),
        };
        let region = if self.region.is_empty() { guess_region(&self.endpoint) } else { self.region };
        Ok(S3Config {
            bucket: self.bucket,
            endpoint: self.endpoint,
            region,
            credentials,
            session_token: (!self.session_token.0.is_empty()).then_some(self.session_token),
            insecure: self.insecure,
            lookup,
            user_metadata: self.put_user_metadata,
            sse: self.sse_config.check()?,
            sts_endpoint: (!self.sts_endpoint.is_empty()).then_some(self.sts_endpoint),
            max_retries: self.max_retries,
            part_bytes,
            http: self.http_config.check()?,
        })
    }
}

impl SseYaml {
    fn check(self) -> Result<Option<SseConfig>> {
        if !self.kms_encryption_context.is_empty() {
            return refuse("sse_config.kms_encryption_context", "is not supported: remove it");
        }
        let kind = match self.r#type.as_str() {
            "" => return Ok(None),
            "SSE-S3" => SseType::S3,
            "SSE-KMS" if self.kms_key_id.is_empty() => {
                return refuse("sse_config.kms_key_id", "is missing for type SSE-KMS");
            }
            "SSE-KMS" => SseType::Kms,
            "SSE-C" if self.encryption_key.is_empty() => {
                return refuse("sse_config.encryption_key", "is missing for type SSE-C: name the key's file");
            }
            "SSE-C" => SseType::Customer,
            other => return refuse("sse_config.type", &format!("{other:?}: write SSE-S3, SSE-KMS or SSE-C")),
        };
        Ok(Some(SseConfig { kind, kms_key_id: self.kms_key_id, key_file: self.encryption_key }))
    }
}

impl HttpYaml {
    fn check(self) -> Result<HttpConfig> {
        if !self.tls_config.cert_file.is_empty() || !self.tls_config.key_file.is_empty() {
            return refuse(
                "http_config.tls_config.cert_file",
                "is not supported: client certificates cannot be sent",
            );
        }
        if !self.tls_config.server_name.is_empty() {
            return refuse(
                "http_config.tls_config.server_name",
                "is not supported: use the certificate's host as endpoint",
            );
        }
        Ok(HttpConfig {
            idle_timeout: duration("idle_conn_timeout", self.idle_conn_timeout)?,
            read_timeout: duration("response_header_timeout", self.response_header_timeout)?,
            connect_timeout: duration("tls_handshake_timeout", self.tls_handshake_timeout)?,
            max_idle_per_host: self.max_idle_conns_per_host,
            max_requests: self.max_conns_per_host,
            ca_file: (!self.tls_config.ca_file.is_empty()).then_some(self.tls_config.ca_file),
            insecure_skip_verify: self.insecure_skip_verify || self.tls_config.insecure_skip_verify,
        })
    }
}

/// A Prometheus duration such as `1m30s`; 0 means no limit, so `None`.
fn duration(key: &str, text: Option<String>) -> Result<Option<Duration>> {
    let Some(text) = text else { return Ok(None) };
    const UNITS_MS: &[(&str, u64)] =
        &[("ms", 1), ("s", 1_000), ("m", 60_000), ("h", 3_600_000), ("d", 86_400_000)];
    let (mut rest, mut total_ms) = (text.as_str(), 0u64);
    while !rest.is_empty() && rest != "0" {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let (number, after) = rest.split_at(digits);
        let letters = after.bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit_ms = UNITS_MS.iter().find(|(u, _)| *u == &after[..letters]).map(|(_, ms)| *ms);
        let part = number.parse::<u64>().ok().zip(unit_ms).and_then(|(n, ms)| n.checked_mul(ms));
        match part.and_then(|p| total_ms.checked_add(p)) {
            Some(sum) => total_ms = sum,
            None => {
                return refuse(
                    &format!("http_config.{key}"),
                    &format!("{text:?}: write a duration such as 1m30s"),
                );
            }
        }
        rest = &after[letters..];
    }
    Ok((total_ms > 0).then(|| Duration::from_millis(total_ms)))
}

/// The region in Amazon's host names; `us-east-1`, which other servers take too, when there is none.
fn guess_region(endpoint: &str) -> String {
    let host = endpoint.split(':').next().unwrap_or_default();
    let inner = host.strip_suffix(".amazonaws.com").or_else(|| host.strip_suffix(".amazonaws.com.cn"));
    let region = inner.and_then(|h| {
        let h = h.strip_prefix("s3").unwrap_or(h).trim_start_matches(['.', '-']);
        let h = h.strip_prefix("dualstack.").unwrap_or(h);
        (!h.is_empty() && h.contains('-')).then(|| h.to_owned())
    });
    region.unwrap_or_else(|| "us-east-1".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn region_is_guessed_from_amazons_host_names() {
        for (host, region) in [
            ("s3.eu-west-1.amazonaws.com", "eu-west-1"),
            ("s3-us-west-2.amazonaws.com", "us-west-2"),
            ("s3.dualstack.ap-south-1.amazonaws.com", "ap-south-1"),
            ("s3.amazonaws.com", "us-east-1"),
            ("minio:9000", "us-east-1"),
        ] {
            assert_eq!(guess_region(host), region, "{host}");
        }
    }

    #[test]
    fn durations_are_prometheus_durations() {
        assert_eq!(duration("x", Some("1m30s".into())).unwrap(), Some(Duration::from_secs(90)));
        assert_eq!(duration("x", Some("0s".into())).unwrap(), None);
        assert_eq!(duration("x", Some("250ms".into())).unwrap(), Some(Duration::from_millis(250)));
        for bad in ["1", "m", "1x", "99999999999999999999s", "1m é"] {
            assert!(duration("x", Some(bad.into())).is_err(), "{bad}");
        }
    }
}
