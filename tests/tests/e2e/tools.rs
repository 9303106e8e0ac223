//! `cairn tools tsdb …` beside promtool 3.14: the same words on the command line, the same lines on stdout.

use std::path::Path;
use std::process::{Command, Output};

use anyhow::{Result, ensure};

use crate::peer;
use crate::process::built;

const TEST: &str = "e2e tools";
const START_S: i64 = 1_735_689_600;

/// An export over three windows of two hours.
fn openmetrics() -> String {
    let mut text = String::from("# HELP a Things.\n# TYPE a gauge\n");
    for t in (0..18_000).step_by(60) {
        for host in 0..5 {
            let value = f64::from(t * (host + 1)) / 8.0;
            text.push_str(&format!(
                "a{{host=\"h{host}\",zone=\"z{}\"}} {value} {}\n",
                host % 2,
                START_S + i64::from(t)
            ));
        }
    }
    text.push_str("# TYPE b counter\n");
    for t in (0..18_000).step_by(300) {
        text.push_str(&format!("b_total {t} {}.25\n", START_S + t));
    }
    text + "# EOF\n"
}

fn tsdb(program: &Path, words: &[&str], args: &[&str]) -> Result<Output> {
    Ok(Command::new(program).args(words).args(args).output()?)
}

/// Lines by section, sorted: promtool leaves the order of equal counts to chance.
fn sections(text: &str) -> Vec<Vec<&str>> {
    text.split("\n\n")
        .map(|section| {
            let mut lines: Vec<&str> = section.lines().collect();
            lines.sort_unstable();
            lines
        })
        .collect()
}

#[test]
fn the_tools_take_promtools_words_and_print_its_lines() -> Result<()> {
    let Some(promtool) = peer(TEST, "prometheus/promtool") else { return Ok(()) };
    let cairn = built("cairn")?;
    let temp = tempfile::tempdir()?;
    let (input, dir) = (temp.path().join("in.om"), temp.path().join("data"));
    std::fs::write(&input, openmetrics())?;
    std::fs::create_dir_all(dir.join("wal"))?; // promtool opens a database, which has a log
    let (input, dir) = (input.display().to_string(), dir.display().to_string());
    let (ours, theirs) = (["tools", "tsdb"], ["tsdb"]);

    let label = "--label=source=export";
    let two_hours = "--max-block-duration=2h";
    let made = tsdb(&cairn, &ours, &["create-blocks-from", "openmetrics", label, two_hours, &input, &dir])?;
    ensure!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    ensure!(String::from_utf8_lossy(&made.stdout).lines().count() == 4, "a head line and three blocks");

    let last_half = format!("--min-time={}", (START_S + 9_000) * 1000);
    let mut compared = 0;
    for (args, in_order) in [
        (vec!["list"], true),
        (vec!["list", "-r"], true),
        (vec!["list", "--human-readable"], true),
        (vec!["dump"], true),
        (vec!["dump", &last_half, "--max-time=99999999999999"], true),
        (vec!["dump", "--match={host=~\"h[12]\"}", "--match=b_total"], true),
        (vec!["dump", "--format=seriesjson"], true),
        (vec!["dump-openmetrics"], true),
        (vec!["dump-openmetrics", &last_half, "--match=b_total"], true),
        (vec!["analyze"], false),
        (vec!["analyze", "--limit=100", "--extended"], false),
        (vec!["analyze", "--match=a{host=\"h1\"}"], false),
    ] {
        let with_dir: Vec<&str> = args.iter().copied().chain([dir.as_str()]).collect();
        let (got, want) = (tsdb(&cairn, &ours, &with_dir)?, tsdb(&promtool, &theirs, &with_dir)?);
        ensure!(want.status.success(), "promtool {args:?}: {}", String::from_utf8_lossy(&want.stderr));
        ensure!(got.status.success(), "cairn {args:?}: {}", String::from_utf8_lossy(&got.stderr));
        ensure!(got.stderr.is_empty(), "{args:?}: no bar where nobody watches");
        let (got, want) = (String::from_utf8(got.stdout)?, String::from_utf8(want.stdout)?);
        ensure!(!want.is_empty(), "promtool {args:?} prints nothing");
        if in_order {
            ensure!(got == want, "{args:?}:\n--- cairn\n{got}\n--- promtool\n{want}");
        } else {
            ensure!(sections(&got) == sections(&want), "{args:?}:\n--- cairn\n{got}\n--- promtool\n{want}");
        }
        compared += want.lines().count();
    }
    println!("{compared} lines equal");

    for args in [
        vec!["list", "/no/such/folder"],
        vec!["analyze", &dir, "01ARZ3NDEKTSV4RRFFQ69G5FAV"],
        vec!["dump", "--match={", &dir],
        vec!["create-blocks-from", "openmetrics", "/no/such/file", &dir],
    ] {
        let (got, want) = (tsdb(&cairn, &ours, &args)?, tsdb(&promtool, &theirs, &args)?);
        ensure!(
            got.status.code() == want.status.code(),
            "{args:?}: {:?}, promtool {:?}",
            got.status,
            want.status
        );
        ensure!(!got.stderr.is_empty() && got.stdout.is_empty(), "{args:?}: the reason goes to stderr");
    }
    let verified = tsdb(&cairn, &ours, &["verify", "--output=json", &dir])?;
    ensure!(verified.status.success(), "{}", String::from_utf8_lossy(&verified.stdout));
    ensure!(String::from_utf8_lossy(&verified.stdout).lines().count() == 3, "a row a block");
    Ok(())
}
