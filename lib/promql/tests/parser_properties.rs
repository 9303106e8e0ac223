//! What must hold for every text: no panic, bounded depth, and a printed expression is the same expression.

use std::path::Path;

use cairn_promql::parser::{Features, MAX_DEPTH, MAX_QUERY_BYTES, fuzz_parser, parse};
use cairn_tests::conformance::conformance;
use cairn_tests::templates::{expand, of_suite};
use proptest::prelude::*;

const WORDS: [&str; 96] = [
    "up",
    "foo",
    "a:b",
    "sum",
    "topk",
    "quantile",
    "count_values",
    "limitk",
    "by",
    "without",
    "on",
    "ignoring",
    "group_left",
    "group_right",
    "fill(0)",
    "fill_left(-1)",
    "fill_right(NaN)",
    "bool",
    "offset",
    "anchored",
    "smoothed",
    "and",
    "or",
    "unless",
    "atan2",
    "+",
    "-",
    "*",
    "/",
    "%",
    "^",
    "==",
    "!=",
    "<",
    "<=",
    ">",
    ">=",
    "</",
    ">/",
    "(",
    ")",
    "{",
    "}",
    "[",
    "]",
    ",",
    ":",
    "=",
    "=~",
    "!~",
    "@",
    "1",
    "0x1F",
    "1e3",
    ".5",
    "Inf",
    "NaN",
    "5m",
    "1h30m",
    "1001ms",
    "-5m",
    "\"x\"",
    "'y'",
    "`z`",
    "\"\\xff\"",
    "\"\"",
    "start()",
    "end()",
    "step()",
    "range()",
    "min_of(1m,2m)",
    "max_of(step(),3)",
    "rate(",
    "time()",
    "info(",
    "label_join(",
    "[5m]",
    "[5m:1m]",
    "[5m*2]",
    "[(5m):]",
    "[step()]",
    "{a=\"b\"}",
    "{\"m.n\"}",
    "{\"l.a\"!~\"v|w\"}",
    "{}",
    "(a,b)",
    "(\"l.a\")",
    "(5m)",
    "(-2)^2",
    "@ 5",
    "@ end()",
    "offset 5m",
    "offset (1m+step())",
    "# c\n",
    "\n",
    "é",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4_000))]

    #[test]
    fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..80)) {
        fuzz_parser(&data);
    }

    #[test]
    fn arbitrary_text_never_panics(text in "\\PC{0,60}") {
        fuzz_parser(text.as_bytes());
    }

    #[test]
    fn words_of_the_language_in_any_order_never_panic(words in prop::collection::vec(prop::sample::select(&WORDS[..]), 1..14)) {
        fuzz_parser(words.join(" ").as_bytes());
        fuzz_parser(words.concat().as_bytes());
    }

    #[test]
    fn what_is_printed_is_the_same_expression(text in expression()) {
        // Few texts are refused, for instance a comparison of two scalars.
        prop_assume!(parse(&text, Features::all()).is_ok());
        fuzz_parser(text.as_bytes());
    }
}

