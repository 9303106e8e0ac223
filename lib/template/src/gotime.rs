//! Go's `time.Time` (always in UTC here) and `time.Duration`, with the texts and methods templates use.
//!
//! A time is a count of nanoseconds since 1970, so it ends in 2262 like Go's `UnixNano`.
//! Source: <https://pkg.go.dev/time>.

use std::fmt;

use cairn_model::calendar::{self, Date};

const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// A span in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Duration(i64);

impl Duration {
    /// From nanoseconds.
    pub fn from_nanos(nanos: i64) -> Duration {
        Duration(nanos)
    }

    /// In nanoseconds.
    pub fn nanos(self) -> i64 {
        self.0
    }

    /// In seconds.
    pub fn seconds(self) -> f64 {
        self.0 as f64 / NANOS_PER_SECOND as f64
    }

    /// Towards zero to a multiple of `step`; unchanged when `step` is not positive.
    pub(crate) fn truncate(self, step: Duration) -> Duration {
        match step.0 > 0 {
            true => Duration(self.0 - self.0 % step.0),
            false => self,
        }
    }

    /// To the nearest multiple of `step`, half away from zero; unchanged when `step` is not positive.
    pub(crate) fn round(self, step: Duration) -> Duration {
        if step.0 <= 0 {
            return self;
        }
        let rest = self.0 % step.0;
        let down = self.0 - rest;
        match i128::from(rest.abs()) * 2 < i128::from(step.0) {
            true => Duration(down),
            false => Duration(down.saturating_add(step.0 * rest.signum())),
        }
    }
}

/// `1h2m3.5s`, `1.5ms`, `0s`.
impl fmt::Display for Duration {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let magnitude = self.0.unsigned_abs();
        if magnitude == 0 {
            return f.write_str("0s");
        }
        if self.0 < 0 {
            f.write_str("-")?;
        }
        if magnitude < 1_000_000_000 {
            let (unit, per_unit) = match magnitude {
                0..1_000 => ("ns", 1),
                1_000..1_000_000 => ("µs", 1_000),
                _ => ("ms", 1_000_000),
            };
            return write!(f, "{}{unit}", decimal(magnitude, per_unit));
        }
        let seconds = magnitude / 1_000_000_000;
        let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
        if hours > 0 {
            write!(f, "{hours}h")?;
        }
        if seconds >= 60 {
            write!(f, "{minutes}m")?;
        }
        write!(f, "{}s", decimal(magnitude % 60_000_000_000, 1_000_000_000))
    }
}

/// `value / unit` with as many places as are needed.
fn decimal(value: u64, unit: u64) -> String {
    let (whole, rest) = (value / unit, value % unit);
    if rest == 0 {
        return whole.to_string();
    }
    let places = unit.ilog10() as usize;
    format!("{whole}.{}", format!("{rest:0places$}").trim_end_matches('0'))
}

/// A moment, in UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Time(i64);

/// A moment in the words of a calendar.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Civil {
    pub year: i64,
    /// 1 to 12
    pub month: u8,
    pub day: u8,
    /// 1 to 366
    pub year_day: u16,
    /// 0 is Sunday
    pub weekday: u8,
    pub hour: u8,
    pub minute: u8,
    pub second: u8,
    pub nanos: u32,
}

pub(crate) const MONTHS: [&str; 12] = [
    "January",
    "February",
    "March",
    "April",
    "May",
    "June",
    "July",
    "August",
    "September",
    "October",
    "November",
    "December",
];
pub(crate) const WEEKDAYS: [&str; 7] =
    ["Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday"];

impl Time {
    /// From nanoseconds since 1970.
    pub fn from_unix_nanos(nanos: i64) -> Time {
        Time(nanos)
    }

    /// Nanoseconds since 1970.
    pub fn unix_nanos(self) -> i64 {
        self.0
    }

    pub(crate) fn add(self, span: Duration) -> Time {
        Time(self.0.saturating_add(span.0))
    }

    pub(crate) fn sub(self, other: Time) -> Duration {
        Duration(self.0.saturating_sub(other.0))
    }

