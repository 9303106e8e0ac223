//! Label rules: from label bytes as they came to the canonical set, or the reason why not.
//!
//! Rules are Prometheus': any order is accepted and sorted, an empty value is no label, names are any UTF-8 text
//! that is not empty, no name occurs twice, `__name__` is required. Length limits are the tenant's.

use cairn_model::batch::RejectReason;
use cairn_model::exemplar::MAX_EXEMPLAR_LABEL_CHARS;
use cairn_model::labels::{METRIC_NAME, write_label};
use cairn_model::{Labels, LabelsRef};
use smallvec::SmallVec;

use crate::limits::TenantLimits;

/// Labels as they came.
#[derive(Debug, Default, Clone)]
pub struct RawLabels<'a> {
    labels: SmallVec<[(&'a [u8], &'a [u8]); 24]>,
    total: usize,
}

/// Most labels that are kept of one set, whatever the tenant's limit: a set of two-byte labels must not grow in
/// memory by more than its bytes on the wire.
const MAX_KEPT_LABELS: usize = 1024;

impl<'a> RawLabels<'a> {
    /// Adds a label; beyond a bound it is only counted.
    pub fn push(&mut self, name: &'a [u8], value: &'a [u8]) {
        self.total += 1;
        if self.total <= MAX_KEPT_LABELS {
            self.labels.push((name, value));
        }
    }

    /// The value of the first label of that name.
    pub fn get(&self, name: &str) -> Option<&'a [u8]> {
        self.labels.iter().find(|(n, _)| *n == name.as_bytes()).map(|(_, v)| *v)
    }
}

impl<'a> FromIterator<(&'a [u8], &'a [u8])> for RawLabels<'a> {
    fn from_iter<I: IntoIterator<Item = (&'a [u8], &'a [u8])>>(labels: I) -> Self {
        let mut raw = RawLabels::default();
        labels.into_iter().for_each(|(name, value)| raw.push(name, value));
        raw
    }
}

/// Appends the canonical form of `raw` to `arena`. Names in `external` are left out; how many were is returned.
///
/// # Errors
/// The first rule that is broken; `arena` is then as it was.
pub fn write_canonical(
    raw: &RawLabels<'_>,
    limits: &TenantLimits,
    external: &[String],
    arena: &mut Vec<u8>,
) -> Result<u32, RejectReason> {
    let sorted = sorted(raw, limits)?;
    if !sorted.iter().any(|(n, v)| *n == METRIC_NAME && !v.is_empty()) {
        return Err(RejectReason::MissingMetricName);
    }
    let mut overridden = 0;
    for (name, value) in sorted {
        if external.iter().any(|e| e == name) {
            overridden += 1;
        } else if !value.is_empty() {
            write_label(arena, name, value);
        }
    }
    Ok(overridden)
}

fn sorted<'a>(
    raw: &RawLabels<'a>,
    limits: &TenantLimits,
) -> Result<SmallVec<[(&'a str, &'a str); 24]>, RejectReason> {
    let limit = limits.labels_per_series.min(MAX_KEPT_LABELS);
    if raw.total > limit {
        return Err(RejectReason::TooManyLabels { have: raw.total, limit });
    }
    let mut labels = SmallVec::with_capacity(raw.labels.len());
    for (name, value) in &raw.labels {
        for (text, limit) in [(name, limits.label_name_bytes), (value, limits.label_value_bytes)] {
            if text.len() > limit {
                return Err(RejectReason::LabelTooLong { have: text.len(), limit });
            }
        }
        labels.push((utf8(name, "name")?, utf8(value, "value")?));
    }
    if labels.iter().any(|(name, _): &(&str, &str)| name.is_empty()) {
        return Err(RejectReason::InvalidLabels("a label has no name".to_owned()));
    }
    if !labels.is_sorted_by(|a: &(&str, &str), b| a.0 < b.0) {
        labels.sort_unstable_by_key(|(name, _)| *name);
        if let Some(w) = labels.windows(2).find(|w| w[0].0 == w[1].0) {
            return Err(RejectReason::DuplicateLabel(w[0].0.to_owned()));
        }
    }
    Ok(labels)
}

fn utf8<'a>(text: &'a [u8], what: &str) -> Result<&'a str, RejectReason> {
    std::str::from_utf8(text).map_err(|_| {
        RejectReason::InvalidLabels(format!("label {what} {:?} is not UTF-8", String::from_utf8_lossy(text)))
    })
}

/// The labels of an exemplar.
///
/// # Errors
/// [`RejectReason::Exemplar`] with the rule that is broken.
pub fn exemplar_labels(raw: &RawLabels<'_>) -> Result<Labels, RejectReason> {
    let broken = |why: String| RejectReason::Exemplar(why);
    if raw.total > MAX_EXEMPLAR_LABEL_CHARS {
        return Err(broken(format!("labels of more than {MAX_EXEMPLAR_LABEL_CHARS} characters")));
    }
    let mut chars = 0;
    let mut pairs = SmallVec::<[(&str, &str); 4]>::new();
    for (name, value) in &raw.labels {
        let (Ok(name), Ok(value)) = (std::str::from_utf8(name), std::str::from_utf8(value)) else {
            return Err(broken("a label is not UTF-8".to_owned()));
        };
        if name.is_empty() {
            return Err(broken("a label has no name".to_owned()));
        }
        chars += name.chars().count() + value.chars().count();
        if chars > MAX_EXEMPLAR_LABEL_CHARS {
            return Err(broken(format!("labels of more than {MAX_EXEMPLAR_LABEL_CHARS} characters")));
        }
        pairs.push((name, value));
    }
    Labels::from_pairs(pairs).map_err(|e| broken(e.to_string()))
}

