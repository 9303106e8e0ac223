//! Whose data a request is about, from its headers.
//!
//! Two headers are read, Thanos' and Mimir's. A header may be repeated and both may be sent as long as they
//! agree: of two different names neither is believed.

use cairn_model::tenant::{InvalidTenant, TenantId, TenantScope};
use http::{HeaderMap, HeaderName};

/// Thanos' tenant header.
pub const THANOS_TENANT: HeaderName = HeaderName::from_static("thanos-tenant");
/// Cortex' and Mimir's tenant header.
pub const SCOPE_ORG_ID: HeaderName = HeaderName::from_static("x-scope-orgid");

/// Separates tenants in a read that spans several, as in Mimir.
const SCOPE_SEPARATOR: char = '|';

/// Why the headers name no tenant: 400.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TenantError {
    /// See [`TenantId::new`].
    #[error("cannot read the tenant: {0}")]
    Invalid(#[from] InvalidTenant),
    /// Bytes that are no visible ASCII.
    #[error("cannot read the tenant: header {0} is not plain ASCII text")]
    NotText(HeaderName),
    /// Two names.
    #[error("cannot tell the tenant: the headers name both {0:?} and {1:?}, send one")]
    Ambiguous(String, String),
}

/// The tenant that the headers name, or `None` when no header is there or all are empty.
///
/// # Errors
/// [`TenantError`] when a name breaks the grammar or two names differ.
pub fn tenant(headers: &HeaderMap) -> Result<Option<TenantId>, TenantError> {
    named(headers)?.map(TenantId::new).transpose().map_err(TenantError::from)
}

/// The tenants that a read is about: those named, separated by `|`, or all.
///
/// # Errors
/// [`TenantError`] when a name breaks the grammar or two headers differ.
pub fn read_scope(headers: &HeaderMap) -> Result<TenantScope, TenantError> {
    let Some(names) = named(headers)? else { return Ok(TenantScope::All) };
    let mut tenants = names.split(SCOPE_SEPARATOR).map(TenantId::new).collect::<Result<Vec<_>, _>>()?;
    tenants.sort();
    tenants.dedup();
    Ok(TenantScope::Only(tenants))
}

fn named(headers: &HeaderMap) -> Result<Option<&str>, TenantError> {
    let mut found: Option<&str> = None;
    for header in [THANOS_TENANT, SCOPE_ORG_ID] {
        for value in headers.get_all(&header) {
            let text = value.to_str().map_err(|_| TenantError::NotText(header.clone()))?;
            match found {
                _ if text.is_empty() => {}
                Some(other) if other != text => {
                    let short = |s: &str| s.chars().take(160).collect::<String>();
                    return Err(TenantError::Ambiguous(short(other), short(text)));
                }
                _ => found = Some(text),
            }
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in pairs {
            map.append(*name, HeaderValue::from_bytes(value.as_bytes()).unwrap());
        }
        map
    }

    #[test]
    fn both_headers_are_read_and_must_agree() {
        for (pairs, want) in [
            (&[][..], Ok(None)),
            (&[("thanos-tenant", "")], Ok(None)),
            (&[("thanos-tenant", "a")], Ok(Some("a"))),
            (&[("x-scope-orgid", "b")], Ok(Some("b"))),
            (&[("thanos-tenant", "a"), ("x-scope-orgid", "a")], Ok(Some("a"))),
            (&[("thanos-tenant", ""), ("x-scope-orgid", "b")], Ok(Some("b"))),
            (&[("thanos-tenant", "a"), ("thanos-tenant", "a")], Ok(Some("a"))),
            (&[("thanos-tenant", "a"), ("x-scope-orgid", "b")], Err("both")),
            (&[("thanos-tenant", "a"), ("thanos-tenant", "b")], Err("both")),
            (&[("thanos-tenant", "../etc")], Err("invalid tenant name")),
            (&[("thanos-tenant", "_system")], Err("invalid tenant name")),
            (&[("thanos-tenant", "a|b")], Err("invalid tenant name")),
            (&[("x-scope-orgid", "ü")], Err("not plain ASCII")),
        ] {
            match (tenant(&headers(pairs)), want) {
                (Ok(got), Ok(want)) => assert_eq!(got.as_ref().map(TenantId::as_str), want, "{pairs:?}"),
                (Err(got), Err(want)) => assert!(got.to_string().contains(want), "{got}"),
                (got, want) => panic!("{pairs:?}: {got:?}, not {want:?}"),
            }
        }
    }

    #[test]
    fn a_read_may_span_tenants() {
        let only =
            |names: &[&str]| TenantScope::Only(names.iter().map(|n| TenantId::new(n).unwrap()).collect());
        assert_eq!(read_scope(&headers(&[])), Ok(TenantScope::All));
        assert_eq!(read_scope(&headers(&[("x-scope-orgid", "b|a|b")])), Ok(only(&["a", "b"])));
        assert!(read_scope(&headers(&[("x-scope-orgid", "b||a")])).is_err());
    }
}
