//! What lies on a disk or in a bucket.

use cairn_bucket::commit::CommitRecord;
use cairn_tsdb::wal::replay::scan_segment;
use cairn_tsdb::wal::segment::SegmentId;

/// A segment of the log; its salt is taken from the first bytes, as a file's name names it. The same bytes are tried
/// as frames without a file, and as a record in a sound frame.
pub fn wal(data: &[u8]) {
    cairn_tsdb::fuzzing::fuzz_wal(data);
    let Some((salt, bytes)) = data.split_first_chunk() else { return };
    let id = SegmentId { number: 1, salt: u32::from_le_bytes(*salt) };
    let scanned = scan_segment(bytes, id, 0);
    assert!(
        scanned.findings.iter().all(|f| f.range.end <= bytes.len() as u64),
        "damage lies inside the file"
    );
}

/// The journal of the control plane.
pub fn raft_journal(data: &[u8]) {
    if let Ok((_, sound)) = cairn_cluster::store::decode_journal(data) {
        assert!(sound <= data.len(), "the sound part lies inside the file");
    }
}

/// The object that decides which block a job has.
pub fn commit_record(data: &[u8]) {
    let Ok(record) = CommitRecord::from_json("fuzz", data) else { return };
    let again = CommitRecord::from_json("fuzz", &record.to_json());
    assert_eq!(again.as_ref().ok(), Some(&record), "what is read is written back");
}
