//! Counts tests from the lines that Rust's test runner prints.
//!
//! `test result: ok. 4 passed; 0 failed; 1 ignored; …` counts as it says, ignored tests as skipped. A test that finds
//! something missing at run time (a peer, the conformance data) says so with one line
//!
//! ```text
//! cairn-skip: NAME: reason
//! ```
//!
//! and returns; it must write the line to `std::io::stderr()` itself, because the runner swallows what a passing test
//! prints with `println!` and `eprintln!`. The runner counts such a test as passed; here it counts as skipped.

/// Tests passed, failed and skipped.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Counts {
    /// Ran and held.
    pub passed: u64,
    /// Ran and did not hold, or could not be built.
    pub failed: u64,
    /// Did not run.
    pub skipped: u64,
}

impl Counts {
    /// The sum of two.
    pub fn plus(self, other: Self) -> Self {
        Self {
            passed: self.passed + other.passed,
            failed: self.failed + other.failed,
            skipped: self.skipped + other.skipped,
        }
    }

    /// 0 iff nothing failed, and, where every test must run, nothing was skipped.
    pub fn exit_code(self, every_test_must_run: bool) -> i32 {
        i32::from(self.failed > 0 || (every_test_must_run && self.skipped > 0))
    }
}

/// Takes in a command's lines one by one.
#[derive(Debug, Default)]
pub struct Tally {
    runner: Counts,
    skip_lines: u64,
}

impl Tally {
    /// Counts one line of output.
    pub fn line(&mut self, line: &str) {
        if let Some(result) = line.trim_start().strip_prefix("test result: ") {
            self.runner = self.runner.plus(parse_result(result));
        } else if line.trim_start().starts_with("cairn-skip: ") {
            self.skip_lines += 1;
        }
    }

    /// The counts after the command has ended. A command that fails without a failed test counts as one failure, so
    /// that what does not build is never green.
    pub fn finish(self, succeeded: bool) -> Counts {
        let Counts { passed, failed, skipped } = self.runner;
        Counts {
            passed: passed.saturating_sub(self.skip_lines),
            failed: if succeeded { failed } else { failed.max(1) },
            skipped: skipped + self.skip_lines,
        }
    }
}

/// `ok. 4 passed; 0 failed; 1 ignored; …`, with or without the leading word.
fn parse_result(text: &str) -> Counts {
    let mut counts = Counts::default();
    let numbers = text.split_once(". ").map_or(text, |(_, rest)| rest);
    for part in numbers.split(';') {
        let mut words = part.split_ascii_whitespace();
        let (Some(number), Some(what)) = (words.next(), words.next()) else { continue };
        let number: u64 = number.parse().unwrap_or(0);
        match what {
            "passed" => counts.passed = number,
            "failed" => counts.failed = number,
            "ignored" => counts.skipped = number,
            _ => {}
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(lines: &[&str], succeeded: bool) -> (u64, u64, u64) {
        let mut tally = Tally::default();
        lines.iter().for_each(|line| tally.line(line));
        let counts = tally.finish(succeeded);
        (counts.passed, counts.failed, counts.skipped)
    }

    #[test]
    fn results_are_summed_and_ignored_tests_are_skipped() {
        let ok =
            "test result: ok. 4 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.00s";
        let bad = "test result: FAILED. 3 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 9.1s";
        assert_eq!(count(&["running 5 tests", ok, "noise", bad], false), (7, 2, 1));
    }

    #[test]
    fn a_test_that_says_it_skipped_is_not_called_passed() {
        let ok =
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(count(&["cairn-skip: oracle: no promtool", ok], true), (1, 0, 1));
    }

    #[test]
    fn a_command_that_fails_without_a_failed_test_counts_once() {
        let ok =
            "test result: ok. 2 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0.00s";
        assert_eq!(count(&[], true), (0, 0, 0));
        assert_eq!(count(&["error[E0308]: mismatched types"], false), (0, 1, 0));
        assert_eq!(count(&[ok], false), (2, 1, 0));
    }

    #[test]
    fn skips_fail_only_where_every_test_must_run() {
        let skipped = Counts { passed: 9, failed: 0, skipped: 1 };
        assert_eq!((skipped.exit_code(false), skipped.exit_code(true)), (0, 1));
        assert_eq!(Counts { failed: 1, ..Counts::default() }.exit_code(false), 1);
    }
}
