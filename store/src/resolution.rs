//! Which blocks answer a range at which resolution: a pure function.
//!
//! The coarsest resolution that the request allows comes first; what its blocks leave open is filled with the next
//! finer one, and so on. A finer block is asked only for the gap it fills, so no stretch is answered twice at two
//! resolutions. Source: reference of Thanos' store gateway.

/// Resolutions that blocks have, coarsest first, in milliseconds.
pub const RESOLUTIONS_MS: [i64; 3] = [3_600_000, 300_000, 0];

/// The coarsest resolution that serves a selector with a range of `range_ms` (0 = none): at least two windows must fit
/// into the range, or a rate over it would see one point. Found by comparing with Thanos' answers: `range / 2` gives
/// them all, `range` and `range / 5` do not.
pub fn useful(max_resolution_ms: i64, range_ms: i64) -> i64 {
    if range_ms > 0 { max_resolution_ms.min(range_ms / 2) } else { max_resolution_ms }
}

/// What the choice needs to know of a block.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// First time.
    pub min_ms: i64,
    /// First time after it.
    pub max_ms: i64,
    /// Resolution, 0 = raw.
    pub resolution_ms: i64,
}

/// A block to ask, by its number, for `min_ms ..= max_ms`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Choice {
    /// Number of the block in the list.
    pub block: usize,
    /// First time to ask for.
    pub min_ms: i64,
    /// Last time to ask for.
    pub max_ms: i64,
}

/// Which of `blocks` answer `min_ms ..= max_ms` at `max_resolution_ms` or finer. A block may be asked for several gaps.
pub fn choose(blocks: &[Extent], min_ms: i64, max_ms: i64, max_resolution_ms: i64) -> Vec<Choice> {
    let levels: Vec<i64> = RESOLUTIONS_MS.into_iter().filter(|r| *r <= max_resolution_ms.max(0)).collect();
    let mut out = Vec::new();
    fill(blocks, &levels, min_ms, max_ms, &mut out);
    out
}

fn fill(blocks: &[Extent], levels: &[i64], min_ms: i64, max_ms: i64, out: &mut Vec<Choice>) {
    let Some((resolution_ms, finer)) = levels.split_first() else { return };
    if min_ms > max_ms {
        return;
    }
    let wanted = |b: &&(usize, &Extent)| {
        b.1.resolution_ms == *resolution_ms && b.1.max_ms > min_ms && b.1.min_ms <= max_ms
    };
    let mut here: Vec<(usize, &Extent)> =
        blocks.iter().enumerate().collect::<Vec<_>>().iter().filter(wanted).copied().collect();
    here.sort_by_key(|(i, b)| (b.min_ms, b.max_ms, *i));
    let mut start = min_ms;
    for (block, b) in here {
        fill(blocks, finer, start, b.min_ms.saturating_sub(1), out);
        out.push(Choice { block, min_ms: min_ms.max(b.min_ms), max_ms: max_ms.min(b.max_ms - 1) });
        start = start.max(b.max_ms);
    }
    fill(blocks, finer, start, max_ms, out);
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const R5M: i64 = 300_000;
    const R1H: i64 = 3_600_000;

    fn extent(min_ms: i64, max_ms: i64, resolution_ms: i64) -> Extent {
        Extent { min_ms, max_ms, resolution_ms }
    }

    fn chosen(blocks: &[Extent], max_resolution_ms: i64) -> Vec<(usize, i64, i64)> {
        choose(blocks, 0, 99, max_resolution_ms).iter().map(|c| (c.block, c.min_ms, c.max_ms)).collect()
    }

    #[test]
    fn the_coarsest_allowed_comes_first_and_finer_ones_fill_its_gaps() {
        let blocks = [extent(0, 100, 0), extent(20, 60, R5M), extent(30, 40, R1H)];
        assert_eq!(chosen(&blocks, 0), [(0, 0, 99)]);
        assert_eq!(chosen(&blocks, R5M), [(0, 0, 19), (1, 20, 59), (0, 60, 99)]);
        assert_eq!(chosen(&blocks, R1H), [(0, 0, 19), (1, 20, 29), (2, 30, 39), (1, 40, 59), (0, 60, 99)]);
        assert_eq!(chosen(&blocks, R5M - 1), [(0, 0, 99)]);
        assert_eq!(chosen(&[extent(0, 50, R5M)], 0), []);
        assert_eq!(choose(&blocks, 10, 9, R1H), []);
    }

    #[test]
    fn a_range_needs_two_windows() {
        assert_eq!(useful(R1H, 0), R1H);
        assert_eq!(useful(R1H, R1H), R1H / 2);
        assert_eq!(useful(R5M, R1H), R5M);
        assert_eq!(choose(&[extent(0, 9, R5M), extent(0, 9, 0)], 0, 8, useful(R5M, R5M))[0].block, 1);
    }

    #[test]
    fn overlapping_blocks_of_one_resolution_are_all_asked() {
        let blocks = [extent(0, 50, 0), extent(20, 80, 0), extent(30, 40, 0)];
        assert_eq!(chosen(&blocks, 0), [(0, 0, 49), (1, 20, 79), (2, 30, 39)]);
    }

    proptest! {
        #[test]
        fn every_time_is_answered_by_all_blocks_of_its_coarsest_allowed_resolution(
            raw in prop::collection::vec((0i64..100, 1i64..60, 0usize..3), 0..8),
            allowed in 0usize..3,
        ) {
            let blocks: Vec<Extent> =
                raw.iter().map(|(s, n, r)| extent(*s, s + n, RESOLUTIONS_MS[*r])).collect();
            let choices = choose(&blocks, 0, 99, RESOLUTIONS_MS[allowed]);
            for t in 0..100 {
                let covering = |r: i64| -> Vec<usize> {
                    let covers = |b: &Extent| b.resolution_ms == r && (b.min_ms..b.max_ms).contains(&t);
                    blocks.iter().enumerate().filter(|(_, b)| covers(b)).map(|(i, _)| i).collect()
                };
                let coarsest =
                    RESOLUTIONS_MS[allowed..].iter().map(|r| covering(*r)).find(|l| !l.is_empty());
                let mut asked: Vec<usize> =
                    choices.iter().filter(|c| (c.min_ms..=c.max_ms).contains(&t)).map(|c| c.block).collect();
                asked.sort_unstable();
                prop_assert_eq!(asked, coarsest.unwrap_or_default(), "at {}", t);
            }
        }
    }
}
