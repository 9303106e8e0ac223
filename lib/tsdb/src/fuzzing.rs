//! Entry points of the fuzz targets: each takes any bytes and must return. Tests replay mutated data through the
//! same functions.

use std::path::Path;

use bytes::Bytes;
use cairn_model::{Encoding, Matcher, NameSet};

use crate::block::{aggr, segment};
use crate::chunkenc::{ChunkDecoder, decode_floats};
use crate::head::frozen::thaw;
use crate::head::full::FullChunks;
use crate::head::partition::Identity;
use crate::index::{IndexReader, SeriesEntry};
use crate::meta::BlockMeta;
use crate::snapshot::{Manifest, SectionKind, SnapshotFile};
use crate::tombstones::Tombstones;
use crate::wal::frame::{Event, Frame, HEADER_BYTES, Kind, Place, Scan};
use crate::wal::pack::{Packer, Unpacker};
use crate::wal::record::{BatchRecord, decode_controls};

/// Memory that a decoder of `bytes` input bytes may take, with room for small inputs.
fn sample_bound(bytes: usize) -> usize {
    bytes * 8 + 1
}

fn fuzz_chunk(encoding: Encoding, data: &[u8]) {
    let mut samples = 0;
    for sample in ChunkDecoder::new(encoding, data) {
        match sample {
            Ok(_) => samples += 1,
            Err(_) => break,
        }
    }
    assert!(samples <= sample_bound(data.len()), "more samples than bits");
    let (mut t, mut v) = (vec![1], vec![1.0]);
    match decode_floats(encoding, data, &mut t, &mut v) {
        Ok(()) => assert_eq!((t.len(), v.len()), (1 + samples, 1 + samples)),
        Err(_) => assert_eq!((t.len(), v.len()), (1, 1)),
    }
}

/// XOR chunks.
#[doc(hidden)]
pub fn fuzz_xor(data: &[u8]) {
    fuzz_chunk(Encoding::Xor, data);
}

/// XOR2 chunks.
#[doc(hidden)]
pub fn fuzz_xor2(data: &[u8]) {
    fuzz_chunk(Encoding::Xor2, data);
}

/// Integer histogram chunks.
#[doc(hidden)]
pub fn fuzz_histogram(data: &[u8]) {
    fuzz_chunk(Encoding::Histogram, data);
}

/// Float histogram chunks.
#[doc(hidden)]
pub fn fuzz_float_histogram(data: &[u8]) {
    fuzz_chunk(Encoding::FloatHistogram, data);
}

/// Chunks of aggregates.
#[doc(hidden)]
pub fn fuzz_aggr(data: &[u8]) {
    let data = Bytes::copy_from_slice(data);
    let _ = aggr::read(0, 1, &data);
    aggr::sample_count(&data);
}

/// Chunk segments: the first chunk, and one at every offset of a short input.
#[doc(hidden)]
pub fn fuzz_segment(data: &[u8]) {
    let file = Bytes::copy_from_slice(data);
    let _ = segment::Segments::from_bytes("segment", vec![file.clone()]);
    for offset in 0..file.len().min(256) {
        let _ = segment::read_chunk(&file, offset);
    }
}

/// An index: opening, every list, every series, a few selections.
#[doc(hidden)]
pub fn fuzz_index(data: &[u8]) {
    let Ok(index) = IndexReader::open("index", Bytes::copy_from_slice(data)) else { return };
    let mut entry = SeriesEntry::default();
    for reference in index.all_series().unwrap_or_default() {
        let _ = index.series(reference, &mut entry);
    }
    for name in index.postings_table().names().collect::<Vec<_>>() {
        for value in index.postings_table().values(name) {
            let _ = index.postings_at(value.offset);
        }
        let _ = index.label_values(name, &[], &mut NameSet::default());
    }
    let job = [Matcher::equal("job", "a")];
    let _ = (index.select(&job), index.label_names(&job, &mut NameSet::default()));
}

/// Tombstones.
#[doc(hidden)]
pub fn fuzz_tombstones(data: &[u8]) {
    if let Ok(stones) = Tombstones::read(data) {
        assert_eq!(
            Tombstones::read(&stones.to_bytes()).as_ref(),
            Ok(&stones),
            "what is read is written back"
        );
    }
}

/// `meta.json`.
#[doc(hidden)]
pub fn fuzz_meta(data: &[u8]) {
    if let Ok(meta) = BlockMeta::read(data) {
        let _ = (meta.to_json(), meta.external_labels());
    }
}

