//! Parameters of a request, from the query string and, for a POST, from the form in its body.
//!
//! Texts of errors are Prometheus', because people search for them.

use axum::body::Bytes;
use axum::extract::{FromRequest, Request};
use axum::http::{Method, header};
use cairn_model::calendar::Date;
use cairn_model::go_float::parse_float;
use cairn_model::tenant::TenantScope;

use super::error::Failure;

/// Largest form that is read.
const MAX_FORM_BYTES: usize = 4 << 20;

/// Earliest and latest time that a request can name, as in Prometheus: what is left out is everything.
pub const MIN_TIME_MS: i64 = -9_223_372_036_854_775;
/// See [`MIN_TIME_MS`].
pub const MAX_TIME_MS: i64 = 9_223_372_036_854_775;

/// How Prometheus writes these two, and its clients ask for everything; RFC 3339 has no such years.
const EARLIEST: &str = "-292273086-05-16T16:47:06Z";
/// See [`EARLIEST`].
const LATEST: &str = "292277025-08-18T07:12:54.999999999Z";

/// The parameters, in order.
#[derive(Debug, Default)]
pub struct Params {
    pairs: Vec<(String, String)>,
    /// Tenants that the caller may read.
    pub tenants: Option<TenantScope>,
}

impl Params {
    /// Reads all parameters and the tenant of a request.
    ///
    /// # Errors
    /// When the form is too large or cannot be read, or the tenant header is wrong.
    pub async fn read(request: Request) -> Result<Self, Failure> {
        let tenants =
            cairn_net::tenant::read_scope(request.headers()).map_err(|e| Failure::bad_data(e.to_string()))?;
        let mut pairs = parse(request.uri().query().unwrap_or("").as_bytes());
        if request.method() == Method::POST && is_form(&request) {
            let body =
                Bytes::from_request(request, &()).await.map_err(|e| Failure::bad_data(e.to_string()))?;
            if body.len() > MAX_FORM_BYTES {
                return Err(Failure::bad_data(format!(
                    "form of {} bytes, the limit is {MAX_FORM_BYTES}",
                    body.len()
                )));
            }
            // A form's values come first, as in Go's net/http.
            pairs.splice(0..0, parse(&body));
        }
        Ok(Params { pairs, tenants: Some(tenants) })
    }

    #[cfg(test)]
    fn of(query: &str) -> Self {
        Params { pairs: parse(query.as_bytes()), tenants: None }
    }

    /// First value of `name`; an empty one counts as absent.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(n, _)| n == name).map(|(_, v)| v.as_str()).filter(|v| !v.is_empty())
    }

    /// All values of `name`.
    pub fn all<'a>(&'a self, name: &'a str) -> impl Iterator<Item = &'a str> {
        self.pairs.iter().filter(move |(n, _)| n == name).map(|(_, v)| v.as_str())
    }

    /// A time in milliseconds, or `default`.
    pub fn time(&self, name: &str, default: i64) -> Result<i64, Failure> {
        self.get(name).map_or(Ok(default), |v| {
            let why =
                || format!("invalid time value for '{name}': cannot parse \"{v}\" to a valid timestamp");
            parse_time(v).ok_or_else(|| invalid(name, why()))
        })
    }

    /// A time in milliseconds that must be there.
    pub fn required_time(&self, name: &str) -> Result<i64, Failure> {
        let v = self.get(name).unwrap_or("");
        parse_time(v).ok_or_else(|| invalid(name, format!("cannot parse \"{v}\" to a valid timestamp")))
    }

    /// A duration in nanoseconds, if it is there; the error is the reason alone.
    pub fn duration_ns(&self, name: &str) -> Result<Option<i64>, String> {
        self.get(name).map(parse_duration_ns).transpose()
    }

    /// A limit; 0 is none.
    pub fn limit(&self) -> Result<usize, Failure> {
        let Some(v) = self.get("limit") else { return Ok(0) };
        match v.parse::<i64>() {
            Ok(n) if n >= 0 => Ok(n as usize),
            Ok(_) => Err(invalid("limit", "limit must be non-negative".into())),
            Err(e) => {
                use std::num::IntErrorKind::{NegOverflow, PosOverflow};
                let why = match e.kind() {
                    PosOverflow | NegOverflow => "value out of range",
                    _ => "invalid syntax",
                };
                Err(invalid("limit", format!("strconv.Atoi: parsing \"{v}\": {why}")))
            }
        }
    }

    /// A number of things, as the endpoints about metadata and targets read it; a negative one is no limit.
    pub fn count(&self, name: &str) -> Result<Option<usize>, Failure> {
        let parsed = self.get(name).map(str::parse::<i64>).transpose();
        let n = parsed.map_err(|_| Failure::bad_data(format!("{name} must be a number")))?;
        Ok(n.and_then(|n| usize::try_from(n).ok()))
    }

    /// `start` and `end`, by default everything; a range that ends before it starts holds nothing.
    pub fn range(&self) -> Result<(i64, i64), Failure> {
        Ok((self.time("start", MIN_TIME_MS)?, self.time("end", MAX_TIME_MS)?))
    }
}

