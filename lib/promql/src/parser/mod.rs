//! From the text of an expression to its checked syntax tree, and back.
//!
//! In the order in which an expression meets the parts: [`ast`] (the tree), [`duration`] (durations and their
//! expressions), [`functions`] (the table), [`value_type`] (the types).

pub mod ast;
pub mod duration;
pub mod functions;
pub mod value_type;

pub use ast::Expr;
pub use functions::{FUNCTIONS, Function, function};
pub use value_type::ValueType;

/// Longest path from the root of a tree; bounds every recursion over one. Judgement: ten times the deepest
/// expression of published dashboards, and safe on a 2 MiB stack.
pub const MAX_DEPTH: usize = 1_000;

/// Longest query text. Judgement: a thousand times a long dashboard query.
pub const MAX_QUERY_BYTES: usize = 1 << 20;
