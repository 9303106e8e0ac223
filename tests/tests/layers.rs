//! Dependencies point down only, and the libraries stay free of what they must not know (design: layers).

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use serde_json::Value;

/// Our crates from top to bottom. A crate may depend on crates of lower layers, and within a layer on none,
/// except where `BESIDE` says so.
const LAYERS: &[&[&str]] = &[
    &["cairn"],
    &["cairn-receiver", "cairn-ruler", "cairn-compactor", "cairn-query", "cairn-store"],
    &["cairn-cluster", "cairn-bucket"],
    &["cairn-tsdb", "cairn-promql", "cairn-net", "cairn-template", "cairn-notify"],
    &["cairn-model", "cairn-proto", "cairn-runtime"],
    &["base2histogram"], // openraft's, see ADR 0010
];

/// Allowed dependencies within a layer: the wire scanner fills the model's batches.
const BESIDE: &[(&str, &str)] = &[("cairn-proto", "cairn-model")];

/// Tools and tests stand beside the product and may use any of it.
const OUTSIDE: &[&str] =
    &["cairn-sim", "cairn-tests", "load-tests", "xtask", "cairn-fuzz", "cairn-promql-oracle"];

/// What a crate must not know: `tsdb` and `promql` no HTTP, no protobuf, no bucket; the model no I/O.
const FORBIDDEN: &[(&str, &[&str])] = &[
    ("cairn-tsdb", &["axum", "hyper", "http", "prost", "tonic", "object_store", "reqwest"]),
    ("cairn-promql", &["axum", "hyper", "http", "prost", "tonic", "object_store", "reqwest", "tokio"]),
    ("cairn-model", &["tokio", "axum", "hyper", "http", "prost", "tonic", "object_store", "reqwest"]),
];

/// Normal dependencies of each of our crates, by name.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version=1", "--no-deps", "--offline"])
        .output()
        .expect("cargo metadata runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata prints JSON");
    let packages = metadata["packages"].as_array().expect("packages");
    let name = |v: &Value| v["name"].as_str().expect("a name").to_owned();
    packages
        .iter()
        .map(|p| {
            let normal =
                p["dependencies"].as_array().expect("dependencies").iter().filter(|d| d["kind"].is_null());
            (name(p), normal.map(name).collect())
        })
        .collect()
}

fn layer_of(name: &str) -> Option<usize> {
    LAYERS.iter().position(|l| l.contains(&name))
}

#[test]
fn dependencies_point_down_only() {
    let all = dependencies();
    let mut checked = 0;
    for (name, deps) in &all {
        if OUTSIDE.contains(&name.as_str()) {
            continue;
        }
        let layer = layer_of(name).unwrap_or_else(|| panic!("{name} has no layer: add it to LAYERS"));
        for dep in deps.iter().filter(|d| all.contains_key(*d)) {
            let below = layer_of(dep).is_some_and(|l| l > layer);
            let beside = BESIDE.contains(&(name, dep));
            assert!(below || beside, "{name} must not depend on {dep}: dependencies point down only");
            checked += 1;
        }
    }
    assert!(checked > 20, "only {checked} dependencies were checked");
}

#[test]
fn libraries_do_not_know_what_is_not_theirs() {
    let all = dependencies();
    for (name, forbidden) in FORBIDDEN {
        let deps = all.get(*name).unwrap_or_else(|| panic!("{name} is not in the workspace"));
        for f in *forbidden {
            assert!(!deps.contains(*f), "{name} must not know {f}");
        }
    }
}
