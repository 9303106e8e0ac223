//! Durations and sizes as Prometheus and Thanos write them on the command line.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

/// `1h30m`, `15d`, `500ms`: units `ms s m h d w y`, in any order, each with a whole number.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct GoDuration(pub Duration);

/// Milliseconds of each unit; a year has 365 days, as in Prometheus.
const UNITS: &[(&str, u64)] = &[
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
    ("w", 604_800_000),
    ("y", 31_536_000_000),
];

impl FromStr for GoDuration {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a duration: write for instance 30s, 2h or 15d");
        let (mut rest, mut total_ms) = (text, 0u64);
        if text.is_empty() {
            return Err(wrong());
        }
        while !rest.is_empty() {
            let digits = rest.find(|c: char| !c.is_ascii_digit()).filter(|i| *i > 0).ok_or_else(wrong)?;
            let number: u64 = rest[..digits].parse().map_err(|_| wrong())?;
            rest = &rest[digits..];
            let end = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
            let (_, unit_ms) = UNITS.iter().find(|(u, _)| *u == &rest[..end]).ok_or_else(wrong)?;
            total_ms =
                number.checked_mul(*unit_ms).and_then(|ms| total_ms.checked_add(ms)).ok_or_else(wrong)?;
            rest = &rest[end..];
        }
        Ok(GoDuration(Duration::from_millis(total_ms)))
    }
}

impl fmt::Display for GoDuration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut rest = self.0.as_millis() as u64;
        if rest == 0 {
            return f.write_str("0s");
        }
        for (unit, ms) in UNITS.iter().rev().filter(|(u, _)| !matches!(*u, "w" | "y")) {
            if rest >= *ms {
                write!(f, "{}{unit}", rest / ms)?;
                rest %= ms;
            }
        }
        Ok(())
    }
}

/// `512MiB`, `2GB`, `1000`: decimal (`KB MB GB TB`) and binary (`KiB MiB GiB TiB`) units, or plain bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bytes(pub u64);

const SIZES: &[(&str, u64)] = &[
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
    ("KB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
    ("TB", 1_000_000_000_000),
    ("B", 1),
    ("", 1),
];

impl FromStr for Bytes {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("{text:?} is not a size: write for instance 512MiB or 2GB");
        let digits = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
        let number: u64 = text[..digits].parse().map_err(|_| wrong())?;
        let (_, unit) =
            SIZES.iter().find(|(u, _)| u.eq_ignore_ascii_case(&text[digits..])).ok_or_else(wrong)?;
        number.checked_mul(*unit).map(Bytes).ok_or_else(wrong)
    }
}

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The exact unit with the shortest number: what was given as 2GB is shown as 2GB.
        let exact = SIZES[..8].iter().filter(|(_, u)| self.0 >= *u && self.0.is_multiple_of(*u));
        match exact.min_by_key(|(_, u)| self.0 / u) {
            Some((name, u)) => write!(f, "{}{name}", self.0 / u),
            None => write!(f, "{}", self.0),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_and_print_as_prometheus_writes_them() {
        for (text, ms, printed) in [
            ("2h", 7_200_000, "2h"),
            ("1h30m", 5_400_000, "1h30m"),
            ("90s", 90_000, "1m30s"),
            ("15d", 1_296_000_000, "15d"),
            ("250ms", 250, "250ms"),
            ("0s", 0, "0s"),
        ] {
            let d: GoDuration = text.parse().unwrap();
            assert_eq!((d.0.as_millis(), d.to_string().as_str()), (ms, printed));
        }
        for bad in ["", "5", "h", "1x", "-1s", "1.5h", "99999999999999999999y"] {
            assert!(bad.parse::<GoDuration>().is_err(), "{bad}");
        }
    }

    #[test]
    fn sizes_read_and_print() {
        for (text, bytes, printed) in [
            ("512MiB", 512 << 20, "512MiB"),
            ("2GB", 2_000_000_000, "2GB"),
            ("1000", 1000, "1KB"),
            ("1025", 1025, "1025"),
            ("3gib", 3 << 30, "3GiB"),
        ] {
            let b: Bytes = text.parse().unwrap();
            assert_eq!((b.0, b.to_string().as_str()), (bytes, printed));
        }
        assert!("1.5GB".parse::<Bytes>().is_err() && "GB".parse::<Bytes>().is_err());
    }
}
