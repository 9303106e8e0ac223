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
    sort_into(&picked(sets), external, wanted, &CpuPool::inline(), &mut out);
    out
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
        sort_into(&picked(&sets), &external, &wanted, &CpuPool::threads(3), &mut together);
        let shown = |all: &[Selected]| -> Vec<(Labels, u8, u32, bool)> {
            all.iter().map(|s| (s.labels.clone(), s.partition, s.slot, s.repeats)).collect()
        };
        assert_eq!(shown(&alone), shown(&together));
        assert!(alone.iter().any(|s| s.repeats));
    }
}
