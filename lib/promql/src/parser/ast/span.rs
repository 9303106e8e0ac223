//! Where a node stands in the query, in bytes and as people count.

use std::fmt;

/// A half-open range of bytes of the query, `start .. end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start .. end`.
    pub fn new(start: usize, end: usize) -> Self {
        // Queries are bounded far below 4 GiB by `MAX_QUERY_BYTES`.
        Span { start: start as u32, end: end as u32 }
    }

    /// The smallest range that contains both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The text of `query` at this range; empty when the range does not fit.
    pub fn text(self, query: &str) -> &str {
        query.get(self.start as usize..self.end as usize).unwrap_or("")
    }

    /// Line and column of the range's start in `query`.
    pub fn position(self, query: &str) -> Position {
        Position::of(query, self.start as usize)
    }
}

/// Line and column, both from 1; the column counts bytes, as Prometheus does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Byte within the line, from 1.
    pub column: u32,
}

impl Position {
    /// Where byte `offset` of `query` stands. O(offset).
    pub fn of(query: &str, offset: usize) -> Self {
        let before = &query.as_bytes()[..offset.min(query.len())];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let column = before.len() - before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1) + 1;
        Position { line: line as u32, column: column as u32 }
    }
}

/// `line:column`, as in Prometheus' errors and annotations.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}
