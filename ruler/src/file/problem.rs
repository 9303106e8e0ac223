//! What is wrong with a rule file, in promtool's words.

use std::fmt;

/// A place in a file, from 1; both 0 when unknown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Place {
    /// Line.
    pub line: u64,
    /// Column.
    pub column: u64,
}

/// One thing that is wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// Where: usually one place, two for a contradiction, none for templates and labels.
    pub places: Vec<Place>,
    /// Group, number of the rule from 1, and the rule's name.
    pub rule: Option<(String, usize, String)>,
    /// What is wrong.
    pub message: String,
}

impl Problem {
    /// A problem of the whole file or a group.
    pub(super) fn plain(message: impl Into<String>) -> Problem {
        Problem { places: Vec::new(), rule: None, message: message.into() }
    }
}

/// `5:11: group "a", rule 1, "x": …`
impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in &self.places {
            write!(f, "{}:{}: ", place.line, place.column)?;
        }
        if let Some((group, number, name)) = &self.rule {
            write!(f, "group {group:?}, rule {number}, {name:?}: ")?;
        }
        f.write_str(&self.message)
    }
}
