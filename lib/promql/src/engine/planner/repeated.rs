//! Finds the sub-expressions that a query writes more than once, and wraps them as [`Shared`].
//!
//! From the leaves up every node gets the number of its *shape*: what is printed of it without its operands, and the
//! shapes of its operands. Equal numbers are equal trees, and all of them take time linear in the query. What stands
//! inside the second occurrence of something is not counted again: it is not evaluated again either.
//!
//! Equal trees are the same computation only where the same surrounds them, which is known when they are planned
//! ([`Context`]). What is no instant vector or reads no data is cheap, and not shared.

use std::collections::{HashMap, HashSet};

use super::scope::{Buckets, Scope};
use super::{Built, Planner, built};
use crate::engine::downsampled::Aggregate;
use crate::engine::error::QueryError;
use crate::engine::grid::Grid;
use crate::engine::plan::VectorNode;
use crate::engine::repeats::{Shared, SharedId};
use crate::parser::ValueType;
use crate::parser::ast::{Expr, Span};
use crate::parser::print::{AggregateHead, BinaryHead, SubquerySuffix};

/// The sub-expressions that are written more than once.
#[derive(Default)]
pub(super) struct Repeated {
    /// Every node's place, parents first and parentheses left out.
    pub(super) spans: Vec<Span>,
    /// Those of repeated sub-expressions, by their place, which no other node has.
    nodes: HashMap<Span, Written>,
}

/// An occurrence of a repeated sub-expression.
#[derive(Clone, Copy)]
struct Written {
    /// Index of its place in `spans`.
    first: usize,
    shape: usize,
}

/// What makes two occurrences of a tree the same computation.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Context {
    shape: usize,
    grid: Grid,
    buckets: Buckets,
    /// What a bare selector reads of downsampled data depends on what is made of it.
    aggregate: Option<Aggregate>,
}

impl Repeated {
    /// Of `expr`, a whole query.
    pub(super) fn of(expr: &Expr) -> Self {
        let mut shapes = Shapes::default();
        shapes.add(expr);
        let repeated = shapes.repeated(expr);
        if repeated.is_empty() {
            return Repeated::default();
        }
        let spans = shapes.nodes.iter().map(|n| n.0).collect();
        let nodes = shapes.nodes.into_iter().enumerate().filter(|(_, n)| repeated.contains(&n.1));
        let nodes = nodes.map(|(first, (span, shape))| (span, Written { first, shape })).collect();
        Repeated { spans, nodes }
    }
}

/// The shapes of a tree's nodes.
#[derive(Default)]
struct Shapes {
    /// Place and shape of every node, parents first.
    nodes: Vec<(Span, usize)>,
    /// What is printed of a node without its operands, and their shapes.
    known: HashMap<(String, Vec<usize>), usize>,
    /// Whether data is read, by shape.
    selects: Vec<bool>,
}

impl Shapes {
    fn add(&mut self, expr: &Expr) -> usize {
        let expr = expr.unwrap_parens();
        let at = self.nodes.len();
        self.nodes.push((expr.span(), 0));
        let children: Vec<usize> = expr.children().into_iter().map(|child| self.add(child)).collect();
        let selects = matches!(expr, Expr::Vector(_) | Expr::Matrix(_))
            || children.iter().any(|shape| self.selects[*shape]);
        let next = self.known.len();
        let shape = *self.known.entry((head(expr), children)).or_insert(next);
        if shape == next {
            self.selects.push(selects);
        }
        self.nodes[at].1 = shape;
        shape
    }

    /// The shapes that occur more than once. [`Shapes::nodes`] is walked along with the tree.
    fn repeated(&self, expr: &Expr) -> HashSet<usize> {
        let (mut seen, mut repeated, mut at) = (HashSet::new(), HashSet::new(), 0);
        self.count(expr, &mut at, true, &mut seen, &mut repeated);
        repeated
    }

