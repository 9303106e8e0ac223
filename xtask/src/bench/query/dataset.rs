//! What is asked about: 20,000 series, 6 h at 15 s, the same samples in every program.

use std::path::Path;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use super::measures::Ask;
use crate::bench::load::{Load, verify};
use crate::bench::server::Server;
use crate::http::escape;

const SERIES: usize = 20_000;
const STEP_MS: i64 = 15_000;
const HOURS: i64 = 6;
const HOUR_MS: i64 = 3_600_000;
/// The first samples are 6 h old when the last ones are now, and cairn takes none that is older. So the load begins
/// this far ahead; its last samples lie in the future until it has been sent.
const AHEAD_MS: i64 = 90_000;
/// Instances of which one is read back sample by sample; all would take longer than the load itself.
const VERIFY_EVERY: usize = 20;
/// Prometheus looks once a minute whether its head is to be cut into blocks, the others more often.
const SETTLE: Duration = Duration::from_secs(70);

/// Samples of one load.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Dataset {
    /// Series.
    series: usize,
    /// Time of the first samples.
    start_ms: i64,
}

impl Dataset {
    /// The samples that end now; a tenth of the series when it is to be quick.
    pub fn ending_now(quick: bool) -> Self {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_millis() as i64;
        let start_ms = now + AHEAD_MS - HOURS * HOUR_MS + STEP_MS;
        Self { series: if quick { SERIES / 10 } else { SERIES }, start_ms }
    }

    fn load(&self) -> Load {
        Load {
            proto: 1,
            series: self.series,
            rounds: (HOURS * HOUR_MS / STEP_MS) as u64,
            churn: 0.0,
            shuffle: false,
            reconnect: false,
            rate: None,
            seed: 1,
            settle_s: 0,
            start_ms: Some(self.start_ms),
            request_samples: 5_000,
        }
    }

    /// Samples in all.
    pub fn samples(&self) -> u64 {
        self.series as u64 * self.load().rounds
    }

    /// Time of the last samples.
    fn end_ms(&self) -> i64 {
        self.start_ms + HOURS * HOUR_MS - STEP_MS
    }

    /// Sends all samples as fast as they are taken, and reads some back. Gives the seconds it took.
    ///
    /// # Errors
    /// When one was refused, or is not answered as it was sent.
    pub fn fill(&self, server: &Server, folder: &Path) -> Result<f64> {
        let acked_log = folder.join("acked");
        let summary = self.load().run(server, &acked_log)?;
        verify(server, &acked_log, VERIFY_EVERY)?;
        let seconds = |part: &str| summary.pointer(part).and_then(serde_json::Value::as_f64);
        seconds("/steady/seconds").context("the generator's summary has no /steady/seconds")
    }

    /// Waits until no program works on what the load left behind.
    pub fn settle(quick: bool) {
        std::thread::sleep(if quick { SETTLE / 10 } else { SETTLE });
    }

    /// The path that asks it.
    pub fn path(&self, ask: Ask) -> String {
        let end = self.end_ms();
        let seconds = |t_ms: i64| format!("{}.{:03}", t_ms / 1_000, t_ms % 1_000);
        // VictoriaMetrics moves the ends of a range unless it is told not to cache; the others know no such parameter.
        let range =
            |hours: i64| format!("start={}&end={}&nocache=1", seconds(end - hours * HOUR_MS), seconds(end));
        match ask {
            Ask::Range { expr, hours, step_s } => {
                format!("/api/v1/query_range?query={}&{}&step={step_s}", escape(expr), range(hours))
            }
            Ask::Instant(expr) => {
                format!("/api/v1/query?query={}&time={}&nocache=1", escape(expr), seconds(end))
            }
            Ask::Series(selector) => {
                format!("/api/v1/series?match%5B%5D={}&{}", escape(selector), range(HOURS))
            }
            Ask::LabelValues(name) => format!("/api/v1/label/{name}/values?{}", range(HOURS)),
        }
    }
}
