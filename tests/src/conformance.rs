//! Finds the conformance data: `CAIRN_CONFORMANCE`, else `../shared/conformance` beside the workspace root.
//!
//! Missing data is a skip that says so, and a failure when `CI` is set, so that nothing passes unseen.

use std::io::Write;
use std::path::{Path, PathBuf};

/// The path of `part` (for instance `prometheus-block`) in the conformance data. `None` when it is not there, after
/// a line that `cargo xtask test` counts as a skip; the test then returns.
///
/// # Panics
/// When it is not there and `CI` is set, or `CAIRN_CONFORMANCE` names a folder that does not hold it.
pub fn conformance(part: &str) -> Option<PathBuf> {
    let (dir, asked_for) = match std::env::var_os("CAIRN_CONFORMANCE") {
        Some(dir) => (PathBuf::from(dir), true),
        None => (Path::new(env!("CARGO_MANIFEST_DIR")).join("../../shared/conformance"), false),
    };
    let path = dir.join(part);
    if path.exists() {
        return Some(path);
    }
    let missing = format!("no conformance data at {}: set CAIRN_CONFORMANCE to its folder", path.display());
    assert!(!asked_for && std::env::var_os("CI").is_none(), "{missing}");
    // Straight to stderr: the test runner swallows what a passing test prints with the macros.
    let _ = writeln!(std::io::stderr(), "cairn-skip: {part}: {missing}");
    None
}
