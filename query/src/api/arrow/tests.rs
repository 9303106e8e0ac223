//! Streams are read back by Arrow's own reader.

use std::io::Cursor;

use arrow_array::cast::AsArray;
use arrow_array::types::{Float64Type, TimestampMillisecondType};
use arrow_array::{Array, RecordBatch};
use arrow_ipc::reader::StreamReader;
use cairn_promql::value::{FloatPoint, HistogramPoint, MatrixSeries, VectorSample};
use proptest::prelude::*;

use super::*;

fn read(stream: Vec<u8>) -> (SchemaRef, Vec<RecordBatch>) {
    let reader = StreamReader::try_new(Cursor::new(stream), None).unwrap();
    (reader.schema(), reader.map(Result::unwrap).collect())
}

/// Labels without nulls, time, float bits and histogram of each row.
type Row = (Vec<(String, String)>, i64, Option<u64>, Option<String>);

fn rows(schema: &Schema, batches: &[RecordBatch]) -> Vec<Row> {
    let mut rows = Vec::new();
    for batch in batches {
        let column = |name: &str| batch.column_by_name(name);
        let times = column(TIMESTAMP).unwrap().as_primitive::<TimestampMillisecondType>();
        let values = column(VALUE).unwrap().as_primitive::<Float64Type>();
        for i in 0..batch.num_rows() {
            let label = |f: &Arc<Field>| {
                let column = column(f.name())?.as_any_dictionary_opt()?;
                let key = column.normalized_keys();
                let text = column.values().as_string::<i32>();
                column.is_valid(i).then(|| (f.name().clone(), text.value(key[i]).to_owned()))
            };
            let labels = schema.fields().iter().filter_map(label).collect();
            let value = values.is_valid(i).then(|| values.value(i).to_bits());
            let histogram = column(HISTOGRAM)
                .map(|c| c.as_string::<i32>())
                .and_then(|c| c.is_valid(i).then(|| c.value(i).to_owned()));
            rows.push((labels, times.value(i), value, histogram));
        }
    }
    rows
}

fn labels(pairs: &[(&str, &str)]) -> Labels {
    Labels::from_pairs(pairs.iter().copied()).unwrap()
}

fn float(t_ms: i64, value: f64) -> FloatPoint {
    FloatPoint { t_ms, value }
}

