//! Values of `--alertmanagers.url`.

use std::fmt;

/// Where an Alertmanager's API is: scheme, host, optional path prefix, optional user and password.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AlertmanagerUrl {
    base: String,
    shown: String,
}

/// A value that names no Alertmanager.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid Alertmanager URL {url:?}: {reason}; write it like http://alertmanager:9093/prefix")]
pub struct InvalidUrl {
    /// As given, without a password.
    pub url: String,
    /// What is wrong.
    pub reason: String,
}

/// The path of the alerts endpoint under a prefix.
const ALERTS_PATH: &str = "/api/v2/alerts";

impl AlertmanagerUrl {
    /// Reads one value.
    ///
    /// # Errors
    /// [`InvalidUrl`] for another scheme than http and https, a missing host, a query or fragment, and for Thanos'
    /// `dns+` and `dnssrv+` prefixes, which are not supported yet.
    pub fn parse(text: &str) -> Result<AlertmanagerUrl, InvalidUrl> {
        let invalid = |reason: &str| InvalidUrl { url: hide_password(text), reason: reason.to_owned() };
        if text.starts_with("dns+") || text.starts_with("dnssrv+") || text.starts_with("dnssrvnoa+") {
            return Err(invalid("dns+ and dnssrv+ discovery is not supported yet, name each Alertmanager"));
        }
        let url = reqwest::Url::parse(text).map_err(|e| invalid(&e.to_string()))?;
        if !matches!(url.scheme(), "http" | "https") {
            return Err(invalid("the scheme must be http or https"));
        }
        if !url.has_host() {
            return Err(invalid("it has no host"));
        }
        if url.query().is_some() || url.fragment().is_some() {
            return Err(invalid("it must end with the path prefix, without ? or #"));
        }
        let base = url.as_str().trim_end_matches('/').to_owned();
        Ok(AlertmanagerUrl { shown: hide_password(&base), base })
    }

    /// Where alerts are posted, credentials included.
    pub fn alerts_endpoint(&self) -> String {
        format!("{}{ALERTS_PATH}", self.base)
    }

    /// Where alerts are posted, fit for status pages and metrics.
    pub fn shown_endpoint(&self) -> String {
        format!("{}{ALERTS_PATH}", self.shown)
    }
}

/// The URL without its password.
impl fmt::Display for AlertmanagerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

impl fmt::Debug for AlertmanagerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.shown)
    }
}

fn hide_password(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority_end = rest.find('/').unwrap_or(rest.len());
    match rest[..authority_end].rfind('@') {
        Some(at) => {
            let user = rest[..at].split(':').next().unwrap_or("");
            format!("{scheme}://{user}:xxxxx@{}", &rest[at + 1..])
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn good_values_lead_to_the_api() {
        for (text, endpoint) in [
            ("http://am:9093", "http://am:9093/api/v2/alerts"),
            ("http://am:9093/", "http://am:9093/api/v2/alerts"),
            ("https://am/prefix/", "https://am/prefix/api/v2/alerts"),
            ("http://[::1]:9093/a/b", "http://[::1]:9093/a/b/api/v2/alerts"),
            ("http://u:p@am:9093", "http://u:p@am:9093/api/v2/alerts"),
        ] {
            assert_eq!(AlertmanagerUrl::parse(text).unwrap().alerts_endpoint(), endpoint);
        }
    }

    #[test]
    fn bad_values_are_refused_with_a_reason() {
        for text in ["am:9093", "", "ftp://am", "http://", "http://am?x=1", "dns+http://am:9093", "/path"] {
            let error = AlertmanagerUrl::parse(text).unwrap_err().to_string();
            assert!(error.contains("write it like"), "{error}");
        }
    }

    #[test]
    fn passwords_are_never_shown() {
        let url = AlertmanagerUrl::parse("https://user:secret@am/x").unwrap();
        for shown in [url.to_string(), format!("{url:?}"), url.shown_endpoint()] {
            assert!(!shown.contains("secret"), "{shown}");
        }
        let error = AlertmanagerUrl::parse("ftp://user:secret@am").unwrap_err();
        assert!(!error.to_string().contains("secret"), "{error}");
    }
}
