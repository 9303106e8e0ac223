//! Methods of times and durations, and of the few other values that have any.

use super::{Function, Outcome, Param, fixed};
use crate::gotime::{Civil, Duration, MONTHS, Time, WEEKDAYS};
use crate::value::{Indirection, Value};

fn time(value: &Value) -> Time {
    match value {
        Value::Time(t, _) => *t,
        _ => unreachable!("the parameter's type is a time"),
    }
}

fn span(value: &Value) -> Duration {
    match value {
        Value::Duration(d, _) => *d,
        Value::Int(n) => Duration::from_nanos(*n),
        _ => unreachable!("the parameter's type is a duration"),
    }
}

fn int(value: &Value) -> i64 {
    match value {
        Value::Int(n) => *n,
        _ => unreachable!("the parameter's type is an integer"),
    }
}

fn bare_time(t: Time) -> Outcome {
    Ok(Value::Time(t, Indirection::Bare))
}

fn bare_span(d: Duration) -> Outcome {
    Ok(Value::Duration(d, Indirection::Bare))
}

fn part(value: &Value, pick: fn(&Civil) -> i64) -> Outcome {
    Ok(Value::Int(pick(&time(value).civil())))
}

fn word(value: &Value) -> Outcome {
    Ok(value.stringer().unwrap_or_default().into())
}

pub(super) static TIME_METHODS: &[Function] = &[
    fixed("String", &[], |_, a| word(&a[0])),
    fixed("Format", &[Param::Str], |_, a| Ok(time(&a[0]).format(&super::strings::text(&a[1])).into())),
    fixed("UTC", &[], |_, a| bare_time(time(&a[0]))),
    fixed("Unix", &[], |_, a| Ok(Value::Int(time(&a[0]).unix_nanos().div_euclid(1_000_000_000)))),
    fixed("UnixMilli", &[], |_, a| Ok(Value::Int(time(&a[0]).unix_nanos().div_euclid(1_000_000)))),
    fixed("UnixMicro", &[], |_, a| Ok(Value::Int(time(&a[0]).unix_nanos().div_euclid(1_000)))),
    fixed("UnixNano", &[], |_, a| Ok(Value::Int(time(&a[0]).unix_nanos()))),
    fixed("IsZero", &[], |_, _| Ok(Value::Bool(false))), // the zero time is the year 1, before this type begins
    fixed("Year", &[], |_, a| part(&a[0], |c| c.year)),
    fixed("Month", &[], |_, a| {
        let month = time(&a[0]).civil().month;
        Ok(Value::Named { go_type: "time.Month", number: month.into(), text: MONTHS[usize::from(month) - 1] })
    }),
    fixed("Day", &[], |_, a| part(&a[0], |c| c.day.into())),
    fixed("YearDay", &[], |_, a| part(&a[0], |c| c.year_day.into())),
    fixed("Weekday", &[], |_, a| {
        let day = time(&a[0]).civil().weekday;
        Ok(Value::Named { go_type: "time.Weekday", number: day.into(), text: WEEKDAYS[usize::from(day)] })
    }),
    fixed("Hour", &[], |_, a| part(&a[0], |c| c.hour.into())),
    fixed("Minute", &[], |_, a| part(&a[0], |c| c.minute.into())),
    fixed("Second", &[], |_, a| part(&a[0], |c| c.second.into())),
    fixed("Nanosecond", &[], |_, a| part(&a[0], |c| c.nanos.into())),
    fixed("Add", &[Param::Duration], |_, a| bare_time(time(&a[0]).add(span(&a[1])))),
    fixed("Sub", &[Param::Time], |_, a| bare_span(time(&a[0]).sub(time(&a[1])))),
    fixed("AddDate", &[Param::Int, Param::Int, Param::Int], |_, a| {
        // Beyond a million years nothing is representable anyway; the clamp keeps the arithmetic inside 64 bits.
        let clamp = |v: &Value| int(v).clamp(-400_000_000, 400_000_000);
        match time(&a[0]).add_date(clamp(&a[1]), clamp(&a[2]), clamp(&a[3])) {
            Some(t) => bare_time(t),
            None => Err("time out of range".into()),
        }
    }),
    fixed("Truncate", &[Param::Duration], |_, a| {
        let (t, step) = (time(&a[0]).unix_nanos(), span(&a[1]).nanos());
        // Go counts multiples from the year 1; for steps that divide a day's seconds this is the same.
        bare_time(Time::from_unix_nanos(if step > 0 { t - t.rem_euclid(step) } else { t }))
    }),
    fixed("Before", &[Param::Time], |_, a| Ok(Value::Bool(time(&a[0]) < time(&a[1])))),
    fixed("After", &[Param::Time], |_, a| Ok(Value::Bool(time(&a[0]) > time(&a[1])))),
    fixed("Equal", &[Param::Time], |_, a| Ok(Value::Bool(time(&a[0]) == time(&a[1])))),
];

pub(super) static DURATION_METHODS: &[Function] = &[
    fixed("String", &[], |_, a| word(&a[0])),
    fixed("Nanoseconds", &[], |_, a| Ok(Value::Int(span(&a[0]).nanos()))),
    fixed("Microseconds", &[], |_, a| Ok(Value::Int(span(&a[0]).nanos() / 1_000))),
    fixed("Milliseconds", &[], |_, a| Ok(Value::Int(span(&a[0]).nanos() / 1_000_000))),
    fixed("Seconds", &[], |_, a| Ok(Value::Float(split(span(&a[0]), 1_000_000_000)))),
    fixed("Minutes", &[], |_, a| Ok(Value::Float(split(span(&a[0]), 60_000_000_000)))),
    fixed("Hours", &[], |_, a| Ok(Value::Float(split(span(&a[0]), 3_600_000_000_000)))),
    fixed("Abs", &[], |_, a| bare_span(Duration::from_nanos(span(&a[0]).nanos().saturating_abs()))),
    fixed("Round", &[Param::Duration], |_, a| bare_span(span(&a[0]).round(span(&a[1])))),
    fixed("Truncate", &[Param::Duration], |_, a| bare_span(span(&a[0]).truncate(span(&a[1])))),
];

/// Whole units and the rest apart, so that large spans keep their places.
fn split(d: Duration, unit_nanos: i64) -> f64 {
    (d.nanos() / unit_nanos) as f64 + (d.nanos() % unit_nanos) as f64 / unit_nanos as f64
}

pub(super) static NAMED_METHODS: &[Function] = &[fixed("String", &[], |_, a| word(&a[0]))];

pub(super) static HISTOGRAM_METHODS: &[Function] = &[fixed("String", &[], |_, a| word(&a[0]))];
