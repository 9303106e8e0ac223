//! What a snapshot stands for: up to where in the log, whose data, which files.

use crate::chunkenc::Malformed;
use crate::decbuf::{Decbuf, put_str, put_uvarint, put_varint};
use crate::head::series::{TenantNo, WindowNo};

/// The last section of a snapshot.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Manifest {
    /// Names the snapshot in the log: everything before the mark with this number is in the snapshot.
    pub id: u64,
    /// The segment in which the mark lies.
    pub segment: u64,
    /// Length of windows in ms.
    pub window_ms: u64,
    /// Seeds the second hash of labels.
    pub key_seed: u64,
    /// Numbers of series in the log are below this.
    pub next_log_id: u64,
    /// Time of the newest sample.
    pub newest_ms: i64,
    /// Tenants by number.
    pub tenants: Vec<String>,
    /// Which generations the segments up to [`Manifest::segment`] hold: `(segment, tenant, window, generation)`.
    pub contents: Vec<(u64, TenantNo, WindowNo, u32)>,
    /// Partitions in order.
    pub partitions: Vec<PartitionFiles>,
}

/// The head-chunk files of a partition.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PartitionFiles {
    /// Number of the first, or of the next to come when there is none.
    pub first: u32,
    /// The files, numbers rising by one.
    pub files: Vec<HeadFile>,
}

/// A head-chunk file.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct HeadFile {
    /// Its length in bytes.
    pub len: u64,
    /// CRC-32C of its content.
    pub crc: u32,
    /// Whose chunks of which windows are in it.
    pub windows: Vec<(TenantNo, WindowNo)>,
}

impl Manifest {
    /// The section's payload.
    pub fn to_bytes(&self) -> Vec<u8> {
        let mut out = Vec::new();
        for v in [self.id, self.segment, self.window_ms, self.key_seed, self.next_log_id] {
            put_uvarint(&mut out, v);
        }
        put_varint(&mut out, self.newest_ms);
        put_uvarint(&mut out, self.tenants.len() as u64);
        self.tenants.iter().for_each(|t| put_str(&mut out, t));
        put_uvarint(&mut out, self.contents.len() as u64);
        for (segment, tenant, window, generation) in &self.contents {
            put_uvarint(&mut out, *segment);
            put_uvarint(&mut out, u64::from(*tenant));
            put_varint(&mut out, i64::from(*window));
            put_uvarint(&mut out, u64::from(*generation));
        }
        put_uvarint(&mut out, self.partitions.len() as u64);
        for partition in &self.partitions {
            put_uvarint(&mut out, u64::from(partition.first));
            put_uvarint(&mut out, partition.files.len() as u64);
            for file in &partition.files {
                put_uvarint(&mut out, file.len);
                put_uvarint(&mut out, u64::from(file.crc));
                put_uvarint(&mut out, file.windows.len() as u64);
                for (tenant, window) in &file.windows {
                    put_uvarint(&mut out, u64::from(*tenant));
                    put_varint(&mut out, i64::from(*window));
                }
            }
        }
        out
    }

    /// Reads a payload.
    ///
    /// # Errors
    /// [`Malformed`] when it is none.
    pub fn read(bytes: &[u8]) -> Result<Self, Malformed> {
        let d = &mut Decbuf::new(bytes);
        let mut m = Manifest {
            id: d.uvarint()?,
            segment: d.uvarint()?,
            window_ms: d.uvarint()?,
            key_seed: d.uvarint()?,
            next_log_id: d.uvarint()?,
            newest_ms: d.varint()?,
            ..Manifest::default()
        };
        for _ in 0..d.count(1)? {
            m.tenants.push(d.str()?.to_owned());
        }
        for _ in 0..d.count(4)? {
            m.contents.push((d.uvarint()?, tenant(d)?, window(d)?, number(d)?));
        }
        for _ in 0..d.count(2)? {
            let mut partition = PartitionFiles { first: number(d)?, files: Vec::new() };
            for _ in 0..d.count(3)? {
                let mut file = HeadFile { len: d.uvarint()?, crc: number(d)?, windows: Vec::new() };
                for _ in 0..d.count(2)? {
                    file.windows.push((tenant(d)?, window(d)?));
                }
                partition.files.push(file);
            }
            if u32::try_from(partition.files.len()).is_err()
                || partition.first.checked_add(partition.files.len() as u32).is_none()
            {
                return Err(d.fault("file numbers run out"));
            }
            m.partitions.push(partition);
        }
        let known = |t: &TenantNo| (*t as usize) < m.tenants.len();
        let all = m.contents.iter().map(|c| &c.1);
        let of_files = m.partitions.iter().flat_map(|p| &p.files).flat_map(|f| &f.windows).map(|w| &w.0);
        if !all.chain(of_files).all(known) {
            return Err(d.fault("a tenant that is not listed"));
        }
        if d.remaining() > 0 {
            return Err(d.fault("bytes left over"));
        }
        Ok(m)
    }
}

/// A 32-bit number.
pub(crate) fn number(d: &mut Decbuf<'_>) -> Result<u32, Malformed> {
    u32::try_from(d.uvarint()?).map_err(|_| d.fault("number out of range"))
}

/// A tenant's number.
fn tenant(d: &mut Decbuf<'_>) -> Result<TenantNo, Malformed> {
    number(d)
}

/// A window's number.
pub(crate) fn window(d: &mut Decbuf<'_>) -> Result<WindowNo, Malformed> {
    WindowNo::try_from(d.varint()?).map_err(|_| d.fault("window out of range"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_manifest_comes_back() {
        let file = HeadFile { len: 1 << 40, crc: u32::MAX, windows: vec![(1, -3), (0, i32::MAX)] };
        let m = Manifest {
            id: u64::MAX,
            segment: 7,
            window_ms: 7_200_000,
            key_seed: 99,
            next_log_id: 1_000_001,
            newest_ms: i64::MIN,
            tenants: vec!["a".into(), "b".into()],
            contents: vec![(6, 0, -1, 0), (7, 1, 5, 3)],
            partitions: vec![
                PartitionFiles { first: 4, files: vec![file.clone(), file] },
                PartitionFiles { first: 1, files: vec![] },
            ],
        };
        assert_eq!(Manifest::read(&m.to_bytes()), Ok(m.clone()));
        let unlisted = Manifest { tenants: vec!["a".into()], ..m };
        assert!(Manifest::read(&unlisted.to_bytes()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(b in prop::collection::vec(any::<u8>(), 0..60)) {
            let _ = Manifest::read(&b);
        }
    }
}
