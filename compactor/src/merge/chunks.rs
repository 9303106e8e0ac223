//! The chunks of one series from several blocks as one sequence without overlap.
//!
//! Chunks that overlap no other are copied. Equal chunks, as replicas and repeated uploads have them, count once.
//! Only what overlaps is decoded, merged by time and encoded anew.
//!
//! A histogram chunk may say that no counter reset lies between it and the chunk before it. That is true only
//! beside the chunk it was written after, so when its neighbour now comes from another input the remark becomes
//! "unknown", which readers resolve by comparing.

use cairn_model::Encoding;
use cairn_model::sample::Sample;
use cairn_tsdb::block::BlockChunk;
use cairn_tsdb::chunkenc::{ChunkBuilder, ChunkDecoder, CutRule};
use cairn_tsdb::head::order;

use super::MergeStats;

/// Stands for "written by this merge" among the numbers of inputs.
const MERGED: usize = usize::MAX;
/// Where the flags of a histogram chunk are.
const FLAGS_AT: usize = 2;
/// Flag bits of the counter-reset header, and its value for "no reset".
const RESET_MASK: u8 = 0xC0;
const NOT_RESET: u8 = 0x40;

/// Fills `out` with the union of `chunks`, each with the number of its input. Sorts `chunks`.
///
/// # Errors
/// Number of the input whose chunk cannot be decoded, and why.
pub fn join(
    chunks: &mut [(usize, BlockChunk)],
    out: &mut Vec<BlockChunk>,
    stats: &mut MergeStats,
) -> Result<(), (usize, String)> {
    out.clear();
    chunks.sort_by_key(|(input, c)| (c.min_ms, c.max_ms, *input));
    let mut previous = None;
    let mut at = 0;
    while at < chunks.len() {
        let mut end_ms = chunks[at].1.max_ms;
        let mut end = at + 1;
        while end < chunks.len() && chunks[end].1.min_ms <= end_ms {
            end_ms = end_ms.max(chunks[end].1.max_ms);
            end += 1;
        }
        let run = &chunks[at..end];
        let (input, first) = &run[0];
        if run.iter().all(|(_, c)| c == first) {
            stats.passed_through += 1;
            stats.equal += run.len() as u64 - 1;
            let neighbour = previous.is_some_and(|p| p != *input);
            out.push(if neighbour { without_reset_remark(first) } else { first.clone() });
            previous = Some(*input);
        } else {
            stats.decoded += run.len() as u64;
            reencode(run, out)?;
            previous = Some(MERGED);
        }
        at = end;
    }
    Ok(())
}

fn without_reset_remark(chunk: &BlockChunk) -> BlockChunk {
    let histogram =
        matches!(Encoding::from_byte(chunk.encoding), Some(Encoding::Histogram | Encoding::FloatHistogram));
    match chunk.data.get(FLAGS_AT) {
        Some(flags) if histogram && flags & RESET_MASK == NOT_RESET => {
            let mut data = chunk.data.to_vec();
            data[FLAGS_AT] &= !RESET_MASK;
            BlockChunk { data: data.into(), ..chunk.clone() }
        }
        _ => chunk.clone(),
    }
}

