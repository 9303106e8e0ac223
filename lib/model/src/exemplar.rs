//! Exemplars: one traced measurement beside the samples of a series.

use crate::labels::Labels;
use crate::sample::TimestampMs;

/// Longest label set of an exemplar, in characters of names and values together (OpenMetrics).
pub const MAX_EXEMPLAR_LABEL_CHARS: usize = 128;

/// An exemplar as stored and served.
#[derive(Debug, Clone, PartialEq)]
pub struct Exemplar {
    /// Labels of the exemplar itself, for instance the trace id.
    pub labels: Labels,
    /// The measured value.
    pub value: f64,
    /// When it was measured.
    pub t_ms: TimestampMs,
}