    pub(crate) fn civil(self) -> Civil {
        let seconds = self.0.div_euclid(NANOS_PER_SECOND);
        let days = seconds.div_euclid(SECONDS_PER_DAY);
        let in_day = seconds.rem_euclid(SECONDS_PER_DAY);
        let date = Date::of_day(days);
        Civil {
            year: date.year,
            month: date.month,
            day: date.day,
            year_day: date.day_of_year(),
            weekday: calendar::weekday(days),
            hour: (in_day / 3600) as u8,
            minute: (in_day / 60 % 60) as u8,
            second: (in_day % 60) as u8,
            nanos: self.0.rem_euclid(NANOS_PER_SECOND) as u32,
        }
    }

    /// Moves by calendar units; days beyond a month's end run into the next month.
    pub(crate) fn add_date(self, years: i64, months: i64, days: i64) -> Option<Time> {
        let civil = self.civil();
        let months = i64::from(civil.month) - 1 + months + 12 * civil.year.checked_add(years)?;
        let (year, month) = (months.div_euclid(12), months.rem_euclid(12) as u8 + 1);
        let first = Date { year, month, day: 1 };
        let days = first.to_day().checked_add(i64::from(civil.day) - 1)?.checked_add(days)?;
        let in_day = self.0.rem_euclid(SECONDS_PER_DAY * NANOS_PER_SECOND);
        days.checked_mul(SECONDS_PER_DAY * NANOS_PER_SECOND)?.checked_add(in_day).map(Time)
    }

    /// Writes the time after the pattern of Go's reference time, `Mon Jan 2 15:04:05 MST 2006`.
    pub fn format(self, layout: &str) -> String {
        let civil = self.civil();
        let mut out = String::with_capacity(layout.len() + 8);
        let mut rest = layout;
        while let Some(c) = rest.chars().next() {
            let taken = match civil.write_element(rest, &mut out) {
                0 => fraction(rest, civil.nanos, &mut out),
                n => n,
            };
            if taken == 0 {
                out.push(c);
            }
            rest = &rest[if taken == 0 { c.len_utf8() } else { taken }..];
        }
        out
    }
}

impl Civil {
    /// Writes the element that `layout` begins with and returns its length there; 0 when it begins with none.
    fn write_element(&self, layout: &str, out: &mut String) -> usize {
        let month = MONTHS[usize::from(self.month) - 1];
        let weekday = WEEKDAYS[usize::from(self.weekday)];
        let hour12 = match self.hour % 12 {
            0 => 12,
            h => h,
        };
        let lower_next = |at: usize| layout[at..].starts_with(|c: char| c.is_ascii_lowercase());
        let (taken, text) = match layout {
            l if l.starts_with("January") => (7, month.to_owned()),
            l if l.starts_with("Jan") && !lower_next(3) => (3, month[..3].to_owned()),
            l if l.starts_with("Monday") => (6, weekday.to_owned()),
            l if l.starts_with("Mon") && !lower_next(3) => (3, weekday[..3].to_owned()),
            l if l.starts_with("MST") => (3, "UTC".to_owned()),
            l if l.starts_with("2006") => (4, self.year.to_string()),
            l if l.starts_with("_2006") => {
                out.push('_');
                out.push_str(&self.year.to_string());
                return 5;
            }
            l if l.starts_with("__2") => (3, format!("{:>3}", self.year_day)),
            l if l.starts_with("_2") => (2, format!("{:>2}", self.day)),
            l if l.starts_with("002") => (3, format!("{:03}", self.year_day)),
            l if l.starts_with("01") => (2, format!("{:02}", self.month)),
            l if l.starts_with("02") => (2, format!("{:02}", self.day)),
            l if l.starts_with("03") => (2, format!("{hour12:02}")),
            l if l.starts_with("04") => (2, format!("{:02}", self.minute)),
            l if l.starts_with("05") => (2, format!("{:02}", self.second)),
            l if l.starts_with("06") => (2, format!("{:02}", self.year.rem_euclid(100))),
            l if l.starts_with("15") => (2, format!("{:02}", self.hour)),
            l if l.starts_with("PM") => (2, if self.hour >= 12 { "PM" } else { "AM" }.to_owned()),
            l if l.starts_with("pm") => (2, if self.hour >= 12 { "pm" } else { "am" }.to_owned()),
            l if l.starts_with("-07:00:00") => (9, "+00:00:00".to_owned()),
            l if l.starts_with("-07:00") => (6, "+00:00".to_owned()),
            l if l.starts_with("-070000") => (7, "+000000".to_owned()),
            l if l.starts_with("-0700") => (5, "+0000".to_owned()),
            l if l.starts_with("-07") => (3, "+00".to_owned()),
            l if l.starts_with("Z07:00:00") => (9, "Z".to_owned()),
            l if l.starts_with("Z07:00") => (6, "Z".to_owned()),
            l if l.starts_with("Z070000") => (7, "Z".to_owned()),
            l if l.starts_with("Z0700") => (5, "Z".to_owned()),
            l if l.starts_with("Z07") => (3, "Z".to_owned()),
            l if l.starts_with('1') => (1, self.month.to_string()),
            l if l.starts_with('2') => (1, self.day.to_string()),
            l if l.starts_with('3') => (1, hour12.to_string()),
            l if l.starts_with('4') => (1, self.minute.to_string()),
            l if l.starts_with('5') => (1, self.second.to_string()),
            _ => return 0,
        };
        out.push_str(&text);
        taken
    }
}

