//! What the ruler says of an alert.

use cairn_model::{Labels, TimestampMs};
use serde::{Deserialize, Serialize};

/// Whether an alert holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum AlertState {
    /// It holds. Unless it is told otherwise, an Alertmanager takes it for over this long after hearing of it.
    Firing {
        /// Milliseconds from sending to `endsAt`.
        valid_for_ms: i64,
    },
    /// It was over at this time.
    Resolved {
        /// When.
        at_ms: TimestampMs,
    },
}

/// The newest state of one alert. The labels, external ones included, are its identity.
#[derive(Debug, Clone, PartialEq)]
pub struct AlertUpdate {
    /// Identity.
    pub labels: Labels,
    /// Expanded annotations.
    pub annotations: Labels,
    /// When this episode of the alert began to fire.
    pub starts_at_ms: TimestampMs,
    /// Where the alert's expression can be looked at.
    pub generator_url: String,
    /// Whether it still holds.
    pub state: AlertState,
}
