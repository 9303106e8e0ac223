use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use bytes::Bytes;
use cairn_model::{Labels, MatchOp, Matcher, NameSet};
use cairn_runtime::{Disk, MemDisk};
use proptest::prelude::*;

use super::*;

/// Writes an index of `series`, each with one chunk, and gives its bytes.
fn index_of(series: &BTreeSet<Labels>) -> Bytes {
    let disk = MemDisk::new();
    let path = Path::new("/index");
    let mut symbols = SymbolSet::new();
    series.iter().for_each(|l| symbols.add_labels(l.as_ref()));
    let mut w = IndexWriter::create(&disk, path, symbols).unwrap();
    for (i, labels) in series.iter().enumerate() {
        let chunk = ChunkMeta { min_ms: i as i64 * 10, max_ms: i as i64 * 10 + 5, place: 8 + i as u64 * 100 };
        w.add_series(labels.as_ref(), &[chunk]).unwrap();
    }
    w.finish().unwrap();
    disk.map(path).unwrap()
}

fn labels_of(index: &IndexReader, references: Vec<u32>) -> Vec<Labels> {
    let mut entry = SeriesEntry::default();
    let read = |r: u32| {
        index.series(r, &mut entry).unwrap();
        entry.labels().to_labels()
    };
    references.into_iter().map(read).collect()
}

fn series_set() -> impl Strategy<Value = BTreeSet<Labels>> {
    let value = prop::sample::select(vec!["a", "b", "ab", "abc", "foo", "foobar", "é", "1", "2"]);
    let name = prop::sample::select(vec!["__name__", "job", "instance", "z"]);
    let labels = prop::collection::btree_map(name, value, 1..4)
        .prop_map(|m: BTreeMap<&str, &str>| Labels::from_pairs(m).expect("a map has no key twice"));
    prop::collection::btree_set(labels, 0..80)
}

fn matcher() -> impl Strategy<Value = Matcher> {
    let op = prop::sample::select(vec![MatchOp::Equal, MatchOp::NotEqual, MatchOp::Regex, MatchOp::NotRegex]);
    let name = prop::sample::select(vec!["__name__", "job", "instance", "z", "absent"]);
    let value =
        prop::sample::select(vec!["", "a", "foo", "a|b", "a|", "foo.*", ".*", ".+", "[a-b]+", ".*b.*", "no"]);
    (op, name, value).prop_map(|(op, name, value)| Matcher::new(op, name, value).expect("valid patterns"))
}

proptest! {
    #[test]
    fn selection_equals_trying_every_series(series in series_set(), matchers in prop::collection::vec(matcher(), 0..4)) {
        let index = IndexReader::open("index", index_of(&series)).unwrap();
        let holds = |l: &&Labels| matchers.iter().all(|m| m.matches_labels(l.as_ref()));
        let want: Vec<Labels> = series.iter().filter(holds).cloned().collect();
        let got = labels_of(&index, index.select(&matchers).unwrap());
        prop_assert_eq!(&got, &want, "{:?}", matchers);

        let names: BTreeSet<String> = want.iter().flat_map(|l| l.iter().map(|(n, _)| n.to_owned())).collect();
        let mut found = NameSet::default();
        prop_assert_eq!(index.label_names(&matchers, &mut found).unwrap(), !want.is_empty());
        prop_assert_eq!(found.finish().unwrap(), names.into_iter().collect::<Vec<_>>());
        let values: BTreeSet<String> = want.iter().filter_map(|l| l.get("job").map(str::to_owned)).collect();
        let mut found = NameSet::default();
        index.label_values("job", &matchers, &mut found).unwrap();
        prop_assert_eq!(found.finish().unwrap(), values.into_iter().collect::<Vec<_>>());
    }

    #[test]
    fn series_and_symbols_come_back(series in series_set()) {
        let index = IndexReader::open("index", index_of(&series)).unwrap();
        let mut entry = SeriesEntry::default();
        for (i, reference) in index.all_series().unwrap().into_iter().enumerate() {
            index.series(reference, &mut entry).unwrap();
            prop_assert_eq!(entry.chunks[0].place, 8 + i as u64 * 100);
        }
        for (i, symbol) in index.symbols().iter().enumerate() {
            prop_assert_eq!(index.symbols().find(symbol), Some(i as u32));
            prop_assert_eq!(index.symbols().get(i as u32).unwrap(), symbol);
        }
        prop_assert_eq!(index.symbols().find("not there"), None);
        prop_assert!(index.symbols().get(index.symbols().len() as u32).is_err());
    }

    #[test]
    fn flipped_bits_never_panic(series in series_set(), flips in prop::collection::vec(any::<prop::sample::Index>(), 1..4)) {
        let mut bytes = index_of(&series).to_vec();
        for flip in flips {
            let bit = flip.index(bytes.len() * 8);
            bytes[bit / 8] ^= 1 << (bit % 8);
        }
        crate::fuzzing::fuzz_index(&bytes);
    }
}

#[test]
fn many_values_are_found_through_the_sampled_tables() {
    let series: BTreeSet<Labels> = (0..3000)
        .map(|i| Labels::from_pairs([("__name__", "m".to_owned()), ("i", format!("{i:05}"))]).unwrap())
        .collect();
    let index = IndexReader::open("index", index_of(&series)).unwrap();
    for i in (0..3000).step_by(7) {
        let found = index.select(&[Matcher::equal("i", format!("{i:05}"))]).unwrap();
        assert_eq!(labels_of(&index, found)[0].get("i").unwrap(), format!("{i:05}"));
    }
    assert!(index.select(&[Matcher::equal("i", "99999")]).unwrap().is_empty());
    assert!(index.select(&[Matcher::equal("i", "")]).unwrap().is_empty());
    let some = Matcher::new(MatchOp::Regex, "i", "0100.").unwrap();
    assert_eq!(index.select(&[some]).unwrap().len(), 10);
    assert_eq!(index.postings_table().value_count("i"), 3000);
}

#[test]
fn broken_orders_are_refused_with_both_values() {
    let disk = MemDisk::new();
    let labels = |v: &str| Labels::from_pairs([("a", v)]).unwrap();
    let mut symbols = SymbolSet::new();
    for v in ["1", "2"] {
        symbols.add_labels(labels(v).as_ref());
    }
    let mut w = IndexWriter::create(&disk, Path::new("/i"), symbols).unwrap();
    let chunk = |min_ms, max_ms, place| ChunkMeta { min_ms, max_ms, place };
    let check = |outcome: Result<u32, crate::TsdbError>, want: &str| {
        let message = outcome.unwrap_err().to_string();
        assert!(message.contains(want), "{message:?} lacks {want:?}");
    };
    check(w.add_series(labels("3").as_ref(), &[]), "is not among the symbols");
    check(w.add_series(labels("1").as_ref(), &[chunk(0, 5, 8), chunk(5, 9, 20)]), "must not overlap");
    check(w.add_series(labels("1").as_ref(), &[chunk(0, 5, 20), chunk(6, 9, 8)]), "places must increase");
    w.add_series(labels("2").as_ref(), &[]).unwrap();
    check(w.add_series(labels("1").as_ref(), &[]), "series {a=\"1\"} comes after {a=\"2\"}");
}

#[test]
fn an_index_without_series_is_an_index() {
    let index = IndexReader::open("index", index_of(&BTreeSet::new())).unwrap();
    assert!(index.select(&[]).unwrap().is_empty());
    assert!(!index.label_names(&[], &mut NameSet::default()).unwrap());
}
