//! Warnings and infos that an evaluation collects beside its result.
//!
//! A note is said once a text, however many series and steps give cause for it; the position is that of the last
//! cause. Texts, prefixes and `(line:col)` suffixes are Prometheus', because dashboards show them and tests
//! compare them. Adding a note that is there already does not allocate: evaluation adds them in its inner loops.

use std::collections::HashMap;

use cairn_model::TimestampMs;
use cairn_model::labels::quoted;
use cairn_model::number::{format_g, format_g_rounded};

use crate::parser::ast::{BinaryOp, Span};

/// What a histogram operation was part of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the texts say it
pub enum HistogramOp {
    Addition,
    Subtraction,
    Aggregation,
}

/// Kind of a sample in [`Note::IncompatibleTypes`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the names say it
pub enum SampleKind {
    Float,
    Histogram,
}

/// One thing to tell the user. Numbers are kept as bits, so that notes can be compared.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // the texts say it
pub enum Note {
    // Warnings.
    InvalidQuantile { q_bits: u64 },
    InvalidRatio { got_bits: u64, capped_bits: u64 },
    BadBucketLabel,
    MixedFloatsHistograms,
    MixedFloatsHistogramsAggregation,
    MixedClassicNative,
    NotCounterHistogram,
    NotGaugeHistogram,
    MixedExponentialCustom,
    IncompatibleBucketLayout(BinaryOp),
    SortInRangeQuery,
    ResetCollision(HistogramOp),
    StartTimeOverlap,
    // Infos.
    PossibleNonCounter,
    PossibleNonCounterLabel,
    ForcedMonotonicity,
    IncompatibleTypes(SampleKind, BinaryOp, SampleKind),
    HistogramIgnoredInAggregation(&'static str),
    HistogramIgnoredInMixedRange,
    QuantileNanResult,
    QuantileNanSkew,
    FractionNan,
    MismatchedCustomBuckets(HistogramOp),
}

/// How far [`Note::ForcedMonotonicity`] had to go.
#[derive(Debug, Clone, Copy)]
pub struct MonotonicityFix {
    /// Times of the first and last sample that was fixed.
    pub t_ms: (TimestampMs, TimestampMs),
    /// Least and greatest bucket bound that was fixed.
    pub buckets: (f64, f64),
    /// Greatest difference between two buckets.
    pub max_diff: f64,
    /// How many samples.
    pub samples: u64,
}

#[derive(Debug, Clone)]
struct Entry {
    span: Span,
    times: u64,
    fix: Option<MonotonicityFix>,
}

/// The notes of an evaluation.
#[derive(Debug, Clone, Default)]
pub struct Annotations {
    /// By note, then by the name or label value that the text quotes.
    notes: HashMap<Note, HashMap<String, Entry>>,
}

/// The finished texts, each list sorted.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct AnnotationTexts {
    /// What may make the result wrong.
    pub warnings: Vec<String>,
    /// What may make it other than the user expects.
    pub infos: Vec<String>,
}

impl Annotations {
    /// Adds a note that quotes nothing.
    pub fn add(&mut self, note: Note, span: Span) {
        self.add_named(note, "", span);
    }

    /// Adds a note about the metric `name`.
    pub fn add_named(&mut self, note: Note, name: &str, span: Span) {
        let entries = self.notes.entry(note).or_default();
        match entries.get_mut(name) {
            Some(e) => {
                e.span = span;
                e.times += 1;
            }
            None => {
                entries.insert(name.to_owned(), Entry { span, times: 1, fix: None });
            }
        }
    }

    /// Adds a note about the metric `name` that quotes a label's `value` too.
    pub fn add_labelled(&mut self, note: Note, name: &str, value: &str, span: Span) {
        self.add_named(note, &joined(name, value), span);
    }

    /// Adds [`Note::ForcedMonotonicity`], which sums up how far the fixes went.
    pub fn add_fix(&mut self, name: &str, fix: MonotonicityFix, span: Span) {
        self.add_named(Note::ForcedMonotonicity, name, span);
        let entry = self.notes.get_mut(&Note::ForcedMonotonicity).and_then(|e| e.get_mut(name));
        if let Some(e) = entry {
            e.fix = Some(e.fix.map_or(fix, |f| f.join(fix)));
        }
    }

