//! From a decompressed request to a [`WriteBatch`]: recall or read each series, judge its samples, fill the
//! columns.
//!
//! A series that [`crate::identity`] recalls goes in by reference; any other is read label by label and goes in
//! with its labels. Samples that are refused never enter the batch. Damage ends the request, because what
//! follows it cannot be trusted; nothing has been stored by then.
//!
//! Memory: the batch is charged to the request's permit as it grows, so that a request that is small on the wire
//! and large in memory is refused before it is large.
//!
//! [`series_v1`] and [`series_v2`] know a series of their version; what they share is here.
//!
//! This is a hot file: a recalled series with one sample allocates nothing.

mod series_v1;
mod series_v2;

use std::ops::Range;
use std::sync::Arc;

use cairn_model::batch::{BatchSeries, HistogramSample, RejectReason};
use cairn_model::exemplar::Exemplar;
use cairn_model::metadata::{Metadata, MetricType};
use cairn_model::{TenantId, TimestampMs, WriteBatch};
use cairn_proto::datum::{Data, FloatSample, MetadataRefs};
use cairn_proto::histogram::HistogramBytes;
use cairn_proto::{Datum, DecodeError, Version, v1, v2};
use hashbrown::HashSet;

use crate::admission::{Overloaded, Permit};
use crate::canonical::{self, RawLabels};
use crate::identity::{Learned, NO_ENTRY, View};
use crate::judge::{self, TimeWindow};
use crate::limits::TenantLimits;
use crate::scratch::Scratch;
use crate::verdict::Verdicts;
use crate::wire_keys::WireKeys;
use series_v2::{Symbols, raw_v2};

/// Series between two looks at the memory that the batch takes.
const CHARGE_EVERY: usize = 256;
/// Bytes of a series in the batch, its entry, origin and hints together.
const SERIES_BYTES: usize = size_of::<BatchSeries>() + 16;
/// Bytes of a float sample: time, value, perhaps start.
const FLOAT_BYTES: usize = 24;
/// Bytes of a symbol: its range and its hash.
const SYMBOL_BYTES: usize = 24;

/// Series in a row that are known and were not predicted before a request counts as out of order: no prediction is
/// tried any more, and series are looked up a block at a time.
const OUT_OF_ORDER: u32 = 8;
/// Series that are looked up together. Judgement: more than the cache misses a core can have in flight gain nothing.
const BLOCK: usize = 16;

/// Under which rules a request is read.
#[derive(Clone)]
pub struct Rules {
    /// Whose request it is.
    pub tenant: TenantId,
    /// What the tenant may send.
    pub limits: Arc<TenantLimits>,
    /// Times that samples may have.
    pub window: TimeWindow,
    /// Names of external labels: an incoming label of such a name gives way.
    pub external: Arc<[String]>,
    /// Secrets of the wire keys.
    pub keys: Arc<WireKeys>,
}

/// A request as it is sent to the store.
pub struct Filled {
    /// What is to be stored.
    pub batch: WriteBatch,
    /// What is refused, and why.
    pub verdicts: Verdicts,
    /// How it went, and what to do when the store has answered.
    pub trail: Trail,
    /// What is left of the working memory.
    pub scratch: Scratch,
}

/// What must be known about a batch after the store has taken it.
#[derive(Debug, Default)]
pub struct Trail {
    /// The entry by which each series of the batch was recalled, or [`NO_ENTRY`].
    pub entries: Vec<u32>,
    /// Where the message of each series stands in the decompressed body.
    pub origins: Vec<Range<u32>>,
    /// Wire keys of the series that were not recalled; the store's reference is missing yet.
    pub new: Vec<Learned>,
    /// Metadata that goes with recalled series: entry, hash and fingerprint, as [`crate::identity`] wants them.
    pub described: Vec<(u32, u64, u32)>,
    /// Recalled by prediction.
    pub predicted: u64,
    /// Recalled from the table.
    pub found: u64,
    /// Samples offered, refused ones included.
    pub offered: u64,
    /// Incoming labels that gave way to external ones.
    pub overridden_labels: u64,
    /// Exemplars and metadata left out because the request had too many.
    pub left_out: u64,
}

