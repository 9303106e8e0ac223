//! Sub-expressions that a query writes more than once, as a plan names them: `a` in `a / (a + b)`.
//!
//! [`super::planner`] finds them and wraps each occurrence in a [`Shared`] node, which holds the whole plan of the
//! sub-expression, so that any occurrence can be evaluated on its own. [`super::eval::shared`] evaluates the first one
//! it comes to and gives what came of it to the others.
//!
//! Invariant: occurrences of one [`SharedId`] yield the same series, notes and counts: their trees are the same but for
//! parentheses and white space, they are planned for the same times, and read the same data. Only the positions in
//! their notes differ; [`Repeats::counterpart`] translates them.

use super::plan::VectorNode;
use crate::parser::ast::Span;

/// Index into [`Repeats::uses`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SharedId(pub usize);

/// One occurrence of a sub-expression that may stand elsewhere too.
#[derive(Debug, Clone)]
pub struct Shared {
    /// The same for all occurrences.
    pub id: SharedId,
    /// Where this one begins in [`Repeats::spans`].
    pub first: usize,
    /// What it computes.
    pub node: VectorNode,
}

/// All of them in a query.
#[derive(Debug, Clone, Default)]
pub struct Repeats {
    /// How often each is used. What stands inside a later occurrence of something else is not, as that is known by then.
    pub uses: Vec<u32>,
    /// Where every node of the query stands, parents first and parentheses left out; empty when nothing is repeated. The
    /// nodes of equal trees are equally far from their first.
    pub spans: Vec<Span>,
}

impl Repeats {
    /// Whether there is another occurrence to serve.
    pub fn is_shared(&self, id: SharedId) -> bool {
        self.uses.get(id.0).is_some_and(|n| *n > 1)
    }

    /// Where the node that stands at `span` in the occurrence that begins at `from` stands in the one that begins at
    /// `to`. A span that is none of a node means no place in particular and stays.
    pub fn counterpart(&self, span: Span, from: usize, to: usize) -> Span {
        let inside = self.spans.get(from..).unwrap_or_default();
        match inside.iter().position(|s| *s == span) {
            Some(i) => self.spans.get(to + i).copied().unwrap_or(span),
            None => span,
        }
    }
}