    /// Takes over the notes of a part of the evaluation that ran on its own.
    pub fn merge(&mut self, other: Annotations) {
        for (note, entries) in other.notes {
            let mine = self.notes.entry(note).or_default();
            for (name, theirs) in entries {
                match mine.get_mut(&name) {
                    Some(e) => {
                        e.span = theirs.span;
                        e.times += theirs.times;
                        e.fix = match (e.fix, theirs.fix) {
                            (Some(a), Some(b)) => Some(a.join(b)),
                            (a, b) => a.or(b),
                        };
                    }
                    None => {
                        mine.insert(name, theirs);
                    }
                }
            }
        }
    }

    /// The same notes, each at the place that `to` makes of its own.
    pub fn moved(&self, to: impl Fn(Span) -> Span) -> Annotations {
        let mut moved = self.clone();
        moved.notes.values_mut().flat_map(HashMap::values_mut).for_each(|e| e.span = to(e.span));
        moved
    }

    /// Whether there is nothing to tell.
    pub fn is_empty(&self) -> bool {
        self.notes.is_empty()
    }

    /// The texts for `query`, whose lines and columns they name.
    pub fn texts(&self, query: &str) -> AnnotationTexts {
        let mut texts = AnnotationTexts::default();
        for (note, entries) in &self.notes {
            for (name, entry) in entries {
                let text = note.text(name, entry);
                let at = entry.span.position(query);
                if note.is_warning() {
                    texts.warnings.push(format!("PromQL warning: {text} ({at})"));
                } else {
                    texts.infos.push(format!("PromQL info: {text} ({at})"));
                }
            }
        }
        texts.warnings.sort();
        texts.infos.sort();
        texts
    }
}

impl MonotonicityFix {
    fn join(self, o: MonotonicityFix) -> MonotonicityFix {
        MonotonicityFix {
            t_ms: (self.t_ms.0.min(o.t_ms.0), self.t_ms.1.max(o.t_ms.1)),
            buckets: (self.buckets.0.min(o.buckets.0), self.buckets.1.max(o.buckets.1)),
            max_diff: self.max_diff.max(o.max_diff),
            samples: self.samples + o.samples,
        }
    }
}

/// Separates the two quoted texts of [`Annotations::add_labelled`]; cannot occur in a metric name.
const QUOTE_SEPARATOR: char = '\u{0}';

fn joined(name: &str, value: &str) -> String {
    format!("{name}{QUOTE_SEPARATOR}{value}")
}

impl HistogramOp {
    fn as_str(self) -> &'static str {
        match self {
            HistogramOp::Addition => "addition",
            HistogramOp::Subtraction => "subtraction",
            HistogramOp::Aggregation => "aggregation",
        }
    }
}

impl SampleKind {
    fn as_str(self) -> &'static str {
        match self {
            SampleKind::Float => "float",
            SampleKind::Histogram => "histogram",
        }
    }
}

impl Note {
    fn is_warning(self) -> bool {
        use Note::*;
        matches!(
            self,
            InvalidQuantile { .. }
                | InvalidRatio { .. }
                | BadBucketLabel
                | MixedFloatsHistograms
                | MixedFloatsHistogramsAggregation
                | MixedClassicNative
                | NotCounterHistogram
                | NotGaugeHistogram
                | MixedExponentialCustom
                | IncompatibleBucketLayout(_)
                | SortInRangeQuery
                | ResetCollision(_)
                | StartTimeOverlap
        )
    }

