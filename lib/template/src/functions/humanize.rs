//! Numbers for people: SI and binary prefixes, durations, percentages, times.
//!
//! Every input may be a number or a text that is one. Four significant digits throughout.

use super::{Failure, Outcome};
use crate::gofmt::{self, float};
use crate::gotime::{Duration, Time};
use crate::literal::{self, FloatError};
use crate::value::{Indirection, Value};

const LARGE: [&str; 8] = ["k", "M", "G", "T", "P", "E", "Z", "Y"];
const LARGE_BINARY: [&str; 8] = ["ki", "Mi", "Gi", "Ti", "Pi", "Ei", "Zi", "Yi"];
const SMALL: [&str; 8] = ["m", "u", "n", "p", "f", "a", "z", "y"];

/// `%.4g`
fn short(v: f64) -> String {
    float::format(v, 'g', Some(4))
}

fn to_float(value: &Value) -> Result<f64, Failure> {
    match value {
        Value::Float(f) => Ok(*f),
        Value::Int(n) => Ok(*n as f64),
        Value::Duration(d, Indirection::Bare) => Ok(d.seconds()),
        Value::Str(text) => literal::parse_float(text).map_err(|e| {
            let reason = match e {
                FloatError::Syntax => "invalid syntax",
                FloatError::Range => "value out of range",
            };
            format!("strconv.ParseFloat: parsing {}: {reason}", gofmt::quote(text)).into()
        }),
        other => Err(format!("can't convert {} to float", other.go_type()).into()),
    }
}

/// Divides by `step` until it is below it or the prefixes end.
fn scale_down(mut v: f64, step: f64, prefixes: &[&'static str]) -> (f64, &'static str) {
    let mut prefix = "";
    for next in prefixes {
        if v.abs() < step {
            break;
        }
        prefix = next;
        v /= step;
    }
    (v, prefix)
}

/// Multiplies by a thousand until it is at least one or the prefixes end.
fn scale_up(mut v: f64) -> (f64, &'static str) {
    let mut prefix = "";
    for next in SMALL {
        if v.abs() >= 1.0 {
            break;
        }
        prefix = next;
        v *= 1000.0;
    }
    (v, prefix)
}

pub(super) fn humanize(value: &Value) -> Outcome {
    let v = to_float(value)?;
    if v == 0.0 || !v.is_finite() {
        return Ok(short(v).into());
    }
    let (v, prefix) = if v.abs() >= 1.0 { scale_down(v, 1000.0, &LARGE) } else { scale_up(v) };
    Ok((short(v) + prefix).into())
}

pub(super) fn humanize1024(value: &Value) -> Outcome {
    let v = to_float(value)?;
    if v.abs() <= 1.0 || !v.is_finite() {
        return Ok(short(v).into());
    }
    let (v, prefix) = scale_down(v, 1024.0, &LARGE_BINARY);
    Ok((short(v) + prefix).into())
}

pub(super) fn humanize_percentage(value: &Value) -> Outcome {
    Ok((short(to_float(value)? * 100.0) + "%").into())
}

pub(super) fn humanize_duration(value: &Value) -> Outcome {
    let v = to_float(value)?;
    if !v.is_finite() {
        return Ok(short(v).into());
    }
    if v == 0.0 {
        return Ok((short(v) + "s").into());
    }
    if v.abs() < 1.0 {
        let (v, prefix) = scale_up(v);
        return Ok(format!("{}{prefix}s", short(v)).into());
    }
    let sign = if v < 0.0 { "-" } else { "" };
    let whole = v.abs() as i64;
    let (days, hours, minutes, seconds) = (whole / 86_400, whole / 3600 % 24, whole / 60 % 60, whole % 60);
    let text = match (days, hours, minutes) {
        (0, 0, 0) => format!("{sign}{}s", short(v.abs())),
        (0, 0, _) => format!("{sign}{minutes}m {seconds}s"),
        (0, ..) => format!("{sign}{hours}h {minutes}m {seconds}s"),
        _ => format!("{sign}{days}d {hours}h {minutes}m {seconds}s"),
    };
    Ok(text.into())
}

pub(super) fn humanize_timestamp(value: &Value) -> Outcome {
    let v = to_float(value)?;
    match v.is_finite() {
        true => Ok(time_of(v)?.to_string().into()),
        false => Ok(short(v).into()),
    }
}

pub(super) fn to_time(value: &Value) -> Result<Time, Failure> {
    let v = to_float(value)?;
    match v.is_finite() {
        true => time_of(v),
        false => Err("value is NaN or Inf".into()),
    }
}

/// Seconds to a time of whole milliseconds: that is all Prometheus keeps.
fn time_of(seconds: f64) -> Result<Time, Failure> {
    let nanos = seconds * 1e9;
    if nanos > i64::MAX as f64 || nanos < i64::MIN as f64 {
        let shown = float::format(seconds, 'g', None);
        return Err(format!(
            "{shown} cannot be represented as a nanoseconds timestamp since it overflows int64"
        )
        .into());
    }
    let millis = nanos as i64 / 1_000_000;
    Ok(Time::from_unix_nanos(millis * 1_000_000))
}

pub(super) fn to_duration(value: &Value) -> Result<Duration, Failure> {
    Ok(Duration::from_nanos((to_float(value)? * 1e9) as i64))
}

/// A Prometheus duration (`1h30m`, also negative) in seconds.
pub(super) fn parse_duration(text: &str) -> Result<f64, Failure> {
    const UNITS: [(&str, i64); 7] = [
        ("y", 365 * 86_400_000),
        ("w", 7 * 86_400_000),
        ("d", 86_400_000),
        ("h", 3_600_000),
        ("m", 60_000),
        ("s", 1000),
        ("ms", 1),
    ];
    let invalid = || Failure::from(format!("not a valid duration string: {}", gofmt::quote(text)));
    let magnitude = text.strip_prefix('-').unwrap_or(text);
    match magnitude {
        "" if text.is_empty() => return Err("empty duration string".into()),
        "0" => return Ok(0.0),
        _ => {}
    }
    let mut units = UNITS.iter();
    let (mut millis, mut rest) = (0i64, magnitude);
    while !rest.is_empty() {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_lowercase).count();
        let (number, unit) = (&rest[..digits], &rest[digits..digits + letters]);
        // Units come from large to small, each at most once.
        let Some((_, per_unit)) = units.by_ref().find(|(name, _)| *name == unit) else {
            return Err(invalid());
        };
        if number.is_empty() {
            return Err(invalid());
        }
        millis = number
            .parse::<i64>()
            .ok()
            .and_then(|n| n.checked_mul(*per_unit))
            .and_then(|n| millis.checked_add(n))
            .filter(|n| *n <= i64::MAX / 1_000_000)
            .ok_or_else(|| Failure::from("duration out of range"))?;
        rest = &rest[digits + letters..];
    }
    if magnitude.is_empty() {
        return Err(invalid());
    }
    let seconds = millis as f64 / 1000.0;
    Ok(if text.starts_with('-') { -seconds } else { seconds })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_from_large_to_small() {
        let seconds = |text: &str| parse_duration(text).ok();
        assert_eq!(seconds("1h30m"), Some(5400.0));
        assert_eq!(seconds("-1d"), Some(-86_400.0));
        assert_eq!(seconds("5ms"), Some(0.005));
        assert_eq!(seconds("0"), Some(0.0));
        for bad in ["", "-", "1", "m", "1m1h", "1m1m", "1.5h", "1h 1m", "300y"] {
            assert_eq!(seconds(bad), None, "{bad}");
        }
    }
}
