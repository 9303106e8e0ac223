//! Reads one expression with both parsers and says how they differ.

use std::fmt;

use cairn_promql::parser::{self, Expr, Features, ParseError};
use promql_parser::parser::Expr as OracleExpr;

use crate::{cairn, oracle};

/// An expression and what both make of it.
#[derive(Debug)]
pub struct Reading {
    /// The expression.
    pub text: String,
    /// cairn's tree, with all experimental parts on, or its refusal.
    pub cairn: Result<Expr, ParseError>,
    /// The oracle's tree, or its refusal.
    pub oracle: Result<OracleExpr, String>,
}

/// What a comparison came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// The same tree.
    Equal,
    /// Both refuse.
    BothRefuse,
    /// See [`Difference`].
    Differ(Difference),
}

/// How two readings differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Difference {
    /// Only cairn reads it.
    OracleRefuses,
    /// Only the oracle reads it.
    CairnRefuses,
    /// Both do, as different trees.
    OtherTree,
}

impl Reading {
    /// Reads `text` with both.
    pub fn of(text: &str) -> Self {
        Reading {
            text: text.to_owned(),
            cairn: parser::parse(text, Features::all()),
            oracle: oracle::parse(text),
        }
    }

    /// Compares the two.
    pub fn verdict(&self) -> Verdict {
        match (&self.cairn, &self.oracle) {
            (Err(_), Err(_)) => Verdict::BothRefuse,
            (Ok(_), Err(_)) => Verdict::Differ(Difference::OracleRefuses),
            (Err(_), Ok(_)) => Verdict::Differ(Difference::CairnRefuses),
            // A tree that cannot be written down equals none.
            (Ok(ours), Ok(theirs)) => match (cairn::tree(ours), oracle::tree(theirs)) {
                (Some(ours), Some(theirs)) if ours == theirs => Verdict::Equal,
                _ => Verdict::Differ(Difference::OtherTree),
            },
        }
    }
}

/// The expression, and what both say of it.
impl fmt::Display for Reading {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{:?}", self.text)?;
        match &self.cairn {
            Ok(expr) => writeln!(f, "  cairn reads    {expr}")?,
            Err(why) => writeln!(f, "  cairn refuses  {why}")?,
        }
        match &self.oracle {
            Ok(expr) => write!(f, "  oracle reads   {expr}"),
            Err(why) => write!(f, "  oracle refuses {why}"),
        }
    }
}
