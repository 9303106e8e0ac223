//! What series there are: `/labels`, `/label/<name>/values`, `/series`. They are bounded as queries are, see
//! [`crate::reading`].

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use cairn_model::labels::Labels;
use cairn_model::matcher::Matcher;
use cairn_model::storage::{LabelsRequest, Queryable, SelectedSeries, SeriesRequest, StoreError};
use cairn_model::tenant::TenantScope;
use cairn_model::{NameSet, ReadBounds};
use cairn_promql::engine::QueryError;

use super::answer::{Answer, TRUNCATED};
use super::encode::{labels_size, write_long_list};
use super::error::{self, Failure};
use super::params::{Params, invalid};
use super::{Api, QueryApi};
use crate::json::{write_labels, write_strings};
use crate::reading::Reading;

/// `/api/v1/labels`
pub async fn labels(State(api): State<Api>, request: Request) -> Result<Answer, Failure> {
    let p = Params::read(request).await?;
    names(&api, &p, None).await
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
    names(&api, &p, Some(&name)).await
}

/// The names of labels, or the values of one, that any of the selectors finds.
async fn names(api: &QueryApi, p: &Params, name: Option<&str>) -> Result<Answer, Failure> {
    let (range, limit) = (p.range()?, p.limit()?);
    let mut lists = selectors(p).map_err(Failure::bad_data)?;
    if lists.is_empty() {
        lists.push(Selector { text: "{}".to_owned(), matchers: Vec::new() });
    }
    let view = api.view(p)?;
    let tenants = scope(p);
    let reading = Reading::begin(&api.engine, &tenants);
    let work = async {
        let mut found = NameSet::new(one_more(limit), reading.bounds().clone());
        let mut warnings = Vec::new();
        for Selector { text, matchers } in lists {
            let request = LabelsRequest {
                tenants: tenants.clone(),
                limit: one_more(limit),
                bounds: reading.bounds().clone(),
                ..LabelsRequest::new(range.0, range.1, matchers)
            };
            let culprit = culprit(name, &text);
            let more = match name {
                None => view.label_names(request).await,
                Some(name) => view.label_values(name, request).await,
            };
            let more = more.map_err(error::reading(&culprit))?;
            warnings.extend(more.warnings);
            let _ = more.values.iter().try_for_each(|value| found.add(value));
        }
        let all = if name.is_none() { "label names" } else { "label values" };
        Ok((found.finish().map_err(error::reading(all))?, warnings))
    };
    let (mut values, mut warnings) = reading.in_time(late("reading labels"), work).await?;
    if limit > 0 && values.len() > limit {
        values.truncate(limit);
        warnings.push(TRUNCATED.to_owned());
    }
    let mut data = Vec::new();
    write_strings(&mut data, &values);
    Ok(Answer { data, warnings, infos: vec![] })
}

/// What a message calls the names, or the values of a name, that a selector finds.
fn culprit(name: Option<&str>, selector: &str) -> String {
    match name {
        None => format!("label names of {selector}"),
        Some(name) => format!("values of label {name} of {selector}"),
    }
}

/// `/api/v1/series`
pub async fn series(State(api): State<Api>, request: Request) -> Result<Answer, Failure> {
    let p = Params::read(request).await?;
    let selectors = selectors(&p).map_err(|why| invalid("match[]", why))?;
    if selectors.is_empty() {
        return Err(Failure::bad_data("no match[] parameter provided"));
    }
    let (range, limit) = (p.range()?, p.limit()?);
    let view = api.view(&p)?;
    let tenants = scope(&p);
    let reading = Reading::begin(&api.engine, &tenants);
    let work = async {
        let mut found = Found::default();
        for selector in selectors {
            let request = SeriesRequest {
                skip_chunks: true,
                tenants: tenants.clone(),
                limit: one_more(limit),
                bounds: reading.bounds().clone(),
                ..SeriesRequest::new(range.0, range.1, selector.matchers)
            };
            let (asked, bounds) = (request.limit, reading.bounds());
            let selected = view.select(request).await.map_err(error::reading(&selector.text))?;
            found.absorb(selected, asked, bounds).map_err(error::reading("all selectors together"))?;
        }
        Ok(found)
    };
    let Found { mut series, mut warnings } = reading.in_time(late("reading series"), work).await?;
    if limit > 0 && series.len() > limit {
        series.truncate(limit);
        warnings.push(TRUNCATED.to_owned());
    }
    let (mut data, cpu) = (Vec::new(), &api.runtime.cpu);
    write_long_list(&mut data, &series, cpu, labels_size, |out, l| write_labels(out, l.as_ref()));
    cpu.drop_behind(series);
    Ok(Answer { data, warnings, infos: vec![] })
}

/// What the selectors of a request have found so far.
#[derive(Default)]
struct Found {
    series: Vec<Labels>,
    warnings: Vec<String>,
}

impl Found {
    /// Adds what one more selector has found. Of all of them the first `limit` are of use, 0 = all.
    fn absorb(
        &mut self,
        selected: SelectedSeries,
        limit: usize,
        bounds: &ReadBounds,
    ) -> Result<(), StoreError> {
        let is_first = self.series.is_empty();
        self.series.extend(selected.series.into_iter().map(|s| s.labels));
        self.warnings.extend(selected.warnings);
        if !is_first {
            self.series.sort();
            self.series.dedup();
        }
        if limit > 0 {
            self.series.truncate(limit);
        }
        bounds.admit(self.series.len(), self.series.iter().map(|l| l.as_bytes().len()).sum(), limit)
    }
}

/// One more than asked for tells that there are more; 0 is no limit.
fn one_more(limit: usize) -> usize {
    if limit == 0 { 0 } else { limit.saturating_add(1) }
}

/// What a call is answered that runs out of time.
fn late(what: &'static str) -> Failure {
    QueryError::Timeout(what).into()
}

/// A `match[]` parameter.
struct Selector {
    text: String,
    matchers: Vec<Matcher>,
}

/// The `match[]` parameters; the error is the reason alone, as the endpoints word it differently.
fn selectors(p: &Params) -> Result<Vec<Selector>, String> {
    p.all("match[]")
        .map(|text| {
            let matchers = cairn_promql::parser::parse_selector(text).map_err(|e| e.to_string())?;
            if matchers.iter().all(Matcher::matches_empty) {
                return Err("match[] must contain at least one non-empty matcher".to_owned());
            }
            Ok(Selector { text: text.to_owned(), matchers })
        })
        .collect()
}

/// Tenants that the caller may read.
pub fn scope(p: &Params) -> TenantScope {
    p.tenants.clone().unwrap_or(TenantScope::All)
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
