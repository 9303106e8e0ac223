//! Arithmetic of bucket sets: spans as increasing bucket indexes, comparison, union, and moving counts from one
//! layout to another.

use cairn_model::Span;

/// How two sets of buckets differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Difference {
    /// The sample has buckets that the chunk lacks.
    pub chunk_lacks: bool,
    /// The chunk has buckets that the sample lacks.
    pub sample_lacks: bool,
}

/// Bucket indexes of spans, in order.
pub fn indexes(spans: &[Span]) -> impl Iterator<Item = i64> + '_ {
    let mut end = 0i64;
    spans.iter().flat_map(move |span| {
        let start = end + i64::from(span.offset);
        end = start + i64::from(span.length);
        start..end
    })
}

/// How many buckets spans describe.
pub fn bucket_count(spans: &[Span]) -> usize {
    spans.iter().map(|s| s.length as usize).sum()
}

/// Compares the buckets of a chunk's last counter sample with those of the next one. `None` when a bucket went
/// down or a populated one vanished, which only a counter reset does.
pub fn compare_counters<N: PartialOrd + Default + Copy>(
    chunk: (&[Span], &[N]),
    sample: (&[Span], &[N]),
) -> Option<Difference> {
    let mut a = indexes(chunk.0).zip(chunk.1.iter().copied()).peekable();
    let mut b = indexes(sample.0).zip(sample.1.iter().copied()).peekable();
    let mut difference = Difference::default();
    loop {
        match (a.peek(), b.peek()) {
            (None, None) => return Some(difference),
            (Some((ia, na)), Some((ib, nb))) if ia == ib => {
                if na > nb {
                    return None;
                }
                a.next();
                b.next();
            }
            (Some((ia, na)), other) if other.is_none_or(|(ib, _)| ia < ib) => {
                if *na != N::default() {
                    return None;
                }
                difference.sample_lacks = true;
                a.next();
            }
            _ => {
                difference.chunk_lacks = true;
                b.next();
            }
        }
    }
}

/// Compares the bucket sets of gauge samples, where counts may do anything.
pub fn compare_sets(chunk: &[Span], sample: &[Span]) -> Difference {
    let zeros = |spans| vec![0u8; bucket_count(spans)];
    compare_counters((chunk, &zeros(chunk)), (sample, &zeros(sample))).expect("all counts are equal")
}

/// The union of two bucket sets, in the fewest spans.
pub fn union(a: &[Span], b: &[Span]) -> Vec<Span> {
    let (mut ia, mut ib) = (indexes(a).peekable(), indexes(b).peekable());
    let mut merged: Vec<Span> = Vec::new();
    let mut end = 0i64; // index after the last bucket
    loop {
        let next = match (ia.peek(), ib.peek()) {
            (None, None) => return merged,
            (Some(&x), Some(&y)) => x.min(y),
            (Some(&x), None) | (None, Some(&x)) => x,
        };
        ia.next_if_eq(&next);
        ib.next_if_eq(&next);
        match merged.last_mut() {
            Some(last) if next == end => last.length += 1,
            _ => {
                let offset =
                    i32::try_from(next - end).expect("both layouts keep to the range of bucket indexes");
                merged.push(Span { offset, length: 1 });
            }
        }
        end = next + 1;
    }
}

/// Moves absolute counts from the layout `from` to the wider layout `to`; new buckets are empty.
pub fn widen<N: Copy + Default>(from: &[Span], counts: &[N], to: &[Span]) -> Vec<N> {
    let mut old = indexes(from).zip(counts.iter().copied()).peekable();
    let widened =
        indexes(to).map(|i| old.next_if(|(o, _)| *o == i).map_or_else(N::default, |(_, n)| n)).collect();
    debug_assert!(old.peek().is_none(), "the target layout holds every bucket of the source");
    widened
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spans(raw: &[(i32, u32)]) -> Vec<Span> {
        raw.iter().map(|&(offset, length)| Span { offset, length }).collect()
    }

    #[test]
    fn indexes_follow_offsets_gaps_and_empty_spans() {
        let s = spans(&[(-2, 2), (1, 0), (2, 1)]);
        assert_eq!(indexes(&s).collect::<Vec<_>>(), [-2, -1, 3]);
        assert_eq!(bucket_count(&s), 3);
    }

    #[test]
    fn union_joins_neighbours() {
        let u = union(&spans(&[(0, 2), (2, 1)]), &spans(&[(2, 2), (3, 1)]));
        assert_eq!(u, spans(&[(0, 5), (2, 1)]));
        assert_eq!(union(&[], &spans(&[(-3, 1)])), spans(&[(-3, 1)]));
        assert_eq!(widen(&spans(&[(0, 1), (3, 1)]), &[7, 9], &u), [7, 0, 0, 0, 9, 0]);
    }

    #[test]
    fn only_empty_buckets_may_vanish_from_a_counter() {
        let (old, new) = (spans(&[(0, 2)]), spans(&[(1, 2)]));
        let both = Difference { chunk_lacks: true, sample_lacks: true };
        assert_eq!(compare_counters((&old, &[0, 4]), (&new, &[4, 1])), Some(both));
        assert_eq!(compare_counters((&old, &[1, 4]), (&new, &[4, 1])), None);
        assert_eq!(compare_counters((&old, &[0, 4]), (&new, &[3, 1])), None);
        assert_eq!(compare_sets(&old, &new), both);
        assert_eq!(compare_sets(&old, &old), Difference::default());
    }
}
