use super::*;
use cairn_model::storage::SeriesStream;
use futures::StreamExt;

struct Fixed {
    name: &'static str,
    labels: Vec<Labels>,
    range: (i64, i64),
    fails: bool,
}

#[async_trait]
impl StoreApi for Fixed {
    fn info(&self) -> StoreInfo {
        let (min_ms, max_ms) = self.range;
        let tenant = Labels::from_pairs([("tenant_id", self.name)]).unwrap();
        StoreInfo { name: self.name.into(), min_ms, max_ms, label_sets: vec![tenant] }
    }

    async fn series(&self, _: SeriesRequest) -> Result<SeriesStream, StoreError> {
        if self.fails {
            return Err(StoreError::Unavailable { store: self.name.into(), reason: "down".into() });
        }
        let series = self.labels.iter().map(|l| Series { labels: l.clone(), chunks: vec![] }).collect();
        Ok(futures::stream::iter([Ok(series)]).boxed())
    }

    async fn label_names(&self, _: LabelsRequest) -> Result<Names, StoreError> {
        Ok(Names { values: vec!["b".into(), self.name.into()], warnings: vec![] })
    }

    async fn label_values(&self, _: &str, r: LabelsRequest) -> Result<Names, StoreError> {
        self.label_names(r).await
    }
}

fn labels(name: &str) -> Labels {
    Labels::from_pairs([("__name__", name)]).unwrap()
}

fn fanout(on_failure: PartialResponse, max_series: usize) -> Fanout {
    let store = |name, l: &[&str], range, fails| {
        let labels = l.iter().map(|n| labels(n)).collect();
        Arc::new(Fixed { name, labels, range, fails }) as Arc<dyn StoreApi>
    };
    Fanout::new(
        vec![
            store("one", &["a", "c"], (0, 100), false),
            store("two", &["a", "b"], (0, 100), false),
            store("past", &["z"], (-100, -1), false),
            store("down", &[], (0, 100), true),
        ],
        on_failure,
        max_series,
    )
}

