//! The values of a series: `1 2 _ 5+10x3 stale {{count:2 sum:3}}x5`.
//!
//! Items are separated by spaces: `_` (no sample), `_xN`, `a`, `axN` (N+1 times), `a+bxN` and `a-bxN` (N+1 values,
//! each `b` further), the same with histograms for `a` and `b`, and `stale`.

use std::sync::Arc;

use cairn_model::FloatHistogram;
use cairn_model::sample::stale_nan;

use super::histogram_literal::{self, Literal};
use crate::parser::{PlainFloat, parse_number};

/// Most values of one series. Judgement: a hundred times the longest of Prometheus' own tests.
pub const MAX_VALUES: usize = 1_000_000;

/// One place in a sequence.
#[derive(Debug, Clone)]
pub enum SequenceValue {
    /// No sample here.
    Omitted,
    /// A float, perhaps the stale marker.
    Float(f64),
    /// A histogram.
    Histogram {
        /// The value.
        value: Arc<FloatHistogram>,
        /// Whether the text states the reset hint, so that a comparison includes it.
        hint_stated: bool,
    },
}

impl std::fmt::Display for SequenceValue {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            SequenceValue::Omitted => f.write_str("_"),
            SequenceValue::Float(v) => write!(f, "{}", PlainFloat(*v)),
            SequenceValue::Histogram { value, .. } => f.write_str(&histogram_literal::format(value)),
        }
    }
}

/// Reads a whole sequence.
///
/// # Errors
/// Names the item that cannot be read.
pub fn parse_values(text: &str) -> Result<Vec<SequenceValue>, String> {
    let mut values = Vec::new();
    let mut rest = text.trim_start();
    while !rest.is_empty() {
        rest = parse_item(rest, &mut values)?.trim_start();
        if values.len() > MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} values in a series"));
        }
    }
    Ok(values)
}

/// Reads one item and gives what follows it.
fn parse_item<'a>(text: &'a str, values: &mut Vec<SequenceValue>) -> Result<&'a str, String> {
    if text.starts_with("{{") {
        return parse_histograms(text, values);
    }
    let end = text.find(char::is_whitespace).unwrap_or(text.len());
    let (item, rest) = text.split_at(end);
    parse_floats(item, values).map_err(|reason| format!("unexpected {item:?} in series values: {reason}"))?;
    Ok(rest)
}

fn parse_floats(item: &str, values: &mut Vec<SequenceValue>) -> Result<(), String> {
    if let Some(rest) = item.strip_prefix('_') {
        let count = if rest.is_empty() { 1 } else { repetitions(rest)? };
        values.extend((0..count).map(|_| SequenceValue::Omitted));
        return Ok(());
    }
    let (first, rest) = number_prefix(item)?;
    if rest.is_empty() {
        values.push(SequenceValue::Float(first));
        return Ok(());
    }
    let (increment, rest) = if rest.starts_with(['+', '-']) { number_prefix(rest)? } else { (0.0, rest) };
    let count = repetitions(rest)?;
    let mut value = first;
    for _ in 0..=count {
        values.push(SequenceValue::Float(value));
        // Added step by step, as Prometheus does, so that rounding errors are the same.
        value += increment;
    }
    Ok(())
}

/// `xN`.
fn repetitions(text: &str) -> Result<usize, String> {
    let count = text.strip_prefix('x').ok_or("expected a repetition")?;
    match count.parse::<usize>() {
        Ok(n) if n <= MAX_VALUES && !count.starts_with('+') => Ok(n),
        _ => Err(format!("invalid repetition in series values: {count:?}")),
    }
}

/// The signed number or `stale` that `text` begins with, and the rest.
fn number_prefix(text: &str) -> Result<(f64, &str), String> {
    let (negative, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (true, &text[1..]),
        Some(b'+') => (false, &text[1..]),
        _ => (false, text),
    };
    let (word, rest) = unsigned.split_at(number_len(unsigned));
    if word == "stale" && unsigned.len() == text.len() {
        return Ok((stale_nan(), rest));
    }
    let value = parse_number(word).map_err(|_| "expected a number or \"stale\"".to_owned())?;
    Ok((if negative { -value } else { value }, rest))
}

/// How many bytes at the start of `text` are a number without sign, or a word; `x` ends it, as it begins a
/// repetition.
pub(super) fn number_len(text: &str) -> usize {
    let bytes = text.as_bytes();
    let mut at = 0;
    if bytes.first().is_some_and(u8::is_ascii_alphabetic) {
        return bytes.iter().take_while(|b| b.is_ascii_alphabetic() && **b != b'x').count();
    }
    while let Some(b) = bytes.get(at) {
        at += match b {
            b'0'..=b'9' | b'.' | b'_' => 1,
            b'e' | b'E' => 1 + usize::from(matches!(bytes.get(at + 1), Some(b'+' | b'-'))),
            _ => break,
        };
    }
    at
}

