//! The decision where the next histogram sample goes: into the open chunk, into it after one of the two was
//! widened, or into a new chunk. Pure; the rules are Prometheus', because a reader trusts that there is no counter
//! reset inside a chunk.

use cairn_model::histogram::CUSTOM_BUCKETS_SCHEMA;
use cairn_model::{CounterResetHint, Span, is_stale};

use super::ResetHeader;
use super::counts::{Counts, Plain};
use super::layout::Layout;
use super::spans::{Difference, compare_counters, compare_sets, union};

/// What an open chunk is, as far as the next sample is concerned.
#[derive(Debug)]
pub struct Open<'a, C: Counts> {
    /// Its header.
    pub header: ResetHeader,
    /// Its layout.
    pub layout: &'a Layout,
    /// Its last sample.
    pub last: &'a Plain<C>,
}

/// Where a sample goes.
#[derive(Debug, Clone, PartialEq)]
pub enum Fit {
    /// Into the open chunk; the sample takes the layout `spans` if there is one, and when `recode` is set the
    /// chunk does too.
    Append {
        /// Positive and negative spans, when they are not the sample's own and equal to the chunk's.
        spans: Option<(Vec<Span>, Vec<Span>)>,
        /// Whether the chunk must be written again in the sample's layout.
        recode: bool,
    },
    /// Into a new chunk with this header.
    NewChunk(ResetHeader),
}

/// Decides for any sample.
pub fn fit<C: Counts>(open: &Open<'_, C>, hint: CounterResetHint, layout: &Layout, sample: &Plain<C>) -> Fit {
    if hint == CounterResetHint::Gauge {
        return fit_gauge(open, layout, sample);
    }
    match fit_counter(open, hint, layout, sample) {
        Ok(fit) => fit,
        Err(verdict) => Fit::NewChunk(C::header_of_cut(verdict)),
    }
}

/// The header of a chunk that begins with a sample although the chunk before was not refused but full: what the
/// sample says of a reset against `before`.
pub fn header_after_full<C: Counts>(
    before: Option<&Open<'_, C>>,
    hint: CounterResetHint,
    layout: &Layout,
    sample: &Plain<C>,
) -> ResetHeader {
    match (hint, before) {
        (CounterResetHint::Gauge, _) => ResetHeader::Gauge,
        (CounterResetHint::Reset, _) => ResetHeader::Reset,
        (_, None) => ResetHeader::Unknown,
        (_, Some(before)) => {
            C::header_of_full(fit_counter(before, hint, layout, sample).err().unwrap_or(Verdict::NotReset))
        }
    }
}

/// What a refusal says of a counter reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// There was none.
    NotReset,
    /// There was one.
    Reset,
    /// Cannot be told without comparing layouts.
    Unknown,
}

/// Decides for a counter sample; `Err` asks for a new chunk.
fn fit_counter<C: Counts>(
    open: &Open<'_, C>,
    hint: CounterResetHint,
    layout: &Layout,
    sample: &Plain<C>,
) -> Result<Fit, Verdict> {
    if open.header == ResetHeader::Gauge {
        return Err(Verdict::NotReset);
    }
    if hint == CounterResetHint::Reset {
        return Err(Verdict::Reset);
    }
    if is_stale(sample.sum) {
        return Ok(Fit::Append { spans: None, recode: false });
    }
    if is_stale(open.last.sum) {
        return Err(Verdict::Unknown);
    }
    if sample.count < open.last.count {
        return Err(Verdict::Reset);
    }
    same_scale(open.layout, layout)?;
    if sample.zero_count < open.last.zero_count {
        return Err(Verdict::Reset);
    }
    let side = |chunk: &[Span], a: &[C::Bucket], own: &[Span], b: &[C::Bucket]| {
        compare_counters((chunk, a), (own, b)).ok_or(Verdict::Reset)
    };
    let positive = side(&open.layout.positive, &open.last.positive, &layout.positive, &sample.positive)?;
    let negative = side(&open.layout.negative, &open.last.negative, &layout.negative, &sample.negative)?;

    let recode = positive.chunk_lacks || negative.chunk_lacks;
    let widen_sample = positive.sample_lacks || negative.sample_lacks;
    let spans = match (widen_sample, recode) {
        (true, false) => Some((open.layout.positive.clone(), open.layout.negative.clone())),
        (true, true) => Some((
            widened(positive, &open.layout.positive, &layout.positive),
            widened(negative, &open.layout.negative, &layout.negative),
        )),
        (false, _) => None,
    };
    Ok(Fit::Append { spans, recode })
}

/// The sample's spans, joined with the chunk's only where the sample lacks buckets.
fn widened(difference: Difference, chunk: &[Span], own: &[Span]) -> Vec<Span> {
    if difference.sample_lacks { union(chunk, own) } else { own.to_vec() }
}

fn fit_gauge<C: Counts>(open: &Open<'_, C>, layout: &Layout, sample: &Plain<C>) -> Fit {
    if open.header != ResetHeader::Gauge {
        return Fit::NewChunk(ResetHeader::Gauge);
    }
    if is_stale(sample.sum) {
        return Fit::Append { spans: None, recode: false };
    }
    if is_stale(open.last.sum) || same_scale(open.layout, layout).is_err() {
        return Fit::NewChunk(ResetHeader::Gauge);
    }
    let positive = compare_sets(&open.layout.positive, &layout.positive);
    let negative = compare_sets(&open.layout.negative, &layout.negative);
    let spans = (positive.sample_lacks || negative.sample_lacks).then(|| {
        (union(&open.layout.positive, &layout.positive), union(&open.layout.negative, &layout.negative))
    });
    Fit::Append { spans, recode: positive.chunk_lacks || negative.chunk_lacks }
}

/// Whether bucket indexes mean the same in both layouts.
fn same_scale(chunk: &Layout, sample: &Layout) -> Result<(), Verdict> {
    if chunk.schema != sample.schema || chunk.zero_threshold != sample.zero_threshold {
        return Err(Verdict::Unknown);
    }
    if sample.schema == CUSTOM_BUCKETS_SCHEMA && chunk.custom_values != sample.custom_values {
        return Err(Verdict::Reset);
    }
    Ok(())
}
