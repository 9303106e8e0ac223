//! The endpoints over HTTP, in Prometheus' envelope. Rules answer a POST too: names to choose by may be many.

use axum::extract::{RawForm, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Json, Router};
use serde::Serialize;
use serde_json::json;

use super::params::RulesParams;
use super::{json, select};
use crate::ruler::Ruler;

/// Routes below `/api/v1`: `rules`, `alerts`, `alertmanagers`.
pub fn router(ruler: Ruler) -> Router {
    Router::new()
        .route("/api/v1/rules", get(rules).post(rules))
        .route("/api/v1/alerts", get(alerts))
        .route("/api/v1/alertmanagers", get(alertmanagers))
        .with_state(ruler)
}

async fn rules(State(ruler): State<Ruler>, RawForm(form): RawForm) -> Response {
    let pairs = decode(&form);
    let params = RulesParams::parse(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())));
    match params.and_then(|params| select::rules(&ruler.groups(), &params)) {
        Ok(answer) => success(&answer),
        Err(error) => {
            let body = json!({"status": "error", "errorType": "bad_data", "error": error.to_string()});
            (StatusCode::BAD_REQUEST, Json(body)).into_response()
        }
    }
}

async fn alerts(State(ruler): State<Ruler>) -> Response {
    success(&select::alerts(&ruler.groups()))
}

async fn alertmanagers(State(ruler): State<Ruler>) -> Response {
    success(&json::alertmanagers(ruler.alertmanagers()))
}

fn success(data: &impl Serialize) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], json::success(data)).into_response()
}

/// The pairs of a query string or form body.
fn decode(form: &[u8]) -> Vec<(String, String)> {
    form.split(|b| *b == b'&')
        .filter(|pair| !pair.is_empty())
        .map(|pair| {
            let at = pair.iter().position(|b| *b == b'=').unwrap_or(pair.len());
            (decode_text(&pair[..at]), decode_text(pair.get(at + 1..).unwrap_or_default()))
        })
        .collect()
}

fn decode_text(text: &[u8]) -> String {
    let hex = |at: usize| text.get(at).and_then(|b| (*b as char).to_digit(16));
    let mut out = Vec::with_capacity(text.len());
    let mut at = 0;
    while at < text.len() {
        match (text[at], hex(at + 1), hex(at + 2)) {
            (b'%', Some(high), Some(low)) => {
                out.push((high * 16 + low) as u8);
                at += 3;
                continue;
            }
            (b'+', ..) => out.push(b' '),
            (byte, ..) => out.push(byte),
        }
        at += 1;
    }
    String::from_utf8_lossy(&out).into_owned()
}
