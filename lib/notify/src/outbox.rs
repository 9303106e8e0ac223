//! One Alertmanager's outbox: a row an alert, holding what that Alertmanager has not accepted yet.
//!
//! A row is not a queue of copies: a newer state of the same episode replaces the older one. Only an episode that ended
//! unsent is kept beside the next one, so that an alert that fired and resolved while the Alertmanager was down is told
//! in full. Pure: no clock, no I/O.
//!
//! Invariants ([`Outbox::validate`]): no row is empty; rows and episodes stay within their bounds; an episode other than
//! the last of its row is resolved.

use std::collections::{BTreeMap, VecDeque};

use cairn_model::{Labels, TimestampMs};

use crate::alert::{AlertState, AlertUpdate};

/// Alerts an outbox holds at most. Judgement: 100,000 undelivered alerts are about 100 MiB.
pub const MAX_ROWS: usize = 100_000;
/// Unsent episodes of one alert; beyond, the oldest goes.
pub const MAX_EPISODES: usize = 8;

/// One time that an alert fired, from its start to its end.
#[derive(Debug, Clone, PartialEq)]
pub struct Episode {
    /// When it began to fire.
    pub starts_at_ms: TimestampMs,
    /// Expanded annotations.
    pub annotations: Labels,
    /// Where the expression can be looked at.
    pub generator_url: String,
    /// Whether it still fires.
    pub state: AlertState,
    /// Changes with every update, so that an answer to an older state is not taken for this one's.
    pub version: u64,
}

/// What is to be posted of one alert.
#[derive(Debug, Clone, PartialEq)]
pub struct Due {
    /// Identity.
    pub labels: Labels,
    /// The oldest unsent episode.
    pub episode: Episode,
}

/// What an update did besides being stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Dropped {
    /// Alerts that gave way because of [`MAX_ROWS`].
    pub alerts: u64,
    /// Episodes that gave way because of [`MAX_EPISODES`].
    pub episodes: u64,
}

/// Undelivered alerts of one Alertmanager.
#[derive(Debug, Clone, Default)]
pub struct Outbox {
    rows: BTreeMap<Labels, VecDeque<Episode>>,
    next_version: u64,
    /// Where the next batch begins, so that a batch that keeps failing does not starve the rest.
    cursor: Option<Labels>,
}

impl Outbox {
    /// Alerts waiting.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    /// Takes in the newest state of an alert. O(log rows).
    pub fn put(&mut self, update: AlertUpdate) -> Dropped {
        let mut dropped = Dropped::default();
        self.next_version += 1;
        let episode = Episode {
            starts_at_ms: update.starts_at_ms,
            annotations: update.annotations,
            generator_url: update.generator_url,
            state: update.state,
            version: self.next_version,
        };
        if !self.rows.contains_key(&update.labels) && self.rows.len() >= MAX_ROWS {
            // The new alert matters more than one that has waited long in vain.
            self.rows.pop_first();
            dropped.alerts = 1;
        }
        let row = self.rows.entry(update.labels).or_default();
        match row.back_mut() {
            // The last episode goes on, or never told that it ended: the update replaces it.
            Some(last) if last.starts_at_ms == episode.starts_at_ms || is_firing(last) => *last = episode,
            _ => row.push_back(episode),
        }
        if row.len() > MAX_EPISODES {
            row.pop_front();
            dropped.episodes = 1;
        }
        dropped
    }

    /// The next batch: the oldest unsent episode of each of up to `limit` alerts, going round all rows.
    pub fn due(&mut self, limit: usize) -> Vec<Due> {
        let first = |(labels, row): (&Labels, &VecDeque<Episode>)| Due {
            labels: labels.clone(),
            episode: row.front().expect("no row is empty").clone(),
        };
        let batch: Vec<Due> = match &self.cursor {
            Some(cursor) => {
                let after = self.rows.range(cursor.clone()..).map(first);
                let before = self.rows.range(..cursor.clone()).map(first);
                after.chain(before).take(limit).collect()
            }
            None => self.rows.iter().map(first).take(limit).collect(),
        };
        batch
    }

    /// The batch was tried: the next one begins behind it.
    pub fn advance(&mut self, batch: &[Due]) {
        let Some(last) = batch.last() else { return };
        self.cursor = self
            .rows
            .range(last.labels.clone()..)
            .map(|(labels, _)| labels)
            .find(|labels| **labels != last.labels)
            .cloned();
    }

    /// The Alertmanager has this state, or will never take it: it need not be sent again.
    pub fn settle(&mut self, due: &Due) {
        let Some(row) = self.rows.get_mut(&due.labels) else { return };
        if row.front().is_some_and(|first| first.version == due.episode.version) {
            row.pop_front();
        }
        if row.is_empty() {
            self.rows.remove(&due.labels);
        }
    }

    /// Everything that waits, for [`crate::persist`].
    pub(crate) fn rows(&self) -> impl Iterator<Item = (&Labels, &VecDeque<Episode>)> {
        self.rows.iter()
    }

    /// Checks the invariants; O(episodes).
    ///
    /// # Errors
    /// The one that does not hold.
    pub fn validate(&self) -> Result<(), String> {
        if self.rows.len() > MAX_ROWS {
            return Err(format!("{} rows, limit {MAX_ROWS}", self.rows.len()));
        }
        for (labels, row) in &self.rows {
            if row.is_empty() || row.len() > MAX_EPISODES {
                return Err(format!("{} episodes of {labels}", row.len()));
            }
            if row.iter().rev().skip(1).any(is_firing) {
                return Err(format!("an episode of {labels} fires although another followed"));
            }
        }
        Ok(())
    }
}

fn is_firing(episode: &Episode) -> bool {
    matches!(episode.state, AlertState::Firing { .. })
}

#[cfg(test)]
mod tests;
