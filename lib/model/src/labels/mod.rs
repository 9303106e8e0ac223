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
//! This is a hot file: iteration and comparison do not allocate.

use std::borrow::Borrow;
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use xxhash_rust::xxh64::{Xxh64, xxh64};

/// The label that holds the metric name.
pub const METRIC_NAME: &str = "__name__";

/// Separates names and values in the hash input; cannot occur in UTF-8.
const HASH_SEPARATOR: [u8; 1] = [0xFF];

/// Label sets up to this length are hashed in one go, from the stack.
const ONE_GO_BYTES: usize = 1024;

/// A borrowed label set in canonical form.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct LabelsRef<'a>(&'a [u8]);

/// An owned, immutable, cheaply cloned label set.
#[derive(Clone)]
pub struct Labels(Arc<[u8]>);

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

    /// xxHash64 (seed 0) over `prefix 0xFF name 0xFF value 0xFF …`: Thanos' series hash, which is also the input
    /// of cairn's slot when `prefix` is the tenant.
    pub fn hash_with_prefix(self, prefix: &str) -> u64 {
        // The hashed form is never longer than the canonical one: one separator stands for one or five bytes of
        // length. Hashing it in one go costs a third of hashing it piece by piece.
        let mut whole = [0u8; ONE_GO_BYTES];
        if prefix.len() + 1 + self.0.len() <= ONE_GO_BYTES {
            let mut at = 0;
            let mut put = |text: &[u8]| {
                whole[at..at + text.len()].copy_from_slice(text);
                whole[at + text.len()] = HASH_SEPARATOR[0];
                at += text.len() + 1;
            };
            put(prefix.as_bytes());
            for (n, v) in self.iter() {
                put(n.as_bytes());
                put(v.as_bytes());
            }
            return xxh64(&whole[..at], 0);
        }
        let mut h = Xxh64::new(0);
        h.update(prefix.as_bytes());
        h.update(&HASH_SEPARATOR);
        self.feed(&mut h);
        h.digest()
    }

    /// xxHash64 (seed 0) over `name 0xFF value 0xFF …`.
    pub fn stable_hash(self) -> u64 {
        let mut h = Xxh64::new(0);
        self.feed(&mut h);
        h.digest()
    }

    /// Bytes of labels at the front that both sets have; there may be a few more.
    fn shared_labels(self, other: Self) -> usize {
        const STRETCH: usize = 16;
        let stretches = self.0.as_chunks::<STRETCH>().0.iter().zip(other.0.as_chunks::<STRETCH>().0);
        let same = stretches.take_while(|(a, b)| a == b).count() * STRETCH;
        let mut labels = self.iter();
        let mut shared = 0;
        while labels.next().is_some() && self.0.len() - labels.rest.len() <= same {
            shared = self.0.len() - labels.rest.len();
        }
        shared
    }

    fn feed(self, h: &mut Xxh64) {
        for (n, v) in self.iter() {
            h.update(n.as_bytes());
            h.update(&HASH_SEPARATOR);
            h.update(v.as_bytes());
            h.update(&HASH_SEPARATOR);
        }
    }
}

/// Prometheus' order: label by label, name before value, bytewise; a prefix sorts first.
impl Ord for LabelsRef<'_> {
    fn cmp(&self, other: &Self) -> Ordering {
        // Series that are compared mostly share their first labels: those are skipped as bytes.
        let shared = self.shared_labels(*other);
        let (mut a, mut b) = (Iter { rest: &self.0[shared..] }, Iter { rest: &other.0[shared..] });
        loop {
            match (a.next(), b.next()) {
                (None, None) => return Ordering::Equal,
                (None, Some(_)) => return Ordering::Less,
                (Some(_), None) => return Ordering::Greater,
                (Some(x), Some(y)) => match x.cmp(&y) {
                    Ordering::Equal => {}
                    unequal => return unequal,
                },
            }
        }
    }
}

impl PartialOrd for LabelsRef<'_> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Hash for LabelsRef<'_> {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.hash(state);
    }
}

