//! Label matchers, with Prometheus' (RE2's) regular expressions.
//!
//! A regular expression is anchored at both ends and `.` matches newlines. Most regexes that users write are
//! alternations of literals or a literal prefix; those are recognised once at construction, so that an index
//! can look values up instead of testing all of them ([`Matcher::literals`], [`Matcher::prefix`]).

use std::fmt;
use std::sync::{Arc, OnceLock};

use regex::Regex;
use regex_syntax::hir::{Hir, HirKind};

use crate::go_regex;
use crate::labels::{LabelsRef, is_legacy_label_name, quoted};

/// Most alternatives that are kept as a literal set.
const MAX_LITERALS: usize = 10_000;

/// Largest pattern, as [`size_estimate`] has it, that is compiled when it is first matched. Each unit becomes a few
/// states of some dozen bytes, so that this is far below [`MAX_REGEX_BYTES`].
const MAX_LAZY_SIZE: usize = 10_000;

/// Largest compiled regular expression, in bytes; bounds memory and time of hostile patterns.
const MAX_REGEX_BYTES: usize = 16 << 20;

/// How a matcher compares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// The operator as written in PromQL.
    pub fn as_str(self) -> &'static str {
        match self {
            MatchOp::Equal => "=",
            MatchOp::NotEqual => "!=",
            MatchOp::Regex => "=~",
            MatchOp::NotRegex => "!~",
        }
    }
}

/// One condition on one label. A label that is absent has the value `""`.
#[derive(Clone)]
pub struct Matcher {
    /// Label name.
    pub name: String,
    /// Operator.
    pub op: MatchOp,
    /// Literal or pattern, as given.
    pub value: String,
    pattern: Option<Arc<Pattern>>,
}

/// A regular expression that does not compile.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid regular expression {pattern:?}: {reason}")]
pub struct InvalidRegex {
    /// The pattern as given.
    pub pattern: String,
    /// What the regex engine says.
    pub reason: String,
}

enum Pattern {
    /// The pattern matches exactly these values; sorted.
    Literals(Vec<String>),
    /// Matches everything (`.*`).
    Anything,
    /// Matches every non-empty value (`.+`).
    AnythingNonEmpty,
    /// A general expression, perhaps with a literal prefix. Small ones are compiled when first matched, since
    /// parsing an expression costs far less than compiling its patterns.
    General { source: String, regex: OnceLock<Regex>, prefix: String },
}

impl Matcher {
    /// Builds a matcher.
    ///
    /// # Errors
    /// [`InvalidRegex`] when `op` is a regex operator and `value` is not a valid RE2 pattern.
    pub fn new(op: MatchOp, name: impl Into<String>, value: impl Into<String>) -> Result<Self, InvalidRegex> {
        let value = value.into();
        let pattern = match op {
            MatchOp::Equal | MatchOp::NotEqual => None,
            MatchOp::Regex | MatchOp::NotRegex => Some(Arc::new(Pattern::compile(&value)?)),
        };
        Ok(Matcher { name: name.into(), op, value, pattern })
    }

    /// `name="value"`.
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Matcher { name: name.into(), op: MatchOp::Equal, value: value.into(), pattern: None }
    }

    /// Whether a label of value `value` satisfies the condition.
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.pattern) {
            (MatchOp::Equal, _) => self.value == value,
            (MatchOp::NotEqual, _) => self.value != value,
            (MatchOp::Regex, Some(p)) => p.matches(value),
            (MatchOp::NotRegex, Some(p)) => !p.matches(value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => unreachable!("new() compiles every regex matcher"),
        }
    }

    /// Whether `labels` satisfies the condition.
    pub fn matches_labels(&self, labels: LabelsRef<'_>) -> bool {
        self.matches(labels.get(&self.name).unwrap_or(""))
    }

    /// Whether series without the label satisfy the condition.
    pub fn matches_empty(&self) -> bool {
        self.matches("")
    }

    /// Whether the operator is a negation.
    pub fn is_negative(&self) -> bool {
        matches!(self.op, MatchOp::NotEqual | MatchOp::NotRegex)
    }

    /// The values that the *positive* form of this matcher accepts, when they are a finite literal set: one for
    /// `=` and `!=`, the alternatives of `a|b|c` for `=~` and `!~`. Sorted. `None` for other patterns.
    pub fn literals(&self) -> Option<Vec<&str>> {
        match &self.pattern {
            None => Some(vec![self.value.as_str()]),
            Some(p) => match &**p {
                Pattern::Literals(l) => Some(l.iter().map(String::as_str).collect()),
                _ => None,
            },
        }
    }

    /// A literal that every value accepted by the positive form begins with; may be empty.
    pub fn prefix(&self) -> &str {
        match self.pattern.as_deref() {
            Some(Pattern::General { prefix, .. }) => prefix,
            _ => "",
        }
    }

    /// Whether the positive form accepts every value, the empty one too.
    pub fn matches_anything(&self) -> bool {
        matches!(self.pattern.as_deref(), Some(Pattern::Anything))
    }

    /// Whether the positive form accepts exactly the non-empty values.
    pub fn matches_any_non_empty(&self) -> bool {
        matches!(self.pattern.as_deref(), Some(Pattern::AnythingNonEmpty))
    }
}