/// `.000` or `,999` after the seconds: that many places, with nines only as many as are needed.
fn fraction(layout: &str, nanos: u32, out: &mut String) -> usize {
    let mut chars = layout.chars();
    let Some(mark @ ('.' | ',')) = chars.next() else { return 0 };
    let Some(kind @ ('0' | '9')) = chars.next() else { return 0 };
    let places = layout[1..].chars().take_while(|c| *c == kind).count();
    if layout[1 + places..].starts_with(|c: char| c.is_ascii_digit()) {
        return 0;
    }
    let digits = format!("{nanos:09}{}", "0".repeat(places.saturating_sub(9)));
    let digits = &digits[..places];
    let digits = if kind == '9' { digits.trim_end_matches('0') } else { digits };
    if !digits.is_empty() {
        out.push(mark);
        out.push_str(digits);
    }
    1 + places
}

/// `2006-01-02 15:04:05.999999999 +0000 UTC`
impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.format("2006-01-02 15:04:05.999999999 -0700 MST"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_as_go_prints_them() {
        for (nanos, want) in [
            (0, "0s"),
            (1, "1ns"),
            (1_100, "1.1µs"),
            (2_200_000, "2.2ms"),
            (3_300_000_000, "3.3s"),
            (245_000_000_000, "4m5s"),
            (-3_661_000_000_000, "-1h1m1s"),
            (3_600_000_000_000, "1h0m0s"),
            (i64::MIN, "-2562047h47m16.854775808s"),
        ] {
            assert_eq!(Duration(nanos).to_string(), want);
        }
    }

    #[test]
    fn layouts() {
        let time = Time(1_435_065_584_128_000_000);
        assert_eq!(time.to_string(), "2015-06-23 13:19:44.128 +0000 UTC");
        assert_eq!(time.format("Mon, 02 Jan 2006 15:04:05 MST"), "Tue, 23 Jun 2015 13:19:44 UTC");
        assert_eq!(time.format("Monday January _2 3:04:05PM 06"), "Tuesday June 23 1:19:44PM 15");
        assert_eq!(time.format("2006-01-02T15:04:05.000Z07:00"), "2015-06-23T13:19:44.128Z");
        assert_eq!(time.format("002 __2 .00"), "174 174 .12");
    }

    #[test]
    fn rounding() {
        let d = Duration(1_500_000_000);
        let second = Duration(NANOS_PER_SECOND);
        assert_eq!(d.round(second), Duration(2_000_000_000));
        assert_eq!(Duration(-1_500_000_000).round(second), Duration(-2_000_000_000));
        assert_eq!(d.truncate(second), second);
        assert_eq!(Duration(i64::MAX).round(second), Duration(i64::MAX));
    }
}
