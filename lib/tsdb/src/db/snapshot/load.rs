//! Loading a snapshot at a start.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use cairn_model::TenantId;
use cairn_runtime::{Disk, Runtime};
use tracing::warn;

use super::{Mark, SNAPSHOT_DIR};
use crate::db::HEAD_DIR;
use crate::db::journal::GenerationKey;
use crate::db::maintain::head_file_name;
use crate::db::replay::{Decoded, Plan, decode_batch};
use crate::error::TsdbError;
use crate::head::Head;
use crate::head::frozen::{Thawed, thaw};
use crate::head::full::FullChunks;
use crate::head::partition::Identity;
use crate::head::series::{TenantNo, WindowNo};
use crate::mapped::map_whole;
use crate::snapshot::file::{self, SectionKind, SnapshotFile};
use crate::snapshot::manifest::{Manifest, PartitionFiles};
use crate::wal::columns::BadRecord;
use crate::wal::record::{Control, decode_controls};

/// A snapshot that fits this head, before its partitions are read.
pub struct Snapshot {
    file: SnapshotFile,
    /// Fences of its time.
    pub controls: Vec<Control>,
    /// Records to be replayed before the log's.
    pub records: Arc<Vec<Decoded>>,
}

/// What of the head a snapshot has restored.
pub struct Restored {
    /// Windows of which samples were loaded.
    pub windows: BTreeSet<(TenantNo, WindowNo)>,
    /// Series that were loaded.
    pub series: u64,
}

/// The newest snapshot of the database in `dir`, with its tenants made in `head`. One that cannot be used is removed.
pub fn find(disk: &dyn Disk, dir: &Path, head: &Head) -> Result<Option<Snapshot>, TsdbError> {
    let dir = dir.join(SNAPSHOT_DIR);
    for name in file::list(disk, &dir)? {
        let path = dir.join(&name);
        match Snapshot::open(disk, &path).and_then(|found| found.fits(head).map(|()| found)) {
            Ok(found) => return Ok(Some(found)),
            Err(e) => {
                warn!(error = %e, "a head snapshot cannot be used; more of the log is replayed");
                // Left where it is it does no harm: it would be found unusable, or of use, again.
                if let Err(e) = disk.remove_file(&path) {
                    warn!(error = %e, path = %path.display(), "cannot remove it");
                }
            }
        }
    }
    Ok(None)
}

impl Snapshot {
    fn open(disk: &dyn Disk, path: &Path) -> Result<Self, TsdbError> {
        let file = SnapshotFile::open(disk, path)?;
        let bad = |e: BadRecord| TsdbError::corrupt(path.display().to_string(), 0, e.0);
        let segment = file.manifest.segment;
        let (mut controls, mut records) = (Vec::new(), Vec::new());
        for section in file.sections() {
            match section.kind {
                SectionKind::Controls => {
                    controls.extend(decode_controls(&file.payload(section)?).map_err(bad)?);
                }
                SectionKind::Record => {
                    records.push(decode_batch(&file.payload(section)?, segment).map_err(bad)?);
                }
                _ => {}
            }
        }
        Ok(Snapshot { file, controls, records: Arc::new(records) })
    }

    /// Checks that the snapshot is of a head like this one, and makes its tenants.
    fn fits(&self, head: &Head) -> Result<(), TsdbError> {
        let Manifest { window_ms, partitions, tenants, .. } = &self.file.manifest;
        let differs =
            |what: String| Err(TsdbError::Unsupported(format!("{}: {what}", self.file.path.display())));
        if *window_ms != head.options.window_ms as u64 {
            return differs(format!(
                "its windows take {window_ms} ms, now they take {}",
                head.options.window_ms
            ));
        }
        if partitions.len() != head.partitions.len() {
            let (then, now) = (partitions.len(), head.partitions.len());
            return differs(format!("it was taken with {then} partitions of the head, now there are {now}"));
        }
        let ids: Result<Vec<TenantId>, _> = tenants.iter().map(|t| TenantId::new(t)).collect();
        let Ok(ids) = ids else { return differs("it names a tenant that is none".to_owned()) };
        // Tenants that an earlier attempt made are in the way only if they got other numbers.
        for (number, id) in (0..).zip(&ids) {
            if head.tenants.get_or_add(id).number != number {
                return differs(format!("its tenant {id} has another number here"));
            }
        }
        Ok(())
    }

    /// What it stands for.
    pub fn manifest(&self) -> &Manifest {
        &self.file.manifest
    }

    /// Where its tail begins.
    pub fn mark(&self) -> Mark {
        Mark { id: self.file.manifest.id, segment: self.file.manifest.segment }
    }

    /// Which generations each segment of the log holds, up to the mark.
    pub fn contents(&self) -> BTreeSet<(u64, GenerationKey)> {
        let all = self.manifest().contents.iter();
        all.map(|(segment, tenant, window, generation)| (*segment, (*tenant, *window, *generation))).collect()
    }

    /// Where it lies.
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// Whether partition `partition` of the head uses its head-chunk file `number`.
    pub fn names_head_file(&self, partition: usize, number: u32) -> bool {
        self.manifest()
            .partitions
            .get(partition)
            .is_some_and(|p| number.checked_sub(p.first).is_some_and(|i| (i as usize) < p.files.len()))
    }

