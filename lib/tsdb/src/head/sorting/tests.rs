use std::collections::BTreeMap;

use cairn_model::TenantId;
use proptest::prelude::*;

use super::*;

/// Every other series in a partition of its own.
fn picked(sets: &[Labels]) -> Vec<Picked> {
    let mut parts = [(Picked::default(), Pairs::default()), (Picked::default(), Pairs::default())];
    for (slot, labels) in sets.iter().enumerate() {
        let (p, pairs) = &mut parts[slot % 2];
        let own: Vec<PairId> = labels.iter().map(|(name, value)| pairs.intern(name, value)).collect();
        p.add(slot as u32, &own, pairs);
    }
    parts.map(|p| p.0).into()
}

fn sorted(sets: &[Labels], external: &ExternalLabels, wanted: &WantedLabels) -> Vec<Selected> {
    let mut out = Vec::new();
    let bounds = ReadBounds::default();
    sort_into(&picked(sets), external, &wish(wanted, 0, &bounds), &CpuPool::inline(), &mut out).unwrap();
    out
}

fn wish<'a>(labels: &'a WantedLabels, limit: usize, bounds: &'a ReadBounds) -> Wish<'a> {
    Wish { labels, limit, bounds, bytes: AtomicUsize::new(0) }
}

fn external(labels: &BTreeMap<String, String>) -> ExternalLabels {
    ExternalLabels::for_tenant(&TenantId::new("t").unwrap(), &Labels::from_pairs(labels).unwrap())
}

proptest! {
    #[test]
    fn ranks_order_and_write_as_text_does(
        sets in prop::collection::btree_set(
            prop::collection::btree_map("[a-e]|u|tenant_id", "[xyz]{1,2}", 0..12), 0..30),
        labels in prop::collection::btree_map("[ct]|zz", "[xyz]", 0..3),
        names in prop::collection::btree_set("[a-e]|u|zz|tenant_id|none", 0..4),
    ) {
        let external = external(&labels);
        let sets: Vec<Labels> = sets.iter().map(|s| Labels::from_pairs(s).unwrap()).collect();
        let mut merged: Vec<Labels> = sets.iter().map(|s| external.merge(s.as_ref())).collect();
        merged.sort();
        let repeats: Vec<bool> =
            (0..merged.len()).map(|i| i > 0 && merged[i] == merged[i - 1]).collect();

        let all = sorted(&sets, &external, &WantedLabels::All);
        prop_assert_eq!(all.iter().map(|s| s.labels.clone()).collect::<Vec<_>>(), merged.clone());
        prop_assert_eq!(all.iter().map(|s| s.repeats).collect::<Vec<_>>(), repeats.clone());

        let wanted = WantedLabels::Only(names.iter().cloned().collect());
        let few = sorted(&sets, &external, &wanted);
        let kept: Vec<Labels> = merged.iter().map(|l| l.filtered(|n| names.contains(n))).collect();
        prop_assert_eq!(few.iter().map(|s| s.labels.clone()).collect::<Vec<_>>(), kept);
        prop_assert_eq!(few.iter().map(|s| s.repeats).collect::<Vec<_>>(), repeats);
    }
}

#[test]
fn more_labels_than_a_short_rank_can_number_are_in_order_too() {
    let set = |i: usize| Labels::from_pairs([("a", format!("{i:06}")), ("b", "x".to_owned())]).unwrap();
    let sets: Vec<Labels> = (0..70_000).rev().map(set).collect();
    let out = sorted(&sets, &external(&BTreeMap::new()), &WantedLabels::All);
    assert_eq!(out.len(), sets.len());
    assert!(out.is_sorted_by(|a, b| a.labels < b.labels));
}

#[test]
fn many_series_are_in_the_same_order_on_several_cores() {
    // Every fourth series is there twice once the external label has replaced its own.
    let set = |i: usize| {
        let replaced = if i.is_multiple_of(4) { "mine" } else { "yours" };
        let zone = format!("{:02}", i % 7);
        let pairs = [("a", format!("{:04}", i * 7919 % 3001)), ("c", replaced.to_owned()), ("z", zone)];
        Labels::from_pairs(pairs).unwrap()
    };
    let sets: Vec<Labels> = (0..3000).map(set).chain((0..3000).step_by(4).map(|i| set(i + 1))).collect();
    let external = external(&BTreeMap::from([("c".to_owned(), "theirs".to_owned())]));
    for wanted in [WantedLabels::All, WantedLabels::Only(vec!["z".to_owned()])] {
        let alone = sorted(&sets, &external, &wanted);
        let mut together = Vec::new();
        let bounds = ReadBounds::default();
        let cpu = CpuPool::threads(3);
        sort_into(&picked(&sets), &external, &wish(&wanted, 0, &bounds), &cpu, &mut together).unwrap();
        let shown = |all: &[Selected]| -> Vec<(Labels, u8, u32, bool)> {
            all.iter().map(|s| (s.labels.clone(), s.partition, s.slot, s.repeats)).collect()
        };
        assert_eq!(shown(&alone), shown(&together));
        assert!(alone.iter().any(|s| s.repeats));
    }
}

#[test]
fn labels_are_made_as_far_as_limit_and_bounds_go() {
    let set = |i: usize| Labels::from_pairs([("a", format!("{i:04}"))]).unwrap();
    let sets: Vec<Labels> = (0..2000).map(set).collect();
    let external = external(&BTreeMap::new());
    let each = external.merge(sets[0].as_ref()).as_bytes().len();
    for cpu in [CpuPool::inline(), CpuPool::threads(3)] {
        let made = |limit, max_bytes| {
            let bounds = ReadBounds { max_bytes, ..ReadBounds::default() };
            let mut out = Vec::new();
            let sorted = sort_into(
                &picked(&sets),
                &external,
                &wish(&WantedLabels::All, limit, &bounds),
                &cpu,
                &mut out,
            );
            sorted.map(|()| out.len()).map_err(|e| e.to_string())
        };
        assert_eq!(made(0, 0), Ok(2000));
        assert_eq!(made(7, 0), Ok(7));
        assert_eq!(made(0, 2000 * each as u64), Ok(2000));
        assert_eq!(made(10, 10 * each as u64), Ok(10));
        // It does not go on to the end.
        let refused = made(0, 1000 * each as u64).unwrap_err();
        let needed: usize = refused.split(' ').nth(2).and_then(|n| n.parse().ok()).expect("at least N bytes");
        assert!(needed < 2000 * each, "{refused}");
    }
}
