//! Comparing what two servers answer.

use std::collections::BTreeMap;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use crate::http::{api, encode};

/// Relative difference that two values may have.
const TOLERANCE: f64 = 1e-9;

/// A server with the headers it wants.
pub struct Server<'a> {
    pub address: &'a str,
    pub headers: &'a [(&'a str, &'a str)],
}

/// Series by labels, each with its points as (time, value).
pub type Series = BTreeMap<String, Vec<(f64, f64)>>;

/// An instant query's series. External labels that only cairn adds are dropped.
pub fn instant(server: &Server<'_>, query: &str, at: f64) -> Result<Series> {
    series(&api(server.address, &format!("/api/v1/query?query={}&time={at}", encode(query)), server.headers)?)
}

/// A range query's series.
pub fn range(server: &Server<'_>, query: &str, start: f64, end: f64, step: f64) -> Result<Series> {
    let path = format!("/api/v1/query_range?query={}&start={start}&end={end}&step={step}", encode(query));
    series(&api(server.address, &path, server.headers)?)
}

fn series(data: &Value) -> Result<Series> {
    let list = data["result"].as_array().with_context(|| format!("no result in {data}"))?;
    list.iter()
        .map(|s| {
            let labels = s["metric"].as_object().context("no metric")?;
            let name: Vec<_> =
                labels.iter().filter(|(n, _)| *n != "tenant_id").map(|(n, v)| format!("{n}={v}")).collect();
            let points = match s["values"].as_array() {
                Some(values) => values.iter().map(point).collect::<Result<_>>()?,
                None => vec![point(&s["value"])?],
            };
            Ok((name.join(","), points))
        })
        .collect()
}

fn point(p: &Value) -> Result<(f64, f64)> {
    let value = p[1].as_str().context("no value")?;
    let value = match value {
        "+Inf" => f64::INFINITY,
        "-Inf" => f64::NEG_INFINITY,
        v => v.parse()?,
    };
    Ok((p[0].as_f64().context("no time")?, value))
}

/// Fails unless both have the same series with the same points; gives how many points were compared.
pub fn same(query: &str, wanted: &Series, got: &Series) -> Result<usize> {
    ensure!(!wanted.is_empty(), "{query}: the oracle answers no series, so nothing would be compared");
    let names = |s: &Series| s.keys().cloned().collect::<Vec<_>>();
    ensure!(names(wanted) == names(got), "{query}: series differ:\n{:#?}\n{:#?}", names(wanted), names(got));
    let mut compared = 0;
    for (labels, points) in wanted {
        let other = &got[labels];
        ensure!(points.len() == other.len(), "{query} {labels}: {} and {} points", points.len(), other.len());
        for (w, g) in points.iter().zip(other) {
            if w.0 != g.0 || !close(w.1, g.1) {
                bail!("{query} {labels}: wanted {w:?}, got {g:?}");
            }
            compared += 1;
        }
    }
    Ok(compared)
}

fn close(a: f64, b: f64) -> bool {
    a == b || (a.is_nan() && b.is_nan()) || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs())
}
