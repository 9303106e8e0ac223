//! A test file as a list of commands.
//!
//! Lines are trimmed; a line that begins with `#` is blank. A command is a line and what follows it up to the next
//! blank line: `clear`, `load[_with_nhcb] <step>`, `eval[_fail|_warn|_info|_ordered] instant at <t> <expr>`,
//! `eval[…] range from <t> to <t> step <d> <expr>`. Expressions are not parsed here: that is the engine's part.

use std::sync::LazyLock;

use regex::Regex;

use super::expectation::{Expectation, ExpectedSeries, ExpectedValue, NoteExpectation, Steps, TextPattern};
use super::load::Load;
use super::series::{parse_metric, parse_series};
use super::start_times;
use crate::parser::duration::parse_duration;
use crate::parser::{parse_number, unquote};

/// A parsed file.
#[derive(Debug, Clone)]
pub struct Script {
    /// Its commands in order.
    pub commands: Vec<Command>,
}

/// What a file asks for.
#[derive(Debug, Clone)]
pub enum Command {
    /// Empty the store.
    Clear,
    /// Put series into the store.
    Load(Load),
    /// Evaluate and compare.
    Eval(Box<Eval>),
}

/// An `eval` command.
#[derive(Debug, Clone)]
pub struct Eval {
    /// Line of the command, from 1.
    pub line: usize,
    /// The expression.
    pub query: String,
    /// When to evaluate.
    pub time: EvalTime,
    /// What it must give.
    pub expectation: Expectation,
    /// Whether an instant query is also asked as a range query.
    pub also_as_range: bool,
}

/// When an `eval` evaluates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum EvalTime {
    /// At one time, in milliseconds.
    Instant(i64),
    /// At the steps of a range.
    Range(Steps),
}

/// A file that is no test.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {reason}")]
pub struct ScriptError {
    /// Line at fault, from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

type Result<T> = std::result::Result<T, ScriptError>;

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).expect("a constant pattern")
}

static LOAD: LazyLock<Regex> = LazyLock::new(|| regex(r"^load(?:_(with_nhcb))?\s+(.+?)$"));
static INSTANT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^eval(?:_(fail|warn|ordered|info))?\s+instant\s+(?:at\s+(.+?))?\s+(.+)$"));
static RANGE: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"^eval(?:_(fail|warn|info))?\s+range\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+?)\s+(.+)$")
});
static EXPECT: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^expect\s+(ordered|fail|warn|no_warn|info|no_info)(?:\s+(regex|msg):(.+))?$"));
static EXPECT_RANGE: LazyLock<Regex> =
    LazyLock::new(|| regex(r"^expect range vector\s+from\s+(.+)\s+to\s+(.+)\s+step\s+(.+)$"));

impl Script {
    /// Reads a file's text.
    ///
    /// # Errors
    /// The first line that is at fault.
    pub fn parse(text: &str) -> Result<Script> {
        let lines: Vec<&str> = text
            .split('\n')
            .map(str::trim)
            .map(|line| if line.starts_with('#') { "" } else { line })
            .collect();
        let mut commands = Vec::new();
        let mut at = 0;
        while at < lines.len() {
            let body = lines[at..].iter().take_while(|l| !l.is_empty()).count();
            if body == 0 {
                at += 1;
                continue;
            }
            let word = lines[at].split([' ', '\t']).next().unwrap_or("").to_ascii_lowercase();
            let (command, used) = match word.as_str() {
                "clear" => (Command::Clear, 1),
                w if w.starts_with("load") => {
                    (Command::Load(parse_load(&lines[at..at + body], at + 1)?), body)
                }
                w if w.starts_with("eval") => {
                    let (eval, used) = parse_eval(&lines[at..at + body], at + 1)?;
                    (Command::Eval(Box::new(eval)), used)
                }
                _ => return Err(error(at + 1, format!("invalid command {:?}", lines[at]))),
            };
            commands.push(command);
            at += used;
        }
        Ok(Script { commands })
    }

    /// How many `eval` commands there are.
    pub fn evals(&self) -> usize {
        self.commands.iter().filter(|c| matches!(c, Command::Eval(_))).count()
    }
}

fn error(line: usize, reason: impl Into<String>) -> ScriptError {
    ScriptError { line, reason: reason.into() }
}

fn duration(text: &str, line: usize, what: &str) -> Result<i64> {
    parse_duration(text).map_err(|e| error(line, format!("invalid {what} definition {text:?}: {e}")))
}

