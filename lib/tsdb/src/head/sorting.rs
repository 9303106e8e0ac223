//! Putting selected series in order of their answered labels, and making those labels, without comparing or copying
//! text series by series.
//!
//! Series of one tenant share their labels: the distinct ones are copied and sorted once, each series becomes a short
//! list of ranks, several ranks at a time are compared as one number, and the answered labels are the texts of the
//! ranks one after the other. External labels take part as labels of every series, since they may stand between its
//! own and so change the order. Labels that nobody looks at have a rank and no text.
//!
//! Invariant: the order is that of all merged labels, see [`ExternalLabels::merge`].

use std::ops::Range;

use cairn_model::Labels;
use cairn_model::external::ExternalLabels;
use cairn_model::labels::{LabelsRef, write_label};
use cairn_model::storage::WantedLabels;
use hashbrown::{HashMap, HashSet};

use super::pairs::{PairId, Pairs};

/// Series of one tenant and partition, copied under its lock. Labels that several series have are copied once.
#[derive(Default)]
pub struct Picked {
    /// The distinct labels in canonical form, one after the other.
    text: Vec<u8>,
    /// Where each of them is.
    labels: Vec<Range<u32>>,
    /// Their numbers in `labels`, by pair.
    known: HashMap<PairId, u32>,
    /// Labels of the series, as numbers in `labels`, series after series.
    lists: Vec<u32>,
    /// Slot, and where its labels end in `lists`.
    series: Vec<(u32, u32)>,
    /// Pairs of the series before.
    before: Vec<PairId>,
}

impl Picked {
    /// Adds the series at `slot` without labels, for an answer that has none.
    pub fn add_unlabelled(&mut self, slot: u32) {
        self.series.push((slot, 0));
    }

    /// Adds the series at `slot`, whose labels are `own`, pairs of `pairs` in order of their names.
    pub fn add(&mut self, slot: u32, own: &[PairId], pairs: &Pairs) {
        let before_begin = self.lists.len() - self.before.len();
        for (i, &pair) in own.iter().enumerate() {
            // Neighbours have most labels in common.
            let number = match self.before.get(i) {
                Some(same) if *same == pair => self.lists[before_begin + i],
                _ => self.number_of(pair, pairs),
            };
            self.lists.push(number);
        }
        self.before.clear();
        self.before.extend_from_slice(own);
        self.series.push((slot, self.lists.len() as u32));
    }

    fn number_of(&mut self, pair: PairId, pairs: &Pairs) -> u32 {
        if let Some(number) = self.known.get(&pair) {
            return *number;
        }
        let (name, value) = pairs.text(pair);
        let begin = self.text.len() as u32;
        write_label(&mut self.text, name, value);
        let number = self.labels.len() as u32;
        self.labels.push(begin..self.text.len() as u32);
        self.known.insert(pair, number);
        number
    }

    /// The distinct labels with their numbers.
    fn labels(&self) -> impl Iterator<Item = (&str, &str, &[u8])> {
        self.labels.iter().map(|range| {
            let text = &self.text[range.start as usize..range.end as usize];
            let (name, value) = LabelsRef::from_canonical(text).iter().next().expect("a label was written");
            (name, value, text)
        })
    }

    /// Slot and label numbers of each series.
    fn series(&self) -> impl Iterator<Item = (u32, &[u32])> {
        let mut begin = 0;
        self.series.iter().map(move |(slot, end)| {
            let list = &self.lists[begin..*end as usize];
            begin = *end as usize;
            (*slot, list)
        })
    }
}

/// A series with its answered labels.
pub struct Selected {
    /// External labels included.
    pub labels: Labels,
    /// Which partition has it.
    pub partition: u8,
    /// Its slot.
    pub slot: u32,
    /// External labels made it the same as the one before.
    pub repeats: bool,
}

/// Appends the picked series of one tenant, by partition, to `out`, in order of their merged labels; of those they have
/// what is `wanted`.
pub fn sort_into(
    picked: &[Picked],
    external: &ExternalLabels,
    wanted: &WantedLabels,
    out: &mut Vec<Selected>,
) {
    let ranks = Ranks::of(picked, external, wanted);
    let (bits, per_key) = ranks.key_layout();
    let count = picked.iter().map(|p| p.series.len()).sum();
    let mut keyed: Vec<Key> = Vec::with_capacity(count);
    let (mut lists, mut list): (Vec<u32>, Vec<u32>) = (Vec::with_capacity(count * 8), Vec::new());
    for (partition, p) in picked.iter().enumerate() {
        for (slot, own) in p.series() {
            ranks.list(partition, own, &mut list);
            let rank = |i: usize| u128::from(list.get(i).copied().unwrap_or(0));
            let head = (0..per_key).fold(0, |key, i| key << bits | rank(i));
            let begin = lists.len() as u32;
            lists.extend_from_slice(&list);
            keyed.push(Key { head, list: begin..lists.len() as u32, partition: partition as u8, slot });
        }
    }
    let list = |k: &Key| &lists[k.list.start as usize..k.list.end as usize];
    let tail = |k: &Key| list(k).get(per_key..).unwrap_or_default();
    keyed.sort_unstable_by(|a, b| a.head.cmp(&b.head).then_with(|| tail(a).cmp(tail(b))));
    out.reserve(keyed.len());
    let mut texts = Texts { ranks: &ranks, buffer: Vec::new(), made: HashSet::new() };
    let is_few = *wanted != WantedLabels::All;
    for (i, k) in keyed.iter().enumerate() {
        let before = i.checked_sub(1).filter(|_| ranks.replaces).map(|b| list(&keyed[b]));
        let labels = if is_few { texts.shared(list(k)) } else { texts.labels(list(k)) };
        let repeats = before == Some(list(k));
        out.push(Selected { labels, partition: k.partition, slot: k.slot, repeats });
    }
}

