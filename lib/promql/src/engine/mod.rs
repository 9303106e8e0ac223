//! The engine: answers PromQL queries over a [`Queryable`].
//!
//! Three steps. [`planner`] makes a [`plan`] of the syntax tree (pure). [`fetch`] reads what the plan names, all
//! selectors at once, bounded by budgets (async). [`eval`] computes the values (synchronous CPU, off the event
//! loop, on as many cores as allowed).
//!
//! What the steps share: [`grid`] (evaluation times), [`samples`] and [`downsampled`] (decoded data), [`column`]
//! (values under evaluation), [`repeats`] (what a query says twice), [`bounds`], [`budget`], [`counts`], [`error`].
//!
//! Semantics are Prometheus 3.14's; its own test files are the referee (`tests/promqltest.rs`).

pub mod bounds;
pub mod budget;
pub mod column;
pub mod counts;
pub mod downsampled;
pub mod error;
pub mod eval;
pub mod fetch;
pub mod grid;
pub mod plan;
pub mod planner;
pub mod repeats;
mod result;
pub mod samples;

use std::sync::Arc;
use std::time::Duration;

use cairn_model::memory_share::{Held, MemoryShare};
use cairn_model::storage::Queryable;
use cairn_model::tenant::TenantScope;
use cairn_model::{CancelOnDrop, ReadBounds, TimestampMs};
use cairn_runtime::{Clock, CpuPool};
use futures::future::{Either, select};

pub use bounds::{QueryBounds, TenantBounds};
pub use cairn_model::Cancel;
pub use counts::{SampleCount, SamplesPerStep};
pub use error::{ErrorKind, QueryError};
pub use samples::{ColumnsOnly, DecodeChunk, SampleBuf, SampleColumn};

use crate::annotations::AnnotationTexts;
use crate::parser::{self, Features, ValueType};
use crate::value::QueryValue;
use budget::Budget;
use counts::SampleCounts;
use eval::shared::Kept;
use eval::{EvalOptions, Evaluator};
use fetch::{FetchLimits, Fetched};
use plan::Plan;
use planner::{PlanOptions, PlanTimes};

/// Steps of a query or subquery unless the options say otherwise. Judgement: 58 days at 1 s, and 40 MB a column.
pub const MAX_STEPS: u64 = 5_000_000;

/// What holds for all queries of an engine.
#[derive(Clone)]
pub struct EngineOptions {
    /// How long a sample stands for its series, unless the query says otherwise.
    pub lookback_ms: i64,
    /// Resolution of subqueries that name none: the global evaluation interval.
    pub default_subquery_step_ms: i64,
    /// Longest time a query may take.
    pub timeout: Duration,
    /// Samples in memory at a time, a query.
    pub max_samples: u64,
    /// Series that a query may read, 0 = no limit.
    pub max_series: u64,
    /// Bytes of labels and chunks that a query may read, 0 = no limit.
    pub max_bytes: u64,
    /// Steps of a query or subquery; a column of them is held for every series under evaluation.
    pub max_steps: u64,
    /// What queries of certain tenants may use up, within the bounds above; asked at every query.
    pub tenant_bounds: Option<Arc<dyn TenantBounds>>,
    /// What queries that share memory may read together: labels and chunks.
    pub memory: Option<Arc<MemoryShare>>,
    /// Experimental parts of the language that are allowed.
    pub features: Features,
    /// Metric names go at the end of an evaluation (Prometheus' `promql-delayed-name-removal`).
    pub delayed_name_removal: bool,
    /// Counters are told by their `__type__` label (`type-and-unit-labels`).
    pub type_and_unit_labels: bool,
    /// Start timestamps take part in rates and resets (`use-start-timestamps`).
    pub start_timestamps: bool,
    /// Samples can be counted by step (`promql-per-step-stats`).
    pub per_step_stats: bool,
    /// Reads encoded chunks.
    pub decoder: Arc<dyn DecodeChunk>,
    /// Where queries are computed, and on how many cores.
    pub cpu: CpuPool,
    /// For deadlines and statistics.
    pub clock: Arc<dyn Clock>,
}

impl EngineOptions {
    /// Prometheus' defaults, with the storage engine's decoder and the machine's cores and clock.
    pub fn new(decoder: Arc<dyn DecodeChunk>, cpu: CpuPool, clock: Arc<dyn Clock>) -> Self {
        EngineOptions {
            lookback_ms: 5 * 60 * 1000,
            default_subquery_step_ms: 60 * 1000,
            timeout: Duration::from_secs(120),
            max_samples: 50_000_000,
            max_series: 0,
            max_bytes: 0,
            max_steps: MAX_STEPS,
            tenant_bounds: None,
            memory: None,
            features: Features::default(),
            delayed_name_removal: false,
            type_and_unit_labels: false,
            start_timestamps: false,
            per_step_stats: false,
            decoder,
            cpu,
            clock,
        }
    }
}

