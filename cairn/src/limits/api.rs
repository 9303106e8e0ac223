//! `/api/v1/status/limits`: the limits in force, by the names of the limits file.
//!
//! With a tenant header the tenant's own; without one the defaults and the tenants that differ.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cairn_model::tenant::TenantScope;
use cairn_model::{PerTenant, TenantId};
use cairn_net::ApiError;
use serde_json::{Map, Value, json};

use super::LimitsInForce;
use super::keys::{Key, QUERY, WRITE};

/// The route, to be merged into a server's.
pub fn routes(limits: Arc<LimitsInForce>) -> Router {
    Router::new().route("/api/v1/status/limits", get(show)).with_state(limits)
}

async fn show(State(limits): State<Arc<LimitsInForce>>, headers: HeaderMap) -> Response {
    let scope = match cairn_net::tenant::read_scope(&headers) {
        Ok(scope) => scope,
        Err(e) => return ApiError::BadRequest(e.to_string()).into_json_response(),
    };
    let (write, query) = (limits.write.all(), limits.query.load_full());
    let data = json!({ "write": section(WRITE, &write, &scope), "query": section(QUERY, &query, &scope) });
    axum::Json(json!({ "status": "success", "data": data })).into_response()
}

fn section<T: Clone>(keys: &[Key<T>], all: &PerTenant<T>, scope: &TenantScope) -> Value {
    let of = |(tenant, limits): (&TenantId, &Arc<T>)| (tenant.to_string(), values(keys, limits));
    match scope {
        TenantScope::Only(list) => {
            let asked: Map<String, Value> = list.iter().map(|t| of((t, all.of(t)))).collect();
            json!({ "tenants": asked })
        }
        TenantScope::All => {
            let named: Map<String, Value> = all.tenants.iter().map(of).collect();
            json!({ "default": values(keys, &all.default), "tenants": named })
        }
    }
}

/// Limits as maps within maps, as the file has them.
fn values<T: Clone>(keys: &[Key<T>], limits: &T) -> Value {
    let mut out = json!({});
    for key in keys {
        let place = key.name.split('.').fold(&mut out, |at, part| &mut at[part]);
        *place = key.shown(limits);
    }
    out
}
