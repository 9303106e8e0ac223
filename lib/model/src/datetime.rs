//! Times as RFC 3339 texts, always in UTC.
//!
//! The calendar is the proleptic Gregorian one; leap seconds do not exist, as on Unix.

use crate::sample::TimestampMs;

const MS_PER_DAY: i64 = 86_400_000;

/// `2006-01-02T15:04:05.000Z`: always three decimals.
pub fn rfc3339_ms(t_ms: TimestampMs) -> String {
    let (date, h, m, s, ms) = parts(t_ms);
    format!("{date}T{h:02}:{m:02}:{s:02}.{ms:03}Z")
}

/// `2006-01-02T15:04:05Z`, with decimals only when there are any and without trailing zeros: Go's `RFC3339Nano`.
pub fn rfc3339_short(t_ms: TimestampMs) -> String {
    let (date, h, m, s, ms) = parts(t_ms);
    let decimals = match ms {
        0 => String::new(),
        ms => format!(".{}", format!("{ms:03}").trim_end_matches('0')),
    };
    format!("{date}T{h:02}:{m:02}:{s:02}{decimals}Z")
}

fn parts(t_ms: TimestampMs) -> (String, i64, i64, i64, i64) {
    let days = t_ms.div_euclid(MS_PER_DAY);
    let in_day = t_ms.rem_euclid(MS_PER_DAY);
    let (year, month, day) = date_of_days(days);
    let date = format!("{year:04}-{month:02}-{day:02}");
    (date, in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60, in_day % 1000)
}

/// Year, month (1 to 12) and day of a day counted from 1970-01-01. Years are counted from March, so that the leap day
/// is the last of its year; 400 of them have 146,097 days.
fn date_of_days(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let day_of_era = days.rem_euclid(146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = (month_from_march + 2) % 12 + 1;
    (era * 400 + year_of_era + i64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_times() {
        for (t_ms, long, short) in [
            (0, "1970-01-01T00:00:00.000Z", "1970-01-01T00:00:00Z"),
            (1_435_065_584_120, "2015-06-23T13:19:44.120Z", "2015-06-23T13:19:44.12Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z", "2000-02-29T00:00:00Z"),
            (-1, "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
            (-62_135_596_800_000, "0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339_ms(t_ms), long);
            assert_eq!(rfc3339_short(t_ms), short);
        }
    }
}
