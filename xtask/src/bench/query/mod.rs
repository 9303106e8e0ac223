//! `bench query`: what an answer costs, from the request to the last byte of JSON.
//!
//! Parts in order: `measures` (queries and their limits) → `dataset` (the same samples into every program) → `compare`
//! (answers must be equal before anything is timed) → `turns` (executions, alternating over the programs, so that a
//! neighbour's noise meets all of them alike) → rows.
//!
//! Answers of cairn and of Thanos (Query over Receive, as one program) are compared with Prometheus value by value. VictoriaMetrics computes `rate` otherwise, so of its answers
//! only the number of series is compared.

mod compare;
mod dataset;
mod measures;
mod turns;

use anyhow::{Result, ensure};
use compare::Answered;
use dataset::Dataset;
use measures::{ALL, Figure, Must, Query, VM};
use turns::{Asked, Turn};

use super::row::{CAIRN, Observation, Row};
use super::server::{Program, Server};
use super::{Options, folder};
use crate::peers;

/// cairn first: it alone minds how old the samples are that it is sent.
const PROGRAMS: &[Program] =
    &[Program::Cairn, Program::VictoriaMetrics, Program::Prometheus, Program::Thanos];

/// A program with the data, or why it has none.
type Filled = (Program, Result<Server, String>);

/// Names for `--only`.
pub fn row_names() -> Vec<&'static str> {
    ALL.iter().flat_map(|q| [q.wall.name, q.cpu.name]).collect()
}

/// Measures the rows that are asked for, query by query.
///
/// # Errors
/// When the data folder cannot be made; a program that fails is a row's reason.
pub fn run(options: &Options, done: &mut dyn FnMut(Row)) -> Result<()> {
    ensure!(!options.alone, "cannot run bench query alone: its answers are compared with Prometheus' first");
    for reason in peers::fetch(&["victoria-metrics", "prometheus", "thanos"]) {
        eprintln!("{reason}");
    }
    let root = folder::root()?;
    let file_system = folder::file_system(&root)?;
    let data = Dataset::ending_now(options.quick);
    let filled: Vec<Filled> = match folder::unsynced(&root, &file_system) {
        Some(reason) => PROGRAMS.iter().map(|p| (*p, Err(reason.clone()))).collect(),
        None => PROGRAMS.iter().map(|p| (*p, fill(*p, &root, &data))).collect(),
    };
    if filled.iter().any(|(_, server)| server.is_ok()) {
        eprintln!("waiting for what the loads left behind …");
        Dataset::settle(options.quick);
    }
    for query in ALL.iter().filter(|q| options.wants(q.wall.name) || options.wants(q.cpu.name)) {
        eprintln!("{} …", query.wall.name);
        let board = measure(query, &data, &filled, options.repeat);
        let note = format!("{}; {} samples; {file_system}", board.note, data.samples());
        let rows = [(&query.wall, "ms", Turn::wall as fn(&Turn) -> f64), (&query.cpu, "ms CPU", Turn::cpu)];
        for (figure, unit, of) in rows.into_iter().filter(|(f, ..)| options.wants(f.name)) {
            done(row(figure, unit, of, &board, &note, options.quick));
        }
    }
    for (program, server) in filled {
        drop(server);
        let _ = std::fs::remove_dir_all(root.join(program.name()));
    }
    Ok(())
}

/// cairn would count its own series among those that are asked for.
const FLAGS: &[&str] = &["--self-monitoring.disable"];
/// A sender of hours that are over would see each window sealed as soon as its first samples are there, and the others go
/// to one late block after another. A live node gets its samples in time: so nothing is sealed while the load runs, and
/// the restart behind it seals what a live node would have sealed by now.
const WHILE_LOADING: &[&str] = &["--self-monitoring.disable", "--tsdb.close-delay", "8h"];

fn fill(program: Program, root: &std::path::Path, data: &Dataset) -> Result<Server, String> {
    let folder = folder::fresh(root, program);
    let filled = || {
        let is_cairn = program == Program::Cairn;
        let server = Server::start_with(program, &folder, if is_cairn { WHILE_LOADING } else { &[] })?;
        eprintln!("loading {} samples into {} …", data.samples(), program.name());
        let seconds = data.fill(&server, &folder)?;
        eprintln!("{}: loaded in {seconds:.1} s", program.name());
        if !is_cairn {
            return Ok(server);
        }
        let folder = server.kill();
        Server::start_with(program, &folder, FLAGS)
    };
    filled()
        .map_err(|e: anyhow::Error| one_line(&e))
        .inspect_err(|why| eprintln!("{}: {why}", program.name()))
}

/// A program, and what it answered first; or why it cannot be compared.
type First<'a> = (Program, Result<(Asked<'a>, Answered), String>);

/// What the programs gave for one query.
struct Board {
    turns: Vec<(Program, Result<Vec<Turn>, String>)>,
    note: String,
}

