//! From matchers to series. A series without a label has the value "" for it, which the index does not list: so a
//! matcher that accepts "" is turned round and takes away the series whose value it refuses.
//!
//! Literal sets and prefixes are looked up; only other expressions are tried on every value of their label.

use cairn_model::Matcher;

use super::IndexReader;
use super::postings::{PostingsRef, union};
use crate::error::TsdbError;

/// What one matcher does to the set of series.
struct Step<'a> {
    lists: Vec<PostingsRef<'a>>,
    /// Whether series in the lists are kept or dropped.
    keep: bool,
}

/// References of the series for which all matchers hold, sorted.
///
/// # Errors
/// [`TsdbError::Corrupt`] when a list that is needed is not sound.
pub fn select(index: &IndexReader, matchers: &[Matcher]) -> Result<Vec<u32>, TsdbError> {
    let mut steps = Vec::with_capacity(matchers.len());
    for m in matchers {
        let drops_nothing = m.matches_anything() && !m.is_negative();
        if drops_nothing {
            continue;
        }
        let step = step(index, m)?;
        if step.keep && step.lists.is_empty() {
            return Ok(Vec::new());
        }
        steps.push(step);
    }
    // The smallest set to keep comes first: all later work is in proportion to it.
    steps.sort_by_key(|s| (!s.keep, s.lists.iter().map(|l| l.len()).sum::<usize>()));
    let mut steps = steps.into_iter();
    let mut refs = match steps.next() {
        Some(first) if first.keep => union(first.lists),
        Some(first) => {
            let mut all = index.all_series()?;
            apply(&first, &mut all);
            all
        }
        None => return index.all_series(),
    };
    for step in steps {
        if refs.is_empty() {
            break;
        }
        apply(&step, &mut refs);
    }
    Ok(refs)
}

fn apply(step: &Step<'_>, refs: &mut Vec<u32>) {
    match step.lists.as_slice() {
        [] if step.keep => refs.clear(),
        [] => {}
        [one] => one.filter(refs, step.keep),
        many if !step.keep => many.iter().for_each(|l| l.filter(refs, false)),
        many => {
            let wanted = union(many.iter().copied());
            refs.retain(|r| wanted.binary_search(r).is_ok());
        }
    }
}

fn step<'a>(index: &'a IndexReader, m: &Matcher) -> Result<Step<'a>, TsdbError> {
    let keep = !m.matches_empty();
    // Whether the listed values are those that the positive form accepts.
    let positive = keep != m.is_negative();
    let offsets = if positive { accepted(index, m) } else { refused(index, m) };
    let lists = offsets.into_iter().map(|o| index.postings_at(o)).collect::<Result<_, _>>()?;
    Ok(Step { lists, keep })
}

/// Offsets of the non-empty values that the positive form of `m` accepts.
fn accepted(index: &IndexReader, m: &Matcher) -> Vec<u64> {
    let table = index.postings_table();
    if let Some(literals) = m.literals() {
        return literals
            .into_iter()
            .filter(|v| !v.is_empty())
            .filter_map(|v| table.find(&m.name, v))
            .collect();
    }
    if m.matches_anything() || m.matches_any_non_empty() {
        return table.values(&m.name).map(|e| e.offset).collect();
    }
    let prefix = m.prefix();
    table
        .values_from(&m.name, prefix)
        .take_while(|e| e.value.starts_with(prefix))
        .filter(|e| m.matches(e.value) != m.is_negative())
        .map(|e| e.offset)
        .collect()
}

/// Offsets of the values that the positive form of `m` refuses.
fn refused(index: &IndexReader, m: &Matcher) -> Vec<u64> {
    let values = index.postings_table().values(&m.name);
    values.filter(|e| m.matches(e.value) == m.is_negative()).map(|e| e.offset).collect()
}
