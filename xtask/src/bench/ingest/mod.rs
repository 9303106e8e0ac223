//! `bench ingest`: what a sample costs from the request to the durable log.
//!
//! Parts in order: `measures` (rows) → `scenarios` (one server, one load, several figures) → here the loop that runs
//! each scenario against cairn and its peers in turn, so that a neighbour's noise meets all of them alike → rows.

mod bombs;
mod latency;
mod measures;
mod restart;
mod scenarios;
mod seal;

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::Result;
use measures::ALL;
use scenarios::{SCENARIOS, Scenario};

use super::row::{Measure, Observation, Row, Spread};
use super::server::Program;
use super::{Options, folder};
use crate::peers;

/// cairn first.
const PROGRAMS: &[Program] = &[Program::Cairn, Program::VictoriaMetrics, Program::Prometheus];

/// What the runs of one scenario gave: figures by row name.
pub type Figures = Vec<(&'static str, f64)>;

/// Names for `--only`.
pub fn row_names() -> Vec<&'static str> {
    ALL.iter().map(|m| m.name).collect()
}

/// Measures the rows that are asked for, and hands each over when its scenario is done.
///
/// # Errors
/// When the data folder cannot be made; a program that fails is a row's reason.
pub fn run(options: &Options, done: &mut dyn FnMut(Row)) -> Result<()> {
    for reason in peers::fetch(&["victoria-metrics", "prometheus"]) {
        eprintln!("{reason}");
    }
    let root = folder::root()?;
    let file_system = folder::file_system(&root)?;
    let mut board = Board::default();
    let unsynced = folder::unsynced(&root, &file_system);
    if let Some(reason) = &unsynced {
        board.refuse_all(reason);
    }
    for scenario in SCENARIOS.iter().filter(|s| s.rows.iter().any(|m| options.wants(m.name))) {
        if unsynced.is_none() {
            measure(scenario, options, &root, &mut board);
        }
        for measure in scenario.rows.iter().filter(|m| options.wants(m.name)) {
            done(board.row(*measure, &file_system, options));
        }
    }
    Ok(())
}

fn programs(options: &Options) -> impl Iterator<Item = Program> + use<> {
    let alone = options.alone;
    PROGRAMS.iter().copied().filter(move |p| !alone || *p == Program::Cairn)
}

fn measure(scenario: &Scenario, options: &Options, root: &Path, board: &mut Board) {
    for run in 0..scenario.repeat(options) {
        for program in programs(options).filter(|p| scenario.runs(*p)) {
            eprintln!("{}: {} run {} …", scenario.name, program.name(), run + 1);
            let data = folder::fresh(root, program);
            let outcome = scenario.run(program, &data, options.quick);
            let _ = std::fs::remove_dir_all(&data);
            board.take(scenario, program, outcome);
        }
    }
}

/// Figures and reasons by (row, program).
#[derive(Default)]
struct Board {
    values: BTreeMap<(&'static str, &'static str), Result<Vec<f64>, String>>,
    limits: BTreeMap<&'static str, Vec<(f64, f64)>>,
    notes: BTreeMap<&'static str, String>,
}

impl Board {
    fn take(&mut self, scenario: &Scenario, program: Program, outcome: Result<scenarios::Outcome>) {
        match outcome {
            Err(error) => {
                eprintln!("{}: {}: {error:#}", scenario.name, program.name());
                for measure in scenario.rows {
                    self.values
                        .insert((measure.name, program.name()), Err(format!("{error:#}").replace('\n', " ")));
                }
            }
            Ok(outcome) => {
                let own = |row: &str| scenario.rows.iter().any(|m| m.name == row);
                for (row, value) in outcome.figures.into_iter().filter(|(row, _)| own(row)) {
                    let all = self.values.entry((row, program.name())).or_insert_with(|| Ok(Vec::new()));
                    // A run that failed before stays a failure: the median of the lucky runs is no figure.
                    if let Ok(values) = all {
                        values.push(value);
                    }
                }
                // cairn comes first; a peer's note stands only where cairn gave none.
                for measure in scenario.rows {
                    self.notes.entry(measure.name).or_insert_with(|| outcome.note.clone());
                }
                if program == Program::Cairn {
                    self.limits.entry(scenario.rows[0].name).or_default().extend(outcome.limits);
                }
            }
        }
    }

    fn refuse_all(&mut self, reason: &str) {
        for measure in ALL {
            for program in PROGRAMS {
                self.values.insert((measure.name, program.name()), Err(reason.to_owned()));
            }
        }
    }

