//! Lowering the resolution of buckets read from chunks of a finer schema than is processed.

use cairn_model::Span;

use super::spans::indexes;

/// One side of a histogram at a schema coarser by `by`: 2^by neighbouring buckets become one. Absolute counts.
pub fn reduce_side<N: Copy>(
    spans: &[Span],
    counts: &[N],
    by: u32,
    add: impl Fn(N, N) -> N,
) -> (Vec<Span>, Vec<N>) {
    let mut out_spans: Vec<Span> = Vec::new();
    let mut out: Vec<N> = Vec::new();
    let mut end = 0i64; // index after the last bucket
    for (i, &n) in indexes(spans).zip(counts) {
        // Bucket i covers (base^(i−1), base^i], so the upper bound decides.
        let target = ((i - 1) >> by.min(62)) + 1;
        match out.last_mut() {
            Some(last) if target == end - 1 => {
                *last = add(*last, n);
                continue;
            }
            _ => out.push(n),
        }
        match out_spans.last_mut() {
            Some(last) if target == end => last.length += 1,
            _ => {
                let offset =
                    i32::try_from(target - end).expect("a coarser index is no larger than the finer one");
                out_spans.push(Span { offset, length: 1 });
            }
        }
        end = target + 1;
    }
    (out_spans, out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn neighbours_join_by_their_upper_bound() {
        let spans = [Span { offset: -3, length: 4 }, Span { offset: 1, length: 2 }];
        // indexes −3 −2 −1 0 | 2 3, at half the resolution −1 −1 0 0 | 1 2
        let (s, c) = reduce_side(&spans, &[1, 2, 3, 4, 5, 6], 1, |a, b| a + b);
        assert_eq!(s, [Span { offset: -1, length: 4 }]);
        assert_eq!(c, [3, 7, 5, 6]);
    }
}
