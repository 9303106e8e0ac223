//! The bucket of a start: it may be away, and may be written to only when it has proven what commits rest on.
//!
//! A probe asks in the background, again and again while there is no answer. What only reads the bucket goes on without;
//! what commits to it waits for [`Proof::proven`]. An answer that the bucket lacks create-if-absent ends the
//! process, whether it comes at the start or hours later: nothing was committed, and what was acknowledged stays in the
//! log.

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Result, anyhow};
use cairn_bucket::{Bucket, BucketError};
use cairn_runtime::{Clock, Runtime, Shutdown};
use cairn_store::BucketStore;
use prometheus::{IntCounter, IntGauge};
use tokio::sync::watch;
use tracing::{info, warn};

/// How long a start waits for the first answer before it goes on without. Judgement: a healthy store answers the
/// handful of requests within a second, and a node without its bucket is better than none.
const START_PATIENCE: Duration = Duration::from_secs(5);

/// Pauses between two probes: doubled from the first to the last.
const PAUSES: (Duration, Duration) = (Duration::from_secs(1), Duration::from_secs(30));

/// What is known of the bucket.
#[derive(Debug, Clone)]
enum Finding {
    /// Nobody knows yet.
    Unknown,
    /// It did not answer the last probe.
    Away,
    /// It keeps create-if-absent.
    Proven,
    /// It does not, in these words.
    Lacking(String),
}

/// What a bucket has proven so far. Clones share it.
#[derive(Clone)]
pub struct Proof {
    finding: watch::Receiver<Finding>,
    clock: Arc<dyn Clock>,
}

impl Proof {
    /// Begins to ask `bucket`, unless `trusted`: then the operator answers for it.
    pub fn seek(bucket: Bucket, trusted: bool, runtime: &Runtime) -> Self {
        let m = &runtime.metrics;
        let usable = m.gauge(
            "cairn_bucket_usable",
            "Whether the bucket has proven that blocks may be committed to it (1), or has not answered yet (0).",
        );
        let failures = m.counter(
            "cairn_bucket_probe_failures_total",
            "Probes of the bucket at a start that had no answer.",
        );
        let (found, finding) = watch::channel(Finding::Unknown);
        let proof = Proof { finding, clock: runtime.clock.clone() };
        if trusted {
            usable.set(1);
            found.send_replace(Finding::Proven);
            return proof;
        }
        let (runtime_of_task, shutdown) = (runtime.clone(), runtime.tasks.shutdown().clone());
        runtime.tasks.spawn("bucket_probe", async move {
            tokio::select! {
                () = shutdown.begun() => {}
                () = ask(bucket, runtime_of_task, found, usable, failures) => {}
            }
        });
        proof
    }

    /// Waits until the bucket has proven itself and `gateway` has listed its blocks, but not for long: without an answer
    /// the start goes on.
    ///
    /// # Errors
    /// When the bucket answers that it lacks create-if-absent.
    pub async fn at_start(&self, gateway: &BucketStore) -> Result<()> {
        let mut finding = self.finding.clone();
        let in_use = async {
            let known = finding.wait_for(|f| !matches!(f, Finding::Unknown)).await;
            match known.as_deref() {
                Ok(Finding::Lacking(text)) => return Err(anyhow!("cannot open the bucket: {text}")),
                Ok(Finding::Away) | Err(_) => return Ok(false),
                Ok(_) => {}
            }
            gateway.listed().await;
            Ok(true)
        };
        let in_use = tokio::select! {
            in_use = in_use => in_use?,
            () = self.clock.sleep(START_PATIENCE) => false,
        };
        if !in_use {
            warn!(
                "starting without the bucket: what it alone holds is missing in answers, and windows stay here until it answers"
            );
        }
        Ok(())
    }

    /// Completes when blocks may be committed; `false` when the process stops before.
    pub async fn proven(&self, shutdown: &Shutdown) -> bool {
        let mut finding = self.finding.clone();
        tokio::select! {
            known = finding.wait_for(|f| matches!(f, Finding::Proven)) => known.is_ok(),
            () = shutdown.begun() => false,
        }
    }

    /// Completes when the bucket answers that it lacks create-if-absent, with its words.
    pub async fn refuted(&self) -> anyhow::Error {
        let mut finding = self.finding.clone();
        let known = finding.wait_for(|f| matches!(f, Finding::Lacking(_))).await;
        match known.as_deref() {
            Ok(Finding::Lacking(text)) => anyhow!("cannot go on with this bucket: {text}"),
            // The probe has ended with another finding, and there will be none.
            _ => std::future::pending().await,
        }
    }
}

