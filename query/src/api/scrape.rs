//! `/targets`, `/targets/metadata`, `/targets/relabel_steps`, `/scrape_pools`, `/notifications`: cairn scrapes
//! nothing, so these are empty; wrong parameters are refused as Prometheus refuses them.

use axum::extract::Request;

use super::answer::Answer;
use super::error::Failure;
use super::params::{Params, invalid};

/// `/api/v1/targets`
pub async fn targets(request: Request) -> Result<Answer, Failure> {
    let p = Params::read(request).await?;
    let state = p.get("state").unwrap_or("").to_ascii_lowercase();
    // Prometheus counts dropped targets only where they are asked for.
    let counts = if matches!(state.as_str(), "" | "any" | "dropped") { "{}" } else { "null" };
    let data = format!(r#"{{"activeTargets":[],"droppedTargets":[],"droppedTargetCounts":{counts}}}"#);
    Ok(Answer::of(data.into_bytes()))
}

/// `/api/v1/targets/metadata`
pub async fn targets_metadata(request: Request) -> Result<Answer, Failure> {
    let p = Params::read(request).await?;
    p.count("limit")?;
    if let Some(selector) = p.get("match_target") {
        cairn_promql::parser::parse_selector(selector).map_err(|e| invalid("match_target", e.to_string()))?;
    }
    Ok(nothing())
}

/// `/api/v1/targets/relabel_steps`
pub async fn relabel_steps(request: Request) -> Result<Answer, Failure> {
    let p = Params::read(request).await?;
    let pool = p.get("scrapePool").ok_or_else(|| Failure::bad_data("no scrapePool parameter provided"))?;
    p.get("labels").ok_or_else(|| Failure::bad_data("no labels parameter provided"))?;
    Err(Failure::bad_data(format!("error retrieving scrape config: scrape pool \"{pool}\" not found")))
}

/// `/api/v1/scrape_pools`
pub async fn scrape_pools() -> Answer {
    Answer::of(br#"{"scrapePools":[]}"#.to_vec())
}

/// `/api/v1/notifications`
pub async fn notifications() -> Answer {
    nothing()
}

fn nothing() -> Answer {
    Answer::of(b"[]".to_vec())
}
