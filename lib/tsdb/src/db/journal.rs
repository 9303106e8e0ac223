//! The log as the database uses it: fences, segments that introduce themselves, and which segments are still needed.
//!
//! Requests hold the *shared* side of the fence from before they apply until their frame is queued. Whoever holds
//! the exclusive side knows that no request is in between, so a control frame separates requests exactly.
//!
//! Invariants: the first frame of a segment repeats the table of closed windows; a segment is removed, oldest first,
//! when no generation in it is needed any more and the table of a later segment is durable.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Mutex, RwLock, RwLockReadGuard, RwLockWriteGuard};

use crate::head::Head;
use crate::head::series::{TenantNo, WindowNo};
use crate::head::tenant::Tenant;
use crate::wal::frame::Kind;
use crate::wal::log::{Log, Outcome};
use crate::wal::pack::Packer;
use crate::wal::record::{Control, ControlKind, RecordView, encode_controls};

/// Entries of a frame of the table of closed windows: with the longest tenant names about 1 MiB.
const MAX_CONTROLS: usize = 4096;

/// Families of a frame of metadata: a family has at most some kilobytes of texts, so a frame a few megabytes, far below
/// what a frame may hold.
const MAX_FAMILIES: usize = 1024;

/// One generation of a window of a tenant.
pub type GenerationKey = (TenantNo, WindowNo, u32);

/// The log with its fence.
pub struct Journal {
    log: Log,
    fence: RwLock<()>,
    /// The segment whose first frame was queued.
    introduced: AtomicU64,
    segment_bytes: u64,
    /// What each segment holds.
    contents: Mutex<BTreeMap<u64, BTreeSet<GenerationKey>>>,
}

/// The shared side of the fence, and the segment to encode for.
pub struct Entered<'a> {
    /// The segment.
    pub segment: u64,
    _fence: RwLockReadGuard<'a, ()>,
}

/// The exclusive side of the fence.
pub struct Fence<'a> {
    journal: &'a Journal,
    _fence: RwLockWriteGuard<'a, ()>,
}

impl Journal {
    /// Uses `log`; a segment that reaches `segment_bytes` is followed by the next.
    pub fn new(log: Log, segment_bytes: u64) -> Self {
        Journal {
            log,
            fence: RwLock::new(()),
            introduced: AtomicU64::new(0),
            segment_bytes,
            contents: Mutex::default(),
        }
    }

    /// The log.
    pub fn log(&self) -> &Log {
        &self.log
    }

    /// Enters the shared side, beginning a new segment when the present one is full or was given up.
    pub fn enter(&self, head: &Head) -> Entered<'_> {
        loop {
            let fence = self.fence.read();
            let segment = self.log.segment();
            if self.introduced.load(Ordering::Acquire) == segment
                && self.log.segment_bytes() < self.segment_bytes
            {
                return Entered { segment, _fence: fence };
            }
            drop(fence);
            self.fence().segment(head);
        }
    }

    /// Takes the exclusive side.
    pub fn fence(&self) -> Fence<'_> {
        Fence { journal: self, _fence: self.fence.write() }
    }

    /// Notes that `segment` holds samples of a generation.
    pub fn note(&self, segment: u64, key: GenerationKey) {
        let mut contents = self.contents.lock();
        let keys = contents.entry(segment).or_default();
        if !keys.contains(&key) {
            keys.insert(key);
        }
    }

    /// The last segment that nobody needs with all before it; 0 for none. Segments from `below` on stay.
    pub fn unneeded_through(&self, below: u64, needed: impl Fn(&GenerationKey) -> bool) -> u64 {
        // A copy: `needed` asks windows, and writers who hold those wait for the contents.
        let contents = self.contents.lock().clone();
        let mut last = 0;
        for (segment, keys) in &contents {
            if *segment >= below || keys.iter().any(&needed) {
                return last.max(segment.min(&below).saturating_sub(1));
            }
            last = *segment;
        }
        last.max(below.saturating_sub(1))
    }

    /// Forgets the contents of segments up to `last`.
    pub fn forget_through(&self, last: u64) {
        let mut contents = self.contents.lock();
        *contents = contents.split_off(&(last + 1));
    }

    /// What the segments hold, in order: a snapshot says it, and two of the same head are the same.
    pub fn contents(&self) -> Vec<(u64, GenerationKey)> {
        let contents = self.contents.lock();
        contents.iter().flat_map(|(segment, keys)| keys.iter().map(|key| (*segment, *key))).collect()
    }

    /// Segments that are kept because of their contents.
    pub fn segments(&self) -> usize {
        self.contents.lock().len()
    }
}

