//! The main job with real programs: Prometheus of today and of yesterday send, cairn keeps, evaluates, ships and
//! answers, Alertmanager is told, and what was acknowledged survives SIGKILL.
//!
//! Peers come from `cargo xtask peers`; one that is missing skips its test with a counted line, or fails it when
//! `CI` is set.
#![allow(clippy::disallowed_methods)] // drives real processes, files and clocks; no part of the product

mod answers;
mod bad_input;
mod bucket_alone;
mod bucket_away;
mod crash;
mod damage;
mod http;
mod limits;
#[path = "../../../xtask/src/peers/locate.rs"]
mod locate;
mod monitoring;
mod process;
mod tools;

use std::path::PathBuf;

/// The binary of a pinned peer (`prometheus-2.42/prometheus`), or a counted skip.
fn peer(test: &str, binary: &str) -> Option<PathBuf> {
    match locate::find(binary) {
        Ok(path) => Some(path),
        Err(e) => {
            skip(test, &e);
            None
        }
    }
}

/// A skip that `cargo xtask test` counts; where `CI` is set every test must run, so there it is a failure.
fn skip(test: &str, reason: &str) {
    assert!(std::env::var_os("CI").is_none(), "{test}: {reason}");
    // Straight to stderr: the test runner swallows what a passing test prints with the macros.
    let _ = std::io::Write::write_fmt(&mut std::io::stderr(), format_args!("cairn-skip: {test}: {reason}\n"));
}

/// Seconds since the epoch.
fn now() -> f64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).expect("after 1970").as_secs_f64()
}