    fn count(
        &self,
        expr: &Expr,
        at: &mut usize,
        counts: bool,
        seen: &mut HashSet<usize>,
        repeated: &mut HashSet<usize>,
    ) {
        let expr = expr.unwrap_parens();
        let shape = self.nodes[*at].1;
        *at += 1;
        let worth_it = counts && self.selects[shape] && expr.value_type() == ValueType::Vector;
        let again = worth_it && !seen.insert(shape);
        if again {
            repeated.insert(shape);
        }
        for child in expr.children() {
            self.count(child, at, counts && !again, seen, repeated);
        }
    }
}

/// What is printed of a node without its operands. Times are printed as fractions of seconds, which is not exact for all.
fn head(expr: &Expr) -> String {
    match expr {
        Expr::Number(e) => format!("{:x}", e.value.to_bits()),
        Expr::String(_) | Expr::Paren(_) => expr.to_string(),
        Expr::Vector(e) => format!("{expr} {:?}", e.at),
        Expr::Matrix(e) => format!("{expr} {:?}", e.selector.at),
        Expr::Subquery(e) => format!("{} {:?}", SubquerySuffix(e), e.at),
        Expr::Call(e) => format!("{}(", e.func.name),
        Expr::Aggregate(e) => format!("{}(", AggregateHead(e)),
        Expr::Binary(e) => BinaryHead(e).to_string(),
        Expr::Unary(e) => e.op.as_str().to_owned(),
    }
}

impl<'q> Planner<'q> {
    /// Plans an instant vector; one that is written more than once is marked as such.
    pub(super) fn vector(
        &mut self,
        expr: &'q Expr,
        scope: Scope<'q>,
    ) -> Result<Built<VectorNode>, QueryError> {
        let Some(written) = self.repeated.nodes.get(&expr.span()).copied().filter(|_| !self.inside_known)
        else {
            return self.vector_alone(expr, scope);
        };
        let aggregate = match expr {
            Expr::Vector(_) | Expr::Unary(_) => Some(self.aggregate_for(scope.func)),
            _ => None,
        };
        let context = Context { shape: written.shape, grid: scope.grid, buckets: scope.buckets, aggregate };
        let next = SharedId(self.uses.len());
        let id = *self.shared.entry(context).or_insert(next);
        if id == next {
            self.uses.push(0);
        }
        self.uses[id.0] += 1;
        self.inside_known = id != next;
        let plain = self.vector_alone(expr, scope);
        self.inside_known = false;
        let plain = plain?;
        let shared = Shared { id, first: written.first, node: plain.node };
        Ok(built(VectorNode::Shared(Box::new(shared)), plain.invariant))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::parser::{Features, parse};

    fn repeated(query: &str) -> Vec<&str> {
        let expr = parse(query, Features::all()).unwrap();
        let found = Repeated::of(&expr);
        let mut texts: Vec<&str> = found.nodes.keys().map(|span| span.text(query)).collect();
        texts.sort_unstable();
        texts
    }

    #[test]
    fn the_widest_sub_expressions_are_found_whatever_their_layout() {
        for (query, found) in [
            ("a / (a + b)", &["a", "a"][..]),
            (
                "sum(rate(a[5m])) / (sum (  (rate(a[5m]) )) + 1)",
                &["sum (  (rate(a[5m]) ))", "sum(rate(a[5m]))"],
            ),
            ("sum(a) + sum(a) + max(a)", &["a", "a", "a", "sum(a)", "sum(a)"]),
            ("sum by (j) (a) + sum by (k) (a)", &["a", "a"]),
            ("scalar(sum(a)) * 2 + scalar(sum(a)) * b", &["sum(a)", "sum(a)"]),
            (r#"a{x="1", y="2"} or a{y="2", x="1"}"#, &[r#"a{x="1", y="2"}"#, r#"a{y="2", x="1"}"#]),
            // Not the same, or not worth it.
            ("a + a offset 1m + a @ 5 + a{x=\"\"}", &[]),
            ("max_over_time(a[5m]) - min_over_time(a[5m])", &[]),
            ("time() + time() + vector(1) + vector(1)", &[]),
            ("time() + (time)", &[]),
        ] {
            assert_eq!(repeated(query), found, "{query}");
        }
    }
}
