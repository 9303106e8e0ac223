//! Where the expressions come from.
#![allow(clippy::disallowed_methods, reason = "reads conformance data")]

use std::path::{Path, PathBuf};

use cairn_promql::testlang::{Command, Script};
use cairn_tests::templates::{expand, of_suite};
use serde_json::Value;

/// The golden data of cairn's parser: what Prometheus 3.14 accepts and refuses.
const GOLDEN: &str = include_str!("../../../../lib/promql/testdata/parser/prometheus-3.14.jsonl");

/// The expression of every `eval` line.
pub fn language_tests(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).expect("conformance data is readable");
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.expect("an entry").path()).collect();
    files.sort();
    let mut found = Vec::new();
    for file in files {
        let script = Script::parse(&read(&file)).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
        found.extend(script.commands.into_iter().filter_map(|command| match command {
            Command::Eval(eval) => Some(eval.query),
            Command::Clear | Command::Load(_) => None,
        }));
    }
    found
}

/// Every query that the templates stand for.
pub fn compliance_suite(file: &Path) -> Vec<String> {
    of_suite(&read(file)).iter().flat_map(|template| expand(template)).collect()
}

/// Every expression of the golden data.
pub fn golden() -> Vec<String> {
    let query = |line: &str| {
        let case: Value = serde_json::from_str(line).expect("golden lines are JSON");
        case["query"].as_str().expect("a case has a query").to_owned()
    };
    GOLDEN.lines().map(query).collect()
}

fn read(file: &Path) -> String {
    std::fs::read_to_string(file).expect("conformance data is readable")
}
