//! What the encoder writes, the readers find: for both versions, all kinds of samples, packed and unpacked lists,
//! unknown fields in between, and damage anywhere.

use std::sync::Arc;

use cairn_model::metadata::{Metadata, MetricType};
use cairn_model::{CounterResetHint, FloatHistogram, Histogram, Span, Value};
use cairn_proto::datum::Datum;
use cairn_proto::encode::{Exemplar, Sample, TimeSeries, WriteRequest, encode_v1, encode_v2};
use cairn_proto::{DecodeError, fuzz, v1, v2};
use proptest::prelude::*;

fn read_v1(body: &[u8]) -> Result<WriteRequest, DecodeError> {
    let mut out = WriteRequest::default();
    for item in v1::Request::new(body) {
        match item? {
            v1::Item::Metadata(m) => out.metadata.push((
                text(m.family),
                Metadata { metric_type: m.metric_type, unit: text(m.unit), help: text(m.help) },
            )),
            v1::Item::Series(series) => {
                let region = series.region()?;
                let labels = pairs(v1::Series::from_bytes(region).labels())?;
                assert_eq!(labels, pairs(series.labels())?);
                let mut read = TimeSeries { labels, ..TimeSeries::default() };
                for datum in series.data(region.len()) {
                    match datum? {
                        Datum::Exemplar(bytes) => {
                            let e = v1::exemplar(bytes)?;
                            let labels = pairs(e.labels)?;
                            read.exemplars.push(Exemplar { labels, value: e.value, t_ms: e.t_ms });
                        }
                        other => common(&mut read, other)?,
                    }
                }
                out.series.push(read);
            }
        }
    }
    Ok(out)
}

fn read_v2(body: &[u8]) -> Result<WriteRequest, DecodeError> {
    let mut table = Vec::new();
    let request = v2::Request::read(body, &mut table)?;
    let symbol = |r: u64| text(request.symbol(r).expect("the encoder's references exist"));
    let labels = |refs: Vec<u64>| refs.chunks(2).map(|p| (symbol(p[0]), symbol(p[1]))).collect::<Vec<_>>();
    let mut out = WriteRequest::default();
    for series in request.series() {
        let series = series?;
        let (refs, len) = series.leading_refs()?;
        let refs = refs.collect::<Result<Vec<_>, _>>()?;
        assert_eq!(refs, series.refs().collect::<Result<Vec<_>, _>>()?);
        let mut read = TimeSeries { labels: labels(refs), ..TimeSeries::default() };
        for datum in series.data(len) {
            match datum? {
                Datum::Exemplar(bytes) => {
                    let e = v2::exemplar(bytes)?;
                    let labels = labels(e.refs.collect::<Result<_, _>>()?);
                    read.exemplars.push(Exemplar { labels, value: e.value, t_ms: e.t_ms });
                }
                Datum::Metadata(m) => {
                    read.metadata = Some(Metadata {
                        metric_type: MetricType::from_wire(m.metric_type),
                        unit: symbol(m.unit_ref),
                        help: symbol(m.help_ref),
                    });
                }
                other => common(&mut read, other)?,
            }
        }
        out.series.push(read);
    }
    Ok(out)
}

fn common(read: &mut TimeSeries, datum: Datum<'_>) -> Result<(), DecodeError> {
    read.samples.push(match datum {
        Datum::Float(f) => Sample { t_ms: f.t_ms, start_ms: f.start_ms, value: Value::Float(f.value) },
        Datum::Histogram(h) => {
            let h = h.decode()?;
            Sample { t_ms: h.t_ms, start_ms: h.start_ms, value: h.value }
        }
        other => panic!("the encoder writes no {other:?} here"),
    });
    Ok(())
}

fn pairs<'a>(
    labels: impl Iterator<Item = Result<(&'a [u8], &'a [u8]), DecodeError>>,
) -> Result<Vec<(String, String)>, DecodeError> {
    labels.map(|l| l.map(|(n, v)| (text(n), text(v)))).collect()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).expect("the encoder writes UTF-8")
}

fn labels() -> impl Strategy<Value = Vec<(String, String)>> {
    prop::collection::vec(("[a-z_]{1,12}", "\\PC{0,20}"), 0..5)
}

fn any_float() -> impl Strategy<Value = f64> {
    prop_oneof![any::<f64>(), any::<u64>().prop_map(f64::from_bits), Just(0.0), Just(-0.0)]
}

fn spans() -> impl Strategy<Value = Vec<Span>> {
    prop::collection::vec(
        (any::<i32>(), any::<u32>()).prop_map(|(offset, length)| Span { offset, length }),
        0..3,
    )
}

fn floats() -> impl Strategy<Value = Vec<f64>> {
    prop::collection::vec(any_float(), 0..4)
}

fn hint() -> impl Strategy<Value = CounterResetHint> {
    (0u64..4).prop_map(CounterResetHint::from_wire)
}