impl Pattern {
    fn compile(source: &str) -> Result<Pattern, InvalidRegex> {
        let refuse = |reason: String| InvalidRegex { pattern: source.to_owned(), reason };
        let translated = go_regex::translate(source);
        let hir = regex_syntax::ParserBuilder::new()
            .dot_matches_new_line(true)
            .build()
            .parse(&translated)
            .map_err(|e| refuse(last_line(&e.to_string())))?;
        if let Some(reason) = go_regex::refusal(source) {
            return Err(refuse(reason));
        }
        if let HirKind::Repetition(r) = hir.kind()
            && r.max.is_none()
            && r.min <= 1
            && is_any_char(&r.sub)
        {
            return Ok(if r.min == 0 { Pattern::Anything } else { Pattern::AnythingNonEmpty });
        }
        let mut literals = Vec::new();
        if collect_literals(&hir, &mut literals) {
            literals.sort();
            literals.dedup();
            return Ok(Pattern::Literals(literals));
        }
        let regex = OnceLock::new();
        if size_estimate(&hir) > MAX_LAZY_SIZE {
            let _ = regex.set(anchored_regex(source)?);
        }
        Ok(Pattern::General { source: source.to_owned(), regex, prefix: literal_prefix(&hir) })
    }

    fn matches(&self, value: &str) -> bool {
        match self {
            Pattern::Literals(l) => l.binary_search_by(|x| x.as_str().cmp(value)).is_ok(),
            Pattern::Anything => true,
            Pattern::AnythingNonEmpty => !value.is_empty(),
            Pattern::General { source, regex, prefix } => {
                let compile = || {
                    anchored_regex(source).expect("a valid pattern far below the size limit: see compile()")
                };
                value.starts_with(prefix.as_str()) && regex.get_or_init(compile).is_match(value)
            }
        }
    }
}

/// The regex of an RE2 pattern as PromQL matches it: against the whole text, `.` matching line ends too.
///
/// # Errors
/// [`InvalidRegex`] when `source` is not a valid RE2 pattern, or compiles to too much.
pub fn anchored_regex(source: &str) -> Result<Regex, InvalidRegex> {
    let refuse = |reason: String| InvalidRegex { pattern: source.to_owned(), reason };
    let regex = regex::RegexBuilder::new(&format!("^(?s:{})$", go_regex::translate(source)))
        .size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|e| refuse(last_line(&e.to_string())))?;
    go_regex::refusal(source).map_or(Ok(regex), |reason| Err(refuse(reason)))
}

/// The last line of the regex crate's multi-line error holds the reason.
fn last_line(text: &str) -> String {
    text.lines().last().unwrap_or(text).trim_start_matches("error: ").to_owned()
}

/// About how large the pattern gets when it is compiled: characters, ranges of classes and branches, each as often
/// as it is repeated. Repetitions nest at most as deep as the parser allows.
fn size_estimate(hir: &Hir) -> usize {
    let sum = |parts: &[Hir]| parts.iter().fold(1, |n: usize, p| n.saturating_add(size_estimate(p)));
    match hir.kind() {
        HirKind::Empty | HirKind::Look(_) => 1,
        HirKind::Literal(l) => l.0.len(),
        // A range of characters is up to four ranges of bytes.
        HirKind::Class(regex_syntax::hir::Class::Unicode(c)) => 4 * c.ranges().len(),
        HirKind::Class(regex_syntax::hir::Class::Bytes(c)) => c.ranges().len(),
        HirKind::Repetition(r) => {
            let times = r.max.unwrap_or(r.min.saturating_add(1)).max(1) as usize;
            size_estimate(&r.sub).saturating_add(1).saturating_mul(times)
        }
        HirKind::Capture(c) => size_estimate(&c.sub).saturating_add(2),
        HirKind::Concat(parts) | HirKind::Alternation(parts) => sum(parts),
    }
}

fn is_any_char(hir: &Hir) -> bool {
    match hir.kind() {
        HirKind::Class(regex_syntax::hir::Class::Unicode(c)) => {
            matches!(c.ranges(), [r] if r.start() == '\0' && r.end() == char::MAX)
        }
        _ => false,
    }
}