/// `lines` are the command and its series.
fn parse_load(lines: &[&str], line: usize) -> Result<Load> {
    let parts = LOAD
        .captures(lines[0])
        .ok_or_else(|| error(line, "invalid load command. (load[_with_nhcb] <step:duration>)"))?;
    let step_ms = duration(&parts[2], line, "step")?;
    let mut load = Load { line, step_ms, with_nhcb: parts.get(1).is_some(), series: Vec::new() };
    let mut pending = None;
    for (text, line) in lines[1..].iter().zip(line + 1..) {
        if let Some((metric, items)) = start_times::split_line(text) {
            if pending.is_some() {
                return Err(error(line - 1, "@st line has no following sample line"));
            }
            let (labels, _) = parse_metric(metric).map_err(|e| error(line, e))?;
            let offsets = start_times::parse_offsets(items)
                .map_err(|e| error(line, format!("invalid @st sequence: {e}")))?;
            pending = Some((labels, offsets));
            continue;
        }
        let series = parse_series(text).map_err(|e| error(line, e))?;
        let starts = match pending.take() {
            None => Vec::new(),
            Some((labels, _)) if labels != series.labels => {
                return Err(error(line - 1, "@st metric does not match the following sample line metric"));
            }
            Some((_, offsets)) if offsets.len() != series.values.len() => {
                let (have, want) = (offsets.len(), series.values.len());
                return Err(error(
                    line - 1,
                    format!("@st line has {have} values but sample line has {want}"),
                ));
            }
            Some((_, offsets)) => offsets,
        };
        load.series.push((series, starts));
    }
    if pending.is_some() {
        return Err(error(line + lines.len() - 1, "@st line has no following sample line"));
    }
    Ok(load)
}

/// `lines` are the command and its body; gives how many of them belong to the command.
fn parse_eval(lines: &[&str], line: usize) -> Result<(Eval, usize)> {
    let (modifier, query, time) = parse_eval_line(lines[0], line)?;
    let steps = match time {
        EvalTime::Instant(t_ms) => Steps { from_ms: t_ms, to_ms: t_ms, step_ms: 0 },
        EvalTime::Range(steps) => steps,
    };
    let mut body = EvalBody {
        expectation: Expectation {
            value: ExpectedValue::Series(Vec::new()),
            ordered: modifier == Some("ordered"),
            fail: (modifier == Some("fail")).then_some(TextPattern::Any),
            warnings: NoteExpectation { some: modifier == Some("warn"), ..Default::default() },
            infos: NoteExpectation { some: modifier == Some("info"), ..Default::default() },
            steps,
        },
        series: Vec::new(),
        legacy_fail: modifier == Some("fail"),
        place: 0,
        is_instant: matches!(time, EvalTime::Instant(_)),
        expects_range_vector: false,
        also_as_range: true,
    };
    let mut used = 1;
    for (text, line) in lines[1..].iter().zip(line + 1..) {
        used += 1;
        if body.parse_line(text, line)? == Body::Ends {
            break;
        }
    }
    let mut expectation = body.expectation;
    if let ExpectedValue::Series(series) = &mut expectation.value {
        *series = body.series;
    }
    let time = match time {
        // The result of an instant query that is a range vector ends where it is evaluated.
        EvalTime::Instant(_) if body.expects_range_vector => EvalTime::Instant(expectation.steps.to_ms),
        time => time,
    };
    let eval = Eval { line, query: query.to_owned(), time, expectation, also_as_range: body.also_as_range };
    Ok((eval, used))
}

fn parse_eval_line(text: &str, line: usize) -> Result<(Option<&str>, &str, EvalTime)> {
    let part = |parts: &regex::Captures<'_>, i: usize| parts.get(i).map(|m| &text[m.range()]);
    if let Some(parts) = INSTANT.captures(text) {
        let t_ms = duration(part(&parts, 2).unwrap_or(""), line, "timestamp")?;
        return Ok((part(&parts, 1), part(&parts, 3).unwrap_or(""), EvalTime::Instant(t_ms)));
    }
    if let Some(parts) = RANGE.captures(text) {
        let steps = parse_steps(&parts[2], &parts[3], &parts[4], line)?;
        return Ok((part(&parts, 1), part(&parts, 5).unwrap_or(""), EvalTime::Range(steps)));
    }
    let reason = "invalid evaluation command. Must be either 'eval[_fail|_warn|_ordered] instant [at <offset:duration>] \
                  <query>' or 'eval[_fail|_warn] range from <from> to <to> step <step> <query>'";
    Err(error(line, reason))
}

