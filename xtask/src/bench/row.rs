//! A measure, what each program reached in it, and the verdict: pure.
//!
//! Parts in order: [`Measure`] (what is asked) → [`Observation`] (what a program reached over the runs) → [`Row`], its
//! verdict, its line and its JSON. Smaller is better in every measure. Invariant: nothing that was not measured is ever
//! called met.

use serde_json::{Value, json};

/// Name of the program under test; every other subject is a peer.
pub const CAIRN: &str = "cairn";

/// What is asked for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Measure {
    /// Name on the command line and in the row.
    pub name: &'static str,
    /// Unit of all values.
    pub unit: &'static str,
    /// Limit that must be kept.
    pub must: Option<f64>,
    /// What the design aims at.
    pub aim: Option<f64>,
    /// What `must` was set against, so that a slower machine can be judged by ratio.
    pub anchor: Option<Anchor>,
}

/// A peer's figure from the table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Anchor {
    /// The peer.
    pub peer: &'static str,
    /// Its figure there.
    pub table: f64,
    /// The row whose load the figure was taken with; the measure's own when there is none.
    pub row: Option<&'static str>,
}

/// What one program reached.
#[derive(Debug, Clone, PartialEq)]
pub struct Observation {
    /// Program.
    pub subject: String,
    /// Its version.
    pub version: String,
    /// One value a run, or why there is none.
    pub values: Result<Vec<f64>, String>,
}

/// A measure with all observations.
#[derive(Debug, Clone, PartialEq)]
pub struct Row {
    /// What is asked for. Its limits are this row's own, when they follow from something measured beside it.
    pub measure: Measure,
    /// cairn first, then the peers.
    pub observations: Vec<Observation>,
    /// What the anchor's peer reached in this run; with [`Anchor::row`] it is not among the observations.
    pub peer_now: Option<f64>,
    /// What a reader needs to judge the row: the load, the file system, the number of fsyncs.
    pub note: String,
}

/// How a row ended.
#[derive(Debug, Clone, PartialEq)]
pub enum Verdict {
    /// cairn keeps the limit.
    Met,
    /// cairn keeps its ratio to the peer, on a machine too slow for the limit.
    MetByRatio,
    /// It does not.
    Missed,
    /// The measure has no limit.
    NoLimit,
    /// There is no value to judge.
    NotMeasured(String),
}

/// Median, minimum and maximum.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    /// The middle value, or the mean of the two middle ones.
    pub median: f64,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
}

impl Spread {
    /// Of some values; none of none.
    pub fn of(values: &[f64]) -> Option<Self> {
        let mut sorted = values.to_vec();
        sorted.sort_by(f64::total_cmp);
        let (min, max) = (*sorted.first()?, *sorted.last()?);
        let middle = sorted.len() / 2;
        let median = if sorted.len().is_multiple_of(2) {
            (sorted[middle - 1] + sorted[middle]) / 2.0
        } else {
            sorted[middle]
        };
        Some(Self { median, min, max })
    }
}

impl Observation {
    /// The middle value of one program among several.
    pub fn median_of(subject: &str, all: &[Observation]) -> Option<f64> {
        all.iter().find(|o| o.subject == subject).and_then(Observation::spread).map(|s| s.median)
    }

    fn spread(&self) -> Option<Spread> {
        self.values.as_ref().ok().and_then(|values| Spread::of(values))
    }
}

impl Row {
    /// Met when cairn's median keeps the limit, or when its ratio to the anchor peer in the same run is at least as
    /// good as the table's.
    pub fn verdict(&self) -> Verdict {
        let cairn = self.observations.iter().find(|o| o.subject == CAIRN);
        let Some(spread) = cairn.and_then(Observation::spread) else {
            let reason = cairn.and_then(|o| o.values.as_ref().err().cloned());
            return Verdict::NotMeasured(reason.unwrap_or_else(|| "no run".to_owned()));
        };
        let Some(must) = self.measure.must else { return Verdict::NoLimit };
        let keeps_ratio = |(anchor, now): (Anchor, f64)| spread.median / now <= must / anchor.table;
        if spread.median <= must {
            Verdict::Met
        } else if self.measure.anchor.zip(self.peer_now).is_some_and(keeps_ratio) {
            Verdict::MetByRatio
        } else {
            Verdict::Missed
        }
    }

    /// The row for a reader.
    pub fn text(&self) -> String {
        let mut cells = vec![self.measure.name.to_owned(), self.measure.unit.to_owned()];
        for observation in &self.observations {
            let name = format!("{} {}", observation.subject, observation.version);
            cells.push(match (observation.spread(), &observation.values) {
                (Some(s), _) => {
                    format!("{} {} ({}–{})", name.trim(), short(s.median), short(s.min), short(s.max))
                }
                (None, Err(reason)) if observation.subject != CAIRN => {
                    format!("{} – ({reason})", name.trim())
                }
                (None, _) => format!("{} –", name.trim()),
            });
        }
        let limit = |value: Option<f64>| value.map_or_else(|| "–".to_owned(), |v| format!("≤ {}", short(v)));
        cells.push(format!("must {}", limit(self.measure.must)));
        cells.push(format!("aim {}", limit(self.measure.aim)));
        cells.push(match self.verdict() {
            Verdict::Met => "met".to_owned(),
            Verdict::MetByRatio => "met by ratio".to_owned(),
            Verdict::Missed => "missed".to_owned(),
            Verdict::NoLimit => "no limit".to_owned(),
            Verdict::NotMeasured(reason) => format!("not measured: {reason}"),
        });
        if !self.note.is_empty() {
            cells.push(self.note.clone());
        }
        cells.join(" | ")
    }