/// Collects the strings that `hir` matches when they are a finite set of literals.
fn collect_literals(hir: &Hir, out: &mut Vec<String>) -> bool {
    let expanded = expand(hir);
    match expanded {
        Some(list) => {
            out.extend(list);
            true
        }
        None => false,
    }
}

/// All strings of `hir`, or `None` when they are not few literals.
fn expand(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(l) => Some(vec![std::str::from_utf8(&l.0).ok()?.to_owned()]),
        HirKind::Capture(c) => expand(&c.sub),
        HirKind::Alternation(parts) => {
            let mut all = Vec::new();
            for p in parts {
                all.extend(expand(p)?);
                if all.len() > MAX_LITERALS {
                    return None;
                }
            }
            Some(all)
        }
        HirKind::Concat(parts) => {
            let mut all = vec![String::new()];
            for p in parts {
                let tails = expand(p)?;
                if all.len() * tails.len() > MAX_LITERALS {
                    return None;
                }
                all = all.iter().flat_map(|a| tails.iter().map(move |t| format!("{a}{t}"))).collect();
            }
            Some(all)
        }
        HirKind::Class(regex_syntax::hir::Class::Unicode(c)) => {
            let size: usize = c.ranges().iter().map(|r| r.end() as usize - r.start() as usize + 1).sum();
            if size > 64 {
                return None;
            }
            Some(c.ranges().iter().flat_map(|r| (r.start()..=r.end()).map(String::from)).collect())
        }
        _ => None,
    }
}

fn literal_prefix(hir: &Hir) -> String {
    match hir.kind() {
        HirKind::Literal(l) => std::str::from_utf8(&l.0).unwrap_or("").to_owned(),
        HirKind::Capture(c) => literal_prefix(&c.sub),
        HirKind::Concat(parts) => {
            let mut prefix = String::new();
            for p in parts {
                match p.kind() {
                    HirKind::Literal(l) => prefix.push_str(std::str::from_utf8(&l.0).unwrap_or("")),
                    _ => break,
                }
            }
            prefix
        }
        _ => String::new(),
    }
}

impl PartialEq for Matcher {
    fn eq(&self, o: &Self) -> bool {
        self.op == o.op && self.name == o.name && self.value == o.value
    }
}
impl Eq for Matcher {}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if is_legacy_label_name(&self.name) {
            write!(f, "{}{}{}", self.name, self.op.as_str(), quoted(&self.value))
        } else {
            write!(f, "{}{}{}", quoted(&self.name), self.op.as_str(), quoted(&self.value))
        }
    }
}
impl fmt::Debug for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn regex(p: &str) -> Matcher {
        Matcher::new(MatchOp::Regex, "l", p).unwrap()
    }

    #[test]
    fn patterns_are_anchored_and_dot_matches_newline() {
        for (pattern, value, want) in [
            ("a.b", "a\nb", true),
            ("a", "ab", false),
            ("a|bc", "bc", true),
            ("a|bc", "abc", false),
            (".*", "", true),
            (".+", "", false),
            ("", "", true),
            ("(?i)foo", "FOO", true),
            ("\\Qa.b\\E", "a.b", true),
            ("\\Qa.b\\E", "axb", false),
            ("a{,2}", "a{,2}", true),
            ("a{2}", "aa", true),
            ("a{2,}", "aaaa", true),
            ("\\p{Lu}x", "Éx", true),
            ("[0-9]{3}", "123", true),
            ("\\d+", "٣", false),
            ("\\w+", "é", false),
            ("[\\w-]+", "a-b", true),
            ("[a&&b]+", "&ab", true),
        ] {
            assert_eq!(regex(pattern).matches(value), want, "{pattern} on {value:?}");
            let not = Matcher::new(MatchOp::NotRegex, "l", pattern).unwrap();
            assert_eq!(not.matches(value), !want, "!~ {pattern} on {value:?}");
        }
    }

    #[test]
    fn literal_sets_and_prefixes_are_found() {
        assert_eq!(regex("b|a|c").literals().unwrap(), ["a", "b", "c"]);
        assert_eq!(regex("x(1|2)y").literals().unwrap(), ["x1y", "x2y"]);
        assert_eq!(regex("x[12]").literals().unwrap(), ["x1", "x2"]);
        assert_eq!(regex("node_.*").prefix(), "node_");
        assert!(regex("node_.*").literals().is_none());
        assert!(regex(".*").matches_anything());
        assert!(regex(".+").matches_any_non_empty());
    }

    #[test]
    fn a_broken_pattern_is_refused_with_its_text() {
        let e = Matcher::new(MatchOp::Regex, "l", "a(").unwrap_err();
        assert!(e.to_string().contains("\"a(\""), "{e}");
    }

    #[test]
    fn hostile_repetition_is_refused_not_compiled() {
        assert!(Matcher::new(MatchOp::Regex, "l", "((a{1000}){1000}){1000}").is_err());
    }
}
