//! `cairn tools tsdb …`, with promtool's words.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail, ensure};
use cairn_model::Labels;
use cairn_promql::parser::parse_selector;
use cairn_runtime::{Clock, Disk, RealDisk, Rng, SystemClock};
use cairn_tsdb::block::BlockReader;
use cairn_tsdb::tools::{self, AnalyzeOptions, BackfillOptions, DumpFormat, DumpOptions};
use clap::{Args, Subcommand};
use ulid::Ulid;

use super::progress::{self, Bars};
use super::{Output, Verdict};
use crate::config::GoDuration;

/// Tools over blocks.
#[derive(Debug, Subcommand)]
pub enum TsdbCommand {
    /// List the blocks of a folder.
    List(List),
    /// Print every sample, a line each.
    Dump(Dump),
    /// Print every float sample as OpenMetrics text.
    DumpOpenmetrics(Dump),
    /// Tell what takes the room in a block: churn, label pairs, cardinality.
    Analyze(Analyze),
    /// Read every byte of every block: checksums, order, ranges, counts.
    Verify(Verify),
    /// Make blocks from other data.
    #[command(subcommand)]
    CreateBlocksFrom(CreateBlocksFrom),
}

/// Sources of new blocks.
#[derive(Debug, Subcommand)]
pub enum CreateBlocksFrom {
    /// An OpenMetrics text with timestamps.
    Openmetrics(Openmetrics),
}

