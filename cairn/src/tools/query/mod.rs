//! `cairn tools query …`: questions to a running server over its HTTP API, with promtool's words and output.
//!
//! Any server with Prometheus' API will do. [`client`] sends a request, as [`http_config`] says, and reads the envelope,
//! [`value`] is a result, [`text`] and [`json`] print it. Warnings go to stderr.

mod client;
mod http_config;
mod json;
mod text;
mod value;

use std::io::{BufWriter, Write};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use cairn_query::api::parse_time;
use cairn_runtime::{Clock, SystemClock};
use clap::{Args, Subcommand, ValueEnum};

use super::Verdict;
use crate::config::GoDuration;
use client::{Client, Refused, form};
use http_config::HttpConfig;
use value::{Metric, QueryData};

/// Range of `range` without `--start`, and how many points it has without `--step`. promtool's.
const DEFAULT_RANGE_S: f64 = 300.0;
const DEFAULT_POINTS: f64 = 250.0;
/// How far `series` and `labels` look without `--start` and `--end`, both ways. promtool's.
const EVER_S: f64 = 9_999.0 * 3_600.0;

/// Questions to a server.
#[derive(Debug, Subcommand)]
pub enum QueryCommand {
    /// Run an instant query.
    Instant(Instant),
    /// Run a range query.
    Range(Range),
    /// List series.
    Series(Series),
    /// List values of a label.
    Labels(Labels),
}

/// What every question has.
#[derive(Debug, Args)]
pub struct Common {
    /// How to print: promql, or json.
    #[arg(short = 'o', long = "format", value_enum, default_value = "promql")]
    format: Format,
    /// Header to send, NAME=VALUE. Repeatable; THANOS-TENANT names a tenant.
    #[arg(long = "header", value_name = "NAME=VALUE")]
    headers: Vec<String>,
    /// How to connect: credentials, TLS, headers, in the YAML of Prometheus' http_config.
    #[arg(long = "http.config.file", value_name = "FILE")]
    http_config_file: Option<PathBuf>,
    /// Server, http(s)://host:port/prefix.
    server: String,
}

impl Common {
    fn client(&self) -> Result<Client> {
        let config = self.http_config_file.as_deref().map(HttpConfig::load).transpose()?;
        Client::new(&self.server, &self.headers, &config.unwrap_or_default())
    }
}

/// When listed things must have been there.
#[derive(Debug, Args)]
pub struct Within {
    /// First time of interest. Default: ever.
    #[arg(long)]
    start: Option<String>,
    /// Last time of interest. Default: ever.
    #[arg(long)]
    end: Option<String>,
}

/// How results are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Promql,
    Json,
}

/// Flags of `instant`.
#[derive(Debug, Args)]
pub struct Instant {
    #[command(flatten)]
    common: Common,
    /// When to evaluate: RFC 3339 or Unix seconds. Default: now.
    #[arg(long)]
    time: Option<String>,
    /// The expression.
    expr: String,
}

/// Flags of `range`.
#[derive(Debug, Args)]
pub struct Range {
    #[command(flatten)]
    common: Common,
    /// First step: RFC 3339 or Unix seconds. Default: five minutes before the end.
    #[arg(long)]
    start: Option<String>,
    /// Last time. Default: now.
    #[arg(long)]
    end: Option<String>,
    /// Time between steps. Default: 250 of them.
    #[arg(long)]
    step: Option<GoDuration>,
    /// The expression.
    expr: String,
}

/// Flags of `series`.
#[derive(Debug, Args)]
pub struct Series {
    #[command(flatten)]
    common: Common,
    /// Series selector. Repeatable: any of them.
    #[arg(long = "match", required = true, value_name = "SELECTOR")]
    matches: Vec<String>,
    #[command(flatten)]
    within: Within,
}

/// Flags of `labels`.
#[derive(Debug, Args)]
pub struct Labels {
    #[command(flatten)]
    common: Common,
    /// Series selector that narrows. Repeatable: any of them.
    #[arg(long = "match", value_name = "SELECTOR")]
    matches: Vec<String>,
    #[command(flatten)]
    within: Within,
    /// The label.
    name: String,
}

