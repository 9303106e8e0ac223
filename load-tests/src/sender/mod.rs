//! Sends one round of prepared requests over all connections at once and reports what each sender saw.
//!
//! Parts in order: `connection` (one keep-alive stream) → [`Senders::send`], which runs one thread a connection until
//! the round is through → [`Tally`]. Invariant: a request counts as acked only after a whole 2xx answer was read;
//! one that broke half-way is neither acked nor refused, and says so.

mod connection;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::Result;
pub use connection::{Answer, Connection};

use crate::acked_log::AckedLog;

/// Pause before a refused or broken request is sent again.
const RETRY_PAUSE: Duration = Duration::from_millis(50);

/// One HTTP request, ready to be written.
pub struct Request {
    /// Head and body.
    pub bytes: Vec<u8>,
    /// Samples in the body.
    pub samples: u32,
    /// Number of the request within its round.
    pub index: u32,
}

/// How requests are sent.
#[derive(Debug, Clone, Copy)]
pub struct Policy {
    /// Where to.
    pub address: SocketAddr,
    /// How long a request that was refused with 5xx or broken is sent again.
    pub retry_for: Duration,
    /// Time between the starts of two requests over all connections; none means as fast as answers come.
    pub spacing: Option<Duration>,
    /// Whether each round begins with new connections, as after a restart of the sender.
    pub reconnect: bool,
}

/// What the senders of one round saw.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// Samples in requests that were answered 2xx.
    pub acked: u64,
    /// Samples in requests that were answered otherwise, after all retries.
    pub refused: u64,
    /// Samples in requests that broke before an answer, after all retries.
    pub unknown: u64,
    /// Samples that 2xx answers said were written, when they said so.
    pub written: u64,
    /// 2xx answers that did not say how much was written.
    pub written_unsaid: u64,
    /// Requests sent again.
    pub retries: u64,
    /// Answers by status.
    pub statuses: BTreeMap<u16, u64>,
    /// Time of each answered request, microseconds.
    pub latencies_us: Vec<u32>,
    /// How late the sender woke up for each request, microseconds; not part of the latencies.
    pub oversleeps_us: Vec<u32>,
    /// The first answer that was not 2xx.
    pub first_refusal: Option<String>,
    /// The first error of a connection.
    pub first_break: Option<String>,
    /// Whether the target could not be reached any more.
    pub unreachable: bool,
}

impl Tally {
    /// How the run ended.
    pub fn outcome(&self) -> Outcome {
        if self.unreachable {
            Outcome::Unreachable
        } else if self.refused > 0 {
            Outcome::SomeRefused
        } else {
            Outcome::AllAcked
        }
    }

    /// Adds another sender's or round's view.
    pub fn add(&mut self, other: Self) {
        self.acked += other.acked;
        self.refused += other.refused;
        self.unknown += other.unknown;
        self.written += other.written;
        self.written_unsaid += other.written_unsaid;
        self.retries += other.retries;
        self.unreachable |= other.unreachable;
        for (status, count) in other.statuses {
            *self.statuses.entry(status).or_default() += count;
        }
        self.latencies_us.extend(other.latencies_us);
        self.oversleeps_us.extend(other.oversleeps_us);
        self.first_refusal = self.first_refusal.take().or(other.first_refusal);
        self.first_break = self.first_break.take().or(other.first_break);
    }
}

/// How a command ended, for the exit code.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Everything was answered 2xx.
    AllAcked,
    /// The target was there and refused something, or broke another promise.
    SomeRefused,
    /// The target could not be reached, or went away.
    Unreachable,
}

impl Outcome {
    /// The one that tells more of what went wrong.
    pub fn worse(self, other: Self) -> Self {
        match (self, other) {
            (Self::Unreachable, _) | (_, Self::Unreachable) => Self::Unreachable,
            (Self::SomeRefused, _) | (_, Self::SomeRefused) => Self::SomeRefused,
            _ => Self::AllAcked,
        }
    }
}

/// The senders with their open connections.
pub struct Senders {
    policy: Policy,
    connections: Vec<Option<Connection>>,
    stop: AtomicBool,
}

impl Senders {
    /// `count` senders, not yet connected.
    pub fn new(policy: Policy, count: usize) -> Self {
        Self { policy, connections: (0..count).map(|_| None).collect(), stop: AtomicBool::new(false) }
    }

