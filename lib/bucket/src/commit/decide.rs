//! The commit protocol as one pure function: what an attempt knows → what it does next.
//!
//! Each arm is a clause of the protocol; the ADR on the commit protocol tells why.

use ulid::Ulid;

use super::view::{Files, Meta, Newest, Own, View};

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// Find the newest record.
    ReadRecords,
    /// Send all files into a folder under a fresh ULID.
    Upload,
    /// Read all files of the own folder back.
    ReadBack(Ulid),
    /// Create record `n`, naming the own folder, or none for an empty job.
    CreateRecord {
        /// Number of the record.
        n: u32,
        /// The own, verified folder.
        ulid: Option<Ulid>,
    },
    /// Look whether the job's block was deleted on purpose.
    ReadRetired,
    /// Look at the `meta.json` of the record's block.
    ReadMeta(Ulid),
    /// Create the `meta.json` with the record's bytes.
    CreateMeta(Ulid),
    /// Check every file of the record's block against the record.
    CheckFiles(Ulid),
    /// Remove the `meta.json` of a block whose files are unsound, before another record supersedes it.
    WithdrawMeta(Ulid),
    /// Delete the own folder, which lost.
    DiscardOwn(Ulid),
    /// Done; the block of record `n` holds the job's data, or there was none.
    Done {
        /// Number of the newest record.
        n: u32,
        /// Its block.
        ulid: Option<Ulid>,
    },
    /// Done long ago: the block was replaced or its time was over, and it was deleted on purpose.
    Retired,
    /// Stop without result; another attempt will start from the bucket's state.
    GiveUp,
}

/// The next step of an attempt that knows `v`.
pub fn decide(v: &View) -> Step {
    if v.expired {
        return Step::GiveUp;
    }
    match v.newest {
        Newest::Unknown => Step::ReadRecords,
        Newest::None => make(v, 0),
        Newest::Record { n, ulid } => match v.own.ulid() {
            // Only who has read the record and found another ULID deletes its own folder, and not while a create
            // that names it may still happen.
            Some(own) if Some(own) != ulid && !v.create_unanswered && !superseding(v) => {
                Step::DiscardOwn(own)
            }
            _ => match ulid {
                None => Step::Done { n, ulid: None },
                Some(ulid) => publish(v, n, ulid),
            },
        },
    }
}

/// Whether the own folder is there to supersede the newest record, whose block was found unsound.
fn superseding(v: &View) -> bool {
    v.files == Files::Unsound || v.meta == Meta::Different
}

/// Towards record `n`, of which there is none yet.
fn make(v: &View, n: u32) -> Step {
    if v.empty {
        return Step::CreateRecord { n, ulid: None };
    }
    match v.own {
        Own::Nothing => Step::Upload,
        Own::Uploaded(u) => Step::ReadBack(u),
        Own::Verified(u) => Step::CreateRecord { n, ulid: Some(u) },
    }
}

/// From the newest record to a block that was seen whole after its `meta.json`.
fn publish(v: &View, n: u32, ulid: Ulid) -> Step {
    let unsound = v.files == Files::Unsound || v.meta == Meta::Different;
    let suspicious = unsound || v.meta == Meta::Absent;
    match v.retired {
        Some(true) => return Step::Retired,
        None if suspicious => return Step::ReadRetired,
        _ => {}
    }
    if unsound {
        return supersede(v, n, ulid);
    }
    match (v.meta, v.files) {
        (Meta::Unknown, _) => Step::ReadMeta(ulid),
        (Meta::Absent, _) => Step::CreateMeta(ulid),
        (_, Files::Sound) => Step::Done { n, ulid: Some(ulid) },
        _ => Step::CheckFiles(ulid),
    }
}

/// Replaces the unsound block of record `n`: first a sound folder, then its `meta.json` goes, then record n + 1.
fn supersede(v: &View, n: u32, unsound: Ulid) -> Step {
    if v.empty {
        // Nothing here could replace it: whoever has the data must.
        return Step::GiveUp;
    }
    match v.own {
        Own::Verified(u) if u != unsound && v.meta != Meta::Absent => {
            let _ = u;
            Step::WithdrawMeta(unsound)
        }
        own if own.ulid() == Some(unsound) => Step::Upload,
        _ => make(v, n + 1),
    }
}
