//! PromQL: parser with positions, planner, columnar engine. Knows no HTTP and no storage but the Queryable trait.
//!
//! In the order in which a query meets the parts: [`parser`] (text to checked tree).

pub mod parser;