/// Flags of `list`.
#[derive(Debug, Args)]
pub struct List {
    /// Folder of the blocks.
    #[arg(default_value = "data/tsdb/blocks", value_name = "DIR")]
    dir: PathBuf,
    /// Sizes and times for people.
    #[arg(short = 'r', long)]
    human_readable: bool,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// Flags of `dump` and `dump-openmetrics`.
#[derive(Debug, Args)]
pub struct Dump {
    /// Folder of the blocks.
    #[arg(default_value = "data/tsdb/blocks", value_name = "DIR")]
    dir: PathBuf,
    /// First time, Unix milliseconds.
    #[arg(long, default_value_t = i64::MIN, allow_negative_numbers = true)]
    min_time: i64,
    /// Last time, Unix milliseconds.
    #[arg(long, default_value_t = i64::MAX, allow_negative_numbers = true)]
    max_time: i64,
    /// Series selector. Repeatable: any of them.
    #[arg(long = "match", default_value = "{__name__=~'(?s:.*)'}", value_name = "SELECTOR")]
    matches: Vec<String>,
    /// prom, or seriesjson: labels only.
    #[arg(long, default_value = "prom")]
    format: String,
}

/// Flags of `analyze`.
#[derive(Debug, Args)]
pub struct Analyze {
    /// Folder of the blocks.
    #[arg(default_value = "data/tsdb/blocks", value_name = "DIR")]
    dir: PathBuf,
    /// The block; by default the newest.
    block: Option<String>,
    /// Rows a table.
    #[arg(long, default_value_t = 20)]
    limit: usize,
    /// Read the chunks too.
    #[arg(long)]
    extended: bool,
    /// Only series of this selector.
    #[arg(long = "match", value_name = "SELECTOR")]
    matches: Option<String>,
}

/// Flags of `verify`.
#[derive(Debug, Args)]
pub struct Verify {
    /// Folder of the blocks.
    #[arg(default_value = "data/tsdb/blocks", value_name = "DIR")]
    dir: PathBuf,
    /// How to print.
    #[arg(short, long, value_enum, default_value = "table")]
    output: Output,
}

/// Flags of `create-blocks-from openmetrics`.
#[derive(Debug, Args)]
pub struct Openmetrics {
    /// The text.
    input: PathBuf,
    /// Where the blocks go.
    #[arg(default_value = "data/", value_name = "DIR")]
    dir: PathBuf,
    /// Longest block.
    #[arg(long, default_value = "1d")]
    max_block_duration: GoDuration,
    /// Label of every series, name=value. Repeatable.
    #[arg(long, value_name = "NAME=VALUE")]
    label: Vec<String>,
    /// Sizes and times for people.
    #[arg(short = 'r', long)]
    human_readable: bool,
    /// No table of the blocks.
    #[arg(short, long)]
    quiet: bool,
}

/// Runs a tool over blocks.
///
/// # Errors
/// What cannot be read, named.
pub fn run(command: TsdbCommand) -> Result<Verdict> {
    let mut out = BufWriter::new(std::io::stdout().lock());
    let verdict = match command {
        TsdbCommand::List(args) => list(&args, &mut out),
        TsdbCommand::Dump(args) => dump(&args, &mut out),
        TsdbCommand::DumpOpenmetrics(args) => dump_openmetrics(&args, &mut out),
        TsdbCommand::Analyze(args) => analyze(&args, &mut out),
        TsdbCommand::Verify(args) => verify(&args, &mut out),
        TsdbCommand::CreateBlocksFrom(CreateBlocksFrom::Openmetrics(args)) => create(&args, &mut out),
    }?;
    out.flush()?;
    Ok(verdict)
}

fn blocks(dir: &Path) -> Result<Vec<BlockReader>> {
    ensure!(
        RealDisk.exists(dir)?,
        "cannot read {}: no such folder; name the folder that holds the blocks",
        dir.display()
    );
    Ok(tools::open_blocks(&RealDisk, dir)?)
}

fn list(args: &List, out: &mut dyn Write) -> Result<Verdict> {
    let rows = tools::list(&blocks(&args.dir)?);
    match args.output {
        Output::Table => tools::print_rows(&rows, true, args.human_readable, out)?,
        Output::Json => {
            for row in &rows {
                writeln!(out, "{}", serde_json::to_string(row)?)?;
            }
        }
    }
    Ok(Verdict::Well)
}

fn dump_options(args: &Dump) -> Result<DumpOptions> {
    let format = match args.format.as_str() {
        "prom" => DumpFormat::Prom,
        "seriesjson" => DumpFormat::SeriesJson,
        other => bail!("--format {other:?} is not known: use prom or seriesjson"),
    };
    let sets =
        args.matches.iter().map(|m| parse_selector(m).with_context(|| format!("cannot read --match {m:?}")));
    Ok(DumpOptions {
        min_ms: args.min_time,
        max_ms: args.max_time,
        matcher_sets: sets.collect::<Result<_>>()?,
        format,
    })
}

fn dump(args: &Dump, out: &mut dyn Write) -> Result<Verdict> {
    tools::dump(&blocks(&args.dir)?, &dump_options(args)?, out, &Bars::beside_output())?;
    Ok(Verdict::Well)
}

fn dump_openmetrics(args: &Dump, out: &mut dyn Write) -> Result<Verdict> {
    tools::dump_openmetrics(&blocks(&args.dir)?, &dump_options(args)?, out, &Bars::beside_output())?;
    Ok(Verdict::Well)
}

fn analyze(args: &Analyze, out: &mut dyn Write) -> Result<Verdict> {
    let blocks = blocks(&args.dir)?;
    let wanted = match &args.block {
        Some(ulid) => blocks.iter().find(|b| b.meta().ulid.to_string() == *ulid),
        None => blocks.iter().max_by_key(|b| b.meta().max_time),
    };
    let Some(block) = wanted else {
        let which = args.block.as_deref().map_or("any block".to_owned(), |b| format!("block {b}"));
        bail!("cannot find {which} in {}", args.dir.display());
    };
    let matchers = args
        .matches
        .as_ref()
        .map(|m| {
            parse_selector(m)
                .map(|parsed| (m.clone(), parsed))
                .with_context(|| format!("cannot read --match {m:?}"))
        })
        .transpose()?;
    let options = AnalyzeOptions { limit: args.limit, extended: args.extended, matchers };
    tools::analyze(block, &options, out, &Bars::before_output())?;
    Ok(Verdict::Well)
}

fn verify(args: &Verify, out: &mut dyn Write) -> Result<Verdict> {
    let total =
        RealDisk.list(&args.dir).with_context(|| format!("cannot list {}", args.dir.display()))?.len();
    let bar = progress::bar(total as u64, "blocks");
    let verified = tools::verify_blocks(&RealDisk, &args.dir, |_| bar.inc(1))?;
    bar.finish_and_clear();
    match args.output {
        Output::Table => {
            tools::print_findings(&verified, out)?;
        }
        Output::Json => {
            for block in &verified {
                writeln!(out, "{}", serde_json::to_string(block)?)?;
            }
        }
    }
    let sound = verified.iter().all(|b| b.findings.is_empty());
    Ok(if sound { Verdict::Well } else { Verdict::Findings })
}

fn create(args: &Openmetrics, out: &mut dyn Write) -> Result<Verdict> {
    let bytes = RealDisk.map(&args.input).with_context(|| format!("cannot read {}", args.input.display()))?;
    let text =
        std::str::from_utf8(&bytes).with_context(|| format!("{} is not UTF-8 text", args.input.display()))?;
    let pairs = args
        .label
        .iter()
        .map(|l| l.split_once('=').with_context(|| format!("--label {l:?} is not name=value")));
    let labels = Labels::from_pairs(pairs.collect::<Result<Vec<_>>>()?)?;
    let options = BackfillOptions {
        input: args.input.display().to_string(),
        max_block_ms: args.max_block_duration.0.as_millis() as i64,
        labels,
        human: args.human_readable,
        quiet: args.quiet,
    };
    let (clock, rng) = (SystemClock::new(), Rng::from_entropy());
    let next_ulid = || Ulid::from_parts(clock.now_ms() as u64, rng.next_u128());
    tools::backfill(&RealDisk, &args.dir, text, &options, next_ulid, out, &Bars::beside_output())?;
    Ok(Verdict::Well)
}
