//! Remote-write receiver: from an HTTP body to samples that are durable, or to an answer that says why not.
//!
//! The way of a request: [`http`] checks its head and makes the answer; [`write`] takes it through its steps;
//! [`admission`] bounds its memory, [`buffers`] and [`scratch`] use it again; [`fill`] turns bytes into one batch, with [`identity`] ([`wire_keys`], [`slots`]) to
//! know series without reading their labels, [`canonical`] for the label rules and [`judge`] for time and
//! histograms; [`rate`], [`limits`], [`size`] and [`tenants`] are per tenant; [`verdict`] collects what is refused,
//! [`journal`] keeps the last of it, [`quarantine`] the bodies that are our fault. [`receiver`] holds it all
//! together, [`config`] what can be set, [`metrics`] what is counted.
//!
//! Invariant: a 2xx or 400 means that every sample that is not named as refused is durable; any other answer
//! may be repeated freely.

pub mod admission;
pub mod buffers;
pub mod canonical;
pub mod config;
pub mod fill;
pub mod http;
pub mod identity;
pub mod journal;
pub mod judge;
pub mod limits;
pub mod metrics;
pub mod quarantine;
pub mod rate;
pub mod receiver;
pub mod scratch;
pub mod size;
pub mod slots;
pub mod tenants;
pub mod verdict;
pub mod wire_keys;
pub mod write;

pub use config::ReceiverConfig;
pub use limits::{Limits, LimitsBook, TenantLimits};
pub use receiver::Receiver;
