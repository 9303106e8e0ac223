//! PromQL: parser with positions, planner, columnar engine. Knows no HTTP and no storage but the Queryable trait.
//!
//! In the order in which a query meets the parts: [`parser`] (text to checked tree), [`engine`] (plan, fetch,
//! evaluate) with [`functions`] (what is computed), [`value`] and [`annotations`] (what comes out). [`testlang`] runs
//! PromQL cases that are written as text.

pub mod annotations;
pub mod engine;
pub mod functions;
pub mod memory;
pub mod parser;
pub mod testlang;
pub mod value;

pub use engine::{Engine, EngineOptions, ErrorKind, QueryError, QueryOptions, QueryResult};
pub use value::QueryValue;
