//! From frames to records, on any core: frames do not depend on one another.

use std::ops::Range;

use cairn_model::TenantId;
use cairn_model::labels::LabelsRef;

use super::plan::{FramePlace, Item, Plan};
use crate::wal::columns::BadRecord;
use crate::wal::frame::Kind;
use crate::wal::pack::Unpacker;
use crate::wal::record::{BatchRecord, Control, decode_controls};
use crate::wal::replay::Finding;

/// A record, with what all partitions need to know of it.
pub enum Decoded {
    /// A request's data.
    Batch(Box<DecodedBatch>),
    /// Fences of windows.
    Controls(Vec<Control>),
    /// Here something is missing in the segment of this number.
    Damage(u64, Option<Finding>),
}

/// A request's data.
pub struct DecodedBatch {
    /// Number of its segment.
    pub segment: u64,
    /// Whose data it is.
    pub tenant: TenantId,
    /// The record.
    pub record: BatchRecord,
    /// Hashes of the definitions.
    pub hashes: Vec<u64>,
}

impl Decoded {
    /// What is wrong, if the frame was sound and its record is not.
    pub fn finding(&self) -> Option<&Finding> {
        if let Decoded::Damage(_, finding) = self { finding.as_ref() } else { None }
    }
}

/// Decodes items of the plan.
pub fn decode(plan: &Plan, range: Range<usize>) -> Vec<Decoded> {
    let mut unpacker = Unpacker::new();
    let one = |item: &Item| match item {
        Item::Damage(segment) => Decoded::Damage(*segment, None),
        Item::Frame(place) => decode_frame(plan, *place, &mut unpacker),
    };
    plan.items(range).iter().map(one).collect()
}

fn decode_frame(plan: &Plan, place: FramePlace, unpacker: &mut Unpacker) -> Decoded {
    let (frame, segment) = plan.frame(place);
    let decoded = unpacker.unpack(&frame).and_then(|raw| match frame.kind {
        Kind::Control => decode_controls(raw).map(Decoded::Controls),
        Kind::Batch => decode_batch(raw, segment),
    });
    decoded.unwrap_or_else(|bad| Decoded::Damage(segment, Some(plan.finding(place, bad.0))))
}

pub(in crate::db) fn decode_batch(raw: &[u8], segment: u64) -> Result<Decoded, BadRecord> {
    let mut record = BatchRecord::default();
    record.decode(raw)?;
    let tenant = TenantId::new(&record.tenant).map_err(|_| BadRecord("tenant name"))?;
    let hash = |range: &Range<u32>| {
        let bytes = &record.labels[range.start as usize..range.end as usize];
        LabelsRef::from_canonical(bytes).hash_with_prefix(tenant.as_str())
    };
    let hashes = record.definitions.iter().map(|(_, range)| hash(range)).collect();
    Ok(Decoded::Batch(Box::new(DecodedBatch { segment, tenant, record, hashes })))
}