fn parse_histograms<'a>(text: &'a str, values: &mut Vec<SequenceValue>) -> Result<&'a str, String> {
    let (first, rest) = histogram_literal::parse(text)?;
    let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
    match rest.as_bytes().first() {
        Some(b'x') => {
            let count = repetitions(&rest[..end])?;
            values.extend((0..=count).map(|_| sequence_value(&first, first.hint_stated)));
            Ok(&rest[end..])
        }
        Some(sign @ (b'+' | b'-')) => {
            let (increment, rest) = histogram_literal::parse(&rest[1..])?;
            let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
            let count = repetitions(&rest[..end])?;
            histogram_series(first, &increment, *sign == b'-', count, values)?;
            Ok(&rest[end..])
        }
        Some(b) if !b.is_ascii_whitespace() => {
            Err(format!("unexpected {:?} behind a histogram in series values", &rest[..end]))
        }
        _ => {
            values.push(sequence_value(&first, first.hint_stated));
            Ok(rest)
        }
    }
}

fn histogram_series(
    first: Literal,
    increment: &Literal,
    subtract: bool,
    count: usize,
    values: &mut Vec<SequenceValue>,
) -> Result<(), String> {
    let (from, to) = (increment.value.schema, first.value.schema);
    if to > from {
        return Err(format!("error combining histograms: cannot merge from schema {from} to {to}"));
    }
    let mut current = first;
    for i in 0..=count {
        if i > 0 {
            let added = if subtract {
                let result = current.value.sub(&increment.value);
                current.value.reset_hint = cairn_model::CounterResetHint::Gauge;
                result
            } else {
                current.value.add(&increment.value)
            };
            added.map_err(|e| format!("error combining histograms: {e}"))?;
        }
        values.push(sequence_value(&current, increment.hint_stated));
    }
    Ok(())
}

fn sequence_value(literal: &Literal, hint_stated: bool) -> SequenceValue {
    SequenceValue::Histogram { value: Arc::new(literal.value.clone()), hint_stated }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(sequence: &str) -> Vec<String> {
        parse_values(sequence).unwrap().iter().map(ToString::to_string).collect()
    }

    #[test]
    fn items_expand_to_their_values() {
        for (sequence, want) in [
            ("", vec![]),
            ("1 2 3", vec!["1", "2", "3"]),
            ("_ _x2 1", vec!["_", "_", "_", "1"]),
            ("5x2", vec!["5", "5", "5"]),
            ("1+2x3", vec!["1", "3", "5", "7"]),
            ("-1-2x1", vec!["-1", "-3"]),
            ("1-1x2", vec!["1", "0", "-1"]),
            ("0x1", vec!["0", "0"]),
            ("1e3+1e-1x1", vec!["1000", "1000.1"]),
            ("Inf -Inf NaN +Inf", vec!["+Inf", "-Inf", "NaN", "+Inf"]),
            (".5 010", vec!["0.5", "8"]),
        ] {
            assert_eq!(texts(sequence), want, "{sequence}");
        }
        assert!(
            matches!(parse_values("stale").unwrap()[..], [SequenceValue::Float(v)] if cairn_model::is_stale(v))
        );
    }

    #[test]
    fn histograms_repeat_and_grow() {
        assert_eq!(texts("{{count:1}}x1"), ["{{count:1}}", "{{count:1}}"]);
        assert_eq!(
            texts("{{count:1 sum:2 buckets:[1]}}+{{count:2 sum:1 buckets:[2]}}x1 7"),
            ["{{count:1 sum:2 buckets:[1]}}", "{{count:3 sum:3 buckets:[3]}}", "7"]
        );
        assert_eq!(
            texts("{{count:3 buckets:[3]}}-{{count:1 buckets:[1]}}x1")[1],
            "{{count:2 counter_reset_hint:gauge buckets:[2]}}"
        );
    }

    #[test]
    fn what_is_no_value_is_named() {
        for bad in [
            "a",
            "1x",
            "1x-1",
            "1y3",
            "1+x3",
            "_1",
            "stale5",
            "{{count:1}}y",
            "{{count:1}}+5x3",
            "1x99999999",
        ] {
            assert!(parse_values(bad).is_err(), "{bad}");
        }
        assert_eq!(
            parse_values("1 foo").unwrap_err(),
            "unexpected \"foo\" in series values: expected a number or \"stale\""
        );
    }
}
