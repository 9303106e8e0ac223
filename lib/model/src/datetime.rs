//! Times as RFC 3339 texts, always in UTC. Leap seconds do not exist, as on Unix.

use crate::calendar::Date;
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
    let Date { year, month, day } = Date::of_day(days);
    let date = format!("{year:04}-{month:02}-{day:02}");
    (date, in_day / 3_600_000, in_day / 60_000 % 60, in_day / 1000 % 60, in_day % 1000)
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
            (951_827_696_789, "2000-02-29T12:34:56.789Z", "2000-02-29T12:34:56.789Z"),
            (1_767_225_599_999, "2025-12-31T23:59:59.999Z", "2025-12-31T23:59:59.999Z"),
            (-1, "1969-12-31T23:59:59.999Z", "1969-12-31T23:59:59.999Z"),
            (-62_135_596_800_000, "0001-01-01T00:00:00.000Z", "0001-01-01T00:00:00Z"),
        ] {
            assert_eq!(rfc3339_ms(t_ms), long);
            assert_eq!(rfc3339_short(t_ms), short);
        }
    }
}
