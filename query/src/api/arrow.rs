//! Results as an Arrow IPC stream, for `Accept: application/vnd.apache.arrow.stream`.
//!
//! One row a sample. A column a label, dictionary encoded, null where the series lacks the label; then the columns of
//! the sample, whose names begin with two underscores as no label of a user's does. The schema carries the result's
//! type, warnings and infos. Layout: docs/formats/arrow-results.md.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use arrow_array::types::Int32Type;
use arrow_array::{
    ArrayRef, DictionaryArray, Float64Array, Int32Array, RecordBatch, StringArray, TimestampMillisecondArray,
};
use arrow_ipc::writer::StreamWriter;
use arrow_schema::{ArrowError, DataType, Field, Schema, SchemaRef, TimeUnit};
use axum::http::HeaderMap;
use axum::http::header::ACCEPT;
use cairn_model::{FloatHistogram, Labels};
use cairn_promql::value::{QueryValue, SampleValue};

use super::encode::{histogram_json, kind};

/// The stream's media type.
pub const MEDIA_TYPE: &str = "application/vnd.apache.arrow.stream";

/// Column of the sample's time.
const TIMESTAMP: &str = "__timestamp__";
/// Column of floats, or of the text of a string.
const VALUE: &str = "__value__";
/// Column of histograms, there only when the result has some.
const HISTOGRAM: &str = "__histogram__";

/// Rows of a record batch. Judgement: a few hundred KiB, so that a reader can begin early and memory stays flat.
const BATCH_ROWS: usize = 65_536;

/// Whether the request asks for Arrow by name; `*/*` means JSON.
pub fn is_wanted(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).any(|range| {
        let mut parts = range.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case(MEDIA_TYPE));
        let weight = parts.find_map(|p| p.strip_prefix("q=")).map_or(Ok(1.0), str::parse::<f64>);
        named && weight.is_ok_and(|w| w > 0.0)
    })
}

/// The result as a stream.
///
/// # Errors
/// When Arrow refuses the arrays: more than 2 GiB of text in one column.
pub fn stream(value: &QueryValue, warnings: &[String], infos: &[String]) -> Result<Vec<u8>, ArrowError> {
    let mut metadata: std::collections::HashMap<String, String> =
        [("resultType".to_owned(), kind(value).to_owned())].into();
    for (name, notes) in [("warnings", warnings), ("infos", infos)] {
        if !notes.is_empty() {
            metadata.insert(name.to_owned(), serde_json::json!(notes).to_string());
        }
    }
    match value {
        QueryValue::String(t_ms, text) => string(*t_ms, text, metadata),
        _ => Rows::of(value).write(metadata),
    }
}

fn time_field() -> Field {
    Field::new(TIMESTAMP, DataType::Timestamp(TimeUnit::Millisecond, Some("UTC".into())), false)
}

fn times(t_ms: Vec<i64>) -> ArrayRef {
    Arc::new(TimestampMillisecondArray::from(t_ms).with_timezone("UTC"))
}

fn string(
    t_ms: i64,
    text: &str,
    metadata: std::collections::HashMap<String, String>,
) -> Result<Vec<u8>, ArrowError> {
    let fields = vec![time_field(), Field::new(VALUE, DataType::Utf8, false)];
    let schema: SchemaRef = Arc::new(Schema::new_with_metadata(fields, metadata));
    let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
    let columns = vec![times(vec![t_ms]), Arc::new(StringArray::from(vec![text])) as ArrayRef];
    writer.write(&RecordBatch::try_new(schema, columns)?)?;
    writer.into_inner()
}

/// A result as rows: series by series, each in order of time.
#[derive(Default)]
struct Rows<'a> {
    series: Vec<&'a Labels>,
    /// Number of its series, for each row.
    series_of_row: Vec<usize>,
    t_ms: Vec<i64>,
    float: Vec<Option<f64>>,
    histogram: Vec<Option<&'a FloatHistogram>>,
}