    /// One object a program.
    pub fn json(&self, bench: &str, commit: &str) -> Vec<Value> {
        let object = |o: &Observation| {
            let spread = o.spread();
            let ok = match self.verdict() {
                Verdict::Met | Verdict::MetByRatio if o.subject == CAIRN => Some(true),
                Verdict::Missed if o.subject == CAIRN => Some(false),
                _ => None,
            };
            let mut object = json!({
                "bench": bench, "measure": self.measure.name, "unit": self.measure.unit,
                "subject": o.subject, "version": o.version,
                "value": spread.map(|s| s.median), "min": spread.map(|s| s.min), "max": spread.map(|s| s.max),
                "n": o.values.as_ref().map_or(0, Vec::len),
                "must": self.measure.must, "aim": self.measure.aim, "ok": ok, "commit": commit,
            });
            if let Err(reason) = &o.values {
                object["reason"] = json!(reason);
            }
            object
        };
        self.observations.iter().map(object).collect()
    }
}

/// The last line, and whether all was measured.
pub fn sum_up(bench: &str, rows: &[Row]) -> (String, bool) {
    let (mut met, mut missed, mut not_measured) = (0, 0, 0);
    for row in rows {
        match row.verdict() {
            Verdict::Met | Verdict::MetByRatio => met += 1,
            Verdict::Missed => missed += 1,
            Verdict::NotMeasured(_) => not_measured += 1,
            Verdict::NoLimit => {}
        }
    }
    (
        format!("bench {bench}: {met} must met, {missed} missed, {not_measured} not measured"),
        not_measured == 0,
    )
}

/// Three significant figures, more only for whole numbers.
fn short(value: f64) -> String {
    match value.abs() {
        v if v >= 100.0 || v == 0.0 => format!("{value:.0}"),
        v if v >= 10.0 => format!("{value:.1}"),
        v if v >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(cairn: Result<&[f64], &str>, peer: &[f64]) -> Row {
        let observation = |subject: &str, values: Result<Vec<f64>, String>| Observation {
            subject: subject.to_owned(),
            version: "1".to_owned(),
            values,
        };
        let observations = vec![
            observation(CAIRN, cairn.map(<[f64]>::to_vec).map_err(str::to_owned)),
            observation("vm", Ok(peer.to_vec())),
        ];
        Row {
            measure: Measure {
                name: "steady",
                unit: "ns",
                must: Some(500.0),
                aim: Some(250.0),
                anchor: Some(Anchor { peer: "vm", table: 1_500.0, row: None }),
            },
            peer_now: Observation::median_of("vm", &observations),
            observations,
            note: String::new(),
        }
    }

    #[test]
    fn the_median_decides_not_the_best_run() {
        assert_eq!(row(Ok(&[400.0, 499.0, 900.0]), &[1_000.0]).verdict(), Verdict::Met);
        assert_eq!(row(Ok(&[400.0, 501.0, 502.0]), &[1_000.0]).verdict(), Verdict::Missed);
    }

    #[test]
    fn on_a_slower_machine_the_ratio_to_the_peer_decides() {
        assert_eq!(
            row(Ok(&[900.0]), &[2_700.0]).verdict(),
            Verdict::MetByRatio,
            "a third of the peer, as in the table"
        );
        assert_eq!(row(Ok(&[900.0]), &[2_699.0]).verdict(), Verdict::Missed);
        assert_eq!(row(Ok(&[900.0]), &[]).verdict(), Verdict::Missed, "no peer, no ratio");
    }

    #[test]
    fn what_was_not_measured_is_never_met() {
        let row = row(Err("no fsync"), &[1_000.0]);
        assert_eq!(row.verdict(), Verdict::NotMeasured("no fsync".to_owned()));
        assert!(row.text().contains("not measured: no fsync"));
        assert_eq!(
            sum_up("x", std::slice::from_ref(&row)),
            ("bench x: 0 must met, 0 missed, 1 not measured".to_owned(), false)
        );
        let json = &row.json("x", "abc")[0];
        assert!(json["value"].is_null() && json["ok"].is_null() && json["n"] == 0);
    }

    #[test]
    fn a_row_has_a_cell_for_each_program_and_an_object_for_each() {
        let row = row(Ok(&[250.0, 260.0]), &[1_000.0]);
        assert_eq!(
            row.text(),
            "steady | ns | cairn 1 255 (250–260) | vm 1 1000 (1000–1000) | must ≤ 500 | aim ≤ 250 | met"
        );
        let objects = row.json("ingest", "abc");
        assert_eq!((objects[0]["ok"].clone(), objects[1]["ok"].clone()), (json!(true), Value::Null));
        assert_eq!((objects[0]["n"].clone(), objects[0]["value"].clone()), (json!(2), json!(255.0)));
    }
}
