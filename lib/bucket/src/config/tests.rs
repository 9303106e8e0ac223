use super::*;

fn s3(extra: &str) -> String {
    format!("type: S3\nconfig:\n  bucket: metrics\n  endpoint: minio:9000\n{extra}")
}

fn error_of(yaml: &str) -> String {
    BucketConfig::parse(yaml).expect_err("refused").to_string()
}

#[test]
fn a_filesystem_bucket_with_prefix() {
    let (c, warnings) =
        BucketConfig::parse("type: filesystem\nconfig:\n  directory: /data/bucket\nprefix: /a/b/\n").unwrap();
    assert!(matches!(&c.provider, Provider::Filesystem { directory } if directory == "/data/bucket"));
    assert_eq!((c.prefix.as_str(), warnings.len()), ("a/b", 0));
}

#[test]
fn thanos_own_example_of_s3_is_read_whole() {
    let yaml = r#"
type: S3
config:
  bucket: "metrics"
  endpoint: "s3.eu-west-1.amazonaws.com"
  region: ""
  disable_dualstack: false
  aws_sdk_auth: false
  access_key: "AK"
  insecure: false
  signature_version2: false
  secret_key: "hidden"
  session_token: ""
  put_user_metadata: {"X-Amz-Storage-Class": "STANDARD_IA"}
  http_config:
    idle_conn_timeout: 1m30s
    response_header_timeout: 2m
    insecure_skip_verify: false
    tls_handshake_timeout: 10s
    expect_continue_timeout: 1s
    max_idle_conns: 100
    max_idle_conns_per_host: 100
    max_conns_per_host: 0
    tls_config:
      ca_file: ""
      cert_file: ""
      key_file: ""
      server_name: ""
      insecure_skip_verify: false
    disable_compression: false
  trace:
    enable: false
  list_objects_version: ""
  bucket_lookup_type: auto
  send_content_md5: true
  disable_multipart: false
  part_size: 67108864
  sse_config:
    type: ""
    kms_key_id: ""
    kms_encryption_context: {}
    encryption_key: ""
  sts_endpoint: ""
  max_retries: 3
prefix: ""
hedging_config:
  enabled: false
  up_to: 3
  quantile: 0.9
"#;
    let (c, warnings) = BucketConfig::parse(yaml).unwrap();
    assert!(warnings.is_empty(), "{warnings:?}");
    let Provider::S3(s3) = &c.provider else { panic!("not S3") };
    assert_eq!(s3.region, "eu-west-1");
    assert_eq!(s3.part_bytes, Some(64 << 20));
    assert_eq!(s3.http.idle_timeout, Some(std::time::Duration::from_secs(90)));
    assert_eq!(s3.max_retries, Some(3));
    assert!(!format!("{c:?}").contains("hidden"), "secrets are not printed");
}

#[test]
fn unknown_keys_are_refused_with_a_suggestion() {
    assert!(error_of(&s3("  acces_key: x\n")).contains("config.acces_key: did you mean access_key?"));
    assert!(error_of(&s3("  http_config: {tls_config: {cafile: x}}\n")).contains("did you mean ca_file?"));
    assert!(error_of("type: S3\nconfg: {}\n").contains("did you mean config?"));
    assert!(error_of("type: FILESYSTEM\nconfig: {zzzzzzzzzzzz: 1}\n").contains("known are directory"));
}

#[test]
fn what_cannot_be_honoured_is_refused_with_its_reason() {
    for (extra, names) in [
        ("  signature_version2: true\n", "signature_version2"),
        ("  list_objects_version: v1\n", "list_objects_version"),
        (
            "  sse_config: {type: SSE-KMS, kms_key_id: k, kms_encryption_context: {a: b}}\n",
            "kms_encryption_context",
        ),
        ("  sse_config: {type: SSE-X}\n", "sse_config.type"),
        ("  http_config: {tls_config: {cert_file: a, key_file: b}}\n", "cert_file"),
        ("  http_config: {idle_conn_timeout: soon}\n", "idle_conn_timeout"),
        ("  access_key: only\n", "secret_key"),
        ("  part_size: 17\n", "part_size"),
        ("  bucket_lookup_type: dns\n", "bucket_lookup_type"),
    ] {
        assert!(error_of(&s3(extra)).contains(names), "{extra}: {}", error_of(&s3(extra)));
    }
    assert!(error_of("type: S3\nconfig: {bucket: b, endpoint: 'http://x'}\n").contains("without scheme"));
    assert!(error_of("type: S3\nconfig: {bucket: b, endpoint: x}\nprefix: a/../b\n").contains(".."));
}

#[test]
fn other_providers_are_named_with_a_way_that_works() {
    for kind in ["GCS", "AZURE", "SWIFT", "COS", "ALIYUNOSS", "BOS", "OCI", "OBS"] {
        let e = error_of(&format!("type: {kind}\nconfig: {{}}\n"));
        assert!(e.contains("supported are FILESYSTEM and S3") && e.contains(kind), "{e}");
    }
    assert!(error_of("type: FLOPPY\n").contains("unknown type"));
    assert!(error_of("config: {}\n").contains("type is missing"));
}

#[test]
fn numbers_are_taken_where_text_is_meant() {
    let (c, _) = BucketConfig::parse(&s3("  access_key: 12345\n  secret_key: 67890\n")).unwrap();
    let Provider::S3(s3) = c.provider else { panic!("not S3") };
    assert_eq!(s3.credentials, Some(("12345".into(), Secret("67890".into()))));
}

#[test]
fn text_that_is_no_yaml_is_an_error_not_a_panic() {
    for bad in ["", "\t", "[", "type: [S3]", "- a", "type: S3\nconfig: 7\n", "type: FILESYSTEM\n"] {
        assert!(BucketConfig::parse(bad).is_err(), "{bad:?}");
    }
}
