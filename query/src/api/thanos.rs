//! Thanos' extra parameters: what a request may see, and how coarse it may be.
//!
//! `dedup`, `replicaLabels[]`, `partial_response`, `storeMatch[]` and `shard_info` shape the [`View`] that is read;
//! `max_source_resolution` lets downsampled data answer. `engine`, `analyze` and `explain` choose among engines and
//! reports that cairn has one or none of, so they are checked and change nothing. Texts of errors are Thanos'.

use cairn_model::Matcher;
use cairn_promql::parser::parse_selector;

use super::QueryApi;
use super::error::Failure;
use super::params::Params;
use crate::dedup::Deduplication;
use crate::fanout::PartialResponse;
use crate::shard::Shard;
use crate::view::View;

/// Resolutions of downsampled blocks, coarse to fine.
const RESOLUTIONS_MS: [i64; 2] = [3_600_000, 300_000];

impl QueryApi {
    /// What the request may see.
    ///
    /// # Errors
    /// The first parameter that cannot be used.
    pub(super) fn view(&self, p: &Params) -> Result<View, Failure> {
        let engine = p.get("engine").unwrap_or("");
        if !matches!(engine, "" | "prometheus" | "thanos") {
            return Err(Failure::bad_data(format!("'{engine}' bad engine")));
        }
        for ignored in ["analyze", "explain"] {
            boolean(p, ignored)?;
        }
        let mut fanout = self.fanout.with_stores_of(&store_selectors(p)?);
        if let Some(partial) = boolean(p, "partial_response")? {
            let on_failure = if partial { PartialResponse::Warn } else { PartialResponse::Abort };
            fanout = fanout.with_partial_response(on_failure);
        }
        let mut replica_labels: Vec<String> =
            p.all("replicaLabels[]").filter(|l| !l.is_empty()).map(str::to_owned).collect();
        if replica_labels.is_empty() {
            replica_labels.clone_from(&self.options.replica_labels);
        }
        let wanted = boolean(p, "dedup")?.unwrap_or(true) && !replica_labels.is_empty();
        let decoder = self.engine.options().decoder.clone();
        let dedup = wanted.then(|| Deduplication::new(replica_labels, decoder));
        Ok(View { fanout, dedup, shard: shard(p)?, cpu: self.runtime.cpu.clone() })
    }

    /// Coarsest resolution that may answer: what the request names, or `auto_ms` where it or `--query.auto-downsampling`
    /// leaves the choice to us, or raw.
    ///
    /// # Errors
    /// When the parameter is no duration, or a negative one.
    pub(super) fn max_resolution_ms(&self, p: &Params, auto_ms: i64) -> Result<i64, Failure> {
        const NAME: &str = "max_source_resolution";
        match p.get(NAME) {
            Some("auto") => Ok(auto_ms),
            None => Ok(if self.options.auto_downsampling { auto_ms } else { 0 }),
            Some(_) => match p.duration_ns(NAME) {
                Ok(ns) if ns.is_some_and(|ns| ns < 0) => Err(Failure::bad_data(format!(
                    "negative '{NAME}' is not accepted. Try a positive integer"
                ))),
                Ok(ns) => Ok(ns.unwrap_or(0) / 1_000_000),
                Err(why) => Err(Failure::bad_data(format!("'{NAME}' parameter: {why}"))),
            },
        }
    }
}

/// A sample of downsampled data stands for as long as the data is coarse, or series would have holes.
pub fn lookback_for(lookback_ms: i64, max_resolution_ms: i64) -> i64 {
    let coarsest = RESOLUTIONS_MS.into_iter().find(|r| *r <= max_resolution_ms);
    coarsest.map_or(lookback_ms, |r| lookback_ms.max(r))
}

/// Booleans as Go's `ParseBool` takes them.
fn boolean(p: &Params, name: &str) -> Result<Option<bool>, Failure> {
    match p.get(name) {
        None => Ok(None),
        Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(Some(true)),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(Some(false)),
        Some(other) => Err(Failure::bad_data(format!(
            "'{name}' parameter: strconv.ParseBool: parsing \"{other}\": invalid syntax"
        ))),
    }
}

fn store_selectors(p: &Params) -> Result<Vec<Vec<Matcher>>, Failure> {
    let read = |text| parse_selector(text).map_err(|e| Failure::bad_data(e.to_string()));
    p.all("storeMatch[]").map(read).collect()
}

fn shard(p: &Params) -> Result<Option<Shard>, Failure> {
    let wrong =
        |e: serde_json::Error| Failure::bad_data(format!("could not unmarshal parameter shard_info: {e}"));
    let shard: Option<Shard> = p.get("shard_info").map(serde_json::from_str).transpose().map_err(wrong)?;
    let Some(shard) = shard else { return Ok(None) };
    if shard.total > 0 && !(0..shard.total).contains(&shard.index) {
        let (index, total) = (shard.index, shard.total);
        return Err(Failure::bad_data(format!("shard_info: there is no shard {index} of {total}")));
    }
    Ok(Some(shard))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lookback_grows_with_the_resolution_in_force() {
        for (resolution, want) in [
            (0, 300_000),
            (299_999, 300_000),
            (300_000, 300_000),
            (3_599_999, 300_000),
            (3_600_000, 3_600_000),
        ] {
            assert_eq!(lookback_for(300_000, resolution), want, "{resolution}");
        }
        assert_eq!(lookback_for(60_000, 600_000), 300_000);
        assert_eq!(lookback_for(7_200_000, 3_600_000), 7_200_000);
    }
}
