//! What surrounds the part that is planned. It goes down the tree by value; each node makes the scope of its operands.

use crate::engine::grid::Grid;
use crate::parser::ast::AggregateExpr;

/// What surrounds the part that is planned.
#[derive(Clone, Copy)]
pub(super) struct Scope<'e> {
    pub(super) grid: Grid,
    pub(super) step_hint_ms: i64,
    /// The nearest function or aggregation, unless an operator stands between.
    pub(super) func: &'static str,
    /// Labels of the aggregation right around, and whether they are of `by`.
    pub(super) grouping: Option<(&'e [String], bool)>,
    /// The aggregation that a selector, perhaps within a range function, goes into and vanishes in.
    pub(super) reduced: Option<&'e AggregateExpr>,
    pub(super) buckets: Buckets,
}

/// Whether the buckets of histograms are used by what surrounds a selector.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(super) enum Buckets {
    /// As far as is known.
    Used,
    /// Only count and sum come out.
    Unused,
    /// Something further out needs them, whatever stands in between.
    Needed,
}

impl<'e> Scope<'e> {
    pub(super) fn inside(self, func: &'static str) -> Self {
        let buckets = match (self.buckets, func) {
            (Buckets::Needed, _) => Buckets::Needed,
            (_, "histogram_quantile" | "histogram_quantiles" | "histogram_fraction") => Buckets::Needed,
            (_, "histogram_count" | "histogram_sum" | "histogram_avg") => Buckets::Unused,
            (buckets, _) => buckets,
        };
        Scope { func, grouping: None, reduced: None, buckets, ..self }
    }

    pub(super) fn stats_only(&self) -> bool {
        self.buckets == Buckets::Unused
    }
}
