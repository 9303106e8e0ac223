//! Reading OpenMetrics text: series lines with a timestamp each, as an export or a backfill file has them.
//! Comment lines are checked for their form and skipped; exemplars are skipped. Names and labels in double quotes
//! may hold any UTF-8.

use cairn_model::labels::{METRIC_NAME, is_legacy_label_name, is_legacy_metric_name};
use cairn_model::{Labels, TimestampMs};

/// A line that is no OpenMetrics.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct BadLine {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// One sample.
#[derive(Debug, Clone, PartialEq)]
pub struct TextSample {
    /// The series.
    pub labels: Labels,
    /// The value.
    pub value: f64,
    /// When.
    pub t_ms: TimestampMs,
}

/// Samples of a text in order; after an error the iterator is at its end. The text must end with `# EOF`.
pub struct Samples<'a> {
    lines: std::str::Lines<'a>,
    line: usize,
    done: bool,
}

/// Reads `text`.
pub fn samples(text: &str) -> Samples<'_> {
    Samples { lines: text.lines(), line: 0, done: false }
}

impl Iterator for Samples<'_> {
    type Item = Result<TextSample, BadLine>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.done {
            self.line += 1;
            let outcome = match self.lines.next() {
                None => Err("data does not end with # EOF".to_owned()),
                Some("# EOF") => {
                    self.done = true;
                    match self.lines.next() {
                        Some(_) => Err("unexpected data after # EOF".to_owned()),
                        None => return None,
                    }
                }
                Some(comment) if comment.starts_with('#') => check_comment(comment).map(|()| None),
                Some(series) => Line { text: series, at: 0 }.sample().map(Some),
            };
            match outcome {
                Ok(None) => {}
                Ok(Some(sample)) => return Some(Ok(sample)),
                Err(what) => {
                    self.done = true;
                    return Some(Err(BadLine { line: self.line, what }));
                }
            }
        }
        None
    }
}

fn check_comment(line: &str) -> Result<(), String> {
    let mut words = line.splitn(4, ' ');
    let (hash, keyword, name, text) = (words.next(), words.next(), words.next(), words.next());
    match (hash, keyword, name) {
        (Some("#"), Some("TYPE"), Some(name)) if !name.is_empty() => {
            let known =
                ["counter", "gauge", "histogram", "gaugehistogram", "summary", "info", "stateset", "unknown"];
            let kind = text.unwrap_or("");
            if known.contains(&kind) { Ok(()) } else { Err(format!("invalid metric type {kind:?}")) }
        }
        (Some("#"), Some("HELP" | "UNIT"), Some(name)) if !name.is_empty() => Ok(()),
        _ => Err(format!("{line:?} is not # TYPE, # HELP, # UNIT or # EOF")),
    }
}

struct Line<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Line<'a> {
    fn sample(mut self) -> Result<TextSample, String> {
        let mut pairs: Vec<(String, String)> = Vec::new();
        let name = self.take_until(|c| c == '{' || c == ' ');
        if !name.is_empty() {
            if !is_legacy_metric_name(name) {
                return Err(format!(
                    "{name:?} is not a metric name; put other names in quotes inside the braces"
                ));
            }
            pairs.push((METRIC_NAME.to_owned(), name.to_owned()));
        }
        if self.eat('{') {
            self.labels(&mut pairs)?;
        }
        if !pairs.iter().any(|(n, _)| n == METRIC_NAME) {
            return Err("a series without a metric name".to_owned());
        }
        let labels = Labels::from_pairs(pairs.iter().map(|(n, v)| (n, v))).map_err(|e| e.to_string())?;
        if !self.eat(' ') {
            return Err(self.expected("a space and the value after the series"));
        }
        let value = parse_float(self.take_until(|c| c == ' '))?;
        if !self.eat(' ') || self.rest().starts_with('#') {
            return Err(format!("expected timestamp for series {labels}, got none"));
        }
        let seconds = parse_float(self.take_until(|c| c == ' '))?;
        if !seconds.is_finite() {
            return Err(format!("invalid timestamp {seconds}"));
        }
        if !self.rest().is_empty() && !self.rest().starts_with(" # ") {
            return Err(self.expected("the end of the line or an exemplar"));
        }
        Ok(TextSample { labels, value, t_ms: (seconds * 1000.0) as TimestampMs })
    }

    /// Labels up to and with the closing brace. A quoted text without a value is the metric name.
    fn labels(&mut self, pairs: &mut Vec<(String, String)>) -> Result<(), String> {
        loop {
            if self.eat('}') {
                return Ok(());
            }
            let quoted = self.rest().starts_with('"');
            let name =
                if quoted { self.quoted()? } else { self.take_until(|c| "=,} ".contains(c)).to_owned() };
            if self.eat('=') {
                if !quoted && !is_legacy_label_name(&name) {
                    return Err(format!("{name:?} is not a label name; put other names in quotes"));
                }
                let value = self.quoted()?;
                pairs.push((name, value));
            } else if quoted && !pairs.iter().any(|(n, _)| n == METRIC_NAME) {
                pairs.push((METRIC_NAME.to_owned(), name));
            } else {
                return Err(self.expected("= after a label name"));
            }
            if !self.eat(',') && !self.rest().starts_with('}') {
                return Err(self.expected(", or } after a label"));
            }
        }
    }

    /// A text in double quotes with the escapes `\\`, `\"` and `\n`.
    fn quoted(&mut self) -> Result<String, String> {
        if !self.eat('"') {
            return Err(self.expected("a text in double quotes"));
        }
        let mut out = String::new();
        let mut chars = self.rest().char_indices();
        while let Some((i, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += i + 1;
                    return Ok(out);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => out.push('\n'),
                    Some((_, c @ ('\\' | '"'))) => out.push(c),
                    // Any other escape stands for itself.
                    Some((_, c)) => out.extend(['\\', c]),
                    None => break,
                },
                c => out.push(c),
            }
        }
        Err("a text in double quotes does not end".to_owned())
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    fn eat(&mut self, c: char) -> bool {
        let found = self.rest().starts_with(c);
        if found {
            self.at += c.len_utf8();
        }
        found
    }

    fn take_until(&mut self, stop: impl Fn(char) -> bool) -> &'a str {
        let rest = self.rest();
        let taken = &rest[..rest.find(stop).unwrap_or(rest.len())];
        self.at += taken.len();
        taken
    }

    fn expected(&self, what: &str) -> String {
        let rest: String = self.rest().chars().take(20).collect();
        format!("expected {what}, got {rest:?}")
    }
}

