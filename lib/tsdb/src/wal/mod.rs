//! The write-ahead log: what makes a sample durable before it is acknowledged.
//!
//! In the order in which data meets them: [`record`] turns a request's columns into bytes ([`columns`],
//! [`histogram`] below it), [`pack`] compresses
//! them, [`frame`] puts a checked header before them, [`log`] collects what concurrent requests
//! submit, [`writer`] writes and syncs it in groups into [`segment`] files, and [`replay`] reads it all back.
//!
//! Invariants: an acknowledged record is in a segment below its synced length; a file whose write or sync failed is
//! never written again; damage costs the frames it hits and nothing else.
//! Layout: docs/formats/wal.md. Decision: docs/adr/0001-write-ahead-log.md.

pub mod columns;
pub mod frame;
pub mod histogram;
pub mod log;
pub mod pack;
pub mod record;
pub mod replay;
pub mod segment;
pub mod writer;

pub use log::{CommitError, Log, LogOptions, SyncMode};
pub use record::{BatchRecord, Control, ControlKind};
