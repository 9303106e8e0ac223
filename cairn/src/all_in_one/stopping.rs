//! How a stop begins, and what it waits for.
//!
//! Invariant: the log is closed after all that writes into it has ended or been given up.

use std::time::Duration;

use anyhow::Result;
use cairn_cluster::RaftCoordinator;
use cairn_runtime::{Runtime, Shutdown};
use cairn_tsdb::db::Db;
use tracing::{info, warn};

use crate::config::ServeFlags;

/// How long a stop waits for threads that still write once the tasks they write for are gone. Judgement: a head-chunk file
/// or the end of a cut, not a merge, which looks at the shutdown itself. In front of it go the grace and two seconds.
const WRITING_PATIENCE: Duration = Duration::from_secs(5);

/// SIGTERM and SIGINT begin the shutdown.
pub(super) fn stop_on_signal(runtime: &Runtime) -> Result<Shutdown> {
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

/// What `work` gives; `None` when a stop begins before, and the work is then dropped where it waits.
pub(super) async fn unless_stopped<T>(
    stopped: &Shutdown,
    work: impl Future<Output = Result<T>>,
) -> Result<Option<T>> {
    tokio::select! {
        done = work => done.map(Some),
        () = stopped.begun() => Ok(None),
    }
}

/// Waits for what is in hand, then closes what holds state.
pub(super) async fn stop(
    runtime: &Runtime,
    flags: &ServeFlags,
    db: Option<&Db>,
    coordinator: &RaftCoordinator,
) {
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
