//! What is wrong with an expression, where, in Prometheus' words.

use std::fmt;

use super::ast::{Position, Span};

/// The first error of an expression. Prints as `1:4: parse error: unexpected end of input inside braces`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParseError {
    /// The text at fault.
    pub span: Span,
    /// Line and column of its start; none in an empty query.
    pub position: Option<Position>,
    /// What is wrong.
    pub message: String,
}

impl ParseError {
    /// An error at `span` of `query`. O(query).
    pub fn new(query: &str, span: Span, message: impl Into<String>) -> Self {
        let position = (!query.is_empty()).then(|| span.position(query));
        ParseError { span, position, message: message.into() }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.position {
            Some(position) => write!(f, "{position}: parse error: {}", self.message),
            None => write!(f, "unknown position: parse error: {}", self.message),
        }
    }
}

impl std::error::Error for ParseError {}
