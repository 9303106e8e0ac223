//! cairn's parser beside `promql-parser`, an implementation by others of an older PromQL: a differential oracle.
//!
//! Parts in the order an expression meets them: [`cairn`] and [`oracle`] read it, each into a [`tree::Tree`], which
//! holds what the two kinds of trees have in common; [`verdict`] compares them; [`gaps`] holds what the oracle does not
//! know, refuses wrongly or reads otherwise, each with an expression that shows it.
//!
//! Invariant: a difference is an error unless a gap of that very kind names it, and a gap that its own expression no
//! longer shows is an error too. What Prometheus itself makes of an expression is `lib/promql/testdata/parser`.

pub mod cairn;
pub mod gaps;
pub mod oracle;
pub mod tree;
pub mod verdict;
