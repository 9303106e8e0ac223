//! Wire types of remote write, read by hand from borrowed bytes and written for tests and own traffic.
//!
//! In the order in which a request meets them: [`content`] reads `Content-Type` and `Content-Encoding`,
//! [`snappy`] checks the declared length and decompresses, [`v1`] and [`v2`] walk the two requests, [`datum`]
//! the samples inside a series, [`histogram`] builds a native histogram. [`encode`] writes both requests.
//! [`thanos`] holds the gRPC types that are generated from `protos/`.
//! [`wire`] is the protobuf reader below remote write, [`fuzz`] the entry points for bytes from anywhere.
//!
//! Invariant: reading borrows from the decompressed buffer and allocates nothing per series, label or float
//! sample; every length is checked against what is left; no input panics.
//!
//! Source: prometheus/prometheus `prompb/types.proto`, `remote.proto` and `io/prometheus/write/v2/types.proto`
//! (field numbers); protobuf encoding <https://protobuf.dev/programming-guides/encoding/>.

pub mod content;
pub mod datum;
pub mod encode;
pub mod error;
pub mod fuzz;
pub mod histogram;
pub mod snappy;
pub mod thanos;
pub mod v1;
pub mod v2;
pub mod wire;

pub use content::Version;
pub use datum::Datum;
pub use error::DecodeError;
