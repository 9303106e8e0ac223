//! The first pass: where the frames are, and what was released.

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use bytes::Bytes;
use cairn_model::TenantId;
use cairn_runtime::Disk;
use hashbrown::HashMap;
use tracing::warn;

use super::ReplayReport;
use crate::db::snapshot::load::Snapshot;
use crate::error::TsdbError;
use crate::head::Head;
use crate::head::chunks::window_of;
use crate::head::series::WindowNo;
use crate::head::tenant::Tenant;
use crate::mapped::map_whole;
use crate::wal::frame::{Compression, Frame, HEADER_BYTES, Kind, Verdict, classify};
use crate::wal::log::list;
use crate::wal::pack::Unpacker;
use crate::wal::record::{Control, ControlKind, decode_controls};
use crate::wal::replay::{Finding, Found, scan_segment};
use crate::wal::segment::{SegmentId, decode_header};

/// Compressed bytes of a group. Judgement: some 500,000 samples, about 15 MB decoded, enough to keep cores busy.
const GROUP_BYTES: usize = 2 << 20;

/// One thing to replay.
#[derive(Debug, Clone)]
pub enum Item {
    /// A frame of segment number `segment` of the plan.
    Frame(FramePlace),
    /// Here something is missing in the segment of this number.
    Damage(u64),
}

/// A frame without its payload.
#[derive(Debug, Clone, Copy)]
pub struct FramePlace {
    segment: u32,
    offset: u64,
    stored_len: u32,
    raw_len: u32,
    kind: Kind,
    compression: Compression,
}

struct Segment {
    id: SegmentId,
    content: Bytes,
    /// What the next segment says of it, then the greatest synced mark.
    synced_below: u64,
}

/// What is to be replayed, and what is not.
pub struct Plan {
    segments: Vec<Segment>,
    items: Vec<Item>,
    findings: Vec<Finding>,
    /// Tenants with fences.
    pub tenants: HashMap<String, Arc<Tenant>>,
    /// Last released generation.
    released: HashMap<String, HashMap<WindowNo, u32>>,
    newest_segment: u64,
}

impl Plan {
    /// Reads the segments in `wal`, of those that `snapshot` covers only what is behind its mark; tenants and their
    /// windows are made in `head`.
    pub fn make(
        disk: &dyn Disk,
        wal: &Path,
        head: &Head,
        snapshot: Option<&Snapshot>,
    ) -> Result<Plan, TsdbError> {
        let mark = snapshot.map(Snapshot::mark);
        let (segments, newest_segment) = load(disk, wal, mark.map_or(0, |m| m.segment))?;
        let mut plan = Plan {
            segments,
            items: Vec::new(),
            findings: Vec::new(),
            tenants: HashMap::new(),
            released: HashMap::new(),
            newest_segment,
        };
        let mut unpacker = Unpacker::new();
        snapshot.iter().flat_map(|s| &s.controls).for_each(|c| plan.learn(c, head));
        let mut marked = false;
        for index in 0..plan.segments.len() {
            let Segment { id, content, synced_below } = &plan.segments[index];
            let (id, content) = (*id, content.clone());
            let scanned = scan_segment(&content, id, *synced_below);
            plan.segments[index].synced_below = scanned.synced_below;
            for found in &scanned.found {
                let frame = match found {
                    Found::Frame(frame) => frame,
                    // Behind an unfinished write lies nothing that was promised, so no fence either.
                    Found::Damage(range) if classify(range, scanned.synced_below) == Verdict::TornTail => {
                        continue;
                    }
                    Found::Damage(_) => {
                        plan.items.push(Item::Damage(id.number));
                        continue;
                    }
                };
                if frame.kind == Kind::Control
                    && let Ok(controls) = unpacker.unpack(frame).and_then(decode_controls)
                {
                    controls.iter().for_each(|c| plan.learn(c, head));
                    if mark
                        .is_some_and(|m| m.segment == id.number && controls.iter().any(|c| c.is_mark(m.id)))
                    {
                        // The snapshot has what came before.
                        plan.items.clear();
                        marked = true;
                        continue;
                    }
                }
                plan.items.push(Item::Frame(FramePlace {
                    segment: index as u32,
                    offset: frame.offset,
                    stored_len: frame.payload.len() as u32,
                    raw_len: frame.raw_len,
                    kind: frame.kind,
                    compression: frame.compression,
                }));
            }
            plan.findings.extend(scanned.findings);
        }
        if let Some(mark) = mark.filter(|_| !marked) {
            // What stands before it is replayed too: repeats change nothing.
            warn!(segment = mark.segment, "the mark of the head snapshot is not in the log any more");
        }
        Ok(plan)
    }

    /// The report as far as the first pass knows it.
    pub fn report(&self) -> ReplayReport {
        ReplayReport {
            newest_segment: self.newest_segment,
            segments: self.segments.len(),
            bytes: self.segments.iter().map(|s| s.content.len() as u64).sum(),
            frames: self.items.iter().filter(|i| matches!(i, Item::Frame(_))).count() as u64,
            findings: self.findings.clone(),
            ..ReplayReport::default()
        }
    }

