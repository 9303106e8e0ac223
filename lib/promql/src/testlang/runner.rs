//! Runs a script against an engine and tells which evaluations are not as expected.
//!
//! An instant evaluation passes when all its forms do: as written; at other times with `@ t` on its selectors (see
//! [`super::variants`]); and each of them as the middle step of a range query. `passed + failed` is the number of
//! `eval` lines.

use cairn_model::TimestampMs;

use super::compare::{check_sorted, compare};
use super::load::LoadedSeries;
use super::script::{Command, Eval, EvalTime, Script};
use super::stored::with_stored_hints;
use super::variants::{depends_on_query_range, pinned};
use crate::value::{FloatPoint, MatrixSeries, QueryValue, SampleValue, VectorSample};

/// Distance of the steps around an instant that is also asked as a range.
const RANGE_STEP_MS: i64 = 60_000;

/// What an engine answers.
#[derive(Debug, Clone)]
pub struct TestAnswer {
    /// The value.
    pub value: QueryValue,
    /// Warnings with prefix and position.
    pub warnings: Vec<String>,
    /// Infos with prefix and position.
    pub infos: Vec<String>,
}

/// An engine with a store of its own. The files expect: lookback 5 m, default subquery step 1 m, everything
/// experimental, delayed name removal and start timestamps on.
pub trait TestEngine {
    /// Empties the store.
    fn clear(&mut self);

    /// Adds samples; a series may get samples in several loads.
    ///
    /// # Errors
    /// Why the store does not take them.
    fn load(&mut self, series: Vec<LoadedSeries>) -> Result<(), String>;

    /// Evaluates at one time.
    ///
    /// # Errors
    /// The text of the error as the API shows it.
    fn instant(&mut self, query: &str, t_ms: TimestampMs) -> Result<TestAnswer, String>;

    /// Evaluates from `start_ms` in steps of `step_ms` as far as `end_ms`, both included.
    ///
    /// # Errors
    /// As [`TestEngine::instant`].
    fn range(
        &mut self,
        query: &str,
        start_ms: TimestampMs,
        end_ms: TimestampMs,
        step_ms: i64,
    ) -> Result<TestAnswer, String>;
}

/// An evaluation that is not as expected. Prints as `LINE: expr: expected …, got …`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Line of the `eval`, from 1.
    pub line: usize,
    /// The expression.
    pub query: String,
    /// What is different, and in which form of the question.
    pub reason: String,
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}: {}", self.line, self.query, self.reason)
    }
}

/// How a script went.
#[derive(Debug, Clone, Default)]
pub struct Outcome {
    /// Evaluations that are as expected.
    pub passed: usize,
    /// The others.
    pub failures: Vec<Failure>,
}

/// Runs all of `script`.
pub fn run(script: &Script, engine: &mut dyn TestEngine) -> Outcome {
    run_matching(script, engine, &mut |_| true)
}

/// Runs the evaluations of `script` that `wanted` accepts, with all loads.
pub fn run_matching(
    script: &Script,
    engine: &mut dyn TestEngine,
    wanted: &mut dyn FnMut(&Eval) -> bool,
) -> Outcome {
    let mut outcome = Outcome::default();
    let mut broken_load: Option<String> = None;
    engine.clear();
    for command in &script.commands {
        match command {
            Command::Clear => {
                engine.clear();
                broken_load = None;
            }
            Command::Load(load) => {
                let loaded = load.expand(0).and_then(|mut series| {
                    series.iter_mut().for_each(|s| with_stored_hints(&mut s.samples));
                    engine.load(series)
                });
                if let Err(e) = loaded {
                    broken_load = Some(format!("expected the load of line {} to work, got {e}", load.line));
                }
            }
            Command::Eval(eval) if wanted(eval) => {
                let result = broken_load.clone().map_or(Ok(()), Err).and_then(|()| evaluate(eval, engine));
                match result {
                    Ok(()) => outcome.passed += 1,
                    Err(reason) => {
                        outcome.failures.push(Failure { line: eval.line, query: eval.query.clone(), reason });
                    }
                }
            }
            Command::Eval(_) => {}
        }
    }
    outcome
}

