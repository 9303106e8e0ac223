//! One write request from its body to what became of it.
//!
//! Admit → read → decompress and fill → rate → append → resend what the store has forgotten → learn. Every step
//! may end the request; nothing is stored before `append`, and after it the outcome counts what is durable.

use std::ops::Range;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use bytes::{Bytes, BytesMut};
use cairn_model::batch::Appended;
use cairn_model::storage::AppendError;
use cairn_model::{TenantId, WriteBatch};
use cairn_net::ApiError;
use cairn_net::body::BodyReader;
use cairn_proto::snappy::{self, SnappyError};
use cairn_proto::{DecodeError, Version};
use futures::FutureExt;
use tracing::{error, warn};

use crate::admission::{Overloaded, Permit};
use crate::buffers::PooledBuffer;
use crate::fill::{FillError, Filled, Rules, Trail, fill, refill};
use crate::identity::{Identity, NO_ENTRY, Wanted};
use crate::judge::TimeWindow;
use crate::metrics::Recalled;
use crate::receiver::Receiver;
use crate::scratch::Scratch;
use crate::size::SizeLimits;
use crate::tenants::Tenant;
use crate::verdict::Verdicts;

/// Taken from the budget before a body is read, however large it claims to be: a claim alone must not shut out
/// others. The rest is taken as bytes arrive.
const UPFRONT_BYTES: u64 = 1 << 20;
/// Steps in which the permit follows a body that is being read.
const READ_STEP_BYTES: u64 = 256 << 10;
/// Decompressed size from which a request is read beside the event loop: about half a millisecond.
const OFFLOAD_BYTES: usize = 2 << 20;

/// Why a request came to nothing.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WriteError {
    /// With this answer.
    #[error(transparent)]
    Refused(#[from] ApiError),
    /// By a panic, ours or the store's.
    #[error("the request ended by a panic")]
    Panicked,
}

/// What became of a request whose body was read.
#[derive(Default)]
pub struct Outcome {
    /// Durable float samples, repeats included.
    pub floats: u64,
    /// Durable histograms, repeats included.
    pub histograms: u64,
    /// Durable exemplars, repeats included.
    pub exemplars: u64,
    /// What was refused.
    pub verdicts: Verdicts,
}

impl Receiver {
    /// Takes in one request and makes it durable. `last_body` is where the body is left for a post-mortem.
    pub(crate) async fn write(
        &self,
        version: Version,
        tenant_id: &TenantId,
        body: &mut BodyReader,
        declared: Option<u64>,
        last_body: &mut Bytes,
    ) -> Result<Outcome, WriteError> {
        let now = self.runtime.clock.monotonic();
        let upfront = declared.unwrap_or(UPFRONT_BYTES).min(UPFRONT_BYTES);
        let mut permit = self.budget.take(upfront).map_err(overloaded)?;
        let sizes = SizeLimits::of(self, tenant_id);
        let wire = self.read_body(body, &sizes, &mut permit).await?;
        *last_body = wire.clone();
        if let Some(name) = self.quarantine.refuses(&wire) {
            return Err(quarantined(&name).into());
        }
        let decoded_len = snappy::declared_len(&wire).map_err(|e| ApiError::BadRequest(e.to_string()))?;
        sizes.check_decoded(decoded_len)?;
        permit.grow_to(wire.len() as u64 + 2 * decoded_len).map_err(overloaded)?;

        let tenant = self
            .tenants
            .get(tenant_id, &self.limits, now)
            .map_err(|e| ApiError::unavailable(e.to_string()))?;
        tenant.follow(&self.limits);
        let limits = self.limits.of(tenant_id);
        let rules = Rules {
            tenant: tenant_id.clone(),
            window: TimeWindow::at(self.runtime.clock.now_ms(), &limits),
            limits: limits.clone(),
            external: self.external.clone(),
            keys: self.keys.clone(),
        };
        let stamp = Identity::stamp(now);
        let (buffer, scratch) = (self.buffers.take(), self.scratch.take());
        let work = Work { version, wire, buffer, scratch, decoded_len, permit, rules, tenant, stamp };
        let (mut work, filled) = if decoded_len as usize >= OFFLOAD_BYTES {
            self.runtime.cpu.run(move || work.fill()).await.map_err(|_| WriteError::Panicked)?
        } else {
            work.fill()
        };
        let Filled { batch, mut verdicts, mut trail, mut scratch } = filled?;

        sizes.check_request(&limits, batch.series.len() as u64, trail.offered)?;
        let rate = work.tenant.rate.take(trail.offered, limits.samples_per_s, limits.burst_samples, now);
        if let Err(retry_after_s) = rate {
            let reason = format!(
                "tenant {tenant_id} sends more than {} samples a second: nothing of this request is stored",
                limits.samples_per_s
            );
            return Err(ApiError::RateLimited { reason, retry_after_s }.into());
        }
        self.metrics.recalled(Recalled {
            predicted: trail.predicted,
            found: trail.found,
            read: trail.entries.iter().filter(|e| **e == NO_ENTRY).count() as u64,
        });
        self.metrics.dropped(trail.left_out, trail.overridden_labels);

        let mut outcome = Outcome::default();
        if !batch.series.is_empty() || !batch.metadata.is_empty() {
            let mut appended = self.append(batch).await?;
            scratch.batch = appended.spare.take();
            outcome.count(&appended);
            appended.rejections.into_iter().for_each(|r| verdicts.add(r));
            if !appended.unknown.is_empty() {
                self.resend(&mut work, &trail, &appended.unknown, &mut outcome, &mut verdicts).await?;
            }
            let wanted = learn(&work, &mut trail, &appended.refs);
            if wanted.any() {
                self.bring_memory(&work.tenant, wanted);
            }
        }
        scratch.trail = trail;
        self.scratch.give(scratch);
        outcome.verdicts = verdicts;
        Ok(outcome)
    }

