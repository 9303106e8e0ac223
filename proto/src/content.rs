//! Which of the two requests a body is, from its headers.
//!
//! The rules are Prometheus' (`client_golang` `exp/api/remote`): no `Content-Type` or a bare one means 1.0, a
//! `proto` parameter decides, and a body is always a snappy block.

/// The two versions of remote write.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Version {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Version {
    /// For metric labels.
    pub fn as_str(self) -> &'static str {
        match self {
            Version::V1 => "1.0",
            Version::V2 => "2.0",
        }
    }
}

/// Media type of both requests.
pub const MEDIA_TYPE: &str = "application/x-protobuf";
/// Value of the `proto` parameter for 1.0.
pub const PROTO_V1: &str = "prometheus.WriteRequest";
/// Value of the `proto` parameter for 2.0.
pub const PROTO_V2: &str = "io.prometheus.write.v2.Request";

/// A type or encoding that the receiver does not read: 415.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// See [`version_of`].
    #[error(
        "cannot read content type {0:?}: send application/x-protobuf, for 2.0 with ;proto=io.prometheus.write.v2.Request"
    )]
    ContentType(String),
    /// See [`check_encoding`].
    #[error("cannot read content encoding {0:?}: send snappy (block format)")]
    ContentEncoding(String),
}

/// The request that a `Content-Type` names.
///
/// # Errors
/// [`Unsupported::ContentType`] for another media type, an unknown `proto`, or a parameter without `=`.
pub fn version_of(content_type: Option<&str>) -> Result<Version, Unsupported> {
    let Some(text) = content_type else { return Ok(Version::V1) };
    let refuse = || Unsupported::ContentType(text.chars().take(200).collect());
    let mut parts = text.split(';').map(str::trim);
    match parts.next() {
        Some("") if !text.contains(';') => return Ok(Version::V1),
        Some(MEDIA_TYPE) => {}
        _ => return Err(refuse()),
    }
    for parameter in parts {
        match parameter.split_once('=') {
            Some(("proto", PROTO_V1)) => return Ok(Version::V1),
            Some(("proto", PROTO_V2)) => return Ok(Version::V2),
            Some(("proto", _)) | None => return Err(refuse()),
            Some(_) => {}
        }
    }
    Ok(Version::V1)
}

/// Whether a `Content-Encoding` can be read: none or `snappy`, which both mean a snappy block.
///
/// # Errors
/// [`Unsupported::ContentEncoding`] for any other.
pub fn check_encoding(content_encoding: Option<&str>) -> Result<(), Unsupported> {
    match content_encoding {
        None | Some("" | "snappy") => Ok(()),
        Some(other) => Err(Unsupported::ContentEncoding(other.chars().take(200).collect())),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_types_decide_the_version() {
        for (text, want) in [
            (None, Some(Version::V1)),
            (Some(""), Some(Version::V1)),
            (Some("application/x-protobuf"), Some(Version::V1)),
            (Some("application/x-protobuf;proto=prometheus.WriteRequest"), Some(Version::V1)),
            (Some("application/x-protobuf;proto=io.prometheus.write.v2.Request"), Some(Version::V2)),
            (
                Some("application/x-protobuf; charset=x ; proto=io.prometheus.write.v2.Request"),
                Some(Version::V2),
            ),
            (Some("application/x-protobuf;charset=utf-8"), Some(Version::V1)),
            (Some("application/x-protobuf;proto=io.prometheus.write.v3.Request"), None),
            (Some("application/x-protobuf;proto"), None),
            (Some("application/x-protobuf;"), None),
            (Some("application/json"), None),
            (Some("Application/X-Protobuf"), None),
            (Some(";proto=prometheus.WriteRequest"), None),
            (Some("text/plain;proto=io.prometheus.write.v2.Request"), None),
        ] {
            assert_eq!(version_of(text).ok(), want, "{text:?}");
        }
    }

    #[test]
    fn only_snappy_is_an_encoding() {
        for (text, ok) in [
            (None, true),
            (Some(""), true),
            (Some("snappy"), true),
            (Some("gzip"), false),
            (Some("zstd"), false),
            (Some("identity"), false),
        ] {
            assert_eq!(check_encoding(text).is_ok(), ok, "{text:?}");
        }
    }
}
