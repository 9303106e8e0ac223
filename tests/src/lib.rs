//! End to end with real programs: Prometheus, promtool, Alertmanager, whole processes killed.
//!
//! The library holds what tests of several crates share: [`conformance`] finds the golden data. It depends on
//! nothing, so that any crate may take it as a dev-dependency.

pub mod conformance;
