//! The body of `POST /api/v2/alerts`.

use std::collections::BTreeMap;

use cairn_model::datetime::rfc3339_ms;
use cairn_model::{Labels, TimestampMs};
use serde::Serialize;

use crate::alert::AlertState;
use crate::outbox::Due;

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct PostableAlert<'a> {
    labels: BTreeMap<&'a str, &'a str>,
    annotations: BTreeMap<&'a str, &'a str>,
    starts_at: String,
    ends_at: String,
    #[serde(rename = "generatorURL", skip_serializing_if = "str::is_empty")]
    generator_url: &'a str,
}

/// Writes a batch as JSON. The end of a firing alert counts from now, however long the alert has waited here.
pub(crate) fn body(batch: &[Due], now_ms: TimestampMs) -> Vec<u8> {
    let alerts: Vec<PostableAlert<'_>> = batch
        .iter()
        .map(|due| PostableAlert {
            labels: pairs(&due.labels),
            annotations: pairs(&due.episode.annotations),
            starts_at: rfc3339_ms(due.episode.starts_at_ms),
            ends_at: rfc3339_ms(match due.episode.state {
                AlertState::Firing { valid_for_ms } => now_ms.saturating_add(valid_for_ms),
                AlertState::Resolved { at_ms } => at_ms,
            }),
            generator_url: &due.episode.generator_url,
        })
        .collect();
    serde_json::to_vec(&alerts).expect("maps of strings always serialize")
}

fn pairs(labels: &Labels) -> BTreeMap<&str, &str> {
    labels.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::alert::AlertUpdate;
    use crate::outbox::Outbox;

    #[test]
    fn a_batch_as_alertmanager_reads_it() {
        let mut outbox = Outbox::default();
        outbox.put(AlertUpdate {
            labels: Labels::from_pairs([("alertname", "Down"), ("job", "node")]).unwrap(),
            annotations: Labels::from_pairs([("summary", "it is \"down\"")]).unwrap(),
            starts_at_ms: 1_000,
            generator_url: "http://cairn/graph?g0.expr=up&g0.tab=1".to_owned(),
            state: AlertState::Firing { valid_for_ms: 240_000 },
        });
        let body = String::from_utf8(body(&outbox.due(10), 60_500)).unwrap();
        assert_eq!(
            body,
            r#"[{"labels":{"alertname":"Down","job":"node"},"annotations":{"summary":"it is \"down\""},"startsAt":"1970-01-01T00:00:01.000Z","endsAt":"1970-01-01T00:05:00.500Z","generatorURL":"http://cairn/graph?g0.expr=up&g0.tab=1"}]"#
        );
    }
}
