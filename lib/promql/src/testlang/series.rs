//! A series with its values: `http_requests{job="api", "l.a"="x"} 0+10x100`.
//!
//! The notation of `input_series` in rule unit tests, and of loads and expectations in promqltest files.

use cairn_model::labels::METRIC_NAME;
use cairn_model::{Labels, LabelsBuilder};

use super::sequence::{SequenceValue, parse_values};
use crate::parser::label_set;

/// A parsed line.
#[derive(Debug, Clone)]
pub struct SeriesDescription {
    /// The series.
    pub labels: Labels,
    /// Its values, one a step.
    pub values: Vec<SequenceValue>,
}

/// Reads a series with its values.
///
/// # Errors
/// What is wrong, with the position in `text` where the labels are at fault.
pub fn parse_series(text: &str) -> Result<SeriesDescription, String> {
    let (labels, end) = parse_metric(text)?;
    let rest = &text[end..];
    if !rest.is_empty() && !rest.starts_with(char::is_whitespace) {
        return Err(format!("expected a space before the values of {labels}, got {rest:?}"));
    }
    Ok(SeriesDescription { labels, values: parse_values(rest)? })
}

/// Reads the name and labels that `text` begins with; gives where they end.
///
/// # Errors
/// As [`parse_series`].
pub fn parse_metric(text: &str) -> Result<(Labels, usize), String> {
    let text_start = text.len() - text.trim_start().len();
    let name_len = text[text_start..]
        .bytes()
        .take_while(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b':'))
        .count();
    let name = &text[text_start..text_start + name_len];
    let mut end = text_start + name_len;
    let mut builder = LabelsBuilder::new();
    if text[end..].starts_with('{') {
        let (pairs, len) = label_set(&text[end..]).map_err(|e| e.to_string())?;
        end += len;
        for (name, value) in pairs {
            builder.set(&name, &value);
        }
    }
    if !name.is_empty() {
        builder.set(METRIC_NAME, name);
    }
    Ok((builder.build(), end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_labels_are_read_in_every_form() {
        for (text, want, values) in [
            ("up 1 2", "up", 2),
            ("up{} 1", "up", 1),
            ("up{a=\"b\", c='d',} 1", "up{a=\"b\", c=\"d\"}", 1),
            ("{a=\"b\"} 1", "{a=\"b\"}", 1),
            ("{\"my.metric\", \"l.a\"=`x`} 1 _", "{__name__=\"my.metric\", \"l.a\"=\"x\"}", 2),
            ("{__name__=\"up\"}\t5", "up", 1),
            ("{} 7", "{}", 1),
            ("sum 1", "sum", 1),
            ("a:b{x=\"}\"}", "a:b{x=\"}\"}", 0),
            ("{n=\"\"} 1", "{}", 1),
        ] {
            let series = parse_series(text).unwrap();
            assert_eq!(series.labels.to_string(), want, "{text}");
            assert_eq!(series.values.len(), values, "{text}");
        }
    }

    #[test]
    fn broken_labels_are_refused_with_a_position() {
        for (bad, want) in [
            ("up{a=b} 1", "1:4: parse error: unexpected identifier \"b\" in label set, expected string"),
            ("up{a} 1", "1:3: parse error: unexpected \"}\" in label set, expected \"=\""),
            ("up{a=\"b\"", "parse error: unexpected end of input inside braces"),
            ("up{a=\"b\"}1", "expected a space"),
        ] {
            let error = parse_series(bad).unwrap_err();
            assert!(error.contains(want), "{bad}: {error}");
        }
    }
}