#[test]
fn a_matrix_is_a_row_a_sample_with_labels_and_notes() {
    let histogram = Arc::new(FloatHistogram { count: 3.0, sum: 4.5, ..Default::default() });
    let value = QueryValue::Matrix(vec![
        MatrixSeries {
            labels: labels(&[("__name__", "x"), ("job", "a")]),
            floats: vec![float(1_000, 1.5), float(3_000, f64::NAN)],
            histograms: vec![HistogramPoint { t_ms: 2_000, value: histogram }],
        },
        MatrixSeries { labels: labels(&[("value", "v")]), floats: vec![float(-1, -0.0)], histograms: vec![] },
    ]);
    let (schema, batches) = read(stream(&value, &["w".into()], &[]).unwrap());
    let names: Vec<&str> = schema.fields().iter().map(|f| f.name().as_str()).collect();
    assert_eq!(names, ["__name__", "job", "value", TIMESTAMP, VALUE, HISTOGRAM]);
    assert_eq!(schema.metadata()["resultType"], "matrix");
    assert_eq!(schema.metadata()["warnings"], r#"["w"]"#);
    assert!(!schema.metadata().contains_key("infos"));
    let pair = |n: &str, v: &str| (n.to_owned(), v.to_owned());
    let first = vec![pair("__name__", "x"), pair("job", "a")];
    let text = r#"{"count":"3","sum":"4.5"}"#.to_owned();
    assert_eq!(
        rows(&schema, &batches),
        [
            (first.clone(), 1_000, Some(1.5f64.to_bits()), None),
            (first.clone(), 2_000, None, Some(text)),
            (first, 3_000, Some(f64::NAN.to_bits()), None),
            (vec![pair("value", "v")], -1, Some((-0.0f64).to_bits()), None),
        ]
    );
}

#[test]
fn vectors_scalars_strings_and_nothing_have_their_types() {
    let sample = VectorSample { labels: Labels::empty(), t_ms: 5, value: SampleValue::Float(2.0) };
    for (value, kind, count) in [
        (QueryValue::Vector(vec![sample]), "vector", 1),
        (QueryValue::Vector(vec![]), "vector", 0),
        (QueryValue::Matrix(vec![]), "matrix", 0),
        (QueryValue::Scalar(float(5, 2.0)), "scalar", 1),
    ] {
        let (schema, batches) = read(stream(&value, &[], &[]).unwrap());
        assert_eq!(schema.metadata()["resultType"], kind);
        let rows = rows(&schema, &batches);
        assert_eq!(rows.len(), count, "{kind}");
        assert!(rows.iter().all(|r| *r == (vec![], 5, Some(2.0f64.to_bits()), None)));
    }
    let (schema, batches) = read(stream(&QueryValue::String(7, "té".into()), &[], &[]).unwrap());
    assert_eq!(schema.metadata()["resultType"], "string");
    assert_eq!(batches[0].column_by_name(VALUE).unwrap().as_string::<i32>().value(0), "té");
}

#[test]
fn a_long_result_comes_in_batches_that_share_their_dictionaries() {
    let series = |job: &str| MatrixSeries {
        labels: labels(&[("job", job)]),
        floats: (0..50_000).map(|i| float(i, i as f64)).collect(),
        histograms: vec![],
    };
    let value = QueryValue::Matrix(vec![series("a"), series("b"), series("c")]);
    let (schema, batches) = read(stream(&value, &[], &[]).unwrap());
    let sizes: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
    assert_eq!(sizes, [65_536, 65_536, 18_928]);
    let rows = rows(&schema, &batches);
    for (i, (labels, t_ms, value, _)) in rows.iter().enumerate() {
        let (job, at) = (["a", "b", "c"][i / 50_000], (i % 50_000) as i64);
        assert!(labels[0].1 == job && *t_ms == at && *value == Some((at as f64).to_bits()), "row {i}");
    }
}

#[test]
fn arrow_is_sent_to_who_names_it() {
    for (accept, wanted) in [
        (MEDIA_TYPE, true),
        ("application/json;q=0.5, Application/vnd.apache.arrow.stream;q=0.9", true),
        ("application/vnd.apache.arrow.stream;q=0", false),
        ("application/vnd.apache.arrow.file", false),
        ("*/*", false),
        ("application/json", false),
    ] {
        let headers: HeaderMap = [(ACCEPT, accept.parse().unwrap())].into_iter().collect();
        assert_eq!(is_wanted(&headers), wanted, "{accept}");
    }
    assert!(!is_wanted(&HeaderMap::new()));
}

proptest! {
    #[test]
    fn every_float_is_read_back_with_its_labels(
        series in prop::collection::vec((0u8..4, 0u8..4, prop::collection::vec((any::<i32>(), any::<f64>()), 0..5)), 0..8)
    ) {
        let value: Vec<MatrixSeries> = series
            .iter()
            .map(|(a, b, points)| MatrixSeries {
                // Value 0 stands for a label that is not there.
                labels: Labels::from_pairs(
                    [("a", a), ("b", b)].into_iter().filter(|(_, v)| **v > 0).map(|(n, v)| (n, v.to_string())),
                )
                .unwrap(),
                floats: points.iter().map(|(t, v)| float(i64::from(*t), *v)).collect(),
                histograms: vec![],
            })
            .collect();
        let want: Vec<Row> = value
            .iter()
            .flat_map(|s| {
                let labels: Vec<_> = s.labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
                s.floats.iter().map(move |p| (labels.clone(), p.t_ms, Some(p.value.to_bits()), None))
            })
            .collect();
        let (schema, batches) = read(stream(&QueryValue::Matrix(value), &[], &[]).unwrap());
        prop_assert_eq!(rows(&schema, &batches), want);
    }
}
