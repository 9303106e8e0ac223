//! Which samples may be stored: time, judged once and here, and the validity of histograms.

use std::sync::Arc;

use cairn_model::batch::RejectReason;
use cairn_model::histogram::{InvalidHistogram, MAX_EXPONENTIAL_SCHEMA};
use cairn_model::{FloatHistogram, Histogram, Span, TimestampMs, Value};

use crate::limits::TenantLimits;

/// Times that samples of one request may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TimeWindow {
    min_ms: TimestampMs,
    max_ms: TimestampMs,
    late_ms: i64,
    future_ms: i64,
}

impl TimeWindow {
    /// The window at `now_ms`. Both ends belong to it.
    pub fn at(now_ms: TimestampMs, limits: &TenantLimits) -> Self {
        TimeWindow {
            min_ms: now_ms.saturating_sub(limits.late_window_ms),
            max_ms: now_ms.saturating_add(limits.future_window_ms),
            late_ms: limits.late_window_ms,
            future_ms: limits.future_window_ms,
        }
    }

    /// Whether a sample of time `t_ms` may be stored.
    #[inline]
    pub fn holds(&self, t_ms: TimestampMs) -> bool {
        t_ms >= self.min_ms && t_ms <= self.max_ms
    }

    /// Why a sample of time `t_ms`, which is outside, may not be stored.
    pub fn reason(&self, t_ms: TimestampMs) -> RejectReason {
        if t_ms > self.max_ms {
            RejectReason::TooFarInFuture { limit_ms: self.future_ms }
        } else {
            RejectReason::TooOld { limit_ms: self.late_ms }
        }
    }

    /// The last time that may be stored.
    pub fn max_ms(&self) -> TimestampMs {
        self.max_ms
    }
}

/// A histogram as it is stored: valid, and no finer than the finest schema that is kept. Of a stale marker only
/// that is kept, because the rest of one is not checked by anybody.
///
/// # Errors
/// [`RejectReason::InvalidHistogram`] with the rule that is broken.
pub fn histogram(mut value: Value) -> Result<Value, RejectReason> {
    let invalid = |e: InvalidHistogram| RejectReason::InvalidHistogram(e.to_string());
    match &mut value {
        Value::Float(_) => {}
        Value::Histogram(h) if h.is_stale() => {
            *h = Arc::new(Histogram { sum: h.sum, ..Histogram::default() });
        }
        Value::FloatHistogram(h) if h.is_stale() => {
            *h = Arc::new(FloatHistogram { sum: h.sum, ..FloatHistogram::default() });
        }
        Value::Histogram(h) => {
            h.validate().map_err(invalid)?;
            check_indexes([&h.positive_spans, &h.negative_spans])?;
            if h.schema > MAX_EXPONENTIAL_SCHEMA {
                Arc::make_mut(h).reduce_resolution(MAX_EXPONENTIAL_SCHEMA);
            }
        }
        Value::FloatHistogram(h) => {
            h.validate().map_err(invalid)?;
            check_indexes([&h.positive_spans, &h.negative_spans])?;
            if h.schema > MAX_EXPONENTIAL_SCHEMA {
                Arc::make_mut(h).reduce_resolution(MAX_EXPONENTIAL_SCHEMA);
            }
        }
    }
    Ok(value)
}

/// Bucket indexes must be numbers of 32 bits with a little room on either side: whoever walks the spans later
/// counts on it.
fn check_indexes(sides: [&[Span]; 2]) -> Result<(), RejectReason> {
    const ROOM: i64 = 1 << 16;
    for spans in sides {
        let mut end = 0i64;
        for span in spans {
            let start = end + i64::from(span.offset);
            end = start + i64::from(span.length);
            if start < i64::from(i32::MIN) + ROOM || end > i64::from(i32::MAX) - ROOM {
                return Err(RejectReason::InvalidHistogram("a bucket index is out of range".to_owned()));
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::sample::stale_nan;

    #[test]
    fn both_ends_of_the_window_belong_to_it() {
        let limits = TenantLimits { late_window_ms: 100, future_window_ms: 10, ..TenantLimits::default() };
        let window = TimeWindow::at(1000, &limits);
        for (t, holds) in [(899, false), (900, true), (1000, true), (1010, true), (1011, false)] {
            assert_eq!(window.holds(t), holds, "{t}");
        }
        assert_eq!(window.reason(899), RejectReason::TooOld { limit_ms: 100 });
        assert_eq!(window.reason(1011), RejectReason::TooFarInFuture { limit_ms: 10 });
        assert!(TimeWindow::at(i64::MIN, &limits).holds(i64::MIN));
    }

    #[test]
    fn fine_schemas_are_reduced_and_stale_markers_are_bare() {
        let fine = Histogram {
            schema: 10,
            count: 3,
            positive_spans: vec![Span { offset: 1, length: 3 }],
            positive_buckets: vec![1, 0, 0],
            ..Histogram::default()
        };
        let Ok(Value::Histogram(h)) = histogram(Value::Histogram(Arc::new(fine))) else { panic!("valid") };
        assert_eq!((h.schema, &h.positive_buckets[..]), (8, &[3][..]));
        let odd_spans = vec![Span { offset: -7, length: 9 }];
        let stale =
            Histogram { schema: 500, sum: stale_nan(), positive_spans: odd_spans, ..Histogram::default() };
        let bare = Histogram { sum: stale_nan(), ..Histogram::default() };
        assert_eq!(histogram(Value::Histogram(Arc::new(stale))), Ok(Value::Histogram(Arc::new(bare))));
        let invalid = Histogram { count: 1, ..Histogram::default() };
        assert!(matches!(
            histogram(Value::Histogram(Arc::new(invalid))),
            Err(RejectReason::InvalidHistogram(_))
        ));
    }

    #[test]
    fn bucket_indexes_stay_numbers() {
        for offset in [i32::MIN, i32::MAX] {
            let far = Histogram {
                schema: 9,
                count: 1,
                positive_spans: vec![Span { offset, length: 1 }],
                positive_buckets: vec![1],
                ..Histogram::default()
            };
            let error = histogram(Value::Histogram(Arc::new(far))).unwrap_err();
            assert!(error.to_string().contains("out of range"), "{error}");
        }
    }
}
