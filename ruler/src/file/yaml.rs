//! The YAML document with positions. Reading is strict: a key that does not exist is an error with its line and the key
//! that was probably meant; all such keys are collected, so that one look at the report is enough.
//!
//! Scalars are kept as texts: `expr: 1` and `name: 5` are what they look like, as with Prometheus.

use std::cell::RefCell;
use std::fmt;
use std::rc::Rc;

use serde::de::{Deserialize, DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use super::problem::{Place, Problem};

/// A text and where it stands.
#[derive(Debug, Clone, Default)]
pub(super) struct Text {
    pub value: String,
    pub place: Place,
}

pub(super) type Pairs = Vec<(Text, Text)>;

#[derive(Debug, Default)]
pub(super) struct RawFile {
    pub groups: Vec<RawGroup>,
}

#[derive(Debug, Default)]
pub(super) struct RawGroup {
    pub name: Option<Text>,
    pub interval: Option<Text>,
    pub query_offset: Option<Text>,
    pub limit: Option<Text>,
    pub partial_response_strategy: Option<Text>,
    pub labels: Pairs,
    pub rules: Vec<RawRule>,
}

#[derive(Debug, Default)]
pub(super) struct RawRule {
    pub record: Option<Text>,
    pub alert: Option<Text>,
    pub expr: Option<Text>,
    pub for_: Option<Text>,
    pub keep_firing_for: Option<Text>,
    pub labels: Pairs,
    pub annotations: Pairs,
}

/// Largest rule file. Judgement: a hundred times the largest published rule set.
pub(super) const MAX_FILE_BYTES: usize = 16 << 20;

/// Reads the first document of a file. Unknown keys are problems unless they are to be ignored.
pub(super) fn read(text: &str, ignore_unknown: bool) -> Result<RawFile, Vec<Problem>> {
    if text.len() > MAX_FILE_BYTES {
        return Err(vec![Problem::plain(format!("file is larger than {MAX_FILE_BYTES} bytes: split it"))]);
    }
    let unknown = Unknown::default();
    let mut bytes = first_document(text).as_bytes();
    // One document, and an empty one is no error.
    let read =
        serde_saphyr::with_deserializer_from_reader_with_options(&mut bytes, options(), |deserializer| {
            FileSeed(unknown.clone()).deserialize(deserializer)
        });
    let file = read.map_err(|e| vec![Problem::plain(format!("yaml: {}", one_line(&e.to_string())))])?;
    let unknown = unknown.0.take();
    match unknown.is_empty() || ignore_unknown {
        true => Ok(file),
        false => Err(vec![Problem::plain(format!("yaml: unmarshal errors:\n{}", unknown.join("\n")))]),
    }
}

fn options() -> serde_saphyr::Options {
    let mut options = serde_saphyr::Options::default();
    options.with_snippet = false;
    options
}

/// Everything up to the second document, which Prometheus does not look at either.
fn first_document(text: &str) -> &str {
    let mut at = 0;
    let mut in_document = false;
    for line in text.split_inclusive('\n') {
        let is_marker = line.trim_end() == "---" || line.starts_with("--- ");
        if is_marker && in_document {
            return &text[..at];
        }
        let blank = line.trim().is_empty() || line.trim_start().starts_with('#') || line.starts_with('%');
        in_document |= is_marker || !blank;
        at += line.len();
    }
    text
}

fn one_line(message: &str) -> String {
    let line = message.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ");
    // The library's advice is for its users, not for ours.
    line.replace(", set DuplicateKeyPolicy in Options if acceptable", "")
}

/// Lines about keys that do not exist.
#[derive(Clone, Default)]
struct Unknown(Rc<RefCell<Vec<String>>>);

impl Unknown {
    fn add(&self, key: &Text, type_name: &str, known: &[&str]) {
        let line = key.place.line;
        let mut text = format!("  line {line}: field {} not found in type {type_name}", key.value);
        if let Some(meant) = closest(&key.value, known) {
            text.push_str(&format!(", did you mean {meant:?}?"));
        }
        self.0.borrow_mut().push(text);
    }
}

/// The known word within two edits of a given one.
fn closest<'a>(word: &str, known: &[&'a str]) -> Option<&'a str> {
    let best = known.iter().map(|k| (edits(word, k), *k)).min()?;
    (best.0 <= 2 && best.0 < best.1.len()).then_some(best.1)
}

/// Levenshtein distance; words are short.
fn edits(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, ca) in a.chars().take(64).enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, cb) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(ca != *cb);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(row[j + 1] + 1);
        }
    }
    row[b.len()]
}

impl<'de> Deserialize<'de> for Text {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Text, D::Error> {
        let spanned = Spanned::<Option<String>>::deserialize(deserializer)?;
        let at = spanned.referenced;
        Ok(Text {
            value: spanned.value.unwrap_or_default(),
            place: Place { line: at.line(), column: at.column() },
        })
    }
}

