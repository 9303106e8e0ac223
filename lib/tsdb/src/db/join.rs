//! Joining short chunks of floats when a window is cut.
//!
//! In the head a window's first chunk has a length of its own, and its last is what was left
//! ([`crate::head::chunks`]). So a window of few samples has more chunks than it needs, each of which costs a block some
//! thirty bytes. The shortest neighbours are joined until there are no more than Prometheus would have made.
//!
//! Invariant: the samples stay, each in its place.

use cairn_model::Encoding;

use crate::block::BlockChunk;
use crate::chunkenc::{ChunkBuilder, CutRule, Malformed, decode_floats};

/// Samples of a chunk that Prometheus aims at: a series needs no more chunks than so long ones would be.
const USUAL_SAMPLES: usize = 120;

/// Longest chunk that joining makes, as long as Prometheus' longest.
const MAX_SAMPLES: usize = 2 * USUAL_SAMPLES;

/// Joins neighbours among the chunks of a series, which are in order of time.
///
/// # Errors
/// [`Malformed`] when one of them does not decode.
pub fn join_short(chunks: &mut Vec<BlockChunk>) -> Result<(), Malformed> {
    while let Some(at) = shortest_pair(chunks) {
        let joined = join(&chunks[at..at + 2])?;
        chunks.splice(at..at + 2, joined);
    }
    Ok(())
}

/// The first of the two neighbours that have the fewest samples together; `None` when there are no chunks too many, or
/// none that may be joined.
fn shortest_pair(chunks: &[BlockChunk]) -> Option<usize> {
    let counts = || chunks.iter().filter(|c| holds_floats(c)).map(BlockChunk::samples);
    if counts().count() <= counts().sum::<usize>().div_ceil(USUAL_SAMPLES) {
        return None;
    }
    let together = |pair: &[BlockChunk]| pair[0].samples() + pair[1].samples();
    let pairs = chunks.windows(2).enumerate();
    let pairs = pairs.filter(|(_, pair)| pair.iter().all(holds_floats) && together(pair) <= MAX_SAMPLES);
    pairs.min_by_key(|(_, pair)| together(pair)).map(|(at, _)| at)
}

fn holds_floats(chunk: &BlockChunk) -> bool {
    chunk.encoding == Encoding::Xor as u8
}

/// The samples of `pair` in one chunk.
fn join(pair: &[BlockChunk]) -> Result<Vec<BlockChunk>, Malformed> {
    let (mut t_ms, mut values) = (Vec::with_capacity(MAX_SAMPLES), Vec::with_capacity(MAX_SAMPLES));
    for chunk in pair {
        decode_floats(Encoding::Xor, &chunk.data, &mut t_ms, &mut values)?;
    }
    let rule = CutRule { max_samples: MAX_SAMPLES, ..CutRule::default() };
    let mut builder = ChunkBuilder::new(rule);
    builder.push_floats(&t_ms, &values);
    Ok(builder.finish().iter().flat_map(|chunk| BlockChunk::from_chunk(chunk, rule)).collect())
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use proptest::prelude::*;

    use super::*;

    /// Chunks of so many samples each, of a counter every 30 s.
    fn chunks(lengths: &[usize]) -> Vec<BlockChunk> {
        let (mut all, mut next) = (Vec::new(), 0i64);
        for length in lengths {
            let rule = CutRule { max_samples: *length, ..CutRule::default() };
            let mut builder = ChunkBuilder::new(rule);
            let t_ms: Vec<i64> = (next..).take(*length).map(|i| i * 30_000).collect();
            let values: Vec<f64> = t_ms.iter().map(|t| (t / 7) as f64).collect();
            builder.push_floats(&t_ms, &values);
            all.extend(builder.finish().iter().flat_map(|c| BlockChunk::from_chunk(c, rule)));
            next += *length as i64;
        }
        all
    }

    fn samples(chunks: &[BlockChunk]) -> (Vec<i64>, Vec<f64>) {
        let (mut t_ms, mut values) = (Vec::new(), Vec::new());
        for chunk in chunks.iter().filter(|c| holds_floats(c)) {
            decode_floats(Encoding::Xor, &chunk.data, &mut t_ms, &mut values).unwrap();
        }
        (t_ms, values)
    }

    fn joined(lengths: &[usize]) -> Vec<usize> {
        let mut all = chunks(lengths);
        join_short(&mut all).unwrap();
        all.iter().map(BlockChunk::samples).collect()
    }

    #[test]
    fn short_neighbours_are_joined_while_there_are_chunks_too_many() {
        for (lengths, expected) in [
            // Two hours at 60, 30 and 15 s.
            (&[50, 70][..], &[120][..]),
            (&[12, 147, 81], &[159, 81]),
            (&[100, 140], &[100, 140]),
            (&[12, 143, 143, 143, 39], &[155, 143, 143, 39]),
            // Prometheus would have made as many.
            (&[130, 1, 130], &[130, 1, 130]),
            (&[10, 147, 147, 10], &[157, 147, 10]),
            (&[7], &[7]),
            (&[], &[]),
        ] {
            assert_eq!(joined(lengths), expected, "{lengths:?}");
        }
    }

    #[test]
    fn chunks_of_histograms_stay_and_keep_floats_apart() {
        let mut all = chunks(&[5, 5, 5]);
        all[1].encoding = Encoding::Histogram as u8;
        let before = all.clone();
        join_short(&mut all).unwrap();
        assert_eq!(all, before);
    }

    #[test]
    fn a_damaged_chunk_is_an_error() {
        let mut all = chunks(&[5, 5]);
        all[1].data = Bytes::from_static(&[0, 5, 1]);
        assert!(join_short(&mut all).is_err());
    }

    proptest! {
        #[test]
        fn samples_stay_and_chunks_are_as_few_as_they_may(lengths in prop::collection::vec(1usize..148, 0..8)) {
            let before = chunks(&lengths);
            let mut after = before.clone();
            join_short(&mut after).unwrap();
            prop_assert_eq!(samples(&after), samples(&before));
            for chunk in &after {
                let (t_ms, _) = samples(std::slice::from_ref(chunk));
                prop_assert_eq!((Some(&chunk.min_ms), Some(&chunk.max_ms)), (t_ms.first(), t_ms.last()));
            }
            let total: usize = lengths.iter().sum();
            let too_many = after.len() > total.div_ceil(USUAL_SAMPLES);
            let fits = |pair: &[BlockChunk]| pair[0].samples() + pair[1].samples() <= MAX_SAMPLES;
            prop_assert!(!(too_many && after.windows(2).any(fits)), "{:?}", lengths);
        }
    }
}