impl Trail {
    /// Forgets everything and keeps the memory.
    pub fn clear(&mut self) {
        let Trail { mut entries, mut origins, mut new, mut described, .. } = std::mem::take(self);
        entries.clear();
        origins.clear();
        new.clear();
        described.clear();
        *self = Trail { entries, origins, new, described, ..Trail::default() };
    }

    /// Series for which there is memory.
    pub fn capacity(&self) -> usize {
        self.entries.capacity().max(self.origins.capacity()).max(self.new.capacity())
    }
}

/// Why a request cannot become a batch.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FillError {
    /// The bytes are no request.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// The batch does not fit into the budget.
    #[error(transparent)]
    Overloaded(#[from] Overloaded),
}

/// Reads `body` and fills a batch. With a `view` known series go in by reference.
///
/// # Errors
/// [`FillError`]; nothing is to be stored then.
pub fn fill(
    version: Version,
    body: &[u8],
    rules: &Rules,
    view: Option<View<'_>>,
    permit: &mut Permit,
    mut scratch: Scratch,
) -> Result<Filled, FillError> {
    let mut ranges = std::mem::take(&mut scratch.ranges);
    let mut symbols = Symbols { hashes: std::mem::take(&mut scratch.hashes) };
    let mut filler = Filler::new(body, rules, view, permit, &mut scratch);
    match version {
        Version::V1 => filler.all_v1()?,
        Version::V2 => filler.all_v2(&v2::Request::read(body, &mut ranges)?, &mut symbols)?,
    }
    let Filler { batch, verdicts, trail, .. } = filler;
    scratch.ranges = ranges;
    scratch.hashes = symbols.hashes;
    Ok(Filled { batch, verdicts, trail, scratch })
}

/// Reads the series at `origins` of `body` again and fills a batch with their labels: for those that the store
/// does not know by reference any more. Series come out in the order of `origins`, one for each.
///
/// # Errors
/// [`FillError::Overloaded`].
pub fn refill(
    version: Version,
    body: &[u8],
    rules: &Rules,
    origins: &[Range<u32>],
    permit: &mut Permit,
) -> Result<WriteBatch, FillError> {
    let mut filler = Filler::new(body, rules, None, permit, &mut Scratch::default());
    let mut ranges = Vec::new();
    let request = match version {
        Version::V1 => None,
        Version::V2 => Some(v2::Request::read(body, &mut ranges)?),
    };
    for origin in origins {
        let bytes = &body[origin.start as usize..origin.end as usize];
        match &request {
            None => filler.series_v1(v1::Series::from_bytes(bytes))?,
            Some(request) => {
                filler.series_v2(v2::Series::from_bytes(bytes), request, &Symbols::default())?;
            }
        }
    }
    let mut batch = filler.batch;
    batch.metadata.clear();
    Ok(batch)
}

struct Filler<'a> {
    body: &'a [u8],
    rules: &'a Rules,
    view: Option<View<'a>>,
    permit: &'a mut Permit,
    /// Bytes charged before: the body as it came and twice its decompressed length, one of which stands for an
    /// ordinary batch.
    permit_base: u64,
    batch: WriteBatch,
    verdicts: Verdicts,
    trail: Trail,
    /// Entry of the series before, from which the next is predicted.
    last: u32,
    /// Known series in a row that were not predicted.
    strays: u32,
    /// Bytes of histograms, exemplars, metadata and symbols.
    loose_bytes: usize,
    /// Those that were charged.
    loose_charged: usize,
    /// Fingerprints of metadata that this request has brought already.
    described: HashSet<u64>,
}

