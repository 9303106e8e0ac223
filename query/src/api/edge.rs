//! What holds for every request to the API: cross-origin headers, gzip, and plain texts for paths and methods that
//! do not exist.
//!
//! Source: Prometheus 3.14, probed: preflights are 204, an answer repeats the asking origin, no `Accept` is refused.

use std::io::Write;

use axum::Router;
use axum::body::{Body, HttpBody};
use axum::extract::{Request, State};
use axum::http::header::{
    ACCEPT_ENCODING, ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, CONTENT_ENCODING, CONTENT_LENGTH, LOCATION, ORIGIN, VARY,
};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode, Uri};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use cairn_runtime::CpuPool;
use flate2::Compression;
use flate2::write::GzEncoder;

/// Smaller answers fit into one packet anyway. Judgement.
const MIN_GZIP_BYTES: u64 = 1024;

/// `router` with cross-origin headers and gzip, for all routes that it has by now.
pub fn edge(router: Router, cpu: CpuPool) -> Router {
    router.method_not_allowed_fallback(wrong_method).layer(from_fn_with_state(cpu, around))
}

/// Where nothing is found: a path with empty parts or dots is sent to the one that it means, any other is a 404 in
/// Prometheus' words.
pub async fn not_found(uri: Uri) -> Response {
    let clean = clean_path(uri.path());
    if clean == uri.path() {
        return (StatusCode::NOT_FOUND, "404 page not found\n").into_response();
    }
    let query = uri.query().map_or_else(String::new, |query| format!("?{query}"));
    (StatusCode::TEMPORARY_REDIRECT, [(LOCATION, clean + &query)]).into_response()
}

/// `path` without empty parts, `.` and `..`. It begins with one slash, so that it never names another host.
fn clean_path(path: &str) -> String {
    let mut parts = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." => drop(parts.pop()),
            part => parts.push(part),
        }
    }
    let end = if path.ends_with('/') && !parts.is_empty() { "/" } else { "" };
    format!("/{}{end}", parts.join("/"))
}

async fn wrong_method() -> Response {
    (StatusCode::METHOD_NOT_ALLOWED, "Method Not Allowed\n").into_response()
}

async fn around(State(cpu): State<CpuPool>, request: Request, next: Next) -> Response {
    let origin = request.headers().get(ORIGIN).cloned();
    let gzip = accepts_gzip(request.headers());
    let mut response = if request.method() == Method::OPTIONS {
        StatusCode::NO_CONTENT.into_response()
    } else {
        next.run(request).await
    };
    if gzip {
        response = compress(response, &cpu).await;
    }
    let headers = response.headers_mut();
    headers.append(VARY, HeaderValue::from_static("Accept-Encoding"));
    headers.append(VARY, HeaderValue::from_static("Origin"));
    if let Some(origin) = origin {
        allow(headers, origin);
    }
    response
}

