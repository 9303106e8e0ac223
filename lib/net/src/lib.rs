//! HTTP at the edge: connections, tenants, errors as statuses, health and metrics.
//!
//! In the order in which a request meets them: [`server`] accepts connections and drains them at shutdown,
//! [`guard`] closes those that stall, [`access`] counts requests and catches panics, [`tenant`] reads whose data
//! it is, [`body`] reads or throws away what the client sends, [`error`] is the one place where an error becomes
//! a status, [`health`] answers probes and `/metrics`.
//!
//! Invariant: whatever a client does, it holds one connection slot, bounded memory and bounded time.

pub mod access;
pub mod body;
pub mod error;
pub mod guard;
pub mod health;
pub mod server;
pub mod tenant;

pub use error::ApiError;
pub use health::{Gate, Readiness};
pub use server::{Bound, HttpStack, NetError, ServerConfig, Serving};