fn parse_steps(from: &str, to: &str, step: &str, line: usize) -> Result<Steps> {
    let from_ms = duration(from, line, "start timestamp")?;
    let to_ms = duration(to, line, "end timestamp")?;
    if to_ms < from_ms {
        let text = format!("end timestamp ({to}) is before start timestamp ({from})");
        return Err(error(line, format!("invalid test definition, {text}")));
    }
    Ok(Steps { from_ms, to_ms, step_ms: duration(step, line, "step")? })
}

/// Whether more lines of an `eval` follow.
#[derive(PartialEq, Eq)]
enum Body {
    Continues,
    Ends,
}

/// The lines below an `eval`, as they are read.
struct EvalBody {
    expectation: Expectation,
    series: Vec<ExpectedSeries>,
    /// Whether the old `expected_fail_…` lines are allowed.
    legacy_fail: bool,
    place: usize,
    is_instant: bool,
    expects_range_vector: bool,
    also_as_range: bool,
}

impl EvalBody {
    fn parse_line(&mut self, text: &str, line: usize) -> Result<Body> {
        if self.legacy_fail {
            if let Some(message) = text.strip_prefix("expected_fail_message") {
                self.expectation.fail = Some(TextPattern::Exactly(message.trim().to_owned()));
                return Ok(Body::Ends);
            }
            if let Some(pattern) = text.strip_prefix("expected_fail_regexp") {
                self.expectation.fail = Some(matching(pattern, line)?);
                return Ok(Body::Ends);
            }
        }
        if text.starts_with("expect range vector") {
            let parts = EXPECT_RANGE
                .captures(text)
                .ok_or_else(|| error(line, format!("invalid range vector definition {text:?}")))?;
            self.expectation.steps = parse_steps(&parts[1], &parts[2], &parts[3], line)?;
            self.expects_range_vector = true;
            self.also_as_range = false;
            return Ok(Body::Continues);
        }
        if let Some(literal) = text.strip_prefix("expect string") {
            self.expectation.value = ExpectedValue::String(string_literal(literal.trim(), line)?);
            self.also_as_range = false;
            return Ok(Body::Continues);
        }
        if text.split(' ').next() == Some("expect") {
            self.parse_expect(text, line)?;
            return Ok(Body::Continues);
        }
        if let Some(value) = scalar(text) {
            self.expectation.value = ExpectedValue::Scalar(value);
            return Ok(Body::Ends);
        }
        let series = parse_series(text).map_err(|e| error(line, e))?;
        if series.values.len() > 1 && self.is_instant && !self.expects_range_vector {
            let reason = "expecting multiple values in instant evaluation not allowed. consider using 'expect range \
                          vector' directive to enable a range vector result for an instant query";
            return Err(error(line, reason));
        }
        self.place += 1;
        let expected = ExpectedSeries { labels: series.labels, values: series.values, place: self.place };
        self.series.push(expected);
        Ok(Body::Continues)
    }

    fn parse_expect(&mut self, text: &str, line: usize) -> Result<()> {
        let parts = EXPECT.captures(text).ok_or_else(|| {
            let reason = "invalid expect statement, must match `expect <type> <match_type>: <string>` format";
            error(line, reason)
        })?;
        let pattern = match (parts.get(2).map(|m| m.as_str()), parts.get(3)) {
            (Some("msg"), Some(text)) => TextPattern::Exactly(text.as_str().trim().to_owned()),
            (Some(_), Some(pattern)) => matching(pattern.as_str(), line)?,
            _ => TextPattern::Any,
        };
        let e = &mut self.expectation;
        match &parts[1] {
            "ordered" => e.ordered = true,
            "fail" => {
                if e.fail.is_some() && !self.legacy_fail {
                    let reason = "invalid expect lines, multiple expect fail lines are not allowed";
                    return Err(error(line, reason));
                }
                e.fail = Some(pattern);
            }
            "warn" => e.warnings.patterns.push(pattern),
            "no_warn" => e.warnings.none = true,
            "info" => e.infos.patterns.push(pattern),
            _ => e.infos.none = true,
        }
        for (kind, notes) in [("warn", &e.warnings), ("info", &e.infos)] {
            if notes.none && !notes.patterns.is_empty() {
                let reason = format!("invalid expect lines, {kind} and no_{kind} cannot be used together");
                return Err(error(line, reason));
            }
        }
        Ok(())
    }
}

fn matching(pattern: &str, line: usize) -> Result<TextPattern> {
    let pattern = pattern.trim();
    let regex = Regex::new(pattern).map_err(|e| error(line, format!("invalid regex {pattern}: {e}")))?;
    Ok(TextPattern::Matching(regex))
}

