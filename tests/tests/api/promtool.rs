//! `cairn tools query` and `cairn tools promql format` print what promtool prints, byte for byte.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Stdio};

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
    // Both need to be told of what is experimental.
    let (feature, expr) = ("--enable-feature=promql-experimental-functions", "mad_over_time( x[5m] )");
    for flags in [&[][..], &[feature]] {
        let theirs = run(&promtool, &[flags, &["--experimental", "promql", "format", expr]].concat())?;
        let ours = run(&cairn, &[&["tools", "promql", "format"], flags, &[expr]].concat())?;
        assert_eq!(ours, theirs, "{flags:?}");
        assert_eq!(ours.success, !flags.is_empty());
    }
    Ok(())
}

/// Answers one request with a scalar; gives the lines of its head, names in lower case, sorted.
fn answer_one(listener: &TcpListener) -> Result<Vec<String>> {
    let (mut stream, _) = listener.accept()?;
    let mut lines = Vec::new();
    let mut reader = BufReader::new(stream.try_clone()?);
    loop {
        let mut line = String::new();
        reader.read_line(&mut line)?;
        match line.trim_end() {
            "" => break,
            line => lines.push(match line.split_once(": ") {
                Some((name, value)) => format!("{}: {value}", name.to_lowercase()),
                None => line.to_owned(),
            }),
        }
    }
    let body = r#"{"status":"success","data":{"resultType":"scalar","result":[1,"1"]}}"#;
    let head = format!("HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}", body.len());
    write!(stream, "{head}\r\nConnection: close\r\n\r\n{body}")?;
    lines.sort();
    Ok(lines)
}

#[test]
fn an_http_config_makes_the_requests_of_promtool() -> Result<()> {
    let Some(promtool) = peer("api promtool http config", "prometheus/promtool") else { return Ok(()) };
    let cairn = built("cairn")?;
    let dir = tempfile::tempdir()?;
    std::fs::write(dir.path().join("secret"), "s3cret\n")?;
    let config = dir.path().join("http.yml");
    let flag = format!("--http.config.file={}", config.display());
    for yaml in [
        "basic_auth: {username: me, password_file: secret}",
        "authorization: {type: Token, credentials: t}",
        "bearer_token_file: secret\nhttp_headers: {X-Scope-OrgID: {values: [team-a]}}",
    ] {
        std::fs::write(&config, yaml)?;
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let server = format!("http://{}", listener.local_addr()?);
        let sent = |binary: &Path, args: Vec<&str>| -> Result<Vec<String>> {
            let mut child = Command::new(binary).args(args).stdout(Stdio::piped()).spawn()?;
            let lines = answer_one(&listener)?;
            assert!(child.wait()?.success());
            let told = |l: &String| l.starts_with("authorization: ") || l.starts_with("x-scope-orgid: ");
            Ok(lines.into_iter().filter(told).collect())
        };
        let theirs = sent(&promtool, vec!["query", &flag, "instant", &server, "1"])?;
        let ours = sent(&cairn, vec!["tools", "query", "instant", &flag, &server, "1"])?;
        assert!(!theirs.is_empty() && ours == theirs, "{yaml}: {ours:?}, promtool {theirs:?}");
    }
    for (yaml, server) in [("basic_auht: {}", "http://x"), ("bearer_token: t", "http://me@x")] {
        std::fs::write(&config, yaml)?;
        let theirs = run(&promtool, &["query", &flag, "instant", server, "1"])?;
        let ours = run(&cairn, &["tools", "query", "instant", &flag, server, "1"])?;
        assert!(!theirs.success && !ours.success, "{yaml}: {ours:?}, promtool {theirs:?}");
    }
    Ok(())
}
