//! Every role in one process, wired in the order in which they need one another.
//!
//! Addresses are bound first (a port in use is the most common mistake). Writes are taken as soon as the log can be
//! written, while it is still being replayed; everything else answers 503 until then. The ready line is printed when all
//! of it works, or all but a bucket that does not answer ([`bucket`]). A stop runs backwards: connections drain, work in
//! hand finishes, files under way are written, the log is synced.

mod bucket;
mod chunks;
mod facts;
mod reload;
mod rules;
mod settings;
mod shipping;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use axum::Router;
use cairn_bucket::Bucket;
use cairn_bucket::commit::Committer;
use cairn_bucket::ship::Shipper;
use cairn_cluster::{ClusterOptions, Coordinator, RaftCoordinator};
use cairn_compactor::plan::PlanConfig;
use cairn_compactor::retention::Retention;
use cairn_compactor::{Compactor, CompactorConfig};
use cairn_model::storage::{Appendable, StoreApi};
use cairn_model::tenant::TENANT_LABEL;
use cairn_net::{Bound, HttpStack, Readiness, ServerConfig, health};
use cairn_promql::{Engine, EngineOptions};
use cairn_query::{ApiOptions, Fanout, PartialResponse, QueryApi};
use cairn_receiver::{LimitsBook, Receiver, ReceiverConfig, TenantLimits};
use cairn_runtime::{Runtime, Shutdown};
use cairn_store::{BucketStore, StoreConfig};
use cairn_tsdb::db::{Db, DbOptions};
use tracing::{info, warn};

use crate::config::{Described, Feature, MemoryBudget, ServeFlags};
use crate::limits::LimitsInForce;
use crate::ready::Addresses;
use crate::self_monitoring;
use bucket::Proof;
use chunks::{TsdbDecoder, to_wire};
use reload::Reload;
use settings::Settings;
use shipping::Shipping;

