//! End to end with real programs: Prometheus, promtool, Alertmanager, whole processes killed.
//!
//! The library holds what tests of several crates share: [`conformance`] finds the golden data, [`templates`] writes the
//! queries of the compliance suite out. It depends on nothing, so that any crate may take it as a dev-dependency.

pub mod conformance;
pub mod templates;
