//! The open histogram chunk of a series.
//!
//! Histograms go to their chunk at once: there is no raw tail, since one sample is as large as a tail of floats.
//!
//! Invariant: the chunk lies in one window, and its cuts are Prometheus' (docs/formats/block.md).

use cairn_model::{Encoding, TimestampMs, Value};

use super::series::WindowNo;
use crate::chunkenc::histogram::Appended;
use crate::chunkenc::histogram::{FloatCounts, IntCounts};
use crate::chunkenc::{CutRule, HistogramAppender, Malformed};

/// An open chunk of either kind.
#[derive(Debug)]
pub struct OpenHistogram {
    /// The window it lies in.
    pub window: WindowNo,
    /// Time of its first sample.
    pub min_ms: TimestampMs,
    /// Time of its last sample.
    pub max_ms: TimestampMs,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Int(Box<HistogramAppender<IntCounts>>),
    Float(Box<HistogramAppender<FloatCounts>>),
}

/// A chunk that was closed.
pub struct Closed {
    /// The window it lies in.
    pub window: WindowNo,
    /// First and last sample time.
    pub range: (TimestampMs, TimestampMs),
    /// Its encoding.
    pub encoding: Encoding,
    /// Its payload.
    pub bytes: Vec<u8>,
}

impl OpenHistogram {
    /// Begins a chunk; `None` when `value` is a float. `before` is the open chunk that it follows, if that is full.
    pub fn start(
        before: Option<&OpenHistogram>,
        window: WindowNo,
        t_ms: TimestampMs,
        value: &Value,
    ) -> Option<Self> {
        let kind = match value {
            Value::Float(_) => return None,
            Value::Histogram(h) => {
                let before = before.and_then(|b| if let Kind::Int(a) = &b.kind { Some(&**a) } else { None });
                Kind::Int(Box::new(HistogramAppender::start(before, t_ms, h)))
            }
            Value::FloatHistogram(h) => {
                let before =
                    before.and_then(|b| if let Kind::Float(a) = &b.kind { Some(&**a) } else { None });
                Kind::Float(Box::new(HistogramAppender::start(before, t_ms, h)))
            }
        };
        Some(OpenHistogram { window, min_ms: t_ms, max_ms: t_ms, kind })
    }

    /// Takes up a chunk that an earlier process had open; `None` when it is one of floats.
    ///
    /// # Errors
    /// [`Malformed`] when no appender wrote it.
    pub fn reopen(
        window: WindowNo,
        (min_ms, max_ms): (TimestampMs, TimestampMs),
        encoding: Encoding,
        bytes: &[u8],
    ) -> Result<Option<Self>, Malformed> {
        let kind = match encoding {
            Encoding::Histogram => Kind::Int(Box::new(HistogramAppender::reopen(bytes)?)),
            Encoding::FloatHistogram => Kind::Float(Box::new(HistogramAppender::reopen(bytes)?)),
            Encoding::Xor | Encoding::Xor2 => return Ok(None),
        };
        Ok(Some(OpenHistogram { window, min_ms, max_ms, kind }))
    }

    /// Whether the next sample belongs into a new chunk: because this one is full, or of another kind or window.
    pub fn is_done_for(&self, window: WindowNo, value: &Value) -> bool {
        let rule = CutRule::default();
        let (samples, bytes) = (self.samples(), self.bytes().len());
        let full =
            samples >= rule.max_samples || (bytes >= rule.histogram_bytes && samples >= rule.min_histograms);
        let same_kind = matches!(
            (&self.kind, value),
            (Kind::Int(_), Value::Histogram(_)) | (Kind::Float(_), Value::FloatHistogram(_))
        );
        full || !same_kind || window != self.window
    }

    /// Appends a sample of the same kind and window; gives the chunk that had to be closed for it.
    pub fn append(&mut self, t_ms: TimestampMs, value: &Value) -> Option<Closed> {
        let next = match (&mut self.kind, value) {
            (Kind::Int(a), Value::Histogram(h)) => match a.append(t_ms, h) {
                Appended::NewChunk(next) => Some(Kind::Int(next)),
                _ => None,
            },
            (Kind::Float(a), Value::FloatHistogram(h)) => match a.append(t_ms, h) {
                Appended::NewChunk(next) => Some(Kind::Float(next)),
                _ => None,
            },
            _ => unreachable!("is_done_for() sends other kinds to a new chunk"),
        };
        let closed = next.map(|kind| {
            let open = OpenHistogram { window: self.window, min_ms: t_ms, max_ms: t_ms, kind };
            std::mem::replace(self, open).close()
        });
        self.max_ms = t_ms;
        closed
    }

    /// Ends the chunk.
    pub fn close(self) -> Closed {
        let (window, range, encoding) = (self.window, (self.min_ms, self.max_ms), self.encoding());
        let bytes = match self.kind {
            Kind::Int(a) => a.into_bytes(),
            Kind::Float(a) => a.into_bytes(),
        };
        Closed { window, range, encoding, bytes }
    }

    /// The payload so far; a whole chunk.
    pub fn bytes(&self) -> &[u8] {
        match &self.kind {
            Kind::Int(a) => a.bytes(),
            Kind::Float(a) => a.bytes(),
        }
    }

    /// Its encoding.
    pub fn encoding(&self) -> Encoding {
        match &self.kind {
            Kind::Int(_) => Encoding::Histogram,
            Kind::Float(_) => Encoding::FloatHistogram,
        }
    }

    fn samples(&self) -> usize {
        match &self.kind {
            Kind::Int(a) => a.samples(),
            Kind::Float(a) => a.samples(),
        }
    }
}
