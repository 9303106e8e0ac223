//! [`Labels`]: a label set of its own, and [`LabelsBuilder`], which makes one.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::borrowed::Iter;
use super::encoding::write_label;
use super::{LabelsRef, METRIC_NAME};

/// An owned, immutable, cheaply cloned label set.
#[derive(Clone)]
pub struct Labels(pub(super) Arc<[u8]>);

impl Labels {
    /// The empty set.
    pub fn empty() -> Self {
        Labels(Arc::from(&[][..]))
    }

    /// Sorts and checks `pairs`; labels with an empty value are left out, as an empty label is no label.
    ///
    /// # Errors
    /// [`DuplicateLabel`] names a label that occurs twice.
    pub fn from_pairs<N: AsRef<str>, V: AsRef<str>>(
        pairs: impl IntoIterator<Item = (N, V)>,
    ) -> Result<Self, DuplicateLabel> {
        let mut sorted: Vec<(N, V)> = pairs.into_iter().filter(|(_, v)| !v.as_ref().is_empty()).collect();
        sorted.sort_by(|a, b| a.0.as_ref().cmp(b.0.as_ref()));
        if let Some(w) = sorted.windows(2).find(|w| w[0].0.as_ref() == w[1].0.as_ref()) {
            return Err(DuplicateLabel(w[0].0.as_ref().to_owned()));
        }
        let mut bytes = Vec::new();
        for (n, v) in &sorted {
            write_label(&mut bytes, n.as_ref(), v.as_ref());
        }
        Ok(Labels(Arc::from(bytes)))
    }

    /// Borrows the set.
    pub fn as_ref(&self) -> LabelsRef<'_> {
        LabelsRef(&self.0)
    }

    /// The canonical bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Labels in order of their names.
    pub fn iter(&self) -> Iter<'_> {
        self.as_ref().iter()
    }

    /// The value of `name`, if the set has it. O(labels).
    pub fn get(&self, name: &str) -> Option<&str> {
        self.as_ref().get(name)
    }

    /// The metric name, or `""`.
    pub fn metric_name(&self) -> &str {
        self.as_ref().metric_name()
    }

    /// Name and value of each label, and its part of the canonical bytes: a set of its own.
    pub fn pieces(&self) -> impl Iterator<Item = (&str, &str, &[u8])> {
        let mut labels = self.iter();
        std::iter::from_fn(move || {
            let from = labels.rest();
            let (name, value) = labels.next()?;
            Some((name, value, &from[..from.len() - labels.rest().len()]))
        })
    }

    /// How many labels. O(labels).
    pub fn len(&self) -> usize {
        self.as_ref().len()
    }

    /// Whether there is no label at all.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// This set with only the labels that `keep` accepts.
    pub fn filtered(&self, mut keep: impl FnMut(&str) -> bool) -> Labels {
        let mut bytes = Vec::with_capacity(self.0.len());
        for (n, v) in self.iter() {
            if keep(n) {
                write_label(&mut bytes, n, v);
            }
        }
        Labels(Arc::from(bytes))
    }

    /// This set without the metric name.
    pub fn without_name(&self) -> Labels {
        self.filtered(|n| n != METRIC_NAME)
    }
}

impl Default for Labels {
    fn default() -> Self {
        Labels::empty()
    }
}

impl PartialEq for Labels {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Labels {}

impl Hash for Labels {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.as_ref().hash(state);
    }
}

/// Lets a map keyed by [`Labels`] be asked with arena bytes: hash and equality agree with `[u8]`'s.
impl Borrow<[u8]> for Labels {
    fn borrow(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl<'a> From<LabelsRef<'a>> for Labels {
    fn from(l: LabelsRef<'a>) -> Labels {
        l.to_labels()
    }
}

/// A label name that occurs twice in one set.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("label name \"{0}\" is not unique")]
pub struct DuplicateLabel(pub String);

/// Edits a label set: later sets win over earlier ones, an empty value removes.
#[derive(Debug, Clone, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Starts from nothing.
    pub fn new() -> Self {
        Self::default()
    }

    /// Starts from `base`.
    pub fn from_labels(base: LabelsRef<'_>) -> Self {
        LabelsBuilder { pairs: base.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect() }
    }

    /// Sets `name` to `value`; an empty `value` removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        let at = self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name));
        match (at, value.is_empty()) {
            (Ok(i), true) => {
                self.pairs.remove(i);
            }
            (Ok(i), false) => value.clone_into(&mut self.pairs[i].1),
            (Err(_), true) => {}
            (Err(i), false) => self.pairs.insert(i, (name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes `name` if it is there.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.set(name, "")
    }

    /// The value that `name` has now.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.binary_search_by(|(n, _)| n.as_str().cmp(name)).ok().map(|i| self.pairs[i].1.as_str())
    }

    /// The finished set.
    pub fn build(&self) -> Labels {
        let mut bytes = Vec::new();
        for (n, v) in &self.pairs {
            write_label(&mut bytes, n, v);
        }
        Labels(Arc::from(bytes))
    }
}
