//! The same seed gives the same trace.

use std::time::Duration;

use cairn_sim::{Report, Settings, run};

/// Simulated time of the runs here; `cargo xtask sim` runs longer ones.
const SHORT: Duration = Duration::from_secs(1500);

fn short(seed: u64) -> Settings {
    Settings { safety: SHORT, ..Settings::of_seed(seed) }
}

fn held(settings: &Settings) -> Report {
    run(settings).unwrap_or_else(|failure| panic!("{failure}"))
}

#[test]
fn the_same_seed_gives_the_same_trace_and_another_seed_another() {
    let first = held(&short(1));
    assert_eq!(held(&short(1)), first, "two runs of one seed");
    assert!(first.events > 100, "{first:?}");
    assert_ne!(held(&short(2)).trace, first.trace, "runs of two seeds");
}
