use super::*;
use proptest::prelude::*;

const H: i64 = 3_600_000;
const NOW: i64 = 10_000 * H;

fn key(resolution_ms: i64) -> GroupKey {
    GroupKey { resolution_ms, labels: Labels::from_pairs([("tenant_id", "a")]).unwrap() }
}

fn block(n: u128, min_h: i64, max_h: i64) -> PlanBlock {
    let ulid = Ulid::from_parts(1, n);
    PlanBlock {
        ulid,
        min_ms: min_h * H,
        max_ms: max_h * H,
        index_bytes: 1 << 20,
        sources: vec![ulid],
        no_compact: false,
        no_downsample: false,
        foreign: false,
    }
}

fn numbers(d: &Decision) -> Vec<u128> {
    match d {
        Decision::Compact(list) => list.iter().map(Ulid::random).collect(),
        other => panic!("{other:?}"),
    }
}

fn decide_now(blocks: &[PlanBlock]) -> Decision {
    decide(&key(0), blocks, &PlanConfig::default(), NOW)
}

#[test]
fn the_smallest_settled_window_with_two_blocks_is_first() {
    let blocks = [block(1, 0, 2), block(2, 2, 4), block(3, 6, 8), block(4, 8, 10)];
    assert_eq!(numbers(&decide_now(&blocks)), [1, 2, 3], "gaps do not matter, the window's edge does");
    let blocks = [block(1, 0, 8), block(2, 8, 16), block(3, 64, 66), block(4, 66, 68)];
    assert_eq!(numbers(&decide_now(&blocks)), [3, 4], "8 h before 2 d");
    let blocks = [block(1, 0, 8), block(2, 8, 16), block(3, 64, 72)];
    assert_eq!(numbers(&decide_now(&blocks)), [1, 2]);
    assert_eq!(decide_now(&[block(1, 0, 8)]), Decision::Rest);
    assert_eq!(decide_now(&[]), Decision::Rest);
}

#[test]
fn overlapping_blocks_are_ordinary_input() {
    let blocks = [block(1, 0, 2), block(2, 0, 2), block(3, 1, 3)];
    assert_eq!(numbers(&decide_now(&blocks)), [1, 2, 3]);
    let late = [block(1, 0, 8), block(2, 4, 6)];
    assert_eq!(numbers(&decide_now(&late)), [1, 2], "a late block is merged into its compacted window");
}

#[test]
fn windows_are_left_alone_until_they_are_settled() {
    let blocks = [block(1, 9_992, 9_994), block(2, 9_994, 9_996)];
    let at = |h: i64| decide(&key(0), &blocks, &PlanConfig::default(), h * H);
    assert_eq!(at(10_002), Decision::Rest);
    assert_eq!(numbers(&at(10_003)), [1, 2]);
}

#[test]
fn downsampled_blocks_that_overlap_wait_for_the_garbage_to_go() {
    let blocks = [block(1, 0, 48), block(2, 0, 48)];
    assert_eq!(decide(&key(300_000), &blocks, &PlanConfig::default(), NOW), Decision::Rest);
    let side_by_side = [block(1, 0, 48), block(2, 48, 96)];
    assert_eq!(numbers(&decide(&key(300_000), &side_by_side, &PlanConfig::default(), NOW)), [1, 2]);
}

#[test]
fn marked_and_too_large_blocks_do_not_stop_the_others() {
    let mut blocks = vec![block(1, 0, 2), block(2, 2, 4), block(3, 4, 6)];
    blocks[0].no_compact = true;
    assert_eq!(numbers(&decide_now(&blocks)), [2, 3]);
    blocks[1].index_bytes = 63 << 30;
    blocks[2].index_bytes = 2 << 30;
    assert_eq!(decide_now(&blocks), Decision::TooLarge(blocks[1].ulid));
    blocks[1].no_compact = true;
    assert_eq!(decide_now(&blocks), Decision::Rest);
}

#[test]
fn a_fresh_block_of_another_compactor_stops_its_group_unless_taken_over() {
    let mut blocks = vec![block(1, 0, 2), block(2, 2, 4)];
    blocks[1].foreign = true;
    assert_eq!(numbers(&decide_now(&blocks)), [1, 2], "an old one does not");
    blocks[1].ulid = Ulid::from_parts((NOW - 47 * H) as u64, 2);
    assert_eq!(decide_now(&blocks), Decision::LeftAlone(blocks[1].ulid));
    let takeover = PlanConfig { takeover: true, ..PlanConfig::default() };
    assert_eq!(numbers(&decide(&key(0), &blocks, &takeover, NOW)), [1, 2]);
}

#[test]
fn garbage_is_what_another_block_contains() {
    let (a, b) = (block(1, 0, 2), block(2, 2, 4));
    let mut merged = block(3, 0, 4);
    merged.sources = vec![a.ulid, b.ulid];
    let mut larger = block(4, 0, 8);
    larger.sources = vec![a.ulid, b.ulid, block(5, 4, 8).ulid];
    let pairs = garbage(&[a.clone(), b.clone(), merged.clone(), larger.clone()]);
    assert_eq!(pairs, [(a.ulid, larger.ulid), (b.ulid, larger.ulid), (merged.ulid, larger.ulid)]);
    let twin = PlanBlock { ulid: Ulid::from_parts(1, 9), ..merged.clone() };
    assert!(garbage(&[merged, twin]).is_empty(), "of equals none is garbage");
}

#[test]
fn ranges_must_grow_by_whole_factors() {
    assert!(PlanConfig::default().validate().is_ok());
    for bad in [vec![], vec![0], vec![2, 2], vec![2, 5]] {
        assert!(PlanConfig { ranges_ms: bad, ..PlanConfig::default() }.validate().is_err());
    }
}

proptest! {
    /// Whatever blocks there are, carrying plans out comes to an end, loses no source, and leaves at most one block
    /// in each settled window.
    #[test]
    fn planning_ends_and_keeps_every_source(
        starts in prop::collection::vec((0i64..200, 1i64..4), 0..40),
    ) {
        let mut blocks: Vec<PlanBlock> =
            starts.iter().enumerate().map(|(i, (s, n))| block(i as u128, s * 2, s * 2 + n * 2)).collect();
        let all: std::collections::BTreeSet<Ulid> = blocks.iter().map(|b| b.ulid).collect();
        for round in 0u128.. {
            prop_assert!(round < 200, "planning does not end");
            blocks.sort_by_key(|b| (b.min_ms, b.max_ms, b.ulid));
            let Decision::Compact(inputs) = decide_now(&blocks) else { break };
            let (gone, mut kept): (Vec<_>, Vec<_>) =
                blocks.into_iter().partition(|b| inputs.contains(&b.ulid));
            prop_assert!(gone.len() >= 2);
            let mut out = block(1_000 + round, 0, 0);
            out.min_ms = gone.iter().map(|b| b.min_ms).min().unwrap();
            out.max_ms = gone.iter().map(|b| b.max_ms).max().unwrap();
            out.sources = gone.iter().flat_map(|b| b.sources.clone()).collect();
            out.sources.sort_unstable();
            kept.push(out);
            blocks = kept;
        }
        let left: std::collections::BTreeSet<Ulid> = blocks.iter().flat_map(|b| b.sources.clone()).collect();
        prop_assert_eq!(left, all);
        for range in &PlanConfig::default().ranges_ms[1..] {
            for w in windows(&blocks, *range) {
                prop_assert!(w.blocks.len() < 2);
            }
        }
    }
}
