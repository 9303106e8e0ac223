//! Which series of two vectors belong together, and what labels their results have.

use cairn_model::labels::{METRIC_NAME, write_label};
use cairn_model::{Labels, LabelsBuilder};
use hashbrown::HashMap;

use super::super::column::{EvalSeries, is_metadata_label};
use crate::parser::ast::{VectorMatchCardinality, VectorMatching};

/// The part of a series' labels that decides about its partners.
pub struct Signature<'a> {
    on: bool,
    /// Sorted; for `ignoring` with the metric name.
    names: Vec<&'a str>,
}

impl<'a> Signature<'a> {
    /// What `matching` says.
    pub fn of(matching: &'a VectorMatching) -> Self {
        let mut names: Vec<&str> = matching.labels.iter().map(String::as_str).collect();
        if !matching.on {
            names.push(METRIC_NAME);
        }
        names.sort_unstable();
        names.dedup();
        Signature { on: matching.on, names }
    }

    fn keeps(&self, name: &str) -> bool {
        self.names.binary_search(&name).is_ok() == self.on
    }

    /// The deciding labels alone.
    pub fn labels(&self, labels: &Labels) -> Labels {
        labels.filtered(|n| self.keeps(n))
    }
}

/// Series with equal signatures, by side.
#[derive(Default)]
pub struct Match {
    /// Series of the left side.
    pub left: Vec<usize>,
    /// Series of the right side.
    pub right: Vec<usize>,
}

/// Brings series of equal signatures together. Matches are in the order of their first series, left side first.
pub fn matches(signature: &Signature<'_>, left: &[EvalSeries], right: &[EvalSeries]) -> Vec<Match> {
    let mut ids: HashMap<Box<[u8]>, usize> = HashMap::with_capacity(left.len());
    let mut found: Vec<Match> = Vec::with_capacity(left.len());
    let mut key = Vec::new();
    for (side, series) in [left, right].into_iter().enumerate() {
        for (i, s) in series.iter().enumerate() {
            key.clear();
            for (name, value) in s.labels.iter().filter(|(n, _)| signature.keeps(n)) {
                write_label(&mut key, name, value);
            }
            let id = match ids.get(key.as_slice()) {
                Some(id) => *id,
                None => {
                    ids.insert(key.as_slice().into(), found.len());
                    found.push(Match::default());
                    found.len() - 1
                }
            };
            let list = if side == 0 { &mut found[id].left } else { &mut found[id].right };
            list.push(i);
        }
    }
    found
}

/// The labels of a result: those of the many side, less what the operator or the matching removes, with what
/// `group_left` or `group_right` takes over from the one side.
pub fn result_labels(many: &Labels, one: &Labels, matching: &VectorMatching, drop_name: bool) -> Labels {
    let one_to_one = matching.card == VectorMatchCardinality::OneToOne;
    let listed = |n: &str| matching.labels.iter().any(|l| l == n);
    let kept =
        many.filtered(|n| !(drop_name && is_metadata_label(n)) && (!one_to_one || listed(n) == matching.on));
    if matching.include.is_empty() {
        return kept;
    }
    let mut b = LabelsBuilder::from_labels(kept.as_ref());
    for name in &matching.include {
        b.set(name, one.get(name).unwrap_or(""));
    }
    b.build()
}
