//! Whether two programs gave the same answer: pure.
//!
//! cairn's and Thanos' answers carry external labels, which the others do not know; they are left out. Floats are equal within 1e-9 of
//! their size: sums may be added in another order.

use std::collections::BTreeMap;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

use crate::bench::server::REPLICA_LABEL;
use crate::http;

const EXTERNAL_LABELS: [&str; 2] = ["tenant_id", REPLICA_LABEL];
const TOLERANCE: f64 = 1e-9;

/// An answer: what it lists, each with its points (time as text, value); names and label sets have none.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered(BTreeMap<String, Vec<(String, f64)>>);

impl Answered {
    /// Reads an answer of Prometheus' HTTP API.
    ///
    /// # Errors
    /// When it is an error, or lists nothing: nothing can be compared with that.
    pub fn read(answer: &http::Answer) -> Result<Self> {
        let text = || String::from_utf8_lossy(&answer.body).chars().take(200).collect::<String>();
        ensure!(answer.status == 200, "status {}: {}", answer.status, text());
        let mut json = answer.json()?;
        let data = json.get_mut("data").map(Value::take).context("the answer has no data")?;
        let Value::Array(items) = data.get("result").cloned().unwrap_or(data) else {
            anyhow::bail!("the answer lists nothing: {}", text());
        };
        let listed = items.into_iter().map(item).collect::<Result<BTreeMap<_, _>>>()?;
        ensure!(!listed.is_empty(), "the answer is empty");
        Ok(Self(listed))
    }

    /// How many series, label sets or names.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// How many points.
    pub fn points(&self) -> usize {
        self.0.values().map(Vec::len).sum()
    }

    /// What tells it from `other`, the first of all differences.
    pub fn difference(&self, other: &Self) -> Option<String> {
        if self.len() != other.len() {
            return Some(format!("{} series instead of {}", self.len(), other.len()));
        }
        for ((name, points), (other_name, wanted)) in self.0.iter().zip(&other.0) {
            if name != other_name {
                return Some(format!("{name} instead of {other_name}"));
            }
            if points.len() != wanted.len() {
                return Some(format!("{name}: {} points instead of {}", points.len(), wanted.len()));
            }
            let differ = |((t, v), (wanted_t, wanted_v)): &(&(String, f64), &(String, f64))| {
                t != wanted_t || !same(*v, *wanted_v)
            };
            if let Some(((t, v), (wanted_t, wanted_v))) = points.iter().zip(wanted).find(differ) {
                return Some(format!("{name}: {v} at {t} instead of {wanted_v} at {wanted_t}"));
            }
        }
        None
    }
}

fn same(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}

/// One entry of a list: a name, a label set, or a series with its points.
fn item(item: Value) -> Result<(String, Vec<(String, f64)>)> {
    let Value::Object(mut object) = item else { return Ok((item.to_string(), Vec::new())) };
    let points = match (object.remove("values"), object.remove("value")) {
        (Some(Value::Array(points)), _) => points,
        (_, Some(point)) => vec![point],
        _ => Vec::new(),
    };
    let mut labels = match object.remove("metric") {
        Some(Value::Object(labels)) => labels,
        _ => object,
    };
    EXTERNAL_LABELS.iter().for_each(|name| {
        labels.remove(*name);
    });
    let point = |p: Value| {
        let value = p.get(1).and_then(Value::as_str).context("a point has no value")?;
        let value = value.parse::<f64>().with_context(|| format!("cannot read the value {value}"))?;
        Ok((p[0].to_string(), value))
    };
    Ok((Value::Object(labels).to_string(), points.into_iter().map(point).collect::<Result<_>>()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(data: &str) -> Result<Answered> {
        let body = format!(r#"{{"status":"success","data":{data}}}"#).into_bytes();
        Answered::read(&http::Answer { status: 200, body })
    }

    fn matrix(labels: &str, value: &str) -> Answered {
        let series = format!(r#"{{"metric":{{{labels}}},"values":[[1.5,"1"],[2,"{value}"]]}}"#);
        read(&format!(r#"{{"resultType":"matrix","result":[{series}]}}"#)).unwrap()
    }

    #[test]
    fn the_tenant_and_the_last_digits_make_no_difference() {
        let ours = matrix(r#""job":"a","tenant_id":"t""#, "0.30000000000000004");
        assert_eq!((ours.len(), ours.points()), (1, 2));
        assert_eq!(ours.difference(&matrix(r#""job":"a""#, "0.3")), None);
        assert_eq!(matrix("", "NaN").difference(&matrix("", "NaN")), None);
    }

    #[test]
    fn another_value_series_or_name_is_a_difference() {
        let a = matrix(r#""job":"a""#, "0.3");
        assert!(a.difference(&matrix(r#""job":"a""#, "0.300001")).unwrap().contains("0.3 at 2 instead of"));
        assert!(a.difference(&matrix(r#""job":"b""#, "0.3")).is_some());
        assert!(read(r#"["a"]"#).unwrap().difference(&read(r#"["a","b"]"#).unwrap()).is_some());
        let sets = read(r#"[{"job":"a"},{"job":"b"}]"#).unwrap();
        assert_eq!(sets.difference(&read(r#"[{"job":"b"},{"job":"a","tenant_id":"x"}]"#).unwrap()), None);
    }

    #[test]
    fn errors_and_empty_answers_cannot_be_compared() {
        assert!(read("[]").is_err());
        assert!(read(r#"{"resultType":"vector","result":[]}"#).is_err());
        assert!(Answered::read(&http::Answer { status: 422, body: b"{}".to_vec() }).is_err());
    }
}
