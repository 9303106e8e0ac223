//! [`LabelsRef`]: a label set that lies somewhere else, in an arena, a file or a [`super::Labels`].
//!
//! This is a hot file: iteration does not allocate.

use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use super::encoding::{checked_str, trusted_str};
use super::{Labels, METRIC_NAME};

/// A borrowed label set in canonical form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LabelsRef<'a>(pub(super) &'a [u8]);

impl<'a> LabelsRef<'a> {
    /// Takes bytes that [`LabelsBuilder`] or [`write_label`] made. Debug builds check the invariant; release
    /// builds trust it, so bytes from outside the process must go through [`LabelsRef::parse_canonical`].
    pub fn from_canonical(bytes: &'a [u8]) -> Self {
        debug_assert!(Self::parse_canonical(bytes).is_some(), "label bytes are not canonical");
        LabelsRef(bytes)
    }

    /// Checks bytes from a file or a peer; `None` when they are not the canonical form of a label set.
    pub fn parse_canonical(bytes: &'a [u8]) -> Option<Self> {
        let mut rest = bytes;
        let mut previous: Option<&[u8]> = None;
        while !rest.is_empty() {
            let (name, r) = checked_str(rest)?;
            let (value, r) = checked_str(r)?;
            if name.is_empty() || value.is_empty() || previous.is_some_and(|p| p >= name) {
                return None;
            }
            std::str::from_utf8(name).ok()?;
            std::str::from_utf8(value).ok()?;
            previous = Some(name);
            rest = r;
        }
        Some(LabelsRef(bytes))
    }

    /// The canonical bytes.
    pub fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// Labels in order of their names.
    #[inline]
    pub fn iter(self) -> Iter<'a> {
        Iter { rest: self.0 }
    }

    /// The value of `name`, if the set has it. O(labels).
    pub fn get(self, name: &str) -> Option<&'a str> {
        for (n, v) in self.iter() {
            match n.cmp(name) {
                Ordering::Less => {}
                Ordering::Equal => return Some(v),
                Ordering::Greater => return None,
            }
        }
        None
    }

    /// The metric name, or `""`.
    pub fn metric_name(self) -> &'a str {
        self.get(METRIC_NAME).unwrap_or("")
    }

    /// How many labels. O(labels).
    pub fn len(self) -> usize {
        self.iter().count()
    }

    /// Whether there is no label at all.
    pub fn is_empty(self) -> bool {
        self.0.is_empty()
    }

    /// Copies into an owned set.
    pub fn to_labels(self) -> Labels {
        Labels(Arc::from(self.0))
    }
}

impl Hash for LabelsRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

impl fmt::Debug for LabelsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Iterator over `(name, value)`.
#[derive(Clone)]
pub struct Iter<'a> {
    pub(super) rest: &'a [u8],
}

impl<'a> Iter<'a> {
    /// Canonical bytes of the labels that are left.
    #[inline]
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

    #[inline]
    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let (name, rest) = trusted_str(self.rest);
        let (value, rest) = trusted_str(rest);
        self.rest = rest;
        Some((name, value))
    }
}
