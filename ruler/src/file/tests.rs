use super::check::{CheckOptions, Lint, check_files};
use super::*;

/// Name, file, and what promtool prints for it on both channels.
macro_rules! promtool_cases {
    ($($name:literal),* $(,)?) => {
        [$((
            concat!($name, ".yml"),
            include_str!(concat!("../../tests/rule_files/", $name, ".yml")),
            include_str!(concat!("../../tests/rule_files/", $name, ".out")),
            include_str!(concat!("../../tests/rule_files/", $name, ".err")),
        )),*]
    };
}

#[test]
fn files_are_judged_in_promtools_words() {
    let cases = promtool_cases![
        "baddur2",
        "badexpr",
        "badlabel",
        "badname",
        "badtmpl",
        "both",
        "duplicates",
        "empty",
        "emptylabel",
        "interval",
        "multi",
        "noexpr",
        "norec",
        "nulls",
        "recfor",
        "strexpr",
        "toplevel",
        "unknown",
    ];
    for (name, text, stdout, stderr) in cases {
        let report = check_files(&[(name.to_owned(), Ok(text.to_owned()))], &CheckOptions::default());
        assert_eq!(report.stdout, stdout, "{name}");
        assert_eq!(without_suggestions(&report.stderr), stderr, "{name}");
    }
}

fn without_suggestions(text: &str) -> String {
    let lines =
        text.lines().map(|line| line.split(", did you mean").next().unwrap_or(line).to_owned() + "\n");
    lines.collect()
}

fn problems(text: &str) -> Vec<String> {
    parse_rule_file(text, ReadOptions::default())
        .expect_err("a broken file")
        .iter()
        .map(ToString::to_string)
        .collect()
}

#[test]
fn keys_that_do_not_exist_are_named_with_line_and_suggestion() {
    let text = "groups:\n- name: a\n  intervall: 5m\n  rules:\n  - recrd: x\n    xyz: 1\n";
    assert_eq!(
        problems(text),
        [
            "yaml: unmarshal errors:\n  line 3: field intervall not found in type rulefmt.RuleGroup, did you mean \"interval\"?\n  line 5: field recrd not found in type rulefmt.Rule, did you mean \"record\"?\n  line 6: field xyz not found in type rulefmt.Rule"
        ]
    );
    assert!(
        parse_rule_file(
            "groups:\n- name: a\n  owner: me\n",
            ReadOptions { ignore_unknown_fields: true, ..ReadOptions::default() }
        )
        .is_ok(),
        "unless they are to be ignored"
    );
}

#[test]
fn what_is_no_yaml_is_one_clear_problem() {
    for text in [
        "groups: [",
        "groups:\n- name: a\n   rules: {\n",
        "groups: 5",
        "groups:\n- name: a\n  name: b\n",
        "\u{0}",
    ] {
        let problems = problems(text);
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert!(problems[0].starts_with("yaml: ") && problems[0].contains("line"), "{problems:?}");
        assert!(!problems[0].contains("Options"), "{problems:?}");
    }
}

#[test]
fn durations_limits_and_strategies_are_checked_where_they_stand() {
    let text = "groups:\n- name: a\n  interval: 5x\n  limit: many\n  partial_response_strategy: maybe\n  rules:\n  - alert: x\n    expr: up\n    for: 1h30\n";
    assert_eq!(
        problems(text),
        [
            "3:13: unknown unit \"x\" in duration \"5x\"",
            "4:10: limit must be a whole number, not \"many\"",
            "5:30: partial_response_strategy must be \"warn\" or \"abort\", not \"maybe\"",
            "9:10: not a valid duration string: \"1h30\"",
        ]
    );
}

#[test]
fn group_names_are_unique_and_not_empty() {
    let text = "groups:\n- name: a\n- name: a\n- name: \"\"\n";
    assert_eq!(
        problems(text),
        ["3:9: groupname: \"a\" is repeated in the same file", "4:9: Groupname must not be empty"]
    );
}