/// `{name="value", …}` with Go's quoting, the metric name in front.
impl fmt::Display for LabelsRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.metric_name();
        let legacy = is_legacy_metric_name(name);
        if legacy {
            f.write_str(name)?;
        }
        let mut rest = self.iter().filter(|(n, _)| !(legacy && *n == METRIC_NAME)).peekable();
        if legacy && rest.peek().is_none() {
            return Ok(());
        }
        f.write_str("{")?;
        let mut first = true;
        for (n, v) in rest {
            if !first {
                f.write_str(", ")?;
            }
            first = false;
            if is_legacy_label_name(n) {
                write!(f, "{n}=")?;
            } else {
                write!(f, "{}=", quoted(n))?;
            }
            write!(f, "{}", quoted(v))?;
        }
        f.write_str("}")
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
    rest: &'a [u8],
}

impl<'a> Iter<'a> {
    /// Canonical bytes of the labels that are left.
    pub fn rest(&self) -> &'a [u8] {
        self.rest
    }
}

impl<'a> Iterator for Iter<'a> {
    type Item = (&'a str, &'a str);

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
            let from = labels.rest;
            let (name, value) = labels.next()?;
            Some((name, value, &from[..from.len() - labels.rest.len()]))
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

    /// See [`LabelsRef::hash_with_prefix`].
    pub fn hash_with_prefix(&self, prefix: &str) -> u64 {
        self.as_ref().hash_with_prefix(prefix)
    }

    /// See [`LabelsRef::stable_hash`].
    pub fn stable_hash(&self) -> u64 {
        self.as_ref().stable_hash()
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
impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}
impl Ord for Labels {
    fn cmp(&self, other: &Self) -> Ordering {
        self.as_ref().cmp(&other.as_ref())
    }
}
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
impl fmt::Display for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(&self.as_ref(), f)
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

/// Appends one label in canonical form. Callers append labels in increasing order of their names.
pub fn write_label(out: &mut Vec<u8>, name: &str, value: &str) {
    write_str(out, name.as_bytes());
    write_str(out, value.as_bytes());
}

fn write_str(out: &mut Vec<u8>, s: &[u8]) {
    match u8::try_from(s.len()) {
        Ok(len) if len < 255 => out.push(len),
        _ => {
            out.push(255);
            let len = u32::try_from(s.len()).expect("label text below 4 GiB: requests are bounded far below");
            out.extend_from_slice(&len.to_le_bytes());
        }
    }
    out.extend_from_slice(s);
}

fn checked_str(b: &[u8]) -> Option<(&[u8], &[u8])> {
    let (&first, rest) = b.split_first()?;
    let (len, rest) = if first < 255 {
        (first as usize, rest)
    } else {
        let (len, rest) = rest.split_first_chunk::<4>()?;
        let len = u32::from_le_bytes(*len) as usize;
        if len < 255 {
            return None; // not the shortest form, so not canonical
        }
        (len, rest)
    };
    (rest.len() >= len).then(|| rest.split_at(len))
}

fn trusted_str(b: &[u8]) -> (&str, &[u8]) {
    let (s, rest) = checked_str(b).expect("canonical label bytes: see the module's invariant");
    // SAFETY: every constructor of canonical bytes takes `&str` or checks UTF-8 (see the module's invariant);
    // re-checking here costs as much as the whole iteration.
    (unsafe { std::str::from_utf8_unchecked(s) }, rest)
}

/// Whether `name` may stand unquoted as a metric name: `[a-zA-Z_:][a-zA-Z0-9_:]*`.
pub fn is_legacy_metric_name(name: &str) -> bool {
    is_identifier(name, true)
}

/// Whether `name` may stand unquoted as a label name: `[a-zA-Z_][a-zA-Z0-9_]*`.
pub fn is_legacy_label_name(name: &str) -> bool {
    is_identifier(name, false)
}

fn is_identifier(name: &str, colon: bool) -> bool {
    let ok = |b: u8| b.is_ascii_alphabetic() || b == b'_' || (colon && b == b':');
    match name.as_bytes() {
        [] => false,
        [first, rest @ ..] => ok(*first) && rest.iter().all(|&b| ok(b) || b.is_ascii_digit()),
    }
}

/// `text` in double quotes with Go's `strconv.Quote` escapes.
pub fn quoted(text: &str) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\r' => out.push_str("\\r"),
            '\t' => out.push_str("\\t"),
            '\u{7}' => out.push_str("\\a"),
            '\u{8}' => out.push_str("\\b"),
            '\u{b}' => out.push_str("\\v"),
            '\u{c}' => out.push_str("\\f"),
            c if (c as u32) < 0x20 || c as u32 == 0x7f => out.push_str(&format!("\\x{:02x}", c as u32)),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

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
