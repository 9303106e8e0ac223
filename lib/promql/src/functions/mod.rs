//! PromQL's functions as pure computations on numbers and slices; the engine feeds them.
//!
//! [`scalar_fn`] and [`date`] compute from one number, [`buckets`] from the buckets of a classic histogram.
//! [`range_fn`] names the functions of range vectors; they see a [`window`]: [`rate`] (extrapolated differences),
//! [`extended`] (the same with `anchored` and `smoothed`), [`instant_rate`] (the last two samples), [`over_time`]
//! (statistics), [`histogram_over_time`] (sums and means of histograms), [`regression`] (trends), [`steps`]
//! (resets and changes). [`sliding`] computes the common ones for all steps of a series in one pass.
//! [`quantile`] and [`natural`] are shared by aggregations and sorting.

pub mod buckets;
pub mod date;
pub mod extended;
pub mod histogram_over_time;
pub mod instant_rate;
pub mod natural;
pub mod over_time;
pub mod quantile;
pub mod range_fn;
pub mod rate;
pub mod regression;
pub mod scalar_fn;
pub mod sliding;
pub mod steps;
pub mod window;
