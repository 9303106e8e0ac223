//! Writing histogram chunks.

use cairn_model::{TimestampMs, is_stale};

use super::super::Malformed;
use super::super::bits::BitWriter;
use super::super::varbit::write_int;
use super::ResetHeader;
use super::counts::{Counts, Plain};
use super::decode::{HistogramReader, ReadCounts};
use super::fit::{Fit, Open, fit, header_after_full};
use super::layout::Layout;
use super::spans::{bucket_count, widen};

/// An open chunk of histograms of one kind.
#[derive(Debug, Clone)]
pub struct HistogramAppender<C: Counts> {
    bytes: Vec<u8>,
    free_bits: u32,
    samples: u16,
    header: ResetHeader,
    layout: Layout,
    last: Plain<C>,
    t: TimestampMs,
    t_delta: i64,
    counts: C,
}

/// What became of a sample.
#[derive(Debug)]
pub enum Appended<C: Counts> {
    /// It is in the chunk.
    InPlace,
    /// It is in the chunk, which was written anew with a wider layout.
    Recoded,
    /// It could not go into this chunk, which is closed now, and begins the one given.
    NewChunk(Box<HistogramAppender<C>>),
}

impl<C: ReadCounts> HistogramAppender<C> {
    /// Begins a chunk with `sample` because the one before, if any, was full.
    ///
    /// # Panics
    /// When spans and buckets of `sample` disagree: callers validate.
    pub fn start(before: Option<&HistogramAppender<C>>, t_ms: TimestampMs, sample: &C::Sample) -> Self {
        let (layout, plain) = (C::layout(sample), C::plain(sample));
        let header = header_after_full(before.map(Self::open).as_ref(), C::hint(sample), &layout, &plain);
        Self::with_first(header, t_ms, layout, plain)
    }

    /// Takes up a chunk that an appender wrote, by decoding it.
    ///
    /// # Errors
    /// [`Malformed`] when `chunk` is not a whole chunk of this kind with a sample, or its layout breaks a rule that
    /// appenders keep.
    pub fn reopen(chunk: &[u8]) -> Result<Self, Malformed> {
        let mut reader = HistogramReader::<C>::new(chunk)?;
        let header = reader.header();
        let mut open: Option<Self> = None;
        while let Some((t, mut plain)) = reader.read_plain()? {
            if is_stale(plain.sum) {
                // The reader keeps the numbers before it; the appender went on from nothing but the marker.
                plain = Plain { sum: plain.sum, ..Plain::default() };
            }
            match &mut open {
                None => open = Some(Self::with_first(header, t, reader.layout().clone(), plain)),
                Some(open) => open.write(t, plain),
            }
        }
        let open = open.ok_or(Malformed { what: "an open chunk without samples", at: 0 })?;
        // An appender goes on where this one ended only if it would have written the same.
        if open.bytes != chunk {
            return Err(Malformed { what: "a chunk that no appender writes", at: 0 });
        }
        Ok(open)
    }

    /// Appends `sample`, or begins a new chunk with it where the rules of [`super::fit`] want one.
    ///
    /// # Panics
    /// When spans and buckets of `sample` disagree, or the chunk would exceed 65,535 samples: callers validate
    /// and cut.
    pub fn append(&mut self, t_ms: TimestampMs, sample: &C::Sample) -> Appended<C> {
        let (layout, mut plain) = (C::layout(sample), C::plain(sample));
        check_buckets(&layout, &plain);
        let (spans, recode) = match fit(&self.open(), C::hint(sample), &layout, &plain) {
            Fit::NewChunk(header) => {
                return Appended::NewChunk(Box::new(Self::with_first(header, t_ms, layout, plain)));
            }
            Fit::Append { spans, recode } => (spans, recode),
        };
        let mut target = layout;
        if let Some((positive, negative)) = spans {
            plain.positive = widen(&target.positive, &plain.positive, &positive);
            plain.negative = widen(&target.negative, &plain.negative, &negative);
            (target.positive, target.negative) = (positive, negative);
        }
        if recode {
            self.recode(&target);
        }
        self.write(t_ms, plain);
        if recode { Appended::Recoded } else { Appended::InPlace }
    }

    /// The chunk's payload so far; a whole chunk.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Closes the chunk.
    pub fn into_bytes(self) -> Vec<u8> {
        self.bytes
    }

    /// How many samples the chunk has.
    pub fn samples(&self) -> usize {
        usize::from(self.samples)
    }

    /// Time of the last sample.
    pub fn last_ms(&self) -> TimestampMs {
        self.t
    }

    /// The chunk's header.
    pub fn header(&self) -> ResetHeader {
        self.header
    }

    fn open(&self) -> Open<'_, C> {
        Open { header: self.header, layout: &self.layout, last: &self.last }
    }

    fn with_first(header: ResetHeader, t_ms: TimestampMs, layout: Layout, first: Plain<C>) -> Self {
        check_buckets(&layout, &first);
        let mut bytes = Vec::with_capacity(128);
        bytes.extend_from_slice(&[0, 1, header as u8]);
        let mut counts = C::default();
        let mut w = BitWriter::new(&mut bytes);
        layout.write(&mut w);
        write_int(&mut w, t_ms);
        counts.write_first(&mut w, &first);
        let free_bits = w.finish();
        HistogramAppender {
            bytes,
            free_bits,
            samples: 1,
            header,
            layout,
            last: first,
            t: t_ms,
            t_delta: 0,
            counts,
        }
    }

    fn write(&mut self, t_ms: TimestampMs, next: Plain<C>) {
        let total =
            self.samples.checked_add(1).expect("a chunk holds at most 65,535 samples: callers cut far below");
        let mut w = BitWriter::resume(&mut self.bytes, self.free_bits);
        let delta = t_ms.wrapping_sub(self.t);
        write_int(&mut w, delta.wrapping_sub(self.t_delta));
        self.counts.write_next(&mut w, &self.last, &next);
        self.free_bits = w.finish();
        self.bytes[..2].copy_from_slice(&total.to_be_bytes());
        (self.samples, self.t, self.t_delta, self.last) = (total, t_ms, delta, next);
    }

    /// Writes the chunk anew with the spans of the wider layout `target`.
    fn recode(&mut self, target: &Layout) {
        let layout = Layout {
            positive: target.positive.clone(),
            negative: target.negative.clone(),
            ..self.layout.clone()
        };
        let mut reader =
            HistogramReader::<C>::new(&self.bytes).expect("an appender's own bytes have a whole header");
        let mut wide: Option<Self> = None;
        while let Some((t, mut plain)) =
            reader.read_plain().expect("an appender's own bytes are a whole chunk")
        {
            debug_assert!(!is_stale(plain.sum), "nothing but stale markers follows a stale marker");
            plain.positive = widen(&self.layout.positive, &plain.positive, &layout.positive);
            plain.negative = widen(&self.layout.negative, &plain.negative, &layout.negative);
            match &mut wide {
                None => wide = Some(Self::with_first(self.header, t, layout.clone(), plain)),
                Some(chunk) => chunk.write(t, plain),
            }
        }
        *self = wide.expect("an open chunk has at least one sample");
    }
}

fn check_buckets<C: Counts>(layout: &Layout, plain: &Plain<C>) {
    for (spans, buckets) in [(&layout.positive, &plain.positive), (&layout.negative, &plain.negative)] {
        assert_eq!(
            bucket_count(spans),
            buckets.len(),
            "spans and buckets of a histogram agree: see validate()"
        );
    }
}
