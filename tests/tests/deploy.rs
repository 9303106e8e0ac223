//! The manifests in deploy/ are what Kubernetes understands: every document is read into Kubernetes' own type and
//! written back; a field that is lost on the way is one that Kubernetes does not know.

use std::path::PathBuf;

use k8s_openapi::api::{apps::v1::StatefulSet, core::v1::Secret, core::v1::Service};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

fn deploy(file: &str) -> String {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../deploy").join(file);
    #[allow(clippy::disallowed_methods)] // the repository's own file
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("cannot read {}: {e}", path.display()))
}

fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n").map(|doc| serde_saphyr::from_str(doc).expect("valid YAML")).collect()
}

/// Reads `document` as a `T` and asserts that nothing of it is lost.
fn known<T: DeserializeOwned + Serialize>(document: &Value) -> T {
    let typed: T = serde_json::from_value(document.clone()).unwrap_or_else(|e| panic!("{e} in {document}"));
    let back = serde_json::to_value(&typed).expect("serializes");
    assert_no_loss(document, &back, "");
    typed
}

fn assert_no_loss(wanted: &Value, kept: &Value, path: &str) {
    match (wanted, kept) {
        (Value::Object(w), Value::Object(k)) => {
            for (key, value) in w {
                let path = format!("{path}.{key}");
                let kept = k.get(key).unwrap_or_else(|| panic!("Kubernetes does not know {path}"));
                assert_no_loss(value, kept, &path);
            }
        }
        (Value::Array(w), Value::Array(k)) => {
            assert_eq!(w.len(), k.len(), "{path}");
            w.iter().zip(k).enumerate().for_each(|(i, (w, k))| assert_no_loss(w, k, &format!("{path}[{i}]")));
        }
        _ => assert_eq!(wanted, kept, "{path}"),
    }
}

fn of_kind<'a>(documents: &'a [Value], kind: &str) -> Vec<&'a Value> {
    documents.iter().filter(|d| d["kind"] == kind).collect()
}

#[test]
fn every_document_is_of_a_known_type_without_unknown_fields() {
    let docs = documents(&deploy("kubernetes/cairn.yaml"));
    let mut checked = 0;
    for doc in &docs {
        match doc["kind"].as_str().expect("a kind") {
            "Secret" => drop(known::<Secret>(doc)),
            "Service" => drop(known::<Service>(doc)),
            "StatefulSet" => drop(known::<StatefulSet>(doc)),
            other => panic!("{other} is not checked: add its type here"),
        }
        checked += 1;
    }
    assert_eq!(checked, 4);
}

#[test]
fn an_unknown_field_would_be_noticed() {
    let mut docs = documents(&deploy("kubernetes/cairn.yaml"));
    let set = docs.iter_mut().find(|d| d["kind"] == "StatefulSet").expect("a StatefulSet");
    set["spec"]["template"]["spec"]["containers"][0]["lifecycle"]["preStopp"] = serde_json::json!({});
    let set = set.clone();
    assert!(std::panic::catch_unwind(move || known::<StatefulSet>(&set)).is_err());
}

/// Every metric that an alert asks for is one that the code registers: a renamed metric must not silence its alert.
#[test]
fn alerts_ask_for_metrics_that_exist() {
    let rules: Value = serde_saphyr::from_str(&deploy("cairn-alerts.yaml")).expect("valid YAML");
    let sources = rust_sources(&PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(".."));
    let mut checked = 0;
    for rule in rules["groups"][0]["rules"].as_array().expect("rules") {
        let expr = rule["expr"].as_str().expect("an expression");
        for word in expr.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            if ["cairn_", "prometheus_", "thanos_"].iter().any(|p| word.starts_with(p)) {
                assert!(
                    sources.contains(&format!("\"{word}\"")),
                    "{word} of {} is registered nowhere",
                    rule["alert"]
                );
                checked += 1;
            }
        }
        assert!(rule["annotations"]["action"].is_string(), "{} does not say what to do", rule["alert"]);
    }
    assert!(checked >= 10, "only {checked} metrics were checked");
}

/// The text of all Rust files of the product.
fn rust_sources(root: &std::path::Path) -> String {
    let mut text = String::new();
    let mut folders: Vec<PathBuf> =
        ["cairn", "receiver", "ruler", "compactor", "query", "store", "cluster", "lib"]
            .iter()
            .map(|d| root.join(d))
            .collect();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(&folder).expect("a folder of the repository").flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|e| e == "rs") {
                #[allow(clippy::disallowed_methods)] // the repository's own file
                text.push_str(&std::fs::read_to_string(&path).expect("a source file"));
            }
        }
    }
    text
}

#[test]
fn ports_probes_and_times_fit_together() {
    let docs = documents(&deploy("kubernetes/cairn.yaml"));
    let set: StatefulSet = known(of_kind(&docs, "StatefulSet")[0]);
    let pod = set.spec.as_ref().expect("spec").template.spec.as_ref().expect("pod");
    let container = &pod.containers[0];
    let names: Vec<_> = container.ports.iter().flatten().filter_map(|p| p.name.clone()).collect();
    for service in of_kind(&docs, "Service") {
        for port in service["spec"]["ports"].as_array().expect("ports") {
            let target = port["targetPort"].as_str().expect("by name");
            assert!(names.iter().any(|n| n == target), "no container port {target}");
        }
    }
    for probe in [&container.startup_probe, &container.readiness_probe, &container.liveness_probe] {
        assert!(probe.as_ref().is_some_and(|p| p.http_get.is_some()), "a probe is missing");
    }
    let grace =
        container.args.iter().flatten().find_map(|a| a.strip_prefix("--shutdown.grace=")?.strip_suffix('s'));
    let grace: i64 = grace.expect("--shutdown.grace in seconds").parse().expect("a number");
    let sleep = container
        .lifecycle
        .as_ref()
        .and_then(|l| l.pre_stop.as_ref()?.sleep.as_ref())
        .expect("preStop")
        .seconds;
    // What a stop takes beyond the grace, as the flag's help says.
    let beyond = 7;
    assert!(sleep + grace + beyond < pod.termination_grace_period_seconds.expect("a grace period"));
    let user = pod.security_context.as_ref().and_then(|c| c.run_as_user);
    assert_eq!(user, Some(65532));
}
