//! One program answering one query again and again: how long, and for how much CPU.

use std::time::Instant;

use anyhow::{Context, Result, ensure};

use crate::bench::row::Spread;
use crate::bench::server::Server;
use crate::http::{Answer, Connection};

#[path = "../../../../load-tests/src/server_process.rs"]
mod server_process;

/// A turn lasts about this long: the kernel counts CPU time in ticks of 10 ms, which must not matter.
const TURN_S: f64 = 0.8;
const MIN_EXECUTIONS: usize = 5;
const MAX_EXECUTIONS: usize = 1_000;

/// A program that is asked one query.
pub struct Asked<'a> {
    server: &'a Server,
    connection: Connection,
    path: String,
    executions: usize,
}

/// What a turn gave.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Turn {
    /// Median time of an answer.
    pub wall_ms: f64,
    /// CPU time an answer.
    pub cpu_ms: f64,
}

impl<'a> Asked<'a> {
    /// Asks once, gives the answer, and finds out how often a turn is to ask.
    ///
    /// # Errors
    /// When the program does not answer.
    pub fn first(server: &'a Server, path: String) -> Result<(Self, Answer)> {
        let mut connection = Connection::open(&server.http)?;
        connection.get(&path)?;
        let begun = Instant::now();
        let answer = connection.get(&path)?;
        let executions = (TURN_S / begun.elapsed().as_secs_f64()) as usize;
        let executions = executions.clamp(MIN_EXECUTIONS, MAX_EXECUTIONS);
        Ok((Self { server, connection, path, executions }, answer))
    }

    /// Asks for one turn.
    ///
    /// # Errors
    /// When an answer is missing or an error.
    pub fn turn(&mut self) -> Result<Turn> {
        let cpu_s = || {
            let each = self.server.pids().map(|pid| Ok(server_process::usage(pid)?.cpu_s));
            each.sum::<Result<f64>>()
        };
        let before_s = cpu_s()?;
        let mut times_ms = Vec::with_capacity(self.executions);
        for _ in 0..self.executions {
            let begun = Instant::now();
            let answer = self.connection.get(&self.path)?;
            times_ms.push(begun.elapsed().as_secs_f64() * 1e3);
            ensure!(answer.status == 200, "status {} on a repeated query", answer.status);
        }
        let cpu_ms = (cpu_s()? - before_s) * 1e3 / self.executions as f64;
        let wall_ms = Spread::of(&times_ms).context("no execution")?.median;
        Ok(Turn { wall_ms, cpu_ms })
    }
}
