//! `info()`: which info metrics are read, and at which time.

use cairn_model::labels::METRIC_NAME;
use cairn_model::storage::{SelectHints, WantedLabels};
use cairn_model::{MatchOp, Matcher};

use super::scope::Scope;
use super::{Built, Planner, built, unexpected};
use crate::engine::downsampled::Aggregate;
use crate::engine::error::QueryError;
use crate::engine::grid::Reference;
use crate::engine::plan::{Fetch, Info, VectorNode};
use crate::parser::ast::{Call, Expr};

impl<'q> Planner<'q> {
    pub(super) fn info(&mut self, c: &'q Call, scope: Scope<'q>) -> Result<Built<VectorNode>, QueryError> {
        let arg = self.vector(&c.args[0], scope)?;
        let reference = self.first_reference(&c.args[0])?.unwrap_or_default();
        let given: &[Matcher] = match c.args.get(1).map(Expr::unwrap_parens) {
            Some(Expr::Vector(v)) => &v.matchers,
            None => &[],
            Some(other) => return Err(unexpected("a label selector", other)),
        };
        let (names, data_matchers): (Vec<_>, Vec<_>) =
            given.iter().cloned().partition(|m| m.name == METRIC_NAME);
        let name_matchers = info_name_matchers(names);
        let (first, last) = reference.bounds(scope.grid);
        let matchers = name_matchers.iter().chain(&data_matchers).cloned().collect();
        let fetch = self.add_fetch(Fetch {
            matchers,
            min_ms: first.saturating_sub(self.options.lookback_ms - 1),
            max_ms: last,
            labels: WantedLabels::All,
            hints: SelectHints { step_ms: scope.step_hint_ms, func: "info".into(), ..SelectHints::default() },
            aggregate: Aggregate::Average,
            text: c.span.text(self.query).to_owned(),
        });
        let info = Info { arg: arg.node, fetch, reference, data_matchers, name_matchers };
        Ok(built(VectorNode::Info(Box::new(info)), arg.invariant && reference.at_ms.is_some()))
    }

    /// The reference time of the first selector in `expr`: the innermost `@` on the way to it pins it, offsets up
    /// to there add up.
    fn first_reference(&self, expr: &Expr) -> Result<Option<Reference>, QueryError> {
        match expr {
            Expr::Vector(v) => Ok(Some(self.reference(v.offset.as_ref(), v.at)?)),
            Expr::Matrix(m) => Ok(Some(self.reference(m.selector.offset.as_ref(), m.selector.at)?)),
            Expr::Subquery(s) => {
                let outer = self.reference(s.offset.as_ref(), s.at)?;
                Ok(self.first_reference(&s.expr)?.map(|r| match r.at_ms {
                    Some(_) => r,
                    None => Reference { at_ms: outer.at_ms, offset_ms: r.offset_ms + outer.offset_ms },
                }))
            }
            other => {
                for child in other.children() {
                    if let Some(r) = self.first_reference(child)? {
                        return Ok(Some(r));
                    }
                }
                Ok(None)
            }
        }
    }
}

/// Conditions on the names of info metrics: `target_info` when nothing is said, `.+_info` when it is only said
/// what they are not.
fn info_name_matchers(given: Vec<Matcher>) -> Vec<Matcher> {
    if given.is_empty() {
        return vec![Matcher::equal(METRIC_NAME, "target_info")];
    }
    if given.iter().any(|m| !m.is_negative()) {
        return given;
    }
    let any_info = Matcher::new(MatchOp::Regex, METRIC_NAME, ".+_info").expect("a constant pattern");
    std::iter::once(any_info).chain(given).collect()
}
