//! The language cases of Prometheus 3.14, run against the engine.
//!
//! `PROMQLTEST=FILE_PART` narrows to files whose name contains it.

use cairn_promql::memory::MemoryEngine;
use cairn_promql::testlang::{Script, run};

#[test]
fn every_case_answers_as_prometheus_does() {
    let Some(folder) = cairn_tests::conformance::conformance("promqltest") else { return };
    let only = std::env::var("PROMQLTEST").unwrap_or_default();
    let mut files: Vec<_> = std::fs::read_dir(&folder)
        .expect("the conformance data has promqltest/")
        .map(|f| f.expect("a readable folder").path())
        .filter(|p| p.extension().is_some_and(|e| e == "test") && p.to_string_lossy().contains(&only))
        .collect();
    files.sort();
    let (mut passed, mut failed) = (0, 0);
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a readable file");
        let name = file.file_name().expect("a file").to_string_lossy().into_owned();
        let script = Script::parse(&text).unwrap_or_else(|e| panic!("{name}: {e}"));
        let outcome = run(&script, &mut MemoryEngine::for_tests());
        passed += outcome.passed;
        failed += outcome.failures.len();
        for f in &outcome.failures {
            println!("{name}:{f}");
        }
    }
    println!("{passed} passed, {failed} failed");
    assert_eq!(failed, 0);
    assert!(!only.is_empty() || passed == 1112, "{passed} passed: the corpus has 1112 cases");
}
