//! What an `eval` must give: values, a string, a failure, warnings and infos.

use cairn_model::Labels;
use regex::Regex;

use super::sequence::SequenceValue;

/// How a text is expected.
#[derive(Debug, Clone)]
pub enum TextPattern {
    /// Any text.
    Any,
    /// Exactly this one.
    Exactly(String),
    /// One that matches somewhere.
    Matching(Regex),
}

impl TextPattern {
    /// Whether `text` is as expected.
    pub fn matches(&self, text: &str) -> bool {
        match self {
            TextPattern::Any => true,
            TextPattern::Exactly(want) => want == text,
            TextPattern::Matching(regex) => regex.is_match(text),
        }
    }
}

impl std::fmt::Display for TextPattern {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            TextPattern::Any => f.write_str("any text"),
            TextPattern::Exactly(want) => write!(f, "{want:?}"),
            TextPattern::Matching(regex) => write!(f, "a text matching {:?}", regex.as_str()),
        }
    }
}

/// What is expected of the warnings, or of the infos.
#[derive(Debug, Clone, Default)]
pub struct NoteExpectation {
    /// Each must be met by a note, and each note must meet one; empty: notes are not looked at.
    pub patterns: Vec<TextPattern>,
    /// There must be none.
    pub none: bool,
    /// There must be one at least (`eval_warn`, `eval_info`).
    pub some: bool,
}

impl NoteExpectation {
    /// Checks the notes of one answer; `kind` is `warn` or `info`.
    ///
    /// # Errors
    /// What is missing or too much.
    pub fn check(&self, kind: &str, notes: &[String]) -> Result<(), String> {
        if self.some && notes.is_empty() {
            return Err(format!("expected {kind} annotations, got none"));
        }
        if self.none && !notes.is_empty() {
            return Err(format!("expected no {kind} annotations, got {notes:?}"));
        }
        if let Some(missing) = self.patterns.iter().find(|p| !notes.iter().any(|n| p.matches(n))) {
            return Err(format!("expected {kind} annotation {missing}, got {notes:?}"));
        }
        if self.patterns.is_empty() {
            return Ok(());
        }
        match notes.iter().find(|n| !self.patterns.iter().any(|p| p.matches(n))) {
            Some(extra) => Err(format!("expected no other {kind} annotation, got {extra:?}")),
            None => Ok(()),
        }
    }
}

/// Series that must be in the result.
#[derive(Debug, Clone)]
pub struct ExpectedSeries {
    /// Which series.
    pub labels: Labels,
    /// One value for an instant, one a step for a range.
    pub values: Vec<SequenceValue>,
    /// Place in an ordered result, from 1.
    pub place: usize,
}

/// The steps that the values of a matrix stand at.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Steps {
    /// First step in milliseconds.
    pub from_ms: i64,
    /// No step is later.
    pub to_ms: i64,
    /// Milliseconds between two steps.
    pub step_ms: i64,
}

/// The value that is expected.
#[derive(Debug, Clone)]
pub enum ExpectedValue {
    /// A number.
    Scalar(f64),
    /// A text.
    String(String),
    /// A vector or matrix of exactly these series.
    Series(Vec<ExpectedSeries>),
}

/// Everything that is expected of one evaluation.
#[derive(Debug, Clone)]
pub struct Expectation {
    /// The value.
    pub value: ExpectedValue,
    /// Whether series must come in the order of the text.
    pub ordered: bool,
    /// The query must fail with such a text; the value is not looked at then.
    pub fail: Option<TextPattern>,
    /// Warnings.
    pub warnings: NoteExpectation,
    /// Infos.
    pub infos: NoteExpectation,
    /// Where the values of a matrix stand.
    pub steps: Steps,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn notes(texts: &[&str]) -> Vec<String> {
        texts.iter().map(|t| (*t).to_owned()).collect()
    }

    #[test]
    fn expected_notes_cover_all_notes_and_all_are_met() {
        let expect = NoteExpectation {
            patterns: vec![
                TextPattern::Exactly("a".into()),
                TextPattern::Matching(Regex::new("b+").unwrap()),
            ],
            ..Default::default()
        };
        assert!(expect.check("warn", &notes(&["a", "xbbx"])).is_ok());
        assert!(expect.check("warn", &notes(&["a"])).unwrap_err().contains("matching \"b+\""));
        assert!(expect.check("warn", &notes(&["a", "b", "c"])).unwrap_err().contains("no other"));
        assert!(NoteExpectation::default().check("warn", &notes(&["a"])).is_ok());
        let none = NoteExpectation { none: true, ..Default::default() };
        assert!(none.check("info", &notes(&["a"])).is_err());
        let some = NoteExpectation { some: true, ..Default::default() };
        assert!(some.check("info", &[]).is_err());
    }
}
