//! PromQL by the book: one step at a time, from the syntax tree, nothing shared or reused. Floats only.

use std::collections::BTreeMap;

use cairn_model::labels::METRIC_NAME;
use cairn_model::{Labels, LabelsBuilder, STALE_NAN_BITS};
use cairn_promql::parser::ValueType;
use cairn_promql::parser::ast::{
    AggregateExpr, AggregateOp, At, BinaryExpr, BinaryOp, Call, Expr, SubqueryExpr, UnaryOp,
    VectorMatchCardinality, VectorSelector,
};
use cairn_promql::parser::duration::DurationArg;

const LOOKBACK_MS: i64 = 300_000;

/// Labels, as text, to value.
pub type Answer = BTreeMap<String, f64>;

type Sample = (Labels, f64);
type Window = Vec<(i64, f64)>;
/// Windows with the range's start and end.
type Ranges = (Vec<(Labels, Window)>, i64, i64);

/// The evaluator.
#[derive(Clone, Copy)]
pub struct Naive<'a> {
    pub series: &'a [(Labels, Vec<(i64, f64)>)],
    pub start_ms: i64,
    pub end_ms: i64,
}

fn fixed(d: &DurationArg) -> i64 {
    d.fixed_ms().expect("the generator writes plain durations")
}

fn nameless(l: &Labels) -> Labels {
    l.without_name()
}

fn distinct(v: Vec<Sample>) -> Result<Vec<Sample>, String> {
    let mut seen = std::collections::BTreeSet::new();
    if v.iter().all(|(l, _)| seen.insert(l.to_string())) { Ok(v) } else { Err("same labelset".into()) }
}

