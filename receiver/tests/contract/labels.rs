//! Label rules, for both versions.

use std::collections::HashMap;
use std::sync::Arc;

use cairn_model::TenantId;
use cairn_proto::encode::{TimeSeries, snappy_block};
use cairn_receiver::{Limits, TenantLimits};

use crate::harness::*;

#[tokio::test]
async fn each_label_rule_spares_the_other_series() {
    let long = "v".repeat(4097);
    let long_name = "n".repeat(1025);
    let many: Vec<_> = (0..65).map(|i| (format!("l{i}"), "1".to_owned())).collect();
    let many: Vec<_> = many.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
    for (what, labels, want) in [
        ("sorted", &[("__name__", "m"), ("a", "1"), ("b", "2")][..], Ok(r#"m{a="1", b="2"}"#)),
        (
            "unsorted labels are sorted",
            &[("b", "2"), ("__name__", "m"), ("a", "1")],
            Ok(r#"m{a="1", b="2"}"#),
        ),
        ("an empty value is no label", &[("__name__", "m"), ("a", "")], Ok("m")),
        ("UTF-8 names", &[("__name__", "m.é"), ("l x", "1")], Ok(r#"{__name__="m.é", "l x"="1"}"#)),
        ("tenant_id gives way", &[("__name__", "m"), ("tenant_id", "forged")], Ok("m")),
        ("no name", &[("a", "1")], Err("missing metric name")),
        ("empty name", &[("__name__", "")], Err("missing metric name")),
        ("no labels", &[], Err("missing metric name")),
        ("duplicate", &[("__name__", "m"), ("a", "1"), ("a", "2")], Err(r#"label name "a" is not unique"#)),
        (
            "duplicate name",
            &[("__name__", "m"), ("__name__", "n")],
            Err(r#"label name "__name__" is not unique"#),
        ),
        ("nameless label", &[("__name__", "m"), ("", "1")], Err("a label has no name")),
        ("long value", &[("__name__", "m"), ("a", &long)], Err("label of 4097 bytes, limit 4096")),
        ("long name", &[("__name__", "m"), (&long_name, "a")], Err("label of 1025 bytes, limit 1024")),
        ("many labels", &many, Err("65 labels, limit 64")),
    ] {
        for version in [1, 2] {
            let h = Harness::new();
            let all = vec![series("before"), TimeSeries::floats(labels, &[(NOW_MS, 1.0)]), series("after")];
            let answer = if version == 1 { h.v1(all).await } else { h.v2(all).await };
            let stored = h.store.series_names();
            for good in ["before", "after"] {
                assert!(stored.contains(&format!(r#"default-tenant/{good}{{job="test"}}"#)), "{what}");
            }
            match want {
                Ok(text) => {
                    assert_eq!(answer.status, 204, "{what} {version}: {}", answer.text);
                    assert!(stored.contains(&format!("default-tenant/{text}")), "{what}: {stored:?}");
                }
                Err(text) => {
                    assert_eq!(answer.status, 400, "{what} {version}");
                    assert!(answer.text.contains(text), "{what} {version}: {}", answer.text);
                    assert_eq!(stored.len(), 2, "{what}");
                    assert_eq!(answer.written(), (version == 2).then_some([2, 0, 0]));
                }
            }
        }
    }
}

pub fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat()
}

/// A sample `{1.0, NOW_MS}` as field 2.
pub fn sample() -> Vec<u8> {
    let mut bytes = vec![0x09];
    bytes.extend(1.0f64.to_le_bytes());
    bytes.push(0x10);
    let mut t = NOW_MS as u64;
    while t >= 0x80 {
        bytes.push(t as u8 | 0x80);
        t >>= 7;
    }
    bytes.push(t as u8);
    field(2, &bytes)
}

pub fn label(name: &[u8], value: &[u8]) -> Vec<u8> {
    field(1, &[field(1, name), field(2, value)].concat())
}

#[tokio::test]
async fn text_that_is_not_utf8_is_refused_for_its_series_alone() {
    let h = Harness::new();
    let bad = field(1, &[label(b"__name__", b"m"), label(b"a", b"\xff"), sample()].concat());
    let good = field(1, &[label(b"__name__", b"good"), sample()].concat());
    let answer = h.post("/api/v1/write", V1, snappy_block(&[bad, good].concat())).await;
    assert_eq!(answer.status, 400);
    assert!(answer.text.contains("is not UTF-8"), "{}", answer.text);
    assert_eq!(h.store.series_names(), ["default-tenant/good"]);
}

#[tokio::test]
async fn labels_behind_the_samples_count() {
    let h = Harness::new();
    let odd = field(1, &[label(b"__name__", b"m"), sample(), label(b"a", b"1")].concat());
    let plain = field(1, &[label(b"__name__", b"m"), sample()].concat());
    // The plain one first, so that its label region is known when the odd one comes.
    for _ in 0..3 {
        let body = snappy_block(&[plain.clone(), odd.clone()].concat());
        assert_eq!(h.post("/api/v1/write", V1, body).await.status, 204);
        assert_eq!(h.store.series_names(), ["default-tenant/m", r#"default-tenant/m{a="1"}"#]);
    }
}

#[tokio::test]
async fn references_that_lead_nowhere_spare_the_other_series() {
    let symbols: Vec<u8> = ["", "__name__", "good"].iter().flat_map(|s| field(4, s.as_bytes())).collect();
    for (refs, text) in [
        (&[1u8, 9][..], "label reference 9 is beyond the 3 symbols"),
        (&[1, 2, 1], "an odd number of label references"),
        (&[], "missing metric name"),
    ] {
        let h = Harness::new();
        let series = |refs: &[u8]| field(5, &[field(1, refs), sample()].concat());
        let body = snappy_block(&[symbols.clone(), series(refs), series(&[1, 2])].concat());
        let answer = h.post("/api/v1/write", V2, body).await;
        assert_eq!((answer.status, answer.written()), (400, Some([1, 0, 0])), "{}", answer.text);
        assert!(answer.text.contains(text), "{}", answer.text);
        assert_eq!(h.store.series_names(), ["default-tenant/good"]);
    }
}

#[tokio::test]
async fn limits_are_the_tenants_and_take_effect_at_once() {
    let h = Harness::new();
    let wide = || TimeSeries::floats(&[("__name__", "m"), ("a", "1"), ("b", "2")], &[(NOW_MS, 1.0)]);
    assert_eq!(h.v1(vec![wide()]).await.status, 204);
    let strict = Arc::new(TenantLimits { labels_per_series: 2, ..TenantLimits::default() });
    h.limits.replace(Limits {
        tenants: HashMap::from([(TenantId::default_tenant(), strict)]),
        ..Limits::default()
    });
    let answer = h.v1(vec![wide()]).await;
    assert_eq!(answer.status, 400, "a series that was known is judged again");
    assert!(answer.text.contains("3 labels, limit 2"));
    h.limits.replace(Limits::default());
    assert_eq!(h.v1(vec![wide()]).await.status, 204);
}

#[tokio::test]
async fn overridden_labels_are_counted() {
    let h = Harness::new();
    h.v1(vec![TimeSeries::floats(&[("__name__", "m"), ("tenant_id", "x")], &[(NOW_MS, 1.0)])]).await;
    assert_eq!(h.metric("cairn_receive_overridden_labels_total"), 1.0);
}
