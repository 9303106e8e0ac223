//! Durations, sizes, times and tables as Go prints them.

use std::io::{self, Write};

use cairn_model::TimestampMs;
use cairn_model::datetime::rfc3339_short;

/// `1h39m45.001s`.
pub fn duration(ms: i64) -> String {
    if ms == 0 {
        return "0s".to_owned();
    }
    let sign = if ms < 0 { "-" } else { "" };
    let ms = ms.unsigned_abs();
    if ms < 1000 {
        return format!("{sign}{ms}ms");
    }
    let (hours, minutes, seconds, rest) = (ms / 3_600_000, ms / 60_000 % 60, ms / 1000 % 60, ms % 1000);
    let fraction = match rest {
        0 => String::new(),
        rest => format!(".{rest:03}").trim_end_matches('0').to_owned(),
    };
    match (hours, minutes) {
        (0, 0) => format!("{sign}{seconds}{fraction}s"),
        (0, m) => format!("{sign}{m}m{seconds}{fraction}s"),
        (h, m) => format!("{sign}{h}h{m}m{seconds}{fraction}s"),
    }
}

/// `24KiB541B`.
pub fn bytes(n: u64) -> String {
    let mut out = String::new();
    let mut rest = n;
    for (i, unit) in ["EiB", "PiB", "TiB", "GiB", "MiB", "KiB", "B"].iter().enumerate() {
        let size = 1u64 << (60 - 10 * i);
        if rest >= size {
            out.push_str(&format!("{}{unit}", rest / size));
            rest %= size;
        }
    }
    if out.is_empty() { "0B".to_owned() } else { out }
}

/// `2025-01-01 01:39:45 +0000 UTC`, whole seconds.
pub fn time(t_ms: TimestampMs) -> String {
    let text = rfc3339_short(t_ms / 1000 * 1000);
    format!("{} +0000 UTC", text.trim_end_matches('Z').replace('T', " "))
}

/// Writes rows as columns of at least 13 characters, two apart.
pub fn table(rows: &[Vec<String>], out: &mut dyn Write) -> io::Result<()> {
    let columns = rows.iter().map(Vec::len).max().unwrap_or(0);
    let width = |c: usize| {
        let widest = rows.iter().filter_map(|r| r.get(c)).map(|cell| cell.chars().count()).max();
        (widest.unwrap_or(0) + 2).max(13)
    };
    let widths: Vec<usize> = (0..columns).map(width).collect();
    for row in rows {
        let last = row.len().saturating_sub(1);
        for (cell, width) in row[..last].iter().zip(&widths) {
            write!(out, "{cell:width$}")?;
        }
        writeln!(out, "{}", row[last])?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn go_s_texts() {
        for (ms, text) in [
            (0, "0s"),
            (5, "5ms"),
            (5_985_001, "1h39m45.001s"),
            (7_200_000, "2h0m0s"),
            (60_000, "1m0s"),
            (1_500, "1.5s"),
        ] {
            assert_eq!(duration(ms), text);
        }
        for (n, text) in [(0, "0B"), (25_117, "24KiB541B"), (1 << 20, "1MiB"), ((1 << 30) + 1, "1GiB1B")] {
            assert_eq!(bytes(n), text);
        }
        assert_eq!(time(1_735_695_585_001), "2025-01-01 01:39:45 +0000 UTC");
    }
}
