//! The functions of range vectors, as the engine dispatches on them.

/// A function of a range vector; see PromQL's documentation of the name.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // PromQL's own names
pub enum RangeFn {
    Rate,
    Increase,
    Delta,
    Irate,
    Idelta,
    AvgOverTime,
    SumOverTime,
    CountOverTime,
    MinOverTime,
    MaxOverTime,
    FirstOverTime,
    LastOverTime,
    PresentOverTime,
    StddevOverTime,
    StdvarOverTime,
    QuantileOverTime,
    MadOverTime,
    TsOfFirstOverTime,
    TsOfLastOverTime,
    TsOfMaxOverTime,
    TsOfMinOverTime,
    Deriv,
    PredictLinear,
    DoubleExponentialSmoothing,
    Resets,
    Changes,
}

impl RangeFn {
    /// The function called `name`; `absent_over_time` is none of them, as it looks at all series at once.
    pub fn of_name(name: &str) -> Option<Self> {
        use RangeFn::*;
        Some(match name {
            "rate" => Rate,
            "increase" => Increase,
            "delta" => Delta,
            "irate" => Irate,
            "idelta" => Idelta,
            "avg_over_time" => AvgOverTime,
            "sum_over_time" => SumOverTime,
            "count_over_time" => CountOverTime,
            "min_over_time" => MinOverTime,
            "max_over_time" => MaxOverTime,
            "first_over_time" => FirstOverTime,
            "last_over_time" => LastOverTime,
            "present_over_time" => PresentOverTime,
            "stddev_over_time" => StddevOverTime,
            "stdvar_over_time" => StdvarOverTime,
            "quantile_over_time" => QuantileOverTime,
            "mad_over_time" => MadOverTime,
            "ts_of_first_over_time" => TsOfFirstOverTime,
            "ts_of_last_over_time" => TsOfLastOverTime,
            "ts_of_max_over_time" => TsOfMaxOverTime,
            "ts_of_min_over_time" => TsOfMinOverTime,
            "deriv" => Deriv,
            "predict_linear" => PredictLinear,
            "double_exponential_smoothing" => DoubleExponentialSmoothing,
            "resets" => Resets,
            "changes" => Changes,
            _ => return None,
        })
    }

    /// Whether the result is no longer the metric itself, so that its name goes.
    pub fn drops_name(self) -> bool {
        !matches!(self, RangeFn::FirstOverTime | RangeFn::LastOverTime)
    }

    /// Whether it may look at start timestamps.
    pub fn uses_start_timestamps(self) -> bool {
        matches!(self, RangeFn::Rate | RangeFn::Irate | RangeFn::Increase | RangeFn::Resets)
    }

    /// Whether `anchored` has a meaning for it.
    pub fn allows_anchored(self) -> bool {
        use RangeFn::{Changes, Delta, Increase, Rate, Resets};
        matches!(self, Changes | Delta | Increase | Rate | Resets)
    }

    /// Whether `smoothed` has a meaning for it.
    pub fn allows_smoothed(self) -> bool {
        matches!(self, RangeFn::Delta | RangeFn::Increase | RangeFn::Rate)
    }
}
