//! External labels: what a store adds to every series it answers.
//!
//! They are not in the index of a head or block: a reader evaluates matchers on them against the set itself and
//! merges them into each answered series. An incoming label of the same name gives way.

use crate::labels::{Labels, LabelsBuilder, LabelsRef};
use crate::matcher::Matcher;
use crate::tenant::{TENANT_LABEL, TenantId};

/// The external labels of one tenant's data.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ExternalLabels(Labels);

impl ExternalLabels {
    /// `tenant_id` and the operator's `--label`s.
    pub fn for_tenant(tenant: &TenantId, configured: &Labels) -> Self {
        let mut b = LabelsBuilder::from_labels(configured.as_ref());
        b.set(TENANT_LABEL, tenant.as_str());
        ExternalLabels(b.build())
    }

    /// External labels as found in a block's `meta.json`.
    pub fn new(labels: Labels) -> Self {
        ExternalLabels(labels)
    }

    /// The set.
    pub fn labels(&self) -> &Labels {
        &self.0
    }

    /// Splits off the matchers that speak of external labels. `None` when one of them does not hold, so that
    /// nothing here can match; else the matchers that are left for the index.
    pub fn narrow(&self, matchers: &[Matcher]) -> Option<Vec<Matcher>> {
        let mut rest = Vec::with_capacity(matchers.len());
        for m in matchers {
            match self.0.get(&m.name) {
                Some(v) if m.matches(v) => {}
                Some(_) => return None,
                None => rest.push(m.clone()),
            }
        }
        Some(rest)
    }

    /// `series` with the external labels merged in; an external label wins.
    pub fn merge(&self, series: LabelsRef<'_>) -> Labels {
        self.merge_with(series, &mut Vec::new())
    }

    /// The same with a buffer that serves many series.
    pub fn merge_with(&self, series: LabelsRef<'_>, buffer: &mut Vec<u8>) -> Labels {
        buffer.clear();
        self.append_merged(series, buffer);
        LabelsRef::from_canonical(buffer).to_labels()
    }

    /// Appends the merged set in canonical form. What stands between external labels is copied as it is.
    pub fn append_merged(&self, series: LabelsRef<'_>, buffer: &mut Vec<u8>) {
        let own = series.as_bytes();
        buffer.reserve(own.len() + self.0.as_bytes().len());
        let mut labels = series.iter();
        let mut next = labels.next();
        let (mut copied, mut begin) = (0, 0);
        for (name, value) in self.0.iter() {
            let mut until = begin;
            while let Some((own_name, _)) = next.filter(|l| l.0 <= name) {
                begin = own.len() - labels.rest().len();
                if own_name < name {
                    until = begin;
                }
                next = labels.next();
            }
            buffer.extend_from_slice(&own[copied..until]);
            crate::labels::write_label(buffer, name, value);
            copied = begin;
        }
        buffer.extend_from_slice(&own[copied..]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::matcher::MatchOp;

    fn ext() -> ExternalLabels {
        let configured = Labels::from_pairs([("region", "eu")]).unwrap();
        ExternalLabels::for_tenant(&TenantId::new("acme").unwrap(), &configured)
    }

    #[test]
    fn merge_lets_the_external_label_win() {
        let l = Labels::from_pairs([("__name__", "up"), ("tenant_id", "forged"), ("z", "1")]).unwrap();
        assert_eq!(ext().merge(l.as_ref()).to_string(), r#"up{region="eu", tenant_id="acme", z="1"}"#);
    }

    #[test]
    fn merging_equals_setting_each_label() {
        let sets: [&[(&str, &str)]; 5] = [
            &[],
            &[("a", "1")],
            &[("region", "us")],
            &[("zone", "x")],
            &[("a", "1"), ("s", "2"), ("tenant_id", "n"), ("u", "3")],
        ];
        for set in sets {
            let own = Labels::from_pairs(set.iter().copied()).unwrap();
            let mut b = LabelsBuilder::from_labels(own.as_ref());
            ext().labels().iter().for_each(|(n, v)| {
                b.set(n, v);
            });
            assert_eq!(ext().merge(own.as_ref()), b.build());
        }
    }

    #[test]
    fn matchers_on_external_labels_are_judged_here() {
        let up = Matcher::equal("__name__", "up");
        let eu = Matcher::equal("region", "eu");
        assert_eq!(ext().narrow(&[up.clone(), eu]).unwrap(), std::slice::from_ref(&up));
        let not_acme = Matcher::new(MatchOp::NotEqual, "tenant_id", "acme").unwrap();
        assert!(ext().narrow(&[up, not_acme]).is_none());
    }
}