/// Ends of the columns before a series, to undo it.
#[derive(Clone, Copy)]
struct Mark {
    floats: u32,
    histograms: u32,
    exemplars: u32,
    arena: u32,
}

/// What the data of a series came to.
#[derive(Default)]
struct Taken {
    offered: u32,
    late_label: bool,
    metadata: Option<MetadataRefs>,
}

impl<'a> Filler<'a> {
    fn new(
        body: &'a [u8],
        rules: &'a Rules,
        view: Option<View<'a>>,
        permit: &'a mut Permit,
        scratch: &mut Scratch,
    ) -> Self {
        let batch = scratch.take_batch(&rules.tenant);
        let trail = std::mem::take(&mut scratch.trail);
        Filler {
            body,
            rules,
            view,
            permit_base: permit.bytes(),
            permit,
            batch,
            verdicts: Verdicts::default(),
            trail,
            last: NO_ENTRY,
            strays: 0,
            loose_bytes: 0,
            loose_charged: 0,
            described: HashSet::new(),
        }
    }

    /// Notes an entry that was looked up in a block.
    fn note_found(&mut self, entry: u32) {
        if let Some(view) = self.view.as_ref().filter(|_| entry != NO_ENTRY) {
            self.trail.found += 1;
            view.follows(self.last, entry);
        }
    }

    /// Writes the canonical labels into the arena and gives the series' hash.
    fn labels(&mut self, raw: &RawLabels<'_>) -> Result<u64, RejectReason> {
        let start = self.batch.arena.len();
        let rules = self.rules;
        let overridden =
            canonical::write_canonical(raw, &rules.limits, &rules.external, &mut self.batch.arena)?;
        self.trail.overridden_labels += u64::from(overridden);
        Ok(canonical::hash(&self.batch.arena[start..], rules.tenant.as_str()))
    }

    /// Judges and takes the samples, histograms and exemplars of a series.
    #[inline(always)]
    fn data<const V2: bool>(
        &mut self,
        data: Data<'_, V2>,
        request: Option<&v2::Request<'_, '_>>,
        describe: &dyn Fn() -> String,
    ) -> Result<Taken, FillError> {
        let mut taken = Taken::default();
        let mut data = data;
        while let Some(sample) = data.next_plain_float() {
            taken.offered += 1;
            self.float(sample, describe);
        }
        if !data.is_empty() {
            self.other_data(data, request, describe, &mut taken)?;
        }
        self.trail.offered += u64::from(taken.offered);
        Ok(taken)
    }

    #[inline(never)]
    fn other_data<const V2: bool>(
        &mut self,
        data: Data<'_, V2>,
        request: Option<&v2::Request<'_, '_>>,
        describe: &dyn Fn() -> String,
        taken: &mut Taken,
    ) -> Result<(), FillError> {
        for datum in data {
            match datum? {
                Datum::Float(sample) => {
                    taken.offered += 1;
                    self.float(sample, describe);
                }
                Datum::Histogram(bytes) => {
                    taken.offered += 1;
                    self.histogram(bytes, describe)?;
                }
                Datum::Exemplar(bytes) => self.exemplar(bytes, request, describe)?,
                Datum::Metadata(refs) => taken.metadata = Some(refs),
                Datum::Label => taken.late_label = true,
            }
        }
        Ok(())
    }

    #[inline(always)]
    fn float(&mut self, sample: FloatSample, describe: &dyn Fn() -> String) {
        if !self.rules.window.holds(sample.t_ms) {
            return self.refuse_time(sample.t_ms, describe);
        }
        let floats = &mut self.batch.floats;
        if sample.start_ms != 0 && floats.start_ms.is_empty() {
            floats.start_ms.resize(floats.t_ms.len(), 0);
        }
        let starts = sample.start_ms != 0 || !floats.start_ms.is_empty();
        floats.t_ms.push(sample.t_ms);
        floats.value.push(sample.value);
        if starts {
            floats.start_ms.push(sample.start_ms);
        }
    }

