//! What series there are: `/labels`, `/label/<name>/values`, `/series`.

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use cairn_model::labels::Labels;
use cairn_model::matcher::Matcher;
use cairn_model::storage::{LabelsRequest, Names, Queryable, SeriesRequest};
use cairn_model::tenant::TenantScope;

use super::Api;
use super::answer::{Answer, TRUNCATED};
use super::encode::{labels_size, write_long_list};
use super::error::Failure;
use super::params::{Params, invalid};
use crate::json::{write_labels, write_strings};

/// `/api/v1/labels`
pub async fn labels(State(api): State<Api>, request: Request) -> Result<Answer, Failure> {
    let p = Params::read(request).await?;
    let (limit, requests) = label_requests(&p)?;
    let view = api.view(&p)?;
    let mut found = Names::default();
    for request in requests {
        absorb(&mut found, view.label_names(request).await?);
    }
    Ok(names_answer(found, limit))
}

/// `/api/v1/label/<name>/values`
pub async fn label_values(
    State(api): State<Api>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Answer, Failure> {
    let Path(name) = name.map_err(|_| Failure::bad_data("invalid label name: it is not UTF-8"))?;
    let p = Params::read(request).await?;
    let name = unescape_name(&name);
    if name.is_empty() {
        return Err(Failure::bad_data("invalid label name: \"\""));
    }
    let (limit, requests) = label_requests(&p)?;
    let view = api.view(&p)?;
    let mut found = Names::default();
    for request in requests {
        absorb(&mut found, view.label_values(&name, request).await?);
    }
    Ok(names_answer(found, limit))
}

/// `/api/v1/series`
pub async fn series(State(api): State<Api>, request: Request) -> Result<Answer, Failure> {
    let p = Params::read(request).await?;
    let selectors = selectors(&p).map_err(|why| invalid("match[]", why))?;
    if selectors.is_empty() {
        return Err(Failure::bad_data("no match[] parameter provided"));
    }
    let ((min_ms, max_ms), limit) = (p.range()?, p.limit()?);
    let view = api.view(&p)?;
    let mut found: Vec<Labels> = Vec::new();
    let mut warnings = Vec::new();
    let several = selectors.len() > 1;
    for matchers in selectors {
        let mut request = SeriesRequest::new(min_ms, max_ms, matchers);
        request.skip_chunks = true;
        request.tenants = scope(&p);
        // One more than asked for tells that there are more.
        request.limit = if limit == 0 { 0 } else { limit + 1 };
        let selected = view.select(request).await?;
        found.extend(selected.series.into_iter().map(|s| s.labels));
        warnings.extend(selected.warnings);
    }
    if several {
        found.sort();
        found.dedup();
    }
    if limit > 0 && found.len() > limit {
        found.truncate(limit);
        warnings.push(TRUNCATED.to_owned());
    }
    let (mut data, cpu) = (Vec::new(), &api.runtime.cpu);
    write_long_list(&mut data, &found, cpu, labels_size, |out, l| write_labels(out, l.as_ref()));
    cpu.drop_behind(found);
    Ok(Answer { data, warnings, infos: vec![] })
}

/// The `match[]` parameters; the error is the reason alone, as the endpoints word it differently.
fn selectors(p: &Params) -> Result<Vec<Vec<Matcher>>, String> {
    p.all("match[]")
        .map(|text| {
            let matchers = cairn_promql::parser::parse_selector(text).map_err(|e| e.to_string())?;
            if matchers.iter().all(Matcher::matches_empty) {
                return Err("match[] must contain at least one non-empty matcher".to_owned());
            }
            Ok(matchers)
        })
        .collect()
}

/// Tenants that the caller may read.
pub fn scope(p: &Params) -> TenantScope {
    p.tenants.clone().unwrap_or(TenantScope::All)
}

/// One request a selector; one without matchers when there is none. Each asks for one name more than the limit,
/// which tells that there are more.
fn label_requests(p: &Params) -> Result<(usize, Vec<LabelsRequest>), Failure> {
    let ((min_ms, max_ms), limit) = (p.range()?, p.limit()?);
    let mut lists = selectors(p).map_err(Failure::bad_data)?;
    if lists.is_empty() {
        lists.push(Vec::new());
    }
    let tenants = scope(p);
    let ask = if limit == 0 { 0 } else { limit + 1 };
    let request = |matchers| LabelsRequest { tenants: tenants.clone(), min_ms, max_ms, matchers, limit: ask };
    Ok((limit, lists.into_iter().map(request).collect()))
}

fn absorb(found: &mut Names, more: Names) {
    found.values.extend(more.values);
    found.warnings.extend(more.warnings);
    found.values.sort_unstable();
    found.values.dedup();
}

fn names_answer(mut found: Names, limit: usize) -> Answer {
    if limit > 0 && found.values.len() > limit {
        found.values.truncate(limit);
        found.warnings.push(TRUNCATED.to_owned());
    }
    let mut data = Vec::new();
    write_strings(&mut data, &found.values);
    Answer { data, warnings: found.warnings, infos: vec![] }
}

/// `U__` names: Prometheus' escaping of UTF-8 label names in paths; `_xx_` is a code point, `__` an underscore.
fn unescape_name(name: &str) -> String {
    let Some(mut rest) = name.strip_prefix("U__") else { return name.to_owned() };
    let mut out = String::new();
    while let Some(c) = rest.chars().next() {
        rest = &rest[c.len_utf8()..];
        if c != '_' {
            out.push(c);
            continue;
        }
        let Some((hex, after)) = rest.split_once('_') else { return name.to_owned() };
        if hex.is_empty() {
            out.push('_');
        } else {
            match u32::from_str_radix(hex, 16).ok().and_then(char::from_u32) {
                Some(decoded) if hex.len() <= 6 => out.push(decoded),
                _ => return name.to_owned(), // not an escape after all
            }
        }
        rest = after;
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read_back() {
        for (escaped, name) in [
            ("job", "job"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U___263a_", "☺"),
            ("U__x_zz_", "U__x_zz_"),
        ] {
            assert_eq!(unescape_name(escaped), name);
        }
    }
}
