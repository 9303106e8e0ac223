//! The values every layer speaks, and the traits that join the layers.
//!
//! In the order in which data meets them: [`tenant`] names whose data it is, [`per_tenant`] what differs
//! between them, [`labels`] identify a series,
//! [`sample`] and [`histogram`] are what it holds, [`batch`] carries a write request, [`chunk`] is data at rest
//! and in flight to a reader, [`matcher`] selects series, and [`storage`] is the seam between those who keep
//! data and those who read or write it, with [`read_bounds`], [`name_set`] and [`cancel`] for what an answer may cost.
//! [`rules`] is the seam between who evaluates rules and who lists them.
//!
//! Invariant: nothing here does I/O, reads a clock or knows a wire format.

pub mod batch;
pub mod calendar;
pub mod cancel;
pub mod chunk;
pub mod datetime;
pub mod exemplar;
pub mod external;
pub mod go_float;
pub mod go_regex;
pub mod histogram;
pub mod kahan;
pub mod labels;
pub mod matcher;
pub mod memory_share;
pub mod metadata;
pub mod name_set;
pub mod number;
pub mod per_tenant;
pub mod read_bounds;
pub mod rules;
pub mod sample;
pub mod storage;
pub mod tenant;

pub use batch::WriteBatch;
pub use cancel::{Cancel, CancelOnDrop};
pub use chunk::{AggrChunk, Chunk, ChunkData, Encoding};
pub use histogram::{CounterResetHint, FloatHistogram, Histogram, Span};
pub use labels::{Labels, LabelsBuilder, LabelsRef};
pub use matcher::{MatchOp, Matcher};
pub use name_set::NameSet;
pub use per_tenant::PerTenant;
pub use read_bounds::ReadBounds;
pub use sample::{STALE_NAN_BITS, TimestampMs, Value, is_stale};
pub use tenant::TenantId;
