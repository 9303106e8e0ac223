//! One conformance suite over every kind of store.

use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_bucket::config::BucketConfig;
use cairn_bucket::digest::Sha256;
use cairn_bucket::{Bucket, BucketError, BucketSettings, Created, open};
use cairn_runtime::Runtime;
use futures::TryStreamExt;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};

use crate::s3_server;

async fn conformance(bucket: &Bucket) {
    let p = |s: &str| Path::from(s);
    let names = |prefix: &'static str| async move {
        let listed: Vec<ObjectMeta> = bucket.list(Some(&Path::from(prefix))).try_collect().await.unwrap();
        let mut names: Vec<String> = listed.into_iter().map(|m| m.location.to_string()).collect();
        names.sort();
        names
    };
    // Absent objects are answers, not failures.
    assert_eq!(bucket.get(&p("a/none")).await.unwrap(), None);
    assert_eq!(bucket.size(&p("a/none")).await.unwrap(), None);
    assert_eq!(bucket.digest(&p("a/none")).await.unwrap(), None);
    bucket.delete(&p("a/none")).await.unwrap();
    assert!(matches!(bucket.get_range(&p("a/none"), 0, 1).await, Err(BucketError::Missing { .. })));
    assert_eq!(names("a").await, Vec::<String>::new());

    // Create is atomic: the first stands.
    assert_eq!(bucket.create(&p("a/x"), "one".into()).await.unwrap(), Created::New);
    assert_eq!(bucket.create(&p("a/x"), "two".into()).await.unwrap(), Created::AlreadyThere);
    assert_eq!(bucket.get(&p("a/x")).await.unwrap().unwrap(), "one");

    // Put replaces.
    bucket.put(&p("a/x"), "three".into()).await.unwrap();
    assert_eq!(bucket.get(&p("a/x")).await.unwrap().unwrap(), "three");
    assert_eq!(bucket.size(&p("a/x")).await.unwrap(), Some(5));
    assert_eq!(bucket.digest(&p("a/x")).await.unwrap(), Some((5, Sha256::of(b"three"))));

    // Ranges are exact or an error.
    assert_eq!(bucket.get_range(&p("a/x"), 1, 4).await.unwrap(), "hre");
    assert!(bucket.get_range(&p("a/x"), 3, 9).await.is_err());

    // Above the part size an object goes up in parts and comes back whole.
    let large: Vec<u8> = (0..12_000_000u32).map(|i| (i.wrapping_mul(2_654_435_761) >> 24) as u8).collect();
    bucket.put(&p("b/large"), large.clone().into()).await.unwrap();
    assert_eq!(bucket.digest(&p("b/large")).await.unwrap(), Some((12_000_000, Sha256::of(&large))));
    assert_eq!(
        bucket.get_range(&p("b/large"), 5_242_870, 5_242_890).await.unwrap(),
        large[5_242_870..5_242_890]
    );

    // Empty objects exist.
    bucket.put(&p("b/empty"), Bytes::new()).await.unwrap();
    assert_eq!(bucket.digest(&p("b/empty")).await.unwrap(), Some((0, Sha256::of(b""))));

    assert_eq!(names("b").await, ["b/empty", "b/large"]);
    bucket.delete_all(vec![p("b/empty"), p("b/large"), p("a/x"), p("a/x")]).await.unwrap();
    assert_eq!(names("b").await, Vec::<String>::new());
    assert_eq!(bucket.create(&p("a/x"), "again".into()).await.unwrap(), Created::New);
}

fn small_parts(name: &str) -> BucketSettings {
    BucketSettings { part_bytes: Some(5 << 20), ..BucketSettings::named(name) }
}