    fn row(&self, mut measure: Measure, file_system: &str, options: &Options) -> Row {
        if let Some((must, aim)) = self.limits.get(measure.name).and_then(|limits| middle(limits)) {
            (measure.must, measure.aim) = (Some(must), Some(aim));
        }
        let observations = PROGRAMS
            .iter()
            .filter_map(|program| {
                let values = self.values.get(&(measure.name, program.name()))?.clone();
                let values = match values {
                    Ok(_) if options.quick && *program == Program::Cairn => {
                        return Some(Observation {
                            subject: program.name().to_owned(),
                            version: program.version(),
                            values: Err(format!("quick run gave {:?}", values.unwrap_or_default())),
                        });
                    }
                    other => other,
                };
                Some(Observation { subject: program.name().to_owned(), version: program.version(), values })
            })
            .collect::<Vec<_>>();
        let peer_now = measure.anchor.and_then(|anchor| match anchor.row {
            Some(row) => Spread::of(self.values.get(&(row, anchor.peer))?.as_ref().ok()?).map(|s| s.median),
            None => Observation::median_of(anchor.peer, &observations),
        });
        let note = self.notes.get(measure.name).cloned().unwrap_or_default();
        let note = [note, file_system.to_owned()].into_iter().filter(|n| !n.is_empty()).collect::<Vec<_>>();
        Row { measure, observations, peer_now, note: note.join("; ") }
    }
}

/// The pair in the middle by its first number.
fn middle(limits: &[(f64, f64)]) -> Option<(f64, f64)> {
    let mut sorted = limits.to_vec();
    sorted.sort_by(|a, b| a.0.total_cmp(&b.0));
    sorted.get(sorted.len() / 2).copied()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::Verdict;
    use scenarios::Outcome;

    fn options(quick: bool) -> Options {
        Options { only: None, quick, repeat: 1, json: false, alone: false }
    }

    fn outcome(figures: Figures) -> Outcome {
        Outcome { figures, limits: vec![], note: "load".to_owned() }
    }

    fn scenario(name: &str) -> &'static Scenario {
        SCENARIOS.iter().find(|s| s.name == name).unwrap()
    }

    fn values(board: &Board, row: &Measure) -> Vec<Result<Vec<f64>, String>> {
        board.row(*row, "ext4", &options(false)).observations.into_iter().map(|o| o.values).collect()
    }

    #[test]
    fn a_figure_counts_only_for_the_rows_of_its_own_scenario() {
        let mut board = Board::default();
        let steady = scenario("steady");
        board.take(steady, Program::Cairn, Ok(outcome(vec![("rw1-steady", 300.0), ("rw2-steady", 300.0)])));
        assert_eq!(values(&board, &measures::RW1_STEADY), [Ok(vec![300.0])]);
        assert!(values(&board, &measures::RW2_STEADY).is_empty());
    }

    #[test]
    fn one_failed_run_spoils_the_row_whatever_came_before_or_after() {
        let mut board = Board::default();
        let steady = scenario("steady");
        board.take(steady, Program::Cairn, Ok(outcome(vec![("rw1-steady", 300.0)])));
        board.take(steady, Program::Cairn, Err(anyhow::anyhow!("2 samples refused")));
        board.take(steady, Program::Cairn, Ok(outcome(vec![("rw1-steady", 300.0)])));
        assert_eq!(values(&board, &measures::RW1_STEADY), [Err("2 samples refused".to_owned())]);
    }

    #[test]
    fn a_quick_run_shows_figures_and_judges_nothing() {
        let mut board = Board::default();
        board.take(scenario("steady"), Program::Cairn, Ok(outcome(vec![("rw1-steady", 1.0)])));
        let row = board.row(measures::RW1_STEADY, "ext4", &options(true));
        assert!(matches!(row.verdict(), Verdict::NotMeasured(why) if why.contains("quick")));
    }

    #[test]
    fn a_row_with_new_series_is_judged_by_the_peer_of_the_row_without() {
        let mut board = Board::default();
        let figures = |name, value| Ok(outcome(vec![(name, value)]));
        board.take(scenario("no churn"), Program::VictoriaMetrics, figures("rw1-no-churn", 3_060.0));
        board.take(scenario("steady"), Program::VictoriaMetrics, figures("rw1-steady", 5_000.0));
        board.take(scenario("steady"), Program::Cairn, figures("rw1-steady", 1_000.0));
        let verdict = |board: &Board| board.row(measures::RW1_STEADY, "ext4", &options(false)).verdict();
        assert_eq!(verdict(&board), Verdict::MetByRatio, "half as fast a machine, twice the limit");
        board.take(scenario("steady"), Program::Cairn, figures("rw1-steady", 1_200.0));
        assert_eq!(verdict(&board), Verdict::Missed);
    }

    #[test]
    fn a_row_that_others_are_judged_by_is_measured_before_them() {
        let place = |row: &str| SCENARIOS.iter().position(|s| s.rows.iter().any(|m| m.name == row)).unwrap();
        let anchored = ALL.iter().filter_map(|m| Some((m, m.anchor?.row?)));
        let elsewhere: Vec<_> = anchored.filter(|(m, row)| m.name != *row).collect();
        assert_eq!(elsewhere.len(), 3);
        assert!(elsewhere.into_iter().all(|(m, row)| place(row) < place(m.name)));
    }

    #[test]
    fn every_row_belongs_to_exactly_one_scenario() {
        for measure in ALL {
            let homes = SCENARIOS.iter().filter(|s| s.rows.iter().any(|m| m.name == measure.name)).count();
            assert_eq!(homes, 1, "{}", measure.name);
        }
    }
}