fn reencode(run: &[(usize, BlockChunk)], out: &mut Vec<BlockChunk>) -> Result<(), (usize, String)> {
    let mut samples: Vec<Sample> = Vec::new();
    let mut rule = CutRule::default();
    for (i, (input, c)) in run.iter().enumerate() {
        if run[..i].iter().any(|(_, seen)| seen == c) {
            continue;
        }
        let Some(encoding) = Encoding::from_byte(c.encoding) else {
            return Err((*input, format!("chunks of encoding {} overlap and cannot be merged", c.encoding)));
        };
        rule.xor2 |= encoding == Encoding::Xor2;
        for sample in ChunkDecoder::new(encoding, &c.data) {
            samples.push(sample.map_err(|m| (*input, m.to_string()))?);
        }
    }
    // Of equal times the greater value is kept, as every replica and reader keeps it.
    samples.sort_by(|a, b| a.t_ms.cmp(&b.t_ms).then_with(|| order::compare(&b.value, &a.value)));
    samples.dedup_by(|later, kept| later.t_ms == kept.t_ms);
    let mut builder = ChunkBuilder::new(rule);
    for s in &samples {
        builder.push(s.t_ms, s.start_ms, &s.value);
    }
    out.extend(builder.finish().iter().flat_map(|c| BlockChunk::from_chunk(c, rule)));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::Value;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn chunks_of(samples: &BTreeMap<i64, f64>, per_chunk: usize) -> Vec<BlockChunk> {
        let rule = CutRule { max_samples: per_chunk, ..CutRule::default() };
        let mut b = ChunkBuilder::new(rule);
        for (t, v) in samples {
            b.push(*t, 0, &Value::Float(*v));
        }
        b.finish().iter().flat_map(|c| BlockChunk::from_chunk(c, rule)).collect()
    }

    fn samples_of(chunks: &[BlockChunk]) -> Vec<(i64, u64)> {
        let mut all = Vec::new();
        for c in chunks {
            for s in ChunkDecoder::new(Encoding::from_byte(c.encoding).unwrap(), &c.data) {
                let s = s.unwrap();
                let Value::Float(v) = s.value else { panic!("floats only") };
                assert!((c.min_ms..=c.max_ms).contains(&s.t_ms));
                all.push((s.t_ms, v.to_bits()));
            }
        }
        all
    }

    proptest! {
        #[test]
        fn the_union_is_kept_and_only_overlaps_are_decoded(
            inputs in prop::collection::vec(
                (prop::collection::btree_map(0i64..300, 0u8..3, 0..60), 1usize..20), 1..5),
        ) {
            let mut expected: BTreeMap<i64, f64> = BTreeMap::new();
            let mut chunks = Vec::new();
            for (i, (samples, per_chunk)) in inputs.iter().enumerate() {
                let samples: BTreeMap<i64, f64> = samples.iter().map(|(t, v)| (*t, f64::from(*v))).collect();
                for (t, v) in &samples {
                    let kept = expected.entry(*t).or_insert(*v);
                    *kept = kept.max(*v);
                }
                chunks.extend(chunks_of(&samples, *per_chunk).into_iter().map(|c| (i, c)));
            }
            let before = chunks.clone();
            let (mut out, mut stats) = (Vec::new(), MergeStats::default());
            join(&mut chunks, &mut out, &mut stats).unwrap();
            let expected: Vec<(i64, u64)> = expected.into_iter().map(|(t, v)| (t, v.to_bits())).collect();
            prop_assert_eq!(samples_of(&out), expected);
            prop_assert!(out.windows(2).all(|w| w[0].max_ms < w[1].min_ms));
            prop_assert_eq!(stats.passed_through + stats.equal + stats.decoded, before.len() as u64);
            for (_, c) in &before {
                let overlaps_other =
                    before.iter().any(|(_, o)| o != c && o.min_ms <= c.max_ms && c.min_ms <= o.max_ms);
                prop_assert!(overlaps_other || out.contains(c), "a chunk alone is passed through");
            }
        }
    }

    #[test]
    fn a_no_reset_remark_does_not_survive_a_new_neighbour() {
        let chunk = |input: usize, t: i64, flags: u8| {
            let data = vec![0, 1, flags, 9, 9].into();
            (input, BlockChunk { min_ms: t, max_ms: t, encoding: Encoding::Histogram as u8, data })
        };
        let mut chunks =
            vec![chunk(0, 1, 0), chunk(0, 2, 0x40), chunk(1, 3, 0x40), chunk(1, 4, 0xC0), chunk(0, 5, 0x80)];
        let (mut out, mut stats) = (Vec::new(), MergeStats::default());
        join(&mut chunks, &mut out, &mut stats).unwrap();
        let flags: Vec<u8> = out.iter().map(|c| c.data[2]).collect();
        assert_eq!(flags, [0, 0x40, 0, 0xC0, 0x80]);
    }
}
