//! Putting selected series in order of their answered labels, and making those labels, without comparing or copying
//! text series by series.
//!
//! Series of one tenant share their labels: the distinct ones are copied and sorted once, each series becomes a short
//! list of ranks, several ranks at a time are compared as one number, and the answered labels are the texts of the
//! ranks one after the other. External labels take part as labels of every series, since they may stand between its
//! own and so change the order. Labels that nobody looks at have a rank and no text.
//!
//! Where there are many series each partition's are sorted on a core of their own, then merged.
//!
//! Invariant: the order is that of all merged labels, see [`ExternalLabels::merge`].

use std::cmp::Ordering;
use std::ops::Range;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use cairn_model::external::ExternalLabels;
use cairn_model::labels::{LabelsRef, write_label};
use cairn_model::storage::{StoreError, WantedLabels};
use cairn_model::{Labels, ReadBounds};
use cairn_runtime::CpuPool;
use hashbrown::HashMap;

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

    /// How many series were added.
    pub fn count(&self) -> usize {
        self.series.len()
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

/// What is made of the series of an answer.
pub struct Wish<'a> {
    /// Labels that are made.
    pub labels: &'a WantedLabels,
    /// So many series from the first on, 0 = all.
    pub limit: usize,
    /// What their labels may take.
    pub bounds: &'a ReadBounds,
    /// Bytes of labels that the answer has by now.
    pub bytes: AtomicUsize,
}

/// Series whose labels are made between two looks at the bounds.
const BOUNDED_EVERY: usize = 256;

/// Series from which on several cores sort them. Judgement: some hundred microseconds of work.
const SPREAD_SERIES: usize = 1024;

/// Appends the picked series of one tenant, by partition, to `out`, in order of their merged labels, as far as the wish
/// goes.
///
/// # Errors
/// When the labels take more than they may, or nobody waits for them any more.
pub fn sort_into(
    picked: &[Picked],
    external: &ExternalLabels,
    wish: &Wish<'_>,
    cpu: &CpuPool,
    out: &mut Vec<Selected>,
) -> Result<(), StoreError> {
    let ranks = Ranks::of(picked, external, wish.labels);
    let count: usize = picked.iter().map(|p| p.series.len()).sum();
    let cores = if count < SPREAD_SERIES { 1 } else { cpu.parallelism() };
    let run = |partition: usize| Run::of(partition, &picked[partition], &ranks);
    let mut runs = match cores {
        1 => (0..picked.len()).map(run).collect(),
        _ => cpu.share(picked.len(), run),
    };
    let mut keyed: Vec<Key> = Vec::with_capacity(count);
    runs.iter_mut().for_each(|run| keyed.append(&mut run.keys));
    let lists: Vec<&[u32]> = runs.iter().map(|run| &run.lists[..]).collect();
    let list = |k: &Key| &lists[usize::from(k.partition)][k.list.start as usize..k.list.end as usize];
    let per_key = ranks.key_layout().1;
    // This sort finds the runs and merges them.
    keyed.sort_by(|a, b| a.compare(b, per_key, list));
    let count = if wish.limit == 0 { count } else { count.min(wish.limit) };
    let is_few = *wish.labels != WantedLabels::All;
    let stretch = |i: usize| {
        let (begin, end) = (count * i / cores, count * (i + 1) / cores);
        let mut texts = Texts { ranks: &ranks, buffer: Vec::new(), few: Vec::new(), made: HashMap::new() };
        let mut selected = Vec::with_capacity(end - begin);
        let mut bytes = 0;
        for at in begin..end {
            let k = &keyed[at];
            let before = at.checked_sub(1).filter(|_| ranks.replaces).map(|b| list(&keyed[b]));
            let labels = if is_few { texts.shared(list(k)) } else { texts.labels(list(k)) };
            let repeats = before == Some(list(k));
            bytes += labels.as_bytes().len();
            selected.push(Selected { labels, partition: k.partition, slot: k.slot, repeats });
            if selected.len().is_multiple_of(BOUNDED_EVERY) || at + 1 == end {
                let bytes = std::mem::take(&mut bytes);
                wish.bounds.admit(0, wish.bytes.fetch_add(bytes, Relaxed) + bytes, wish.limit)?;
            }
        }
        Ok(selected)
    };
    out.reserve(count);
    for selected in cpu.share(cores, stretch) {
        out.append(&mut selected?);
    }
    Ok(())
}

