//! Results as the API sends them. Numbers come as texts and are read, because text and JSON print them anew.

use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer};

/// Labels of a series, by name.
pub type Metric = BTreeMap<String, String>;

/// `data` of a query.
#[derive(Debug, Deserialize)]
#[serde(tag = "resultType", content = "result", rename_all = "lowercase")]
pub enum QueryData {
    /// A number.
    Scalar(Point),
    /// A text with its time.
    String((f64, String)),
    /// One sample a series.
    Vector(Vec<Sample>),
    /// Many.
    Matrix(Vec<Stream>),
}

/// An element of a vector.
#[derive(Debug, Deserialize)]
pub struct Sample {
    /// Whose.
    pub metric: Metric,
    /// A float.
    pub value: Option<Point>,
    /// Or a histogram.
    pub histogram: Option<(f64, Histogram)>,
}

/// An element of a matrix.
#[derive(Debug, Deserialize)]
pub struct Stream {
    /// Whose.
    pub metric: Metric,
    /// Floats.
    #[serde(default)]
    pub values: Vec<Point>,
    /// Histograms.
    #[serde(default)]
    pub histograms: Vec<(f64, Histogram)>,
}

/// Seconds and value.
pub type Point = (f64, Number);

/// A native histogram.
#[derive(Debug, Deserialize)]
pub struct Histogram {
    /// Observations.
    pub count: Number,
    /// Their sum.
    pub sum: Number,
    /// Which bounds belong to the bucket, the bounds, the count.
    #[serde(default)]
    pub buckets: Vec<(u8, Number, Number, Number)>,
}

/// A float that travels as a text.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Number(pub f64);

impl<'de> Deserialize<'de> for Number {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let text = String::deserialize(d)?;
        text.parse().map(Number).map_err(|_| serde::de::Error::custom(format!("{text:?} is no number")))
    }
}
