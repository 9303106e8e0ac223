//! Coarser buckets for integer histograms, as ingestion needs them: schemas finer than
//! [`MAX_EXPONENTIAL_SCHEMA`](super::MAX_EXPONENTIAL_SCHEMA) are accepted and stored reduced.

use super::bounds::coarser_index;
use super::buckets::indexes;
use super::{CUSTOM_BUCKETS_SCHEMA, Histogram, Span};

impl Histogram {
    /// Merges buckets so that the schema becomes `schema`; nothing happens when it is as coarse already, or has
    /// custom buckets. The layout must be valid ([`Histogram::validate`]).
    pub fn reduce_resolution(&mut self, schema: i32) {
        if self.schema == CUSTOM_BUCKETS_SCHEMA || schema >= self.schema {
            return;
        }
        for (spans, deltas) in [
            (&mut self.positive_spans, &mut self.positive_buckets),
            (&mut self.negative_spans, &mut self.negative_buckets),
        ] {
            (*spans, *deltas) = merged(spans, deltas, self.schema, schema);
        }
        self.schema = schema;
    }
}

/// The buckets of schema `from`, which come in rising order of their indexes, as buckets of schema `to`.
fn merged(spans: &[Span], deltas: &[i64], from: i32, to: i32) -> (Vec<Span>, Vec<i64>) {
    let (mut new_spans, mut new_deltas) = (Vec::<Span>::new(), Vec::<i64>::new());
    let (mut count, mut before, mut current) = (0i64, 0i64, None::<(i32, i64)>);
    let mut end = 0i32;
    let mut push = |(index, sum): (i32, i64)| {
        match new_spans.last_mut() {
            Some(span) if index == end => span.length += 1,
            _ => new_spans.push(Span { offset: index.wrapping_sub(end), length: 1 }),
        }
        end = index.wrapping_add(1);
        new_deltas.push(sum.wrapping_sub(before));
        before = sum;
    };
    for (index, delta) in indexes(spans).zip(deltas) {
        count = count.wrapping_add(*delta);
        let coarse = coarser_index(index, from, to);
        current = match current {
            Some((i, sum)) if i == coarse => Some((i, sum.wrapping_add(count))),
            finished => {
                if let Some(bucket) = finished {
                    push(bucket);
                }
                Some((coarse, count))
            }
        };
    }
    if let Some(bucket) = current {
        push(bucket);
    }
    (new_spans, new_deltas)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn histogram(schema: i32, buckets: &[(u8, u8)]) -> Histogram {
        let mut h = Histogram { schema, ..Histogram::default() };
        let mut before = 0;
        for (i, (gap, count)) in buckets.iter().enumerate() {
            let offset = if i == 0 { i32::from(*gap) - 100 } else { i32::from(*gap) };
            h.positive_spans.push(Span { offset, length: 1 });
            h.positive_buckets.push(i64::from(*count) - before);
            before = i64::from(*count);
            h.count += u64::from(*count);
        }
        h.negative_spans = h.positive_spans.clone();
        h.negative_buckets = h.positive_buckets.clone();
        h.count *= 2;
        h
    }

    proptest! {
        #[test]
        fn agrees_with_the_reduction_of_float_histograms(
            buckets in prop::collection::vec((0u8..200, 1u8..), 0..20),
            (from, to) in (-4i32..=12).prop_flat_map(|from| (Just(from), -4..=from)),
        ) {
            let mut h = histogram(from, &buckets);
            prop_assert!(h.validate().is_ok());
            let mut float = h.to_float();
            h.reduce_resolution(to);
            float.reduce_resolution(to);
            prop_assert!(h.validate().is_ok());
            let reduced = h.to_float();
            prop_assert_eq!(reduced.schema, to);
            prop_assert_eq!(
                reduced.positive().collect::<Vec<_>>(),
                float.positive().collect::<Vec<_>>()
            );
            prop_assert_eq!(
                reduced.negative().collect::<Vec<_>>(),
                float.negative().collect::<Vec<_>>()
            );
        }
    }
}