/// How long a stop waits for threads that still write once the tasks they write for are gone. Judgement: a head-chunk file
/// or the end of a cut, not a merge, which looks at the shutdown itself. In front of it go the grace and two seconds.
const WRITING_PATIENCE: Duration = Duration::from_secs(5);

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When cairn cannot start; the text names the object and the next step.
pub async fn serve(flags: ServeFlags, described: Described) -> Result<()> {
    let settings = Settings::from_flags(&flags)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = MemoryBudget::from_flag(flags.memory_limit.map(|b| b.0));
    let runtime = Runtime::system(cores);
    let stopped = stop_on_signal(&runtime)?;

    let stack = HttpStack::new(&runtime);
    let listeners = Listeners::bind(&stack, &flags).await?;
    let addresses = listeners.addresses();
    let readiness = Readiness::new(runtime.tasks.shutdown().clone());
    let replayed = readiness.gate("replaying the write-ahead log");

    let limits = load_limits(&runtime, &flags, &settings)?;
    let coordinator = start_control_plane(&runtime, &flags, &addresses).await?;
    let bucket = cairn_bucket::connect(&settings.bucket, flags.unsafe_no_conditional_put, &runtime)
        .context("cannot open the bucket")?;
    let proof = Proof::seek(bucket.clone(), flags.unsafe_no_conditional_put, &runtime);
    let begun = begin_database(&runtime, &flags, &settings, limits.write.clone());
    let Some(db) = unless_stopped(&stopped, begun).await? else {
        stop(&runtime, &flags, None, &coordinator).await;
        return Ok(());
    };
    let writes: Arc<dyn Appendable> = db.clone();
    let receiver = receiver(&runtime, &flags, &settings, &memory, writes.clone(), limits.write.clone())?;
    let health = health::routes(readiness.clone(), runtime.metrics.clone());
    let early = receiver.routes().merge(health.clone());
    let http = listeners.http.serve(early.clone().merge(health::not_yet(readiness)));
    listeners.write.serve(early);
    let gateway = start_gateway(&runtime, &flags, &bucket, &memory)?;
    let known = proof.at_start(&gateway);
    let replay = async { db.replay().await.context("cannot replay the log") };
    // What is not replayed yet is replayed by the next start: a stop need not wait for it.
    if unless_stopped(&stopped, futures::future::try_join(known, replay)).await?.is_none() {
        stop(&runtime, &flags, Some(&db), &coordinator).await;
        return Ok(());
    }
    replayed.open();

    let local = db.blocks();
    gateway.leave_out(Arc::new(move || local.copies()));
    // In this order, see `Fanout`: the gateway leaves out what the stores before it answer.
    let stores: Vec<Arc<dyn StoreApi>> = vec![db.head_store(), Arc::new(db.blocks()), Arc::new(gateway)];
    let fanout = Fanout::new(stores, PartialResponse::Warn, flags.query_max_series);
    let engine = engine(&runtime, &flags, &memory, limits.clone());
    let around = rules::Surroundings {
        engine: engine.clone(),
        fanout: fanout.clone(),
        writes: writes.clone(),
        coordinator: coordinator.clone(),
    };
    let ruler = rules::start(&runtime, &flags, &settings, around, addresses.http.to_string()).await?;

    let features = engine.options().features;
    let api = QueryApi::new(engine, fanout.clone(), runtime.clone(), api_options(&flags));
    let reload = Reload { ruler: ruler.clone(), limits: limits.clone() };
    reload.clone().start(&runtime)?;
    let state = facts::State { reload: reload.clone(), db: db.clone(), tasks: runtime.tasks.clone() };
    api.describe(facts::facts(&runtime, &flags, described, memory.limit), Arc::new(state));
    let grpc = cairn_query::grpc::Sources {
        fanout,
        to_wire: Arc::new(to_wire),
        rules: Some(Arc::new(ruler.clone())),
        features,
    };
    let routes =
        Router::new().merge(receiver.routes()).merge(api.router()).merge(crate::limits::routes(limits));
    http.replace(routes.merge(rules::routes(ruler, &runtime)).merge(reload.routes()).merge(health));
    listeners.grpc.serve(cairn_query::grpc::router(grpc));
    listeners.peer.serve(Router::new());

    start_shipping(&runtime, &flags, &db, &bucket, &proof, coordinator.clone());
    if !flags.compact_disable {
        start_compactor(&runtime, &flags, &bucket, &proof)?;
    }
    if !flags.self_monitoring_disable {
        let (tenant, every) = (settings.default_tenant.clone(), flags.self_monitoring_interval.0);
        self_monitoring::start(&runtime, writes, tenant, addresses.http.to_string(), every);
    }
    announce(&runtime, &flags, &addresses)?;

    let outcome = tokio::select! {
        () = stopped.begun() => Ok(()),
        refuted = proof.refuted() => Err(refuted),
    };
    stop(&runtime, &flags, Some(&db), &coordinator).await;
    outcome
}

/// What `work` gives; `None` when a stop begins before, and the work is then dropped where it waits.
async fn unless_stopped<T>(stopped: &Shutdown, work: impl Future<Output = Result<T>>) -> Result<Option<T>> {
    tokio::select! {
        done = work => done.map(Some),
        () = stopped.begun() => Ok(None),
    }
}

/// SIGTERM and SIGINT begin the shutdown.
fn stop_on_signal(runtime: &Runtime) -> Result<Shutdown> {
    use tokio::signal::unix::{SignalKind, signal};
    let shutdown = runtime.tasks.shutdown().clone();
    let (mut term, mut int) = (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    let begin = shutdown.clone();
    runtime.tasks.spawn("signals", async move {
        let name = tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = int.recv() => "SIGINT",
            () = begin.begun() => return,
        };
        info!("{name}: stopping");
        begin.begin();
    });
    Ok(shutdown)
}

/// The four listeners, bound before anything else.
struct Listeners {
    http: Bound,
    write: Bound,
    grpc: Bound,
    peer: Bound,
}

impl Listeners {
    async fn bind(stack: &HttpStack, flags: &ServeFlags) -> Result<Self> {
        let bind = async |flag: &'static str, name: &'static str, address: &str| {
            let config = ServerConfig { drain: flags.shutdown_grace.0, ..ServerConfig::named(name) };
            stack.bind(address, config).await.with_context(|| format!("{flag} {address}"))
        };
        Ok(Listeners {
            http: bind("--http-address", "http", &flags.http_address).await?,
            write: bind("--remote-write.address", "remote-write", &flags.remote_write_address).await?,
            grpc: bind("--grpc-address", "grpc", &flags.grpc_address).await?,
            peer: bind("--peer-address", "peer", &flags.peer_address).await?,
        })
    }

