//! Nothing a template says makes the engine panic, run on, or grow beyond its limits.

use std::collections::BTreeMap;
use std::sync::Arc;

use cairn_template::{
    Env, NoQueries, Queries, QueryAnswer, RuleData, Sample, Template, TemplateError, Value, limits,
};
use proptest::prelude::*;

fn data() -> Value {
    let labels = BTreeMap::from([("job".to_owned(), "node".to_owned())]);
    Value::Root(Arc::new(RuleData {
        labels: Arc::new(labels.clone()),
        external_labels: Arc::new(labels),
        external_url: "http://localhost:9090".into(),
        value: Value::Float(1.5),
    }))
}

fn expand(text: &str) -> Result<String, TemplateError> {
    let env =
        Env { now_ms: 0, external_url: "http://localhost:9090", queries: &NoQueries("no queries here") };
    Template::parse_rule("t", text)?.expand(data(), &env)
}

fn is_limit(result: &Result<String, TemplateError>) -> bool {
    matches!(result, Err(TemplateError::Limit { .. }))
}

#[test]
fn endless_templates_stop_at_a_limit() {
    for text in [
        r#"{{ define "x" }}{{ template "x" }}{{ end }}{{ template "x" }}"#,
        r#"{{ define "x" }}{{ if true }}{{ with 1 }}{{ template "x" }}{{ end }}{{ end }}{{ end }}{{ template "x" }}"#,
        "{{ range 1000000000000 }}{{ end }}",
        "{{ range 100000 }}{{ range 100000 }}{{ end }}{{ end }}",
        r#"{{ $x := "0123456789abcdef" }}{{ range 100 }}{{ $x = printf "%s%s" $x $x }}{{ end }}"#,
        r#"{{ $x := "0123456789abcdef" }}{{ range 100 }}{{ $x = reReplaceAll "." "$0$0" $x }}{{ end }}"#,
        "{{ $x := 1 }}{{ range 100000 }}{{ $x = args $x }}{{ end }}{{ $x }}",
        "{{ $x := args $labels }}{{ range 15 }}{{ $x = args $x $x $x $x $x $x $x $x }}{{ end }}{{ $x }}",
        r#"{{ range 1000000 }}{{ printf "%1000d" 1 }}{{ end }}"#,
        r#"{{ printf "%1000000d%1000000d" 1 1 }}"#,
        r#"{{ range 200 }}{{ $x := html (printf "%10000d" 1) }}{{ $x }}{{ end }}"#,
    ] {
        let result = expand(text);
        assert!(is_limit(&result), "{text}: {:?}", result.map(|s| s.len()));
    }
}

#[test]
fn deep_nesting_is_refused_when_parsed() {
    for (open, close) in [("(", ")"), ("{{ if true }}", "{{ end }}"), ("{{ if 1 }}{{ else if 1 }}", "")] {
        let inner = if open == "(" { "1" } else { "" };
        let text = format!("{}{inner}{}", open.repeat(100_000), close.repeat(100_000));
        let text = if open == "(" { format!("{{{{ {text} }}}}") } else { text };
        assert!(matches!(expand(&text), Err(TemplateError::Parse { .. })), "{open}");
    }
}

#[test]
fn the_deepest_template_allowed_fits_a_small_stack() {
    let nested = |n: usize| format!("{}x{}", "{{ with 1 }}".repeat(n), "{{ end }}".repeat(n));
    let parens = |n: usize| format!("{}1{}", "(print ".repeat(n), ")".repeat(n));
    let deep = limits::MAX_PARSE_DEPTH - 4;
    let texts = [
        nested(deep),
        format!("{{{{ {} }}}}", parens(deep)),
        format!(
            r#"{{{{ define "x" }}}}{}{{{{ template "x" }}}}{}{{{{ end }}}}{{{{ template "x" }}}}"#,
            "{{ if true }}".repeat(deep),
            "{{ end }}".repeat(deep)
        ),
        format!(
            r#"{{{{ define "x" }}}}{{{{ template "x" {} }}}}{{{{ end }}}}{{{{ template "x" }}}}"#,
            parens(deep)
        ),
    ];
    // A quarter of what a worker thread has.
    let thread = std::thread::Builder::new().stack_size(512 << 10);
    let run = move || texts.iter().map(|text| expand(text)).collect::<Vec<_>>();
    #[allow(clippy::disallowed_methods, reason = "the test needs a thread with a stack of a known size")]
    let results = thread.spawn(run).expect("a thread").join().expect("no overflow");
    assert_eq!(results[0].as_deref(), Ok("x"));
    assert_eq!(results[1].as_deref(), Ok("1"));
    assert!(is_limit(&results[2]) && is_limit(&results[3]));
}

