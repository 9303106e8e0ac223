//! The keys of the limits file: one row a limit, from which reading, showing and the texts of errors come.
//!
//! Names are Thanos' where it has the limit, Mimir's where only Mimir has it, and those of cairn's flags for queries.

use std::time::Duration;

use cairn_promql::engine::QueryBounds;
use cairn_receiver::TenantLimits;
use serde_json::Value;

use crate::config::{Bytes, GoDuration};

/// A limit of `T` under its name in the file; dots stand for a map within a map.
pub struct Key<T> {
    /// As it is written.
    pub name: &'static str,
    field: fn(&mut T) -> Field<'_>,
}

/// Where a limit is kept, and what may be written for it.
enum Field<'a> {
    /// A number, 0 = no limit.
    Count(&'a mut u64),
    /// Bytes, also with a unit, 0 = what the process allows.
    Size(&'a mut u64),
    /// A number that may be 0 in earnest.
    Exactly(&'a mut usize),
    /// A number of which 0 would refuse everything.
    AtLeastOne(&'a mut usize),
    /// A time longer than nothing.
    Millis(&'a mut i64),
    /// A time, 0 = what the process allows.
    Time(&'a mut Duration),
}

/// What a tenant may send: the keys of `write`.
pub const WRITE: &[Key<TenantLimits>] = &[
    Key { name: "request.size_bytes_limit", field: |l| Field::Size(&mut l.decoded_bytes) },
    Key { name: "request.body_bytes_limit", field: |l| Field::Size(&mut l.body_bytes) },
    Key { name: "request.series_limit", field: |l| Field::Count(&mut l.series_per_request) },
    Key { name: "request.samples_limit", field: |l| Field::Count(&mut l.samples_per_request) },
    Key { name: "request.exemplars_limit", field: |l| Field::Exactly(&mut l.exemplars_per_request) },
    Key { name: "request.metadata_limit", field: |l| Field::Exactly(&mut l.metadata_per_request) },
    Key { name: "head_series_limit", field: |l| Field::Count(&mut l.active_series) },
    Key { name: "ingestion_rate", field: |l| Field::Count(&mut l.samples_per_s) },
    Key { name: "ingestion_burst_size", field: |l| Field::Count(&mut l.burst_samples) },
    Key { name: "max_label_names_per_series", field: |l| Field::AtLeastOne(&mut l.labels_per_series) },
    Key { name: "max_label_name_length", field: |l| Field::AtLeastOne(&mut l.label_name_bytes) },
    Key { name: "max_label_value_length", field: |l| Field::AtLeastOne(&mut l.label_value_bytes) },
    Key { name: "late_window", field: |l| Field::Millis(&mut l.late_window_ms) },
    Key { name: "creation_grace_period", field: |l| Field::Millis(&mut l.future_window_ms) },
];

/// What a tenant's queries may use up: the keys of `query`.
pub const QUERY: &[Key<QueryBounds>] = &[
    Key { name: "max_bytes", field: |b| Field::Size(&mut b.max_bytes) },
    Key { name: "max_series", field: |b| Field::Count(&mut b.max_series) },
    Key { name: "max_samples", field: |b| Field::Count(&mut b.max_samples) },
    Key { name: "max_steps", field: |b| Field::Count(&mut b.max_steps) },
    Key { name: "timeout", field: |b| Field::Time(&mut b.timeout) },
];

impl<T: Clone> Key<T> {
    /// Sets the limit to what `text` says.
    ///
    /// # Errors
    /// What is wrong with the text, and what would be right.
    pub fn set(&self, limits: &mut T, text: &str) -> Result<(), String> {
        let number = || text.parse().map_err(|_| format!("{text:?} is not a whole number of 0 or more"));
        let duration = || text.parse().map(|d: GoDuration| d.0);
        match (self.field)(limits) {
            Field::Count(n) => *n = number()?,
            Field::Size(n) => *n = text.parse().map(|b: Bytes| b.0)?,
            Field::Exactly(n) => *n = number()? as usize,
            Field::AtLeastOne(n) => match number()? as usize {
                0 => return Err("0 would refuse every series: write 1 or more".to_owned()),
                limit => *n = limit,
            },
            Field::Millis(ms) => match duration()?.as_millis() as i64 {
                0 => return Err("0s would refuse every sample: write for instance 10m or 6h".to_owned()),
                limit => *ms = limit,
            },
            Field::Time(time) => *time = duration()?,
        }
        Ok(())
    }

    /// The limit as the file would have it.
    pub fn shown(&self, limits: &T) -> Value {
        let duration = |d: Duration| GoDuration(d).to_string();
        match (self.field)(&mut limits.clone()) {
            Field::Count(n) | Field::Size(n) => Value::from(*n),
            Field::Exactly(n) | Field::AtLeastOne(n) => Value::from(*n),
            Field::Millis(ms) => Value::from(duration(Duration::from_millis(*ms as u64))),
            Field::Time(time) => Value::from(duration(*time)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is shown of every limit can be written into a file, and then means the same.
    fn shown_is_read_back<T: Clone + Default + PartialEq + std::fmt::Debug>(keys: &[Key<T>], texts: &[&str]) {
        let mut set = T::default();
        for (key, text) in keys.iter().zip(texts) {
            key.set(&mut set, text).unwrap_or_else(|e| panic!("{}: {e}", key.name));
        }
        let mut again = T::default();
        for key in keys {
            let shown = key.shown(&set);
            let text = shown.as_str().map_or_else(|| shown.to_string(), str::to_owned);
            assert_ne!(key.shown(&T::default()), shown, "{} was set", key.name);
            key.set(&mut again, &text).unwrap();
        }
        assert_eq!(set, again);
    }

    #[test]
    fn every_limit_is_set_and_shown() {
        let write = ["1MiB", "2000", "3", "4", "5", "6", "7", "8", "9", "10", "11", "12", "1h30m", "14s"];
        assert_eq!(write.len(), WRITE.len());
        shown_is_read_back(WRITE, &write);
        let query = ["1GiB", "2", "3", "4", "5s"];
        assert_eq!(query.len(), QUERY.len());
        shown_is_read_back(QUERY, &query);
    }

    #[test]
    fn values_that_cannot_be_meant_are_refused() {
        let refused = |name: &str, text: &str| {
            let key = WRITE.iter().find(|k| k.name == name).unwrap();
            key.set(&mut TenantLimits::default(), text).unwrap_err()
        };
        assert!(refused("head_series_limit", "-1").contains("whole number"));
        assert!(refused("request.size_bytes_limit", "1.5GB").contains("512MiB"));
        assert!(refused("max_label_name_length", "0").contains("every series"));
        assert!(refused("late_window", "0s").contains("every sample"));
    }
}
