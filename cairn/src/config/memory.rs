//! How much memory cairn may use: `--memory.limit`, or 75 % of what the cgroup or the machine has.

use std::path::Path;

use cairn_runtime::Metrics;

/// Part of the available memory that is taken without a flag; the rest is for file pages and what is not counted.
const DEFAULT_PERCENT: u64 = 75;

/// Files that hold a limit in bytes, nearest first: cgroup v2, cgroup v1.
const CGROUP_LIMITS: &[&str] = &["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"];

/// Above this a cgroup's number means "no limit".
const NO_LIMIT_ABOVE: u64 = 1 << 50;

/// Shares of the limit: budgets of different parts. What is left is for tables beside them and for what the allocator
/// holds back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct MemoryBudget {
    /// All of it, bytes.
    pub limit: u64,
    /// Write requests in hand.
    pub admission: u64,
    /// Labels and chunks that queries may fetch, one or all at a time.
    pub query: u64,
    /// The head; from there on it takes no new series.
    pub head: u64,
}

impl MemoryBudget {
    /// Shares of `limit` bytes. Judgement: an eighth for requests, of which many small ones are in hand at a time, at
    /// most 1 GiB; a quarter for queries; an eighth of what is left in reserve.
    pub fn of(limit: u64) -> Self {
        let (admission, query) = ((limit / 8).min(1 << 30), limit / 4);
        MemoryBudget { limit, admission, query, head: limit - admission - query - limit / 8 }
    }

    /// Shows the shares in `/metrics`.
    pub fn show(&self, metrics: &Metrics) {
        let help = "Memory that the process and its parts may use, from --memory.limit.";
        let gauge = metrics.gauge_vec("cairn_memory_limit_bytes", help, &["part"]);
        let parts = [
            ("process", self.limit),
            ("requests", self.admission),
            ("query", self.query),
            ("head", self.head),
        ];
        for (part, bytes) in parts {
            gauge.with_label_values(&[part]).set(bytes as i64);
        }
    }

    /// From the flag, or from what the system says.
    pub fn from_flag(flag: Option<u64>) -> Self {
        Self::of(flag.unwrap_or_else(|| available() / 100 * DEFAULT_PERCENT))
    }
}

fn available() -> u64 {
    let machine = machine_bytes().unwrap_or(2 << 30);
    let cgroup = CGROUP_LIMITS.iter().find_map(|f| number_in(Path::new(f))).filter(|n| *n < NO_LIMIT_ABOVE);
    cgroup.map_or(machine, |c| c.min(machine))
}

fn number_in(file: &Path) -> Option<u64> {
    read(file)?.trim().parse().ok()
}

fn machine_bytes() -> Option<u64> {
    let text = read(Path::new("/proc/meminfo"))?;
    let line = text.lines().find(|l| l.starts_with("MemTotal:"))?;
    line.split_whitespace().nth(1)?.parse::<u64>().ok().map(|kib| kib * 1024)
}

#[allow(clippy::disallowed_methods)] // the system's own files, read once before there is a runtime
fn read(file: &Path) -> Option<String> {
    std::fs::read_to_string(file).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_stay_within_the_limit() {
        for limit in [64 << 20, 1 << 30, 18 << 30] {
            let b = MemoryBudget::of(limit);
            assert!(b.admission + b.query + b.head < limit && b.admission > 0 && b.head >= limit / 2);
        }
        assert_eq!(MemoryBudget::from_flag(Some(8 << 30)).admission, 1 << 30);
    }
}
