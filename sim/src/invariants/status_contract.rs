//! The status of a write tells the truth: success means that nothing had to be refused, 400 that something
//! had to be, 503 carries Retry-After and has a cause outside the request, and there is no other answer.

use cairn_model::TimestampMs;
use cairn_tsdb::head::order;

use super::Violation;
use crate::ledger::{Ledger, name_of};
use crate::node::Answer;
use crate::traffic::Offer;

/// What was so around a request.
pub struct Circumstances<'a> {
    /// Before the request was sent.
    pub before: &'a Ledger,
    /// After it was answered.
    pub after: &'a Ledger,
    /// Whether something outside the request may have made it fail: the disk, a restart.
    pub excused: bool,
    /// Samples from here on are in windows that were never closed, so that the head knows what it has of them.
    /// Behind it values lie in blocks, which a write does not read; readers merge them.
    pub open_from_ms: TimestampMs,
}

/// What an answer means to the sender.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Meaning {
    /// Every admissible sample is durable.
    Durable,
    /// To be repeated.
    Repeat,
}

/// Judges an answer.
pub fn check(
    offer: &Offer,
    answer: &Answer,
    admissible: impl Fn(TimestampMs) -> bool,
    around: &Circumstances<'_>,
) -> Result<Meaning, Violation> {
    let broken = |what: &str| {
        let what = format!("{} {what}: {:?}", answer.status, answer.text);
        Err(Violation::new("the status contract", what))
    };
    match answer.status.as_u16() {
        200 | 204 => match must_refuse(offer, admissible, around) {
            None => Ok(Meaning::Durable),
            Some(why) => broken(&format!("although {why}")),
        },
        400 if may_refuse(offer, admissible, around.after) => Ok(Meaning::Durable),
        400 => broken("although every sample is good"),
        503 if !answer.retry_after => broken("without Retry-After"),
        503 if !around.excused => broken("although nothing was wrong with the node"),
        503 => Ok(Meaning::Repeat),
        _ => broken("is no answer of the contract"),
    }
}

/// Why some sample cannot have been stored without a word, whatever else is going on.
fn must_refuse(
    offer: &Offer,
    admissible: impl Fn(TimestampMs) -> bool,
    around: &Circumstances<'_>,
) -> Option<String> {
    let all: Vec<_> = offer.samples().collect();
    for (i, (labels, t_ms, value)) in all.iter().enumerate() {
        if !admissible(*t_ms) {
            return Some(format!("{labels} at {t_ms} is outside of the times that are taken"));
        }
        let twice = all[..i].iter().any(|(l, t, v)| l == labels && t == t_ms && !order::same(v, value));
        if twice {
            return Some(format!("{labels} at {t_ms} has two values in the request"));
        }
        if *t_ms < around.open_from_ms {
            continue;
        }
        let Some(known) = around.before.known(&name_of(&offer.tenant, labels), *t_ms) else { continue };
        let Some(acked) = &known.acked else { continue };
        let offered_before = known.offered.iter().any(|v| order::same(v, value));
        let lesser = order::compare(value, acked).is_lt();
        if lesser || (!offered_before && !order::same(value, acked)) {
            return Some(format!("{labels} at {t_ms} has another value already"));
        }
    }
    None
}

/// Whether some sample may have been refused.
fn may_refuse(offer: &Offer, admissible: impl Fn(TimestampMs) -> bool, after: &Ledger) -> bool {
    offer.samples().any(|(labels, t_ms, value)| {
        let known = after.known(&name_of(&offer.tenant, labels), t_ms);
        !admissible(t_ms) || known.is_some_and(|k| k.offered.iter().any(|v| !order::same(v, value)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::{Labels, TenantId, Value};
    use cairn_proto::Version;
    use http::StatusCode;

    fn offer(samples: &[(i64, f64)]) -> Offer {
        let labels = Labels::from_pairs([("__name__", "a")]).unwrap();
        let samples = samples.iter().map(|(t, v)| (*t, Value::Float(*v))).collect();
        Offer { tenant: TenantId::new("t").unwrap(), version: Version::V1, series: vec![(labels, samples)] }
    }

    fn judged(offer: &Offer, status: u16, before: &Ledger, excused: bool) -> bool {
        let mut after = before.clone();
        after.offer(offer, |t| t < 100);
        let answer =
            Answer { status: StatusCode::from_u16(status).unwrap(), retry_after: true, text: String::new() };
        check(offer, &answer, |t| t < 100, &Circumstances { before, after: &after, excused, open_from_ms: 0 })
            .is_ok()
    }

    #[test]
    fn an_answer_must_fit_what_was_sent_and_what_was_there() {
        let mut before = Ledger::default();
        let first = offer(&[(1, 1.0)]);
        before.offer(&first, |_| true);
        before.ack(&first, |_, _| true);
        let (good, conflict, future) = (offer(&[(2, 1.0)]), offer(&[(1, 2.0)]), offer(&[(100, 1.0)]));
        let twice = offer(&[(5, 1.0), (5, 2.0)]);
        for (offer, good_status, bad_status) in [
            (&good, 204, 400),
            (&first, 204, 400),
            (&conflict, 400, 204),
            (&future, 400, 204),
            (&twice, 400, 204),
        ] {
            assert!(judged(offer, good_status, &before, false), "{offer:?}");
            assert!(!judged(offer, bad_status, &before, false), "{offer:?}");
        }
        assert!(judged(&good, 503, &before, true) && !judged(&good, 503, &before, false));
        assert!(!judged(&good, 500, &before, true) && !judged(&good, 409, &before, true));
    }
}