/// A float as Prometheus reads it: decimal, exponent, `NaN`, `Inf` with a sign.
fn parse_float(text: &str) -> Result<f64, String> {
    let plain = text.bytes().all(|b| b.is_ascii_digit() || b"+-.eE".contains(&b));
    let word = text.trim_start_matches(['+', '-']).to_ascii_lowercase();
    match text.parse::<f64>() {
        Ok(v) if v.is_nan() => Ok(f64::from_bits(cairn_model::sample::NORMAL_NAN_BITS)),
        Ok(v) if plain || matches!(word.as_str(), "inf" | "infinity") => Ok(v),
        _ => Err(format!("{text:?} is not a number")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(line: &str) -> Result<(String, f64, i64), String> {
        let text = format!("{line}\n# EOF\n");
        let mut all = samples(&text);
        let first = all.next().expect("a sample or an error").map_err(|e| e.to_string())?;
        assert!(all.next().is_none());
        Ok((first.labels.to_string(), first.value, first.t_ms))
    }

    #[test]
    fn series_lines_are_read() {
        for (line, series, value, t) in [
            ("up 1 1.5", "up", 1.0, 1500),
            (
                r#"a{b="c",d="e\"f\\\n"} -2.5e3 1735689600.001"#,
                r#"a{b="c", d="e\"f\\\n"}"#,
                -2500.0,
                1_735_689_600_001,
            ),
            (r#"{"my.metric",a="b",} +Inf 0"#, r#"{__name__="my.metric", a="b"}"#, f64::INFINITY, 0),
            (r#"a{"l.x"="é"} 1 -1"#, r#"a{"l.x"="é"}"#, 1.0, -1000),
            (r#"h_bucket{le="1"} 5 10 # {trace_id="x"} 0.5 9"#, r#"h_bucket{le="1"}"#, 5.0, 10_000),
        ] {
            assert_eq!(one(line).unwrap(), (series.to_owned(), value, t), "{line}");
        }
        assert!(one("a NaN 1").unwrap().1.is_nan());
    }

    #[test]
    fn broken_lines_are_refused_with_line_and_reason() {
        for (line, want) in [
            ("a 1", "expected timestamp for series a, got none"),
            ("a x 1", "\"x\" is not a number"),
            ("a 0x10 1", "is not a number"),
            ("a{b=c} 1 1", "a text in double quotes"),
            ("a{b=\"c} 1 1", "does not end"),
            ("{b=\"c\"} 1 1", "without a metric name"),
            ("a-b 1 1", "is not a metric name"),
            ("a{a=\"1\",a=\"2\"} 1 1", "is not unique"),
            ("# TYPE a strange", "invalid metric type \"strange\""),
            ("#nonsense", "is not # TYPE"),
            ("", "without a metric name"),
            ("a 1 1 x", "the end of the line"),
        ] {
            let e = one(line).unwrap_err();
            assert!(e.starts_with("line 1: ") && e.contains(want), "{line}: {e}");
        }
        let unended: Vec<_> = samples("a 1 1\n").collect();
        assert_eq!(unended[1].as_ref().unwrap_err().to_string(), "line 2: data does not end with # EOF");
        let after: Vec<_> = samples("# EOF\na 1 1\n").collect();
        assert_eq!(after[0].as_ref().unwrap_err().what, "unexpected data after # EOF");
    }
}
