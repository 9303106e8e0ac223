//! `cargo xtask bench NAME`: cairn beside its peers in one run, judged against the figures that were promised.
//!
//! Parts in order: `server` (programs) on `folder`s → `load` (the generator) → one module a bench → `row` (verdict and
//! output).
//! Invariant: a figure counts only when the load was acked whole, every acked sample was found again by query, and the
//! data lay on a real file system; anything else is *not measured*, with the reason.

mod folder;
mod ingest;
mod load;
mod query;
mod row;
mod server;

use anyhow::{Result, bail};

use crate::workspace;

/// A bench: its name, the names of its rows, and the function that measures those asked for and hands each over as
/// soon as it is known.
struct Bench {
    name: &'static str,
    /// Runs of which the median counts unless the command line says otherwise.
    repeat: usize,
    rows: fn() -> Vec<&'static str>,
    run: fn(&Options, &mut dyn FnMut(row::Row)) -> Result<()>,
}

const BENCHES: &[Bench] = &[
    Bench { name: "ingest", repeat: 3, rows: ingest::row_names, run: ingest::run },
    Bench { name: "query", repeat: 5, rows: query::row_names, run: query::run },
];

/// How a bench is run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Only this row.
    pub only: Option<String>,
    /// A tenth of the load, once: shows that it works, judges nothing.
    pub quick: bool,
    /// Runs of which the median counts.
    pub repeat: usize,
    /// One JSON object a program and row instead of lines for readers.
    pub json: bool,
    /// Without the peers, which take most of the time: judged by the figures alone.
    pub alone: bool,
}

impl Options {
    /// Whether a row is asked for.
    pub fn wants(&self, row: &str) -> bool {
        self.only.as_deref().is_none_or(|only| only == row)
    }
}

/// Runs the command. Exit code 0 when all was measured.
///
/// # Errors
/// When an argument is wrong or the release binaries cannot be built.
pub fn run(args: &[String]) -> Result<i32> {
    let Some((name, rest)) = args.split_first() else {
        bail!("cannot run a bench: expected one of {}", names().join(", "));
    };
    let Some(bench) = BENCHES.iter().find(|b| b.name == name) else {
        bail!("cannot run bench {name}: there are {}", names().join(", "));
    };
    let options = parse(rest, bench.repeat)?;
    if let Some(only) = &options.only {
        let rows = (bench.rows)();
        if !rows.contains(&only.as_str()) {
            bail!("cannot measure {only}: the rows of {name} are {}", rows.join(", "));
        }
    }
    server::build()?;
    let commit = workspace::commit();
    let mut rows = Vec::new();
    (bench.run)(&options, &mut |row: row::Row| {
        if options.json {
            row.json(name, &commit).iter().for_each(|object| println!("{object}"));
        } else {
            println!("{}", row.text());
        }
        rows.push(row);
    })?;
    let (line, all_measured) = row::sum_up(name, &rows);
    if options.json {
        eprintln!("{line}");
    } else {
        println!("{line}");
    }
    Ok(i32::from(!all_measured))
}

fn names() -> Vec<&'static str> {
    BENCHES.iter().map(|b| b.name).collect()
}

fn parse(args: &[String], repeat: usize) -> Result<Options> {
    let mut options = Options { only: None, quick: false, repeat, json: false, alone: false };
    let mut args = args.iter();
    while let Some(arg) = args.next() {
        match arg.as_str() {
            "--quick" => options.quick = true,
            "--json" => options.json = true,
            "--alone" => options.alone = true,
            "--only" => options.only = args.next().cloned(),
            "--repeat" => match args.next().and_then(|n| n.parse().ok()) {
                Some(n) if n > 0 => options.repeat = n,
                _ => bail!("cannot repeat: expected --repeat N with N of 1 or more"),
            },
            other => {
                bail!(
                    "cannot run a bench with {other}: expected --only ROW, --quick, --alone, --repeat N or --json"
                )
            }
        }
    }
    if options.quick {
        options.repeat = 1;
    }
    Ok(options)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_unknown_ones_refused() {
        let args = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
        let options = parse(&args("--only rw2-steady --repeat 5 --json"), 3).unwrap();
        assert_eq!((options.only.as_deref(), options.repeat, options.json), (Some("rw2-steady"), 5, true));
        assert!(options.wants("rw2-steady") && !options.wants("rw1-steady"));
        assert_eq!(parse(&args(""), 5).unwrap().repeat, 5);
        assert_eq!(parse(&args("--quick --repeat 5"), 3).unwrap().repeat, 1);
        assert!(parse(&args("--alone"), 3).unwrap().alone && !options.alone);
        for bad in ["--repeat 0", "--repeat x", "--slow"] {
            assert!(parse(&args(bad), 3).is_err(), "{bad}");
        }
    }
}