    async fn read_body(
        &self,
        body: &mut BodyReader,
        sizes: &SizeLimits<'_>,
        permit: &mut Permit,
    ) -> Result<Bytes, ApiError> {
        let mut whole = Bytes::new();
        let mut joined = BytesMut::new();
        let mut len = 0u64;
        while let Some(piece) = body.next().await? {
            // The first bytes say how long it gets: what is too long then is not even collected.
            if len == 0
                && let Ok(decoded_len) = snappy::declared_len(&piece)
            {
                sizes.check_decoded(decoded_len)?;
            }
            len += piece.len() as u64;
            sizes.check_body(len)?;
            if len > permit.bytes() {
                permit.grow_to(len.next_multiple_of(READ_STEP_BYTES)).map_err(overloaded)?;
            }
            if whole.is_empty() && joined.is_empty() {
                whole = piece;
            } else {
                if joined.is_empty() {
                    joined.extend_from_slice(&std::mem::take(&mut whole));
                }
                joined.extend_from_slice(&piece);
            }
        }
        Ok(if joined.is_empty() { whole } else { joined.freeze() })
    }

    async fn append(&self, batch: WriteBatch) -> Result<Appended, WriteError> {
        let append = AssertUnwindSafe(self.store.append(batch)).catch_unwind();
        let patience = self.config.append_timeout;
        let refused = tokio::select! {
            appended = append => match appended {
                Ok(Ok(appended)) => return Ok(appended),
                Err(_) => return Err(WriteError::Panicked),
                Ok(Err(AppendError::Unavailable { reason, retry_after_s })) => {
                    ApiError::Unavailable { reason: format!("cannot store samples now: {reason}"), retry_after_s }
                }
                Ok(Err(e)) => ApiError::unavailable(e.to_string()),
            },
            () = self.runtime.clock.sleep(patience) => ApiError::unavailable(format!(
                "samples are not known to be durable after {patience:?}: repeat the request"
            )),
        };
        Err(refused.into())
    }