impl Naive<'_> {
    pub fn answer(&self, e: &Expr, t: i64) -> Result<Answer, String> {
        if e.value_type() == ValueType::Scalar {
            return Ok([("{}".to_owned(), self.scalar(e, t)?)].into_iter().collect());
        }
        Ok(self.vector(e, t)?.into_iter().map(|(l, v)| (l.to_string(), v)).collect())
    }

    fn reference(&self, t: i64, offset: Option<&DurationArg>, at: Option<At>) -> i64 {
        let base = match at {
            None => t,
            Some(At::TimestampMs(ms)) => ms,
            Some(At::Start) => self.start_ms,
            Some(At::End) => self.end_ms,
        };
        base - offset.map_or(0, fixed)
    }

    fn scalar(&self, e: &Expr, t: i64) -> Result<f64, String> {
        match e {
            Expr::Number(n) => Ok(n.value),
            Expr::Paren(p) => self.scalar(&p.expr, t),
            Expr::Unary(u) => Ok(if u.op == UnaryOp::Minus { -1.0 } else { 1.0 } * self.scalar(&u.expr, t)?),
            Expr::Call(c) if c.func.name == "scalar" => {
                let v = self.vector(&c.args[0], t)?;
                Ok(if v.len() == 1 { v[0].1 } else { f64::NAN })
            }
            Expr::Binary(b) => {
                let (l, r) = (self.scalar(&b.lhs, t)?, self.scalar(&b.rhs, t)?);
                Ok(match number(b.op, l, r) {
                    Ok(v) => v,
                    Err(holds) => f64::from(u8::from(holds)),
                })
            }
            other => panic!("not generated as a scalar: {other}"),
        }
    }

    fn select(&self, v: &VectorSelector) -> impl Iterator<Item = &(Labels, Vec<(i64, f64)>)> {
        self.series.iter().filter(|(l, _)| v.matchers.iter().all(|m| m.matches_labels(l.as_ref())))
    }

    fn last(&self, v: &VectorSelector, t: i64) -> Vec<(Labels, i64, f64)> {
        let at = self.reference(t, v.offset.as_ref(), v.at);
        self.select(v)
            .filter_map(|(l, samples)| {
                let (ts, value) = samples.iter().rev().find(|(ts, _)| *ts <= at)?;
                let fresh = *ts > at - LOOKBACK_MS && value.to_bits() != STALE_NAN_BITS;
                fresh.then(|| (l.clone(), *ts, *value))
            })
            .collect()
    }

    fn vector(&self, e: &Expr, t: i64) -> Result<Vec<Sample>, String> {
        match e {
            Expr::Paren(p) => self.vector(&p.expr, t),
            Expr::Vector(v) => Ok(self.last(v, t).into_iter().map(|(l, _, v)| (l, v)).collect()),
            Expr::Unary(u) => {
                let v = self.vector(&u.expr, t)?;
                if u.op == UnaryOp::Plus {
                    return Ok(v);
                }
                distinct(v.into_iter().map(|(l, v)| (nameless(&l), -v)).collect())
            }
            Expr::Call(c) => self.call(c, t),
            Expr::Aggregate(a) => self.aggregate(a, t),
            Expr::Binary(b) => self.binary(b, t),
            other => panic!("not generated as a vector: {other}"),
        }
    }

    fn call(&self, c: &Call, t: i64) -> Result<Vec<Sample>, String> {
        let name = c.func.name;
        if let Some(range) = c.args.iter().find(|a| a.value_type() == ValueType::Matrix) {
            let q = if name == "quantile_over_time" { self.scalar(&c.args[0], t)? } else { 0.0 };
            let (windows, start, end) = self.windows(range, t)?;
            let mut out = Vec::new();
            for (l, w) in windows {
                if let Some(v) = over_range(name, q, &w, start, end) {
                    let keeps = name == "last_over_time" || name == "first_over_time";
                    out.push((if keeps { l } else { nameless(&l) }, v));
                }
            }
            return distinct(out);
        }
        if name == "timestamp"
            && let Expr::Vector(v) = c.args[0].unwrap_parens()
        {
            let seconds = |(l, ts, _): (Labels, i64, f64)| (nameless(&l), ts as f64 / 1000.0);
            return Ok(self.last(v, t).into_iter().map(seconds).collect());
        }
        let v = self.vector(&c.args[0], t)?;
        if name == "absent" {
            if !v.is_empty() {
                return Ok(Vec::new());
            }
            let mut b = LabelsBuilder::new();
            if let Expr::Vector(s) = c.args[0].unwrap_parens() {
                for m in s.matchers.iter().filter(|m| m.name != METRIC_NAME && m.op.as_str() == "=") {
                    b.set(&m.name, &m.value);
                }
            }
            return Ok(vec![(b.build(), 1.0)]);
        }
        distinct(
            v.into_iter()
                .map(|(l, v)| {
                    let v = match name {
                        "abs" => v.abs(),
                        "sqrt" => v.sqrt(),
                        "timestamp" => t as f64 / 1000.0,
                        other => panic!("not generated: {other}"),
                    };
                    (nameless(&l), v)
                })
                .collect(),
        )
    }

    fn windows(&self, e: &Expr, t: i64) -> Result<Ranges, String> {
        match e {
            Expr::Matrix(m) => {
                let end = self.reference(t, m.selector.offset.as_ref(), m.selector.at);
                let start = end - fixed(&m.range);
                let inside =
                    |(ts, v): &&(i64, f64)| *ts > start && *ts <= end && v.to_bits() != STALE_NAN_BITS;
                let windows = self
                    .select(&m.selector)
                    .map(|(l, s)| (l.clone(), s.iter().filter(inside).copied().collect()))
                    .collect();
                Ok((windows, start, end))
            }
            Expr::Subquery(s) => self.subquery(s, t),
            other => panic!("not generated as a range: {other}"),
        }
    }

    fn subquery(&self, s: &SubqueryExpr, t: i64) -> Result<Ranges, String> {
        let end = self.reference(t, s.offset.as_ref(), s.at);
        let start = end - fixed(&s.range);
        let step = s.step.as_ref().map_or(60_000, fixed);
        let mut windows: Vec<(Labels, Window)> = Vec::new();
        for at in (start + 1..=end).filter(|at| at % step == 0) {
            for (l, v) in self.vector(&s.expr, at)? {
                match windows.iter_mut().find(|(k, _)| *k == l) {
                    Some((_, w)) => w.push((at, v)),
                    None => windows.push((l, vec![(at, v)])),
                }
            }
        }
        Ok((windows, start, end))
    }

    fn aggregate(&self, a: &AggregateExpr, t: i64) -> Result<Vec<Sample>, String> {
        let input = self.vector(&a.expr, t)?;
        let param = a.param.as_ref().map_or(Ok(0.0), |p| self.scalar(p, t))?;
        let mut groups: Vec<(Labels, Vec<Sample>)> = Vec::new();
        for (l, v) in input {
            let listed = |n: &str| a.grouping.iter().any(|g| g == n);
            let key = l.filtered(|n| if a.without { !listed(n) && n != METRIC_NAME } else { listed(n) });
            match groups.iter_mut().find(|(k, _)| *k == key) {
                Some((_, g)) => g.push((l, v)),
                None => groups.push((key, vec![(l, v)])),
            }
        }
        let mut out = Vec::new();
        for (key, mut members) in groups {
            let k = param as usize;
            match a.op {
                AggregateOp::Limitk => out.extend(members.into_iter().take(k)),
                AggregateOp::Topk | AggregateOp::Bottomk => {
                    let top = a.op == AggregateOp::Topk;
                    members.sort_by(|a, b| {
                        let order = if top { b.1.partial_cmp(&a.1) } else { a.1.partial_cmp(&b.1) };
                        order.unwrap_or(a.1.is_nan().cmp(&b.1.is_nan()))
                    });
                    out.extend(members.into_iter().take(k));
                }
                _ => out.push((key, reduced(a.op, param, &members.iter().map(|m| m.1).collect::<Vec<_>>()))),
            }
        }
        Ok(out)
    }

    fn binary(&self, b: &BinaryExpr, t: i64) -> Result<Vec<Sample>, String> {
        let scalar_side = [&b.lhs, &b.rhs].map(|e| e.value_type() == ValueType::Scalar);
        if scalar_side.contains(&true) {
            let left = scalar_side[0];
            let (s, v) = if left { (&b.lhs, &b.rhs) } else { (&b.rhs, &b.lhs) };
            let (s, v) = (self.scalar(s, t)?, self.vector(v, t)?);
            let mut out = Vec::new();
            for (l, x) in v {
                let (a, c) = if left { (s, x) } else { (x, s) };
                match (number(b.op, a, c), b.return_bool) {
                    (Ok(v), _) => out.push((nameless(&l), v)),
                    (Err(holds), true) => out.push((nameless(&l), f64::from(u8::from(holds)))),
                    (Err(true), false) => out.push((l, x)),
                    (Err(false), false) => {}
                }
            }
            return distinct(out);
        }
        let (l, r) = (self.vector(&b.lhs, t)?, self.vector(&b.rhs, t)?);
        let m = b.matching.as_ref().expect("two vectors");
        let listed = |n: &str| m.labels.iter().any(|x| x == n);
        let key = |l: &Labels| l.filtered(|n| if m.on { listed(n) } else { !listed(n) && n != METRIC_NAME });
        let has = |side: &[Sample], k: &Labels| side.iter().any(|(l, _)| key(l) == *k);
        match b.op {
            BinaryOp::And => return Ok(l.into_iter().filter(|(x, _)| has(&r, &key(x))).collect()),
            BinaryOp::Unless => return Ok(l.into_iter().filter(|(x, _)| !has(&r, &key(x))).collect()),
            BinaryOp::Or => {
                let rest: Vec<_> = r.into_iter().filter(|(x, _)| !has(&l, &key(x))).collect();
                return Ok(l.into_iter().chain(rest).collect());
            }
            _ => {}
        }
        if l.is_empty() || r.is_empty() {
            return Ok(Vec::new());
        }
        let one_to_one = m.card == VectorMatchCardinality::OneToOne;
        for (i, (x, _)) in r.iter().enumerate() {
            if r[..i].iter().any(|(y, _)| key(y) == key(x)) {
                return Err("many-to-many".into());
            }
        }
        let mut used: Vec<Labels> = Vec::new();
        let mut out = Vec::new();
        for (x, a) in &l {
            let Some((_, c)) = r.iter().find(|(y, _)| key(y) == key(x)) else { continue };
            let drop_name = b.return_bool || number(b.op, 0.0, 0.0).is_ok();
            let labels =
                x.filtered(|n| !(drop_name && n == METRIC_NAME) && (!one_to_one || listed(n) == m.on));
            let unique = if one_to_one { key(x) } else { labels.clone() };
            if used.contains(&unique) {
                return Err("multiple matches".into());
            }
            used.push(unique);
            match (number(b.op, *a, *c), b.return_bool) {
                (Ok(v), _) => out.push((labels, v)),
                (Err(holds), true) => out.push((labels, f64::from(u8::from(holds)))),
                (Err(true), false) => out.push((labels, *a)),
                (Err(false), false) => {}
            }
        }
        distinct(out)
    }
}