/// The failure of parameter `name`.
pub fn invalid(name: &str, why: String) -> Failure {
    Failure::bad_data(format!("invalid parameter \"{name}\": {why}"))
}

fn is_form(request: &Request) -> bool {
    let content_type =
        request.headers().get(header::CONTENT_TYPE).and_then(|v| v.to_str().ok()).unwrap_or("");
    content_type
        .split(';')
        .next()
        .unwrap_or("")
        .trim()
        .eq_ignore_ascii_case("application/x-www-form-urlencoded")
}

/// Pairs of a form or a query string. One with a broken escape is dropped, as in Go's net/http.
fn parse(bytes: &[u8]) -> Vec<(String, String)> {
    let whole = |pair: &&[u8]| {
        let mut escapes = pair.split(|b| *b == b'%').skip(1);
        escapes.all(|after| after.len() >= 2 && after[..2].iter().all(u8::is_ascii_hexdigit))
    };
    bytes
        .split(|b| *b == b'&')
        .filter(whole)
        .flat_map(|pair| form_urlencoded::parse(pair).into_owned())
        .collect()
}

/// Unix seconds with a fraction, or RFC 3339.
pub fn parse_time(text: &str) -> Option<i64> {
    if let Some(seconds) = parse_float(text) {
        // The fraction is rounded alone, as Prometheus does: of 1.0005 seconds none is left.
        let ms = seconds.trunc() * 1000.0 + (seconds.fract() * 1000.0).round();
        return (ms.is_finite() && ms.abs() < i64::MAX as f64).then_some(ms as i64);
    }
    match text {
        EARLIEST => Some(MIN_TIME_MS),
        LATEST => Some(MAX_TIME_MS),
        _ => parse_rfc3339(text),
    }
}

/// Nanoseconds of float seconds, or of `1h30m`.
fn parse_duration_ns(text: &str) -> Result<i64, String> {
    if let Some(seconds) = parse_float(text) {
        let ns = seconds * 1e9;
        if ns.is_nan() {
            // What Prometheus' conversion makes of it: no step, no lookback, no time left.
            return Ok(i64::MIN);
        }
        if ns.abs() >= i64::MAX as f64 {
            return Err(format!("cannot parse \"{text}\" to a valid duration. It overflows int64"));
        }
        return Ok(ns as i64);
    }
    cairn_promql::parser::duration::parse_duration(text)
        .ok()
        .and_then(|ms| ms.checked_mul(1_000_000))
        .ok_or_else(|| format!("cannot parse \"{text}\" to a valid duration"))
}

