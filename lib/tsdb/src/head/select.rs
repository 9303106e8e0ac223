//! From matchers to series: set arithmetic on postings, as Prometheus' `PostingsForMatchers` defines it.
//!
//! A matcher that accepts the empty value also accepts series without the label; such matchers take series away,
//! the others narrow. Literals are looked up, other patterns are tried on every value of their label.
//!
//! Invariant: the result is rising and holds exactly the series of the index that satisfy all matchers; series that
//! are dead but not swept yet may be among them.

use cairn_model::Matcher;

use super::pairs::PairId;
use super::partition::TenantIndex;
use super::postings::{intersect, subtract, union};

/// The slots of the series that satisfy all `matchers`.
pub fn select(index: &TenantIndex, matchers: &[Matcher]) -> Vec<u32> {
    let (narrowing, removing): (Vec<_>, Vec<_>) = matchers.iter().partition(|m| !m.matches_empty());
    let mut candidates: Vec<Vec<PairId>> = Vec::with_capacity(narrowing.len());
    for m in narrowing {
        let pairs = accepted_pairs(index, m);
        if pairs.is_empty() {
            return Vec::new();
        }
        candidates.push(pairs);
    }
    // The shortest list first: every further one only takes away from it.
    let length = |pairs: &Vec<PairId>| pairs.iter().map(|p| index.pairs.postings(*p).len()).sum::<usize>();
    candidates.sort_by_cached_key(length);
    let mut candidates = candidates.into_iter();
    let mut slots = match candidates.next() {
        Some(pairs) => union(pairs.iter().map(|p| index.pairs.postings(*p))),
        None => index.all.iter().collect(),
    };
    for pairs in candidates {
        match pairs[..] {
            [one] => intersect(&mut slots, index.pairs.postings(one).iter()),
            _ => intersect(&mut slots, union(pairs.iter().map(|p| index.pairs.postings(*p))).into_iter()),
        }
    }
    for m in removing {
        let pairs = refused_pairs(index, m);
        match pairs[..] {
            [] => {}
            [one] => subtract(&mut slots, index.pairs.postings(one).iter()),
            _ => subtract(&mut slots, union(pairs.iter().map(|p| index.pairs.postings(*p))).into_iter()),
        }
    }
    slots
}

/// Pairs whose value satisfies `m`, which refuses the empty value.
fn accepted_pairs(index: &TenantIndex, m: &Matcher) -> Vec<PairId> {
    if !m.is_negative()
        && let Some(literals) = m.literals()
    {
        return literals.iter().filter_map(|value| index.pairs.find(&m.name, value)).collect();
    }
    let pairs = index.pairs.of_name(&m.name).iter().copied();
    if m.matches_any_non_empty() && !m.is_negative() {
        return pairs.collect();
    }
    pairs.filter(|p| m.matches(index.pairs.text(*p).1)).collect()
}

/// Pairs whose value does not satisfy `m`, which accepts the empty value.
fn refused_pairs(index: &TenantIndex, m: &Matcher) -> Vec<PairId> {
    if m.is_negative()
        && let Some(literals) = m.literals()
    {
        return literals.iter().filter_map(|value| index.pairs.find(&m.name, value)).collect();
    }
    if m.matches_anything() && !m.is_negative() {
        return Vec::new();
    }
    let pairs = index.pairs.of_name(&m.name).iter().copied();
    pairs.filter(|p| !m.matches(index.pairs.text(*p).1)).collect()
}
