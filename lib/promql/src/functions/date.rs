//! Parts of a date, for `hour()`, `month()` and their like. Always UTC.

use cairn_model::calendar::{self, Date};

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
        let date = Date::of_day(days);
        CivilTime {
            year: date.year,
            month: date.month.into(),
            day: date.day.into(),
            hour: second_of_day / 3600,
            minute: second_of_day / 60 % 60,
            second: second_of_day % 60,
            weekday: calendar::weekday(days).into(),
            day_of_year: date.day_of_year().into(),
            days_in_month: date.days_in_month().into(),
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
}