#[test]
fn a_group_with_everything() {
    let text = "groups:\n- name: a\n  interval: 30s\n  query_offset: 1m30s\n  limit: 7\n  labels: {team: x, zone: z}\n  partial_response_strategy: WARN\n  rules:\n  - alert: A\n    expr: |\n      up == 0\n    for: 5m\n    keep_firing_for: 10m\n    labels: {zone: own}\n    annotations: {summary: \"{{ $value }}\"}\n";
    let groups = parse_rule_file(text, ReadOptions::default()).unwrap();
    let rule = &groups[0].rules[0];
    assert_eq!(groups[0].interval_ms, Some(30_000));
    assert_eq!(groups[0].query_offset_ms, Some(90_000));
    assert_eq!((groups[0].limit, groups[0].partial_response), (7, PartialResponse::Warn));
    assert_eq!(rule.labels["team"], "x");
    assert_eq!(rule.labels["zone"], "own", "a rule's label wins over its group's");
    let RuleKind::Alerting { for_ms, keep_firing_for_ms, annotations } = &rule.kind else {
        panic!("an alert")
    };
    assert_eq!((*for_ms, *keep_firing_for_ms), (300_000, 600_000));
    assert_eq!(annotations["summary"], "{{ $value }}");
}

#[test]
fn anchors_and_merge_keys_work() {
    let text = "groups:\n- name: a\n  rules:\n  - alert: A\n    expr: up\n    labels: &l {severity: page}\n  - alert: B\n    expr: up\n    labels: {<<: *l, team: x}\n";
    let groups = parse_rule_file(text, ReadOptions::default()).unwrap();
    assert_eq!(groups[0].rules[1].labels["severity"], "page");
    assert_eq!(groups[0].rules[1].labels["team"], "x");
}

#[test]
fn an_unreadable_file_fails_the_check() {
    let options = CheckOptions::default();
    let report = check_files(&[("x.yml".to_owned(), Err("no such file".to_owned()))], &options);
    assert_eq!((report.stderr.as_str(), report.exit_code(&options)), ("  FAILED:\nx.yml: no such file\n", 1));
}

/// Exit codes measured with promtool 3.14 over the conformance files.
#[test]
#[allow(clippy::disallowed_methods, reason = "conformance data lies in real files")]
fn conformance_files_get_promtools_exit_codes() {
    let (Some(promtool), Some(rules)) =
        (cairn_tests::conformance::conformance("promtool"), cairn_tests::conformance::conformance("rules"))
    else {
        return;
    };
    let code = |path: &std::path::Path, options: CheckOptions| {
        let text = std::fs::read_to_string(path).map_err(|e| e.to_string());
        check_files(&[(path.display().to_string(), text)], &options).exit_code(&options)
    };
    let fatal = CheckOptions { lint: Lint::All, lint_fatal: true, ..CheckOptions::default() };
    let ignoring = CheckOptions { ignore_unknown_fields: true, ..CheckOptions::default() };
    let mut checked = 0;
    for (file, options, want) in [
        ("rules.yml", CheckOptions::default(), 0),
        ("rules_duplicates.yml", CheckOptions::default(), 0),
        ("prometheus-rules.lint.yml", CheckOptions::default(), 0),
        ("rules_duplicates.yml", fatal, 3),
        ("prometheus-rules.lint.yml", fatal, 3),
        ("rules_extrafields.yml", CheckOptions::default(), 1),
        ("rules_extrafields.yml", ignoring, 0),
    ] {
        assert_eq!(code(&promtool.join(file), options), want, "{file}");
        checked += 1;
    }
    for entry in std::fs::read_dir(rules).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(code(&path, CheckOptions::default()), 0, "{}", path.display());
        checked += 1;
    }
    assert!(checked >= 14, "only {checked} files");
}

mod hostile {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_text_makes_the_reader_panic(text in "(groups:\n- name: a\n  rules:\n)?[ -~\n]{0,200}") {
            let _ = parse_rule_file(&text, ReadOptions::default());
        }

        #[test]
        fn no_value_makes_validation_panic(key in "[a-z_]{0,12}", value in "\\PC{0,40}") {
            let value = serde_json::to_string(&value).unwrap();
            let _ = parse_rule_file(&format!("groups:\n- name: {value}\n  {key}: {value}\n  rules:\n  - {{record: {value}, expr: {value}, {key}: {value}}}\n"), ReadOptions::default());
        }
    }
}

#[test]
fn experimental_functions_need_their_feature() {
    let text = "groups:\n- name: g\n  rules:\n  - {record: r, expr: 'mad_over_time(x[5m])'}\n";
    let problems = parse_rule_file(text, ReadOptions::default()).unwrap_err();
    let says = problems[0].to_string();
    assert!(
        says.contains(
            "could not parse expression: 1:1: parse error: function \"mad_over_time\" is not enabled"
        ),
        "{says}"
    );
    let all = ReadOptions { features: cairn_promql::parser::Features::all(), ..ReadOptions::default() };
    assert_eq!(parse_rule_file(text, all).unwrap().len(), 1);
}
