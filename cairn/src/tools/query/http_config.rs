//! `--http.config.file`: how to reach a server that asks who we are, in the YAML of Prometheus' `http_config`.
//!
//! Files that it names are looked for beside it. What cannot be done is refused, not ignored: a request that goes out
//! otherwise than its config says may go to the wrong server or without a secret.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use cairn_runtime::{Disk, RealDisk};
use reqwest::ClientBuilder;
use reqwest::header::{AUTHORIZATION, HeaderMap, HeaderName, HeaderValue};
use serde::Deserialize;

/// What the file may say.
#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct HttpConfig {
    basic_auth: Option<BasicAuth>,
    authorization: Option<Authorization>,
    bearer_token: Option<String>,
    bearer_token_file: Option<PathBuf>,
    oauth2: Option<serde_json::Value>,
    tls_config: TlsConfig,
    follow_redirects: Option<bool>,
    enable_http2: Option<bool>,
    proxy_url: Option<String>,
    http_headers: BTreeMap<String, Header>,
    /// Folder of the file.
    #[serde(skip)]
    dir: PathBuf,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct BasicAuth {
    username: Option<String>,
    username_file: Option<PathBuf>,
    password: Option<String>,
    password_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Authorization {
    r#type: Option<String>,
    credentials: Option<String>,
    credentials_file: Option<PathBuf>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct TlsConfig {
    ca: Option<String>,
    ca_file: Option<PathBuf>,
    cert: Option<String>,
    cert_file: Option<PathBuf>,
    key: Option<String>,
    key_file: Option<PathBuf>,
    server_name: Option<String>,
    insecure_skip_verify: bool,
    min_version: Option<String>,
    max_version: Option<String>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct Header {
    values: Vec<String>,
    secrets: Vec<String>,
    files: Vec<PathBuf>,
}

impl HttpConfig {
    /// Reads `file`.
    ///
    /// # Errors
    /// When it cannot be read or understood, or says two things at once.
    pub fn load(file: &Path) -> Result<Self> {
        let bytes = RealDisk.read(file).with_context(|| format!("cannot read {}", file.display()))?;
        let text = String::from_utf8(bytes).context("it is not UTF-8 text")?;
        let dir = file.parent().unwrap_or(Path::new("")).to_owned();
        Self::parse(&text, dir).with_context(|| format!("--http.config.file {}", file.display()))
    }

    fn parse(text: &str, dir: PathBuf) -> Result<Self> {
        // An empty document is no map.
        let config: Option<HttpConfig> = serde_saphyr::from_str(text)?;
        let config = HttpConfig { dir, ..config.unwrap_or_default() };
        let ways = [
            config.basic_auth.is_some(),
            config.authorization.is_some(),
            config.bearer_token.is_some() || config.bearer_token_file.is_some(),
        ];
        ensure!(
            ways.iter().filter(|way| **way).count() <= 1,
            "at most one of basic_auth, authorization, bearer_token and bearer_token_file may be set"
        );
        ensure!(config.oauth2.is_none(), "oauth2 is not supported: put the token into authorization");
        let tls = &config.tls_config;
        ensure!(
            tls.server_name.is_none(),
            "tls_config.server_name is not supported: use the certificate's name in the URL"
        );
        Ok(config)
    }

    /// Whether it says who we are.
    pub fn has_credentials(&self) -> bool {
        self.basic_auth.is_some()
            || self.authorization.is_some()
            || self.bearer_token.is_some()
            || self.bearer_token_file.is_some()
    }

    /// `builder` with connections as the config wants them.
    ///
    /// # Errors
    /// Certificates that cannot be read, versions of TLS that are not known.
    pub fn connect_as(&self, mut builder: ClientBuilder) -> Result<ClientBuilder> {
        let tls = &self.tls_config;
        if let Some(pem) = self.one("tls_config.ca", tls.ca.as_ref(), tls.ca_file.as_ref())? {
            let authorities =
                reqwest::Certificate::from_pem_bundle(pem.as_bytes()).context("tls_config.ca")?;
            // Without one no server could be trusted, and the reason would not be told.
            ensure!(!authorities.is_empty(), "tls_config.ca holds no certificate in PEM");
            builder = builder.tls_certs_only(authorities);
        }
        let certificate = self.one("tls_config.cert", tls.cert.as_ref(), tls.cert_file.as_ref())?;
        let key = self.one("tls_config.key", tls.key.as_ref(), tls.key_file.as_ref())?;
        match (certificate, key) {
            (Some(certificate), Some(key)) => {
                let pem = format!("{certificate}\n{key}");
                let identity =
                    reqwest::Identity::from_pem(pem.as_bytes()).context("tls_config.cert and key")?;
                builder = builder.identity(identity);
            }
            (None, None) => {}
            _ => bail!("tls_config: a client certificate needs both cert and key"),
        }
        if tls.insecure_skip_verify {
            builder = builder.tls_danger_accept_invalid_certs(true);
        }
        if let Some(version) = &tls.min_version {
            builder = builder.tls_version_min(tls_version("min_version", version)?);
        }
        if let Some(version) = &tls.max_version {
            builder = builder.tls_version_max(tls_version("max_version", version)?);
        }
        if self.follow_redirects == Some(false) {
            builder = builder.redirect(reqwest::redirect::Policy::none());
        }
        if self.enable_http2 == Some(false) {
            builder = builder.http1_only();
        }
        if let Some(url) = &self.proxy_url {
            builder = builder.proxy(reqwest::Proxy::all(url).context("proxy_url")?);
        }
        Ok(builder)
    }

    /// What goes with every request.
    ///
    /// # Errors
    /// Secrets that cannot be read or sent.
    pub fn headers(&self) -> Result<HeaderMap> {
        let mut headers = HeaderMap::new();
        if let Some(credentials) = self.credentials()? {
            let mut value = HeaderValue::from_str(&credentials).context("the credentials cannot be sent")?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        for (name, header) in &self.http_headers {
            let path = || format!("http_headers.{name}");
            let key: HeaderName = name.parse().with_context(path)?;
            let files = header.files.iter().map(|f| self.file(f)).collect::<Result<Vec<_>>>()?;
            for text in header.values.iter().chain(&header.secrets).chain(&files) {
                headers.append(key.clone(), HeaderValue::from_str(text).with_context(path)?);
            }
        }
        Ok(headers)
    }

    /// The value of `Authorization`.
    fn credentials(&self) -> Result<Option<String>> {
        if let Some(b) = &self.basic_auth {
            let user = self.one("basic_auth.username", b.username.as_ref(), b.username_file.as_ref())?;
            let password = self.one("basic_auth.password", b.password.as_ref(), b.password_file.as_ref())?;
            let pair = format!("{}:{}", user.unwrap_or_default(), password.unwrap_or_default());
            return Ok(Some(format!("Basic {}", BASE64_STANDARD.encode(pair))));
        }
        let (kind, credentials) = match &self.authorization {
            Some(a) => {
                let kind = a.r#type.as_deref().map(str::trim).filter(|t| !t.is_empty()).unwrap_or("Bearer");
                ensure!(!kind.eq_ignore_ascii_case("basic"), "authorization.type Basic: use basic_auth");
                (
                    kind,
                    self.one(
                        "authorization.credentials",
                        a.credentials.as_ref(),
                        a.credentials_file.as_ref(),
                    )?,
                )
            }
            None => {
                let token =
                    self.one("bearer_token", self.bearer_token.as_ref(), self.bearer_token_file.as_ref())?;
                ("Bearer", token)
            }
        };
        Ok(credentials.map(|c| format!("{kind} {c}")))
    }

    /// A text that is given as such, or in a file, not both.
    fn one(&self, name: &str, text: Option<&String>, file: Option<&PathBuf>) -> Result<Option<String>> {
        match (text, file) {
            (Some(_), Some(_)) => bail!("at most one of {name} and {name}_file may be set"),
            (Some(text), None) => Ok(Some(text.clone())),
            (None, Some(file)) => self.file(file).map(Some),
            (None, None) => Ok(None),
        }
    }

    fn file(&self, file: &Path) -> Result<String> {
        let path = self.dir.join(file);
        let bytes = RealDisk.read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let text =
            String::from_utf8(bytes).with_context(|| format!("{} is not UTF-8 text", path.display()))?;
        Ok(text.trim().to_owned())
    }
}

fn tls_version(key: &str, name: &str) -> Result<reqwest::tls::Version> {
    match name {
        "TLS12" => Ok(reqwest::tls::Version::TLS_1_2),
        "TLS13" => Ok(reqwest::tls::Version::TLS_1_3),
        "TLS10" | "TLS11" => bail!("tls_config.{key}: {name} is not supported any more: use TLS12 or TLS13"),
        _ => bail!("tls_config.{key}: unknown TLS version {name:?}: use TLS12 or TLS13"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<HttpConfig> {
        HttpConfig::parse(text, PathBuf::new())
    }

    fn sent(text: &str, name: &str) -> Vec<String> {
        let headers = parse(text).unwrap().headers().unwrap();
        headers.get_all(name).iter().map(|v| v.to_str().unwrap().to_owned()).collect()
    }

    #[test]
    fn credentials_and_headers_are_sent_as_prometheus_sends_them() {
        let basic = sent("basic_auth: {username: me, password: 'p w'}", "authorization");
        assert_eq!(basic, ["Basic bWU6cCB3"]);
        assert_eq!(sent("authorization: {credentials: t}", "authorization"), ["Bearer t"]);
        assert_eq!(sent("authorization: {type: Token, credentials: t}", "authorization"), ["Token t"]);
        assert_eq!(sent("bearer_token: t", "authorization"), ["Bearer t"]);
        assert_eq!(sent("http_headers: {X-Scope-OrgID: {values: [a, b]}}", "x-scope-orgid"), ["a", "b"]);
        assert_eq!(sent("", "authorization"), [""; 0]);
    }

    #[test]
    fn secrets_are_read_from_files_beside_the_config() {
        let dir = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| {
            let file = RealDisk.open(&dir.path().join(name), cairn_runtime::OpenHow::CreateNew).unwrap();
            file.write_all_at(text.as_bytes(), 0).unwrap();
        };
        write("secret", "s3cret\n");
        write("config.yml", "basic_auth: {username: me, password_file: secret}\n");
        let config = HttpConfig::load(&dir.path().join("config.yml")).unwrap();
        assert_eq!(config.headers().unwrap()[AUTHORIZATION], "Basic bWU6czNjcmV0");
        assert!(config.has_credentials());
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        let refused = |text: &str| {
            let config = parse(text).map(|c| (c.headers(), c.connect_as(reqwest::Client::builder())));
            let e = match config {
                Err(e) => e,
                Ok((headers, builder)) => headers.err().or(builder.err()).expect("it is refused"),
            };
            format!("{e:#}")
        };
        for (text, says) in [
            ("basic_auht: {}", "basic_auht"),
            ("basic_auth: {}\nbearer_token: t", "at most one of basic_auth"),
            ("basic_auth: {password: a, password_file: b}", "basic_auth.password_file"),
            ("authorization: {type: basic, credentials: x}", "use basic_auth"),
            ("oauth2: {client_id: x}", "oauth2 is not supported"),
            ("tls_config: {server_name: x}", "server_name is not supported"),
            ("tls_config: {cert_file: /no/such/file}", "/no/such/file"),
            ("tls_config: {ca: nothing}", "tls_config.ca"),
            ("tls_config: {min_version: TLS9}", "unknown TLS version"),
            ("bearer_token_file: /no/such/file", "/no/such/file"),
        ] {
            assert!(refused(text).contains(says), "{text}: {}", refused(text));
        }
    }
}
