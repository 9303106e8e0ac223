//! What can go wrong with a template. The texts are Prometheus' own, because they land in annotations
//! (`<error expanding template: …>`) and in the output of `rules check`, where people and scripts compare them.

/// Why a template cannot be parsed or expanded.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TemplateError {
    /// The text is no template.
    #[error("error parsing template {name}: template: {name}:{line}: {message}")]
    Parse {
        /// The name the template was parsed under.
        name: String,
        /// Line in the text, from 1.
        line: usize,
        /// What is wrong there.
        message: String,
    },
    /// The template failed while it ran.
    #[error(
        "error executing template {name}: template: {name}:{line}:{column}: executing \"{within}\" at <{at}>: {message}"
    )]
    Exec {
        /// The name the template was parsed under.
        name: String,
        /// The `{{define}}` it was in, or the name again.
        within: String,
        /// Line in the text, from 1.
        line: usize,
        /// Byte in the line, from 0.
        column: usize,
        /// The part that failed, printed back from the tree.
        at: String,
        /// What is wrong there.
        message: String,
    },
    /// A bound of [`limits`](crate::limits) was hit.
    #[error("error executing template {name}: template needs more than {limit}: make it do less")]
    Limit {
        /// The name the template was parsed under.
        name: String,
        /// The bound, with its unit.
        limit: String,
    },
    /// A `query` has no answer yet: run the expression, add it to the answers and expand again.
    #[error("error executing template {name}: query {expr:?} has no answer yet")]
    NeedsQuery {
        /// The name the template was parsed under.
        name: String,
        /// The PromQL expression.
        expr: String,
    },
}

impl TemplateError {
    /// The message without the leading `error … template NAME: `: what `promtool check rules` prints.
    pub fn go_text(&self) -> String {
        let text = self.to_string();
        match text.find("template: ") {
            Some(at) => text[at..].to_owned(),
            None => text,
        }
    }
}
