//! `/api/v1/rules`, `/api/v1/alerts` and `/api/v1/alertmanagers` as Prometheus answers them, with Thanos' fields.
//!
//! [`params`] reads what was asked, [`select`] picks from the groups, [`json`] is the shape of the answer, `router`
//! serves them. All but the router is pure, so that other front ends can use it. `source` gives the same state to
//! who lists rules in another form.

pub mod json;
pub mod params;
mod router;
pub mod select;
mod source;

pub use router::router;

#[cfg(test)]
mod tests;
