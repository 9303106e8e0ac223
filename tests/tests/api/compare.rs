//! What differs between two answers that should be equal.
//!
//! cairn's external label `tenant_id` is dropped. Series, warnings and infos are compared as sets: their order is not
//! promised. Numbers may differ by a relative 1e-9. Times that an evaluation took are not compared, nor
//! how many samples it held at a time, which is the engine's own affair.

use serde_json::Value;

/// Relative difference that two values may have.
const TOLERANCE: f64 = 1e-9;
/// Label that only cairn has.
const TENANT: &str = "tenant_id";
/// Fields that say how an engine works, not what it found; `analysis` is Thanos'.
const OWN_AFFAIRS: [&str; 3] = ["timings", "peakSamples", "analysis"];

/// An answer as it is compared.
pub fn normal(value: Value) -> Value {
    match value {
        Value::Object(fields) => fields
            .into_iter()
            .filter(|(name, _)| name != TENANT && !OWN_AFFAIRS.contains(&name.as_str()))
            .map(|(name, value)| {
                let value = normal(value);
                let unordered = match name.as_str() {
                    "result" | "warnings" | "infos" => true,
                    // Label sets of `/api/v1/series`; names and values are promised in order.
                    "data" => value.as_array().is_some_and(|items| items.iter().all(Value::is_object)),
                    _ => false,
                };
                (name, if unordered { sorted(value) } else { value })
            })
            .collect(),
        Value::Array(items) => items.into_iter().filter(|i| i.as_str() != Some(TENANT)).map(normal).collect(),
        other => other,
    }
}

fn sorted(value: Value) -> Value {
    match value {
        Value::Array(mut items) if items.iter().any(|i| i.is_object() || i.is_string()) => {
            // By labels alone, as values differ in their last digits.
            items.sort_by_key(|i| i.get("metric").unwrap_or(i).to_string());
            Value::Array(items)
        }
        other => other,
    }
}

/// The first difference, with its place; `points` counts the values `[t,"v"]` that were equal.
pub fn difference(wanted: &Value, got: &Value, place: &str, points: &mut usize) -> Option<String> {
    match (wanted, got) {
        (Value::Object(w), Value::Object(g)) => {
            let keys = |m: &serde_json::Map<String, Value>| {
                let mut keys: Vec<String> = m.keys().cloned().collect();
                keys.sort();
                keys
            };
            if keys(w) != keys(g) {
                return Some(format!("{place}: fields {:?}, got {:?}", keys(w), keys(g)));
            }
            w.iter().find_map(|(k, v)| difference(v, &g[k], &format!("{place}.{k}"), points))
        }
        (Value::Array(w), Value::Array(g)) => {
            if w.len() != g.len() {
                return Some(format!("{place}: {} entries, got {}", w.len(), g.len()));
            }
            if let ([t, value], true) = (w.as_slice(), w.len() == 2) {
                *points += usize::from(t.is_number() && value.is_string());
            }
            let each = w.iter().zip(g).enumerate();
            each.into_iter().find_map(|(i, (w, g))| difference(w, g, &format!("{place}[{i}]"), points))
        }
        (Value::String(w), Value::String(g)) if w != g && close(w, g) => None,
        (Value::Number(w), Value::Number(g)) if w.as_f64() == g.as_f64() => None,
        (w, g) if w == g => None,
        (w, g) => Some(format!("{place}: wanted {w}, got {g}")),
    }
}

fn close(a: &str, b: &str) -> bool {
    match (a.parse::<f64>(), b.parse::<f64>()) {
        (Ok(a), Ok(b)) => a == b || (a - b).abs() <= TOLERANCE * a.abs().max(b.abs()),
        _ => false,
    }
}

#[test]
fn a_difference_is_found_and_noise_is_not() {
    use serde_json::json;
    let answer =
        |value: &str, label: &str| json!({"result": [{"metric": {"a": label}, "value": [1, value]}]});
    let differs = |w: Value, g: Value| difference(&normal(w), &normal(g), "", &mut 0);
    assert_eq!(differs(answer("1.00000000001", "x"), answer("1", "x")), None);
    assert_eq!(
        differs(answer("1.00001", "x"), answer("1", "x")).unwrap(),
        ".result[0].value[1]: wanted \"1.00001\", got \"1\""
    );
    assert!(differs(answer("1", "x"), answer("1", "y")).is_some());
    assert!(differs(answer("NaN", "x"), answer("1", "x")).is_some());
    assert_eq!(differs(json!({"tenant_id": 1}), json!({})), None);
    assert!(differs(json!([1]), json!([])).is_some());
}