    fn addresses(&self) -> Addresses {
        Addresses {
            http: self.http.local_addr(),
            write: self.write.local_addr(),
            grpc: self.grpc.local_addr(),
            peer: self.peer.local_addr(),
        }
    }
}

async fn start_control_plane(
    runtime: &Runtime,
    flags: &ServeFlags,
    addresses: &Addresses,
) -> Result<Arc<RaftCoordinator>> {
    let options = ClusterOptions {
        data_dir: flags.data_dir.clone(),
        peer_address: addresses.peer.to_string(),
        zone: String::new(),
    };
    RaftCoordinator::start(runtime, &options).await.context("cannot start the control plane")
}

/// Before anything takes writes: a start must not go on without the limits that were asked for.
fn load_limits(runtime: &Runtime, flags: &ServeFlags, settings: &Settings) -> Result<Arc<LimitsInForce>> {
    let base = TenantLimits { active_series: flags.tenant_max_series, ..TenantLimits::default() };
    Ok(LimitsInForce::load(settings.limits.clone(), base, runtime)?)
}

async fn begin_database(
    runtime: &Runtime,
    flags: &ServeFlags,
    settings: &Settings,
    limits: Arc<LimitsBook>,
) -> Result<Arc<Db>> {
    let options = DbOptions {
        wal_sync: flags.wal_sync,
        replay_budget: flags.replay_budget.0,
        block_duration: flags.block_duration.0,
        close_after: flags.close_delay.0,
        external_labels: settings.external_labels.clone(),
        series_limit: Arc::new(move |tenant| limits.active_series(tenant)),
        ..DbOptions::new(flags.data_dir.join("tsdb"))
    };
    Db::begin(options, runtime.clone()).await.context("cannot open the database")
}

fn receiver(
    runtime: &Runtime,
    flags: &ServeFlags,
    settings: &Settings,
    memory: &MemoryBudget,
    writes: Arc<dyn Appendable>,
    limits: Arc<LimitsBook>,
) -> Result<Arc<Receiver>> {
    let mut external_labels: Vec<String> =
        settings.external_labels.iter().map(|(n, _)| n.to_owned()).collect();
    external_labels.push(TENANT_LABEL.to_owned());
    let config = ReceiverConfig {
        max_body_bytes: flags.max_body.0,
        max_decoded_bytes: flags.max_decoded.0,
        admission_bytes: memory.admission,
        default_tenant: settings.default_tenant.clone(),
        external_labels,
        quarantine_dir: Some(flags.data_dir.join("quarantine")),
        ..ReceiverConfig::default()
    };
    // On a small machine the largest request shrinks with the budget, rather than cairn refusing to start.
    let config = match config.validate() {
        Ok(()) => config,
        Err(_) => config.within(memory.admission),
    };
    Ok(Receiver::new(config, runtime, writes, limits)?)
}

fn engine(
    runtime: &Runtime,
    flags: &ServeFlags,
    memory: &MemoryBudget,
    limits: Arc<LimitsInForce>,
) -> Engine {
    let defaults = EngineOptions::new(Arc::new(TsdbDecoder), runtime.cpu.clone(), runtime.clock.clone());
    let options = EngineOptions {
        lookback_ms: flags.lookback_delta.0.as_millis() as i64,
        default_subquery_step_ms: flags.eval_interval.0.as_millis() as i64,
        timeout: flags.query_timeout.0,
        max_samples: flags.query_max_samples,
        max_series: flags.query_max_series as u64,
        max_bytes: memory.query,
        tenant_bounds: Some(limits),
        ..defaults
    };
    Engine::new(Feature::apply(&flags.enable_feature, options))
}

fn api_options(flags: &ServeFlags) -> ApiOptions {
    ApiOptions {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        max_concurrent: flags.query_max_concurrent,
        timeout_ms: flags.query_timeout.0.as_millis() as i64,
        replica_labels: flags.query_replica_label.clone(),
        auto_downsampling: flags.query_auto_downsampling,
    }
}

fn start_shipping(
    runtime: &Runtime,
    flags: &ServeFlags,
    db: &Arc<Db>,
    bucket: &Bucket,
    proof: &Proof,
    coordinator: Arc<dyn Coordinator>,
) {
    let shipper = Shipper::new(Committer::new(bucket.clone(), runtime.clone()), runtime.clone());
    Shipping::new(db.clone(), shipper, coordinator, runtime.clone(), flags.retention.0).start(proof.clone());
}

