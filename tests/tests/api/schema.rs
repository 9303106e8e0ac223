//! A validator for the part of JSON Schema that Prometheus' OpenAPI document uses.

use anyhow::{Context, Result};
use cairn_tests::conformance::conformance;
use serde_json::Value;

/// The document.
pub struct OpenApi(Value);

impl OpenApi {
    /// Reads the golden document, or `None` where there is no conformance data.
    pub fn load() -> Result<Option<Self>> {
        let Some(path) = conformance("openapi/openapi_3.2_golden.yaml") else { return Ok(None) };
        let text = std::fs::read_to_string(&path)?;
        let document = serde_saphyr::from_str(&text).with_context(|| path.display().to_string())?;
        Ok(Some(OpenApi(document)))
    }

    /// The schema of what `method path` answers with `status`; `None` where the document does not say.
    pub fn schema(&self, method: &str, path: &str, status: u16) -> Option<&Value> {
        let mut below = path.split('?').next()?.strip_prefix("/api/v1")?.to_owned();
        if below.starts_with("/label/") {
            below = "/label/{name}/values".to_owned();
        }
        let responses = self.0["paths"].get(&below)?.get(method.to_ascii_lowercase())?.get("responses")?;
        let response = responses.get(status.to_string()).or_else(|| responses.get("default"))?;
        response.get("content")?.get("application/json")?.get("schema")
    }

    /// Why `value` is not what `schema` says.
    pub fn violation(&self, schema: &Value, value: &Value, place: &str) -> Option<String> {
        if let Some(reference) = schema["$ref"].as_str() {
            let pointer = reference.trim_start_matches('#');
            let Some(target) = self.0.pointer(pointer) else {
                return Some(format!("{reference} is nowhere"));
            };
            return self.violation(target, value, place);
        }
        for (key, exactly_one) in [("anyOf", false), ("oneOf", true)] {
            let Some(options) = schema[key].as_array() else { continue };
            let reasons: Vec<String> =
                options.iter().filter_map(|o| self.violation(o, value, place)).collect();
            let fits = options.len() - reasons.len();
            if fits == 0 || (exactly_one && fits > 1) {
                return Some(format!(
                    "{place}: {fits} of {} options fit: {}",
                    options.len(),
                    reasons.join("; ")
                ));
            }
        }
        if let Some(kind) = schema["type"].as_str().filter(|kind| !is_a(value, kind)) {
            return Some(format!("{place}: {value} is no {kind}"));
        }
        if let Some(allowed) = schema["enum"].as_array().filter(|allowed| !allowed.contains(value)) {
            return Some(format!("{place}: {value} is none of {allowed:?}"));
        }
        match value {
            Value::Object(fields) => self.object(schema, fields, place),
            Value::Array(items) => {
                let n = items.len() as u64;
                let too_few = schema["minItems"].as_u64().is_some_and(|least| n < least);
                let too_many = schema["maxItems"].as_u64().is_some_and(|most| n > most);
                if too_few || too_many {
                    return Some(format!("{place}: {n} entries"));
                }
                let of = schema.get("items")?;
                items.iter().enumerate().find_map(|(i, v)| self.violation(of, v, &format!("{place}[{i}]")))
            }
            _ => None,
        }
    }

    fn object(&self, schema: &Value, fields: &serde_json::Map<String, Value>, place: &str) -> Option<String> {
        let required = schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str);
        if let Some(missing) = required.into_iter().find(|name| !fields.contains_key(*name)) {
            return Some(format!("{place}: {missing} is missing"));
        }
        fields.iter().find_map(|(name, value)| {
            let place = format!("{place}.{name}");
            match (schema["properties"].get(name), &schema["additionalProperties"]) {
                (Some(of), _) => self.violation(of, value, &place),
                (None, Value::Bool(false)) => Some(format!("{place} is not in the schema")),
                (None, of @ Value::Object(_)) => self.violation(of, value, &place),
                _ => None,
            }
        })
    }
}

fn is_a(value: &Value, kind: &str) -> bool {
    match kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "boolean" => value.is_boolean(),
        "number" => value.is_number(),
        "integer" => value.is_i64() || value.is_u64(),
        _ => false,
    }
}

#[test]
fn what_breaks_a_schema_is_named() {
    use serde_json::json;
    let api = OpenApi(json!({"components": {"schemas": {"N": {"type": "number"}}}}));
    let schema = json!({
        "type": "object", "required": ["a"], "additionalProperties": false,
        "properties": {
            "a": {"type": "array", "maxItems": 2, "items": {"$ref": "#/components/schemas/N"}},
            "b": {"oneOf": [{"type": "string"}, {"type": "number"}]},
            "c": {"enum": ["x"]},
        },
    });
    let breaks = |value: Value| api.violation(&schema, &value, "");
    assert_eq!(breaks(json!({"a": [1, 2.5], "b": "x", "c": "x"})), None);
    for (value, part) in [
        (json!([]), "is no object"),
        (json!({}), "a is missing"),
        (json!({"a": ["x"]}), ".a[0]: \"x\" is no number"),
        (json!({"a": [1, 2, 3]}), "3 entries"),
        (json!({"a": [], "b": true}), "0 of 2 options"),
        (json!({"a": [], "c": "y"}), "is none of"),
        (json!({"a": [], "d": 1}), ".d is not in the schema"),
    ] {
        assert!(
            breaks(value.clone()).is_some_and(|why| why.contains(part)),
            "{value}: {:?}",
            breaks(value.clone())
        );
    }
}