    fn text(self, key: &str, entry: &Entry) -> String {
        use Note::*;
        let (name, value) = key.split_once(QUOTE_SEPARATOR).unwrap_or((key, ""));
        let unnamed = name.is_empty();
        let (name, value) = (quoted(name), quoted(value));
        let about = |text: &str| {
            if unnamed { text.to_owned() } else { format!("{text} for metric name {name}") }
        };
        match self {
            InvalidQuantile { q_bits } => {
                format!("quantile value should be between 0 and 1, got {}", format_g(f64::from_bits(q_bits)))
            }
            InvalidRatio { got_bits, capped_bits } => format!(
                "ratio value should be between -1 and 1, got {}, capping to {}",
                format_g(f64::from_bits(got_bits)),
                format_g(f64::from_bits(capped_bits))
            ),
            BadBucketLabel => {
                about(&format!("bucket label \"le\" is missing or has a malformed value of {value}"))
            }
            MixedFloatsHistograms => {
                format!("encountered a mix of histograms and floats for metric name {name}")
            }
            MixedFloatsHistogramsAggregation => {
                "encountered a mix of histograms and floats for aggregation".to_owned()
            }
            MixedClassicNative => about("vector contains a mix of classic and native histograms"),
            NotCounterHistogram => {
                format!("this native histogram metric is not a counter: {name}")
            }
            NotGaugeHistogram => format!("this native histogram metric is not a gauge: {name}"),
            MixedExponentialCustom => format!(
                "vector contains a mix of histograms with exponential and custom buckets schemas for metric name {name}"
            ),
            IncompatibleBucketLayout(op) => {
                format!("incompatible bucket layout encountered for binary operator {op}")
            }
            SortInRangeQuery => {
                "sort is ineffective for range queries since results are always ordered by labels".to_owned()
            }
            ResetCollision(op) => format!("conflicting counter resets during histogram {}", op.as_str()),
            StartTimeOverlap => {
                let text = "sample has start time that overlaps with previous sample timestamp";
                match entry.times {
                    1 => format!("{text} for metric {name}"),
                    n => format!("{text} for metric {name} ({n} occurrences)"),
                }
            }
            PossibleNonCounter => format!(
                "metric might not be a counter, name does not end in _total/_sum/_count/_bucket: {name}"
            ),
            PossibleNonCounterLabel => format!(
                "metric might not be a counter, __type__ label is not set to \"counter\" or \"histogram\", got {value}: {name}"
            ),
            ForcedMonotonicity => {
                let text = about(
                    "input to histogram_quantile needed to be fixed for monotonicity (see https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)",
                );
                match entry.fix {
                    Some(fix) => format!("{text}, {}", fix.text()),
                    None => text,
                }
            }
            IncompatibleTypes(left, op, right) => format!(
                "incompatible sample types encountered for binary operator {}: {} {op} {}",
                quoted(op.as_str()),
                left.as_str(),
                right.as_str()
            ),
            HistogramIgnoredInAggregation(aggregation) => {
                format!("ignored histogram in {aggregation} aggregation")
            }
            HistogramIgnoredInMixedRange => format!(
                "ignored histograms in a range containing both floats and histograms for metric name {name}"
            ),
            QuantileNanResult => about("input to histogram_quantile has NaN observations, result is NaN"),
            QuantileNanSkew => {
                about("input to histogram_quantile has NaN observations, result is skewed higher")
            }
            FractionNan => about(
                "input to histogram_fraction has NaN observations, which are excluded from all fractions",
            ),
            MismatchedCustomBuckets(op) => {
                format!("mismatched custom buckets were reconciled during {}", op.as_str())
            }
        }
    }
}

impl MonotonicityFix {
    fn text(&self) -> String {
        format!(
            "from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
            format_g(self.buckets.0),
            format_g(self.buckets.1),
            format_g_rounded(self.max_diff, 2),
            self.samples,
            rfc3339_seconds(self.t_ms.0),
            rfc3339_seconds(self.t_ms.1),
        )
    }
}

/// `2006-01-02T15:04:05Z`
fn rfc3339_seconds(t_ms: TimestampMs) -> String {
    let date = crate::functions::date::CivilTime::from_unix_s(t_ms.div_euclid(1000));
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        date.year, date.month, date.day, date.hour, date.minute, date.second
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_note_is_said_once_with_the_last_position() {
        let mut a = Annotations::default();
        a.add_named(Note::PossibleNonCounter, "foo", Span::new(0, 3));
        let mut part = Annotations::default();
        part.add_named(Note::PossibleNonCounter, "foo", Span::new(4, 7));
        part.add_named(Note::PossibleNonCounter, "bar", Span::new(4, 7));
        a.merge(part);
        let texts = a.texts("foo\nbar");
        assert_eq!(texts.warnings, Vec::<String>::new());
        assert_eq!(
            texts.infos,
            [
                "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"bar\" (2:1)",
                "PromQL info: metric might not be a counter, name does not end in _total/_sum/_count/_bucket: \"foo\" (2:1)",
            ]
        );
    }

    #[test]
    fn monotonicity_fixes_are_summed_up() {
        let fix = |t_ms, bucket, max_diff| MonotonicityFix {
            t_ms: (t_ms, t_ms),
            buckets: (bucket, bucket),
            max_diff,
            samples: 1,
        };
        let mut a = Annotations::default();
        a.add_fix("m", fix(60_000, 1.0, 2.0), Span::new(0, 1));
        a.add_fix("m", fix(0, 5.0, 1.0), Span::new(0, 1));
        let infos = a.texts("m").infos;
        assert!(infos[0].ends_with(
            "for metric name \"m\", from buckets 1 to 5, with a max diff of 2, over 2 samples from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z (1:1)"
        ), "{infos:?}");
    }
}
