//! The flags. Names are Thanos' where they mean the same; each has an environment variable `CAIRN_…`.

use std::path::PathBuf;

use cairn_tsdb::wal::log::SyncMode;
use clap::{Parser, Subcommand, ValueEnum};

use super::features::Feature;
use super::sizes::{Bytes, GoDuration};
use crate::tools::ToolsCommand;

const ABOUT: &str = "Long-term Prometheus storage that loses nothing: receives remote write, evaluates rules, ships blocks to \
object storage, compacts and downsamples them, and answers PromQL. Without a command it runs every role in one process.";

/// Receives remote write, evaluates rules, ships blocks to object storage, and answers PromQL.
#[derive(Debug, Parser)]
#[command(name = "cairn", version, about = ABOUT, args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of serving.
    #[command(subcommand)]
    pub sub: Option<Sub>,
    /// How to serve.
    #[command(flatten)]
    pub serve: ServeFlags,
}

/// Sub-commands.
#[derive(Debug, Subcommand)]
pub enum Sub {
    /// Inspect and check data, in files and in running servers.
    #[command(subcommand)]
    Tools(ToolsCommand),
}

/// Log lines for people or for machines.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum LogFormat {
    /// One readable line an event.
    Logfmt,
    /// One JSON object an event.
    Json,
}

/// Flags of the all-in-one.
#[derive(Debug, Clone, clap::Args)]
pub struct ServeFlags {
    /// YAML file whose keys are these flags without the dashes; environment and command line win over it.
    #[arg(long = "config.file", env = "CAIRN_CONFIG_FILE", value_name = "FILE")]
    pub config_file: Option<PathBuf>,

    /// Print the configuration that results from file, environment and command line, and exit.
    #[arg(long = "print-config")]
    pub print_config: bool,

