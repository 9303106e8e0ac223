//! The shell around [`decide`]: takes its steps against a bucket and notes what came of them.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use cairn_runtime::Runtime;
use futures::{StreamExt, TryStreamExt, stream};
use tracing::{debug, info, warn};
use ulid::Ulid;

use super::ATTEMPT_LIMIT;
use super::decide::{Step, decide};
use super::job::{Job, JobKey};
use super::record::{CommitRecord, FileRecord};
use super::source::BlockSource;
use super::view::{Files, Meta, Newest, Own, View};
use crate::bucket::{Bucket, Created, fresh_ulid};
use crate::digest::Sha256;
use crate::error::{BucketError, Result};
use crate::layout;

/// Steps of one attempt; a commit without trouble takes eight.
const MAX_STEPS: usize = 100;
/// Records of one job; each but the first means that a block was found unsound after it was committed.
const MAX_RECORDS: u32 = 1_000;
/// Files of one block that are sent or read at once.
const FILES_IN_FLIGHT: usize = 2;

/// What a job came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Committed {
    /// The block of this record is in the bucket, whole: seen after its `meta.json`.
    Block {
        /// The record, with the block's ULID, meta and files.
        record: Arc<CommitRecord>,
        /// The block.
        ulid: Ulid,
        /// Whether its files are byte for byte those of the source that was given. When not, another attempt with
        /// other data was first: what the block does not hold must be committed under the next generation before
        /// the local copy may go.
        holds_source: bool,
    },
    /// The job is committed as having nothing.
    Nothing,
    /// The job's block was there once and was deleted on purpose: replaced by compaction, or past retention.
    Retired,
}

/// Commits blocks. Cheap to clone.
#[derive(Clone)]
pub struct Committer {
    bucket: Bucket,
    runtime: Runtime,
}

impl Committer {
    /// Commits into `bucket`.
    pub fn new(bucket: Bucket, runtime: Runtime) -> Self {
        Committer { bucket, runtime }
    }

    /// The bucket.
    pub fn bucket(&self) -> &Bucket {
        &self.bucket
    }

    /// Makes `source` the block of `job`, or finds that the job is done already. `None` commits that there is
    /// nothing. May be called by anyone at any time, again and at once: one block comes out.
    ///
    /// # Errors
    /// Any [`BucketError`]; nothing is lost, and a later call goes on from what is in the bucket.
    pub async fn commit(&self, job: &Job, source: Option<&BlockSource>) -> Result<Committed> {
        let mut attempt = Attempt {
            bucket: &self.bucket,
            runtime: &self.runtime,
            job,
            key: job.key(),
            source,
            view: View::new(source.is_none()),
            own_files: Vec::new(),
            newest: None,
            started: self.runtime.clock.monotonic(),
        };
        for _ in 0..MAX_STEPS {
            let elapsed = self.runtime.clock.monotonic().saturating_sub(attempt.started);
            attempt.view.expired = elapsed > ATTEMPT_LIMIT;
            let step = decide(&attempt.view);
            debug!(job = %attempt.key, ?step, "commit");
            if let Some(done) = attempt.take(step).await? {
                return Ok(done);
            }
        }
        Err(BucketError::NoProgress { job: attempt.key.to_string(), steps: MAX_STEPS })
    }

    /// Whether a replica may let go of what the job's block holds: the block was verified now, or it was there once
    /// and was deleted on purpose, which only happens to blocks that were replaced or are past retention.
    pub async fn may_release(&self, job: &Job) -> Result<bool> {
        Ok(is_retired(&self.bucket, &job.key()).await? || self.verified(job).await?.is_some())
    }

    /// Goes on with `job` if someone has recorded it: publishes what is not published and checks it. `None` when
    /// there is no record yet.
    ///
    /// # Errors
    /// As [`Committer::commit`]; [`BucketError::GaveUp`] when the recorded block is unsound: whoever has the data
    /// must commit it again.
    pub async fn resume(&self, job: &Job) -> Result<Option<Committed>> {
        match read_newest(&self.bucket, job, &job.key()).await? {
            None => Ok(None),
            // Records are never removed, so this finds the record again and creates none.
            Some(_) => self.commit(job, None).await.map(Some),
        }
    }

    /// The job whose records have that key, if there is one.
    pub async fn job_of(&self, key: &str) -> Result<Option<Job>> {
        let path = layout::record(key, 0);
        let Some(bytes) = self.bucket.get(&path).await? else { return Ok(None) };
        let job = CommitRecord::from_json(path.as_ref(), &bytes)?.job;
        if job.key().as_str() != key {
            return Err(BucketError::ForeignRecord { job: key.to_owned(), object: path.to_string() });
        }
        Ok(Some(job))
    }