fn allow(headers: &mut HeaderMap, origin: HeaderValue) {
    headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    for (name, value) in [
        (ACCESS_CONTROL_ALLOW_HEADERS, "Accept, Authorization, Content-Type, Origin"),
        (ACCESS_CONTROL_ALLOW_METHODS, "GET, POST, OPTIONS"),
        (ACCESS_CONTROL_EXPOSE_HEADERS, "Date"),
    ] {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

/// Whether gzip is among the codings that the client names with a weight above 0.
fn accepts_gzip(headers: &HeaderMap) -> bool {
    headers.get_all(ACCEPT_ENCODING).iter().filter_map(|v| v.to_str().ok()).flat_map(|v| v.split(',')).any(
        |coding| {
            let mut parts = coding.split(';').map(str::trim);
            let name = parts.next().unwrap_or("");
            let refused = parts
                .filter_map(|p| p.strip_prefix("q="))
                .any(|q| q.parse::<f64>().is_ok_and(|weight| weight <= 0.0));
            (name.eq_ignore_ascii_case("gzip") || name == "*") && !refused
        },
    )
}

/// Compresses a body whose size is known, off the event loop.
async fn compress(response: Response, cpu: &CpuPool) -> Response {
    let large = response.body().size_hint().exact().is_some_and(|n| n >= MIN_GZIP_BYTES);
    if !large || response.headers().contains_key(CONTENT_ENCODING) {
        return response;
    }
    let (mut head, body) = response.into_parts();
    // The size is known, so the body is in memory already and bounded by what made it.
    let plain = match axum::body::to_bytes(body, usize::MAX).await {
        Ok(plain) => plain,
        Err(e) => return (StatusCode::INTERNAL_SERVER_ERROR, e.to_string()).into_response(),
    };
    let source = plain.clone();
    match cpu.run(move || gzip(&source)).await {
        Ok(Ok(packed)) => {
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            head.headers.remove(CONTENT_LENGTH);
            Response::from_parts(head, Body::from(packed))
        }
        // Nothing is lost but bandwidth.
        _ => Response::from_parts(head, Body::from(plain)),
    }
}

fn gzip(plain: &[u8]) -> std::io::Result<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 8), Compression::fast());
    encoder.write_all(plain)?;
    encoder.finish()
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::routing::get;
    use std::io::Read;
    use tower::ServiceExt;

    fn router() -> Router {
        let routes = Router::new()
            .route("/long", get(|| async { "x".repeat(5000) }))
            .route("/short", get(|| async { "x" }));
        edge(routes, CpuPool::inline())
    }

    async fn ask(method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
        let mut request = Request::builder().method(method).uri(path);
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        router().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
    }

    #[tokio::test]
    async fn long_answers_are_compressed_for_who_asks() {
        for (path, accept, packed) in [
            ("/long", "gzip, deflate", true),
            ("/long", "deflate, GZIP;q=0.5", true),
            ("/long", "*", true),
            ("/long", "gzip;q=0", false),
            ("/long", "br", false),
            ("/short", "gzip", false),
        ] {
            let response = ask("GET", path, &[("accept-encoding", accept)]).await;
            assert_eq!(response.headers().contains_key(CONTENT_ENCODING), packed, "{path} {accept}");
            let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
            let mut plain = String::new();
            if packed {
                assert!(body.len() < 1000);
                flate2::read::GzDecoder::new(&body[..]).read_to_string(&mut plain).unwrap();
            } else {
                plain = String::from_utf8(body.to_vec()).unwrap();
            }
            assert!(plain.bytes().all(|b| b == b'x'));
        }
    }

    #[tokio::test]
    async fn paths_that_are_not_clean_are_sent_to_those_that_are() {
        for (path, to) in [
            ("//api/v1/query?query=1", "/api/v1/query?query=1"),
            ("/api//v1///query", "/api/v1/query"),
            ("/api/v1/./x/../query/", "/api/v1/query/"),
            ("//evil.example/", "/evil.example/"),
            ("/../..", "/"),
        ] {
            let response = not_found(path.parse().unwrap()).await;
            assert_eq!(response.status(), StatusCode::TEMPORARY_REDIRECT, "{path}");
            assert_eq!(response.headers()[LOCATION], to, "{path}");
        }
        assert_eq!(not_found("/api/v1/nothing?a=//".parse().unwrap()).await.status(), StatusCode::NOT_FOUND);
    }

    #[tokio::test]
    async fn an_origin_is_answered_and_a_preflight_is_empty() {
        let response = ask("GET", "/short", &[("origin", "http://a.example")]).await;
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_ORIGIN], "http://a.example");
        assert_eq!(response.headers()[ACCESS_CONTROL_ALLOW_METHODS], "GET, POST, OPTIONS");
        let response = ask("GET", "/short", &[]).await;
        assert!(!response.headers().contains_key(ACCESS_CONTROL_ALLOW_ORIGIN));
        assert_eq!(response.headers().get_all(VARY).iter().count(), 2);
        assert_eq!(ask("OPTIONS", "/short", &[]).await.status(), StatusCode::NO_CONTENT);
        assert_eq!(ask("DELETE", "/short", &[]).await.status(), StatusCode::METHOD_NOT_ALLOWED);
    }
}
