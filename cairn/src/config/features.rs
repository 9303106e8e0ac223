//! `--enable-feature`: what is experimental, by Prometheus' names.
//!
//! Names of Prometheus that mean something else there, or nothing here, are taken and without effect, so that a command
//! line can be moved as it is.

use cairn_promql::EngineOptions;
use cairn_promql::parser::Features;
use clap::ValueEnum;

/// Something experimental.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Feature {
    /// Functions and aggregations that may still change: `limitk`, `info`, `mad_over_time` and others.
    #[value(name = "promql-experimental-functions")]
    ExperimentalFunctions,
    /// `anchored` and `smoothed` behind selectors.
    #[value(name = "promql-extended-range-selectors")]
    ExtendedRangeSelectors,
    /// `fill`, `fill_left` and `fill_right` behind binary operators.
    #[value(name = "promql-binop-fill-modifiers")]
    BinopFillModifiers,
    /// Metric names go at the end of an evaluation.
    #[value(name = "promql-delayed-name-removal")]
    DelayedNameRemoval,
    /// Samples by step in `stats=all`.
    #[value(name = "promql-per-step-stats")]
    PerStepStats,
    /// Start timestamps take part in rates and resets.
    #[value(name = "use-start-timestamps")]
    UseStartTimestamps,
    /// Prometheus has it and cairn has it in any case.
    #[value(
        name = "promql-duration-expr",
        aliases = ["promql-at-modifier", "promql-negative-offset", "exemplar-storage", "native-histograms",
            "ooo-native-histograms", "concurrent-rule-eval", "metadata-wal-records", "remote-write-receiver"],
        hide = true
    )]
    AlwaysOn,
    /// Prometheus has it for what cairn does not do, or not so.
    #[value(
        name = "memory-snapshot-on-shutdown",
        aliases = ["extra-scrape-metrics", "auto-reload-config", "created-timestamp-zero-ingestion",
            "xor2-encoding", "histograms-st-encoding", "st-synthesis", "st-storage", "delayed-compaction", "old-ui",
            "otlp-deltatocumulative", "otlp-native-delta-ingestion", "type-and-unit-labels", "use-uncached-io",
            "fast-startup", "search-api", "auto-gomemlimit", "auto-gomaxprocs"],
        hide = true
    )]
    Elsewhere,
}

impl Feature {
    /// Whether naming it changes anything.
    pub fn has_effect(self) -> bool {
        !matches!(self, Feature::AlwaysOn | Feature::Elsewhere)
    }

    /// What of the language is allowed with `enabled`.
    pub fn of_the_language(enabled: &[Feature]) -> Features {
        Features {
            experimental_functions: enabled.contains(&Feature::ExperimentalFunctions),
            extended_range_selectors: enabled.contains(&Feature::ExtendedRangeSelectors),
            binop_fill_modifiers: enabled.contains(&Feature::BinopFillModifiers),
        }
    }

    /// `options` with what is `enabled`.
    pub fn apply(enabled: &[Feature], options: EngineOptions) -> EngineOptions {
        EngineOptions {
            features: Feature::of_the_language(enabled),
            delayed_name_removal: enabled.contains(&Feature::DelayedNameRemoval),
            per_step_stats: enabled.contains(&Feature::PerStepStats),
            start_timestamps: enabled.contains(&Feature::UseStartTimestamps),
            ..options
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Cli;
    use clap::{CommandFactory, FromArgMatches};

    fn enabled(args: &[&str]) -> Result<Vec<Feature>, String> {
        let matches = Cli::command().try_get_matches_from([&["cairn"], args].concat());
        let matches = matches.map_err(|e| e.to_string())?;
        Ok(Cli::from_arg_matches(&matches).unwrap().serve.enable_feature)
    }

    #[test]
    fn features_are_named_as_in_prometheus_and_unknown_ones_are_refused() {
        let both = "--enable-feature=promql-experimental-functions,promql-per-step-stats";
        let got = enabled(&[both, "--enable-feature=exemplar-storage"]).unwrap();
        assert_eq!(got, [Feature::ExperimentalFunctions, Feature::PerStepStats, Feature::AlwaysOn]);
        assert_eq!(got.iter().filter(|f| f.has_effect()).count(), 2);
        let only = Features { experimental_functions: true, ..Features::default() };
        assert_eq!(Feature::of_the_language(&got), only);
        let e = enabled(&["--enable-feature=promql-experimental-function"]).unwrap_err();
        assert!(e.contains("promql-experimental-functions"), "{e}");
        assert_eq!(enabled(&[]).unwrap(), []);
    }
}
