//! The query templates of the PromQL compliance suite (`conformance/promql`), written out.

/// What stands for an argument of a template; nothing for one that is not known.
pub fn variants(arg: &str) -> &'static [&'static str] {
    match arg {
        "range" => &["1s", "15s", "1m", "5m", "15m", "1h"],
        "offset" => &["1m", "5m", "10m"],
        "simpleAggrOp" => &["sum", "avg", "max", "min", "count", "stddev", "stdvar"],
        "simpleTimeAggrOp" => {
            &["sum", "avg", "max", "min", "count", "stddev", "stdvar", "absent", "last", "present"]
        }
        "topBottomOp" => &["topk", "bottomk"],
        "quantile" => &["-0.5", "0.1", "0.5", "0.75", "0.95", "0.90", "0.99", "1", "1.5"],
        "arithBinOp" => &["+", "-", "*", "/", "%", "^"],
        "compBinOp" => &["==", "!=", "<", ">", "<=", ">="],
        "binOp" => &["+", "-", "*", "/", "%", "^", "==", "!=", "<", ">", "<=", ">="],
        "simpleMathFunc" => &["abs", "ceil", "floor", "exp", "sqrt", "ln", "log2", "log10", "round"],
        "extrapolatedRateFunc" => &["delta", "rate", "increase"],
        "clampFunc" => &["clamp_min", "clamp_max"],
        "instantRateFunc" => &["idelta", "irate"],
        "dateFunc" => &["day_of_month", "day_of_week", "days_in_month", "hour", "minute", "month", "year"],
        _ => &[],
    }
}

/// `template` with each `{{.argument}}` set to each of its [`variants`].
///
/// # Panics
/// When an argument is not known.
pub fn expand(template: &str) -> Vec<String> {
    let Some((before, rest)) = template.split_once("{{.") else { return vec![template.to_owned()] };
    let (arg, after) =
        rest.split_once("}}").unwrap_or_else(|| panic!("{template}: an argument does not end"));
    let values = variants(arg);
    assert!(!values.is_empty(), "{template}: no values for the argument {arg}");
    let rests = expand(after);
    values.iter().flat_map(|value| rests.iter().map(move |rest| format!("{before}{value}{rest}"))).collect()
}

/// The templates of the suite's YAML file, in order.
pub fn of_suite(yaml: &str) -> Vec<String> {
    let lines = yaml.lines().filter_map(|line| line.trim().strip_prefix("- query: "));
    lines.map(|scalar| unquote(scalar.trim())).collect()
}

/// YAML doubles single quotes within single quotes, and escapes double ones.
fn unquote(scalar: &str) -> String {
    if let Some(inner) = scalar.strip_prefix('\'').and_then(|s| s.strip_suffix('\'')) {
        return inner.replace("''", "'");
    }
    let inner = scalar.strip_prefix('"').and_then(|s| s.strip_suffix('"')).unwrap_or(scalar);
    inner.replace("\\\"", "\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_combination_of_arguments_is_written_out() {
        assert_eq!(expand("up"), ["up"]);
        assert_eq!(expand("{{.clampFunc}}(x, 1)"), ["clamp_min(x, 1)", "clamp_max(x, 1)"]);
        let both = expand("{{.instantRateFunc}}(x[{{.range}}])");
        assert_eq!(both.len(), 12);
        assert_eq!(both[7], "irate(x[15s])");
    }

    #[test]
    fn queries_are_taken_out_of_their_quotes() {
        let yaml =
            "test_cases:\n  - query: 'a{b=\"c''\"}'\n    variant_args: ['range']\n  - query: \"d\\\"\"\n";
        assert_eq!(of_suite(yaml), ["a{b=\"c'\"}", "d\""]);
    }
}