    /// Sends a round: `requests[c]` over connection `c`, in order. Returns when all are answered, or when the target
    /// has gone and stayed away.
    ///
    /// # Errors
    /// When the log of acked requests cannot be written.
    pub fn send(&mut self, round: u64, requests: &[Vec<Request>], log: Option<&AckedLog>) -> Result<Tally> {
        let (policy, stop) = (self.policy, &self.stop);
        let total = requests.len() as u32;
        let start = Instant::now();
        let mut whole = Tally::default();
        let tallies: Vec<Result<Tally>> = std::thread::scope(|scope| {
            let threads: Vec<_> = self
                .connections
                .iter_mut()
                .zip(requests)
                .enumerate()
                .map(|(lane, (connection, requests))| {
                    let schedule =
                        Schedule { start, spacing: policy.spacing, lane: lane as u32, lanes: total };
                    scope.spawn(move || {
                        if policy.reconnect {
                            *connection = None;
                        }
                        Lane { policy, connection, stop, tally: Tally::default() }
                            .run(round, requests, schedule, log)
                    })
                })
                .collect();
            threads.into_iter().map(|t| t.join().expect("a sender does not panic")).collect()
        });
        for tally in tallies {
            whole.add(tally?);
        }
        Ok(whole)
    }
}

/// When each request of a lane is due.
#[derive(Debug, Clone, Copy)]
struct Schedule {
    start: Instant,
    spacing: Option<Duration>,
    lane: u32,
    lanes: u32,
}

impl Schedule {
    /// Waits until the lane's `n`-th request is due and returns the moment from which its latency counts, and how late
    /// the lane woke up by itself. Where the request before was answered too late that moment is the due time, so that a
    /// stalled target cannot hide requests which it kept from being sent; else it is when the lane woke up, which the
    /// target has no part in.
    fn wait(self, n: usize) -> (Instant, Duration) {
        let now = Instant::now();
        let Some(spacing) = self.spacing else { return (now, Duration::ZERO) };
        let due = self.start + spacing * (n as u32 * self.lanes + self.lane);
        if due <= now {
            return (due, Duration::ZERO);
        }
        std::thread::sleep(due - now);
        let awake = Instant::now();
        (awake, awake.saturating_duration_since(due))
    }
}

struct Lane<'a> {
    policy: Policy,
    connection: &'a mut Option<Connection>,
    stop: &'a AtomicBool,
    tally: Tally,
}

impl Lane<'_> {
    fn run(
        mut self,
        round: u64,
        requests: &[Request],
        schedule: Schedule,
        log: Option<&AckedLog>,
    ) -> Result<Tally> {
        for (n, request) in requests.iter().enumerate() {
            let (due, late) = schedule.wait(n);
            self.tally.oversleeps_us.push(micros(late));
            if self.stop.load(Ordering::Relaxed) {
                break;
            }
            if self.deliver(request, due)
                && let Some(log) = log
            {
                log.record(round, request.index)?;
            }
        }
        Ok(self.tally)
    }

    /// Sends one request until it is answered for good. True when it was acked.
    fn deliver(&mut self, request: &Request, due: Instant) -> bool {
        let deadline = due + self.policy.retry_for;
        let samples = u64::from(request.samples);
        loop {
            let outcome = self.attempt(request);
            let again = Instant::now() + RETRY_PAUSE < deadline;
            match outcome {
                Ok(answer) => {
                    self.tally.latencies_us.push(micros(due.elapsed()));
                    *self.tally.statuses.entry(answer.status).or_default() += 1;
                    if (200..300).contains(&answer.status) {
                        self.tally.acked += samples;
                        match answer.written {
                            Some(written) => self.tally.written += written,
                            None => self.tally.written_unsaid += 1,
                        }
                        return true;
                    }
                    let text = String::from_utf8_lossy(&answer.body);
                    self.tally
                        .first_refusal
                        .get_or_insert_with(|| format!("{}: {}", answer.status, text.trim()));
                    if answer.status < 500 || !again {
                        self.tally.refused += samples;
                        return false;
                    }
                }
                Err(error) => {
                    self.tally.first_break.get_or_insert_with(|| error.to_string());
                    if !again {
                        self.tally.unknown += samples;
                        self.tally.unreachable = true;
                        self.stop.store(true, Ordering::Relaxed);
                        return false;
                    }
                }
            }
            self.tally.retries += 1;
            std::thread::sleep(RETRY_PAUSE);
        }
    }

    fn attempt(&mut self, request: &Request) -> std::io::Result<Answer> {
        let mut connection = match self.connection.take() {
            Some(open) => open,
            None => Connection::open(self.policy.address)?,
        };
        let answer = connection.exchange(&request.bytes)?;
        if connection.is_reusable() {
            *self.connection = Some(connection);
        }
        Ok(answer)
    }
}

fn micros(time: Duration) -> u32 {
    time.as_micros().try_into().unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
