//! Payloads, encoded before the clock starts: as many rounds at a time as fit the budget.

use anyhow::Result;

use super::Args;
use crate::acked_log::Run;
use crate::fleet::Fleet;
use crate::schedule;
use crate::sender::Request;
use crate::target::Target;
use crate::wire::{Encoder, Proto, request_head};

/// A prepared round.
pub struct Round {
    /// Number of the round, 1 for the first.
    pub number: u64,
    /// Timestamp of its samples, Unix milliseconds.
    pub timestamp_ms: i64,
    /// Series that were never sent before.
    pub new_series: usize,
    /// Samples in all requests.
    pub samples: u64,
    /// By connection, in order.
    pub requests: Vec<Vec<Request>>,
}

/// Prepares payloads.
pub struct Loader {
    /// The fleet, as far on as the last encoded round.
    pub fleet: Fleet,
    encoder: Encoder,
    run: Run,
    head: String,
    budget_bytes: usize,
    /// Number of the round that is encoded next.
    pub next_round: u64,
    /// How often rounds were encoded; between two the clock stood still.
    pub fillings: u64,
    /// Samples encoded so far.
    pub samples: u64,
    /// Bytes of their messages.
    pub raw_bytes: u64,
    /// Bytes of their bodies.
    pub body_bytes: u64,
}

impl Loader {
    /// Before the first round.
    pub fn new(args: &Args, run: Run, target: &Target) -> Self {
        let proto = if args.proto == 1 { Proto::V1 } else { Proto::V2 };
        let head = request_head(target, proto, args.tenant.as_deref());
        Self {
            fleet: Fleet::new(run.plan),
            encoder: Encoder::new(proto),
            run,
            head,
            budget_bytes: args.payload_mib << 20,
            next_round: 1,
            fillings: 0,
            samples: 0,
            raw_bytes: 0,
            body_bytes: 0,
        }
    }

    /// Encodes rounds until the budget is used up; at least one.
    ///
    /// # Errors
    /// When a request is too large for snappy.
    pub fn fill(&mut self) -> Result<Vec<Round>> {
        self.fillings += 1;
        let mut held = 0;
        let mut rounds = Vec::new();
        while self.next_round <= self.run.rounds && (rounds.is_empty() || held < self.budget_bytes) {
            let round = self.encode()?;
            held += round.requests.iter().flatten().map(|r| r.bytes.len()).sum::<usize>();
            rounds.push(round);
        }
        Ok(rounds)
    }

    fn encode(&mut self) -> Result<Round> {
        let number = self.next_round;
        self.next_round += 1;
        let new_series = self.fleet.advance();
        let mut lanes = Vec::with_capacity(self.run.connections);
        for plans in schedule::requests(&self.run, number) {
            let mut lane = Vec::with_capacity(plans.len());
            for plan in plans {
                let encoded = self.encoder.encode(&self.fleet, &plan.series)?;
                let mut bytes = format!("{}{}\r\n\r\n", self.head, encoded.body.len()).into_bytes();
                bytes.extend_from_slice(encoded.body);
                self.raw_bytes += encoded.raw_bytes as u64;
                self.body_bytes += encoded.body.len() as u64;
                lane.push(Request { bytes, samples: plan.series.len() as u32, index: plan.index });
            }
            lanes.push(lane);
        }
        let samples = self.fleet.len() as u64;
        self.samples += samples;
        Ok(Round { number, timestamp_ms: self.fleet.timestamp_ms(), new_series, samples, requests: lanes })
    }
}
