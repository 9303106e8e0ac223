//! Label sets: what identifies a series.
//!
//! A label set is one flat byte string, sorted by name: for each label `len name len value`, where `len` is one
//! byte below 255, or 255 followed by a little-endian `u32`. One allocation a set, no pointer chasing; the same
//! bytes serve as an arena slice in a [`crate::WriteBatch`] ([`LabelsRef`]) and as an owned set ([`Labels`]).
//!
//! Invariant: names are strictly increasing bytewise, no name or value is empty, all text is UTF-8. The only
//! constructors are [`LabelsBuilder`], [`Labels::from_pairs`] and [`LabelsRef::from_canonical`], which says
//! what it trusts. Equal sets have equal bytes.
//!
//! The parts: [`LabelsRef`] (borrowed) and [`Labels`] (owned, with [`LabelsBuilder`]), their bytes ([`write_label`]), order,
//! hash that is the same in every process, and text ([`quoted`]).

mod borrowed;
mod encoding;
mod order;
mod owned;
mod stable_hash;
mod text;

pub use borrowed::{Iter, LabelsRef};
pub use encoding::write_label;
pub use owned::{DuplicateLabel, Labels, LabelsBuilder};
pub use text::{is_legacy_label_name, is_legacy_metric_name, quoted};

/// The label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied()).unwrap()
    }

    #[test]
    fn pairs_are_sorted_and_empty_values_left_out() {
        let l = labels(&[("b", "2"), ("a", "1"), ("c", "")]);
        assert_eq!(l.iter().collect::<Vec<_>>(), [("a", "1"), ("b", "2")]);
        assert_eq!(l.get("b"), Some("2"));
        assert_eq!(l.get("c"), None);
    }

    #[test]
    fn duplicate_names_are_refused_by_name() {
        assert_eq!(Labels::from_pairs([("a", "1"), ("a", "2")]), Err(DuplicateLabel("a".into())));
    }

    #[test]
    fn display_quotes_as_prometheus_does() {
        let l = labels(&[("__name__", "up"), ("job", "a\"b"), ("l.x", "é\n")]);
        assert_eq!(l.to_string(), r#"up{job="a\"b", "l.x"="é\n"}"#);
        assert_eq!(labels(&[("__name__", "up")]).to_string(), "up");
        assert_eq!(labels(&[("__name__", "my.metric")]).to_string(), r#"{__name__="my.metric"}"#);
        assert_eq!(Labels::empty().to_string(), "{}");
    }

    #[test]
    fn hash_equals_thanos_definition() {
        let l = labels(&[("a", "1"), ("b", "2")]);
        assert_eq!(l.hash_with_prefix("t"), xxhash_rust::xxh64::xxh64(b"t\xffa\xff1\xffb\xff2\xff", 0));
    }

    #[test]
    fn long_and_short_sets_hash_by_one_definition() {
        for length in [0, 1, 253, 254, 255, 300, 980, 990, 1000, 1013, 1014, 1015, 1016, 1017, 1018, 2000] {
            let value = "v".repeat(length + 1);
            let l = labels(&[("a", "1"), ("b", &value)]);
            let whole = [b"t\xffa\xff1\xffb\xff", value.as_bytes(), b"\xff"].concat();
            assert_eq!(l.hash_with_prefix("t"), xxhash_rust::xxh64::xxh64(&whole, 0), "{length}");
        }
    }

    #[test]
    fn foreign_bytes_are_checked() {
        for bad in
            [&b"\x01a\x01"[..], b"\x00\x01x", b"\x01b\x011\x01a\x011", b"\x01a\x00", b"\xff\x01\0\0\0a\x011"]
        {
            assert!(LabelsRef::parse_canonical(bad).is_none(), "{bad:?}");
        }
    }

    fn label_map() -> impl Strategy<Value = std::collections::BTreeMap<String, String>> {
        prop::collection::btree_map("[a-z]{1,4}", "\\PC{1,300}", 0..6)
    }

    proptest! {
        #[test]
        fn round_trips_and_orders_like_pairs(a in label_map(), b in label_map()) {
            let (la, lb) = (Labels::from_pairs(&a).unwrap(), Labels::from_pairs(&b).unwrap());
            prop_assert!(LabelsRef::parse_canonical(la.as_bytes()).is_some());
            let back: Vec<_> = la.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
            prop_assert_eq!(&back, &a.clone().into_iter().collect::<Vec<_>>());
            prop_assert_eq!(la.cmp(&lb), a.iter().cmp(b.iter()));
            prop_assert_eq!(la == lb, a == b);
        }

        #[test]
        fn arbitrary_bytes_never_panic(b in prop::collection::vec(any::<u8>(), 0..64)) {
            if let Some(l) = LabelsRef::parse_canonical(&b) {
                prop_assert!(l.iter().count() * 4 <= b.len());
            }
        }
    }
}
