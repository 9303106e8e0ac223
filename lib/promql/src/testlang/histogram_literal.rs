//! Histograms as text: `{{schema:1 count:3 sum:5.5 buckets:[1 2] offset:-1}}`.
//!
//! Keys, in any order and each at most once: `schema sum count z_bucket z_bucket_w buckets:[…] offset n_buckets:[…]
//! n_offset custom_values:[…] counter_reset_hint:(unknown|reset|not_reset|gauge)`. Buckets are absolute counts that
//! follow one another from `offset` on. All histograms of the language are float histograms.

use std::fmt::Write;

use cairn_model::number::format_g;
use cairn_model::{CounterResetHint, FloatHistogram, Span};

use super::sequence::number_len;
use crate::parser::parse_number;

/// A histogram that was written down.
#[derive(Debug, Clone)]
pub struct Literal {
    /// The histogram.
    pub value: FloatHistogram,
    /// Whether the text names a reset hint.
    pub hint_stated: bool,
}

/// Reads the literal that `text` begins with and gives what follows it.
///
/// # Errors
/// Names the key or value that cannot be read.
pub fn parse(text: &str) -> Result<(Literal, &str), String> {
    let mut rest = text.strip_prefix("{{").ok_or_else(|| format!("expected a histogram, got {text:?}"))?;
    let mut literal = Literal { value: FloatHistogram::default(), hint_stated: false };
    let (mut seen, mut offsets) = (Vec::new(), (0, 0));
    loop {
        rest = rest.trim_start();
        if let Some(behind) = rest.strip_prefix("}}") {
            let h = &mut literal.value;
            h.positive_spans = one_span(offsets.0, h.positive_buckets.len());
            h.negative_spans = one_span(offsets.1, h.negative_buckets.len());
            return Ok((literal, behind));
        }
        let key_len = rest.bytes().take_while(|b| b.is_ascii_alphabetic() || *b == b'_').count();
        let (key, behind) = rest.split_at(key_len);
        let Some(value) = behind.strip_prefix(':').filter(|_| !key.is_empty()) else {
            return Err(format!("bad histogram descriptor found at {:?}", short(rest)));
        };
        if seen.contains(&key) {
            return Err(format!("duplicate key \"{key}\" in histogram"));
        }
        seen.push(key);
        rest = parse_entry(&mut literal, &mut offsets, key, value)
            .map_err(|reason| format!("error parsing {key} of a histogram: {reason}"))?;
    }
}

fn parse_entry<'a>(
    literal: &mut Literal,
    offsets: &mut (i32, i32),
    key: &str,
    value: &'a str,
) -> Result<&'a str, String> {
    let h = &mut literal.value;
    match key {
        "schema" => integer(value, &mut h.schema),
        "sum" => number(value, &mut h.sum),
        "count" => number(value, &mut h.count),
        "z_bucket" => number(value, &mut h.zero_count),
        "z_bucket_w" => number(value, &mut h.zero_threshold),
        "custom_values" => list(value, &mut h.custom_values),
        "buckets" => list(value, &mut h.positive_buckets),
        "n_buckets" => list(value, &mut h.negative_buckets),
        "offset" => integer(value, &mut offsets.0),
        "n_offset" => integer(value, &mut offsets.1),
        "counter_reset_hint" => {
            literal.hint_stated = true;
            let len = value.bytes().take_while(|b| b.is_ascii_alphabetic() || *b == b'_').count();
            h.reset_hint = match &value[..len] {
                "unknown" => CounterResetHint::Unknown,
                "reset" => CounterResetHint::Reset,
                "not_reset" => CounterResetHint::NotReset,
                "gauge" => CounterResetHint::Gauge,
                other => return Err(format!("unknown hint {other:?}")),
            };
            Ok(&value[len..])
        }
        _ => Err("unknown key".to_owned()),
    }
}

fn one_span(offset: i32, buckets: usize) -> Vec<Span> {
    if buckets == 0 { Vec::new() } else { vec![Span { offset, length: buckets as u32 }] }
}

fn number<'a>(text: &'a str, into: &mut f64) -> Result<&'a str, String> {
    let (sign, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (-1.0, &text[1..]),
        Some(b'+') => (1.0, &text[1..]),
        _ => (1.0, text),
    };
    let (word, rest) = unsigned.split_at(number_len(unsigned));
    *into = sign * parse_number(word)?;
    Ok(rest)
}

fn integer<'a>(text: &'a str, into: &mut i32) -> Result<&'a str, String> {
    let len =
        text.bytes().enumerate().take_while(|(i, b)| b.is_ascii_digit() || (*i == 0 && *b == b'-')).count();
    *into = text[..len].parse().map_err(|e| format!("{e}"))?;
    Ok(&text[len..])
}