fn string_literal(text: &str, line: usize) -> Result<String> {
    let quoted = text.len() >= 2
        && ["\"", "`", "'"].iter().any(|quote| text.starts_with(quote) && text.ends_with(quote));
    if quoted {
        Ok(unquote(text))
    } else {
        Err(error(line, "expected string literal not valid - check that the string is correctly quoted"))
    }
}

/// A line that is nothing but a number.
fn scalar(text: &str) -> Option<f64> {
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    let value = parse_number(unsigned).ok()?;
    Some(if text.starts_with('-') { -value } else { value })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn only_eval(text: &str) -> Eval {
        match Script::parse(text).unwrap().commands.pop() {
            Some(Command::Eval(eval)) => *eval,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn commands_are_read_with_their_lines() {
        let script = Script::parse(
            "# head\nclear\nload 5m\n  up@st -1m _\n  up 1 2\n# gap\n\nload_with_nhcb 1s\n x 1\n\neval instant at 1m up\n  up 1\n\neval range from 0 to 1m step 30s up\n",
        )
        .unwrap();
        assert_eq!(script.commands.len(), 5);
        assert_eq!(script.evals(), 2);
        match &script.commands[1] {
            Command::Load(l) => {
                assert_eq!((l.line, l.step_ms, l.with_nhcb, l.series.len()), (3, 300_000, false, 1));
                assert_eq!(l.series[0].1, [Some(-60_000), None]);
            }
            other => panic!("{other:?}"),
        }
        match &script.commands[4] {
            Command::Eval(e) => {
                assert_eq!(e.time, EvalTime::Range(Steps { from_ms: 0, to_ms: 60_000, step_ms: 30_000 }));
                assert_eq!((e.line, e.query.as_str()), (14, "up"));
            }
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn expectations_are_read() {
        let e = only_eval(
            "eval_ordered instant at 5m topk(2, up)\n  expect warn msg: a b\n  {a=\"b\"} 2\n up 1\n",
        );
        assert!(e.expectation.ordered && e.also_as_range);
        assert!(e.expectation.warnings.patterns[0].matches("a b"));
        match e.expectation.value {
            ExpectedValue::Series(s) => assert_eq!([s[0].place, s[1].place], [1, 2]),
            other => panic!("{other:?}"),
        }
        let e =
            only_eval("eval instant at 1h x[2m]\n expect range vector from 10s to 1m step 10s\n x 1 2 _ 3");
        assert_eq!(e.expectation.steps, Steps { from_ms: 10_000, to_ms: 60_000, step_ms: 10_000 });
        assert_eq!((e.time, e.also_as_range), (EvalTime::Instant(60_000), false));
        let e = only_eval("eval instant at 0 -0x10\n  -16");
        assert!(matches!(e.expectation.value, ExpectedValue::Scalar(v) if v == -16.0));
        let e = only_eval("eval instant at 0 'x'\n  expect string \"a\\tb\"");
        assert!(matches!(e.expectation.value, ExpectedValue::String(s) if s == "a\tb"));
        let e = only_eval("eval_fail instant at 0 x\n  expected_fail_message it  broke ");
        assert!(e.expectation.fail.unwrap().matches("it  broke"));
        let e = only_eval("eval instant at 0 x\n expect fail regex: br.ke");
        assert!(e.expectation.fail.unwrap().matches("it broke"));
    }

    #[test]
    fn broken_files_are_refused_with_the_line() {
        for (text, line, want) in [
            ("foo", 1, "invalid command"),
            ("\nload", 2, "invalid load command"),
            ("load x\n", 1, "invalid step definition"),
            ("load 1m\n up 1\n up{ 1\n", 3, "inside braces"),
            ("load 1m\n up@st 1m\n", 2, "no following sample line"),
            ("load 1m\n up@st 1m\n down 1\n", 2, "does not match"),
            ("load 1m\n up@st 1m\n up 1 2\n", 2, "@st line has 1 values but sample line has 2"),
            ("eval instant up\n", 1, "invalid"),
            ("eval range from 2m to 1m step 1m up", 1, "is before start timestamp"),
            ("eval instant at 0 up\n up 1 2", 2, "multiple values"),
            ("eval instant at 0 up\n expect foo", 2, "invalid expect statement"),
            ("eval instant at 0 up\n expect warn\n expect no_warn", 3, "cannot be used together"),
            ("eval instant at 0 up\n expect fail\n expect fail", 3, "multiple expect fail"),
            ("eval instant at 0 up\n expect fail regex: (", 2, "invalid regex"),
        ] {
            let e = Script::parse(text).unwrap_err();
            assert_eq!(e.line, line, "{text}: {e}");
            assert!(e.reason.contains(want), "{text}: {e}");
        }
    }
}
