//! What must hold, one statement a file. Each takes what was seen and gives the [`Violation`] it finds.

pub mod acked_is_readable;
pub mod nothing_invented;
pub mod status_contract;
pub mod tokens_grow;

use std::fmt;

/// A broken invariant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// Which.
    pub invariant: &'static str,
    /// What was seen, and when.
    pub what: String,
}

impl Violation {
    /// A finding against `invariant`.
    pub fn new(invariant: &'static str, what: impl Into<String>) -> Self {
        Violation { invariant, what: what.into() }
    }
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} does not hold: {}", self.invariant, self.what)
    }
}
