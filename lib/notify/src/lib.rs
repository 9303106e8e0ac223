//! Alerts on their way to Alertmanagers.
//!
//! The ruler hands in what it knows of each alert ([`Notifier::submit`]); every Alertmanager has an [`outbox`] of its
//! own that keeps one row an alert until that Alertmanager has accepted it; a sender per Alertmanager empties it in
//! batches (`sender`) over a `transport`; `persist` brings what was not delivered over a restart.
//!
//! Parts in the order an alert meets them: [`alert`] → [`outbox`] → `sender` → `wire` → `transport`.
//!
//! Invariant: an alert leaves an outbox only when its Alertmanager answered 2xx, refused that very alert, or a named
//! bound was hit (which is counted). An Alertmanager that is down delays nobody else's alerts.
//!
//! Source: Alertmanager's API v2 (<https://github.com/prometheus/alertmanager/blob/main/api/v2/openapi.yaml>).

pub mod alert;
mod metrics;
mod notifier;
pub mod outbox;
mod persist;
mod sender;
mod transport;
mod url;
mod wire;

pub use alert::{AlertState, AlertUpdate};
pub use notifier::{Notifier, NotifierOptions};
pub use transport::{HttpTransport, Transport, TransportError};
pub use url::{AlertmanagerUrl, InvalidUrl};
