//! `load-tests verify`: asks the server for every sample that a run's log says was acked.
//!
//! Parts in order: the log → the same samples made again from its plan → one range-selector query an instance → compare.
//! Labels which the generator does not use (a tenant, external labels) are left out of the comparison. Invariant: a
//! sample counts as found only with its own labels, timestamp and value bits; nothing is assumed from counts.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use crate::acked_log::{self, Run};
use crate::fleet::Fleet;
use crate::fleet::families::SERIES_PER_INSTANCE;
use crate::schedule;
use crate::sender::{Connection, Outcome};
use crate::target::Target;

/// Largest answer that is read: 500 series over half a day.
const MAX_ANSWER_BYTES: usize = 1 << 30;

/// Options of the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The server's Prometheus API, http://HOST:PORT (or with a prefix before /api/v1).
    #[arg(long)]
    url: String,
    /// What `load-tests remote-write --acked-log` wrote.
    #[arg(long)]
    acked_log: PathBuf,
    /// Tenant, sent as THANOS-TENANT.
    #[arg(long)]
    tenant: Option<String>,
    /// Check every Nth instance only.
    #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u64).range(1..))]
    every: u64,
}

/// What was found.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Findings {
    /// Samples that were acked, and looked for.
    pub acked: u64,
    /// Acked samples the server does not have.
    pub missing: u64,
    /// Samples the server has with another value than was sent.
    pub different: u64,
    /// Samples the server has more than once.
    pub doubled: u64,
    /// Samples the server has and nobody sent.
    pub invented: u64,
    /// Samples that were sent, not acked, and are there: allowed.
    pub offered: u64,
}

impl Findings {
    /// Whether the server kept its word.
    pub fn is_clean(self) -> bool {
        self.missing + self.different + self.doubled + self.invented == 0
    }
}

/// Runs the command; prints one JSON line. A server that cannot be asked is an [`Outcome::Unreachable`].
///
/// # Errors
/// When the log cannot be read or an argument makes no sense.
pub fn run(args: &Args) -> Result<Outcome> {
    let (run, acked) = acked_log::read(&args.acked_log)?;
    let every = usize::try_from(args.every).context("cannot count that far")?;
    let target = Target::parse(&args.url)?;
    let mut sent = Sent::of(&run, &acked, every);
    match ask(&target, args.tenant.as_deref(), &run, &mut sent) {
        Err(error) => {
            eprintln!("{error:#}");
            Ok(Outcome::Unreachable)
        }
        Ok(findings) if findings.is_clean() => Ok(Outcome::AllAcked),
        Ok(_) => Ok(Outcome::SomeRefused),
    }
}

fn ask(target: &Target, tenant: Option<&str>, run: &Run, sent: &mut Sent) -> Result<Findings> {
    let mut client = Client::open(target, tenant)?;
    let mut findings = Findings { acked: sent.acked, ..Findings::default() };
    let plan = &run.plan;
    let last_ms = plan.start_ms + (run.rounds as i64 - 1) * plan.step_ms;
    // A range selector leaves out its left edge.
    let range_s = (last_ms - plan.start_ms) / 1_000 + 2;
    let mut series = 0;
    for instance in sent.instances.clone() {
        let query = format!("{{instance=\"{instance}\"}}[{range_s}s]");
        let answer = client.query(&query, last_ms)?;
        series += compare(&answer, sent, plan.start_ms, plan.step_ms, &mut findings)
            .with_context(|| format!("cannot read the answer to {query}"))?;
    }
    findings.missing = sent.missing();
    println!(
        "{}",
        json!({
            "event": "verify", "acked": findings.acked, "missing": findings.missing, "different": findings.different,
            "doubled": findings.doubled, "invented": findings.invented, "offered": findings.offered,
            "instances": sent.instances.len(), "series": series,
        })
    );
    Ok(findings)
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    NotAcked,
    Acked,
    Found,
}

#[derive(Debug, Clone, Copy)]
struct Sample {
    round: u32,
    state: State,
    value: f64,
}

/// Hash of a series' sorted labels, wide enough that two series never share one.
type Identity = u128;

/// Everything the run sent, acked or not, of the instances under check.
struct Sent {
    samples: HashMap<Identity, Vec<Sample>>,
    names: Vec<String>,
    instances: Vec<String>,
    acked: u64,
}

impl Sent {
    fn of(run: &Run, acked: &[(u64, u32)], every: usize) -> Self {
        let mut by_round: HashMap<u64, Vec<u32>> = HashMap::new();
        for (round, request) in acked {
            by_round.entry(*round).or_default().push(*request);
        }
        let mut fleet = Fleet::new(run.plan);
        let mut sent = Self { samples: HashMap::new(), names: Vec::new(), instances: Vec::new(), acked: 0 };
        sent.instances = fleet.instance_names().step_by(every).map(str::to_owned).collect();
        let mut identities: Vec<Option<(u32, Identity)>> = vec![None; fleet.len()];
        for round in 1..=run.rounds {
            fleet.advance();
            let acked = by_round.remove(&round).unwrap_or_default();
            for request in schedule::requests(run, round).into_iter().flatten() {
                let state = if acked.contains(&request.index) { State::Acked } else { State::NotAcked };
                for series in request.series.into_iter().map(|s| s as usize) {
                    if !(series / SERIES_PER_INSTANCE).is_multiple_of(every) {
                        continue;
                    }
                    let generation = fleet.generation(series);
                    let identity = match identities[series] {
                        Some((of, identity)) if of == generation => identity,
                        _ => {
                            let identity = sent.identity(&fleet, series);
                            identities[series] = Some((generation, identity));
                            identity
                        }
                    };
                    sent.acked += u64::from(state == State::Acked);
                    let sample = Sample { round: round as u32, state, value: fleet.value(series) };
                    sent.samples.entry(identity).or_default().push(sample);
                }
            }
        }
        sent
    }

