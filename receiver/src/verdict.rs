//! What was refused of a request: counted in full, told in part.
//!
//! A hostile request can hold millions of bad samples, so only the first [`MAX_TOLD`] refusals keep their words.
//!
//! Invariant: counts are exact whatever is left out of the telling.

use std::sync::Arc;

use cairn_model::TimestampMs;
use cairn_model::batch::{RejectReason, Rejection};
use smallvec::SmallVec;

/// Refusals that keep their series and reason.
pub const MAX_TOLD: usize = 32;
/// Series that the answer lists.
const MAX_LISTED: usize = 10;
/// Bytes of a series' labels in messages and journal.
pub const MAX_SERIES_TEXT_BYTES: usize = 512;

/// Refusals of one request.
#[derive(Debug, Default)]
pub struct Verdicts {
    told: Vec<Rejection>,
    counts: SmallVec<[(&'static str, u64); 4]>,
    failing: u64,
}

impl Verdicts {
    /// Notes a refusal; `describe` is asked for the series' labels only when they will be told.
    pub fn refuse(
        &mut self,
        reason: RejectReason,
        samples: u32,
        t_ms: Option<TimestampMs>,
        describe: impl FnOnce() -> String,
    ) {
        self.count(&reason, samples);
        if self.told.len() < MAX_TOLD {
            let labels = shortened(describe());
            self.told.push(Rejection { series: None, labels, t_ms, samples, reason });
        }
    }

    /// Notes what the store refused.
    pub fn add(&mut self, rejection: Rejection) {
        self.count(&rejection.reason, rejection.samples);
        if self.told.len() < MAX_TOLD {
            self.told.push(rejection);
        }
    }

    fn count(&mut self, reason: &RejectReason, samples: u32) {
        let label = reason.as_label();
        match self.counts.iter_mut().find(|(l, _)| *l == label) {
            Some((_, n)) => *n += u64::from(samples),
            None => self.counts.push((label, u64::from(samples))),
        }
        if !matches!(reason, RejectReason::Exemplar(_)) {
            self.failing += 1;
        }
    }

    /// Whether the request as a whole is a 400: something other than an exemplar was refused.
    pub fn is_failure(&self) -> bool {
        self.failing > 0
    }

    /// The refusals that kept their words, in order.
    pub fn told(&self) -> &[Rejection] {
        &self.told
    }

    /// Refused samples by reason.
    pub fn counts(&self) -> &[(&'static str, u64)] {
        &self.counts
    }

    /// The answer's text: the first cause in front, because senders keep one KiB, then up to ten series.
    pub fn message(&self, stored: u64) -> String {
        let mut failing = self.told.iter().filter(|r| !matches!(r.reason, RejectReason::Exemplar(_)));
        let refused: u64 = self.counts.iter().filter(|(l, _)| *l != "exemplar").map(|(_, n)| n).sum();
        let mut text = String::new();
        if let Some(first) = failing.next() {
            text = format!("{} ({refused} samples refused, {stored} stored)\n", line(first));
        }
        for r in failing.take(MAX_LISTED - 1) {
            text.push_str(&line(r));
            text.push('\n');
        }
        if self.failing > MAX_LISTED as u64 {
            text.push_str(&format!("and {} more\n", self.failing - MAX_LISTED as u64));
        }
        text
    }
}

fn line(r: &Rejection) -> String {
    match r.t_ms {
        Some(t) => format!("{}: {} at {t} ms", r.reason, r.labels),
        None => format!("{}: {}", r.reason, r.labels),
    }
}

fn shortened(mut text: String) -> Arc<str> {
    if text.len() > MAX_SERIES_TEXT_BYTES {
        let mut end = MAX_SERIES_TEXT_BYTES;
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        text.truncate(end);
        text.push('…');
    }
    text.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_exact_and_the_telling_is_bounded() {
        let mut v = Verdicts::default();
        for i in 0..100_000 {
            v.refuse(RejectReason::TooOld { limit_ms: 1000 }, 2, Some(i), || format!("m{i}"));
        }
        assert_eq!(v.counts(), [("too_old", 200_000)]);
        assert_eq!(v.told().len(), MAX_TOLD);
        let message = v.message(5);
        assert!(message.starts_with(
            "too old sample: more than 1 s behind now: m0 at 0 ms (200000 samples refused, 5 stored)\n"
        ));
        assert!(message.ends_with("m9 at 9 ms\nand 99990 more\n"), "{message}");
    }

    #[test]
    fn an_exemplar_fails_no_request_and_leads_no_message() {
        let mut v = Verdicts::default();
        v.refuse(RejectReason::Exemplar("too long".into()), 1, None, || "a".into());
        assert!(!v.is_failure());
        v.refuse(RejectReason::NoSamples, 0, None, || "b".into());
        assert!(v.is_failure());
        assert!(v.message(0).starts_with("series without samples or histograms: b"), "{}", v.message(0));
    }

    #[test]
    fn long_series_are_cut_between_characters() {
        let mut v = Verdicts::default();
        v.refuse(RejectReason::MissingMetricName, 1, None, || "é".repeat(1000));
        let labels = &v.told()[0].labels;
        assert!(labels.len() <= MAX_SERIES_TEXT_BYTES + 3 && labels.ends_with('…'));
    }
}
