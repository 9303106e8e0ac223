//! Faults of the product itself, planted one at a time: a simulation that lets one live checks too little.

use std::sync::Arc;

use async_trait::async_trait;
use cairn_model::batch::{Appended, RejectReason, WriteBatch};
use cairn_model::storage::{AppendError, Appendable};
use cairn_runtime::Rng;

/// A planted fault. Each is a mistake that such systems have made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutant {
    /// A write that the disk refused is acknowledged.
    AckWithoutDisk,
    /// A series of a request is forgotten now and then.
    LoseSeries,
    /// A value is altered on its way.
    AlterValue,
    /// A conflict is not told.
    HideConflict,
    /// A sealed window is released before it was cut.
    ReleaseBeforeCut,
    /// The control plane's folder is lost with the machine.
    ForgetControlPlane,
    /// A start takes the log's newest segment for a leftover and removes it.
    LoseNewestSegment,
    /// A full disk is remembered for ever.
    NeverResume,
}

impl Mutant {
    /// All of them.
    pub const ALL: [Mutant; 8] = [
        Mutant::AckWithoutDisk,
        Mutant::LoseSeries,
        Mutant::AlterValue,
        Mutant::HideConflict,
        Mutant::ReleaseBeforeCut,
        Mutant::ForgetControlPlane,
        Mutant::LoseNewestSegment,
        Mutant::NeverResume,
    ];
}

/// A store with a fault of the write path.
pub struct Sabotaged {
    /// The store.
    pub inner: Arc<dyn Appendable>,
    /// The fault.
    pub mutant: Mutant,
    /// When it strikes.
    pub rng: Rng,
    refused_once: std::sync::atomic::AtomicBool,
}

impl Sabotaged {
    /// `inner` with the fault `mutant`.
    pub fn new(inner: Arc<dyn Appendable>, mutant: Mutant, rng: Rng) -> Self {
        Sabotaged { inner, mutant, rng, refused_once: false.into() }
    }
}

#[async_trait]
impl Appendable for Sabotaged {
    async fn append(&self, mut batch: WriteBatch) -> Result<Appended, AppendError> {
        use std::sync::atomic::Ordering::Relaxed;
        let strikes = self.rng.below(20) == 0;
        match self.mutant {
            Mutant::LoseSeries if strikes => {
                let refs = batch.series.len();
                if let Some(last) = batch.series.last_mut() {
                    last.refused = true;
                }
                let mut appended = self.inner.append(batch).await?;
                appended.refs.resize(refs, 0);
                Ok(appended)
            }
            Mutant::AlterValue if strikes => {
                if let Some(v) = batch.floats.value.last_mut() {
                    *v += 1e6;
                }
                self.inner.append(batch).await
            }
            Mutant::AckWithoutDisk => {
                let series = batch.series.len();
                let appended = self.inner.append(batch).await;
                appended.or_else(|_| Ok(Appended { refs: vec![0; series], ..Appended::default() }))
            }
            Mutant::HideConflict => {
                let mut appended = self.inner.append(batch).await?;
                appended.rejections.retain(|r| r.reason != RejectReason::Conflict);
                Ok(appended)
            }
            Mutant::NeverResume => {
                if self.refused_once.load(Relaxed) {
                    return Err(AppendError::DiskFull("it was full once".into()));
                }
                let appended = self.inner.append(batch).await;
                self.refused_once.fetch_or(appended.is_err(), Relaxed);
                appended
            }
            _ => self.inner.append(batch).await,
        }
    }
}