    fn partition(
        &self,
        identity: Identity,
        disk: &dyn Disk,
        head_dir: &Path,
        plan: &Plan,
    ) -> Result<Thawed, TsdbError> {
        let manifest = self.manifest();
        let index = usize::from(identity.index);
        let identity = Identity { key_seed: manifest.key_seed, ..identity };
        let full = head_files(disk, head_dir, (index, &manifest.partitions[index]), |(tenant, window)| {
            plan.is_released(&manifest.tenants[*tenant as usize], *window, 0)
        })?;
        let mut thawed = thaw(identity, full, manifest.tenants.len());
        let mine = || self.file.sections().iter().filter(|s| usize::from(s.partition) == index);
        // Labels first: series name their pairs by number.
        for section in mine() {
            let malformed = |m| self.file.malformed(section, m);
            match section.kind {
                SectionKind::Index => {
                    thawed.index(section.tenant, &self.file.payload(section)?).map_err(malformed)?
                }
                SectionKind::Pairs => {
                    thawed.pairs(section.tenant, &self.file.payload(section)?).map_err(malformed)?
                }
                _ => {}
            }
        }
        for section in mine().filter(|s| s.kind == SectionKind::Series) {
            let payload = self.file.payload(section)?;
            thawed.series(&payload).map_err(|m| self.file.malformed(section, m))?;
        }
        Ok(thawed.finish())
    }
}

/// Opens the head-chunk files of a partition. Each is read through: what is in it was last looked at when it was written.
fn head_files(
    disk: &dyn Disk,
    dir: &Path,
    (index, listed): (usize, &PartitionFiles),
    is_released: impl Fn(&(TenantNo, WindowNo)) -> bool,
) -> Result<FullChunks, TsdbError> {
    let (mut full, mut any) = (FullChunks::beginning_at(listed.first), false);
    for (number, file) in (listed.first..).zip(&listed.files) {
        let path = dir.join(head_file_name(index, number));
        let exists = disk.exists(&path).map_err(TsdbError::io("look for", &path))?;
        if !exists && !any && file.windows.iter().all(&is_released) {
            full = FullChunks::beginning_at(number + 1); // removed since, oldest first, with what was in it
            continue;
        }
        let mut crc = 0;
        let content = map_whole(disk, &path, |piece| crc = crc32c::crc32c_append(crc, piece))
            .map_err(TsdbError::io("read", &path))?;
        if content.len() as u64 != file.len || crc != file.crc {
            return Err(TsdbError::corrupt(
                path.display().to_string(),
                0,
                "not the content that was written",
            ));
        }
        full.adopt(content, file);
        any = true;
    }
    Ok(full)
}

/// Puts what the snapshot has into `head`, all of it or nothing.
///
/// # Errors
/// [`TsdbError`] when the snapshot or one of its head-chunk files is not what was written.
pub async fn restore(
    found: &Arc<Snapshot>,
    head: &Arc<Head>,
    plan: &Arc<Plan>,
    dir: &Path,
    runtime: &Runtime,
) -> Result<Restored, TsdbError> {
    let head_dir = dir.join(HEAD_DIR);
    let jobs = head.partitions.iter().map(|partition| {
        let identity = *partition.read().identity();
        let (found, disk, plan, head_dir) =
            (found.clone(), runtime.disk.clone(), plan.clone(), head_dir.clone());
        runtime.cpu.run(move || found.partition(identity, &*disk, &head_dir, &plan))
    });
    let panicked =
        |_| TsdbError::corrupt(found.path().display().to_string(), 0, "loading it ended by a panic");
    let thawed = futures::future::try_join_all(jobs).await.map_err(panicked)?;
    let thawed: Vec<Thawed> = thawed.into_iter().collect::<Result<_, _>>()?;

    let mut restored = Restored { windows: BTreeSet::new(), series: 0 };
    let tenants: Vec<_> = found.manifest().tenants.iter().map(|t| TenantId::new(t)).collect();
    for (place, part) in head.partitions.iter().zip(thawed) {
        for (id, series) in tenants.iter().flatten().zip(&part.series) {
            head.tenants.get_or_add(id).remember(*series);
            restored.series += series;
        }
        restored.windows.extend(part.windows);
        *place.write() = part.partition;
    }
    head.raise_newest(found.manifest().newest_ms);
    Ok(restored)
}

/// Lets go of what was released after the snapshot was taken; gives the head-chunk files to remove, by partition.
pub fn let_go(head: &Head, plan: &Plan, windows: &BTreeSet<(TenantNo, WindowNo)>) -> Vec<(usize, u32)> {
    let mut files = Vec::new();
    for tenant in head.tenants.all() {
        for (_, window) in windows.range((tenant.number, WindowNo::MIN)..=(tenant.number, WindowNo::MAX)) {
            if let Some(last) = plan.last_released(tenant.id.as_str(), *window) {
                files.extend(head.forget_released(&tenant, *window, last));
            }
        }
    }
    files
}