/// Asks and prints.
///
/// # Errors
/// Wrong times, or an answer that cannot be read. What the server refuses is printed and is a finding.
pub fn run(command: QueryCommand) -> Result<Verdict> {
    let now_s = SystemClock::new().now_ms() as f64 / 1000.0;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let asked = runtime.block_on(async {
        match command {
            QueryCommand::Instant(args) => instant(args, now_s).await,
            QueryCommand::Range(args) => range(args, now_s).await,
            QueryCommand::Series(args) => series(args, now_s).await,
            QueryCommand::Labels(args) => labels(args, now_s).await,
        }
    });
    match asked {
        Err(e) => match e.downcast_ref::<Refused>() {
            Some(refused) => {
                eprintln!("query error: {refused}");
                Ok(Verdict::Findings)
            }
            None => Err(e),
        },
        Ok(()) => Ok(Verdict::Well),
    }
}

async fn instant(args: Instant, now_s: f64) -> Result<()> {
    let time = seconds(args.time.as_deref(), now_s, "evaluation")?;
    let client = args.common.client()?;
    let parameters = form(&[("query", args.expr.as_str()), ("time", time.to_string().as_str())]);
    print_query(client.post("/api/v1/query", parameters).await?, args.common.format)
}

async fn range(args: Range, now_s: f64) -> Result<()> {
    let end = seconds(args.end.as_deref(), now_s, "end")?;
    let start = seconds(args.start.as_deref(), end - DEFAULT_RANGE_S, "start")?;
    if end < start {
        bail!("start time is not before end time");
    }
    let step = match args.step {
        Some(step) => step.0.as_secs_f64(),
        None => ((end - start) / DEFAULT_POINTS).floor().max(1.0),
    };
    let client = args.common.client()?;
    let times = [("start", start), ("end", end), ("step", step)].map(|(name, s)| (name, s.to_string()));
    let times = times.iter().map(|(name, s)| (*name, s.as_str()));
    let parameters = form(&times.chain([("query", args.expr.as_str())]).collect::<Vec<_>>());
    print_query(client.post("/api/v1/query_range", parameters).await?, args.common.format)
}

async fn series(args: Series, now_s: f64) -> Result<()> {
    let client = args.common.client()?;
    let parameters = args.within.parameters(&args.matches, now_s)?;
    let found: Vec<Metric> = client.post("/api/v1/series", parameters).await?;
    print(|out| match args.common.format {
        Format::Promql => found.iter().try_for_each(|metric| writeln!(out, "{}", text::label_set(metric))),
        Format::Json => writeln!(out, "{}", json::metrics(&found)),
    })
}

async fn labels(args: Labels, now_s: f64) -> Result<()> {
    let client = args.common.client()?;
    let parameters = args.within.parameters(&args.matches, now_s)?;
    let found: Vec<String> = client.get_values(&args.name, parameters).await?;
    print(|out| match args.common.format {
        Format::Promql => found.iter().try_for_each(|value| writeln!(out, "{value}")),
        Format::Json => writeln!(out, "{}", json::strings(&found)),
    })
}

fn print_query(data: QueryData, format: Format) -> Result<()> {
    print(|out| match format {
        Format::Promql => writeln!(out, "{}", text::query(data)),
        Format::Json => writeln!(out, "{}", json::query(&data)),
    })
}

fn print(write: impl FnOnce(&mut dyn Write) -> std::io::Result<()>) -> Result<()> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    write(&mut out)?;
    Ok(out.flush()?)
}

impl Within {
    /// Parameters of a list.
    fn parameters(&self, matches: &[String], now_s: f64) -> Result<String> {
        let start = seconds(self.start.as_deref(), now_s - EVER_S, "start")?.to_string();
        let end = seconds(self.end.as_deref(), now_s + EVER_S, "end")?.to_string();
        let selectors = matches.iter().map(|m| ("match[]", m.as_str()));
        Ok(form(&selectors.chain([("start", start.as_str()), ("end", end.as_str())]).collect::<Vec<_>>()))
    }
}

fn seconds(text: Option<&str>, default_s: f64, which: &str) -> Result<f64> {
    let Some(text) = text else { return Ok(default_s) };
    let parsed = parse_time(text).map(|ms| ms as f64 / 1000.0);
    parsed.with_context(|| format!("error parsing {which} time: cannot parse {text:?} to a valid timestamp"))
}
