//! What an attempt knows of its job: only what it has itself seen, in the order in which it saw it.

use ulid::Ulid;

/// Where this attempt's own folder stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Own {
    /// There is none.
    Nothing,
    /// All files were sent.
    Uploaded(Ulid),
    /// All files were read back and are what was sent.
    Verified(Ulid),
}

impl Own {
    /// The folder, if there is one.
    pub fn ulid(self) -> Option<Ulid> {
        match self {
            Own::Nothing => None,
            Own::Uploaded(u) | Own::Verified(u) => Some(u),
        }
    }
}

/// The newest record.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Newest {
    /// Not looked, or something may have changed since.
    Unknown,
    /// There was none at all.
    None,
    /// Record `n`, which no other had superseded.
    Record {
        /// Its number.
        n: u32,
        /// Its block; `None` for an empty job.
        ulid: Option<Ulid>,
    },
}

/// `meta.json` of the newest record's block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Meta {
    /// Not looked since the record was read.
    Unknown,
    /// Not there.
    Absent,
    /// There, with the record's bytes.
    Equal,
    /// There, with other bytes.
    Different,
}

/// Files of the newest record's block.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Files {
    /// Not checked since `meta.json` was seen.
    Unknown,
    /// All there with size and digest of the record.
    Sound,
    /// At least one is not.
    Unsound,
}

/// What one attempt knows. A value; [`super::decide`] is a function of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct View {
    /// Whether the job has nothing to commit.
    pub empty: bool,
    /// The attempt's time is up.
    pub expired: bool,
    /// The attempt's own folder.
    pub own: Own,
    /// A create of a record naming the own folder was sent and not answered: it may still happen.
    pub create_unanswered: bool,
    /// The newest record.
    pub newest: Newest,
    /// Its `meta.json`.
    pub meta: Meta,
    /// Its files.
    pub files: Files,
    /// Whether the job is marked as retired; `None` when not looked.
    pub retired: Option<bool>,
}

impl View {
    /// Nothing is known.
    pub fn new(empty: bool) -> Self {
        View {
            empty,
            expired: false,
            own: Own::Nothing,
            create_unanswered: false,
            newest: Newest::Unknown,
            meta: Meta::Unknown,
            files: Files::Unknown,
            retired: None,
        }
    }

    /// The records have to be read again; so what was seen of their block no longer counts.
    pub fn forget_records(&mut self) {
        self.newest = Newest::Unknown;
        self.meta = Meta::Unknown;
        self.files = Files::Unknown;
        self.retired = None;
    }

    /// Notes the newest record.
    pub fn saw_newest(&mut self, newest: Newest) {
        self.forget_records();
        self.newest = newest;
    }

    /// Notes the `meta.json`. Files checked before do not count: a check must follow it.
    pub fn saw_meta(&mut self, meta: Meta) {
        self.meta = meta;
        if meta != Meta::Absent {
            self.files = Files::Unknown;
        }
    }
}
