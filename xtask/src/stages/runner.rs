//! Runs commands so that their lines are both shown and counted.

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};
use std::sync::mpsc;

use anyhow::{Context, Result};

use super::tally::{Counts, Tally};

/// Collects the counts of a stage.
#[derive(Debug, Default)]
pub struct Runner {
    counts: Counts,
}

impl Runner {
    /// Runs a command to its end, printing its lines as they come. True when it succeeded.
    ///
    /// # Errors
    /// When it cannot be started; that it fails is counted, not returned.
    pub fn run(&mut self, command: &mut Command) -> Result<bool> {
        let name = command.get_program().to_string_lossy().into_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .with_context(|| format!("cannot run {name}"))?;
        let (lines, received) = mpsc::channel();
        let out = child.stdout.take().expect("stdout is piped");
        let err = child.stderr.take().expect("stderr is piped");
        let mut tally = Tally::default();
        std::thread::scope(|scope| {
            let err_lines = lines.clone();
            scope.spawn(move || forward(out, &lines));
            scope.spawn(move || forward(err, &err_lines));
            for line in received {
                println!("{line}");
                tally.line(&line);
            }
        });
        let status = child.wait().with_context(|| format!("cannot wait for {name}"))?;
        self.counts = self.counts.plus(tally.finish(status.success()));
        Ok(status.success())
    }

    /// Counts something that a step checked by itself.
    pub fn count(&mut self, counts: Counts) {
        self.counts = self.counts.plus(counts);
    }

    /// All counts so far.
    pub fn counts(&self) -> Counts {
        self.counts
    }
}

/// Sends each line on; bytes that are not text are replaced.
fn forward(stream: impl Read, lines: &mpsc::Sender<String>) {
    let mut reader = BufReader::new(stream);
    let mut line = Vec::new();
    while reader.read_until(b'\n', &mut line).is_ok_and(|n| n > 0) {
        let text = String::from_utf8_lossy(&line);
        if lines.send(text.trim_end_matches(['\n', '\r']).to_owned()).is_err() {
            return;
        }
        line.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_both_streams_are_counted_and_a_failure_is_not_lost() {
        let mut runner = Runner::default();
        let ok = "test result: ok. 3 passed; 0 failed; 0 ignored";
        assert!(
            runner
                .run(Command::new("sh").args(["-c", &format!("echo '{ok}'; echo 'cairn-skip: a: b' >&2")]))
                .unwrap()
        );
        assert_eq!(runner.counts(), Counts { passed: 2, failed: 0, skipped: 1 });
        assert!(!runner.run(Command::new("sh").args(["-c", "exit 3"])).unwrap());
        assert_eq!(runner.counts(), Counts { passed: 2, failed: 1, skipped: 1 });
        assert!(runner.run(&mut Command::new("/nonexistent/program")).is_err());
    }
}