/// An arithmetic result, or whether a comparison holds.
fn number(op: BinaryOp, a: f64, b: f64) -> Result<f64, bool> {
    match op {
        BinaryOp::Add => Ok(a + b),
        BinaryOp::Sub => Ok(a - b),
        BinaryOp::Mul => Ok(a * b),
        BinaryOp::Div => Ok(a / b),
        BinaryOp::Gtr => Err(a > b),
        BinaryOp::Lte => Err(a <= b),
        BinaryOp::Neq => Err(a != b),
        BinaryOp::Eql => Err(a == b),
        other => panic!("not generated: {other}"),
    }
}

fn quantile(q: f64, values: &[f64]) -> f64 {
    let mut v = values.to_vec();
    v.sort_by(|a, b| a.partial_cmp(b).unwrap_or_else(|| b.is_nan().cmp(&a.is_nan())));
    let rank = q * (v.len() - 1) as f64;
    let low = rank.floor() as usize;
    let high = (low + 1).min(v.len() - 1);
    v[low] * (1.0 - rank.fract()) + v[high] * rank.fract()
}

fn least(values: &[f64]) -> f64 {
    values.iter().copied().fold(f64::NAN, |kept, v| if kept.is_nan() || v < kept { v } else { kept })
}

/// From the first value on, so that equal ones deviate by nothing: the sum of three divided by three is another.
fn deviation(values: &[f64]) -> f64 {
    let first = values[0];
    let mean = first + values.iter().map(|v| v - first).sum::<f64>() / values.len() as f64;
    values.iter().map(|v| (v - mean) * (v - mean)).sum::<f64>() / values.len() as f64
}

