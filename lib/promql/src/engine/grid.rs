//! The times at which an expression is evaluated.

use cairn_model::TimestampMs;

/// Evenly spaced times. An instant query has one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Grid {
    /// The first time.
    pub start_ms: TimestampMs,
    /// Distance of the times, at least 1.
    pub step_ms: i64,
    /// How many times.
    pub steps: usize,
}

impl Grid {
    /// One time.
    pub fn instant(t_ms: TimestampMs) -> Self {
        Grid { start_ms: t_ms, step_ms: 1, steps: 1 }
    }

    /// From `start_ms` in steps of `step_ms` as far as `end_ms`, which is included when a step meets it. Empty
    /// when the end is before the start.
    pub fn range(start_ms: TimestampMs, end_ms: TimestampMs, step_ms: i64) -> Self {
        let step_ms = step_ms.max(1);
        let steps =
            if end_ms < start_ms { 0 } else { (end_ms.saturating_sub(start_ms) / step_ms) as usize + 1 };
        Grid { start_ms, step_ms, steps }
    }

    /// The `k`-th time.
    #[inline]
    pub fn time(&self, k: usize) -> TimestampMs {
        self.start_ms + self.step_ms * k as i64
    }

    /// The last time; the first one when the grid is empty.
    pub fn last_ms(&self) -> TimestampMs {
        self.time(self.steps.saturating_sub(1))
    }

    /// The same start with a single time.
    pub fn first_only(&self) -> Self {
        Grid { steps: self.steps.min(1), ..*self }
    }
}

/// Which time a selector or subquery looks at when it is evaluated: `@` pins it, `offset` shifts it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Reference {
    /// `@`, resolved.
    pub at_ms: Option<TimestampMs>,
    /// `offset`, resolved; positive looks into the past.
    pub offset_ms: i64,
}

impl Reference {
    /// The time looked at by an evaluation at `t_ms`.
    #[inline]
    pub fn time(&self, t_ms: TimestampMs) -> TimestampMs {
        self.at_ms.unwrap_or(t_ms).saturating_sub(self.offset_ms)
    }

    /// The first and last time looked at by evaluations on `grid`.
    pub fn bounds(&self, grid: Grid) -> (TimestampMs, TimestampMs) {
        (self.time(grid.start_ms), self.time(grid.last_ms()))
    }
}

/// The times of a subquery that reach back `range_ms` from the times that `reference` looks at on `outer`:
/// multiples of `step_ms` in a left-open range.
pub fn subquery_grid(outer: Grid, reference: Reference, range_ms: i64, step_ms: i64) -> Grid {
    if outer.steps == 0 {
        return Grid { start_ms: 0, step_ms: step_ms.max(1), steps: 0 };
    }
    let step_ms = step_ms.max(1);
    let (first, last) = reference.bounds(outer);
    let open = first.saturating_sub(range_ms);
    // Division cuts towards zero, as Prometheus' does; before 1970 that can be one step late.
    let mut start = step_ms * (open / step_ms);
    if start <= open {
        start += step_ms;
    }
    Grid::range(start, last, step_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_includes_its_end_only_when_a_step_meets_it() {
        assert_eq!(Grid::range(0, 100, 25).steps, 5);
        assert_eq!(Grid::range(0, 99, 25).last_ms(), 75);
        assert_eq!(Grid::range(10, 9, 25).steps, 0);
    }

    #[test]
    fn subqueries_are_aligned_and_left_open() {
        let g = subquery_grid(Grid::instant(100), Reference::default(), 60, 20);
        assert_eq!((g.start_ms, g.last_ms()), (60, 100));
        let g = subquery_grid(Grid::instant(105), Reference { at_ms: Some(50), offset_ms: 10 }, 20, 10);
        assert_eq!((g.start_ms, g.last_ms()), (30, 40));
    }
}
