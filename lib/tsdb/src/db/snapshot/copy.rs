//! What a snapshot holds of the head, copied slice by slice and written piece by piece.
//!
//! Locks of partitions are held by the event loop's threads, only to copy; encoding series and writing are background
//! work. A background thread is put aside for any other, and writers would wait for it as long as it held a lock.

use std::path::Path;
use std::sync::Arc;

use cairn_runtime::cpu::Panicked;
use hashbrown::HashMap;

use super::take::by_number;
use crate::db::Db;
use crate::db::journal::metadata_records;
use crate::error::TsdbError;
use crate::head::Head;
use crate::head::frozen::Copies;
use crate::head::series::TenantNo;
use crate::head::tenant::Tenant;
use crate::snapshot::file::{SectionKind, SnapshotWriter};
use crate::wal::record::{Control, RecordView, encode_controls};

/// Payload of a section, about. Judgement: a background thread is started for each.
const SECTION_BYTES: usize = 512 << 10;

/// Series copied under one lock. Judgement: about 20 µs.
const SLICE_SERIES: u32 = 64;

/// Series copied before requests get their turn. Judgement: a request takes longer; with shorter turns the copy of a
/// million series would take too long while there are many requests, and the log behind its mark would grow.
const TURN_SERIES: u32 = 8 * SLICE_SERIES;

/// Label pairs copied under one lock and in one turn. Judgement: about as long as a turn of series.
const SLICE_PAIRS: u32 = 1024;

/// Exemplars of a record.
const RECORD_EXEMPLARS: usize = 4096;

impl Db {
    /// Begins a file, with the fences before its mark.
    pub(super) async fn begin_file(
        &self,
        dir: &Path,
        name: String,
        controls: Vec<Control>,
    ) -> Result<SnapshotWriter, TsdbError> {
        let (disk, dir) = (self.runtime.disk.clone(), dir.to_owned());
        self.behind(move || {
            let mut writer = SnapshotWriter::create(disk, &dir, &name)?;
            let mut payload = Vec::new();
            encode_controls(&mut payload, &controls);
            writer.section(SectionKind::Controls, (0, 0), &payload)?;
            Ok(writer)
        })
        .await
    }

    /// Writes everything but the manifest.
    pub(super) async fn copy_head(&self, mut writer: SnapshotWriter) -> Result<SnapshotWriter, TsdbError> {
        for index in 0..self.head.partitions.len() {
            writer = self.copy_series(index, writer).await?;
            // After the series, so that every pair that one of them has is there.
            for tenant in by_number(&self.head) {
                writer = self.copy_labels(index, tenant.number, writer).await?;
            }
        }
        for tenant in by_number(&self.head) {
            writer = self.copy_records(tenant, writer).await?;
        }
        Ok(writer)
    }

    async fn copy_records(
        &self,
        tenant: Arc<Tenant>,
        mut writer: SnapshotWriter,
    ) -> Result<SnapshotWriter, TsdbError> {
        let (head, number) = (self.head.clone(), tenant.number);
        // Not in the background: they are copied under locks that writers take.
        let copying = self.runtime.cpu.run(move || {
            metadata_records(&tenant).chain(exemplar_records(&head, &tenant)).collect::<Vec<_>>()
        });
        let records = copying.await.map_err(panicked)?;
        self.behind(move || {
            for record in records {
                writer.section(SectionKind::Record, (0, number), &record)?;
            }
            Ok(writer)
        })
        .await
    }

    async fn copy_series(
        &self,
        index: usize,
        mut writer: SnapshotWriter,
    ) -> Result<SnapshotWriter, TsdbError> {
        let partition = &self.head.partitions[index];
        let (mut copies, mut payload) = (Copies::default(), Vec::new());
        let (mut next, end) = (0, partition.read().slots_end());
        while next < end {
            copies.clear();
            while next < end && copies.bytes() < SECTION_BYTES {
                let turn_end = end.min(next + TURN_SERIES);
                while next < turn_end {
                    let slice = next..turn_end.min(next + SLICE_SERIES);
                    next = slice.end;
                    copies.add(&partition.read(), slice);
                }
                tokio::task::yield_now().await;
            }
            let writing = self.behind(move || {
                payload.clear();
                copies.encode(&mut payload);
                writer.section(SectionKind::Series, (index as u16, 0), &payload)?;
                Ok((writer, copies, payload))
            });
            (writer, copies, payload) = writing.await?;
        }
        Ok(writer)
    }

    async fn copy_labels(
        &self,
        index: usize,
        tenant: TenantNo,
        mut writer: SnapshotWriter,
    ) -> Result<SnapshotWriter, TsdbError> {
        let (partition, place) = (&self.head.partitions[index], (index as u16, tenant));
        // Pairs that are added from here on belong to series that the snapshot does not have, as do names.
        let (mut next, end) = (0, partition.read().pairs_end(tenant));
        let mut payload = Vec::new();
        if !partition.read().freeze_index(tenant, &mut payload) {
            return Ok(writer);
        }
        let mut kind = SectionKind::Index;
        loop {
            let writing = self.behind(move || {
                writer.section(kind, place, &payload)?;
                Ok((writer, payload))
            });
            (writer, payload) = writing.await?;
            if next == end {
                return Ok(writer);
            }
            kind = SectionKind::Pairs;
            payload.clear();
            while next < end && payload.len() < SECTION_BYTES {
                let slice = next..end.min(next + SLICE_PAIRS);
                next = slice.end;
                partition.read().freeze_pairs(tenant, slice, &mut payload);
                tokio::task::yield_now().await;
            }
        }
    }

    /// Runs a step of a snapshot in the background.
    pub(super) async fn behind<T: Send + 'static>(
        &self,
        step: impl FnOnce() -> Result<T, TsdbError> + Send + 'static,
    ) -> Result<T, TsdbError> {
        self.runtime.cpu.run_behind(step).await.map_err(panicked)?
    }
}

fn panicked(_: Panicked) -> TsdbError {
    TsdbError::corrupt("head snapshot", 0, "taking it ended by a panic")
}

/// The exemplars of a tenant as records of the log, in order of arrival.
fn exemplar_records(head: &Head, tenant: &Tenant) -> impl Iterator<Item = Vec<u8>> {
    let kept = tenant.exemplars.lock().in_range(i64::MIN, i64::MAX).cloned().collect::<Vec<_>>();
    let record = |part: &[(u64, _)]| {
        let (mut ids, mut index_of) = (Vec::new(), HashMap::new());
        let mut exemplars = Vec::new();
        for (reference, exemplar) in part {
            let Some(id) = head.log_id_of(*reference) else { continue };
            let index = *index_of.entry(id).or_insert_with(|| {
                ids.push(id as i64);
                ids.len() as u32 - 1
            });
            exemplars.push((index, exemplar));
        }
        let tenant = tenant.id.as_str();
        let mut raw = Vec::new();
        RecordView { tenant, ids: &ids, exemplars: &exemplars, ..RecordView::default() }.encode(&mut raw);
        raw
    };
    kept.chunks(RECORD_EXEMPLARS).map(record).collect::<Vec<_>>().into_iter()
}

#[cfg(test)]
mod tests;
