//! Object-store layout as Thanos': configuration, commit records, shipping, fetching, marks.
//!
//! In the order in which data meets them: [`config`] and [`mod@open`] give a [`Bucket`]; [`commit`] puts finished
//! blocks in, exactly once; [`ship`] does so for closed windows; [`fetch`] lists what is there, [`marks`] says what
//! may not be done with it, and [`clean`] removes what nobody needs.
//! [`layout`] names all objects; [`fault`] breaks a store on purpose, for tests and simulation.
//!
//! Invariant: what is in the bucket is readable by Thanos, and nothing is deleted that a commit record still needs.
//! Formats: docs/formats/bucket.md.

pub mod bucket;
pub mod clean;
pub mod commit;
pub mod config;
pub mod digest;
pub mod error;
pub mod fault;
pub mod fetch;
pub mod layout;
pub mod marks;
pub mod open;
pub mod ship;

pub use bucket::{Bucket, BucketSettings, Created, fresh_ulid};
pub use commit::{BlockSource, Committed, Committer, Job, SourceFile};
pub use config::BucketConfig;
pub use error::{BucketError, Result};
pub use fetch::{BucketView, FetchedBlock, Fetcher};
pub use open::{connect, open};
pub use ship::{Ship, Shipper};
