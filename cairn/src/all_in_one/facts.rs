//! What the status pages tell of this process: facts of its start, and what changes while it runs.

use std::path::Path;
use std::sync::Arc;

use cairn_query::{ServerFacts, ServerNow, ServerState};
use cairn_runtime::{Disk, Runtime, Tasks};
use cairn_tsdb::db::Db;

use super::reload::Reload;
use crate::config::{Described, ServeFlags};

/// Where Linux has the machine's name.
const HOSTNAME: &str = "/proc/sys/kernel/hostname";

/// What does not change until the process ends.
pub fn facts(
    runtime: &Runtime,
    flags: &ServeFlags,
    described: Described,
    memory_limit_bytes: u64,
) -> ServerFacts {
    let retention = described.flags.get("tsdb.retention").cloned();
    ServerFacts {
        working_dir: std::env::current_dir().map(|d| d.display().to_string()).unwrap_or_default(),
        hostname: hostname(&*runtime.disk),
        memory_limit_bytes,
        storage_retention: retention.unwrap_or_else(|| format!("{:?}", flags.retention.0)),
        flags: described.flags,
        config_yaml: described.yaml,
    }
}

fn hostname(disk: &dyn Disk) -> String {
    let bytes = disk.read(Path::new(HOSTNAME)).unwrap_or_default();
    String::from_utf8_lossy(&bytes).trim().to_owned()
}

/// Those who know what changes.
pub struct State {
    /// Reads files anew on request.
    pub reload: Reload,
    /// Counts damage of its log.
    pub db: Arc<Db>,
    /// Counts background work.
    pub tasks: Tasks,
}

impl ServerState for State {
    fn now(&self) -> ServerNow {
        let rules = self.reload.ruler.reload_state();
        ServerNow {
            reload_successful: rules.successful && self.reload.limits.is_current(),
            config_read_ms: rules.success_ms,
            wal_corruptions: self.db.replay_report().corruptions(),
            tasks: self.tasks.running(),
        }
    }
}
