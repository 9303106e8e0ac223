//! From a configuration to a [`Bucket`] that may be trusted with commits.
//!
//! Order: build the client, put it below the prefix ([`connect`]), then [probe](probe) that a conditional create is one.
//! FILESYSTEM syncs files and folders before it answers and creates by hard link, so a created object is whole
//! and durable or absent.

use std::path::Path as FsPath;
use std::sync::Arc;

use base64::Engine;
use cairn_runtime::Runtime;
use object_store::aws::{AmazonS3Builder, AmazonS3ConfigKey};
use object_store::limit::LimitStore;
use object_store::local::LocalFileSystem;
use object_store::prefix::PrefixStore;
use object_store::{Attribute, Attributes, Certificate, ClientOptions, ObjectStore, RetryConfig};

use crate::bucket::{Bucket, BucketSettings, Created};
use crate::config::{BucketConfig, LookupType, Provider, S3Config, SseType};
use crate::error::{BucketError, Result};
use crate::layout;

/// Bytes of a customer's encryption key.
const SSE_C_KEY_BYTES: usize = 32;

/// Opens the bucket of `config`. With `unsafe_no_conditional_put` a store without create-if-absent is taken, and
/// creates are then imitated by a look before the write.
///
/// # Errors
/// [`BucketError::Config`] for settings that cannot work, [`BucketError::NoConditionalPut`], and
/// [`BucketError::Store`] when the store does not answer the probe.
pub async fn open(
    config: &BucketConfig,
    unsafe_no_conditional_put: bool,
    runtime: &Runtime,
) -> Result<Bucket> {
    let bucket = connect(config, unsafe_no_conditional_put, runtime)?;
    if !unsafe_no_conditional_put {
        probe(&bucket, runtime).await?;
    }
    Ok(bucket)
}

/// The bucket of `config`, without asking it anything: whoever commits to it must see [`probe`] pass before.
///
/// # Errors
/// [`BucketError::Config`] for settings that cannot work.
pub fn connect(config: &BucketConfig, unsafe_no_conditional_put: bool, runtime: &Runtime) -> Result<Bucket> {
    let (store, mut settings) = match &config.provider {
        Provider::Filesystem { directory } => local(directory, runtime)?,
        Provider::S3(s3) => amazon(s3, runtime)?,
    };
    let store: Arc<dyn ObjectStore> = match config.prefix.as_str() {
        "" => store,
        prefix => Arc::new(PrefixStore::new(store, prefix)),
    };
    settings.imitate_create = unsafe_no_conditional_put;
    Ok(Bucket::new(store, settings, runtime))
}

/// Creates an object twice: the second create must be refused, and the first content must stand.
///
/// # Errors
/// [`BucketError::NoConditionalPut`] when it was not, [`BucketError::Store`] when the store cannot be reached.
pub async fn probe(bucket: &Bucket, runtime: &Runtime) -> Result<()> {
    let path = layout::probe(crate::bucket::fresh_ulid(runtime));
    let lacking = |finding: &str| BucketError::NoConditionalPut {
        bucket: bucket.name().to_owned(),
        finding: finding.to_owned(),
    };
    let unsupported = |e: BucketError| match e {
        BucketError::Store {
            source: object_store::Error::NotImplemented { .. } | object_store::Error::NotSupported { .. },
            ..
        } => lacking("it does not implement create-if-absent"),
        other => other,
    };
    let verdict = async {
        if bucket.create(&path, "first".into()).await.map_err(unsupported)? != Created::New {
            return Err(lacking("a fresh object was said to exist"));
        }
        if bucket.create(&path, "second".into()).await.map_err(unsupported)? != Created::AlreadyThere {
            return Err(lacking("it overwrites on create-if-absent"));
        }
        match bucket.get(&path).await?.as_deref() {
            Some(b"first") => Ok(()),
            Some(_) => Err(lacking("a refused create changed the object")),
            None => Err(lacking("an object that was created cannot be read")),
        }
    }
    .await;
    if let Err(error) = bucket.delete(&path).await {
        tracing::warn!(%error, "probe object stays behind; it is harmless");
    }
    verdict
}

fn local(directory: &str, runtime: &Runtime) -> Result<(Arc<dyn ObjectStore>, BucketSettings)> {
    let unusable = |e: &dyn std::fmt::Display| {
        BucketError::Config(format!(
            "config.directory {directory}: {e}; make the folder writable for this user"
        ))
    };
    runtime.disk.create_dir_all(FsPath::new(directory)).map_err(|e| unusable(&e))?;
    let store = LocalFileSystem::new_with_prefix(directory).map_err(|e| unusable(&e))?;
    let store = store.with_fsync(true).with_automatic_cleanup(true);
    Ok((Arc::new(store), BucketSettings::named(directory)))
}

