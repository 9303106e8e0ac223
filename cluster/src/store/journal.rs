//! The journal's frames.
//!
//! One file, `raft/journal`, of frames `magic u32 | length u32 | CRC32C(length ‖ payload) u32 | payload`, all
//! little-endian; the payload is a [`Record`] as JSON. The state is what the records say in order. A frame that
//! is cut or damaged at the end is a torn write of something that was never acknowledged and is cut off; one
//! that is followed by a sound frame is corruption, which ends the start with an error.

use openraft::alias::{EntryOf, LogIdOf, VoteOf};
use serde::{Deserialize, Serialize};

use super::RaftTypes;

/// "CRJ1".
const MAGIC: u32 = 0x314a_5243;
/// Bytes before the payload.
const HEADER_BYTES: usize = 12;
/// Largest payload: bounds what a damaged length can make us read.
const MAX_PAYLOAD_BYTES: usize = 16 << 20;

/// One step of the journal.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Record {
    /// First record: version of this format.
    Version(u32),
    /// The vote that was given.
    Vote(VoteOf<RaftTypes>),
    /// An entry of the log.
    Entry(EntryOf<RaftTypes>),
    /// Entries behind this one are void.
    TruncateAfter(Option<LogIdOf<RaftTypes>>),
    /// Entries up to this one are gone.
    Purge(LogIdOf<RaftTypes>),
    /// Entries up to this one are committed.
    Committed(Option<LogIdOf<RaftTypes>>),
}

/// Damage before the end of the journal.
#[derive(Debug, thiserror::Error)]
#[error(
    "raft journal is corrupt at offset {offset}: {reason}; restore the folder raft/ from a backup, or move it away \
     to found the node anew"
)]
pub struct JournalError {
    /// Where the damaged frame begins.
    pub offset: usize,
    /// What is wrong with it.
    pub reason: String,
}

/// Appends the frame of `record`.
pub fn encode_record(out: &mut Vec<u8>, record: &Record) {
    let payload = serde_json::to_vec(record).expect("records have only string keys");
    assert!(payload.len() <= MAX_PAYLOAD_BYTES, "a raft record of {} bytes", payload.len());
    let length = (payload.len() as u32).to_le_bytes();
    let crc = crc32c::crc32c_append(crc32c::crc32c(&length), &payload);
    out.extend_from_slice(&MAGIC.to_le_bytes());
    out.extend_from_slice(&length);
    out.extend_from_slice(&crc.to_le_bytes());
    out.extend_from_slice(&payload);
}

/// Reads all frames; gives the records and the length of the sound part.
///
/// # Errors
/// [`JournalError`] when a damaged frame is followed by a sound one.
pub fn decode_journal(bytes: &[u8]) -> Result<(Vec<Record>, usize), JournalError> {
    let (mut records, mut at) = (Vec::new(), 0);
    while at < bytes.len() {
        match decode_frame(&bytes[at..]) {
            Ok((record, length)) => {
                records.push(record);
                at += length;
            }
            Err(reason) => {
                let later = (at + 1..bytes.len()).any(|i| decode_frame(&bytes[i..]).is_ok());
                if later {
                    return Err(JournalError { offset: at, reason });
                }
                break;
            }
        }
    }
    Ok((records, at))
}

fn decode_frame(bytes: &[u8]) -> Result<(Record, usize), String> {
    let field = |i: usize| {
        bytes
            .get(i * 4..i * 4 + 4)
            .map(|b| u32::from_le_bytes(b.try_into().expect("four bytes")))
            .ok_or("cut header")
    };
    if field(0)? != MAGIC {
        return Err("wrong magic number".to_owned());
    }
    let length = field(1)? as usize;
    let crc = field(2)?;
    if length > MAX_PAYLOAD_BYTES {
        return Err(format!("length {length} above {MAX_PAYLOAD_BYTES}"));
    }
    let payload = bytes.get(HEADER_BYTES..HEADER_BYTES + length).ok_or("cut payload")?;
    // A build for fuzzing takes any checksum, so that what lies behind it is tried.
    if !cfg!(fuzzing) && crc32c::crc32c_append(crc32c::crc32c(&bytes[4..8]), payload) != crc {
        return Err("checksum mismatch".to_owned());
    }
    let record = serde_json::from_slice(payload).map_err(|e| e.to_string())?;
    Ok((record, HEADER_BYTES + length))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn journal(n: u32) -> (Vec<u8>, Vec<usize>) {
        let (mut bytes, mut ends) = (Vec::new(), Vec::new());
        for i in 0..n {
            encode_record(&mut bytes, &Record::Version(i));
            ends.push(bytes.len());
        }
        (bytes, ends)
    }

    #[test]
    fn a_journal_cut_anywhere_keeps_every_whole_frame() {
        let (bytes, ends) = journal(5);
        for cut in 0..=bytes.len() {
            let (records, sound) = decode_journal(&bytes[..cut]).unwrap();
            let whole = ends.iter().filter(|e| **e <= cut).count();
            assert_eq!(records.len(), whole, "cut at {cut}");
            assert_eq!(sound, if whole == 0 { 0 } else { ends[whole - 1] });
        }
    }

    #[test]
    fn every_flipped_bit_is_noticed() {
        let (bytes, ends) = journal(3);
        for bit in 0..bytes.len() * 8 {
            let mut damaged = bytes.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            match decode_journal(&damaged) {
                Err(e) => assert!(e.offset <= bit / 8),
                Ok((records, _)) => {
                    assert!(records.len() < 3 && bit / 8 >= ends[records.len().saturating_sub(1)] - ends[0]);
                }
            }
        }
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let _ = decode_journal(&bytes);
        }
    }
}
