//! Sorted answers of many stores as one sorted answer.
//!
//! A k-way merge by labels. Series with equal labels become one entry; of chunks that are equal to the byte
//! only one stays (a block that is both on disk and in the bucket answers twice). Chunks that overlap with
//! different content stay both: the engine merges their samples by time.
//!
//! Invariant: labels of the result are strictly increasing, chunks of a series are in order of their start.

use std::cmp::Ordering;

use cairn_model::chunk::{AggrChunk, Chunk, ChunkData};
use cairn_model::labels::Labels;
use cairn_model::storage::Series;

/// Merges sorted lists. Within a list equal labels may repeat in consecutive entries.
///
/// Cost: O(n k) for n series in k lists. Stores that follow one another in time hold mostly the same series, so labels
/// are compared for equality first, and that is one comparison of memory.
pub fn merge_series(lists: Vec<Vec<Series>>) -> Vec<Series> {
    let mut lists: Vec<_> = lists.into_iter().filter(|l| !l.is_empty()).collect();
    if lists.len() == 1 {
        return join_runs(lists.remove(0));
    }
    let mut merged: Vec<Series> = Vec::with_capacity(lists.iter().map(Vec::len).max().unwrap_or(0));
    let mut sources: Vec<_> = lists.into_iter().map(Vec::into_iter).collect();
    let mut next: Vec<usize> = Vec::with_capacity(sources.len());
    loop {
        find_next(&sources, &mut next);
        if next.is_empty() {
            break;
        }
        for source in &next {
            push(&mut merged, sources[*source].next().expect("it was found to have one"));
        }
    }
    merged.iter_mut().for_each(settle_chunks);
    merged
}

/// The sources whose next series comes first by labels.
fn find_next(sources: &[std::vec::IntoIter<Series>], next: &mut Vec<usize>) {
    next.clear();
    let mut least: Option<&Labels> = None;
    for (i, source) in sources.iter().enumerate() {
        let Some(Series { labels, .. }) = source.as_slice().first() else { continue };
        let order =
            least.map_or(
                Ordering::Less,
                |known| {
                    if known == labels { Ordering::Equal } else { labels.cmp(known) }
                },
            );
        if order == Ordering::Less {
            next.clear();
            least = Some(labels);
        }
        if order != Ordering::Greater {
            next.push(i);
        }
    }
}

fn join_runs(mut list: Vec<Series>) -> Vec<Series> {
    if list.windows(2).all(|w| w[0].labels != w[1].labels) {
        list.iter_mut().for_each(settle_chunks);
        return list;
    }
    let mut joined: Vec<Series> = Vec::with_capacity(list.len());
    list.into_iter().for_each(|s| push(&mut joined, s));
    joined.iter_mut().for_each(settle_chunks);
    joined
}

fn push(merged: &mut Vec<Series>, mut series: Series) {
    match merged.last_mut() {
        Some(last) if last.labels == series.labels => {
            // Data moves down the list of stores, so what comes later mostly belongs before.
            if let (Some(end), Some(begin)) = (series.chunks.last(), last.chunks.first())
                && end.max_ms() < begin.min_ms()
            {
                std::mem::swap(&mut last.chunks, &mut series.chunks);
            }
            last.chunks.append(&mut series.chunks);
        }
        _ => merged.push(series),
    }
}

fn settle_chunks(series: &mut Series) {
    let ordered = series.chunks.windows(2).all(|w| w[0].max_ms() < w[1].min_ms());
    if ordered {
        return; // the common case: one store, or stores that follow one another in time
    }
    let range = |c: &AggrChunk| (c.min_ms(), c.max_ms());
    series.chunks.sort_by_key(range);
    if series.chunks.windows(2).all(|w| range(&w[0]) != range(&w[1])) {
        return;
    }
    let mut kept: Vec<AggrChunk> = Vec::with_capacity(series.chunks.len());
    for chunk in series.chunks.drain(..) {
        let range = (chunk.min_ms(), chunk.max_ms());
        let known = kept
            .iter()
            .rev()
            .take_while(|k| (k.min_ms(), k.max_ms()) == range)
            .any(|k| same_content(k, &chunk));
        if !known {
            kept.push(chunk);
        }
    }
    series.chunks = kept;
}

fn same_content(a: &AggrChunk, b: &AggrChunk) -> bool {
    let same = |a: &Chunk, b: &Chunk| match (&a.data, &b.data) {
        (ChunkData::Encoded(ea, ba), ChunkData::Encoded(eb, bb)) => ea == eb && ba == bb,
        _ => false,
    };
    let slot = |a: &Option<Chunk>, b: &Option<Chunk>| match (a, b) {
        (None, None) => true,
        (Some(a), Some(b)) => same(a, b),
        _ => false,
    };
    match (a, b) {
        (AggrChunk::Raw(a), AggrChunk::Raw(b)) => same(a, b),
        (AggrChunk::Downsampled(a), AggrChunk::Downsampled(b)) => {
            slot(&a.count, &b.count)
                && slot(&a.sum, &b.sum)
                && slot(&a.min, &b.min)
                && slot(&a.max, &b.max)
                && slot(&a.counter, &b.counter)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::Bytes;
    use cairn_model::chunk::Encoding;
    use proptest::prelude::*;

    fn chunk(min_ms: i64, content: u8) -> AggrChunk {
        let data = ChunkData::Encoded(Encoding::Xor, Bytes::copy_from_slice(&[content]));
        AggrChunk::Raw(Chunk { min_ms, max_ms: min_ms + 9, data })
    }

    fn series(name: &str, chunks: Vec<AggrChunk>) -> Series {
        Series { labels: Labels::from_pairs([("__name__", name)]).unwrap(), chunks }
    }

    fn shape(merged: &[Series]) -> Vec<(String, Vec<i64>)> {
        merged
            .iter()
            .map(|s| (s.labels.to_string(), s.chunks.iter().map(AggrChunk::min_ms).collect()))
            .collect()
    }

    #[test]
    fn equal_series_join_and_equal_chunks_stay_once() {
        let merged = merge_series(vec![
            vec![series("a", vec![chunk(0, 1), chunk(10, 2)]), series("c", vec![chunk(0, 1)])],
            vec![series("a", vec![chunk(10, 2), chunk(20, 3)]), series("b", vec![])],
            vec![series("a", vec![chunk(10, 7)])],
        ]);
        let want = [("a", vec![0, 10, 10, 20]), ("b", vec![]), ("c", vec![0])];
        assert_eq!(shape(&merged), want.map(|(n, c)| (n.to_owned(), c)));
    }

    proptest! {
        #[test]
        fn result_is_the_sorted_union(lists in prop::collection::vec(
            prop::collection::vec((0u8..6, 0i64..5, 0u8..2), 0..12), 0..5))
        {
            let mut want = std::collections::BTreeMap::<String, std::collections::BTreeSet<(i64, u8)>>::new();
            let mut input = Vec::new();
            for list in lists {
                let mut sorted = list.clone();
                sorted.sort();
                input.push(sorted.iter().map(|(n, t, c)| {
                    want.entry(format!("m{n}")).or_default().insert((t * 10, *c));
                    series(&format!("m{n}"), vec![chunk(t * 10, *c)])
                }).collect::<Vec<_>>());
            }
            let got = merge_series(input);
            prop_assert!(got.windows(2).all(|w| w[0].labels < w[1].labels));
            let want: Vec<_> = want.into_iter()
                .map(|(n, set)| (n, set.into_iter().map(|(t, _)| t).collect::<Vec<_>>())).collect();
            prop_assert_eq!(shape(&got), want);
        }
    }
}