    /// Sends series whose reference the store has forgotten again, with labels.
    async fn resend(
        &self,
        work: &mut Work,
        trail: &Trail,
        unknown: &[u32],
        outcome: &mut Outcome,
        verdicts: &mut Verdicts,
    ) -> Result<(), WriteError> {
        self.metrics.resent(unknown.len() as u64);
        let lost = || {
            error!("the store answers with series that the request does not have");
            ApiError::unavailable("the store has lost track of the request's series: repeat the request")
        };
        let origins: Option<Vec<_>> =
            unknown.iter().map(|i| trail.origins.get(*i as usize).cloned()).collect();
        let batch = work.refill(&origins.ok_or_else(lost)?)?;
        if batch.series.len() != unknown.len() {
            return Err(lost().into());
        }
        let hashes: Vec<u64> = batch.series.iter().map(|s| s.hash).collect();
        let appended = self.append(batch).await?;
        if !appended.unknown.is_empty() {
            return Err(lost().into());
        }
        outcome.count(&appended);
        appended.rejections.into_iter().for_each(|r| verdicts.add(r));
        let renewed = unknown.iter().zip(hashes).zip(&appended.refs);
        work.tenant.identity.renew(
            renewed
                .map(|((i, hash), store_ref)| (trail.entries[*i as usize], hash, *store_ref))
                .filter(|(entry, _, store_ref)| *entry != NO_ENTRY && *store_ref != 0),
        );
        Ok(())
    }

    /// Makes memory of the order cache beside the requests, so that none waits for it.
    fn bring_memory(&self, tenant: &Arc<Tenant>, wanted: Wanted) {
        let (cpu, tenant) = (self.runtime.cpu.clone(), tenant.clone());
        self.runtime.tasks.spawn("order cache memory", async move {
            if let Err(e) = cpu.run_blocking(move || tenant.identity.bring_memory(wanted)).await {
                warn!(error = %e, "cannot make memory before it is needed: requests will wait for it");
            }
        });
    }
}

impl Outcome {
    fn count(&mut self, appended: &Appended) {
        self.floats += appended.floats;
        self.histograms += appended.histograms;
        self.exemplars += appended.exemplars;
    }
}

/// A request between its body and its batch, in one piece so that it can move to another thread.
struct Work {
    version: Version,
    wire: Bytes,
    buffer: PooledBuffer,
    scratch: Scratch,
    decoded_len: u64,
    permit: Permit,
    rules: Rules,
    tenant: Arc<Tenant>,
    stamp: u32,
}

impl Work {
    fn fill(mut self) -> (Self, Result<Filled, ApiError>) {
        let filled = match snappy::decompress(&self.wire, &mut self.buffer, self.decoded_len) {
            Err(e) => Err(malformed_snappy(&e)),
            Ok(body) => {
                let view = self.tenant.identity.view(self.stamp);
                let scratch = std::mem::take(&mut self.scratch);
                fill(self.version, body, &self.rules, Some(view), &mut self.permit, scratch)
                    .map_err(not_filled)
            }
        };
        (self, filled)
    }

    fn refill(&mut self, origins: &[Range<u32>]) -> Result<WriteBatch, ApiError> {
        let body = &self.buffer[..self.decoded_len as usize];
        refill(self.version, body, &self.rules, origins, &mut self.permit).map_err(not_filled)
    }
}

/// Remembers the wire keys of series that came with labels and that the store has given a reference. Gives what memory
/// they want.
fn learn(work: &Work, trail: &mut Trail, refs: &[u64]) -> Wanted {
    trail.new.retain_mut(|learned| {
        learned.store_ref = refs.get(learned.position as usize).copied().unwrap_or(0);
        learned.store_ref != 0
    });
    let identity = &work.tenant.identity;
    let wanted = identity.learn(&trail.new, &mut trail.entries, work.stamp);
    if !trail.described.is_empty() {
        identity.describe(trail.described.drain(..));
    }
    wanted
}

fn overloaded(e: Overloaded) -> ApiError {
    ApiError::unavailable(e.to_string())
}

fn not_filled(e: FillError) -> ApiError {
    match e {
        FillError::Decode(e) => malformed(&e),
        FillError::Overloaded(e) => overloaded(e),
    }
}

fn malformed(e: &DecodeError) -> ApiError {
    ApiError::BadRequest(format!("{e}: nothing of this request is stored"))
}

fn malformed_snappy(e: &SnappyError) -> ApiError {
    ApiError::BadRequest(format!("{e}: nothing of this request is stored"))
}

pub(crate) fn panicked() -> ApiError {
    ApiError::unavailable(
        "internal error while storing the request, see the server's log: repeat the request",
    )
}

pub(crate) fn quarantined(name: &str) -> ApiError {
    ApiError::BadRequest(format!(
        "internal error: this request ended by a panic three times, is not stored, and is kept as {name} for a bug report"
    ))
}