fn reduced(op: AggregateOp, param: f64, values: &[f64]) -> f64 {
    let n = values.len() as f64;
    match op {
        AggregateOp::Sum => values.iter().sum(),
        AggregateOp::Avg => values.iter().sum::<f64>() / n,
        AggregateOp::Min => least(values),
        AggregateOp::Max => -least(&values.iter().map(|v| -v).collect::<Vec<_>>()),
        AggregateOp::Count => n,
        AggregateOp::Group => 1.0,
        AggregateOp::Stdvar => deviation(values),
        AggregateOp::Stddev => deviation(values).sqrt(),
        AggregateOp::Quantile => quantile(param, values),
        other => panic!("not generated: {other}"),
    }
}

fn over_range(name: &str, q: f64, w: &[(i64, f64)], start: i64, end: i64) -> Option<f64> {
    let (first, last) = (w.first()?, w.last()?);
    let values: Vec<f64> = w.iter().map(|s| s.1).collect();
    let n = values.len() as f64;
    let pairs = || values.windows(2).map(|p| (p[0], p[1]));
    Some(match name {
        "sum_over_time" => values.iter().sum(),
        "avg_over_time" => values.iter().sum::<f64>() / n,
        "min_over_time" => least(&values),
        "max_over_time" => -least(&values.iter().map(|v| -v).collect::<Vec<_>>()),
        "count_over_time" => n,
        "last_over_time" => last.1,
        "first_over_time" => first.1,
        "present_over_time" => 1.0,
        "stddev_over_time" => deviation(&values).sqrt(),
        "quantile_over_time" => quantile(q, &values),
        "changes" => pairs().filter(|(a, b)| a != b && !(a.is_nan() && b.is_nan())).count() as f64,
        "resets" => pairs().filter(|(a, b)| b < a).count() as f64,
        "ts_of_max_over_time" => {
            let max = -least(&values.iter().map(|v| -v).collect::<Vec<_>>());
            let at = w.iter().rev().find(|s| s.1 == max || max.is_nan()).unwrap_or(last).0;
            at as f64 / 1000.0
        }
        "irate" | "idelta" => {
            let (b, a) = (last, w.len().checked_sub(2).map(|i| w[i])?);
            if name == "idelta" {
                return Some(b.1 - a.1);
            }
            let rise = if b.1 < a.1 { b.1 } else { b.1 - a.1 };
            rise / ((b.0 - a.0) as f64 / 1000.0)
        }
        "deriv" => {
            if w.len() < 2 {
                return None;
            }
            if values.iter().all(|v| *v == values[0]) {
                return Some(if values[0].is_infinite() { f64::NAN } else { 0.0 });
            }
            let x = |t: i64| (t - first.0) as f64 / 1000.0;
            let (mx, my) = (w.iter().map(|s| x(s.0)).sum::<f64>() / n, values.iter().sum::<f64>() / n);
            let covariance: f64 = w.iter().map(|s| (x(s.0) - mx) * (s.1 - my)).sum();
            covariance / w.iter().map(|s| (x(s.0) - mx).powi(2)).sum::<f64>()
        }
        "rate" | "increase" | "delta" => {
            if w.len() < 2 {
                return None;
            }
            let counter = name != "delta";
            let lost: f64 = if counter { pairs().filter(|(a, b)| b < a).map(|(a, _)| a).sum() } else { 0.0 };
            let rise = last.1 - first.1 + lost;
            let seconds = |ms: i64| ms as f64 / 1000.0;
            let sampled = seconds(last.0 - first.0);
            let gap = sampled / (n - 1.0);
            let mut before = seconds(first.0 - start);
            let mut after = seconds(end - last.0);
            if before >= 1.1 * gap {
                before = gap / 2.0;
            }
            if after >= 1.1 * gap {
                after = gap / 2.0;
            }
            if counter && rise > 0.0 && first.1 >= 0.0 {
                before = before.min(sampled * first.1 / rise);
            }
            let whole = rise * ((sampled + before + after) / sampled);
            if name == "rate" { whole / seconds(end - start) } else { whole }
        }
        other => panic!("not generated: {other}"),
    })
}
