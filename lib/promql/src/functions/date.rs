//! Parts of a date, for `hour()`, `month()` and their like. Always UTC.
//!
//! Source of the calendar arithmetic: the proleptic Gregorian calendar, counted in 400-year eras that begin on
//! 1 March, so that the leap day is the last of its year.

const DAYS_PER_ERA: i64 = 146_097;
/// Days from the start of an era (0000-03-01) to the Unix epoch.
const EPOCH_DAY: i64 = 719_468;

/// A moment as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct CivilTime {
    /// Year; may be negative.
    pub year: i64,
    /// 1 to 12.
    pub month: u32,
    /// 1 to 31.
    pub day: u32,
    /// 0 to 23.
    pub hour: u32,
    /// 0 to 59.
    pub minute: u32,
    /// 0 to 59.
    pub second: u32,
    /// 0 is Sunday.
    pub weekday: u32,
    /// 1 to 366.
    pub day_of_year: u32,
    /// 28 to 31.
    pub days_in_month: u32,
}

impl CivilTime {
    /// The moment `unix_s` seconds after 1970-01-01T00:00:00Z.
    pub fn from_unix_s(unix_s: i64) -> Self {
        let days = unix_s.div_euclid(86_400);
        let second_of_day = unix_s.rem_euclid(86_400) as u32;
        let shifted = days.saturating_add(EPOCH_DAY);
        let (era, day_of_era) = (shifted.div_euclid(DAYS_PER_ERA), shifted.rem_euclid(DAYS_PER_ERA));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let march_day = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let march_month = (5 * march_day + 2) / 153;
        let day = (march_day - (153 * march_month + 2) / 5 + 1) as u32;
        let month = if march_month < 10 { march_month + 3 } else { march_month - 9 } as u32;
        let year = year_of_era + era * 400 + i64::from(month <= 2);
        let leap = (year % 4 == 0 && year % 100 != 0) || year % 400 == 0;
        let january_day = if month <= 2 { march_day - 306 } else { march_day + 59 + i64::from(leap) };
        CivilTime {
            year,
            month,
            day,
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
            weekday: (days.rem_euclid(7) + 4) as u32 % 7, // the epoch was a Thursday
            day_of_year: january_day as u32 + 1,
            days_in_month: match month {
                2 => 28 + u32::from(leap),
                4 | 6 | 9 | 11 => 30,
                _ => 31,
            },
        }
    }
}

/// What a date function gives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // PromQL's own names
pub enum DatePart {
    DayOfMonth,
    DayOfWeek,
    DayOfYear,
    DaysInMonth,
    Hour,
    Minute,
    Month,
    Year,
}

impl DatePart {
    /// The part that the PromQL function `name` gives.
    pub fn of_function(name: &str) -> Option<Self> {
        Some(match name {
            "day_of_month" => DatePart::DayOfMonth,
            "day_of_week" => DatePart::DayOfWeek,
            "day_of_year" => DatePart::DayOfYear,
            "days_in_month" => DatePart::DaysInMonth,
            "hour" => DatePart::Hour,
            "minute" => DatePart::Minute,
            "month" => DatePart::Month,
            "year" => DatePart::Year,
            _ => return None,
        })
    }

    /// The part at `unix_s`, which is cut to whole seconds towards zero.
    pub fn at(self, unix_s: f64) -> f64 {
        let t = CivilTime::from_unix_s(unix_s as i64);
        match self {
            DatePart::DayOfMonth => t.day.into(),
            DatePart::DayOfWeek => t.weekday.into(),
            DatePart::DayOfYear => t.day_of_year.into(),
            DatePart::DaysInMonth => t.days_in_month.into(),
            DatePart::Hour => t.hour.into(),
            DatePart::Minute => t.minute.into(),
            DatePart::Month => t.month.into(),
            DatePart::Year => t.year as f64,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_moments() {
        let t = CivilTime::from_unix_s(1_709_210_096); // 2024-02-29T12:34:56Z, a Thursday
        assert_eq!((t.year, t.month, t.day, t.hour, t.minute, t.second), (2024, 2, 29, 12, 34, 56));
        assert_eq!((t.weekday, t.day_of_year, t.days_in_month), (4, 60, 29));
        let t = CivilTime::from_unix_s(-1);
        assert_eq!((t.year, t.month, t.day, t.second, t.weekday), (1969, 12, 31, 59, 3));
    }

    #[test]
    fn days_follow_one_another_over_four_centuries() {
        let (mut year, mut month, mut day) = (1900, 1, 1);
        for n in 0..DAYS_PER_ERA {
            let t = CivilTime::from_unix_s((n - 25_567) * 86_400);
            assert_eq!((t.year, t.month, t.day), (year, month, day));
            assert_eq!(i64::from(t.weekday), (n + 1).rem_euclid(7));
            day += 1;
            if day > t.days_in_month {
                (month, day) = (month + 1, 1);
            }
            if month > 12 {
                (year, month) = (year + 1, 1);
            }
        }
    }
}
