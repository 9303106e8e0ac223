//! The frame layer: a log cut at every byte, every bit flipped, and full decodes around record boundaries.

use cairn_tsdb::wal::frame::{self, Event, HEADER_BYTES, Kind, Place, Scan};
use cairn_tsdb::wal::pack::{Packer, Unpacker};
use cairn_tsdb::wal::record::BatchRecord;

const SEGMENT: u64 = 5;
const SALT: u32 = 0xC0FF_EE11;

/// A log of at least `bytes` bytes with real records; gives each frame's end.
fn log_of(bytes: usize) -> (Vec<u8>, Vec<usize>) {
    let (log, ends, _) = log_with_records(bytes);
    (log, ends)
}

/// The same with the records that it was made of.
fn log_with_records(bytes: usize) -> (Vec<u8>, Vec<usize>, Vec<BatchRecord>) {
    let (mut log, mut ends, mut records) = (Vec::new(), Vec::new(), Vec::new());
    let mut packer = Packer::new();
    let mut n = 0i64;
    while log.len() < bytes {
        let series = 1 + n % 97;
        let record = BatchRecord {
            tenant: "acme".into(),
            ids: (0..series).map(|i| i * 3 + n).collect(),
            float_counts: vec![1; series as usize],
            t_ms: (0..series).map(|i| 1_700_000_000_000 + n * 15_000 + i % 5).collect(),
            values: (0..series).map(|i| (i * n) as f64 / 7.0).collect(),
            ..BatchRecord::default()
        };
        let mut raw = Vec::new();
        record.encode(&mut raw);
        let payload = packer.pack(Kind::Batch, &raw);
        let place =
            Place { segment: SEGMENT, salt: SALT, sequence: ends.len() as u32, synced: log.len() as u64 };
        frame::encode(&mut log, &payload, place);
        ends.push(log.len());
        records.push(record);
        n += 1;
    }
    (log, ends, records)
}

fn scan(log: &[u8]) -> Scan<'_> {
    Scan::new(log, 0, SEGMENT, SALT)
}

#[test]
fn a_log_cut_at_every_byte_gives_exactly_the_frames_before_the_cut() {
    let (log, ends) = log_of(1 << 20);
    // Scanning the whole log for each of a million cuts would take hours; a cut changes nothing before the frame
    // that it is in, which the first part asserts, so the second part scans from that frame on.
    let mut at = 0;
    for (event, end) in scan(&log).zip(&ends) {
        assert!(matches!(event, Event::Frame(f) if f.offset == at));
        at = *end as u64;
    }
    assert_eq!(at, log.len() as u64);
    let mut cuts = 0usize;
    let mut start = 0;
    for &end in &ends {
        for cut in start..end {
            let mut tail = Scan::new(&log[..cut], start, SEGMENT, SALT);
            let damage = tail.next();
            if cut == start {
                assert_eq!(damage, None, "cut at {cut}");
            } else {
                assert_eq!(damage, Some(Event::Damage(start as u64..cut as u64)), "cut at {cut}");
                assert_eq!(tail.next(), None);
            }
            cuts += 1;
        }
        start = end;
    }
    assert_eq!(cuts, log.len(), "every byte was a cut");
}

#[test]
fn every_flipped_bit_of_64_kib_costs_its_own_frame_only() {
    let (mut log, ends) = log_of(64 << 10);
    let mut start = 0;
    let mut flips = 0usize;
    for (index, &end) in ends.iter().enumerate() {
        for bit in start * 8..end * 8 {
            log[bit / 8] ^= 1 << (bit % 8);
            let mut from = Scan::new(&log, start, SEGMENT, SALT);
            let damage = from.next();
            assert_eq!(damage, Some(Event::Damage(start as u64..end as u64)), "bit {bit}");
            match (from.next(), ends.get(index + 1)) {
                (Some(Event::Frame(f)), Some(_)) => assert_eq!(f.offset, end as u64),
                (None, None) => {}
                (other, _) => panic!("bit {bit}: {other:?}"),
            }
            log[bit / 8] ^= 1 << (bit % 8);
            flips += 1;
        }
        start = end;
    }
    assert_eq!(flips, log.len() * 8);
}

#[test]
fn a_full_decode_around_each_record_boundary_gives_the_records_before_it() {
    let (log, ends, records) = log_with_records(64 << 10);
    let mut unpacker = Unpacker::new();
    let mut decoded = BatchRecord::default();
    let mut cuts = 0;
    for &end in &ends {
        for cut in end.saturating_sub(16)..=(end + 16).min(log.len()) {
            let frames =
                scan(&log[..cut]).filter_map(|e| if let Event::Frame(f) = e { Some(f) } else { None });
            let mut wanted = records.iter().zip(&ends).filter(|(_, end)| **end <= cut).map(|(r, _)| r);
            for f in frames {
                decoded.decode(unpacker.unpack(&f).expect("a sound frame unpacks")).expect("and decodes");
                assert_eq!(Some(&decoded), wanted.next(), "cut at {cut}");
            }
            assert_eq!(wanted.next(), None, "cut at {cut}");
            cuts += 1;
        }
    }
    assert_eq!(cuts, ends.len() * 33 - 16, "16 bytes on either side, except behind the last record");
    assert!(ends.iter().all(|e| *e >= HEADER_BYTES));
}

#[test]
fn mutated_logs_and_records_never_panic_and_round_trip() {
    use cairn_runtime::Rng;
    use cairn_tsdb::fuzzing::fuzz_wal;
    let (log, _) = log_of(4 << 10);
    let record = BatchRecord {
        tenant: "acme".into(),
        ids: vec![1, 2, 9],
        float_counts: vec![1, 0, 2],
        t_ms: vec![5, 6, 7],
        values: vec![1.0, f64::NAN, 0.5],
        start_ms: vec![0, 1, 1],
        ..BatchRecord::default()
    };
    let mut raw = Vec::new();
    record.encode(&mut raw);
    let rng = Rng::from_seed(9);
    for seed in [log, raw] {
        fuzz_wal(&seed);
        for _ in 0..3_000 {
            let mut bytes = seed.clone();
            for _ in 0..1 + rng.below(4) {
                let at = rng.below(bytes.len() as u64) as usize;
                bytes[at] = rng.next_u64() as u8;
            }
            bytes.truncate(1 + rng.below(bytes.len() as u64) as usize);
            fuzz_wal(&bytes);
        }
    }
}