#[test]
fn a_text_over_the_limit_is_refused() {
    let long = "x".repeat(limits::MAX_TEXT_BYTES + 1);
    assert!(matches!(expand(&long), Err(TemplateError::Parse { .. })));
    let fitting = Template::parse("t", &long[1..]).map(|_| ());
    assert_eq!(fitting, Ok(()));
}

/// Answers only what it was told.
struct Known(&'static [&'static str]);

impl Queries for Known {
    fn answer(&self, expr: &str) -> Option<QueryAnswer> {
        let sample = Sample { labels: Arc::default(), value: Value::Float(7.0) };
        self.0.contains(&expr).then(|| Ok(vec![Arc::new(sample)]))
    }
}

#[test]
fn an_unknown_query_stops_the_expansion_and_names_itself() {
    let template =
        Template::parse_rule("t", r#"{{ query "a" | first | value }}{{ query "b" | first | value }}"#)
            .unwrap();
    let expand =
        |known| template.expand(data(), &Env { now_ms: 0, external_url: "", queries: &Known(known) });
    let needs = |result| match result {
        Err(TemplateError::NeedsQuery { expr, .. }) => expr,
        other => panic!("{other:?}"),
    };
    assert_eq!(needs(expand(&[])), "a");
    assert_eq!(needs(expand(&["a"])), "b");
    assert_eq!(expand(&["a", "b"]).as_deref(), Ok("77"));
}

#[test]
fn more_queries_than_allowed_are_refused() {
    let template = Template::parse_rule("t", r#"{{ range 1000 }}{{ $x := query "a" }}{{ end }}"#).unwrap();
    let result = template.expand(data(), &Env { now_ms: 0, external_url: "", queries: &Known(&["a"]) });
    assert!(is_limit(&result));
}

const FRAGMENTS: &[&str] = &[
    "{{",
    "}}",
    "{{-",
    "-}}",
    " ",
    "\n",
    "(",
    ")",
    "|",
    ".",
    "$",
    "$x",
    ":=",
    "=",
    ",",
    "\"",
    "\"a\"",
    "`r`",
    "'c'",
    "\\",
    "if",
    "else",
    "end",
    "range",
    "with",
    "define",
    "template",
    "block",
    "break",
    "continue",
    "nil",
    "true",
    "1",
    "-1.5",
    "0x",
    "1e9",
    "9223372036854775807",
    ".Labels",
    ".Value",
    "$labels",
    ".job",
    "printf",
    "\"%*.*[3]d%v%x%#q%+U\"",
    "index",
    "slice",
    "len",
    "args",
    "query",
    "first",
    "value",
    "humanize",
    "humanizeDuration",
    "toTime",
    "toDuration",
    ".Format",
    "\"2006 .000 Jan\"",
    ".AddDate",
    ".Round",
    "reReplaceAll",
    "\"(\"",
    "\"[^\\\\W]\"",
    "match",
    "title",
    "and",
    "or",
    "eq",
    "lt",
    "print",
    "js",
    "html",
    "urlquery",
    "parseDuration",
    "\"1h\"",
    "stripDomain",
    "é",
    "\u{1F600}",
    "/*",
    "*/",
    "{{ end }}",
    "{{ range 3 }}",
    "{{ if $labels }}",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 3000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_text_makes_the_engine_panic(text in ".{0,200}") {
        let _ = expand(&text);
    }

    #[test]
    fn no_action_makes_the_engine_panic(parts in prop::collection::vec(prop::sample::select(FRAGMENTS), 0..30)) {
        let _ = expand(&parts.join(" "));
        let _ = expand(&parts.concat());
        let _ = expand(&format!("{{{{ {} }}}}", parts.join(" ")));
    }

    #[test]
    fn text_without_actions_is_its_own_expansion(text in "[^{]{0,100}") {
        prop_assert_eq!(expand(&text), Ok(text));
    }

    #[test]
    fn formatting_a_float_reads_back_as_the_same_float(bits in any::<u64>()) {
        let value = f64::from_bits(bits);
        prop_assume!(value.is_finite());
        let env = Env { now_ms: 0, external_url: "", queries: &NoQueries("") };
        let template = Template::parse("t", "{{ . }} {{ printf \"%e\" 1.0 }}").unwrap();
        let text = template.expand(Value::Float(value), &env).unwrap();
        let shown: f64 = text.split(' ').next().unwrap().parse().unwrap();
        prop_assert_eq!(shown.to_bits(), value.to_bits());
    }
}
