//! Start timestamps of a loaded series: `metric{…}@st -1m _ 0s+10sx3`, a line directly before the series.
//!
//! Items are `_` (unknown), `_xN`, a duration relative to the sample's own time, `dxN` (N+1 times) and `d+exN`,
//! `d-exN` (each `e` further).

use super::sequence::MAX_VALUES;
use crate::parser::duration::parse_duration;

/// Splits a line of start timestamps into metric and items; `None` when the line is none.
pub fn split_line(line: &str) -> Option<(&str, &str)> {
    let line = line.trim();
    let (head, items) = line.split_at(line.find([' ', '\t'])?);
    Some((head.strip_suffix("@st")?, items.trim()))
}

/// Milliseconds to add to each sample's time; `None` where the start is unknown.
///
/// # Errors
/// Names the item that cannot be read.
pub fn parse_offsets(items: &str) -> Result<Vec<Option<i64>>, String> {
    let mut offsets = Vec::new();
    for item in items.split_whitespace() {
        parse_item(item, &mut offsets).map_err(|reason| format!("invalid ST item {item:?}: {reason}"))?;
        if offsets.len() > MAX_VALUES {
            return Err(format!("more than {MAX_VALUES} start timestamps"));
        }
    }
    Ok(offsets)
}

fn parse_item(item: &str, offsets: &mut Vec<Option<i64>>) -> Result<(), String> {
    if item == "_" {
        offsets.push(None);
        return Ok(());
    }
    if let Some(repetition) = item.strip_prefix('_') {
        let count = repetitions(repetition).ok().filter(|n| *n > 0).ok_or("invalid repeat count")?;
        offsets.extend((0..count).map(|_| None));
        return Ok(());
    }
    let (first, rest) = duration_prefix(item)?;
    if rest.is_empty() {
        offsets.push(Some(first));
        return Ok(());
    }
    let (step, rest) = match rest.as_bytes()[0] {
        b'+' => duration_prefix(&rest[1..])?,
        b'-' => duration_prefix(&rest[1..]).map(|(step, rest)| (-step, rest))?,
        _ => (0, rest),
    };
    let count = repetitions(rest)? as i64;
    offsets.extend((0..=count).map(|i| Some(first + i * step)));
    Ok(())
}

fn repetitions(text: &str) -> Result<usize, String> {
    let count = text.strip_prefix('x').ok_or("expected 'x<count>' behind the duration")?;
    count.parse().ok().filter(|n| *n <= MAX_VALUES).ok_or_else(|| "invalid repeat count".to_owned())
}

/// The signed duration that `text` begins with, in milliseconds, and the rest.
fn duration_prefix(text: &str) -> Result<(i64, &str), String> {
    let (sign, unsigned) = match text.as_bytes().first() {
        Some(b'-') => (-1, &text[1..]),
        Some(b'+') => (1, &text[1..]),
        _ => (1, text),
    };
    let digits = unsigned.bytes().take_while(u8::is_ascii_digit).count();
    let unit = unsigned[digits..].bytes().take_while(|b| b.is_ascii_alphabetic() && *b != b'x').count();
    let (duration, rest) = unsigned.split_at(digits + unit);
    if digits == 0 {
        return Err(format!("expected digits in duration {text:?}"));
    }
    let ms = parse_duration(duration).map_err(|e| e.to_string())?;
    Ok((sign * ms, rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_expand_to_offsets() {
        assert_eq!(parse_offsets("_ -1m 0s").unwrap(), [None, Some(-60_000), Some(0)]);
        assert_eq!(parse_offsets("_x2 1sx1").unwrap(), [None, None, Some(1_000), Some(1_000)]);
        assert_eq!(parse_offsets("-1m-1mx2").unwrap(), [Some(-60_000), Some(-120_000), Some(-180_000)]);
        assert_eq!(parse_offsets("-5ms+5msx1").unwrap(), [Some(-5), Some(0)]);
        for bad in ["_x0", "1", "x3", "1sy", "1s+2s", "1s+x2", "1sx-1"] {
            assert!(parse_offsets(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn only_lines_that_say_so_are_of_start_timestamps() {
        assert_eq!(split_line("  up{a=\"b\"}@st  -1m _ "), Some(("up{a=\"b\"}", "-1m _")));
        assert_eq!(split_line("up 1 2"), None);
        assert_eq!(split_line("up@st"), None);
    }
}
