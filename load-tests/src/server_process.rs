//! What a process has used so far, read from `/proc`. Source: proc(5).

use std::fs;

use anyhow::{Context, Result};

/// Clock ticks a second in `/proc/PID/stat`; 100 on every Linux that cairn runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// A reading.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Usage {
    /// User and system time of all threads, ended ones too, seconds.
    pub cpu_s: f64,
    /// Resident anonymous memory, bytes.
    pub rss_anon_bytes: u64,
    /// Resident file-backed memory, bytes.
    pub rss_file_bytes: u64,
}

/// Reads the figures of `pid`.
///
/// # Errors
/// When there is no such process, or not on Linux.
pub fn usage(pid: u32) -> Result<Usage> {
    let read = |file: &str| {
        let path = format!("/proc/{pid}/{file}");
        fs::read_to_string(&path).with_context(|| format!("cannot read {path}: has the process ended?"))
    };
    let cpu_s =
        cpu_seconds(&read("stat")?).with_context(|| format!("cannot read the CPU time of process {pid}"))?;
    let status = read("status")?;
    Ok(Usage {
        cpu_s,
        rss_anon_bytes: field(&status, "RssAnon:"),
        rss_file_bytes: field(&status, "RssFile:"),
    })
}

/// utime + stime, the fields 14 and 15; the name before them is in parentheses and may hold anything.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let after_name = &stat[stat.rfind(')')? + 1..];
    let mut fields = after_name.split_ascii_whitespace().skip(11);
    let ticks: u64 = fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?;
    Some(ticks as f64 / TICKS_PER_SECOND)
}

/// A kB field of `/proc/PID/status` in bytes, 0 when absent (a zombie has none).
fn field(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|l| l.strip_prefix(name)).unwrap_or("0");
    line.split_ascii_whitespace().next().and_then(|n| n.parse::<u64>().ok()).unwrap_or(0) * 1_024
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_are_found_behind_a_hostile_process_name() {
        let stat = "42 (a) b (c) S 1 2 3 4 5 6 7 8 9 10 250 50 0 0 20 0";
        assert_eq!(cpu_seconds(stat), Some(3.0));
        assert_eq!(field("VmRSS:\t 9 kB\nRssAnon:\t   12 kB\n", "RssAnon:"), 12_288);
        assert_eq!(field("", "RssAnon:"), 0);
    }

    #[test]
    fn the_own_process_can_be_read_and_a_missing_one_is_named() {
        assert!(usage(std::process::id()).unwrap().rss_anon_bytes > 0);
        assert!(usage(u32::MAX).unwrap_err().to_string().contains("/proc/4294967295/stat"));
    }
}