    /// HTTP: Prometheus API, remote write, /metrics, health. Port 0 finds a free one.
    #[arg(
        long = "http-address",
        env = "CAIRN_HTTP_ADDRESS",
        default_value = "0.0.0.0:10902",
        value_name = "HOST:PORT"
    )]
    pub http_address: String,

    /// HTTP: remote write alone, for load balancers and network policies.
    #[arg(
        long = "remote-write.address",
        env = "CAIRN_REMOTE_WRITE_ADDRESS",
        default_value = "0.0.0.0:19291",
        value_name = "HOST:PORT"
    )]
    pub remote_write_address: String,

    /// gRPC: Thanos' Info, Store, Rules, Exemplars, Metadata, Targets and Status APIs, health, reflection.
    #[arg(
        long = "grpc-address",
        env = "CAIRN_GRPC_ADDRESS",
        default_value = "0.0.0.0:10901",
        value_name = "HOST:PORT"
    )]
    pub grpc_address: String,

    /// Between cairn nodes; reserved while a cluster has one node.
    #[arg(
        long = "peer-address",
        env = "CAIRN_PEER_ADDRESS",
        default_value = "0.0.0.0:10900",
        value_name = "HOST:PORT"
    )]
    pub peer_address: String,

    /// Folder of everything this node keeps.
    #[arg(
        long = "data-dir",
        alias = "tsdb.path",
        env = "CAIRN_DATA_DIR",
        default_value = "./data",
        value_name = "DIR"
    )]
    pub data_dir: PathBuf,

    /// Object storage, in Thanos' YAML. Default: a local folder `bucket` in the data folder.
    #[arg(
        long = "objstore.config",
        env = "CAIRN_OBJSTORE_CONFIG",
        value_name = "YAML",
        conflicts_with = "objstore_config_file"
    )]
    pub objstore_config: Option<String>,

    /// File with the object storage configuration, in Thanos' YAML.
    #[arg(long = "objstore.config-file", env = "CAIRN_OBJSTORE_CONFIG_FILE", value_name = "FILE")]
    pub objstore_config_file: Option<PathBuf>,

    /// Go on with an object store that cannot create an object only if it is absent. Two writers may then lose data.
    #[arg(long = "bucket.unsafe-no-conditional-put", env = "CAIRN_BUCKET_UNSAFE_NO_CONDITIONAL_PUT")]
    pub unsafe_no_conditional_put: bool,

    /// External label of all data, name="value". Repeatable.
    #[arg(long = "label", env = "CAIRN_LABEL", value_delimiter = ',', value_name = "NAME=\"VALUE\"")]
    pub label: Vec<String>,

    /// Length of a head window and of the blocks cut from it.
    #[arg(
        long = "tsdb.block-duration",
        env = "CAIRN_TSDB_BLOCK_DURATION",
        default_value = "2h",
        value_name = "DURATION"
    )]
    pub block_duration: GoDuration,

    /// How long after its end a window is closed; later samples of it go into another block.
    #[arg(
        long = "tsdb.close-delay",
        env = "CAIRN_TSDB_CLOSE_DELAY",
        default_value = "30m",
        value_name = "DURATION"
    )]
    pub close_delay: GoDuration,

    /// How long blocks stay on the local disk after their upload, for fast reads.
    #[arg(
        long = "tsdb.retention",
        env = "CAIRN_TSDB_RETENTION",
        default_value = "24h",
        value_name = "DURATION"
    )]
    pub retention: GoDuration,

    /// When the write-ahead log reaches the disk: always (before each acknowledgement), interval=100ms, or never.
    #[arg(long = "wal.sync", env = "CAIRN_WAL_SYNC", default_value = "always", value_name = "WHEN")]
    pub wal_sync: SyncMode,

    /// CPU time of replaying the write-ahead log that a start may need, about, before a head snapshot is taken. 0 takes one
    /// every second that has news.
    #[arg(
        long = "tsdb.replay-budget",
        env = "CAIRN_TSDB_REPLAY_BUDGET",
        default_value = "1s",
        value_name = "DURATION"
    )]
    pub replay_budget: GoDuration,

    /// Memory that cairn may use for requests, head, queries and caches. Default: 75 % of the cgroup's or machine's.
    #[arg(long = "memory.limit", env = "CAIRN_MEMORY_LIMIT", value_name = "SIZE")]
    pub memory_limit: Option<Bytes>,

    /// Largest compressed body of a write.
    #[arg(
        long = "remote-write.max-body",
        env = "CAIRN_REMOTE_WRITE_MAX_BODY",
        default_value = "32MiB",
        value_name = "SIZE"
    )]
    pub max_body: Bytes,

    /// Largest decompressed body of a write.
    #[arg(
        long = "remote-write.max-decoded",
        env = "CAIRN_REMOTE_WRITE_MAX_DECODED",
        default_value = "128MiB",
        value_name = "SIZE"
    )]
    pub max_decoded: Bytes,

    /// Tenant of writes without a tenant header.
    #[arg(
        long = "receive.default-tenant-id",
        env = "CAIRN_RECEIVE_DEFAULT_TENANT_ID",
        default_value = "default-tenant",
        value_name = "TENANT"
    )]
    pub default_tenant: String,

    /// Most active series of a tenant, 0 = no limit. Above it new series are refused, existing ones go on. A limits file
    /// wins over it.
    #[arg(
        long = "receive.tenant-max-series",
        env = "CAIRN_RECEIVE_TENANT_MAX_SERIES",
        default_value_t = 10_000_000,
        value_name = "N"
    )]
    pub tenant_max_series: u64,

    /// Limits of tenants, in the YAML of docs/limits.md.
    #[arg(
        long = "receive.limits-config",
        env = "CAIRN_RECEIVE_LIMITS_CONFIG",
        value_name = "YAML",
        conflicts_with = "limits_config_file"
    )]
    pub limits_config: Option<String>,

    /// File with limits of tenants, in the YAML of docs/limits.md; it is read again when it changes.
    #[arg(
        long = "receive.limits-config-file",
        env = "CAIRN_RECEIVE_LIMITS_CONFIG_FILE",
        value_name = "FILE"
    )]
    pub limits_config_file: Option<PathBuf>,

    /// Rule file, or a pattern with * in its last part. Repeatable.
    #[arg(long = "rule-file", env = "CAIRN_RULE_FILE", value_delimiter = ',', value_name = "FILE")]
    pub rule_file: Vec<String>,

    /// How often groups without an interval of their own are evaluated.
    #[arg(
        long = "eval-interval",
        env = "CAIRN_EVAL_INTERVAL",
        default_value = "1m",
        value_name = "DURATION"
    )]
    pub eval_interval: GoDuration,

    /// Alertmanager, http(s)://host:port/prefix. Repeatable; alerts go to all of them.
    #[arg(
        long = "alertmanagers.url",
        env = "CAIRN_ALERTMANAGERS_URL",
        value_delimiter = ',',
        value_name = "URL"
    )]
    pub alertmanagers_url: Vec<String>,

    /// How often an alert that goes on firing is sent again.
    #[arg(long = "resend-delay", env = "CAIRN_RESEND_DELAY", default_value = "1m", value_name = "DURATION")]
    pub resend_delay: GoDuration,

    /// URL under which people reach this cairn, for links in alerts. Default: its HTTP address.
    #[arg(
        long = "alert.query-url",
        alias = "web.external-url",
        env = "CAIRN_ALERT_QUERY_URL",
        value_name = "URL"
    )]
    pub external_url: Option<String>,

    /// Longest time one query may take.
    #[arg(
        long = "query.timeout",
        env = "CAIRN_QUERY_TIMEOUT",
        default_value = "2m",
        value_name = "DURATION"
    )]
    pub query_timeout: GoDuration,

    /// How far back an instant selector looks for a sample.
    #[arg(
        long = "query.lookback-delta",
        env = "CAIRN_QUERY_LOOKBACK_DELTA",
        default_value = "5m",
        value_name = "DURATION"
    )]
    pub lookback_delta: GoDuration,

    /// Queries that run at the same time; more wait.
    #[arg(
        long = "query.max-concurrent",
        env = "CAIRN_QUERY_MAX_CONCURRENT",
        default_value_t = 20,
        value_name = "N"
    )]
    pub query_max_concurrent: usize,

    /// Most samples that one query may load.
    #[arg(
        long = "query.max-samples",
        env = "CAIRN_QUERY_MAX_SAMPLES",
        default_value_t = 50_000_000,
        value_name = "N"
    )]
    pub query_max_samples: u64,

    /// Most series that one selector may answer, 0 = no limit.
    #[arg(
        long = "query.max-series",
        env = "CAIRN_QUERY_MAX_SERIES",
        default_value_t = 5_000_000,
        value_name = "N"
    )]
    pub query_max_series: usize,

    /// External label that tells the two of a highly available Prometheus pair apart; queries answer their series as one.
    /// Repeatable.
    #[arg(
        long = "query.replica-label",
        env = "CAIRN_QUERY_REPLICA_LABEL",
        value_delimiter = ',',
        value_name = "NAME"
    )]
    pub query_replica_label: Vec<String>,

    /// Let range queries read data downsampled to a fifth of their step, unless they say how coarse it may be.
    #[arg(long = "query.auto-downsampling", env = "CAIRN_QUERY_AUTO_DOWNSAMPLING")]
    pub query_auto_downsampling: bool,

    /// Experimental features by Prometheus' names, separated by commas. Repeatable.
    #[arg(
        long = "enable-feature",
        env = "CAIRN_ENABLE_FEATURE",
        value_enum,
        value_delimiter = ',',
        value_name = "FEATURE"
    )]
    pub enable_feature: Vec<Feature>,

    /// Do not compact and downsample the bucket.
    #[arg(long = "compact.disable", env = "CAIRN_COMPACT_DISABLE")]
    pub compact_disable: bool,

    /// How often the compactor looks at the bucket.
    #[arg(
        long = "compact.interval",
        alias = "wait-interval",
        env = "CAIRN_COMPACT_INTERVAL",
        default_value = "5m",
        value_name = "DURATION"
    )]
    pub compact_interval: GoDuration,

    /// Spans of blocks, each a multiple of the one before; the first is what the head cuts.
    #[arg(
        long = "compact.levels",
        env = "CAIRN_COMPACT_LEVELS",
        value_delimiter = ',',
        default_value = "2h,8h,2d,14d",
        value_name = "DURATION,..."
    )]
    pub compact_levels: Vec<GoDuration>,

    /// How long after a span's end late blocks are waited for before it is compacted.
    #[arg(
        long = "compact.settle",
        env = "CAIRN_COMPACT_SETTLE",
        default_value = "3h",
        value_name = "DURATION"
    )]
    pub compact_settle: GoDuration,

    /// How long raw blocks are kept in the bucket, 0s = for ever.
    #[arg(
        long = "retention.resolution-raw",
        env = "CAIRN_RETENTION_RESOLUTION_RAW",
        default_value = "0s",
        value_name = "DURATION"
    )]
    pub retention_raw: GoDuration,

    /// How long 5-minute blocks are kept in the bucket, 0s = for ever.
    #[arg(
        long = "retention.resolution-5m",
        env = "CAIRN_RETENTION_RESOLUTION_5M",
        default_value = "0s",
        value_name = "DURATION"
    )]
    pub retention_5m: GoDuration,

    /// How long 1-hour blocks are kept in the bucket, 0s = for ever.
    #[arg(
        long = "retention.resolution-1h",
        env = "CAIRN_RETENTION_RESOLUTION_1H",
        default_value = "0s",
        value_name = "DURATION"
    )]
    pub retention_1h: GoDuration,

    /// How long a block that was compacted stays before it is deleted.
    #[arg(long = "delete-delay", env = "CAIRN_DELETE_DELAY", default_value = "48h", value_name = "DURATION")]
    pub delete_delay: GoDuration,

    /// How often the list of blocks in the bucket is read.
    #[arg(
        long = "sync-block-duration",
        env = "CAIRN_SYNC_BLOCK_DURATION",
        default_value = "1m",
        value_name = "DURATION"
    )]
    pub sync_block_duration: GoDuration,

    /// Span from which on raw blocks are downsampled to 5 minutes.
    #[arg(
        long = "downsample.min-range-5m",
        env = "CAIRN_DOWNSAMPLE_MIN_RANGE_5M",
        default_value = "40h",
        value_name = "DURATION"
    )]
    pub downsample_min_range_5m: GoDuration,

    /// Do not write cairn's own metrics into itself.
    #[arg(long = "self-monitoring.disable", env = "CAIRN_SELF_MONITORING_DISABLE")]
    pub self_monitoring_disable: bool,

    /// How often cairn writes its own metrics into itself.
    #[arg(
        long = "self-monitoring.interval",
        env = "CAIRN_SELF_MONITORING_INTERVAL",
        default_value = "15s",
        value_name = "DURATION"
    )]
    pub self_monitoring_interval: GoDuration,

    /// What to log: error, warn, info, debug, trace, or a tracing filter.
    #[arg(long = "log.level", env = "CAIRN_LOG_LEVEL", default_value = "info", value_name = "LEVEL")]
    pub log_level: String,

    /// How to log, on stderr.
    #[arg(long = "log.format", env = "CAIRN_LOG_FORMAT", value_enum, default_value = "logfmt")]
    pub log_format: LogFormat,

    /// How long a stop waits for requests, uploads and evaluations under way; files being written get up to 7 s more.
    #[arg(
        long = "shutdown.grace",
        env = "CAIRN_SHUTDOWN_GRACE",
        default_value = "30s",
        value_name = "DURATION"
    )]
    pub shutdown_grace: GoDuration,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn every_flag_has_the_environment_name_of_the_rule() {
        Cli::command().debug_assert();
        for arg in Cli::command().get_arguments() {
            let Some(long) = arg.get_long() else { continue };
            if matches!(long, "help" | "version" | "print-config") {
                continue;
            }
            let want = format!("CAIRN_{}", long.to_uppercase().replace(['-', '.'], "_"));
            assert_eq!(arg.get_env().and_then(|e| e.to_str()), Some(want.as_str()), "--{long}");
            assert!(arg.get_help().is_some(), "--{long} has no help");
        }
    }
}
