//! Putting selected series in order of their answered labels without comparing text series by series.
//!
//! Series of one tenant share their label pairs: the distinct pairs are sorted once, each series becomes a short
//! list of ranks, and eight ranks at a time are compared as one number. External labels take part as pairs of every
//! series, since they may stand between its own and so change the order.
//!
//! Invariant: the order is that of the merged labels, see [`ExternalLabels::merge`].

use std::ops::Range;

use cairn_model::Labels;
use cairn_model::external::ExternalLabels;
use cairn_model::labels::LabelsRef;

use super::pairs::PairId;

/// Series of one tenant and partition, copied under its lock.
#[derive(Default)]
pub struct Picked {
    /// Canonical labels, series after series.
    pub text: Vec<u8>,
    /// Pair numbers, series after series.
    pub pairs: Vec<PairId>,
    /// Slot, range of the text, range of the pairs.
    pub series: Vec<(u32, Range<usize>, Range<usize>)>,
}

/// A series with its answered labels.
pub struct Selected {
    /// External labels included.
    pub labels: Labels,
    /// Which partition has it.
    pub partition: u8,
    /// Its slot.
    pub slot: u32,
}

/// Ranks in a key.
const KEY_RANKS: usize = 8;

/// Appends the picked series to `out`, in order of their merged labels.
///
/// `stable` says that a pair number had one meaning while the series were picked; else labels are compared as text.
pub fn sort_into(
    picked: Picked,
    external: &ExternalLabels,
    partition: u8,
    stable: bool,
    out: &mut Vec<Selected>,
) {
    let start = out.len();
    let select = |(slot, text, _): &(u32, Range<usize>, Range<usize>)| {
        let own = LabelsRef::from_canonical(&picked.text[text.clone()]);
        Selected { labels: external.merge(own), partition, slot: *slot }
    };
    let ranks = if stable { Ranks::of(&picked, external) } else { None };
    let Some(ranks) = ranks else {
        out.extend(picked.series.iter().map(select));
        out[start..].sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        return;
    };
    let mut keyed: Vec<(u128, u32)> = Vec::with_capacity(picked.series.len());
    let mut rest: Vec<u16> = Vec::new();
    let mut rests: Vec<Range<usize>> = Vec::with_capacity(picked.series.len());
    let mut list = Vec::new();
    for (i, (_, _, pairs)) in picked.series.iter().enumerate() {
        ranks.list(&picked.pairs[pairs.clone()], &mut list);
        let key =
            (0..KEY_RANKS).fold(0u128, |k, at| k << 16 | u128::from(list.get(at).copied().unwrap_or(0)));
        let begin = rest.len();
        rest.extend_from_slice(list.get(KEY_RANKS..).unwrap_or_default());
        rests.push(begin..rest.len());
        keyed.push((key, i as u32));
    }
    let tail = |i: u32| &rest[rests[i as usize].clone()];
    keyed.sort_unstable_by(|a, b| a.0.cmp(&b.0).then_with(|| tail(a.1).cmp(tail(b.1))));
    out.extend(keyed.iter().map(|(_, i)| select(&picked.series[*i as usize])));
    debug_assert!(out[start..].is_sorted_by(|a, b| a.labels <= b.labels));
}

/// Ranks of the distinct pairs among picked and external ones, from 1.
struct Ranks {
    /// By pair number; 0 for a pair that an external label replaces.
    own: Vec<u16>,
    external: Vec<u16>,
}

impl Ranks {
    /// `None` when there are more distinct pairs than a rank can number.
    fn of(picked: &Picked, external: &ExternalLabels) -> Option<Ranks> {
        let numbers = picked.pairs.iter().max().map_or(0, |m| *m as usize + 1);
        let mut own = vec![0u16; numbers];
        let mut distinct: Vec<(&str, &str, Option<PairId>)> = Vec::new();
        for (_, text, pairs) in &picked.series {
            let labels = LabelsRef::from_canonical(&picked.text[text.clone()]);
            for ((name, value), &pair) in labels.iter().zip(&picked.pairs[pairs.clone()]) {
                if own[pair as usize] == 0 {
                    own[pair as usize] = 1;
                    distinct.push((name, value, Some(pair)));
                }
            }
        }
        let external = external.labels();
        distinct.extend(external.iter().map(|(name, value)| (name, value, None)));
        if distinct.len() >= usize::from(u16::MAX) {
            return None;
        }
        distinct.sort_unstable_by_key(|d| (d.0, d.1));
        let mut of_external = Vec::new();
        for (rank, (name, _, pair)) in (1u16..).zip(&distinct) {
            match pair {
                Some(pair) if external.get(name).is_some() => own[*pair as usize] = 0,
                Some(pair) => own[*pair as usize] = rank,
                None => of_external.push(rank),
            }
        }
        Some(Ranks { own, external: of_external })
    }

    /// The ranks of a series' merged labels, in order.
    fn list(&self, pairs: &[PairId], list: &mut Vec<u16>) {
        list.clear();
        let mut external = self.external.iter().copied().peekable();
        for pair in pairs {
            let rank = self.own[*pair as usize];
            if rank == 0 {
                continue;
            }
            while let Some(before) = external.next_if(|e| *e < rank) {
                list.push(before);
            }
            list.push(rank);
        }
        list.extend(external);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::TenantId;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn picked(sets: &[Labels]) -> Picked {
        let (mut p, mut numbers) = (Picked::default(), BTreeMap::new());
        for (slot, labels) in sets.iter().enumerate() {
            let (text, pairs) = (p.text.len(), p.pairs.len());
            p.text.extend_from_slice(labels.as_bytes());
            for pair in labels.iter() {
                let next = numbers.len() as PairId;
                p.pairs.push(*numbers.entry((pair.0.to_owned(), pair.1.to_owned())).or_insert(next));
            }
            p.series.push((slot as u32, text..p.text.len(), pairs..p.pairs.len()));
        }
        p
    }

    proptest! {
        #[test]
        fn ranks_order_as_text_does(
            sets in prop::collection::btree_set(prop::collection::btree_map("[a-e]|u|tenant_id", "[xyz]{1,2}", 0..12), 0..30),
            external in prop::collection::btree_map("[ct]|zz", "[xyz]", 0..3),
        ) {
            let external = ExternalLabels::for_tenant(&TenantId::new("t").unwrap(), &Labels::from_pairs(&external).unwrap());
            let sets: Vec<Labels> = sets.iter().map(|s| Labels::from_pairs(s).unwrap()).collect();
            // Sets that merge into the same labels have no order.
            let mut merged: Vec<Labels> = sets.iter().map(|s| external.merge(s.as_ref())).collect();
            merged.sort();
            prop_assume!(merged.windows(2).all(|w| w[0] != w[1]));
            for stable in [true, false] {
                let mut out = Vec::new();
                sort_into(picked(&sets), &external, 0, stable, &mut out);
                prop_assert_eq!(out.iter().map(|s| s.labels.clone()).collect::<Vec<_>>(), merged.clone());
            }
        }
    }
}