/// Asks all programs once, compares, then lets them take turns.
fn measure(query: &Query, data: &Dataset, filled: &[Filled], turns: usize) -> Board {
    let path = data.path(query.ask);
    let asked: Vec<First<'_>> = filled
        .iter()
        .map(|(program, server)| {
            let first = |server| {
                let (asked, answer) = Asked::first(server, path.clone())?;
                Ok((asked, Answered::read(&answer)?))
            };
            let server = server.as_ref().map_err(Clone::clone);
            (*program, server.and_then(|server| first(server).map_err(|e: anyhow::Error| one_line(&e))))
        })
        .collect();
    let (reasons, note) = judge(&asked);
    let mut running: Vec<_> = asked
        .into_iter()
        .zip(reasons)
        .map(|((program, asked), reason)| {
            let asked = match reason {
                Some(reason) => Err(reason),
                None => asked.map(|(asked, _)| (asked, Vec::with_capacity(turns))),
            };
            (program, asked)
        })
        .collect();
    for _ in 0..turns {
        for (_, state) in &mut running {
            let turn = match state {
                Ok((asked, _)) => asked.turn(),
                Err(_) => continue,
            };
            match (turn, &mut *state) {
                (Ok(turn), Ok((_, taken))) => taken.push(turn),
                (Err(e), state) => *state = Err(one_line(&e)),
                (Ok(_), Err(_)) => {}
            }
        }
    }
    let turns = running.into_iter().map(|(p, state)| (p, state.map(|(_, taken)| taken))).collect();
    Board { turns, note }
}

/// Why a program's figures would not count, and a note on what was compared.
fn judge(asked: &[First<'_>]) -> (Vec<Option<String>>, String) {
    let of = |wanted: Program| {
        let found = asked.iter().find(|(program, _)| *program == wanted);
        found.and_then(|(_, asked)| asked.as_ref().ok()).map(|(_, answered)| answered)
    };
    let (ours, oracle) = (of(Program::Cairn), of(Program::Prometheus));
    let reason = |program: Program| match (program, ours, oracle) {
        (Program::Cairn, Some(_), None) => Some("Prometheus gave no answer to compare with".to_owned()),
        (Program::Cairn, Some(ours), Some(oracle)) => {
            ours.difference(oracle).map(|d| format!("the answer is not Prometheus': {d}"))
        }
        (Program::Thanos, _, Some(oracle)) => {
            of(program)?.difference(oracle).map(|d| format!("the answer is not Prometheus': {d}"))
        }
        (Program::VictoriaMetrics, Some(ours), _) => {
            let theirs = of(program)?.len();
            (theirs != ours.len()).then(|| format!("{theirs} series instead of {}", ours.len()))
        }
        _ => None,
    };
    let reasons = asked.iter().map(|(program, _)| reason(*program)).collect();
    let note = ours.map_or_else(String::new, |a| format!("{} series, {} points", a.len(), a.points()));
    (reasons, note)
}

fn row(
    figure: &Figure,
    unit: &'static str,
    of: fn(&Turn) -> f64,
    board: &Board,
    note: &str,
    quick: bool,
) -> Row {
    let values = |turns: &Vec<Turn>| turns.iter().map(of).collect::<Vec<f64>>();
    let mut observations: Vec<Observation> = board
        .turns
        .iter()
        .map(|(program, turns)| Observation {
            subject: program.name().to_owned(),
            version: program.version(),
            values: match turns {
                Ok(turns) if quick && *program == Program::Cairn => {
                    Err(format!("quick run gave {:.2?}", values(turns)))
                }
                Ok(turns) => Ok(values(turns)),
                Err(reason) => Err(reason.clone()),
            },
        })
        .collect();
    let peer = Observation::median_of(VM, &observations);
    if peer.is_none() && figure.must == Must::Peer {
        for o in observations.iter_mut().filter(|o| o.subject == CAIRN) {
            if let Ok(values) = &o.values {
                o.values = Err(format!("{VM} gave no figure to judge {values:.2?} by"));
            }
        }
    }
    Row { measure: figure.measure(unit, peer), observations, peer_now: peer, note: note.to_owned() }
}

impl Turn {
    fn wall(&self) -> f64 {
        self.wall_ms
    }

    fn cpu(&self) -> f64 {
        self.cpu_ms
    }
}

fn one_line(error: &anyhow::Error) -> String {
    format!("{error:#}").replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::bench::row::Verdict;

    fn board(cairn: Result<Vec<f64>, String>, vm: Vec<f64>) -> Board {
        let turn = |cpu_ms: f64| Turn { wall_ms: 1.0, cpu_ms };
        let turns = |values: Vec<f64>| values.into_iter().map(turn).collect::<Vec<_>>();
        Board {
            turns: vec![(Program::Cairn, cairn.map(turns)), (Program::VictoriaMetrics, Ok(turns(vm)))],
            note: String::new(),
        }
    }

    fn verdict(board: &Board, quick: bool) -> Verdict {
        row(&ALL[0].cpu, "ms CPU", Turn::cpu, board, "", quick).verdict()
    }

    #[test]
    fn the_limit_is_the_peers_median_in_the_same_run() {
        assert_eq!(
            verdict(&board(Ok(vec![90.0, 99.0, 500.0]), vec![100.0, 90.0, 400.0]), false),
            Verdict::Met
        );
        assert_eq!(verdict(&board(Ok(vec![101.0]), vec![100.0]), false), Verdict::Missed);
    }

    #[test]
    fn a_wrong_answer_and_a_quick_run_are_not_judged() {
        assert!(matches!(
            verdict(&board(Err("not equal".into()), vec![9.0]), false),
            Verdict::NotMeasured(_)
        ));
        assert!(matches!(verdict(&board(Ok(vec![1.0]), vec![9.0]), true), Verdict::NotMeasured(_)));
        assert!(matches!(verdict(&board(Ok(vec![1.0]), vec![]), false), Verdict::NotMeasured(_)));
    }

    #[test]
    fn row_names_are_distinct() {
        let names: std::collections::BTreeSet<_> = row_names().into_iter().collect();
        assert_eq!(names.len(), ALL.len() * 2);
    }
}