fn list<'a>(text: &'a str, into: &mut Vec<f64>) -> Result<&'a str, String> {
    let mut rest = text.strip_prefix('[').ok_or("expected \"[\"")?;
    loop {
        rest = rest.trim_start();
        if let Some(behind) = rest.strip_prefix(']') {
            return Ok(behind);
        }
        let mut value = 0.0;
        rest = number(rest, &mut value)?;
        into.push(value);
    }
}

fn short(text: &str) -> String {
    text.chars().take(20).collect()
}

/// `h` as a literal, keys that say nothing left out.
pub fn format(h: &FloatHistogram) -> String {
    let mut out = String::from("{{");
    let mut entry = |text: String| {
        let separator = if out.len() > 2 { " " } else { "" };
        write!(out, "{separator}{text}").expect("writing to a String does not fail");
    };
    if h.schema != 0 {
        entry(format!("schema:{}", h.schema));
    }
    let numbers =
        [("count", h.count), ("sum", h.sum), ("z_bucket", h.zero_count), ("z_bucket_w", h.zero_threshold)];
    for (key, value) in numbers.into_iter().filter(|(_, v)| *v != 0.0) {
        entry(format!("{key}:{}", format_g(value)));
    }
    if h.uses_custom_buckets() {
        entry(format!("custom_values:{}", format_list(h.custom_values.iter().copied())));
    }
    match h.reset_hint {
        CounterResetHint::Unknown => {}
        CounterResetHint::Reset => entry("counter_reset_hint:reset".to_owned()),
        CounterResetHint::NotReset => entry("counter_reset_hint:not_reset".to_owned()),
        CounterResetHint::Gauge => entry("counter_reset_hint:gauge".to_owned()),
    }
    let sides = [("offset", "buckets", dense(h.positive())), ("n_offset", "n_buckets", dense(h.negative()))];
    for (offset_key, buckets_key, (offset, buckets)) in sides {
        if !buckets.is_empty() && offset != 0 {
            entry(format!("{offset_key}:{offset}"));
        }
        if !buckets.is_empty() {
            entry(format!("{buckets_key}:{}", format_list(buckets.into_iter())));
        }
    }
    out.push_str("}}");
    out
}

/// Buckets from the first to the last populated one, with the first one's index.
fn dense(buckets: impl Iterator<Item = (i32, f64)>) -> (i32, Vec<f64>) {
    let populated: Vec<_> = buckets.filter(|(_, c)| *c != 0.0).collect();
    let Some((first, _)) = populated.first().copied() else { return (0, Vec::new()) };
    let mut out: Vec<f64> = Vec::new();
    for (index, count) in populated {
        out.resize((index - first) as usize, 0.0);
        out.push(count);
    }
    (first, out)
}

fn format_list(values: impl Iterator<Item = f64>) -> String {
    format!("[{}]", values.map(format_g).collect::<Vec<_>>().join(" "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_key_is_read_and_written_again() {
        for text in [
            "{{}}",
            "{{schema:-4 count:12 sum:-3.5 z_bucket:2 z_bucket_w:0.001 counter_reset_hint:gauge offset:-2 buckets:[1 0 4.5] n_offset:3 n_buckets:[1 2]}}",
            "{{schema:-53 count:3 sum:1e+06 custom_values:[0.5 1 +Inf] buckets:[1 2]}}",
            "{{count:NaN sum:-Inf counter_reset_hint:not_reset buckets:[1]}}",
        ] {
            let (literal, rest) = parse(text).unwrap();
            assert_eq!((format(&literal.value).as_str(), rest), (text, ""));
        }
    }

    #[test]
    fn a_stated_hint_is_remembered_even_if_it_says_nothing() {
        assert!(parse("{{counter_reset_hint:unknown}}").unwrap().0.hint_stated);
        assert!(!parse("{{ count:1 }}x5").unwrap().0.hint_stated);
        assert_eq!(parse("{{ count:1 }}x5").unwrap().1, "x5");
    }

    #[test]
    fn what_cannot_be_read_is_named() {
        for (bad, want) in [
            ("{{count:1 count:2}}", "duplicate key \"count\""),
            ("{{foo:1}}", "unknown key"),
            ("{{count 1}}", "bad histogram descriptor"),
            ("{{count:1", "bad histogram descriptor"),
            ("{{buckets:[1 x]}}", "error parsing buckets"),
            ("{{buckets:[1", "error parsing buckets"),
            ("{{counter_reset_hint:maybe}}", "unknown hint"),
            ("{{schema:1.5}}", "bad histogram descriptor"),
        ] {
            let error = parse(bad).unwrap_err();
            assert!(error.contains(want), "{bad}: {error}");
        }
    }
}
