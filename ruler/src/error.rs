//! Why rules cannot be loaded or evaluated.

use std::path::PathBuf;

use cairn_cluster::ClusterError;
use cairn_model::storage::AppendError;

use crate::compiled::UnusableResult;
use crate::file::Problem;
use crate::seams::EvaluateError;

/// Rules that cannot be loaded: the old ones stay.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A file or folder cannot be read.
    #[error("cannot read rule file {path}: {source}", path = .path.display())]
    Read {
        /// Which.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Files hold rules that are not valid.
    #[error("cannot load rules, the rules loaded before stay in force:\n{}", list(.0))]
    Invalid(Vec<(PathBuf, Problem)>),
    /// More than the ruler takes.
    #[error("cannot load rules: {have} {what}, limit {limit}")]
    TooMany {
        /// Of what.
        what: &'static str,
        /// How many.
        have: usize,
        /// How many there may be.
        limit: usize,
    },
}

fn list(problems: &[(PathBuf, Problem)]) -> String {
    let lines: Vec<String> =
        problems.iter().map(|(path, problem)| format!("  {}: {problem}", path.display())).collect();
    lines.join("\n")
}

/// Why one evaluation of one rule came to nothing. The texts stand in `lastError`.
#[derive(Debug, Clone, thiserror::Error)]
#[allow(missing_docs)] // the texts say it
pub enum EvaluationError {
    #[error("{0}")]
    Query(#[from] EvaluateError),
    #[error("{0}")]
    Result(#[from] UnusableResult),
    #[error("{0}")]
    Append(#[from] AppendError),
    #[error("{rejected} of {total} samples were not stored: {first}")]
    Rejected { rejected: u64, total: usize, first: String },
    #[error("{0}")]
    Fenced(String),
}

impl EvaluationError {
    /// Whether the same evaluation, at its own timestamp, may succeed later.
    pub fn is_transient(&self) -> bool {
        match self {
            EvaluationError::Query(error) => error.is_transient,
            EvaluationError::Append(_) => true,
            EvaluationError::Result(_) | EvaluationError::Rejected { .. } | EvaluationError::Fenced(_) => {
                false
            }
        }
    }
}

impl From<ClusterError> for EvaluationError {
    fn from(error: ClusterError) -> EvaluationError {
        EvaluationError::Fenced(error.to_string())
    }
}
