//! The order in which people sort names with numbers in them, for `sort_by_label`.

use std::cmp::Ordering;

/// Compares run by run: runs of digits by their number, other runs bytewise. What is a beginning of the other
/// comes first.
pub fn compare(a: &str, b: &str) -> Ordering {
    let (mut a, mut b) = (a, b);
    loop {
        let (x, y) = (run(a), run(b));
        if x.is_empty() || y.is_empty() {
            return x.len().cmp(&y.len());
        }
        let order = match (number(x), number(y)) {
            (Some(m), Some(n)) => m.cmp(&n),
            _ => x.cmp(y),
        };
        if order != Ordering::Equal {
            return order;
        }
        (a, b) = (&a[x.len()..], &b[y.len()..]);
    }
}

/// The first run of digits or of other characters.
fn run(s: &str) -> &str {
    let Some(first) = s.bytes().next() else { return "" };
    let end = s.bytes().position(|c| c.is_ascii_digit() != first.is_ascii_digit()).unwrap_or(s.len());
    &s[..end]
}

/// The number a run stands for, if it fits.
fn number(run: &str) -> Option<i64> {
    run.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_count_as_numbers() {
        let mut names = ["node10", "node9", "node", "node9b", "a", "node09c", "10", "9"];
        names.sort_by(|a, b| compare(a, b));
        assert_eq!(names, ["9", "10", "a", "node", "node9", "node9b", "node09c", "node10"]);
    }
}