/// Texts of instant vectors, nearly all of them well typed.
fn expression() -> impl Strategy<Value = String> {
    let duration = prop_oneof![
        Just("5m"),
        Just("300"),
        Just("1h30m"),
        Just("(2m)*3"),
        Just("step()+1"),
        Just("(-2)^2"),
        Just("max_of(range(),1m)"),
        Just("1.5"),
        Just("5m%2m-1s/(3)"),
    ];
    let signed =
        prop_oneof![Just("5m"), Just("-1h"), Just("+(5m+1m)"), Just("-(2*3)"), Just("step()"), Just("0")];
    let at = prop_oneof![Just("1.5"), Just("-3"), Just("start()"), Just("end()"), Just("1h")];
    let selector = prop_oneof![
        Just("up".to_owned()),
        Just("{a=\"b\"}".to_owned()),
        Just("m{x=~\"a|b\",\"l.l\"!=\"\"}".to_owned()),
        Just("{\"my.metric\",a!~\"c.*\"}".to_owned()),
        Just("offset".to_owned()),
        Just("sum{by=\"x\"}".to_owned()),
    ];
    let modified =
        (selector, prop::option::of(signed), prop::option::of(at), 0u8..3).prop_map(|(s, o, a, x)| {
            let o = o.map_or(String::new(), |o| format!(" offset {o}"));
            let a = a.map_or(String::new(), |a| format!(" @ {a}"));
            format!("{s}{a}{o}{}", ["", " anchored", " smoothed"][x as usize])
        });
    let scalar = prop_oneof![
        Just("1".to_owned()),
        Just("-2.5".to_owned()),
        Just("5m".to_owned()),
        Just("Inf".to_owned()),
        Just("NaN".to_owned()),
        Just("(1+2)".to_owned()),
        Just("time()".to_owned()),
        Just("-(3)".to_owned()),
    ];
    let op = prop::sample::select(vec!["+", "-", "*", "/", "%", "^", "atan2", "==", ">", "<=", "</", ">/"]);
    let leaf = modified.prop_map(|s| s);
    leaf.prop_recursive(5, 24, 3, move |inner| {
        let (d, d2) = (duration.clone(), duration.clone());
        prop_oneof![
            inner.clone().prop_map(|e| format!("({e})")),
            inner.clone().prop_map(|e| format!("-{e}")),
            (inner.clone(), op.clone(), inner.clone()).prop_map(|(a, op, b)| format!("{a} {op} {b}")),
            (inner.clone(), op.clone(), scalar.clone()).prop_map(|(a, op, b)| format!("{b} {op} {a}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!("{a} and on (x) {b} or {b} unless {a}")),
            (inner.clone(), inner.clone()).prop_map(|(a, b)| format!(
                "({a}) * ignoring(x,\"y.y\") group_left(z) fill_left(1e30) ({b})"
            )),
            inner.clone().prop_map(|e| format!("sum by (a, \"b.c\") ({e})")),
            inner.clone().prop_map(|e| format!("topk without (a) (3, {e})")),
            inner.clone().prop_map(|e| format!("count_values(\"v\\n\", {e})")),
            (inner.clone(), d).prop_map(|(e, d)| format!("rate(({e})[{d}:])")),
            (inner, d2).prop_map(|(e, d)| format!("max_over_time(({e})[1h:{d}] offset -1m @ 3)")),
            Just("rate(up[5m] smoothed offset 1m)".to_owned()),
        ]
    })
}

#[test]
fn long_chains_and_deep_nesting_are_read_or_refused_but_never_overflow() {
    let refusal = format!("expression nests deeper than {MAX_DEPTH} levels");
    let deep = |n: usize, open: &str, close: &str| format!("{}up{}", open.repeat(n), close.repeat(n));
    let chain = |n: usize| vec!["up"; n].join(" or ");
    for text in
        [chain(900), deep(900, "(", ")"), deep(900, "-", ""), deep(450, "abs(", ")"), deep(900, "1^", "")]
    {
        fuzz_parser(text.as_bytes());
        parse(&text, Features::all()).unwrap_or_else(|e| panic!("{}…: {e}", &text[..40]));
    }
    for text in [
        chain(20_000),
        deep(20_000, "(", ")"),
        deep(20_000, "-", ""),
        deep(20_000, "abs(", ")"),
        deep(20_000, "sum(", ")"),
        deep(20_000, "1^", ""),
        deep(2_000, "max_over_time((", ")[1m:])"),
    ] {
        let error = parse(&text, Features::all()).expect_err("is too deep").to_string();
        assert!(error.ends_with(&refusal), "{error}");
    }
    let durations = [format!("up[{}1]", "(".repeat(20_000)), format!("up[1{}]", "+1".repeat(20_000))];
    for text in durations {
        let error = parse(&text, Features::all()).expect_err("is too deep").to_string();
        assert!(error.contains("duration has more than") || error.contains("nests deeper"), "{error}");
    }
    let error =
        parse(&"a".repeat(MAX_QUERY_BYTES + 1), Features::all()).expect_err("is too long").to_string();
    assert!(error.contains("longer than"), "{error}");
}

/// The expressions of an `eval` line of the promqltest language.
fn eval_expression(line: &str) -> Option<&str> {
    let rest = line.trim().strip_prefix("eval")?;
    let (kind, rest) =
        rest.trim_start_matches(|c: char| c == '_' || c.is_alphabetic()).trim_start().split_once(' ')?;
    let words_before = match kind {
        "instant" if rest.trim_start().starts_with("at ") => 2,
        "instant" => 0,
        "range" => 6,
        _ => return None,
    };
    let mut rest = rest.trim_start();
    for _ in 0..words_before {
        rest = rest.split_once(char::is_whitespace)?.1.trim_start();
    }
    Some(rest)
}

#[test]
fn every_expression_of_the_conformance_tests_parses_and_prints() {
    let Some(dir) = conformance("promqltest") else { return };
    let mut count = 0;
    for file in files(&dir) {
        let text = read(&file);
        let lines: Vec<&str> = text.lines().collect();
        for (i, line) in lines.iter().enumerate() {
            let Some(query) = eval_expression(line) else { continue };
            count += 1;
            if let Err(e) = parse(query, Features::all()) {
                // Some must fail, and do so when parsed.
                let expected = lines[i + 1..].iter().take_while(|l| !l.trim().is_empty());
                let may_fail = expected.into_iter().any(|l| l.contains("expect fail"));
                assert!(may_fail, "{}:{}: {query}: {e}", file.display(), i + 1);
            }
            fuzz_parser(query.as_bytes());
        }
    }
    println!("{count} expressions");
    assert_eq!(count, 1_112, "eval lines of the corpus");
}

#[test]
fn every_expression_of_the_rule_files_parses() {
    let Some(dir) = conformance("rules") else { return };
    let mut count = 0;
    for file in files(&dir) {
        for line in read(&file).lines() {
            let Some((_, query)) = line.split_once("expr:") else { continue };
            let query = query.trim().trim_matches(|c| c == '"' || c == '\'');
            count += 1;
            parse(query, Features::default()).unwrap_or_else(|e| panic!("{}: {query}: {e}", file.display()));
            fuzz_parser(query.as_bytes());
        }
    }
    assert!(count >= 10, "only {count} expressions");
}

#[test]
fn every_query_of_the_compliance_tester_parses() {
    let Some(dir) = conformance("promql") else { return };
    let (mut parsed, mut refused) = (0, Vec::new());
    for template in of_suite(&read(&dir.join("promql-test-queries.yml"))) {
        for query in expand(&template) {
            match parse(&query, Features::default()) {
                Ok(_) => parsed += 1,
                // Bool is missing between scalars in the variants that filter.
                Err(e) if e.message.contains("must use BOOL") => {}
                Err(e) => refused.push(format!("{query}: {e}")),
            }
            fuzz_parser(query.as_bytes());
        }
    }
    println!("{parsed} parsed");
    assert!(parsed > 250, "only {parsed} queries");
    assert_eq!(
        refused,
        ["{__name__=~\".*\"}: 1:1: parse error: vector selector must contain at least one non-empty matcher"]
    );
}

fn files(dir: &Path) -> Vec<std::path::PathBuf> {
    let entries = std::fs::read_dir(dir).expect("conformance data is readable");
    let mut files: Vec<_> = entries.map(|e| e.expect("an entry").path()).collect();
    files.sort();
    files
}

#[allow(clippy::disallowed_methods, reason = "reads conformance data")]
fn read(file: &Path) -> String {
    std::fs::read_to_string(file).expect("conformance data is readable")
}
