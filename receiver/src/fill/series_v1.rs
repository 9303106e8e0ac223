//! Series and metadata of 1.0.
//!
//! This is a hot file.

use cairn_proto::{DecodeError, v1};

use super::{BLOCK, FillError, Filler, Mark, OUT_OF_ORDER, count_samples};
use crate::canonical::{self, RawLabels};
use crate::identity::{Learned, NO_ENTRY};

impl Filler<'_> {
    pub(super) fn all_v1(&mut self) -> Result<(), FillError> {
        let mut items = v1::Request::new(self.body);
        let mut next = items.next();
        while let Some(item) = next {
            next = match item? {
                v1::Item::Series(series) if self.strays >= OUT_OF_ORDER => {
                    self.block_v1(series, &mut items)?
                }
                v1::Item::Series(series) => {
                    self.series_v1(series)?;
                    items.next()
                }
                v1::Item::Metadata(m) => {
                    self.metadata(m.family, m.metric_type, m.help, m.unit);
                    self.charge()?;
                    items.next()
                }
            };
        }
        self.charge()
    }

    /// Takes `first` and the series behind it without predictions; gives the item after them.
    fn block_v1<'b>(
        &mut self,
        first: v1::Series<'b>,
        items: &mut v1::Request<'b>,
    ) -> Result<Option<Result<v1::Item<'b>, DecodeError>>, FillError> {
        let (mut series, mut taken, mut after) = ([first; BLOCK], 1, None);
        while taken < BLOCK {
            match items.next() {
                Some(Ok(v1::Item::Series(next))) => series[taken] = next,
                other => {
                    after = Some(other);
                    break;
                }
            }
            taken += 1;
        }
        let (mut keys, mut lens, mut found) = ([0; BLOCK], [0; BLOCK], [NO_ENTRY; BLOCK]);
        for (i, series) in series[..taken].iter().enumerate() {
            let region = series.region()?;
            (keys[i], lens[i]) = (self.rules.keys.of_region(region), region.len());
        }
        if let Some(view) = &self.view {
            view.find_all(&keys[..taken], &mut found[..taken]);
        }
        for (i, series) in series[..taken].iter().enumerate() {
            self.note_found(found[i]);
            self.recalled_v1(*series, found[i], lens[i], keys[i])?;
        }
        Ok(after.unwrap_or_else(|| items.next()))
    }

    pub(super) fn series_v1(&mut self, series: v1::Series<'_>) -> Result<(), FillError> {
        let predicted =
            self.view.as_ref().and_then(|v| v.predict_region(self.last, series, &self.rules.keys));
        let (entry, region_len, key) = match (predicted, &self.view) {
            (Some(entry), Some(view)) => {
                self.trail.predicted += 1;
                self.strays = 0;
                (entry, view.region_len(entry), 0)
            }
            (_, view) => {
                let region = series.region()?;
                let key = self.rules.keys.of_region(region);
                let found = view.as_ref().and_then(|v| v.find(self.last, key)).unwrap_or(NO_ENTRY);
                self.trail.found += u64::from(found != NO_ENTRY);
                self.strays += u32::from(found != NO_ENTRY);
                (found, region.len(), key)
            }
        };
        self.recalled_v1(series, entry, region_len, key)
    }

    fn recalled_v1(
        &mut self,
        series: v1::Series<'_>,
        entry: u32,
        region_len: usize,
        key: u128,
    ) -> Result<(), FillError> {
        let mark = self.mark();
        if entry == NO_ENTRY {
            return self.unknown_v1(series, mark, key, region_len);
        }
        let taken = self.data(series.data(region_len), None, &|| canonical::describe(&raw_v1(series)))?;
        if taken.late_label {
            // The region was not all of the labels after all.
            self.undo(mark);
            return self.unknown_v1(series, mark, key, region_len);
        }
        self.push_known(entry, mark, series.bytes());
        self.charge_now_and_then()
    }

    fn unknown_v1(
        &mut self,
        series: v1::Series<'_>,
        mark: Mark,
        key: u128,
        region_len: usize,
    ) -> Result<(), FillError> {
        let raw = series.labels().collect::<Result<RawLabels<'_>, _>>()?;
        let describe = || canonical::describe(&raw);
        match self.labels(&raw) {
            Err(reason) => {
                let samples = count_samples(series.data(region_len))?;
                self.refuse_series(reason, samples, describe);
            }
            Ok(hash) => {
                let taken = self.data(series.data(region_len), None, &describe)?;
                // An exemplar alone is what stock senders of 1.0 send; nothing at all is nothing.
                if !self.is_untouched(mark) {
                    let region_len = region_len as u32;
                    let learned = Learned { position: 0, key, region_len, hash, store_ref: 0 };
                    let keep = (region_len > 0 && !taken.late_label).then_some(learned);
                    self.push_new(hash, mark, series.bytes(), keep);
                } else {
                    self.undo(mark);
                }
            }
        }
        self.charge_now_and_then()
    }
}

fn raw_v1(series: v1::Series<'_>) -> RawLabels<'_> {
    series.labels().map_while(Result::ok).collect()
}
