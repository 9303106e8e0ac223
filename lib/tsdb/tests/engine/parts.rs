//! Answers with few labels, or with the newest samples alone, against whole answers.

use std::collections::BTreeMap;

use cairn_model::sample::Sample;
use cairn_model::storage::{SelectHints, SeriesRequest, StoreApi, WantedLabels};
use cairn_model::tenant::TenantScope;
use cairn_model::{AggrChunk, Labels, TenantId};
use cairn_tsdb::head::order;
use futures::TryStreamExt;

use crate::support::decode;

/// Distances of the ends of ranges from the newest time, and the ranges' length.
const BEFORE_MS: [i64; 4] = [0, 700, 2_500, 12_000];
const RANGE_MS: i64 = 4_000;

/// Fails when the store's answers to narrower requests are not parts of what it answers to the whole one.
pub async fn assert_parts_of_the_whole(store: &dyn StoreApi, now_ms: i64, when: &str) {
    assert!(store.answers_few_labels());
    let all_tenants = SeriesRequest::new(i64::MIN, i64::MAX, Vec::new());
    for tenant in ["acme", "umbrella"] {
        let tenants = TenantScope::Only(vec![TenantId::new(tenant).expect("a valid tenant")]);
        let whole = SeriesRequest { tenants, ..all_tenants.clone() };
        let answer = ask(store, whole.clone()).await;
        for names in [&["n"][..], &["job"], &["__name__", "job", "none"], &[]] {
            let names: Vec<String> = names.iter().map(|n| (*n).to_owned()).collect();
            let kept = |l: &Labels| l.filtered(|n| names.iter().any(|name| name == n));
            let mut want: Vec<_> = answer.iter().map(|(l, s)| (kept(l), s.clone())).collect();
            let labels = WantedLabels::Only(names.clone());
            let mut got = ask(store, SeriesRequest { labels, ..whole.clone() }).await;
            if names.is_empty() {
                for list in [&mut want, &mut got] {
                    list.sort_by_key(|(_, samples)| format!("{samples:?}"));
                }
            }
            assert_eq!(format!("{got:?}"), format!("{want:?}"), "labels {names:?} of {tenant} {when}");
        }
    }
    for max_ms in BEFORE_MS.map(|before| now_ms - before) {
        let range = SeriesRequest::new(max_ms - RANGE_MS, max_ms, Vec::new());
        let hints = SelectHints { newest_only: true, ..SelectHints::default() };
        let newest = ask(store, SeriesRequest { hints, ..range.clone() }).await;
        let all = ask(store, range.clone()).await;
        let last = |answer: &[(Labels, BTreeMap<i64, Sample>)]| {
            let of = |(labels, samples): &(Labels, BTreeMap<i64, Sample>)| {
                let (_, sample) = samples.range(range.min_ms..=range.max_ms).next_back()?;
                Some(format!("{labels} {sample:?}"))
            };
            answer.iter().filter_map(of).collect::<Vec<_>>()
        };
        assert_eq!(last(&newest), last(&all), "newest at {max_ms} {when}");
    }
}

/// The series of an answer, in its order, each with its samples; of two at one time the greater.
async fn ask(store: &dyn StoreApi, request: SeriesRequest) -> Vec<(Labels, BTreeMap<i64, Sample>)> {
    let batches: Vec<_> =
        store.series(request).await.expect("readable").try_collect().await.expect("readable");
    let samples = |chunks: &[AggrChunk]| {
        let mut samples: BTreeMap<i64, Sample> = BTreeMap::new();
        for chunk in chunks {
            let AggrChunk::Raw(chunk) = chunk else { panic!("a head is raw") };
            for s in decode(&chunk.data) {
                let there = samples.get(&s.t_ms);
                if there.is_none_or(|there| order::compare(&s.value, &there.value).is_gt()) {
                    samples.insert(s.t_ms, s);
                }
            }
        }
        samples
    };
    batches.into_iter().flatten().map(|s| (s.labels, samples(&s.chunks))).collect()
}