/// The gateway looks at the bucket in the background; until its first look it answers nothing.
fn start_gateway(
    runtime: &Runtime,
    flags: &ServeFlags,
    bucket: &Bucket,
    memory: &MemoryBudget,
) -> Result<BucketStore> {
    let config = StoreConfig {
        sync_interval: flags.sync_block_duration.0,
        max_series: flags.query_max_series,
        max_chunk_bytes: memory.query,
        ..StoreConfig::new(flags.data_dir.join("store"))
    };
    let store =
        BucketStore::new(bucket.clone(), runtime.clone(), config).context("cannot open the store's cache")?;
    let running = store.clone();
    runtime.tasks.spawn_loop("store", runtime.clock.clone(), move |shutdown| {
        let store = running.clone();
        async move { store.run(shutdown).await }
    });
    Ok(store)
}

fn start_compactor(runtime: &Runtime, flags: &ServeFlags, bucket: &Bucket, proof: &Proof) -> Result<()> {
    let plan = PlanConfig {
        ranges_ms: flags.compact_levels.iter().map(|l| l.0.as_millis() as i64).collect(),
        settle_ms: flags.compact_settle.0.as_millis() as i64,
        ..PlanConfig::default()
    };
    let retention = Retention {
        raw: flags.retention_raw.0,
        five_minutes: flags.retention_5m.0,
        one_hour: flags.retention_1h.0,
    };
    let config = CompactorConfig {
        plan,
        retention,
        from_raw: flags.downsample_min_range_5m.0,
        delete_delay: flags.delete_delay.0,
        wait_interval: flags.compact_interval.0,
        ..CompactorConfig::new(flags.data_dir.join("compact"))
    };
    let compactor = Arc::new(Compactor::new(bucket.clone(), runtime.clone(), config)?);
    let proof = proof.clone();
    runtime.tasks.spawn_loop("compactor", runtime.clock.clone(), move |shutdown| {
        let (compactor, proof) = (compactor.clone(), proof.clone());
        async move {
            if proof.proven(&shutdown).await {
                compactor.run(shutdown).await;
            }
        }
    });
    Ok(())
}

fn announce(runtime: &Runtime, flags: &ServeFlags, addresses: &Addresses) -> Result<()> {
    let file = flags.data_dir.join("addresses.json");
    addresses
        .save(&*runtime.disk, &flags.data_dir)
        .with_context(|| format!("cannot write {}", file.display()))?;
    println!("{}", addresses.ready_line());
    println!("{}", addresses.next_steps());
    info!(
        "replication factor 1: samples survive a crash of the process and of the machine, not the loss of the disk of {}",
        flags.data_dir.display()
    );
    Ok(())
}

/// Waits for what is in hand, then closes what holds state.
async fn stop(runtime: &Runtime, flags: &ServeFlags, db: Option<&Db>, coordinator: &RaftCoordinator) {
    // A little more than connections get to drain, so that they are the ones to be cut off.
    let patience = flags.shutdown_grace.0 + Duration::from_secs(2);
    if !runtime.tasks.stop(&*runtime.clock, patience).await {
        warn!("some work did not end within {patience:?}; what it had not acknowledged may be repeated");
    }
    let writing = runtime.cpu.idle_behind(&*runtime.clock, WRITING_PATIENCE).await;
    if writing > 0 {
        warn!(
            "{writing} background threads were still writing after {WRITING_PATIENCE:?}; the next start takes their files as after a crash"
        );
    }
    if let Some(db) = db {
        db.shutdown();
    }
    if let Err(e) = coordinator.stop().await {
        warn!("{e}");
    }
    info!("stopped");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_waits_is_dropped_when_a_stop_begins() {
        let stopped = Shutdown::default();
        assert_eq!(unless_stopped(&stopped, async { Ok(7) }).await.unwrap(), Some(7));
        assert!(unless_stopped(&stopped, async { Err::<(), _>(anyhow::anyhow!("broken")) }).await.is_err());
        let forever = unless_stopped(&stopped, std::future::pending::<Result<()>>());
        let mut forever = std::pin::pin!(forever);
        assert!(futures::poll!(&mut forever).is_pending());
        stopped.begin();
        assert_eq!(forever.await.unwrap(), None);
    }
}