    /// The newest record of `job`, once its `meta.json` was seen and then every file found sound: what a replica
    /// must see before it lets go of its own copy. `None` when any of that is not so.
    pub async fn verified(&self, job: &Job) -> Result<Option<Arc<CommitRecord>>> {
        let Some((_, record)) = read_newest(&self.bucket, job, &job.key()).await? else { return Ok(None) };
        let Some(ulid) = record.ulid else { return Ok(Some(record)) };
        if see_meta(&self.bucket, ulid, &record).await? != Meta::Equal {
            return Ok(None);
        }
        Ok((check_files(&self.bucket, ulid, &record.files).await? == Files::Sound).then_some(record))
    }
}

struct Attempt<'a> {
    bucket: &'a Bucket,
    runtime: &'a Runtime,
    job: &'a Job,
    key: JobKey,
    source: Option<&'a BlockSource>,
    view: View,
    own_files: Vec<FileRecord>,
    newest: Option<Arc<CommitRecord>>,
    started: Duration,
}

impl Attempt<'_> {
    /// Takes one step. `Some` ends the attempt.
    async fn take(&mut self, step: Step) -> Result<Option<Committed>> {
        match step {
            Step::ReadRecords => self.read_records().await?,
            Step::Upload => self.upload().await?,
            Step::ReadBack(ulid) => {
                read_back(self.bucket, ulid, &self.own_files).await?;
                self.view.own = Own::Verified(ulid);
            }
            Step::CreateRecord { n, ulid } => self.create_record(n, ulid).await?,
            Step::ReadRetired => {
                self.view.retired = Some(is_retired(self.bucket, &self.key).await?);
            }
            Step::ReadMeta(ulid) => {
                let seen = see_meta(self.bucket, ulid, self.record()).await?;
                self.view.saw_meta(seen);
            }
            Step::CreateMeta(ulid) => {
                let content = Bytes::from(self.record().meta.clone());
                match self.bucket.create(&layout::meta(ulid), content).await {
                    Ok(Created::New) => self.view.saw_meta(Meta::Equal),
                    Ok(Created::AlreadyThere) => self.view.saw_meta(Meta::Unknown),
                    Err(error) => {
                        warn!(job = %self.key, block = %ulid, %error, "meta.json not answered; looking");
                        self.view.saw_meta(Meta::Unknown);
                    }
                }
            }
            Step::CheckFiles(ulid) => {
                let record = self.record().clone();
                let mut seen = check_files(self.bucket, ulid, &record.files).await?;
                if seen == Files::Unsound {
                    // A block is withdrawn on two findings, so that one bad answer does not cost a re-upload.
                    seen = check_files(self.bucket, ulid, &record.files).await?;
                }
                self.view.files = seen;
                self.view.retired = None;
            }
            Step::WithdrawMeta(ulid) => {
                warn!(job = %self.key, block = %ulid, "files of a committed block are unsound; superseding it");
                self.bucket.delete(&layout::meta(ulid)).await?;
                self.view.meta = Meta::Absent;
                self.view.files = Files::Unsound;
            }
            Step::DiscardOwn(ulid) => self.discard(ulid).await,
            Step::Done { ulid: None, .. } => return Ok(Some(Committed::Nothing)),
            Step::Done { ulid: Some(ulid), n } => {
                let record = self.record().clone();
                let holds_source = self.is_source(&record).await?;
                info!(job = %self.key, block = %ulid, record = n, holds_source, "committed");
                return Ok(Some(Committed::Block { record, ulid, holds_source }));
            }
            Step::Retired => return Ok(Some(Committed::Retired)),
            Step::GiveUp => {
                let hours = ATTEMPT_LIMIT.as_secs() / 3600;
                return Err(BucketError::GaveUp { job: self.key.to_string(), hours });
            }
        }
        Ok(None)
    }

    /// Whether the record's files are those of the attempt's source.
    async fn is_source(&mut self, record: &CommitRecord) -> Result<bool> {
        let Some(source) = self.source else { return Ok(false) };
        if self.own_files.is_empty() {
            self.own_files = digest_files(self.runtime, source).await?;
        }
        Ok(self.own_files == record.files)
    }

    fn record(&self) -> &Arc<CommitRecord> {
        self.newest.as_ref().expect("decide() speaks of a record only when one was read")
    }

    async fn read_records(&mut self) -> Result<()> {
        let found = read_newest(self.bucket, self.job, &self.key).await?;
        self.view.saw_newest(match &found {
            None => Newest::None,
            Some((n, record)) => Newest::Record { n: *n, ulid: record.ulid },
        });
        self.newest = found.map(|(_, record)| record);
        Ok(())
    }

    async fn upload(&mut self) -> Result<()> {
        let source = self.source.expect("decide() uploads only what is there");
        let ulid = fresh_ulid(self.runtime);
        if self.own_files.is_empty() {
            self.own_files = digest_files(self.runtime, source).await?;
        }
        info!(job = %self.key, block = %ulid, files = source.files.len(), "uploading");
        let bucket = self.bucket;
        stream::iter(source.files.clone())
            .map(|f| {
                let path = layout::in_block(ulid, &f.rel_path);
                async move { bucket.put(&path, f.content.clone()).await }
            })
            .buffered(FILES_IN_FLIGHT)
            .try_collect::<Vec<()>>()
            .await?;
        self.view.own = Own::Uploaded(ulid);
        Ok(())
    }

    async fn create_record(&mut self, n: u32, ulid: Option<Ulid>) -> Result<()> {
        let record = match (ulid, self.source) {
            (Some(ulid), Some(source)) => {
                let meta = (source.make_meta)(ulid, &self.own_files);
                CommitRecord::of_block(self.job.clone(), ulid, meta, self.own_files.clone())
            }
            _ => CommitRecord::empty(self.job.clone()),
        };
        match self.bucket.create(&layout::record(self.key.as_str(), n), record.to_json()).await {
            Ok(Created::New) => {
                self.view.saw_newest(Newest::Record { n, ulid });
                self.newest = Some(Arc::new(record));
            }
            Ok(Created::AlreadyThere) => self.view.forget_records(),
            Err(error) => {
                warn!(job = %self.key, %error, "commit record not answered; looking");
                self.view.create_unanswered = true;
                self.view.forget_records();
            }
        }
        Ok(())
    }

    /// Deletes the own folder. What stays is the cleaner's.
    async fn discard(&mut self, ulid: Ulid) {
        info!(job = %self.key, block = %ulid, "another attempt was first; removing the own upload");
        let paths = self.own_files.iter().map(|f| layout::in_block(ulid, &f.rel_path)).collect();
        if let Err(error) = self.bucket.delete_all(paths).await {
            warn!(block = %ulid, %error, "own upload stays for the cleaner");
        }
        self.view.own = Own::Nothing;
    }
}