fn histogram() -> impl Strategy<Value = Value> {
    let shape = (hint(), any::<i32>(), any_float(), any_float(), spans(), spans(), floats());
    let int = (
        any::<u64>(),
        any::<u64>(),
        prop::collection::vec(any::<i64>(), 0..4),
        prop::collection::vec(any::<i64>(), 0..4),
    );
    let float = (any_float(), any_float(), floats(), floats());
    (shape, int, float, any::<bool>()).prop_map(|(s, i, f, is_int)| {
        let (reset_hint, schema, zero_threshold, sum, positive_spans, negative_spans, custom_values) = s;
        if is_int {
            Value::Histogram(Arc::new(Histogram {
                reset_hint,
                schema,
                zero_threshold,
                zero_count: i.0,
                count: i.1,
                sum,
                positive_spans,
                negative_spans,
                positive_buckets: i.2,
                negative_buckets: i.3,
                custom_values,
            }))
        } else {
            Value::FloatHistogram(Arc::new(FloatHistogram {
                reset_hint,
                schema,
                zero_threshold,
                zero_count: f.0,
                count: f.1,
                sum,
                positive_spans,
                negative_spans,
                positive_buckets: f.2,
                negative_buckets: f.3,
                custom_values,
            }))
        }
    })
}

fn metadata() -> impl Strategy<Value = Metadata> {
    (0u64..8, "[a-z]{0,5}", "\\PC{0,20}").prop_map(|(n, unit, help)| Metadata {
        metric_type: MetricType::from_wire(n),
        unit,
        help,
    })
}

prop_compose! {
    fn series()(
        labels in labels(),
        floats in prop::collection::vec((any::<i64>(), any::<i64>(), any_float().prop_map(Value::Float)), 0..4),
        histograms in prop::collection::vec((any::<i64>(), any::<i64>(), histogram()), 0..3),
        exemplars in prop::collection::vec((crate::labels(), any_float(), any::<i64>()), 0..3),
        metadata in prop::option::of(metadata()),
    ) -> TimeSeries {
        let sample = |(t_ms, start_ms, value)| Sample { t_ms, start_ms, value };
        TimeSeries {
            labels,
            samples: floats.into_iter().chain(histograms).map(sample).collect(),
            exemplars: exemplars.into_iter().map(|(labels, value, t_ms)| Exemplar { labels, value, t_ms }).collect(),
            metadata,
        }
    }
}

fn request() -> impl Strategy<Value = WriteRequest> {
    let by_family = prop::collection::vec(("[a-z]{1,8}", metadata()), 0..3);
    (prop::collection::vec(series(), 0..4), by_family)
        .prop_map(|(series, metadata)| WriteRequest { series, metadata })
}

/// `request` as far as the version can carry it.
fn carried(request: &WriteRequest, version: u8) -> WriteRequest {
    let mut r = request.clone();
    if version == 1 {
        for s in &mut r.series {
            s.metadata = None;
            s.samples.iter_mut().for_each(|s| s.start_ms = 0);
        }
    } else {
        r.metadata.clear();
    }
    r
}

/// Bit for bit: NaNs are equal to themselves.
fn same(a: &WriteRequest, b: &WriteRequest) -> bool {
    let exemplars = |s: &TimeSeries| {
        s.exemplars.iter().map(|e| (e.labels.clone(), e.value.to_bits(), e.t_ms)).collect::<Vec<_>>()
    };
    a.metadata == b.metadata
        && a.series.len() == b.series.len()
        && a.series.iter().zip(&b.series).all(|(x, y)| {
            x.labels == y.labels
                && x.samples == y.samples
                && x.metadata == y.metadata
                && exemplars(x) == exemplars(y)
        })
}

proptest! {
    #[test]
    fn version_1_round_trips(r in request()) {
        let read = read_v1(&encode_v1(&r)).unwrap();
        prop_assert!(same(&read, &carried(&r, 1)), "{read:?}");
    }

    #[test]
    fn version_2_round_trips(r in request()) {
        let read = read_v2(&encode_v2(&r)).unwrap();
        prop_assert!(same(&read, &carried(&r, 2)), "{read:?}");
    }

    #[test]
    fn cut_and_bent_requests_never_panic(r in request(), at in any::<prop::sample::Index>(), to in any::<u8>()) {
        for whole in [encode_v1(&r), encode_v2(&r)] {
            if whole.is_empty() {
                continue;
            }
            let at = at.index(whole.len());
            let mut bent = whole.clone();
            bent[at] = to;
            for bytes in [&whole[..at], &bent, &whole] {
                fuzz::fuzz_v1(bytes);
                fuzz::fuzz_v2(bytes);
                fuzz::fuzz_snappy(bytes);
            }
        }
    }

    #[test]
    fn noise_never_panics(noise in prop::collection::vec(any::<u8>(), 0..300)) {
        fuzz::fuzz_v1(&noise);
        fuzz::fuzz_v2(&noise);
        fuzz::fuzz_snappy(&noise);
    }
}

/// `number` with wire type 2 and `bytes`.
fn field(number: u8, bytes: &[u8]) -> Vec<u8> {
    [&[number << 3 | 2, bytes.len() as u8][..], bytes].concat()
}

