//! The head: the newest samples of all series, in memory.
//!
//! In the order in which data meets them: [`tenant`] is a name space with limits and windows ([`windows`] decides
//! when they close); [`state`] is the whole; a request is split over [`partition`]s, each with its own lock; a series' state is in
//! [`series`] ([`starts`], [`side`], [`histogram`] for what few series have); samples leave the raw tail for the
//! open chunk and full chunks ([`chunks`], [`full`]); [`pairs`] and [`postings`] are the label index, [`select`]
//! reads it, [`sorting`] orders what was selected, [`read`] gathers chunks and [`store`] answers the StoreApi; [`exemplars`] is a ring beside.
//! [`lifecycle`] lets windows and series go, [`frozen`] is a partition at rest. [`arena`] is the memory under all of it, [`order`] the rule for two values at one time.
//!
//! Invariants: the state is a join of all samples offered, so order and repeats make no difference; a partition's
//! lock is held for one request's share or one slice of a reader's series, never across a call that waits.

pub mod arena;
pub mod chains;
pub mod chunks;
pub mod exemplars;
pub mod frozen;
pub mod full;
pub mod histogram;
pub mod lifecycle;
pub mod order;
pub mod pairs;
pub mod partition;
pub mod postings;
pub mod read;
pub mod room;
pub mod select;
pub mod series;
pub mod side;
pub mod sorting;
pub mod starts;
pub mod state;
pub mod store;
pub mod tenant;
pub mod windows;

pub use room::MemoryBounds;
pub use state::{Head, HeadOptions, SeriesLimit};
pub use store::HeadStore;
