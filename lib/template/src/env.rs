//! What a template may know besides its data: the time, the outside URL, and answers to queries.

use std::sync::Arc;

use crate::value::Sample;

/// The answer to one `query`.
pub type QueryAnswer = Result<Vec<Arc<Sample>>, String>;

/// Answers of queries, asked while a template runs.
///
/// `None` means not known yet: the expansion stops with [`NeedsQuery`](crate::TemplateError::NeedsQuery), the caller
/// runs the expression (at the evaluation's own timestamp), and expands again. So the engine stays a plain function,
/// and an answer is shared by all alerts of a rule.
pub trait Queries: Sync {
    /// The answer to an expression, if it is known.
    fn answer(&self, expr: &str) -> Option<QueryAnswer>;
}

/// No queries: each one fails with this text.
#[derive(Debug, Clone, Copy)]
pub struct NoQueries(pub &'static str);

impl Queries for NoQueries {
    fn answer(&self, _expr: &str) -> Option<QueryAnswer> {
        Some(Err(self.0.to_owned()))
    }
}

/// The surroundings of one expansion.
pub struct Env<'a> {
    /// `now`: the evaluation's timestamp in milliseconds, so that a repeated evaluation gives equal text.
    pub now_ms: i64,
    /// `externalURL` and, cut out of it, `pathPrefix`.
    pub external_url: &'a str,
    /// What `query` answers.
    pub queries: &'a dyn Queries,
}
