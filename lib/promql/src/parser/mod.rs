//! From the text of an expression to its checked syntax tree, and back.
//!
//! In the order in which an expression meets the parts: [`token`] and [`lexer`] (words), [`syntax`] with its
//! three grammar files (tree), [`check`] (types), [`ast`] (what comes out), then [`print`] and [`prettify`] (text
//! again) and [`json`] (for the UI's tree view). Beside them [`duration`], [`functions`], [`value_type`],
//! [`literal`], [`error`] and [`regex_error`].
//!
//! Invariant: parsing takes time and memory linear in the text, and never panics; every tree is bounded by
//! [`MAX_DEPTH`]. Errors have Prometheus' words and positions.

pub mod ast;
mod check;
pub mod duration;
mod duration_syntax;
mod error;
mod expression;
pub mod functions;
mod fuzz;
mod json;
mod lexer;
mod literal;
mod prettify;
pub(crate) mod print;
mod regex_error;
mod selector;
mod syntax;
mod token;
pub mod value_type;

pub use ast::Expr;
pub use error::ParseError;
pub use functions::{FUNCTIONS, Function, function};
pub use fuzz::fuzz_parser;
pub use json::{UnrepresentableNumber, to_json};
pub use literal::{parse_number, unquote};
pub use prettify::prettify;
pub use print::PlainFloat;
pub use syntax::{label_set, parse, parse_selector};
pub use value_type::ValueType;

/// Longest path from the root of a tree; bounds every recursion over one. Judgement: ten times the deepest
/// expression of published dashboards, and safe on a 2 MiB stack.
pub const MAX_DEPTH: usize = 1_000;

/// Longest query text. Judgement: a thousand times a long dashboard query.
pub const MAX_QUERY_BYTES: usize = 1 << 20;

/// Most operands and signs in one duration; bounds recursion over it. Judgement: nobody writes twenty.
pub const MAX_DURATION_TERMS: usize = 500;

/// Experimental parts of the language that are allowed. Off by default, as in Prometheus, whose feature flags
/// are named at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Features {
    /// `promql-experimental-functions`: functions marked experimental, `limitk` and `limit_ratio`.
    pub experimental_functions: bool,
    /// `promql-extended-range-selectors`: `anchored` and `smoothed`.
    pub extended_range_selectors: bool,
    /// `promql-binop-fill-modifiers`: `fill`, `fill_left`, `fill_right`.
    pub binop_fill_modifiers: bool,
}

impl Features {
    /// Everything.
    pub fn all() -> Self {
        Features { experimental_functions: true, extended_range_selectors: true, binop_fill_modifiers: true }
    }
}