/// Whether the job's block was deleted on purpose.
pub(crate) async fn is_retired(bucket: &Bucket, key: &JobKey) -> Result<bool> {
    Ok(bucket.size(&layout::retired(key.as_str())).await?.is_some())
}

/// The record that no other supersedes. Records are numbered without gaps, so asking until one is absent finds
/// it without a list, which may be stale. O(records), which is one but after damage.
async fn read_newest(bucket: &Bucket, job: &Job, key: &JobKey) -> Result<Option<(u32, Arc<CommitRecord>)>> {
    let mut newest = None;
    for n in 0..MAX_RECORDS {
        let path = layout::record(key.as_str(), n);
        let Some(bytes) = bucket.get(&path).await? else { break };
        let record = CommitRecord::from_json(path.as_ref(), &bytes)?;
        if record.job != *job {
            return Err(BucketError::ForeignRecord { job: key.to_string(), object: path.to_string() });
        }
        newest = Some((n, Arc::new(record)));
    }
    Ok(newest)
}

async fn see_meta(bucket: &Bucket, ulid: Ulid, record: &CommitRecord) -> Result<Meta> {
    Ok(match bucket.get(&layout::meta(ulid)).await? {
        None => Meta::Absent,
        Some(bytes) if bytes == record.meta.as_bytes() => Meta::Equal,
        Some(_) => Meta::Different,
    })
}

async fn check_files(bucket: &Bucket, ulid: Ulid, files: &[FileRecord]) -> Result<Files> {
    let checks = stream::iter(files.to_vec()).map(|f| async move {
        let found = bucket.digest(&layout::in_block(ulid, &f.rel_path)).await?;
        Ok::<bool, BucketError>(found == Some((f.size_bytes, f.sha256)))
    });
    let all: Vec<bool> = checks.buffered(FILES_IN_FLIGHT).try_collect().await?;
    Ok(if all.into_iter().all(|sound| sound) { Files::Sound } else { Files::Unsound })
}

async fn read_back(bucket: &Bucket, ulid: Ulid, files: &[FileRecord]) -> Result<()> {
    for f in files {
        let path = layout::in_block(ulid, &f.rel_path);
        let (got_bytes, got) =
            bucket.digest(&path).await?.ok_or_else(|| BucketError::Missing { object: path.to_string() })?;
        if (got_bytes, got) != (f.size_bytes, f.sha256) {
            let (want_bytes, want) = (f.size_bytes, f.sha256);
            return Err(BucketError::Unsound { object: path.to_string(), want_bytes, want, got_bytes, got });
        }
    }
    Ok(())
}

async fn digest_files(runtime: &Runtime, source: &BlockSource) -> Result<Vec<FileRecord>> {
    let files = source.files.clone();
    let digested = runtime.cpu.run_behind(move || {
        let record = |f: &super::source::SourceFile| FileRecord {
            rel_path: f.rel_path.clone(),
            size_bytes: f.content.len() as u64,
            sha256: Sha256::of(&f.content),
        };
        files.iter().map(record).collect()
    });
    digested
        .await
        .map_err(|e| BucketError::Local { path: "block".to_owned(), source: std::io::Error::other(e) })
}
