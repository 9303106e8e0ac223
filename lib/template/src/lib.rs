//! Go's `text/template` as Prometheus rules use it: a template is parsed when rules are loaded and expanded at each
//! evaluation, for each alert.
//!
//! Parts in the order a template meets them: `lex` → `parse` → `ast`, then at each expansion
//! `exec` (walks), `eval` (pipelines), `functions`, `gofmt` (Go's `fmt`),
//! `gotime` (Go's `time`).
//!
//! Invariants: an expansion is a pure function of the template, its data and its [`Env`]; nothing a template says makes
//! it panic, run on or grow beyond [`limits`]; messages are Go's, word for word where Go's are deterministic.
//!
//! Sources: <https://pkg.go.dev/text/template>, <https://pkg.go.dev/fmt>, Prometheus' template reference
//! (<https://prometheus.io/docs/prometheus/latest/configuration/template_reference/>). The expected results in `tests/`
//! were produced by Prometheus' own expander.

mod ast;
mod env;
mod error;
mod eval;
mod exec;
mod functions;
mod gofmt;
mod gotime;
mod lex;
pub mod limits;
mod literal;
mod parse;
mod regexes;
mod value;

pub use env::{Env, NoQueries, Queries, QueryAnswer};
pub use error::TemplateError;
pub use functions::{names as function_names, table_link};
pub use gotime::{Duration, Time};
pub use value::{Args, Indirection, RuleData, Sample, Value};

use exec::Exec;
use parse::Trees;
use regexes::RegexCache;

/// What Prometheus puts before each rule's template, so that `$labels` and the others exist. Columns in messages count
/// it.
const RULE_PREAMBLE: &str = "{{$labels := .Labels}}{{$externalLabels := .ExternalLabels}}\
{{$externalURL := .ExternalURL}}{{$value := .Value}}";

/// A parsed template. Immutable; any number of threads may expand it at once.
#[derive(Debug)]
pub struct Template {
    name: String,
    text: String,
    /// The result, when the text holds no action.
    literal: Option<String>,
    trees: Trees,
    regexes: RegexCache,
}

impl Template {
    /// Parses a template.
    ///
    /// # Errors
    /// [`TemplateError::Parse`] with the line.
    pub fn parse(name: &str, text: &str) -> Result<Template, TemplateError> {
        Template::parse_with(name, text.to_owned(), (!text.contains("{{")).then(|| text.to_owned()))
    }

    /// Parses a label or annotation of a rule: `$labels`, `$externalLabels`, `$externalURL` and `$value` are declared.
    ///
    /// # Errors
    /// [`TemplateError::Parse`] with the line.
    pub fn parse_rule(name: &str, text: &str) -> Result<Template, TemplateError> {
        let literal = (!text.contains("{{")).then(|| text.to_owned());
        Template::parse_with(name, [RULE_PREAMBLE, text].concat(), literal)
    }

    fn parse_with(name: &str, text: String, literal: Option<String>) -> Result<Template, TemplateError> {
        let trees = match literal {
            Some(_) if text.len() <= limits::MAX_TEXT_BYTES => Trees::new(),
            _ => parse::parse(name, &text).map_err(|failure| TemplateError::Parse {
                name: name.to_owned(),
                line: failure.line,
                message: failure.message,
            })?,
        };
        Ok(Template { name: name.to_owned(), text, literal, trees, regexes: RegexCache::default() })
    }

    /// Expands the template over its data.
    ///
    /// # Errors
    /// [`TemplateError::Exec`] when a part fails, [`TemplateError::Limit`] when it needs too much,
    /// [`TemplateError::NeedsQuery`] when a query has no answer yet.
    pub fn expand(&self, data: Value, env: &Env<'_>) -> Result<String, TemplateError> {
        match &self.literal {
            Some(text) => Ok(text.clone()),
            None => Exec::new(&self.name, &self.text, &self.trees, env, &self.regexes).run(data),
        }
    }
}