    /// Ranges of items that are decoded and applied together.
    pub fn groups(&self) -> Vec<Range<usize>> {
        let (mut groups, mut start, mut bytes) = (Vec::new(), 0, 0);
        for (i, item) in self.items.iter().enumerate() {
            if let Item::Frame(place) = item {
                bytes += place.stored_len as usize;
            }
            if bytes >= GROUP_BYTES {
                groups.push(start..i + 1);
                (start, bytes) = (i + 1, 0);
            }
        }
        if start < self.items.len() {
            groups.push(start..self.items.len());
        }
        groups
    }

    /// Items by index.
    pub fn items(&self, range: Range<usize>) -> &[Item] {
        &self.items[range]
    }

    /// A frame with its payload, and its segment's number.
    pub fn frame(&self, place: FramePlace) -> (Frame<'_>, u64) {
        let FramePlace { segment, offset, stored_len, raw_len, kind, compression } = place;
        let Segment { id, content, .. } = &self.segments[segment as usize];
        let start = offset as usize + HEADER_BYTES;
        let payload = &content[start..start + stored_len as usize];
        (Frame { offset, kind, compression, raw_len, sequence: 0, synced: 0, payload }, id.number)
    }

    /// What it means that a frame does not decode.
    pub fn finding(&self, place: FramePlace, what: &'static str) -> Finding {
        let segment = &self.segments[place.segment as usize];
        let range = place.offset..place.offset + HEADER_BYTES as u64 + u64::from(place.stored_len);
        let verdict = classify(&range, segment.synced_below);
        Finding { segment: segment.id.file_name(), range, verdict, what }
    }

    /// Whether a generation is in a verified block.
    pub fn is_released(&self, tenant: &str, window: WindowNo, generation: u32) -> bool {
        self.last_released(tenant, window).is_some_and(|last| generation <= last)
    }

    /// The last generation of a window that is in a verified block, with those before it.
    pub fn last_released(&self, tenant: &str, window: WindowNo) -> Option<u32> {
        self.released.get(tenant).and_then(|windows| windows.get(&window)).copied()
    }

    fn learn(&mut self, c: &Control, head: &Head) {
        let Some(window) = window_of_control(c, head) else { return };
        let Ok(id) = TenantId::new(&c.tenant) else {
            warn!(tenant = %c.tenant, "the log names a tenant that is none");
            return;
        };
        let tenant = self.tenants.entry(c.tenant.clone()).or_insert_with(|| head.tenants.get_or_add(&id));
        let mut windows = tenant.windows.lock();
        match c.what {
            ControlKind::Closed => windows.restore_closed(window, c.generation),
            ControlKind::Released => {
                windows.restore_released(window, c.generation);
                let released = self.released.entry(c.tenant.clone()).or_default();
                let last = released.entry(window).or_insert(c.generation);
                *last = c.generation.max(*last);
            }
            ControlKind::Floor => windows.restore_floor(window, c.generation),
            ControlKind::Mark => {}
        }
    }
}

/// The window of a control entry, if it is of the present length. Windows of another length (the block duration was
/// changed) are forgotten: their samples are replayed as new, and the blocks that hold them are merged with.
pub fn window_of_control(c: &Control, head: &Head) -> Option<WindowNo> {
    let length_ms = head.options.window_ms;
    (c.length_ms == length_ms as u64).then(|| window_of(c.window_ms, length_ms)).flatten()
}

/// The disk does not give a log segment: what to do.
pub(in crate::db) fn unreadable<'a>(
    verb: &'static str,
    path: &'a Path,
) -> impl FnOnce(std::io::Error) -> TsdbError + 'a {
    let next = "start again when the disk answers, or move the file away to start without its samples";
    move |source| TsdbError::Io { verb, object: format!("log segment {} ({next})", path.display()), source }
}

/// The segments from `first` on, and the number of the newest there is.
fn load(disk: &dyn Disk, wal: &Path, first: u64) -> Result<(Vec<Segment>, u64), TsdbError> {
    let found = list(disk, wal).map_err(TsdbError::io("list", wal))?;
    let mut segments: Vec<Segment> = Vec::new();
    // Where a snapshot's segment is gone with the folder, numbers still go on behind it.
    let mut newest = first;
    for ((_, id), _) in found {
        newest = newest.max(id.number);
        if id.number < first {
            continue;
        }
        let path = wal.join(id.file_name());
        // Going on without it would lose more than its samples: the fences in it too, so that windows would be cut again
        // under numbers that their blocks have.
        let content = map_whole(disk, &path, |_| {}).map_err(unreadable("read", &path))?;
        if let Some(before) = decode_header(&content, id)
            && let Some(previous) = segments.last_mut()
            && previous.id.number == before.number
        {
            previous.synced_below = before.synced;
        }
        segments.push(Segment { id, content, synced_below: 0 });
    }
    Ok((segments, newest))
}