/// What holds for one query.
#[derive(Debug, Clone)]
pub struct QueryOptions {
    /// Tenants the caller may see.
    pub tenants: TenantScope,
    /// Overrides [`EngineOptions::lookback_ms`].
    pub lookback_ms: Option<i64>,
    /// Shortens [`EngineOptions::timeout`].
    pub timeout: Option<Duration>,
    /// Coarsest resolution of downsampled data that may be read, 0 = raw only.
    pub max_resolution_ms: i64,
    /// Whether samples are to be counted by step; only with [`EngineOptions::per_step_stats`].
    pub samples_per_step: bool,
    /// Ends the query early.
    pub cancel: Cancel,
    /// Whether it must fit into [`EngineOptions::memory`] beside the others.
    pub shares_memory: bool,
}

impl Default for QueryOptions {
    fn default() -> Self {
        QueryOptions {
            tenants: TenantScope::All,
            lookback_ms: None,
            timeout: None,
            max_resolution_ms: 0,
            samples_per_step: false,
            cancel: Cancel::new(),
            shares_memory: false,
        }
    }
}

/// An answer.
#[derive(Debug, Clone)]
pub struct QueryResult {
    /// The value.
    pub value: QueryValue,
    /// What may make it wrong: the stores' warnings, then the evaluation's.
    pub warnings: Vec<String>,
    /// What may make it other than expected.
    pub infos: Vec<String>,
    /// What it took.
    pub stats: QueryStats,
}

/// What a query took; names as in the API's `stats`.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct QueryStats {
    /// Parsing and planning.
    pub preparation: Duration,
    /// Reading.
    pub fetch: Duration,
    /// Waiting for a core, and computing.
    pub evaluation: Duration,
    /// Samples that all steps together have looked at.
    pub total_queryable_samples: u64,
    /// Samples that were read for it: of overlapping ranges each but once.
    pub samples_read: u64,
    /// Both for each step, where it was asked for.
    pub samples_per_step: Option<SamplesPerStep>,
    /// The most samples held at a time.
    pub peak_samples: u64,
    /// Series read.
    pub series: u64,
    /// Bytes of labels and chunks read.
    pub bytes: u64,
}

/// Answers queries. Cheap to clone; any number of queries run at once.
#[derive(Clone)]
pub struct Engine {
    options: Arc<EngineOptions>,
}

impl Engine {
    /// An engine with the given options.
    pub fn new(options: EngineOptions) -> Self {
        Engine { options: Arc::new(options) }
    }

    /// The options it was made with.
    pub fn options(&self) -> &EngineOptions {
        &self.options
    }

    /// Evaluates `query` at `t_ms`.
    ///
    /// # Errors
    /// See [`QueryError`]. When the returned future is dropped the evaluation ends within 100 ms.
    pub async fn instant(
        &self,
        queryable: &dyn Queryable,
        query: &str,
        t_ms: TimestampMs,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        self.run(queryable, query, PlanTimes { start_ms: t_ms, end_ms: t_ms, step_ms: 0 }, options).await
    }

    /// Evaluates `query` from `start_ms` in steps of `step_ms` as far as `end_ms`, both included.
    ///
    /// # Errors
    /// See [`QueryError`]. When the returned future is dropped the evaluation ends within 100 ms.
    pub async fn range(
        &self,
        queryable: &dyn Queryable,
        query: &str,
        start_ms: TimestampMs,
        end_ms: TimestampMs,
        step_ms: i64,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        if step_ms <= 0 {
            return Err(QueryError::BadRequest(
                "zero or negative query resolution step widths are not accepted. Try a positive integer"
                    .to_owned(),
            ));
        }
        self.run(queryable, query, PlanTimes { start_ms, end_ms, step_ms }, options).await
    }

    /// Parses and plans `query` without evaluating it.
    ///
    /// # Errors
    /// What is wrong with the query.
    pub fn plan(&self, query: &str, times: PlanTimes, options: &QueryOptions) -> Result<Plan, QueryError> {
        let o = &self.options;
        let expr = parser::parse(query, o.features).map_err(|e| QueryError::Parse(e.to_string()))?;
        let kind = expr.value_type();
        if times.step_ms > 0 && !matches!(kind, ValueType::Scalar | ValueType::Vector) {
            return Err(QueryError::BadRequest(format!(
                "invalid expression type {:?} for range query, must be Scalar or instant Vector",
                kind.documented()
            )));
        }
        let plan_options = PlanOptions {
            lookback_ms: options.lookback_ms.filter(|l| *l > 0).unwrap_or(o.lookback_ms),
            default_subquery_step_ms: o.default_subquery_step_ms,
            max_steps: self.bounds(options).max_steps,
            downsampled: options.max_resolution_ms > 0,
            type_and_unit_labels: o.type_and_unit_labels,
        };
        planner::plan(query, &expr, times, plan_options)
    }