    /// Acked samples that no answer held.
    fn missing(&self) -> u64 {
        self.samples.values().flatten().filter(|s| s.state == State::Acked).count() as u64
    }

    fn identity(&mut self, fleet: &Fleet, series: usize) -> Identity {
        let labels: Vec<(&str, &str)> =
            fleet.labels(series).map(|(n, v)| (fleet.symbols.text(n), fleet.symbols.text(v))).collect();
        for (name, _) in &labels {
            if !self.names.iter().any(|n| n == name) {
                self.names.push((*name).to_owned());
            }
        }
        identity(labels.into_iter())
    }
}

fn identity<'a>(sorted: impl Iterator<Item = (&'a str, &'a str)>) -> Identity {
    let (mut low, mut high) = (DefaultHasher::new(), DefaultHasher::new());
    high.write_u8(1);
    for pair in sorted {
        pair.hash(&mut low);
        pair.hash(&mut high);
    }
    u128::from(low.finish()) | u128::from(high.finish()) << 64
}

/// Ticks off the samples of one answer. Returns how many series it held.
fn compare(
    answer: &Value,
    sent: &mut Sent,
    start_ms: i64,
    step_ms: i64,
    findings: &mut Findings,
) -> Result<u64> {
    let result = answer["data"]["result"].as_array().context("it has no data.result")?;
    for series in result {
        let metric = series["metric"].as_object().context("a series has no metric")?;
        let mut labels: Vec<(&str, &str)> = metric
            .iter()
            .filter(|(name, _)| sent.names.iter().any(|n| n == *name))
            .map(|(name, value)| (name.as_str(), value.as_str().unwrap_or_default()))
            .collect();
        labels.sort_unstable();
        let mut known = sent.samples.get_mut(&identity(labels.into_iter()));
        for point in series["values"].as_array().context("a series has no values")? {
            let seconds = point[0].as_f64().context("a timestamp is not a number")?;
            let value: f64 =
                point[1].as_str().and_then(|v| v.parse().ok()).context("a value is not a number")?;
            let since_ms = (seconds * 1_000.0).round() as i64 - start_ms;
            let round = since_ms / step_ms + 1;
            let sample = known
                .as_mut()
                .filter(|_| since_ms % step_ms == 0)
                .and_then(|all| all.iter_mut().find(|s| i64::from(s.round) == round));
            match sample {
                None => findings.invented += 1,
                Some(Sample { state: State::Found, .. }) => findings.doubled += 1,
                Some(sample) => {
                    findings.different += u64::from(sample.value.to_bits() != value.to_bits());
                    findings.offered += u64::from(sample.state == State::NotAcked);
                    sample.state = State::Found;
                }
            }
        }
    }
    Ok(result.len() as u64)
}

/// Asks instant queries over one connection.
struct Client {
    connection: Connection,
    prefix: String,
    authority: String,
    tenant: String,
}

impl Client {
    fn open(target: &Target, tenant: Option<&str>) -> Result<Self> {
        let connection = Connection::open(target.address()?)
            .with_context(|| format!("cannot reach {}", target.authority))?
            .keeping_bodies(MAX_ANSWER_BYTES);
        Ok(Self {
            connection,
            prefix: target.path.trim_end_matches('/').to_owned(),
            authority: target.authority.clone(),
            tenant: tenant.map(|t| format!("THANOS-TENANT: {t}\r\n")).unwrap_or_default(),
        })
    }

    fn query(&mut self, query: &str, time_ms: i64) -> Result<Value> {
        let request = format!(
            "GET {}/api/v1/query?query={}&time={}.{:03} HTTP/1.1\r\nHost: {}\r\n{}\r\n",
            self.prefix,
            percent_encoded(query),
            time_ms.div_euclid(1_000),
            time_ms.rem_euclid(1_000),
            self.authority,
            self.tenant,
        );
        let answer = self
            .connection
            .exchange(request.as_bytes())
            .with_context(|| format!("cannot query {}", self.authority))?;
        if answer.status != 200 {
            bail!("cannot query {query}: {}: {}", answer.status, String::from_utf8_lossy(&answer.body));
        }
        serde_json::from_slice(&answer.body).with_context(|| format!("cannot read the answer to {query}"))
    }
}

fn percent_encoded(text: &str) -> String {
    let one = |byte: u8| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b'~' => char::from(byte).to_string(),
        other => format!("%{other:02X}"),
    };
    text.bytes().map(one).collect()
}

#[cfg(test)]
mod tests;