impl Fence<'_> {
    /// Queues control entries behind everything that was applied before the fence.
    pub fn submit_controls(&self, controls: &[Control], segment: u64) -> Outcome {
        let mut raw = Vec::new();
        encode_controls(&mut raw, controls);
        self.journal.log.submit(Packer::new().pack(Kind::Control, &raw), segment)
    }

    /// The segment to encode for, with its table of closed windows queued as its first frame. Begins a new one when
    /// the present one is full or was given up.
    pub fn segment(&self, head: &Head) -> u64 {
        let Journal { log, introduced, segment_bytes, .. } = self.journal;
        if introduced.load(Ordering::Acquire) == log.segment() && log.segment_bytes() >= *segment_bytes {
            log.begin_segment();
        }
        let segment = log.segment();
        if introduced.load(Ordering::Acquire) != segment {
            // The outcomes are not waited for: when a frame of a segment fails, all later ones of it fail too.
            for controls in closed_windows(head).chunks(MAX_CONTROLS) {
                drop(self.submit_controls(controls, segment));
            }
            self.submit_metadata(head, segment);
            introduced.store(segment, Ordering::Release);
        }
        segment
    }

    /// Metadata has no window that would keep its segment alive, so each segment begins with all of it.
    fn submit_metadata(&self, head: &Head, segment: u64) {
        for raw in head.tenants.all().iter().flat_map(|tenant| metadata_records(tenant)) {
            drop(self.journal.log.submit(Packer::new().pack(Kind::Batch, &raw), segment));
        }
    }
}

/// The metadata of a tenant as records.
pub fn metadata_records(tenant: &Tenant) -> impl Iterator<Item = Vec<u8>> + use<> {
    let metadata: Vec<_> = tenant.metadata.read().iter().map(|(f, m)| (f.clone(), m.clone())).collect();
    let record = |part: &[_]| {
        let mut raw = Vec::new();
        RecordView { tenant: tenant.id.as_str(), metadata: part, ..RecordView::default() }.encode(&mut raw);
        raw
    };
    metadata.chunks(MAX_FAMILIES).map(record).collect::<Vec<_>>().into_iter()
}

/// The table of closed windows, as the first frame of a segment repeats it.
pub fn closed_windows(head: &Head) -> Vec<Control> {
    let length_ms = head.options.window_ms;
    let mut controls = Vec::new();
    for tenant in head.tenants.all() {
        let windows = tenant.windows.lock();
        let entry = |what, window: WindowNo, generation| Control {
            what,
            tenant: tenant.id.as_str().to_owned(),
            window_ms: i64::from(window) * length_ms,
            length_ms: length_ms as u64,
            generation,
        };
        if let Some((floor, accepting)) = windows.floor() {
            controls.push(entry(ControlKind::Floor, floor, accepting));
        }
        for (window, state) in windows.iter().filter(|(_, s)| s.accepting > 0) {
            let last = state.accepting - 1;
            controls.push(entry(ControlKind::Closed, window, last));
            let released = if state.sealed { last.checked_sub(1) } else { Some(last) };
            if let Some(released) = released {
                controls.push(entry(ControlKind::Released, window, released));
            }
        }
    }
    controls
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use cairn_runtime::{MemDisk, Runtime, TcpNet};

    use super::*;
    use crate::wal::{LogOptions, SyncMode};

    /// A writer notes what a segment holds while it has its tenant's windows locked, and who asks which segments are
    /// needed locks those windows: with the contents locked meanwhile the two would wait for one another.
    #[test]
    fn nothing_is_locked_while_windows_are_asked_whether_a_segment_is_needed() {
        let machine = Runtime::simulated(1, 0, Arc::new(TcpNet), Arc::new(MemDisk::new()));
        let options = LogOptions { dir: "/wal".into(), sync: SyncMode::Always };
        let journal = Journal::new(Log::open(&options, 0, &machine).unwrap(), 1 << 20);
        journal.note(1, (0, 5, 0));
        journal.note(2, (0, 6, 0));
        let needed = |key: &GenerationKey| {
            assert!(journal.contents.try_lock().is_some(), "a writer would wait here");
            key.1 == 6
        };
        assert_eq!(journal.unneeded_through(9, needed), 1);
    }
}