impl<'a> Rows<'a> {
    fn of(value: &'a QueryValue) -> Self {
        let mut rows = Rows::default();
        match value {
            QueryValue::String(..) => {} // has columns of its own
            QueryValue::Scalar(p) => rows.push(p.t_ms, Some(p.value), None),
            QueryValue::Vector(samples) => samples.iter().for_each(|s| {
                rows.series.push(&s.labels);
                match &s.value {
                    SampleValue::Float(v) => rows.push(s.t_ms, Some(*v), None),
                    SampleValue::Histogram(h) => rows.push(s.t_ms, None, Some(&**h)),
                }
            }),
            QueryValue::Matrix(series) => series.iter().for_each(|s| {
                rows.series.push(&s.labels);
                let mut histograms = s.histograms.iter().peekable();
                for p in &s.floats {
                    while let Some(h) = histograms.next_if(|h| h.t_ms < p.t_ms) {
                        rows.push(h.t_ms, None, Some(&*h.value));
                    }
                    rows.push(p.t_ms, Some(p.value), None);
                }
                histograms.for_each(|h| rows.push(h.t_ms, None, Some(&*h.value)));
            }),
        }
        rows
    }

    fn push(&mut self, t_ms: i64, float: Option<f64>, histogram: Option<&'a FloatHistogram>) {
        self.series_of_row.push(self.series.len().saturating_sub(1));
        self.t_ms.push(t_ms);
        self.float.push(float);
        self.histogram.push(histogram);
    }

    fn write(&self, metadata: std::collections::HashMap<String, String>) -> Result<Vec<u8>, ArrowError> {
        let names: BTreeSet<&str> = self.series.iter().flat_map(|l| l.iter().map(|(n, _)| n)).collect();
        let labels: Vec<LabelColumn> = names.iter().map(|n| LabelColumn::of(n, &self.series)).collect();
        let has_histograms = self.histogram.iter().any(Option::is_some);

        let mut fields: Vec<Field> = names.iter().map(|n| LabelColumn::field(n)).collect();
        fields.push(time_field());
        fields.push(Field::new(VALUE, DataType::Float64, has_histograms));
        if has_histograms {
            fields.push(Field::new(HISTOGRAM, DataType::Utf8, true));
        }
        let schema: SchemaRef = Arc::new(Schema::new_with_metadata(fields, metadata));
        let mut writer = StreamWriter::try_new(Vec::new(), &schema)?;
        for from in (0..self.t_ms.len()).step_by(BATCH_ROWS) {
            let range = from..(from + BATCH_ROWS).min(self.t_ms.len());
            let mut columns = Vec::with_capacity(schema.fields().len());
            for label in &labels {
                columns.push(label.rows(&self.series_of_row[range.clone()])?);
            }
            columns.push(times(self.t_ms[range.clone()].to_vec()));
            columns.push(Arc::new(Float64Array::from(self.float[range.clone()].to_vec())) as ArrayRef);
            if has_histograms {
                let texts = self.histogram[range].iter().map(|h| h.map(histogram_json));
                columns.push(Arc::new(texts.collect::<StringArray>()));
            }
            writer.write(&RecordBatch::try_new(schema.clone(), columns)?)?;
        }
        writer.into_inner()
    }
}

/// The values of a label: each once, and for each series which one.
struct LabelColumn {
    /// Shared by all batches, so that it is sent once.
    values: ArrayRef,
    of_series: Vec<Option<i32>>,
}

impl LabelColumn {
    fn field(name: &str) -> Field {
        let dictionary = DataType::Dictionary(Box::new(DataType::Int32), Box::new(DataType::Utf8));
        Field::new(name, dictionary, true)
    }

    fn of(name: &str, series: &[&Labels]) -> Self {
        let mut number: BTreeMap<&str, i32> = BTreeMap::new();
        series.iter().filter_map(|l| l.get(name)).for_each(|value| {
            number.insert(value, 0);
        });
        number.values_mut().zip(0..).for_each(|(n, i)| *n = i);
        let of_series = series.iter().map(|l| l.get(name).map(|value| number[value])).collect();
        LabelColumn { values: Arc::new(number.keys().copied().map(Some).collect::<StringArray>()), of_series }
    }

    fn rows(&self, of: &[usize]) -> Result<ArrayRef, ArrowError> {
        let keys: Int32Array = of.iter().map(|series| self.of_series[*series]).collect();
        Ok(Arc::new(DictionaryArray::<Int32Type>::try_new(keys, self.values.clone())?))
    }
}

#[cfg(test)]
mod tests;
