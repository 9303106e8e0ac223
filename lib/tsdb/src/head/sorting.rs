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

/// Appends the picked series of one tenant, by partition, to `out`, in order of their merged labels.
///
/// `stable` says that pair numbers had one meaning while the series were picked; else labels are compared as text.
pub fn sort_into(picked: &[Picked], external: &ExternalLabels, stable: bool, out: &mut Vec<Selected>) {
    let start = out.len();
    let mut buffer = Vec::new();
    let mut select = |partition: usize, at: usize| {
        let (slot, text, _) = &picked[partition].series[at];
        let own = LabelsRef::from_canonical(&picked[partition].text[text.clone()]);
        Selected { labels: external.merge_with(own, &mut buffer), partition: partition as u8, slot: *slot }
    };
    out.reserve(picked.iter().map(|p| p.series.len()).sum());
    let ranks = if stable { Ranks::of(picked, external) } else { None };
    let Some(ranks) = ranks else {
        for (partition, p) in picked.iter().enumerate() {
            out.extend((0..p.series.len()).map(|at| select(partition, at)));
        }
        out[start..].sort_unstable_by(|a, b| a.labels.cmp(&b.labels));
        return;
    };
    let mut keyed: Vec<Key> = Vec::with_capacity(out.capacity() - start);
    let (mut tails, mut list) = (Vec::new(), Vec::new());
    for (partition, p) in picked.iter().enumerate() {
        for (at, (_, _, pairs)) in p.series.iter().enumerate() {
            ranks.list(partition, &p.pairs[pairs.clone()], &mut list);
            let rank = |i: usize| u128::from(list.get(i).copied().unwrap_or(0));
            let head = (0..KEY_RANKS).fold(0, |key, i| key << 16 | rank(i));
            let tail = list.get(KEY_RANKS..).unwrap_or_default();
            let begin = tails.len() as u32;
            tails.extend_from_slice(tail);
            keyed.push(Key {
                head,
                tail: begin..tails.len() as u32,
                partition: partition as u32,
                at: at as u32,
            });
        }
    }
    let tail = |k: &Key| &tails[k.tail.start as usize..k.tail.end as usize];
    keyed.sort_unstable_by(|a, b| a.head.cmp(&b.head).then_with(|| tail(a).cmp(tail(b))));
    out.extend(keyed.iter().map(|k| select(k.partition as usize, k.at as usize)));
    debug_assert!(out[start..].is_sorted_by(|a, b| a.labels <= b.labels));
}

/// A series by its ranks.
struct Key {
    /// The first ranks.
    head: u128,
    /// Where the others are.
    tail: Range<u32>,
    partition: u32,
    at: u32,
}

/// Ranks of the distinct labels among picked and external ones, from 1.
struct Ranks {
    /// By partition and pair number; 0 for a pair that an external label replaces.
    own: Vec<Vec<u16>>,
    external: Vec<u16>,
}

impl Ranks {
    /// `None` when there are more distinct pairs than a rank can number.
    fn of(picked: &[Picked], external: &ExternalLabels) -> Option<Ranks> {
        let mut own: Vec<Vec<u16>> = Vec::with_capacity(picked.len());
        // Name, value, and whose it is: an external label's, or a pair of a partition.
        type Distinct<'a> = (&'a str, &'a str, Option<(usize, PairId)>);
        let mut distinct: Vec<Distinct<'_>> = Vec::new();
        for (partition, p) in picked.iter().enumerate() {
            let mut seen = vec![0u16; p.pairs.iter().max().map_or(0, |m| *m as usize + 1)];
            for (_, text, pairs) in &p.series {
                let pairs = &p.pairs[pairs.clone()];
                if pairs.iter().all(|pair| seen[*pair as usize] != 0) {
                    continue;
                }
                let labels = LabelsRef::from_canonical(&p.text[text.clone()]);
                for ((name, value), &pair) in labels.iter().zip(pairs) {
                    if seen[pair as usize] == 0 {
                        seen[pair as usize] = 1;
                        distinct.push((name, value, Some((partition, pair))));
                    }
                }
            }
            own.push(seen);
        }
        let external = external.labels();
        distinct.extend(external.iter().map(|(name, value)| (name, value, None)));
        if distinct.len() >= usize::from(u16::MAX) {
            return None;
        }
        distinct.sort_unstable_by_key(|d| (d.0, d.1));
        let (mut of_external, mut rank, mut previous) = (Vec::new(), 0u16, None);
        for (name, value, pair) in distinct {
            if previous != Some((name, value)) {
                rank += 1; // partitions number one label differently, but rank it alike
                previous = Some((name, value));
            }
            match pair {
                Some((partition, pair)) if external.get(name).is_some() => own[partition][pair as usize] = 0,
                Some((partition, pair)) => own[partition][pair as usize] = rank,
                None => of_external.push(rank),
            }
        }
        Some(Ranks { own, external: of_external })
    }

    /// The ranks of a series' merged labels, in order.
    fn list(&self, partition: usize, pairs: &[PairId], list: &mut Vec<u16>) {
        list.clear();
        let mut external = self.external.iter().copied().peekable();
        for pair in pairs {
            let rank = self.own[partition][*pair as usize];
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

    /// Every other series in a partition of its own.
    fn picked(sets: &[Labels]) -> Vec<Picked> {
        let mut parts = vec![(Picked::default(), BTreeMap::new()), (Picked::default(), BTreeMap::new())];
        for (slot, labels) in sets.iter().enumerate() {
            let (p, numbers) = &mut parts[slot % 2];
            let (text, pairs) = (p.text.len(), p.pairs.len());
            p.text.extend_from_slice(labels.as_bytes());
            for pair in labels.iter() {
                let next = numbers.len() as PairId;
                p.pairs.push(*numbers.entry((pair.0.to_owned(), pair.1.to_owned())).or_insert(next));
            }
            p.series.push((slot as u32, text..p.text.len(), pairs..p.pairs.len()));
        }
        parts.into_iter().map(|p| p.0).collect()
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
                sort_into(&picked(&sets), &external, stable, &mut out);
                prop_assert_eq!(out.iter().map(|s| s.labels.clone()).collect::<Vec<_>>(), merged.clone());
            }
        }
    }
}
