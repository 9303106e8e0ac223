//! Every role in one process, wired in the order in which they need one another.
//!
//! Addresses are bound first (a port in use is the most common mistake). Writes are taken as soon as the log can be
//! written, while it is still being replayed; everything else answers 503 until then. The ready line is printed when all
//! of it works, or all but a bucket that does not answer ([`bucket`]). A stop runs backwards: connections drain, work in
//! hand finishes, files under way are written, the log is synced.

mod bucket;
mod chunks;
mod facts;
mod listeners;
mod reload;
mod roles;
mod rules;
mod settings;
mod shipping;
mod stopping;

use std::sync::Arc;

use anyhow::{Context, Result};
use axum::Router;
use cairn_model::storage::{Appendable, StoreApi};
use cairn_net::{HttpStack, Readiness, health};
use cairn_query::{Fanout, PartialResponse, QueryApi};
use cairn_runtime::Runtime;
use tracing::info;

use crate::config::{Described, MemoryBudget, ServeFlags};
use crate::ready::Addresses;
use crate::self_monitoring;
use bucket::Proof;
use chunks::to_wire;
use listeners::Listeners;
use reload::Reload;
use settings::Settings;
use stopping::{stop, stop_on_signal, unless_stopped};

/// Runs until SIGTERM or SIGINT.
///
/// # Errors
/// When cairn cannot start; the text names the object and the next step.
pub async fn serve(flags: ServeFlags, described: Described) -> Result<()> {
    let settings = Settings::from_flags(&flags)?;
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = MemoryBudget::from_flag(flags.memory_limit.map(|b| b.0));
    let runtime = Runtime::system(cores);
    memory.show(&runtime.metrics);
    let build = runtime.metrics.gauge_vec("cairn_build_info", "1, with the version that runs.", &["version"]);
    build.with_label_values(&[env!("CARGO_PKG_VERSION")]).set(1);
    let stopped = stop_on_signal(&runtime)?;

    let stack = HttpStack::new(&runtime);
    let listeners = Listeners::bind(&stack, &flags).await?;
    let addresses = listeners.addresses();
    let readiness = Readiness::new(runtime.tasks.shutdown().clone());
    let replayed = readiness.gate("replaying the write-ahead log");

    let limits = roles::load_limits(&runtime, &flags, &settings)?;
    let coordinator = roles::start_control_plane(&runtime, &flags, &addresses).await?;
    let bucket = cairn_bucket::connect(&settings.bucket, flags.unsafe_no_conditional_put, &runtime)
        .context("cannot open the bucket")?;
    let proof = Proof::seek(bucket.clone(), flags.unsafe_no_conditional_put, &runtime);
    let begun = roles::begin_database(&runtime, &flags, &settings, &memory, limits.write.clone());
    let Some(db) = unless_stopped(&stopped, begun).await? else {
        stop(&runtime, &flags, None, &coordinator).await;
        return Ok(());
    };
    let writes: Arc<dyn Appendable> = db.clone();
    let receiver =
        roles::receiver(&runtime, &flags, &settings, &memory, writes.clone(), limits.write.clone())?;
    let health = health::routes(readiness.clone(), runtime.metrics.clone());
    let early = receiver.routes().merge(health.clone());
    let http = listeners.http.serve(early.clone().merge(health::not_yet(readiness)));
    listeners.write.serve(early);
    let gateway = roles::start_gateway(&runtime, &flags, &bucket, &memory)?;
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
    let engine = roles::engine(&runtime, &flags, &memory, limits.clone());
    let around = rules::Surroundings {
        engine: engine.clone(),
        fanout: fanout.clone(),
        writes: writes.clone(),
        coordinator: coordinator.clone(),
    };
    let ruler = rules::start(&runtime, &flags, &settings, around, addresses.http.to_string()).await?;

    let api = QueryApi::new(engine.clone(), fanout.clone(), runtime.clone(), roles::api_options(&flags));
    let reload = Reload { ruler: ruler.clone(), limits: limits.clone() };
    reload.clone().start(&runtime)?;
    let state = facts::State { reload: reload.clone(), db: db.clone(), tasks: runtime.tasks.clone() };
    api.describe(facts::facts(&runtime, &flags, described, memory.limit), Arc::new(state));
    let grpc = cairn_query::grpc::Sources {
        fanout,
        to_wire: Arc::new(to_wire),
        rules: Some(Arc::new(ruler.clone())),
        engine,
    };
    let routes =
        Router::new().merge(receiver.routes()).merge(api.router()).merge(crate::limits::routes(limits));
    let routes = routes.merge(rules::routes(ruler, &runtime)).merge(reload.routes()).merge(health);
    http.replace(routes.fallback(cairn_query::api::not_found));
    listeners.grpc.serve(cairn_query::grpc::router(grpc));
    listeners.peer.serve(Router::new());

    roles::start_shipping(&runtime, &flags, &db, &bucket, &proof, coordinator.clone());
    if !flags.compact_disable {
        roles::start_compactor(&runtime, &flags, &bucket, &proof)?;
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