    /// What one query may use up: the engine's bounds, the caller's, and those of the tenants it reads.
    fn bounds(&self, options: &QueryOptions) -> QueryBounds {
        let bounds = self.bounds_of(&options.tenants);
        QueryBounds { timeout: options.timeout.map_or(bounds.timeout, |t| t.min(bounds.timeout)), ..bounds }
    }

    /// What one query, or another request for data, may use up: the engine's bounds and those of the tenants it reads.
    pub fn bounds_of(&self, tenants: &TenantScope) -> QueryBounds {
        let o = &self.options;
        let engines = QueryBounds {
            timeout: o.timeout,
            max_samples: o.max_samples,
            max_series: o.max_series,
            max_bytes: o.max_bytes,
            max_steps: o.max_steps,
        };
        let theirs = o.tenant_bounds.as_ref().map(|t| t.bounds(tenants)).unwrap_or_default();
        engines.tighter(theirs)
    }

    async fn run(
        &self,
        queryable: &dyn Queryable,
        query: &str,
        times: PlanTimes,
        options: &QueryOptions,
    ) -> Result<QueryResult, QueryError> {
        let o = &self.options;
        let started = o.clock.monotonic();
        let bounds = self.bounds(options);
        let timeout = bounds.timeout;
        let plan = self.plan(query, times, options)?;
        let planned = o.clock.monotonic();

        // When the caller goes away, so does this guard, and those who work for it notice.
        let gone = CancelOnDrop(Cancel::new());
        let limits = FetchLimits {
            tenants: options.tenants.clone(),
            max_resolution_ms: options.max_resolution_ms,
            bounds: ReadBounds {
                max_series: bounds.max_series,
                max_bytes: bounds.max_bytes,
                held: Held::of(o.memory.clone().filter(|_| options.shares_memory)),
                cancel: gone.0.clone(),
            },
        };
        let fetched = {
            let fetch = std::pin::pin!(fetch::fetch(&plan, queryable, &limits));
            match select(fetch, o.clock.sleep(timeout)).await {
                Either::Left((fetched, _)) => fetched?,
                Either::Right(_) => return Err(QueryError::Timeout("query preparation")),
            }
        };
        let read = o.clock.monotonic();

        let cancels = [options.cancel.clone(), gone.0.clone()];
        let budget = Arc::new(Budget::new(bounds.max_samples, cancels, started + timeout, o.clock.clone()));
        let grid = plan.grid;
        let counts = Arc::new(match o.per_step_stats && options.samples_per_step {
            true => SampleCounts::of_each_step(grid.steps),
            false => SampleCounts::of_all_steps(),
        });
        let evaluation = Evaluation {
            engine: self.clone(),
            query: query.to_owned(),
            lookback_ms: options.lookback_ms.filter(|l| *l > 0).unwrap_or(o.lookback_ms),
            plan,
            budget: budget.clone(),
            counts: counts.clone(),
        };
        let stats = QueryStats {
            preparation: planned - started,
            fetch: read - planned,
            series: fetched.data.iter().map(|s| s.len() as u64).sum(),
            bytes: fetched.bytes,
            ..QueryStats::default()
        };
        let mut warnings = fetched.warnings.clone();
        let done = o.cpu.run(move || evaluation.run(fetched)).await;
        let (value, texts) = done.map_err(|p| QueryError::Internal(p.to_string()))??;
        warnings.extend(texts.warnings);
        let counted = counts.sum();
        let per_step =
            || SamplesPerStep { start_ms: grid.start_ms, step_ms: grid.step_ms, counts: counted.by_step };
        Ok(QueryResult {
            value,
            warnings,
            infos: texts.infos,
            stats: QueryStats {
                evaluation: o.clock.monotonic() - read,
                total_queryable_samples: counted.total.looked_at,
                samples_read: counted.total.read,
                samples_per_step: (o.per_step_stats && options.samples_per_step).then(per_step),
                peak_samples: budget.peak(),
                ..stats
            },
        })
    }
}

/// The third step, with all it needs.
struct Evaluation {
    engine: Engine,
    query: String,
    lookback_ms: i64,
    plan: Plan,
    budget: Arc<Budget>,
    counts: Arc<SampleCounts>,
}

impl Evaluation {
    fn run(self, fetched: Fetched) -> Result<(QueryValue, AnnotationTexts), QueryError> {
        let o = &self.engine.options;
        let kept = Kept::new(&self.plan);
        let evaluator = Evaluator {
            plan: &self.plan,
            data: &fetched.data,
            options: EvalOptions {
                lookback_ms: self.lookback_ms,
                delayed_name_removal: o.delayed_name_removal,
                type_and_unit_labels: o.type_and_unit_labels,
                start_timestamps: o.start_timestamps,
            },
            budget: &self.budget,
            counts: &self.counts,
            kept: &kept,
            decoder: &*o.decoder,
            cpu: &o.cpu,
        };
        let evaluated = evaluator.query_value();
        o.cpu.drop_behind(fetched);
        let (value, notes) = evaluated?;
        Ok((value, notes.texts(&self.query)))
    }
}
