//! Series and metadata of 2.0, whose texts are references to symbols.
//!
//! This is a hot file.

use cairn_model::batch::RejectReason;
use cairn_model::labels::METRIC_NAME;
use cairn_model::metadata::MetricType;
use cairn_proto::datum::MetadataRefs;
use cairn_proto::{DecodeError, v2};

use super::{BLOCK, FillError, Filler, Mark, OUT_OF_ORDER, SYMBOL_BYTES, count_samples};
use crate::canonical::{self, RawLabels};
use crate::identity::{Learned, NO_ENTRY};
use crate::wire_keys::SymbolHash;

/// Hashes of the symbols of a request, empty when nothing is to be recalled.
#[derive(Default)]
pub(super) struct Symbols {
    pub(super) hashes: Vec<SymbolHash>,
}

impl Filler<'_> {
    pub(super) fn all_v2(
        &mut self,
        request: &v2::Request<'_, '_>,
        symbols: &mut Symbols,
    ) -> Result<(), FillError> {
        self.loose_bytes += request.symbol_count() * SYMBOL_BYTES;
        self.charge()?;
        let keys = &self.rules.keys;
        symbols.hashes.clear();
        symbols.hashes.extend(request.symbols().map(|s| keys.of_symbol(s)));
        let mut all = request.series();
        while let Some(series) = all.next() {
            if self.strays < OUT_OF_ORDER {
                self.series_v2(series?, request, symbols)?;
            } else {
                self.block_v2(series?, &mut all, request, symbols)?;
            }
        }
        self.charge()
    }

    /// Takes `first` and the series behind it without predictions.
    fn block_v2<'b>(
        &mut self,
        first: v2::Series<'b>,
        all: &mut impl Iterator<Item = Result<v2::Series<'b>, DecodeError>>,
        request: &v2::Request<'_, '_>,
        symbols: &Symbols,
    ) -> Result<(), FillError> {
        let (mut series, mut taken) = ([first; BLOCK], 1);
        for next in all.take(BLOCK - 1) {
            series[taken] = next?;
            taken += 1;
        }
        let (mut keys, mut lens, mut found) = ([0; BLOCK], [0; BLOCK], [NO_ENTRY; BLOCK]);
        let mut keyed = [None; BLOCK];
        for (i, series) in series[..taken].iter().enumerate() {
            (keyed[i], lens[i]) = self.key_v2(*series, symbols)?;
            keys[i] = keyed[i].unwrap_or_default();
        }
        if let Some(view) = &self.view {
            view.find_all(&keys[..taken], &mut found[..taken]);
        }
        for (i, series) in series[..taken].iter().enumerate() {
            let entry = if keyed[i].is_some() { found[i] } else { NO_ENTRY };
            self.note_found(entry);
            self.recalled_v2(*series, request, symbols, entry, (keyed[i], lens[i]))?;
        }
        Ok(())
    }

    /// The key of a series, if it has one, and the length of its references.
    fn key_v2(&self, series: v2::Series<'_>, symbols: &Symbols) -> Result<(Option<u128>, usize), FillError> {
        let (mut refs, refs_len) = series.leading_refs()?;
        let mut key = self.rules.keys.of_symbols();
        while let Some(r) = refs.next_small() {
            if !symbols.hashes.get(r).is_some_and(|hash| key.add(*hash)) {
                break;
            }
        }
        // What ended early is damaged, beyond the symbols, or very long: no key, and a closer look.
        Ok(((refs.is_empty() && refs_len > 0).then(|| key.finish()), refs_len))
    }

    pub(super) fn series_v2(
        &mut self,
        series: v2::Series<'_>,
        request: &v2::Request<'_, '_>,
        symbols: &Symbols,
    ) -> Result<(), FillError> {
        let (key, refs_len) = self.key_v2(series, symbols)?;
        let mut entry = NO_ENTRY;
        if let (Some(key), Some(view)) = (key, &self.view) {
            if let Some(predicted) = view.predict_key(self.last, key) {
                self.trail.predicted += 1;
                self.strays = 0;
                entry = predicted;
            } else if let Some(found) = view.find(self.last, key) {
                self.trail.found += 1;
                self.strays += 1;
                entry = found;
            }
        }
        self.recalled_v2(series, request, symbols, entry, (key, refs_len))
    }

    fn recalled_v2(
        &mut self,
        series: v2::Series<'_>,
        request: &v2::Request<'_, '_>,
        symbols: &Symbols,
        entry: u32,
        (key, refs_len): (Option<u128>, usize),
    ) -> Result<(), FillError> {
        let mark = self.mark();
        if entry == NO_ENTRY {
            return self.unknown_v2(series, request, mark, key, refs_len);
        }
        let describe = || canonical::describe(&raw_v2(series.refs(), request).0);
        let taken = self.data(series.data(refs_len), Some(request), &describe)?;
        if taken.late_label {
            self.undo(mark);
            return self.unknown_v2(series, request, mark, None, refs_len);
        }
        let fingerprint = taken.metadata.map_or(0, |m| fingerprint(&m, symbols));
        let described =
            fingerprint != 0 && self.view.as_ref().is_some_and(|v| v.entry(entry).metadata() != fingerprint);
        if described {
            self.family_metadata(series, request, taken.metadata);
        }
        if taken.offered == 0 {
            self.undo(mark);
            self.refuse_series(RejectReason::NoSamples, 0, describe);
        } else {
            let position = self.batch.series.len();
            self.push_known(entry, mark, series.bytes());
            if described && let Some(pushed) = self.batch.series.get(position) {
                self.trail.described.push((entry, pushed.hash, fingerprint));
            }
        }
        self.charge_now_and_then()
    }

    fn unknown_v2(
        &mut self,
        series: v2::Series<'_>,
        request: &v2::Request<'_, '_>,
        mark: Mark,
        key: Option<u128>,
        refs_len: usize,
    ) -> Result<(), FillError> {
        if let Some(e) = series.refs().find_map(Result::err) {
            return Err(e.into());
        }
        let (raw, problem) = raw_v2(series.refs(), request);
        let describe = || canonical::describe(&raw);
        let labels = match problem {
            Some(why) => Err(RejectReason::InvalidLabels(why)),
            None => self.labels(&raw),
        };
        match labels {
            Err(reason) => {
                let samples = count_samples(series.data(refs_len))?;
                self.refuse_series(reason, samples, describe);
            }
            Ok(hash) => {
                let taken = self.data(series.data(refs_len), Some(request), &describe)?;
                self.family_metadata(series, request, taken.metadata);
                if taken.offered == 0 {
                    self.undo(mark);
                    self.refuse_series(RejectReason::NoSamples, 0, describe);
                } else if self.is_untouched(mark) {
                    self.undo(mark);
                } else {
                    let learned =
                        key.map(|key| Learned { position: 0, key, region_len: 0, hash, store_ref: 0 });
                    self.push_new(hash, mark, series.bytes(), learned.filter(|_| !taken.late_label));
                }
            }
        }
        self.charge_now_and_then()
    }

    /// Metadata of 2.0 stands at a series and is about its family.
    fn family_metadata(
        &mut self,
        series: v2::Series<'_>,
        request: &v2::Request<'_, '_>,
        refs: Option<MetadataRefs>,
    ) {
        let Some(m) = refs else { return };
        let (raw, _) = raw_v2(series.refs(), request);
        if let (Some(family), Some(help), Some(unit)) =
            (raw.get(METRIC_NAME), request.symbol(m.help_ref), request.symbol(m.unit_ref))
        {
            self.metadata(family, MetricType::from_wire(m.metric_type), help, unit);
        }
    }
}