fn amazon(c: &S3Config, runtime: &Runtime) -> Result<(Arc<dyn ObjectStore>, BucketSettings)> {
    // The TLS library needs its cryptography chosen once a process; that another part chose first is fine.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut b = match &c.credentials {
        Some((id, secret)) => AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(&secret.0),
        None => AmazonS3Builder::from_env(),
    };
    if let Some(token) = &c.session_token {
        b = b.with_token(&token.0);
    }
    if let Some(sts) = &c.sts_endpoint {
        b = b.with_config(AmazonS3ConfigKey::StsEndpoint, sts);
    }
    if let Some(n) = c.max_retries {
        b = b.with_retry(RetryConfig { max_retries: n, ..RetryConfig::default() });
    }
    let virtual_hosted = in_host_name(c);
    let scheme = if c.insecure { "http" } else { "https" };
    let host = if virtual_hosted { format!("{}.{}", c.bucket, c.endpoint) } else { c.endpoint.clone() };
    b = b
        .with_bucket_name(&c.bucket)
        .with_region(&c.region)
        .with_endpoint(format!("{scheme}://{host}"))
        .with_virtual_hosted_style_request(virtual_hosted)
        .with_allow_http(c.insecure)
        .with_client_options(client_options(c, runtime)?);
    b = match &c.sse {
        None => b,
        Some(sse) => match sse.kind {
            SseType::S3 => {
                let key: AmazonS3ConfigKey =
                    "aws_server_side_encryption".parse().expect("a key of this client");
                b.with_config(key, "AES256")
            }
            SseType::Kms => b.with_sse_kms_encryption(&sse.kms_key_id),
            SseType::Customer => b.with_ssec_encryption(customer_key(&sse.key_file, runtime)?),
        },
    };
    let store = b.build().map_err(|e| BucketError::Config(e.to_string()))?;
    let store: Arc<dyn ObjectStore> = match c.http.max_requests {
        0 => Arc::new(store),
        n => Arc::new(LimitStore::new(store, n)),
    };
    let mut settings = BucketSettings::named(&c.bucket);
    settings.part_bytes = c.part_bytes;
    settings.attributes = attributes(c);
    Ok((store, settings))
}

fn in_host_name(c: &S3Config) -> bool {
    match c.lookup {
        LookupType::VirtualHosted => true,
        LookupType::Path => false,
        // A dot in the bucket's name would need a certificate that wildcards do not cover.
        LookupType::Auto if c.bucket.contains('.') && !c.insecure => false,
        LookupType::Auto => {
            let host = c.endpoint.split(':').next().unwrap_or_default();
            [".amazonaws.com", ".amazonaws.com.cn", ".aliyuncs.com"].iter().any(|s| host.ends_with(s))
        }
    }
}

fn client_options(c: &S3Config, runtime: &Runtime) -> Result<ClientOptions> {
    let mut o = ClientOptions::new()
        .with_allow_http(c.insecure)
        .with_allow_invalid_certificates(c.http.insecure_skip_verify)
        // A part on a slow line takes longer than the client's 30 s; silence is what ends a request.
        .with_timeout_disabled()
        .with_read_timeout(c.http.read_timeout.unwrap_or(crate::bucket::READ_TIMEOUT));
    if let Some(t) = c.http.idle_timeout {
        o = o.with_pool_idle_timeout(t);
    }
    if let Some(t) = c.http.connect_timeout {
        o = o.with_connect_timeout(t);
    }
    if let Some(n) = c.http.max_idle_per_host {
        o = o.with_pool_max_idle_per_host(n);
    }
    if let Some(file) = &c.http.ca_file {
        let key = "config.http_config.tls_config.ca_file";
        let pem = read_small(file, key, runtime)?;
        let certificates = Certificate::from_pem_bundle(&pem)
            .map_err(|e| BucketError::Config(format!("{key} {file}: {e}")))?;
        for certificate in certificates {
            o = o.with_root_certificate(certificate);
        }
    }
    Ok(o)
}

fn customer_key(file: &str, runtime: &Runtime) -> Result<String> {
    let key = read_small(file, "config.sse_config.encryption_key", runtime)?;
    if key.len() != SSE_C_KEY_BYTES {
        return Err(BucketError::Config(format!(
            "config.sse_config.encryption_key {file}: {} bytes, must be exactly {SSE_C_KEY_BYTES}",
            key.len()
        )));
    }
    Ok(base64::engine::general_purpose::STANDARD.encode(key))
}

fn read_small(file: &str, key: &str, runtime: &Runtime) -> Result<Vec<u8>> {
    runtime.disk.read(FsPath::new(file)).map_err(|e| BucketError::Config(format!("{key} {file}: {e}")))
}

fn attributes(c: &S3Config) -> Attributes {
    let mut all = Attributes::new();
    for (name, value) in &c.user_metadata {
        let attribute = match name.to_ascii_lowercase().as_str() {
            "x-amz-storage-class" => Attribute::StorageClass,
            other => {
                Attribute::Metadata(other.strip_prefix("x-amz-meta-").unwrap_or(other).to_owned().into())
            }
        };
        all.insert(attribute, value.clone().into());
    }
    all
}