/// A series by its ranks.
struct Key {
    /// The first ranks.
    head: u128,
    /// Where all of them are.
    list: Range<u32>,
    partition: u8,
    slot: u32,
}

/// Makes label sets of ranks.
struct Texts<'a> {
    ranks: &'a Ranks<'a>,
    buffer: Vec<u8>,
    /// Sets that were made, where many series have the same.
    made: HashSet<Labels>,
}

impl Texts<'_> {
    fn write(&mut self, list: &[u32]) {
        self.buffer.clear();
        for rank in list {
            self.buffer.extend_from_slice(self.ranks.texts[*rank as usize]);
        }
    }

    fn labels(&mut self, list: &[u32]) -> Labels {
        self.write(list);
        LabelsRef::from_canonical(&self.buffer).to_labels()
    }

    fn shared(&mut self, list: &[u32]) -> Labels {
        self.write(list);
        if let Some(labels) = self.made.get(&self.buffer[..]) {
            return labels.clone();
        }
        let labels = LabelsRef::from_canonical(&self.buffer).to_labels();
        self.made.insert(labels.clone());
        labels
    }
}

/// Ranks of the distinct labels among picked and external ones, from 1.
struct Ranks<'a> {
    /// By partition and number of a label there; 0 for one that an external label replaces.
    own: Vec<Vec<u32>>,
    external: Vec<u32>,
    /// By rank; empty for a label that is not wanted.
    texts: Vec<&'a [u8]>,
    /// Whether any is 0 in `own`.
    replaces: bool,
}

impl<'a> Ranks<'a> {
    fn of(picked: &'a [Picked], external: &'a ExternalLabels, wanted: &WantedLabels) -> Ranks<'a> {
        let mut own: Vec<Vec<u32>> = Vec::with_capacity(picked.len());
        // Name, value, text, and whose it is: an external label's, or a label of a partition.
        type Distinct<'a> = (&'a str, &'a str, &'a [u8], Option<(usize, usize)>);
        let mut distinct: Vec<Distinct<'a>> = Vec::new();
        for (partition, p) in picked.iter().enumerate() {
            let labels = p.labels().enumerate();
            distinct.extend(labels.map(|(i, (name, value, text))| (name, value, text, Some((partition, i)))));
            own.push(vec![0; p.labels.len()]);
        }
        let external = external.labels();
        distinct.extend(external.pieces().map(|(name, value, text)| (name, value, text, None)));
        distinct.sort_unstable_by_key(|d| (d.0, d.1));
        let (mut of_external, mut texts): (Vec<u32>, Vec<&[u8]>) = (Vec::new(), vec![&[]]);
        let (mut previous, mut replaces) = (None, false);
        for (name, value, text, whose) in distinct {
            if previous != Some((name, value)) {
                // Partitions number one label differently, but rank it alike.
                texts.push(if wanted.has(name) { text } else { &[] });
                previous = Some((name, value));
            }
            let rank = texts.len() as u32 - 1;
            match whose {
                Some(_) if external.get(name).is_some() => replaces = true,
                Some((partition, label)) => own[partition][label] = rank,
                None => of_external.push(rank),
            }
        }
        Ranks { own, external: of_external, texts, replaces }
    }

    /// Bits of a rank in a key, and how many ranks it holds.
    fn key_layout(&self) -> (u32, usize) {
        let bits = if self.texts.len() <= usize::from(u16::MAX) { u16::BITS } else { u32::BITS };
        (bits, (u128::BITS / bits) as usize)
    }

    /// The ranks of a series' merged labels, in order.
    fn list(&self, partition: usize, own: &[u32], list: &mut Vec<u32>) {
        list.clear();
        let mut external = self.external.iter().copied().peekable();
        for label in own {
            let rank = self.own[partition][*label as usize];
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

/// Appends series that are answered without any label, in no order.
pub fn without_labels(picked: &[Picked], out: &mut Vec<Selected>) {
    let labels = Labels::empty();
    for (partition, p) in picked.iter().enumerate() {
        out.extend(p.series.iter().map(|(slot, _)| Selected {
            labels: labels.clone(),
            partition: partition as u8,
            slot: *slot,
            repeats: false,
        }));
    }
}

#[cfg(test)]
mod tests;
