//! The roles, each made of the flags that concern it. Nothing here waits for another role: the order is `serve`'s.

use std::sync::Arc;

use anyhow::{Context, Result};
use cairn_bucket::Bucket;
use cairn_bucket::commit::Committer;
use cairn_bucket::ship::Shipper;
use cairn_cluster::{ClusterOptions, Coordinator, RaftCoordinator};
use cairn_compactor::plan::PlanConfig;
use cairn_compactor::retention::Retention;
use cairn_compactor::{Compactor, CompactorConfig};
use cairn_model::memory_share::MemoryShare;
use cairn_model::storage::Appendable;
use cairn_model::tenant::TENANT_LABEL;
use cairn_promql::{Engine, EngineOptions};
use cairn_query::ApiOptions;
use cairn_receiver::{LimitsBook, Receiver, ReceiverConfig, TenantLimits};
use cairn_runtime::Runtime;
use cairn_store::{BucketStore, StoreConfig};
use cairn_tsdb::db::{Db, DbOptions};
use cairn_tsdb::head::MemoryBounds;

use super::bucket::Proof;
use super::chunks::TsdbDecoder;
use super::settings::Settings;
use super::shipping::Shipping;
use crate::config::{Feature, MemoryBudget, ServeFlags};
use crate::limits::LimitsInForce;
use crate::ready::Addresses;

pub(super) async fn start_control_plane(
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
pub(super) fn load_limits(
    runtime: &Runtime,
    flags: &ServeFlags,
    settings: &Settings,
) -> Result<Arc<LimitsInForce>> {
    let base = TenantLimits { active_series: flags.tenant_max_series, ..TenantLimits::default() };
    Ok(LimitsInForce::load(settings.limits.clone(), base, runtime)?)
}

pub(super) async fn begin_database(
    runtime: &Runtime,
    flags: &ServeFlags,
    settings: &Settings,
    memory: &MemoryBudget,
    limits: Arc<LimitsBook>,
) -> Result<Arc<Db>> {
    let options = DbOptions {
        wal_sync: flags.wal_sync,
        replay_budget: flags.replay_budget.0,
        block_duration: flags.block_duration.0,
        close_after: flags.close_delay.0,
        external_labels: settings.external_labels.clone(),
        series_limit: Arc::new(move |tenant| limits.active_series(tenant)),
        memory: MemoryBounds {
            head: memory.head,
            process: memory.limit,
            process_now: Arc::new(cairn_runtime::memory::own_bytes),
        },
        ..DbOptions::new(flags.data_dir.join("tsdb"))
    };
    Db::begin(options, runtime.clone()).await.context("cannot open the database")
}

pub(super) fn receiver(
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

pub(super) fn engine(
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
        memory: Some(MemoryShare::of(memory.query)),
        ..defaults
    };
    Engine::new(Feature::apply(&flags.enable_feature, options))
}

pub(super) fn api_options(flags: &ServeFlags) -> ApiOptions {
    ApiOptions {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        max_concurrent: flags.query_max_concurrent,
        timeout_ms: flags.query_timeout.0.as_millis() as i64,
        replica_labels: flags.query_replica_label.clone(),
        auto_downsampling: flags.query_auto_downsampling,
    }
}

pub(super) fn start_shipping(
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
pub(super) fn start_gateway(
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

pub(super) fn start_compactor(
    runtime: &Runtime,
    flags: &ServeFlags,
    bucket: &Bucket,
    proof: &Proof,
) -> Result<()> {
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