#[tokio::test]
async fn memory_conforms() {
    let runtime = Runtime::system(1);
    let bucket = Bucket::new(Arc::new(InMemory::new()), small_parts("memory"), &runtime);
    open::probe(&bucket, &runtime).await.unwrap();
    conformance(&bucket).await;
    let metrics = runtime.metrics.render();
    for operation in ["get", "get_range", "upload", "delete", "iter", "attributes"] {
        let line =
            format!("thanos_objstore_bucket_operations_total{{bucket=\"memory\",operation=\"{operation}\"}}");
        assert!(metrics.contains(&line), "{operation} is counted");
    }
}

#[tokio::test]
async fn filesystem_conforms_below_a_prefix() {
    let dir = tempfile::tempdir().unwrap();
    let runtime = Runtime::system(1);
    let yaml =
        format!("type: FILESYSTEM\nconfig:\n  directory: {}/new\nprefix: deep/er\n", dir.path().display());
    let (config, _) = BucketConfig::parse(&yaml).unwrap();
    let bucket = open(&config, false, &runtime).await.unwrap();
    conformance(&bucket).await;
    assert!(dir.path().join("new/deep/er/a/x").is_file());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn s3_conforms_below_a_prefix() {
    let dir = tempfile::tempdir().unwrap();
    #[allow(clippy::disallowed_methods)] // makes the bucket of the test's server
    std::fs::create_dir_all(dir.path().join("metrics")).unwrap();
    let runtime = Runtime::system(2);
    let endpoint = s3_server::serve(dir.path(), &runtime).await;
    let (id, secret) = (s3_server::ACCESS_KEY, s3_server::SECRET_KEY);
    let yaml = format!(
        "type: S3\nconfig: {{bucket: metrics, endpoint: '{endpoint}', insecure: true, access_key: {id}, \
         secret_key: {secret}, part_size: 5242880}}\nprefix: p\n"
    );
    let (config, _) = BucketConfig::parse(&yaml).unwrap();
    let bucket = open(&config, false, &runtime).await.unwrap();
    conformance(&bucket).await;
    assert!(dir.path().join("metrics/p/a/x").is_file());

    let wrong = yaml.replace(secret, "wrong").replace("part_size: 5242880", "max_retries: 0");
    let (config, _) = BucketConfig::parse(&wrong).unwrap();
    let other = Runtime::system(1);
    assert!(
        matches!(open(&config, false, &other).await, Err(BucketError::Store { .. })),
        "keys are checked at start"
    );
    runtime.tasks.shutdown().begin();
}

#[tokio::test]
async fn a_store_that_overwrites_on_create_is_refused_unless_asked_for() {
    let runtime = Runtime::system(1);
    let store = Arc::new(Overwriting(InMemory::new()));
    let bucket = Bucket::new(store.clone(), BucketSettings::named("old"), &runtime);
    let refused = open::probe(&bucket, &runtime).await.unwrap_err();
    assert!(matches!(refused, BucketError::NoConditionalPut { .. }));
    assert!(refused.to_string().contains("--bucket.unsafe-no-conditional-put"), "{refused}");
    let left: Vec<ObjectMeta> = store.0.list(None).try_collect().await.unwrap();
    assert!(left.is_empty(), "the probe cleans up");

    let settings = BucketSettings { imitate_create: true, ..small_parts("old") };
    let bucket = Bucket::new(store, settings, &Runtime::system(1));
    conformance(&bucket).await;
}

/// Ignores conditions, as some old servers do.
#[derive(Debug)]
struct Overwriting(InMemory);

impl std::fmt::Display for Overwriting {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Overwriting")
    }
}

#[async_trait]
impl ObjectStore for Overwriting {
    async fn put_opts(&self, location: &Path, payload: PutPayload, _: PutOptions) -> Result<PutResult> {
        self.0.put_opts(location, payload, PutOptions::default()).await
    }
    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.0.put_multipart_opts(location, options).await
    }
    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.0.get_opts(location, options).await
    }
    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.0.delete_stream(locations)
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.0.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.0.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.0.copy_opts(from, to, options).await
    }
}