/// The labels that references name, as far as they can be read, and what is wrong with them.
pub(super) fn raw_v2<'a>(
    refs: v2::AllRefs<'_>,
    request: &v2::Request<'a, '_>,
) -> (RawLabels<'a>, Option<String>) {
    let (mut raw, mut problem) = (RawLabels::default(), None);
    let mut name: Option<&[u8]> = None;
    for r in refs.map_while(Result::ok) {
        let symbol = request.symbol(r).unwrap_or_else(|| {
            let count = request.symbol_count();
            problem.get_or_insert_with(|| format!("label reference {r} is beyond the {count} symbols"));
            b"?"
        });
        match name.take() {
            None => name = Some(symbol),
            Some(name) => raw.push(name, symbol),
        }
    }
    if name.is_some() {
        problem.get_or_insert_with(|| "an odd number of label references".to_owned());
    }
    (raw, problem)
}

/// A number that changes with the metadata; 0 when there is none.
fn fingerprint(m: &MetadataRefs, symbols: &Symbols) -> u32 {
    let hash_of =
        |r: u64| symbols.hashes.get(usize::try_from(r).unwrap_or(usize::MAX)).map_or(0, |(low, _)| *low);
    let mixed = hash_of(m.help_ref)
        ^ hash_of(m.unit_ref).rotate_left(21)
        ^ m.metric_type.wrapping_mul(0x9E37_79B9_7F4A_7C15);
    if *m == MetadataRefs::default() { 0 } else { (mixed as u32 ^ (mixed >> 32) as u32) | 1 }
}
