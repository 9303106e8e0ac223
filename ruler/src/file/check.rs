//! What `promtool check rules` prints of rule files, with its exit codes: 0 good, 1 broken, 3 lint findings that are to
//! be fatal.

use std::collections::BTreeMap;
use std::fmt::Write;

use cairn_promql::parser::Features;

use super::{ReadOptions, RuleGroup, parse_rule_file};

/// Which findings beyond validity are wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Lint {
    /// All there are.
    All,
    /// Rules that occur twice.
    #[default]
    DuplicateRules,
    /// None.
    None,
}

/// How to check.
#[derive(Debug, Clone, Copy, Default)]
pub struct CheckOptions {
    /// Findings to look for.
    pub lint: Lint,
    /// Whether a finding makes the exit code 3.
    pub lint_fatal: bool,
    /// Whether keys that do not exist are fine.
    pub ignore_unknown_fields: bool,
    /// Experimental parts of the language that expressions may use.
    pub features: Features,
}

/// The report on some files.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct CheckReport {
    /// For standard output.
    pub stdout: String,
    /// For standard error.
    pub stderr: String,
    /// Whether any file is broken.
    pub failed: bool,
    /// Whether the lint found anything.
    pub linted: bool,
}

impl CheckReport {
    /// promtool's exit code.
    pub fn exit_code(&self, options: &CheckOptions) -> i32 {
        match (self.failed, self.linted && options.lint_fatal) {
            (true, _) => 1,
            (false, true) => 3,
            (false, false) => 0,
        }
    }
}

/// Checks files given as (name, content); a content is an error when the file could not be read.
pub fn check_files(files: &[(String, Result<String, String>)], options: &CheckOptions) -> CheckReport {
    let CheckOptions { ignore_unknown_fields, features, .. } = *options;
    let read = ReadOptions { ignore_unknown_fields, features };
    let mut report = CheckReport::default();
    for (name, content) in files {
        report.stdout += &format!("Checking {name}\n");
        let parsed = match content {
            Ok(text) => parse_rule_file(text, read)
                .map_err(|problems| problems.iter().map(ToString::to_string).collect()),
            Err(reason) => Err(vec![reason.clone()]),
        };
        match parsed {
            Ok(groups) => report_good(&groups, options, &mut report),
            Err(problems) => {
                report.failed = true;
                report.stderr += "  FAILED:\n";
                for problem in problems {
                    report.stderr += &format!("{name}: {problem}\n");
                }
            }
        }
    }
    report
}

fn report_good(groups: &[RuleGroup], options: &CheckOptions, report: &mut CheckReport) {
    let duplicates = match options.lint {
        Lint::None => Vec::new(),
        Lint::All | Lint::DuplicateRules => duplicates(groups),
    };
    if duplicates.is_empty() {
        let rules: usize = groups.iter().map(|group| group.rules.len()).sum();
        report.stdout += &format!("  SUCCESS: {rules} rules found\n\n");
        return;
    }
    report.linted = true;
    let mut text = format!("  FAILED:\nlint error {} duplicate rule(s) found.\n", duplicates.len());
    for (name, labels) in duplicates {
        let _ = writeln!(text, "Metric: {name}\nLabel(s):");
        for (label, value) in labels {
            let _ = writeln!(text, "\t{label}: {value}");
        }
    }
    text += "Might cause inconsistency while recording expressions\n";
    report.stderr += &text;
    report.stdout.push('\n');
}

type Identity = (String, BTreeMap<String, String>);

/// Rules of equal name and labels, each repeat once.
fn duplicates(groups: &[RuleGroup]) -> Vec<Identity> {
    let mut identities: Vec<Identity> = groups
        .iter()
        .flat_map(|group| &group.rules)
        .map(|rule| (rule.name.clone(), rule.labels.clone()))
        .collect();
    identities.sort();
    let mut found: Vec<Identity> =
        identities.windows(2).filter(|w| w[0] == w[1]).map(|w| w[0].clone()).collect();
    found.dedup();
    found
}
