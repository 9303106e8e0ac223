//! `cairn tools query` and `cairn tools promql format` print what promtool prints, byte for byte.

use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use crate::pair::{Pair, peer};
use crate::process::built;

/// What a program printed, and how it ended.
#[derive(Debug, PartialEq)]
struct Said {
    stdout: String,
    success: bool,
}

fn run(binary: &Path, args: &[&str]) -> Result<Said> {
    let output = Command::new(binary).args(args).output()?;
    Ok(Said { stdout: String::from_utf8(output.stdout)?, success: output.status.success() })
}

#[test]
fn queries_are_printed_as_promtool_prints_them() -> Result<()> {
    let Some(promtool) = peer("api promtool", "prometheus/promtool") else { return Ok(()) };
    let Some(pair) = Pair::start("api promtool")? else { return Ok(()) };
    let cairn = built("cairn")?;
    let server = format!("http://{}", pair.prometheus);
    let (end, start) = (pair.end_s.to_string(), (pair.end_s - 3600).to_string());
    let at = ["--time", &end];
    let between = ["--start", &start, "--end", &end];
    let instant = |expr| [&["instant"], &at[..], &[&server, expr]].concat();
    let range = |expr, more: &[&'static str]| [&["range"], &between[..], more, &[&server, expr]].concat();
    let mut questions: Vec<Vec<&str>> = vec![
        instant("demo_memory_usage_bytes"),
        instant("topk(2, demo_memory_usage_bytes)"),
        instant("demo_memory_usage_bytes[30s]"),
        instant("1e21"),
        instant("1/0"),
        instant("nothing"),
        instant("label_replace(vector(1e-7), \"text\", \"a<b>&\\\"c\\\\\\n\", \"\", \"\")"),
        instant("sum("),
        range("sum by (instance) (rate(demo_cpu_usage_seconds_total[5m]))", &["--step", "5m"]),
        range("demo_num_cpus", &[]),
        range("demo_num_cpus[5m]", &[]),
        range("vector(1)", &["--header", "X-Any=1"]),
        vec!["range", "--start", &end, "--end", &start, &server, "1"],
        vec!["series", "--match", "demo_num_cpus", "--match", "demo_memory_usage_bytes", &server],
        vec!["series", "--match", "demo_num_cpus", "--end", "1000", &server],
        vec!["labels", &server, "instance"],
        vec!["labels", "--match", "demo_num_cpus", &server, "__name__"],
        vec!["labels", &server, "no such"],
    ];
    questions.push(vec!["instant", "--time", "never", &server, "1"]);
    let (mut compared, mut bytes) = (0, 0);
    for format in ["promql", "json"] {
        for question in &questions {
            // promtool has the format before the command, cairn behind it.
            let theirs = run(&promtool, &[&["query", "-o", format], &question[..]].concat())?;
            let (command, rest) = question.split_first().context("a command")?;
            let ours = [&["tools", "query", command, "-o", format], rest].concat();
            assert_eq!(run(&cairn, &ours)?, theirs, "{question:?}");
            (compared, bytes) = (compared + 1, bytes + theirs.stdout.len());
        }
    }
    println!("{compared} answers, {bytes} bytes");
    assert!(bytes > 20_000, "{bytes} bytes are too few");
    Ok(())
}

#[test]
fn expressions_are_formatted_as_promtool_formats_them() -> Result<()> {
    let Some(promtool) = peer("api promtool format", "prometheus/promtool") else { return Ok(()) };
    let cairn = built("cairn")?;
    for expr in [
        "up",
        "sum(up)by(job)",
        "sum without(a,b)(rate(x{a=\"b\",c!~\"d.*\"}[5m] offset 1h))",
        "sum(rate(http_requests_total{job=\"a\"}[5m]))by(job)/on(job)group_left(x)sum(up{job=\"aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"})",
        "histogram_quantile(0.99,sum by(le,job)(rate(some_very_long_bucket_name_total{cluster=\"x\",namespace=\"y\",pod=~\"z.*\"}[5m])))",
        "max_over_time(rate(x[1m])[30m:10s]@1609746000)",
        "(-a+b)*c^2>bool 1 or vector(0)unless on(x)d",
        "{\"http.status\",\"a.b\"=\"c\"}",
        "label_replace(up,'a',`b`,\"\",\"\")",
        "1e3+0x1f+Inf",
        "# comment\nup",
        "sum(",
        "",
        "foo(1)",
    ] {
        let theirs = run(&promtool, &["--experimental", "promql", "format", expr])?;
        assert_eq!(run(&cairn, &["tools", "promql", "format", expr])?, theirs, "{expr}");
    }
    Ok(())
}