/// The series of a partition in order.
struct Run {
    keys: Vec<Key>,
    /// Ranks of the series, one after the other.
    lists: Vec<u32>,
}

impl Run {
    fn of(partition: usize, picked: &Picked, ranks: &Ranks<'_>) -> Run {
        let (bits, per_key) = ranks.key_layout();
        let external = ranks.external.len() * picked.series.len();
        let mut lists: Vec<u32> = Vec::with_capacity(picked.lists.len() + external);
        let mut keys: Vec<Key> = Vec::with_capacity(picked.series.len());
        for (slot, own) in picked.series() {
            let begin = lists.len();
            ranks.append_list(partition, own, &mut lists);
            let first = &lists[begin..];
            let first = &first[..first.len().min(per_key)];
            let head = first.iter().fold(0, |key: u128, rank| key << bits | u128::from(*rank));
            let head = head.checked_shl(bits * (per_key - first.len()) as u32).unwrap_or(0);
            let list = begin as u32..lists.len() as u32;
            keys.push(Key { head, list, partition: partition as u8, slot });
        }
        let list = |k: &Key| &lists[k.list.start as usize..k.list.end as usize];
        keys.sort_unstable_by(|a, b| a.compare(b, per_key, list));
        Run { keys, lists }
    }
}

/// A series by its ranks.
struct Key {
    /// The first ranks.
    head: u128,
    /// Where all of them are, in the run of its partition.
    list: Range<u32>,
    partition: u8,
    slot: u32,
}

impl Key {
    /// Compares by all ranks, `per_key` of which are in the head.
    fn compare<'a>(&self, other: &Key, per_key: usize, list: impl Fn(&Key) -> &'a [u32]) -> Ordering {
        let tail = |k: &Key| list(k).get(per_key..).unwrap_or_default();
        self.head.cmp(&other.head).then_with(|| tail(self).cmp(tail(other)))
    }
}

/// Makes label sets of ranks.
struct Texts<'a> {
    ranks: &'a Ranks<'a>,
    buffer: Vec<u8>,
    /// The ranks of a series whose labels are wanted.
    few: Vec<u32>,
    /// Sets that were made of them, where many series have the same.
    made: HashMap<Box<[u32]>, Labels>,
}

impl Texts<'_> {
    fn labels(&mut self, list: &[u32]) -> Labels {
        self.buffer.clear();
        for rank in list {
            self.buffer.extend_from_slice(self.ranks.texts[*rank as usize]);
        }
        LabelsRef::from_canonical(&self.buffer).to_labels()
    }

    fn shared(&mut self, list: &[u32]) -> Labels {
        let mut few = std::mem::take(&mut self.few);
        few.clear();
        few.extend(list.iter().filter(|rank| !self.ranks.texts[**rank as usize].is_empty()));
        let labels = match self.made.get(&few[..]) {
            Some(labels) => labels.clone(),
            None => {
                let labels = self.labels(&few);
                self.made.insert(few[..].into(), labels.clone());
                labels
            }
        };
        self.few = few;
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
        let bits = usize::BITS - self.texts.len().leading_zeros();
        (bits, (u128::BITS / bits) as usize)
    }

    /// Appends the ranks of a series' merged labels, in order.
    fn append_list(&self, partition: usize, own: &[u32], lists: &mut Vec<u32>) {
        let (ranks, mut external) = (&self.own[partition], &self.external[..]);
        for label in own {
            let rank = ranks[*label as usize];
            if rank == 0 {
                continue;
            }
            while let [before, rest @ ..] = external
                && *before < rank
            {
                lists.push(*before);
                external = rest;
            }
            lists.push(rank);
        }
        lists.extend_from_slice(external);
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