/// `raw` for people: as Prometheus prints labels where it can, damaged text replaced.
pub fn describe(raw: &RawLabels<'_>) -> String {
    let pairs: Vec<_> =
        raw.labels.iter().map(|(n, v)| (String::from_utf8_lossy(n), String::from_utf8_lossy(v))).collect();
    match Labels::from_pairs(pairs.iter().map(|(n, v)| (n, v))) {
        Ok(labels) => labels.to_string(),
        Err(_) => {
            let text: Vec<_> = pairs.iter().map(|(n, v)| format!("{n}={v:?}")).collect();
            format!("{{{}}}", text.join(", "))
        }
    }
}

/// The hash of canonical bytes for `tenant`.
pub fn hash(canonical: &[u8], tenant: &str) -> u64 {
    LabelsRef::from_canonical(canonical).hash_with_prefix(tenant)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn canonical(raw: &[(&[u8], &[u8])]) -> Result<String, RejectReason> {
        let limits = TenantLimits {
            labels_per_series: 5,
            label_name_bytes: 10,
            label_value_bytes: 10,
            ..TenantLimits::default()
        };
        let mut arena = Vec::new();
        write_canonical(&raw.iter().copied().collect(), &limits, &["tenant_id".to_owned()], &mut arena)
            .inspect_err(|_| assert!(arena.is_empty()))?;
        Ok(LabelsRef::parse_canonical(&arena).expect("canonical").to_string())
    }

    #[test]
    fn each_rule_has_its_reason() {
        use RejectReason::*;
        let up = (&b"__name__"[..], &b"up"[..]);
        for (raw, want) in [
            (&[up][..], Ok("up")),
            (&[(b"b", b"2"), up, (b"a", b"1")], Ok(r#"up{a="1", b="2"}"#)),
            (&[up, (b"a", b"")], Ok("up")),
            (&[up, ("é.x".as_bytes(), b"1")], Ok(r#"up{"é.x"="1"}"#)),
            (&[up, (b"tenant_id", b"forged")], Ok("up")),
            (&[(b"a", b"1")], Err(MissingMetricName)),
            (&[(b"__name__", b"")], Err(MissingMetricName)),
            (&[], Err(MissingMetricName)),
            (&[up, (b"a", b"1"), (b"a", b"1")], Err(DuplicateLabel("a".into()))),
            (&[up, (b"a", b""), (b"a", b"1")], Err(DuplicateLabel("a".into()))),
            (&[up, (b"", b"1")], Err(InvalidLabels("a label has no name".into()))),
            (&[up, (b"a", b"\xff")], Err(InvalidLabels("label value \"\u{fffd}\" is not UTF-8".into()))),
            (&[up, (b"\xff", b"a")], Err(InvalidLabels("label name \"\u{fffd}\" is not UTF-8".into()))),
            (&[up; 6], Err(TooManyLabels { have: 6, limit: 5 })),
            (&[up, (b"elevenchars", b"")], Err(LabelTooLong { have: 11, limit: 10 })),
            (&[up, (b"a", b"elevenchars")], Err(LabelTooLong { have: 11, limit: 10 })),
        ] {
            assert_eq!(canonical(raw), want.map(str::to_owned), "{raw:?}");
        }
    }

    #[test]
    fn exemplar_rules() {
        let ok = |raw: &[(&[u8], &[u8])]| exemplar_labels(&raw.iter().copied().collect()).is_ok();
        let (fits, long) = ("é".repeat(127), "é".repeat(128));
        assert!(ok(&[]) && ok(&[(b"a", fits.as_bytes())]) && ok(&[(b"b", b"1"), (b"a", b"2")]));
        assert!(!ok(&[(b"a", long.as_bytes())]) && !ok(&[(b"a", b"1"), (b"a", b"2")]));
        assert!(!ok(&[(b"a", b"\xff")]) && !ok(&[(b"", b"1")]));
    }

    #[test]
    fn descriptions_survive_any_damage() {
        let text = describe(&[(&b"a"[..], &b"\xff"[..]), (b"a", b"1")].into_iter().collect());
        assert_eq!(text, "{a=\"\u{fffd}\", a=\"1\"}");
    }

    proptest! {
        #[test]
        fn canonical_or_nothing(raw in prop::collection::vec(
            (prop::collection::vec(any::<u8>(), 0..6), prop::collection::vec(any::<u8>(), 0..6)), 0..8,
        )) {
            let raw: RawLabels<'_> = raw.iter().map(|(n, v)| (&n[..], &v[..])).collect();
            let mut arena = Vec::new();
            match write_canonical(&raw, &TenantLimits::default(), &[], &mut arena) {
                Ok(_) => prop_assert!(LabelsRef::parse_canonical(&arena).is_some()),
                Err(_) => prop_assert!(arena.is_empty()),
            }
            describe(&raw);
        }
    }
}