/// The log: frames in any bytes, and any bytes as a record of either kind, alone and in a sound frame.
#[doc(hidden)]
pub fn fuzz_wal(data: &[u8]) {
    let mut unpacker = Unpacker::new();
    let mut record = BatchRecord::default();
    let mut decode = |frame: &Frame<'_>| {
        if let Ok(raw) = unpacker.unpack(frame) {
            let _ = record.decode(raw);
            let _ = decode_controls(raw);
        }
    };
    let mut at = 0;
    for event in Scan::new(data, 0, 1, 0) {
        let (start, end) = match &event {
            Event::Frame(f) => (f.offset, f.offset + (HEADER_BYTES + f.payload.len()) as u64),
            Event::Damage(range) => (range.start, range.end),
        };
        assert_eq!(start, at, "events tile the bytes");
        at = end;
        if let Event::Frame(frame) = event {
            decode(&frame);
        }
    }
    assert_eq!(at, data.len() as u64);

    let mut log = Vec::new();
    let place = Place { segment: 1, salt: 0, sequence: 0, synced: 0 };
    crate::wal::frame::encode(&mut log, &Packer::new().pack(Kind::Batch, data), place);
    let events: Vec<_> = Scan::new(&log, 0, 1, 0).collect();
    let [Event::Frame(frame)] = events[..] else { panic!("a frame is found again: {events:?}") };
    decode(&frame);
    let mut first = BatchRecord::default();
    if first.decode(data).is_ok() {
        let (mut bytes, mut again) = (Vec::new(), BatchRecord::default());
        first.encode(&mut bytes);
        again.decode(&bytes).expect("what was decoded can be encoded and decoded");
        let mut bytes_again = Vec::new();
        again.encode(&mut bytes_again);
        assert_eq!(bytes, bytes_again, "records round-trip"); // bytes, since NaNs are unequal to themselves
    }
}

/// Head snapshots: any bytes as a file, and any bytes as each section of one.
#[doc(hidden)]
pub fn fuzz_snapshot(data: &[u8]) {
    let file = SnapshotFile::from_bytes(Path::new("fuzz"), Bytes::copy_from_slice(data));
    if let Ok(file) = &file {
        let manifest = Manifest::read(&file.manifest.to_bytes());
        assert_eq!(manifest.as_ref(), Ok(&file.manifest), "what is read is written back");
    }
    let identity = Identity { index: 0, tag: 1, key_seed: 0, window_ms: 7_200_000 };
    let mut thawed = thaw(identity, FullChunks::default(), 2);
    let of_file =
        file.iter().flat_map(|f| f.sections().iter().map(|s| (s.kind, f.payload(s).unwrap_or_default())));
    let kinds = [SectionKind::Index, SectionKind::Pairs, SectionKind::Series];
    let bare = kinds.map(|kind| (kind, Bytes::copy_from_slice(data)));
    for (kind, payload) in of_file.chain(bare) {
        let _ = match kind {
            SectionKind::Index => thawed.index(0, &payload),
            SectionKind::Pairs => thawed.pairs(0, &payload),
            SectionKind::Series => thawed.series(&payload),
            _ => Ok(()),
        };
    }
    thawed.finish();
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::block::BlockChunk;
    use crate::chunkenc::test_data::{times, values};
    use crate::chunkenc::{ChunkBuilder, CutRule};
    use proptest::prelude::*;

    fn fuzz_all(data: &[u8]) {
        fuzz_xor(data);
        fuzz_xor2(data);
        fuzz_histogram(data);
        fuzz_float_histogram(data);
        fuzz_aggr(data);
        fuzz_segment(data);
        fuzz_index(data);
        fuzz_tombstones(data);
        fuzz_meta(data);
        fuzz_snapshot(data);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn arbitrary_bytes_never_panic(data in prop::collection::vec(any::<u8>(), 0..200)) {
            fuzz_all(&data);
        }
    }

    proptest! {
        #[test]
        fn mutated_chunks_never_panic(
            t in times(60), v in values(60), xor2 in any::<bool>(),
            flips in prop::collection::vec(any::<prop::sample::Index>(), 1..6),
            cut in any::<prop::sample::Index>(),
        ) {
            let rule = CutRule { xor2, ..CutRule::default() };
            let mut b = ChunkBuilder::new(rule);
            t.iter().zip(&v).for_each(|(t, v)| b.push(*t, 0, v));
            for chunk in b.finish() {
                let chunk = &BlockChunk::from_chunk(&chunk, rule)[0];
                let mut data = chunk.data.to_vec();
                for flip in &flips {
                    let bit = flip.index(data.len() * 8);
                    data[bit / 8] ^= 1 << (bit % 8);
                    fuzz_all(&data);
                }
                fuzz_all(&data[..cut.index(data.len())]);
            }
        }
    }
}
