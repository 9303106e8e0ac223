//! Nothing is readable that was never offered: no value, no time, no series, and nothing that had to be refused.

use cairn_tsdb::head::order;

use super::Violation;
use crate::ledger::{Contents, Ledger};

/// `ledger` as of after the read of `contents`.
pub fn check(ledger: &Ledger, contents: &Contents, when: &str) -> Result<(), Violation> {
    for (series, times) in contents {
        for (t_ms, seen) in times {
            let offered = ledger.known(series, *t_ms).map(|k| k.offered.as_slice()).unwrap_or_default();
            if !offered.iter().any(|v| order::same(v, seen)) {
                let what = format!("{series} at {t_ms} is {seen:?}, offered were {offered:?}, {when}");
                return Err(Violation::new("nothing is invented", what));
            }
        }
    }
    Ok(())
}
