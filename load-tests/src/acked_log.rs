//! What the sender saw acked, kept outside the server, so that a verifier can hold the server to it.
//!
//! A file: one line of JSON with everything that the samples follow from (so series, timestamps and values need not be
//! stored), then 8 bytes a request that was answered 2xx: round and request number, u32 little-endian each. A record
//! is one `write` after the answer was read; a torn last record is ignored.

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use crate::fleet::Plan;

const FORMAT: u64 = 1;

/// Everything that decides which samples a request holds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Run {
    /// The fleet.
    pub plan: Plan,
    /// Rounds sent.
    pub rounds: u64,
    /// Samples a request.
    pub request_samples: usize,
    /// Connections, each of which has its own share of the series.
    pub connections: usize,
    /// Whether the order of the series changes with every round.
    pub shuffle: bool,
}

/// The open log.
pub struct AckedLog {
    file: Mutex<File>,
    path: PathBuf,
}

impl AckedLog {
    /// Starts a log, replacing an old one.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn create(path: &Path, run: &Run) -> Result<Self> {
        let mut file = File::create(path).with_context(|| format!("cannot create {}", path.display()))?;
        let plan = &run.plan;
        let head = json!({
            "cairn_acked_log": FORMAT,
            "series": plan.series, "churn_percent": plan.churn_percent, "seed": plan.seed,
            "start_ms": plan.start_ms, "step_ms": plan.step_ms,
            "rounds": run.rounds, "request_samples": run.request_samples,
            "connections": run.connections, "shuffle": run.shuffle,
        });
        writeln!(file, "{head}").with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self { file: Mutex::new(file), path: path.to_owned() })
    }

    /// Notes that a request was acked.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn record(&self, round: u64, request: u32) -> Result<()> {
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&u32::try_from(round).unwrap_or(u32::MAX).to_le_bytes());
        bytes[4..].copy_from_slice(&request.to_le_bytes());
        let mut file = self.file.lock().expect("a writer of the log does not panic");
        file.write_all(&bytes).with_context(|| format!("cannot write {}", self.path.display()))
    }
}

/// Reads a log: the run and the (round, request) pairs that were acked.
///
/// # Errors
/// When the file cannot be read or is not such a log.
pub fn read(path: &Path) -> Result<(Run, Vec<(u64, u32)>)> {
    let file = File::open(path).with_context(|| format!("cannot open {}", path.display()))?;
    let mut reader = BufReader::new(file);
    let mut head = String::new();
    reader.read_line(&mut head).with_context(|| format!("cannot read {}", path.display()))?;
    let head: Value = serde_json::from_str(&head)
        .with_context(|| format!("cannot read {}: no head line", path.display()))?;
    ensure!(
        head["cairn_acked_log"] == FORMAT,
        "cannot read {}: format {} where {FORMAT} was expected",
        path.display(),
        head["cairn_acked_log"]
    );
    let run =
        run(&head).with_context(|| format!("cannot read {}: its head lacks a field", path.display()))?;
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).with_context(|| format!("cannot read {}", path.display()))?;
    let number = |b: &[u8]| u32::from_le_bytes([b[0], b[1], b[2], b[3]]);
    let acked = bytes.chunks_exact(8).map(|b| (u64::from(number(b)), number(&b[4..]))).collect();
    Ok((run, acked))
}

fn run(head: &Value) -> Option<Run> {
    Some(Run {
        plan: Plan {
            series: head["series"].as_u64()? as usize,
            churn_percent: head["churn_percent"].as_f64()?,
            seed: head["seed"].as_u64()?,
            start_ms: head["start_ms"].as_i64()?,
            step_ms: head["step_ms"].as_i64()?,
        },
        rounds: head["rounds"].as_u64()?,
        request_samples: head["request_samples"].as_u64()? as usize,
        connections: head["connections"].as_u64()? as usize,
        shuffle: head["shuffle"].as_bool()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_log_reads_back_and_a_torn_record_is_left_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acked");
        let plan = Plan { series: 1_000, churn_percent: 1.5, seed: 9, start_ms: -5, step_ms: 15_000 };
        let run = Run { plan, rounds: 3, request_samples: 500, connections: 2, shuffle: true };
        let log = AckedLog::create(&path, &run).unwrap();
        log.record(1, 0).unwrap();
        log.record(2, 70_000).unwrap();
        log.file.lock().unwrap().write_all(&[1, 2, 3]).unwrap();
        assert_eq!(read(&path).unwrap(), (run, vec![(1, 0), (2, 70_000)]));
    }

    #[test]
    fn another_file_is_not_taken_for_a_log() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("acked");
        for text in ["", "hello\n", "{\"cairn_acked_log\":2}\n", "{\"cairn_acked_log\":1}\n"] {
            std::fs::write(&path, text).unwrap();
            assert!(read(&path).is_err(), "{text:?}");
        }
    }
}
