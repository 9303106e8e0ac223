//! Parameters of `/api/v1/rules`.

use cairn_model::rules::RulesFilter;
use cairn_promql::parser;

/// What to list.
#[derive(Debug, Clone, Default)]
pub struct RulesParams {
    /// `type`, `rule_name[]`, `rule_group[]`, `file[]`, `match[]`.
    pub filter: RulesFilter,
    /// `exclude_alerts`
    pub exclude_alerts: bool,
    /// `group_limit`: groups a page; `None` is all.
    pub group_limit: Option<usize>,
    /// `group_next_token`: where the page begins.
    pub next_token: Option<String>,
}

/// A parameter that cannot be used; the text is the API's error.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid parameter {name:?}: {reason}")]
pub struct InvalidParam {
    /// Which.
    pub name: String,
    /// Why.
    pub reason: String,
}

fn invalid(name: &str, reason: impl Into<String>) -> InvalidParam {
    InvalidParam { name: name.to_owned(), reason: reason.into() }
}

impl RulesParams {
    /// Reads decoded (name, value) pairs. Unknown parameters are ignored, as Prometheus does.
    ///
    /// # Errors
    /// The first parameter that cannot be used.
    pub fn parse<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<RulesParams, InvalidParam> {
        let mut params = RulesParams::default();
        for (name, value) in pairs {
            match name {
                "type" => params.filter.alerting = rule_type(value)?,
                "rule_name[]" => params.filter.names.push(value.to_owned()),
                "rule_group[]" => params.filter.groups.push(value.to_owned()),
                "file[]" => params.filter.files.push(value.to_owned()),
                "match[]" => {
                    let matchers = parser::parse_selector(value).map_err(|e| invalid(name, e.to_string()))?;
                    params.filter.selectors.push(matchers);
                }
                "exclude_alerts" => params.exclude_alerts = boolean(name, value)?,
                "group_limit" if !value.is_empty() => params.group_limit = Some(group_limit(name, value)?),
                "group_next_token" if !value.is_empty() => params.next_token = Some(value.to_owned()),
                _ => {}
            }
        }
        if params.next_token.is_some() && params.group_limit.is_none() {
            let reason = "group_limit needs to be present in order to paginate over the groups";
            return Err(invalid("group_next_token", reason));
        }
        Ok(params)
    }
}

fn rule_type(value: &str) -> Result<Option<bool>, InvalidParam> {
    match value.to_ascii_lowercase().as_str() {
        "" => Ok(None),
        "alert" => Ok(Some(true)),
        "record" => Ok(Some(false)),
        _ => Err(invalid("type", format!("not supported value {value:?}"))),
    }
}

/// Booleans as Go's `ParseBool` takes them.
fn boolean(name: &str, value: &str) -> Result<bool, InvalidParam> {
    match value {
        "" | "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
        _ => {
            let reason = "error converting exclude_alerts: strconv.ParseBool";
            Err(invalid(name, format!("{reason}: parsing {value:?}: invalid syntax")))
        }
    }
}

/// Groups a page, in the words of Prometheus where it is none.
fn group_limit(name: &str, value: &str) -> Result<usize, InvalidParam> {
    use std::num::IntErrorKind::{NegOverflow, PosOverflow};
    let reason = match value.parse::<i64>() {
        Ok(n) if n > 0 => return Ok(n as usize),
        Ok(_) => "group_limit needs to be greater than 0".to_owned(),
        Err(e) => {
            let why = match e.kind() {
                PosOverflow | NegOverflow => "value out of range",
                _ => "invalid syntax",
            };
            format!("group_limit needs to be a valid number: strconv.ParseInt: parsing {value:?}: {why}")
        }
    };
    Err(invalid(name, reason))
}
