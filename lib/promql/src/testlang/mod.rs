//! The promqltest language: PromQL cases as text files, and what runs them.
//!
//! In the order in which a case meets the parts: [`script`] (lines to commands), [`series`] with [`sequence`],
//! [`histogram_literal`] and [`start_times`] (the notation of series, which rule unit tests use too), [`load`] with
//! [`nhcb`] and [`stored`] (what comes into the store), [`expectation`] (what an `eval` must give), [`compare`] (when
//! it does), [`variants`] (the same question asked otherwise), [`runner`] over a [`TestEngine`].
//!
//! Source: the language of Prometheus 3.14's `promql/promqltest`, its comparison rules and its reruns.

pub mod compare;
pub mod expectation;
pub mod histogram_literal;
pub mod load;
pub mod nhcb;
pub mod runner;
pub mod script;
pub mod sequence;
pub mod series;
pub mod start_times;
pub mod stored;
pub mod variants;

pub use load::LoadedSeries;
pub use runner::{Failure, Outcome, TestAnswer, TestEngine, run, run_matching};
pub use script::{Command, Script, ScriptError};
pub use sequence::SequenceValue;
pub use series::{SeriesDescription, parse_series};