/// A text, or nothing when the value is empty.
fn text<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Option<Text>, A::Error> {
    map.next_value::<Option<Text>>()
}

/// A map of texts in the order of the file.
struct TextPairs(Pairs);

impl<'de> Deserialize<'de> for TextPairs {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<TextPairs, D::Error> {
        struct PairsVisitor;
        impl<'de> Visitor<'de> for PairsVisitor {
            type Value = TextPairs;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a map of texts")
            }
            fn visit_unit<E>(self) -> Result<TextPairs, E> {
                Ok(TextPairs(Vec::new()))
            }
            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TextPairs, A::Error> {
                let mut pairs = Vec::new();
                while let Some(key) = map.next_key::<Text>()? {
                    pairs.push((key, text(&mut map)?.unwrap_or_default()));
                }
                Ok(TextPairs(pairs))
            }
        }
        deserializer.deserialize_map(PairsVisitor)
    }
}

fn pairs<'de, A: MapAccess<'de>>(map: &mut A) -> Result<Pairs, A::Error> {
    Ok(map.next_value::<Option<TextPairs>>()?.map(|pairs| pairs.0).unwrap_or_default())
}

/// A list whose elements are read by a seed; an empty value is an empty list.
struct ListSeed<S>(S);

impl<'de, S: DeserializeSeed<'de> + Clone> DeserializeSeed<'de> for ListSeed<S> {
    type Value = Vec<S::Value>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de, S: DeserializeSeed<'de> + Clone> Visitor<'de> for ListSeed<S> {
    type Value = Vec<S::Value>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_none<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        let mut list = Vec::new();
        while let Some(element) = seq.next_element_seed(self.0.clone())? {
            list.push(element);
        }
        Ok(list)
    }
}

/// Defines the seed of a map with a fixed set of keys.
macro_rules! map_seed {
    ($seed:ident, $raw:ty, $type_name:literal, $known:ident, |$raw_var:ident, $map:ident, $unknown:ident| { $($key:literal => $read:expr,)* }) => {
        const $known: &[&str] = &[$($key),*];

        #[derive(Clone)]
        struct $seed(Unknown);

        impl<'de> DeserializeSeed<'de> for $seed {
            type Value = $raw;
            fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<$raw, D::Error> {
                deserializer.deserialize_option(self)
            }
        }

        impl<'de> Visitor<'de> for $seed {
            type Value = $raw;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(concat!("the keys of ", $type_name))
            }
            fn visit_none<E>(self) -> Result<$raw, E> {
                Ok(<$raw>::default())
            }
            fn visit_unit<E>(self) -> Result<$raw, E> {
                Ok(<$raw>::default())
            }
            fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<$raw, D::Error> {
                deserializer.deserialize_map(self)
            }
            fn visit_map<A: MapAccess<'de>>(self, mut $map: A) -> Result<$raw, A::Error> {
                let mut $raw_var = <$raw>::default();
                let $unknown = &self.0;
                while let Some(key) = $map.next_key::<Text>()? {
                    match key.value.as_str() {
                        $($key => $read,)*
                        _ => {
                            $unknown.add(&key, $type_name, $known);
                            $map.next_value::<IgnoredAny>()?;
                        }
                    }
                }
                Ok($raw_var)
            }
        }
    };
}

map_seed!(FileSeed, RawFile, "rulefmt.RuleGroups", FILE_KEYS, |raw, map, unknown| {
    "groups" => raw.groups = map.next_value_seed(ListSeed(GroupSeed(unknown.clone())))?,
});

map_seed!(GroupSeed, RawGroup, "rulefmt.RuleGroup", GROUP_KEYS, |raw, map, unknown| {
    "name" => raw.name = text(&mut map)?,
    "interval" => raw.interval = text(&mut map)?,
    "query_offset" => raw.query_offset = text(&mut map)?,
    "limit" => raw.limit = text(&mut map)?,
    "partial_response_strategy" => raw.partial_response_strategy = text(&mut map)?,
    "labels" => raw.labels = pairs(&mut map)?,
    "rules" => raw.rules = map.next_value_seed(ListSeed(RuleSeed(unknown.clone())))?,
});

map_seed!(RuleSeed, RawRule, "rulefmt.Rule", RULE_KEYS, |raw, map, unknown| {
    "record" => raw.record = text(&mut map)?,
    "alert" => raw.alert = text(&mut map)?,
    "expr" => raw.expr = text(&mut map)?,
    "for" => raw.for_ = text(&mut map)?,
    "keep_firing_for" => raw.keep_firing_for = text(&mut map)?,
    "labels" => raw.labels = pairs(&mut map)?,
    "annotations" => raw.annotations = pairs(&mut map)?,
});
