//! The engine as a whole: head, log and blocks over a disk that crashes and fails.

mod bounds;
mod concurrent;
mod cores;
mod differential;
mod doubt;
mod early;
mod faults;
mod memory;
mod model;
mod parts;
mod seal;
mod snapshot;
mod support;
mod values;
mod wal_frames;
