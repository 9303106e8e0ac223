//! The proleptic Gregorian calendar: dates, and days counted from 1970-01-01. For any year that an `i64` of seconds can name.
//!
//! Years are counted from March, so that the leap day is the last of its year; 400 of them, an era, have 146,097 days.

/// Days of an era.
const ERA_DAYS: i64 = 146_097;
/// Days from the first day of an era, 0000-03-01, to 1970-01-01.
const EPOCH_DAY: i64 = 719_468;

/// A day as people write it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Date {
    /// Year; may be negative, and 0 is the one before 1.
    pub year: i64,
    /// 1 to 12.
    pub month: u8,
    /// 1 to 31.
    pub day: u8,
}

impl Date {
    /// The date of a day counted from 1970-01-01.
    pub fn of_day(days: i64) -> Self {
        let days = days + EPOCH_DAY;
        let (era, day_of_era) = (days.div_euclid(ERA_DAYS), days.rem_euclid(ERA_DAYS));
        let year_of_era =
            (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
        let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
        let month_from_march = (5 * day_of_year + 2) / 153;
        let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u8;
        let month = ((month_from_march + 2) % 12 + 1) as u8;
        Date { year: era * 400 + year_of_era + i64::from(month <= 2), month, day }
    }

    /// Days from 1970-01-01: the inverse of [`Date::of_day`].
    pub fn to_day(self) -> i64 {
        let year = if self.month <= 2 { self.year - 1 } else { self.year };
        let (era, year_of_era) = (year.div_euclid(400), year.rem_euclid(400));
        let month_from_march = (i64::from(self.month) + 9) % 12;
        let day_of_year = (153 * month_from_march + 2) / 5 + i64::from(self.day) - 1;
        era * ERA_DAYS + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - EPOCH_DAY
    }

    /// 1 to 366.
    pub fn day_of_year(self) -> u16 {
        (self.to_day() - Date { month: 1, day: 1, ..self }.to_day() + 1) as u16
    }

    /// 28 to 31.
    pub fn days_in_month(self) -> u8 {
        let is_leap = self.year % 4 == 0 && (self.year % 100 != 0 || self.year % 400 == 0);
        match self.month {
            2 => 28 + u8::from(is_leap),
            4 | 6 | 9 | 11 => 30,
            _ => 31,
        }
    }
}

/// Day of the week of a day counted from 1970-01-01, which was a Thursday; 0 is Sunday.
pub fn weekday(days: i64) -> u8 {
    ((days.rem_euclid(7) + 4) % 7) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_follow_one_another_over_four_centuries() {
        let mut want = Date { year: 1900, month: 1, day: 1 };
        let mut in_year = 1;
        for n in 0..ERA_DAYS {
            let day = n - 25_567;
            let date = Date::of_day(day);
            assert_eq!((date, date.to_day(), date.day_of_year()), (want, day, in_year));
            assert_eq!(i64::from(weekday(day)), (n + 1).rem_euclid(7)); // 1900 began on a Monday
            (want.day, in_year) = (want.day + 1, in_year + 1);
            if want.day > date.days_in_month() {
                (want.month, want.day) = (want.month + 1, 1);
            }
            if want.month > 12 {
                (want.year, want.month, in_year) = (want.year + 1, 1, 1);
            }
        }
    }

    #[test]
    fn days_and_dates_are_inverse_far_from_now() {
        for day in (-1_000_000..1_000_000).step_by(13).chain([i64::MIN / 86_400, i64::MAX / 86_400]) {
            assert_eq!(Date::of_day(day).to_day(), day);
        }
        assert_eq!(Date::of_day(-719_468), Date { year: 0, month: 3, day: 1 });
    }
}
