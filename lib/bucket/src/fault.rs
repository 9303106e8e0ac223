//! A store that fails on purpose: for property tests and simulation.
//!
//! What it can do: refuse before anything happened, apply a write and lose the answer, tear an upload (a
//! truncated object and an error), list what was there some writes ago, and die, after which nothing gets
//! through. All of it is a function of the seed and of the order of calls.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use async_trait::async_trait;
use bytes::Bytes;
use cairn_runtime::Rng;
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, PutMode,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use parking_lot::Mutex;

/// How often what goes wrong, each in `0.0 ..= 1.0`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultRates {
    /// A call fails before anything happened.
    pub refused: f64,
    /// A write is applied and its answer lost.
    pub lost_answer: f64,
    /// A plain upload leaves a truncated object and fails. Conditional creates are atomic and never torn.
    pub torn: f64,
    /// A list shows an older state.
    pub stale_list: f64,
}

impl FaultRates {
    /// Nothing goes wrong.
    pub const NONE: FaultRates = FaultRates { refused: 0.0, lost_answer: 0.0, torn: 0.0, stale_list: 0.0 };
    /// Enough of everything that most commits meet something.
    pub const ROUGH: FaultRates =
        FaultRates { refused: 0.04, lost_answer: 0.06, torn: 0.05, stale_list: 0.3 };
}

/// A store around another. Clones share rates, seed and history.
#[derive(Clone)]
pub struct FaultStore {
    inner: Arc<dyn ObjectStore>,
    state: Arc<Mutex<State>>,
    rng: Rng,
}

struct State {
    rates: FaultRates,
    /// Calls that still get through; `None` = all.
    calls_left: Option<u64>,
    /// An older list of everything, shown by stale lists.
    old_list: Vec<ObjectMeta>,
    injected: u64,
    calls: u64,
}

enum Fate {
    Through,
    LostAnswer,
    Torn,
}

impl FaultStore {
    /// Around `inner`; faults follow from `seed`.
    pub fn new(inner: Arc<dyn ObjectStore>, rates: FaultRates, seed: u64) -> Self {
        let state = State { rates, calls_left: None, old_list: Vec::new(), injected: 0, calls: 0 };
        FaultStore { inner, state: Arc::new(Mutex::new(state)), rng: Rng::from_seed(seed) }
    }

    /// From now on other rates.
    pub fn set_rates(&self, rates: FaultRates) {
        self.state.lock().rates = rates;
    }

    /// After `calls` more calls nothing gets through any more, as when the process died there; `None` revives it.
    pub fn die_after(&self, calls: Option<u64>) {
        self.state.lock().calls_left = calls;
    }

    /// How many faults there were so far.
    pub fn injected(&self) -> u64 {
        self.state.lock().injected
    }

    /// How many calls there were so far.
    pub fn calls(&self) -> u64 {
        self.state.lock().calls
    }

    fn error(&self, what: &str) -> object_store::Error {
        self.state.lock().injected += 1;
        object_store::Error::Generic { store: "FaultStore", source: format!("injected: {what}").into() }
    }

    /// Lets other tasks run, so that attempts interleave, and decides what happens to a call.
    async fn fate(&self, write: bool) -> Result<Fate> {
        for _ in 0..self.rng.below(4) {
            tokio::task::yield_now().await;
        }
        let (rates, alive) = {
            let mut s = self.state.lock();
            s.calls += 1;
            let alive = s.calls_left != Some(0);
            s.calls_left = s.calls_left.map(|n| n.saturating_sub(1));
            (s.rates, alive)
        };
        if !alive {
            return Err(self.error("no connection"));
        }
        let dice = self.rng.unit();
        if dice < rates.refused {
            Err(self.error("refused"))
        } else if write && dice < rates.refused + rates.lost_answer {
            Ok(Fate::LostAnswer)
        } else if write && dice < rates.refused + rates.lost_answer + rates.torn {
            Ok(Fate::Torn)
        } else {
            Ok(Fate::Through)
        }
    }
}

impl fmt::Display for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "FaultStore({})", self.inner)
    }
}
impl fmt::Debug for FaultStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[async_trait]
impl ObjectStore for FaultStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let conditional = options.mode != PutMode::Overwrite;
        match self.fate(true).await? {
            Fate::Through => self.inner.put_opts(location, payload, options).await,
            Fate::LostAnswer => {
                // Whether the store applied or refused it, the caller does not learn.
                let _ = self.inner.put_opts(location, payload, options).await;
                Err(self.error("answer lost"))
            }
            Fate::Torn if conditional => Err(self.error("refused")),
            Fate::Torn => {
                let whole = Bytes::from(payload);
                let part = whole.slice(..self.rng.below(whole.len() as u64 + 1) as usize);
                self.inner.put_opts(location, part.into(), options).await?;
                Err(self.error("upload torn"))
            }
        }
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.fate(false).await?;
        let upload = self.inner.put_multipart_opts(location, options).await?;
        Ok(Box::new(FaultUpload { upload, store: self.clone() }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.fate(false).await?;
        self.inner.get_opts(location, options).await
    }

    async fn get_ranges(&self, location: &Path, ranges: &[Range<u64>]) -> Result<Vec<Bytes>> {
        self.fate(false).await?;
        self.inner.get_ranges(location, ranges).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .and_then(move |path| {
                let store = store.clone();
                async move {
                    let fate = store.fate(true).await?;
                    let one = futures::stream::iter([Ok(path.clone())]).boxed();
                    let mut done = store.inner.delete_stream(one);
                    while let Some(outcome) = done.next().await {
                        outcome?;
                    }
                    match fate {
                        Fate::Through => Ok(path),
                        _ => Err(store.error("answer lost")),
                    }
                }
            })
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        let (store, prefix) = (self.clone(), prefix.cloned());
        let listed = async move {
            store.fate(false).await?;
            let now: Vec<ObjectMeta> = store.inner.list(None).try_collect().await?;
            let stale = store.rng.unit() < store.state.lock().rates.stale_list;
            let shown = if stale {
                let mut s = store.state.lock();
                s.injected += 1;
                s.old_list.clone()
            } else {
                store.state.lock().old_list = now.clone();
                now
            };
            let wanted = move |m: &ObjectMeta| {
                prefix.as_ref().is_none_or(|p| m.location != *p && m.location.prefix_matches(p))
            };
            Ok::<_, object_store::Error>(futures::stream::iter(shown.into_iter().filter(wanted).map(Ok)))
        };
        futures::stream::once(listed).try_flatten().boxed()
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.fate(false).await?;
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        match self.fate(true).await? {
            Fate::Through => self.inner.copy_opts(from, to, options).await,
            _ => {
                self.inner.copy_opts(from, to, options).await?;
                Err(self.error("answer lost"))
            }
        }
    }
}

struct FaultUpload {
    upload: Box<dyn MultipartUpload>,
    store: FaultStore,
}

impl fmt::Debug for FaultUpload {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultUpload")
    }
}

#[async_trait]
impl MultipartUpload for FaultUpload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let (part, store) = (self.upload.put_part(data), self.store.clone());
        Box::pin(async move {
            store.fate(false).await?;
            part.await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        match self.store.fate(true).await? {
            Fate::Through => self.upload.complete().await,
            _ => {
                // Completed or not: half of the lost answers belong to uploads that never came to be.
                if self.store.rng.below(2) == 0 {
                    self.upload.complete().await?;
                }
                Err(self.store.error("answer lost"))
            }
        }
    }

    async fn abort(&mut self) -> Result<()> {
        self.upload.abort().await
    }
}