async fn ask(
    bucket: Bucket,
    runtime: Runtime,
    found: watch::Sender<Finding>,
    usable: IntGauge,
    failures: IntCounter,
) {
    let mut pause = PAUSES.0;
    loop {
        match cairn_bucket::open::probe(&bucket, &runtime).await {
            Ok(()) => {
                info!(bucket = bucket.name(), "the bucket keeps create-if-absent: blocks may be committed");
                usable.set(1);
                found.send_replace(Finding::Proven);
                return;
            }
            Err(lacking @ BucketError::NoConditionalPut { .. }) => {
                found.send_replace(Finding::Lacking(lacking.to_string()));
                return;
            }
            Err(e) => {
                failures.inc();
                found.send_replace(Finding::Away);
                let again_s = pause.as_secs();
                warn!(again_s, "the bucket does not answer, nothing is committed to it yet: {}", chain(&e));
            }
        }
        runtime.clock.sleep(pause).await;
        pause = (pause * 2).min(PAUSES.1);
    }
}

/// An error with its causes: object stores say little in the first line.
fn chain(e: &dyn std::error::Error) -> String {
    std::iter::successors(Some(e), |e| e.source()).map(ToString::to_string).collect::<Vec<_>>().join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_bucket::BucketSettings;
    use cairn_bucket::fault::{FaultRates, FaultStore};
    use cairn_runtime::{MemDisk, TcpNet};
    use cairn_store::StoreConfig;
    use object_store::memory::InMemory;

    struct World {
        store: FaultStore,
        bucket: Bucket,
        runtime: Runtime,
        gateway: BucketStore,
    }

    fn world() -> World {
        let runtime = Runtime::simulated(1, 0, Arc::new(TcpNet), Arc::new(MemDisk::new()));
        let store = FaultStore::new(Arc::new(InMemory::new()), FaultRates::NONE, 1);
        let bucket = Bucket::new(Arc::new(store.clone()), BucketSettings::named("b"), &runtime);
        let gateway =
            BucketStore::new(bucket.clone(), runtime.clone(), StoreConfig::new("/cache".into())).unwrap();
        World { store, bucket, runtime, gateway }
    }

    fn metric(runtime: &Runtime, name: &str) -> f64 {
        let text = runtime.metrics.render();
        let value = text.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(' ')?.parse().ok());
        value.expect("it is registered")
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_goes_on_without_the_bucket_and_commits_wait_until_it_answers() {
        let w = world();
        w.store.die_after(Some(0));
        let proof = Proof::seek(w.bucket.clone(), false, &w.runtime);
        proof.at_start(&w.gateway).await.unwrap();
        let shutdown = w.runtime.tasks.shutdown().clone();
        let mut proven = std::pin::pin!(proof.proven(&shutdown));
        assert!(futures::poll!(&mut proven).is_pending());
        assert_eq!(metric(&w.runtime, "cairn_bucket_usable"), 0.0);
        assert!(metric(&w.runtime, "cairn_bucket_probe_failures_total") >= 1.0);
        w.store.die_after(None);
        assert!(proven.await, "it is asked again");
        assert_eq!(metric(&w.runtime, "cairn_bucket_usable"), 1.0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_stop_ends_the_wait() {
        let w = world();
        w.store.die_after(Some(0));
        let proof = Proof::seek(w.bucket.clone(), false, &w.runtime);
        w.runtime.tasks.shutdown().begin();
        assert!(!proof.proven(&w.runtime.tasks.shutdown().clone()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn a_start_waits_for_a_bucket_that_answers() {
        let w = world();
        let proof = Proof::seek(w.bucket.clone(), false, &w.runtime);
        let gateway = w.gateway.clone();
        w.runtime.tasks.spawn("sync", async move {
            gateway.sync().await.expect("it answers");
        });
        proof.at_start(&w.gateway).await.unwrap();
        assert!(w.gateway.is_synced() && proof.proven(w.runtime.tasks.shutdown()).await);
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_that_it_lacks_conditional_creates_is_refused_at_any_time() {
        let w = world();
        let (found, finding) = watch::channel(Finding::Away);
        let proof = Proof { finding, clock: w.runtime.clock.clone() };
        proof.at_start(&w.gateway).await.unwrap();
        let mut refuted = std::pin::pin!(proof.refuted());
        assert!(futures::poll!(&mut refuted).is_pending());
        found.send_replace(Finding::Lacking("it overwrites".to_owned()));
        assert_eq!(refuted.await.to_string(), "cannot go on with this bucket: it overwrites");
        let e = proof.at_start(&w.gateway).await.unwrap_err();
        assert_eq!(e.to_string(), "cannot open the bucket: it overwrites");
    }

    #[tokio::test(start_paused = true)]
    async fn a_trusted_bucket_is_not_asked() {
        let w = world();
        let proof = Proof::seek(w.bucket.clone(), true, &w.runtime);
        assert!(proof.proven(w.runtime.tasks.shutdown()).await);
        assert_eq!(w.store.calls(), 0);
    }
}