#[tokio::test]
async fn answers_are_merged_and_a_failing_store_is_named() {
    let got = fanout(PartialResponse::Warn, 0).select(SeriesRequest::new(0, 10, vec![])).await.unwrap();
    assert_eq!(got.series.iter().map(|s| s.labels.to_string()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(got.warnings, ["answer is partial: down: down is unavailable: down"]);
}

/// Notes its name when it is asked, then waits before it answers.
struct Noting(&'static str, Arc<std::sync::Mutex<Vec<&'static str>>>);

#[async_trait]
impl StoreApi for Noting {
    fn info(&self) -> StoreInfo {
        StoreInfo { name: self.0.into(), min_ms: 0, max_ms: 100, label_sets: vec![] }
    }

    async fn series(&self, _: SeriesRequest) -> Result<SeriesStream, StoreError> {
        self.1.lock().unwrap().push(self.0);
        tokio::task::yield_now().await;
        self.1.lock().unwrap().push("answered");
        Ok(futures::stream::empty().boxed())
    }

    async fn label_names(&self, _: LabelsRequest) -> Result<Names, StoreError> {
        Ok(Names::default())
    }

    async fn label_values(&self, _: &str, _: LabelsRequest) -> Result<Names, StoreError> {
        Ok(Names::default())
    }
}

#[tokio::test]
async fn stores_are_asked_in_their_order_and_none_waits_for_an_answer() {
    let notes = Arc::default();
    let store = |name| Arc::new(Noting(name, Arc::clone(&notes))) as Arc<dyn StoreApi>;
    let fanout = Fanout::new(vec![store("head"), store("blocks"), store("bucket")], PartialResponse::Warn, 0);
    fanout.select(SeriesRequest::new(0, 10, vec![])).await.unwrap();
    assert_eq!(notes.lock().unwrap()[..3], ["head", "blocks", "bucket"]);
}

/// Answers two series alike, which say whether they have all their labels.
struct Few((i64, i64));

#[async_trait]
impl StoreApi for Few {
    fn info(&self) -> StoreInfo {
        StoreInfo { name: "few".into(), min_ms: self.0.0, max_ms: self.0.1, label_sets: vec![] }
    }

    fn answers_few_labels(&self) -> bool {
        true
    }

    async fn series(&self, request: SeriesRequest) -> Result<SeriesStream, StoreError> {
        let few = request.labels != WantedLabels::All;
        let series = Series { labels: labels(if few { "few" } else { "all" }), chunks: vec![] };
        Ok(futures::stream::iter([Ok(vec![series.clone(), series])]).boxed())
    }

    async fn label_names(&self, _: LabelsRequest) -> Result<Names, StoreError> {
        Ok(Names::default())
    }

    async fn label_values(&self, _: &str, _: LabelsRequest) -> Result<Names, StoreError> {
        Ok(Names::default())
    }
}

#[tokio::test]
async fn few_labels_are_asked_for_where_no_other_store_is_asked() {
    let stores: Vec<Arc<dyn StoreApi>> = vec![Arc::new(Few((50, 200))), Arc::new(Few((0, 100)))];
    let fanout = Fanout::new(stores, PartialResponse::Abort, 0);
    let asked = async |min_ms, max_ms| {
        let few = WantedLabels::Only(vec!["__name__".into()]);
        let request = SeriesRequest { labels: few, ..SeriesRequest::new(min_ms, max_ms, vec![]) };
        let selected = fanout.select(request).await.unwrap();
        selected.series.iter().map(|s| s.labels.to_string()).collect::<Vec<_>>()
    };
    // Alike as they look, they are two series.
    assert_eq!(asked(150, 160).await, ["few", "few"]);
    assert_eq!(asked(60, 160).await, ["all"]);
}

#[tokio::test]
async fn partial_answers_can_be_refused() {
    let strict = fanout(PartialResponse::Abort, 0);
    assert!(matches!(
        strict.select(SeriesRequest::new(0, 10, vec![])).await,
        Err(StoreError::Unavailable { .. })
    ));
}

#[tokio::test]
async fn stores_that_cannot_match_are_not_asked() {
    let two = vec![Matcher::equal("tenant_id", "two")];
    let got = fanout(PartialResponse::Abort, 0).select(SeriesRequest::new(0, 10, two)).await.unwrap();
    assert_eq!(got.series.len(), 2);
}

#[test]
fn stores_are_chosen_by_their_labels_and_names() {
    let chosen = |selectors: &[Vec<Matcher>]| {
        let narrowed = fanout(PartialResponse::Warn, 0).with_stores_of(selectors);
        narrowed.stores().iter().map(|s| s.info().name).collect::<Vec<_>>()
    };
    assert_eq!(chosen(&[]).len(), 4);
    assert_eq!(chosen(&[vec![Matcher::equal("tenant_id", "two")]]), ["two"]);
    let either = [vec![Matcher::equal("__address__", "past")], vec![Matcher::equal("tenant_id", "one")]];
    assert_eq!(chosen(&either), ["one", "past"]);
    assert!(chosen(&[vec![Matcher::equal("__address__", "elsewhere")]]).is_empty());
}

#[tokio::test]
async fn too_many_series_is_an_error_with_the_limit() {
    let e = fanout(PartialResponse::Warn, 2).select(SeriesRequest::new(0, 10, vec![])).await.unwrap_err();
    assert_eq!(
        e.to_string(),
        "at least 3 series are needed, the limit is 2: narrow the query's matchers or time range"
    );
}

#[tokio::test]
async fn names_are_united_sorted_and_cut() {
    let request = LabelsRequest { limit: 2, ..LabelsRequest::new(0, 10, vec![]) };
    let got = fanout(PartialResponse::Warn, 0).label_names(request).await.unwrap();
    assert_eq!(got.values, ["b", "down"]);
}

#[tokio::test]
async fn what_stores_give_together_is_held_against_the_bounds_of_the_request() {
    // Two stores with two series each, one of which they share.
    let fanout = fanout(PartialResponse::Warn, 0);
    let select = async |max_series, max_bytes, limit| {
        let bounds = ReadBounds { max_series, max_bytes, ..ReadBounds::default() };
        let request = SeriesRequest { bounds, limit, ..SeriesRequest::new(0, 10, vec![]) };
        fanout.select(request).await.map(|s| s.series.len()).map_err(|e| e.to_string())
    };
    let each = labels("a").as_bytes().len() as u64;
    assert_eq!(select(3, 3 * each, 0).await, Ok(3));
    assert_eq!(select(2, 0, 2).await, Ok(2));
    assert_eq!(select(1, 0, 2).await, Ok(2), "one more than allowed may be asked for");
    assert!(select(2, 0, 0).await.unwrap_err().contains("at least 3 series"));
    assert!(select(0, 3 * each - 1, 0).await.unwrap_err().contains("bytes"));

    let bounds = ReadBounds { max_bytes: 4, ..ReadBounds::default() };
    let request = LabelsRequest { bounds, ..LabelsRequest::new(0, 10, vec![]) };
    let e = fanout.label_names(request).await.unwrap_err();
    assert!(matches!(e, StoreError::LimitExceeded { limit: 4, .. }), "{e}");
}