    fn histogram(
        &mut self,
        bytes: HistogramBytes<'_>,
        describe: &dyn Fn() -> String,
    ) -> Result<(), FillError> {
        // A span of two bytes becomes one of eight.
        self.loose_bytes += size_of::<HistogramSample>() + 256 + 4 * bytes.0.len();
        self.charge()?;
        let decoded = bytes.decode()?;
        if !self.rules.window.holds(decoded.t_ms) {
            self.refuse_time(decoded.t_ms, describe);
            return Ok(());
        }
        match judge::histogram(decoded.value) {
            Ok(value) => self.batch.histograms.push(HistogramSample {
                t_ms: decoded.t_ms,
                start_ms: decoded.start_ms,
                value,
                refused: false,
            }),
            Err(reason) => self.verdicts.refuse(reason, 1, Some(decoded.t_ms), describe),
        }
        Ok(())
    }

    fn exemplar(
        &mut self,
        bytes: &[u8],
        request: Option<&v2::Request<'_, '_>>,
        describe: &dyn Fn() -> String,
    ) -> Result<(), FillError> {
        if self.batch.exemplars.len() >= self.rules.limits.exemplars_per_request {
            self.trail.left_out += 1;
            return Ok(());
        }
        self.loose_bytes += size_of::<Exemplar>() + 64 + bytes.len();
        self.charge()?;
        let (value, t_ms, raw, problem) = match request {
            None => {
                let e = v1::exemplar(bytes)?;
                (e.value, e.t_ms, e.labels.collect::<Result<RawLabels<'_>, _>>()?, None)
            }
            Some(request) => {
                let e = v2::exemplar(bytes)?;
                let (raw, problem) = raw_v2(e.refs, request);
                (e.value, e.t_ms, raw, problem)
            }
        };
        let judged = match problem {
            Some(why) => Err(RejectReason::Exemplar(why)),
            None if t_ms > self.rules.window.max_ms() => {
                Err(RejectReason::Exemplar("too far in the future".to_owned()))
            }
            None => canonical::exemplar_labels(&raw),
        };
        match judged {
            Ok(labels) => self.batch.exemplars.push(Exemplar { labels, value, t_ms }),
            Err(reason) => self.verdicts.refuse(reason, 1, Some(t_ms), describe),
        }
        Ok(())
    }

    #[cold]
    fn refuse_time(&mut self, t_ms: TimestampMs, describe: &dyn Fn() -> String) {
        self.verdicts.refuse(self.rules.window.reason(t_ms), 1, Some(t_ms), describe);
    }

    fn refuse_series(&mut self, reason: RejectReason, samples: u32, describe: impl FnOnce() -> String) {
        self.trail.offered += u64::from(samples);
        self.verdicts.refuse(reason, samples, None, describe);
    }

    /// Keeps metadata that says something, once a request. Texts that are not UTF-8 are not kept.
    fn metadata(&mut self, family: &[u8], metric_type: MetricType, help: &[u8], unit: &[u8]) {
        let says_nothing = metric_type == MetricType::Unknown && help.is_empty() && unit.is_empty();
        if family.is_empty() || says_nothing {
            return;
        }
        let texts = [family, help, unit].map(|t| std::str::from_utf8(t).ok());
        let [Some(family), Some(help), Some(unit)] = texts else { return };
        let longest = self.rules.limits.label_value_bytes;
        if [family, help, unit].iter().any(|t| t.len() > longest)
            || self.batch.metadata.len() >= self.rules.limits.metadata_per_request
        {
            self.trail.left_out += 1;
            return;
        }
        if !self.described.insert(self.rules.keys.of_region(family.as_bytes()) as u64) {
            return;
        }
        self.loose_bytes += size_of::<(String, Metadata)>() + 48 + family.len() + help.len() + unit.len();
        let metadata = Metadata { metric_type, unit: unit.to_owned(), help: help.to_owned() };
        self.batch.metadata.push((family.to_owned(), metadata));
    }

    #[inline(always)]
    fn push_known(&mut self, entry: u32, mark: Mark, message: &[u8]) {
        self.last = entry;
        if self.is_untouched(mark) {
            return;
        }
        let known = self.view.as_ref().expect("only a view recalls").entry(entry);
        let series =
            BatchSeries { known_ref: known.store_ref(), hash: known.hash(), ..self.ranges_since(mark) };
        self.push(series, entry, message);
    }

    fn push_new(&mut self, hash: u64, mark: Mark, message: &[u8], learned: Option<Learned>) {
        self.last = NO_ENTRY;
        if let Some(learned) = learned.filter(|_| self.view.is_some()) {
            let position = self.batch.series.len() as u32;
            self.trail.new.push(Learned { position, ..learned });
        }
        let labels = mark.arena..self.batch.arena.len() as u32;
        let series = BatchSeries { hash, labels, ..self.ranges_since(mark) };
        self.push(series, NO_ENTRY, message);
    }

    #[inline(always)]
    fn push(&mut self, series: BatchSeries, entry: u32, message: &[u8]) {
        self.batch.series.push(series);
        self.trail.entries.push(entry);
        let start = message.as_ptr().addr() - self.body.as_ptr().addr();
        self.trail.origins.push(start as u32..(start + message.len()) as u32);
    }

    #[inline]
    fn mark(&self) -> Mark {
        Mark {
            floats: self.batch.floats.t_ms.len() as u32,
            histograms: self.batch.histograms.len() as u32,
            exemplars: self.batch.exemplars.len() as u32,
            arena: self.batch.arena.len() as u32,
        }
    }

    /// Whether nothing of the series is to be stored.
    #[inline]
    fn is_untouched(&self, mark: Mark) -> bool {
        let now = self.mark();
        (now.floats, now.histograms, now.exemplars) == (mark.floats, mark.histograms, mark.exemplars)
    }

    #[inline]
    fn ranges_since(&self, mark: Mark) -> BatchSeries {
        let now = self.mark();
        BatchSeries {
            floats: mark.floats..now.floats,
            histograms: mark.histograms..now.histograms,
            exemplars: mark.exemplars..now.exemplars,
            ..BatchSeries::default()
        }
    }

    fn undo(&mut self, mark: Mark) {
        let floats = &mut self.batch.floats;
        floats.t_ms.truncate(mark.floats as usize);
        floats.value.truncate(mark.floats as usize);
        floats.start_ms.truncate(mark.floats as usize);
        self.batch.histograms.truncate(mark.histograms as usize);
        self.batch.exemplars.truncate(mark.exemplars as usize);
        self.batch.arena.truncate(mark.arena as usize);
    }

    #[inline]
    fn charge_now_and_then(&mut self) -> Result<(), FillError> {
        if self.batch.series.len().is_multiple_of(CHARGE_EVERY) || self.loose_bytes > self.loose_charged {
            self.charge()?;
        }
        Ok(())
    }

    fn charge(&mut self) -> Result<(), FillError> {
        let bytes = self.batch.series.len() * SERIES_BYTES
            + self.trail.new.len() * size_of::<Learned>()
            + self.batch.floats.t_ms.len() * FLOAT_BYTES
            + self.batch.arena.len()
            + self.loose_bytes;
        self.loose_charged = self.loose_bytes;
        let needed = (self.permit_base + bytes as u64).saturating_sub(self.body.len() as u64);
        Ok(self.permit.grow_to(needed)?)
    }
}

/// Samples of a series that is refused as a whole, in number only.
fn count_samples<const V2: bool>(data: Data<'_, V2>) -> Result<u32, DecodeError> {
    let mut samples = 0;
    for datum in data {
        samples += u32::from(matches!(datum?, Datum::Float(_) | Datum::Histogram(_)));
    }
    Ok(samples)
}