fn evaluate(eval: &Eval, engine: &mut dyn TestEngine) -> Result<(), String> {
    match eval.time {
        EvalTime::Range(steps) => {
            let answer = engine.range(&eval.query, steps.from_ms, steps.to_ms, steps.step_ms);
            check_answer(eval, answer).map(drop)
        }
        EvalTime::Instant(t_ms) => {
            evaluate_instant(eval, &eval.query, t_ms, engine)?;
            let Some((query, times)) = pinned(&eval.query, t_ms) else { return Ok(()) };
            times.into_iter().try_for_each(|at_ms| {
                evaluate_instant(eval, &query, at_ms, engine)
                    .map_err(|reason| format!("{reason} (as `{query}` at {at_ms} ms)"))
            })
        }
    }
}

/// Checks one form of an instant evaluation, also as a step of a range query.
fn evaluate_instant(eval: &Eval, query: &str, t_ms: i64, engine: &mut dyn TestEngine) -> Result<(), String> {
    let Some(value) = check_answer(eval, engine.instant(query, t_ms))? else { return Ok(()) };
    if !eval.also_as_range || depends_on_query_range(query) {
        return Ok(());
    }
    let (start_ms, end_ms) = (t_ms - RANGE_STEP_MS, t_ms + RANGE_STEP_MS);
    let in_range_mode = |reason: String| format!("{reason} (in range mode)");
    let answer = engine
        .range(query, start_ms, end_ms, RANGE_STEP_MS)
        .map_err(|e| in_range_mode(format!("expected a value, got error {e:?}")))?;
    if eval.expectation.ordered {
        // Range queries come in the order of their labels.
        return Ok(());
    }
    let QueryValue::Matrix(matrix) = answer.value else {
        return Err(in_range_mode(format!("expected a matrix, got {}", answer.value.value_type())));
    };
    check_sorted(&matrix).map_err(in_range_mode)?;
    let step = vector_at(&matrix, t_ms);
    let step = match (&value, step.first()) {
        (QueryValue::Scalar(_), Some(VectorSample { value: SampleValue::Float(v), .. })) => {
            QueryValue::Scalar(FloatPoint { t_ms, value: *v })
        }
        (QueryValue::Scalar(_), _) => return Err(in_range_mode("expected a scalar, got nothing".to_owned())),
        _ => QueryValue::Vector(step),
    };
    compare(&eval.expectation, &step).map_err(in_range_mode)
}

/// Checks failure, notes and value; gives the value unless a failure was expected.
fn check_answer(eval: &Eval, answer: Result<TestAnswer, String>) -> Result<Option<QueryValue>, String> {
    let expectation = &eval.expectation;
    match (answer, &expectation.fail) {
        (Err(e), Some(pattern)) if pattern.matches(&e) => Ok(None),
        (Err(e), Some(pattern)) => Err(format!("expected error {pattern}, got {e:?}")),
        (Err(e), None) => Err(format!("expected a value, got error {e:?}")),
        (Ok(_), Some(pattern)) => Err(format!("expected error {pattern}, got a value")),
        (Ok(answer), None) => {
            expectation.warnings.check("warn", &answer.warnings)?;
            expectation.infos.check("info", &answer.infos)?;
            compare(expectation, &answer.value)?;
            Ok(Some(answer.value))
        }
    }
}

/// The values that a matrix has at `t_ms`.
fn vector_at(matrix: &[MatrixSeries], t_ms: TimestampMs) -> Vec<VectorSample> {
    let mut samples = Vec::new();
    for series in matrix {
        let float = series.floats.iter().find(|p| p.t_ms == t_ms).map(|p| SampleValue::Float(p.value));
        let histogram = series.histograms.iter().find(|p| p.t_ms == t_ms);
        let histogram = histogram.map(|p| SampleValue::Histogram(p.value.clone()));
        for value in float.into_iter().chain(histogram) {
            samples.push(VectorSample { labels: series.labels.clone(), t_ms, value });
        }
    }
    samples
}