fn label_bytes(name: &str, value: &str) -> Vec<u8> {
    field(1, &[field(1, name.as_bytes()), field(2, value.as_bytes())].concat())
}

const SAMPLE: &[u8] = &[0x12, 2, 0x10, 5];

#[test]
fn a_label_behind_the_samples_is_announced_and_found() {
    let series = [label_bytes("a", "1"), SAMPLE.to_vec(), label_bytes("b", "2")].concat();
    let series = v1::Series::from_bytes(&series);
    let region = series.region().unwrap();
    assert_eq!(region, label_bytes("a", "1"));
    assert!(series.data(region.len()).any(|d| matches!(d, Ok(Datum::Label))));
    assert_eq!(pairs(series.labels()).unwrap().len(), 2);
}

#[test]
fn a_region_ends_where_no_label_follows() {
    let labels = [label_bytes("a", "1"), label_bytes("b", "2")].concat();
    let bytes = [labels.clone(), SAMPLE.to_vec()].concat();
    let series = v1::Series::from_bytes(&bytes);
    assert_eq!(series.region_of_len(labels.len()), Some(&labels[..]));
    assert_eq!(series.region_of_len(labels.len() / 2), None, "another label follows");
    assert_eq!(series.region_of_len(bytes.len() + 1), None);
    assert_eq!(v1::Series::from_bytes(&labels).region_of_len(labels.len()), Some(&labels[..]));
}

#[test]
fn references_may_come_unpacked_and_in_several_lists() {
    // refs 1 2 packed, 3 unpacked, 4 packed
    let bytes = [&[0x0a, 2, 1, 2][..], &[0x08, 3], &[0x0a, 1, 4]].concat();
    let series = v2::Series::from_bytes(&bytes);
    let (leading, len) = series.leading_refs().unwrap();
    assert_eq!(leading.collect::<Result<Vec<_>, _>>().unwrap(), [1, 2]);
    assert!(series.data(len).any(|d| matches!(d, Ok(Datum::Label))));
    assert_eq!(series.refs().collect::<Result<Vec<_>, _>>().unwrap(), [1, 2, 3, 4]);
}

#[test]
fn symbols_may_stand_behind_the_series_that_use_them() {
    let series = field(5, &[&[0x0a, 2, 1, 2][..], SAMPLE].concat());
    let body = [series, field(4, b""), field(4, b"a"), field(4, b"1")].concat();
    let read = read_v2(&body).unwrap();
    assert_eq!(read.series[0].labels, [("a".to_owned(), "1".to_owned())]);
}

#[test]
fn histogram_lists_may_come_unpacked() {
    // positive_spans {0,2}; positive_deltas 1, -1 unpacked; custom_values 2.0 unpacked
    let mut bytes = field(11, &[0x08, 0, 0x10, 2]);
    bytes.extend([12 << 3, 2, 12 << 3, 1]);
    bytes.extend([0x81, 0x01]); // field 16, fixed64
    bytes.extend(2.0f64.to_le_bytes());
    let Value::Histogram(h) = cairn_proto::histogram::HistogramBytes(&bytes).decode().unwrap().value else {
        panic!("no float count was given");
    };
    assert_eq!((h.positive_buckets.as_slice(), h.custom_values.as_slice()), (&[1, -1][..], &[2.0][..]));
}

#[test]
fn a_span_of_four_billion_buckets_allocates_none() {
    let bytes = field(11, &[0x10, 0xff, 0xff, 0xff, 0xff, 0x0f]);
    let Value::Histogram(h) = cairn_proto::histogram::HistogramBytes(&bytes).decode().unwrap().value else {
        panic!("no float count was given");
    };
    assert_eq!(h.positive_spans, [Span { offset: 0, length: u32::MAX }]);
    assert!(h.validate().is_err());
}

#[test]
fn the_last_member_of_a_oneof_decides_the_kind() {
    let int = [0x08, 3];
    let float = [&[0x11][..], &3.0f64.to_le_bytes()].concat();
    let kind = |bytes: Vec<u8>| {
        matches!(
            cairn_proto::histogram::HistogramBytes(&bytes).decode().unwrap().value,
            Value::FloatHistogram(_)
        )
    };
    assert!(kind([&int[..], &float].concat()));
    assert!(!kind([&float[..], &int].concat()));
}

#[test]
fn more_symbols_than_may_be_are_refused() {
    let body = [0x22, 0].repeat(v2::MAX_SYMBOLS + 1);
    let error = v2::Request::read(&body, &mut Vec::new()).unwrap_err();
    assert_eq!(error, DecodeError::TooManySymbols { limit: v2::MAX_SYMBOLS });
}

#[test]
fn a_known_field_of_another_type_is_refused() {
    for body in [&[0x08, 1][..], &[0x18, 1], &[0x0d, 0, 0, 0, 0]] {
        assert!(matches!(read_v1(body), Err(DecodeError::WireType { .. })), "{body:?}");
    }
    assert!(matches!(read_v2(&[0x28, 1]), Err(DecodeError::WireType { .. })));
}
