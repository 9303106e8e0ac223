//! Joins the storage engine's codecs to those who must not depend on it: the query engine and the gRPC edge.

use bytes::Bytes;
use cairn_model::TimestampMs;
use cairn_model::chunk::{Chunk, ChunkData, Encoding};
use cairn_promql::engine::{DecodeChunk, SampleBuf};
use cairn_query::grpc::WireChunk;
use cairn_tsdb::chunkenc::{ChunkBuilder, ChunkDecoder, CutRule, decode_floats};

/// Decodes with the storage engine's decoders.
pub struct TsdbDecoder;

impl DecodeChunk for TsdbDecoder {
    fn decode(
        &self,
        encoding: Encoding,
        data: &Bytes,
        _min_ms: TimestampMs,
        max_ms: TimestampMs,
        out: &mut SampleBuf,
    ) -> Result<(), String> {
        // Without start timestamps in the buffer, plain floats go into its columns as they are.
        if encoding == Encoding::Xor && out.floats.start_ms.is_empty() {
            let floats = &mut out.floats;
            return decode_floats(encoding, data, &mut floats.t_ms, &mut floats.value)
                .map_err(|e| e.to_string());
        }
        for sample in ChunkDecoder::new(encoding, data) {
            let sample = sample.map_err(|e| e.to_string())?;
            if sample.t_ms > max_ms {
                break;
            }
            out.push(sample.t_ms, &sample.value, sample.start_ms);
        }
        Ok(())
    }
}

/// Chunks in an encoding that Thanos' wire knows: columns are encoded, XOR2 is encoded anew as XOR.
pub fn to_wire(chunk: &Chunk) -> Result<Vec<WireChunk>, String> {
    let mut builder = ChunkBuilder::new(CutRule::default());
    match &chunk.data {
        ChunkData::Encoded(encoding, data) if *encoding != Encoding::Xor2 => {
            let (min_ms, max_ms) = (chunk.min_ms, chunk.max_ms);
            return Ok(vec![WireChunk { encoding: *encoding, data: data.clone(), min_ms, max_ms }]);
        }
        ChunkData::Encoded(encoding, data) => {
            for sample in ChunkDecoder::new(*encoding, data) {
                let sample = sample.map_err(|e| e.to_string())?;
                builder.push(sample.t_ms, 0, &sample.value);
            }
        }
        ChunkData::Columns(columns) => builder.push_columns(columns),
    }
    builder.finish().into_iter().map(encoded).collect()
}

fn encoded(chunk: Chunk) -> Result<WireChunk, String> {
    match chunk.data {
        ChunkData::Encoded(encoding, data) => {
            Ok(WireChunk { encoding, data, min_ms: chunk.min_ms, max_ms: chunk.max_ms })
        }
        ChunkData::Columns(_) => Err("a finished chunk is not encoded".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_model::chunk::{ColumnValues, Columns};
    use std::sync::Arc;

    fn columns(n: i64) -> Chunk {
        let t_ms: Vec<i64> = (0..n).map(|i| i * 1000).collect();
        let values = ColumnValues::Floats((0..n).map(|i| i as f64).collect());
        let columns = Columns { t_ms, values, start_ms: vec![] };
        Chunk { min_ms: 0, max_ms: (n - 1) * 1000, data: ChunkData::Columns(Arc::new(columns)) }
    }

    #[test]
    fn columns_become_chunks_of_120_that_decode_to_the_same() {
        let wire = to_wire(&columns(300)).unwrap();
        assert_eq!(
            wire.iter().map(|c| (c.min_ms, c.max_ms)).collect::<Vec<_>>(),
            [(0, 119_000), (120_000, 239_000), (240_000, 299_000)]
        );
        let mut buf = SampleBuf::default();
        for c in &wire {
            assert_eq!(c.encoding, Encoding::Xor);
            TsdbDecoder.decode(c.encoding, &c.data, 0, i64::MAX, &mut buf).unwrap();
        }
        assert_eq!(buf.floats.value, (0..300).map(f64::from).collect::<Vec<_>>());
    }
}
