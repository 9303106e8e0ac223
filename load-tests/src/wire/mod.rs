//! Remote write on the wire: the two protobuf messages, snappy, and the HTTP headers that announce them.
//!
//! Written by hand against the published messages, apart from cairn's own reader, so that a mistake in one of them
//! shows. Parts in order: `protobuf` (varints and lengths) → `v1`, `v2` (messages) → [`Encoder`] (message + snappy).
//! Source: Prometheus remote write specifications 1.0 and 2.0.

mod protobuf;
mod v1;
mod v2;

use anyhow::{Context, Result};
pub use protobuf::put_varint;

use crate::fleet::Fleet;
use crate::target::Target;

/// Version of remote write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Proto {
    /// `prometheus.WriteRequest`.
    V1,
    /// `io.prometheus.write.v2.Request`.
    V2,
}

impl Proto {
    /// The `Content-Type` header's value.
    fn content_type(self) -> &'static str {
        match self {
            Self::V1 => "application/x-protobuf",
            Self::V2 => "application/x-protobuf;proto=io.prometheus.write.v2.Request",
        }
    }

    /// The `X-Prometheus-Remote-Write-Version` header's value.
    fn version(self) -> &'static str {
        match self {
            Self::V1 => "0.1.0",
            Self::V2 => "2.0.0",
        }
    }
}

/// Encodes requests; keeps its buffers from one to the next.
pub struct Encoder {
    proto: Proto,
    raw: Vec<u8>,
    v2: v2::Scratch,
    snappy: snap::raw::Encoder,
    compressed: Vec<u8>,
}

/// One encoded request as it goes into the body.
pub struct Encoded<'a> {
    /// Bytes of the protobuf message.
    pub raw_bytes: usize,
    /// The snappy block.
    pub body: &'a [u8],
}

impl Encoder {
    /// An encoder for one version.
    pub fn new(proto: Proto) -> Self {
        let (raw, compressed) = (Vec::new(), Vec::new());
        Self { proto, raw, v2: v2::Scratch::default(), snappy: snap::raw::Encoder::new(), compressed }
    }

    /// The present samples of the given series as one request.
    ///
    /// # Errors
    /// When the message is larger than snappy's block format can say (4 GiB).
    pub fn encode(&mut self, fleet: &Fleet, series: &[u32]) -> Result<Encoded<'_>> {
        self.raw.clear();
        match self.proto {
            Proto::V1 => v1::encode(fleet, series, &mut self.raw),
            Proto::V2 => v2::encode(fleet, series, &mut self.v2, &mut self.raw),
        }
        self.compressed.resize(snap::raw::max_compress_len(self.raw.len()), 0);
        let length = self.snappy.compress(&self.raw, &mut self.compressed).with_context(|| {
            format!("cannot compress a request of {} B: send fewer samples a request", self.raw.len())
        })?;
        Ok(Encoded { raw_bytes: self.raw.len(), body: &self.compressed[..length] })
    }
}

/// A series with any labels, sorted by name, and its samples as (value, timestamp in ms).
pub type SeriesSamples = (Vec<(String, String)>, Vec<(f64, i64)>);

/// Any series as the snappy body of a remote-write 1.0 request.
///
/// # Errors
/// When the message is larger than snappy's block format can say (4 GiB).
pub fn encode_series(series: &[SeriesSamples]) -> Result<Vec<u8>> {
    let mut raw = Vec::new();
    for (labels, samples) in series {
        v1::put_series(labels, samples, &mut raw);
    }
    snap::raw::Encoder::new().compress_vec(&raw).context("cannot compress a request")
}

/// The head of a request up to the number of `Content-Length`.
pub fn request_head(target: &Target, proto: Proto, tenant: Option<&str>) -> String {
    let tenant = tenant.map(|t| format!("THANOS-TENANT: {t}\r\n")).unwrap_or_default();
    format!(
        "POST {} HTTP/1.1\r\nHost: {}\r\nUser-Agent: cairn-load-tests\r\nContent-Encoding: snappy\r\n\
         Content-Type: {}\r\nX-Prometheus-Remote-Write-Version: {}\r\n{tenant}Content-Length: ",
        target.path,
        target.authority,
        proto.content_type(),
        proto.version(),
    )
}

/// Mean bytes of a series' labels in version 1, over the whole fleet.
pub fn mean_label_bytes(fleet: &Fleet) -> f64 {
    let series = u32::try_from(fleet.len()).unwrap_or(u32::MAX);
    let total: usize = (0..series).map(|s| v1::labels_len(fleet, s)).sum();
    total as f64 / f64::from(series.max(1))
}

#[cfg(test)]
mod tests;