/// `2015-07-01T20:10:51.781Z`, or with an offset such as `+02:00`. As strict as Go: capital letters, no leap seconds, a
/// comma may stand for the point, offsets of a day and less.
fn parse_rfc3339(text: &str) -> Option<i64> {
    let (date, rest) = text.split_at_checked(10)?;
    let rest = rest.strip_prefix('T')?;
    let (clock, rest) = rest.split_at_checked(8)?;
    let number = |s: &str| s.bytes().all(|b| b.is_ascii_digit()).then(|| s.parse::<i64>().ok()).flatten();
    let field = |s: &str, from: usize, to: usize| s.get(from..to).and_then(number);
    let (year, month, day) = (field(date, 0, 4)?, field(date, 5, 7)?, field(date, 8, 10)?);
    let (hour, minute, second) = (field(clock, 0, 2)?, field(clock, 3, 5)?, field(clock, 6, 8)?);
    let separators = date.as_bytes()[4] == b'-'
        && date.as_bytes()[7] == b'-'
        && &clock[2..3] == ":"
        && &clock[5..6] == ":";
    let date = Date { year, month: month as u8, day: day as u8 };
    let is_date = (1..=12).contains(&month) && (1..=date.days_in_month()).contains(&date.day);
    if !separators || !is_date || hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let (fraction_ms, rest) = match rest.strip_prefix(['.', ',']) {
        None => (0, rest),
        Some(r) => {
            let digits = r.bytes().take_while(u8::is_ascii_digit).count();
            let padded = format!("{:0<3}", r.get(..digits.min(3)).filter(|d| !d.is_empty())?);
            (number(&padded)?, &r[digits..])
        }
    };
    let offset_s = match rest {
        "Z" => 0,
        _ => {
            let sign = match rest.as_bytes().first()? {
                b'+' => 1,
                b'-' => -1,
                _ => return None,
            };
            let valid = rest.len() == 6 && rest.as_bytes()[3] == b':';
            let (hours, minutes) = (valid.then(|| field(rest, 1, 3)).flatten()?, field(rest, 4, 6)?);
            if hours > 24 || minutes > 60 {
                return None;
            }
            sign * (hours * 3600 + minutes * 60)
        }
    };
    let seconds = date.to_day() * 86_400 + hour * 3600 + minute * 60 + second - offset_s;
    Some(seconds * 1000 + fraction_ms)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_unix_seconds_or_rfc3339() {
        for (text, ms) in [
            ("1435781451.781", 1_435_781_451_781),
            ("0", 0),
            ("-1.5", -1500),
            ("2015-07-01T20:10:51.781Z", 1_435_781_451_781),
            ("2015-07-01T22:10:51.781+02:00", 1_435_781_451_781),
            ("1969-12-31T23:59:59Z", -1000),
            ("2024-02-29T00:00:00.5Z", 1_709_164_800_500),
            ("2024-02-29T00:00:00,5Z", 1_709_164_800_500),
            ("1.0005", 1_000),
            ("1795716000.123", 1_795_716_000_123),
            ("1_0", 10_000),
            ("0x1p-1", 500),
            (EARLIEST, MIN_TIME_MS),
            (LATEST, MAX_TIME_MS),
        ] {
            assert_eq!(parse_time(text), Some(ms), "{text}");
        }
        for bad in [
            "",
            "x",
            "NaN",
            "1e300",
            "2023-02-29T00:00:00Z",
            "2015-07-01",
            "2015-07-01T20:10:51",
            "2015-07-01T20:10:51.Z",
            "2015-07-01t20:10:51Z",
            "2015-07-01T20:10:51z",
            "2015-07-01T20:10:60Z",
            "2015-07-01T20:10:51-25:00",
        ] {
            assert_eq!(parse_time(bad), None, "{bad}");
        }
    }

    #[test]
    fn wrong_parameters_are_named_as_prometheus_names_them() {
        let error = |r: Result<_, Failure>| r.map(drop).unwrap_err().0.to_string();
        assert_eq!(
            error(Params::of("limit=-1").limit().map(|_| ())),
            "invalid parameter \"limit\": limit must be non-negative"
        );
        assert_eq!(
            error(Params::of("time=x").time("time", 0).map(|_| ())),
            "invalid parameter \"time\": invalid time value for 'time': cannot parse \"x\" to a valid timestamp"
        );
        assert_eq!(
            error(Params::of("limit=99999999999999999999").limit().map(|_| ())),
            "invalid parameter \"limit\": strconv.Atoi: parsing \"99999999999999999999\": value out of range"
        );
        assert_eq!(error(Params::of("limit=x").count("limit").map(|_| ())), "limit must be a number");
        assert_eq!(Params::of("a=1&a=2").all("a").collect::<Vec<_>>(), ["1", "2"]);
        assert_eq!(Params::of("a=%zz&a=%&a=%2&a=%41+b").all("a").collect::<Vec<_>>(), ["A b"]);
    }

    #[test]
    fn durations_are_seconds_or_words() {
        for (text, want) in [
            ("1m", Ok(60_000_000_000)),
            ("0.5", Ok(500_000_000)),
            ("-1", Ok(-1_000_000_000)),
            ("0.0001", Ok(100_000)),
            ("1x", Err("cannot parse \"1x\" to a valid duration")),
            ("1e12", Err("cannot parse \"1e12\" to a valid duration. It overflows int64")),
            ("-Inf", Err("cannot parse \"-Inf\" to a valid duration. It overflows int64")),
            ("1e400", Err("cannot parse \"1e400\" to a valid duration")),
            ("0x10", Err("cannot parse \"0x10\" to a valid duration")),
            ("0x1p4", Ok(16_000_000_000)),
            ("1_0", Ok(10_000_000_000)),
            ("NaN", Ok(i64::MIN)),
        ] {
            assert_eq!(parse_duration_ns(text), want.map_err(str::to_owned), "{text}");
        }
    }
}
