//! Hashes of label sets that are the same in every process: slots and file names depend on them.
//!
//! This is a hot file: it does not allocate.

use xxhash_rust::xxh64::{Xxh64, xxh64};

use super::{Labels, LabelsRef};

/// Separates names and values in the hash input; cannot occur in UTF-8.
const HASH_SEPARATOR: [u8; 1] = [0xFF];

/// Label sets up to this length are hashed in one go, from the stack.
const ONE_GO_BYTES: usize = 1024;

impl LabelsRef<'_> {
    /// xxHash64 (seed 0) over `prefix 0xFF name 0xFF value 0xFF …`: Thanos' series hash, which is also the input
    /// of cairn's slot when `prefix` is the tenant.
    pub fn hash_with_prefix(self, prefix: &str) -> u64 {
        // The hashed form is never longer than the canonical one: one separator stands for one or five bytes of
        // length. Hashing it in one go costs a third of hashing it piece by piece.
        let mut whole = [0u8; ONE_GO_BYTES];
        if prefix.len() + 1 + self.0.len() <= ONE_GO_BYTES {
            let mut at = 0;
            let mut put = |text: &[u8]| {
                whole[at..at + text.len()].copy_from_slice(text);
                whole[at + text.len()] = HASH_SEPARATOR[0];
                at += text.len() + 1;
            };
            put(prefix.as_bytes());
            for (n, v) in self.iter() {
                put(n.as_bytes());
                put(v.as_bytes());
            }
            return xxh64(&whole[..at], 0);
        }
        let mut h = Xxh64::new(0);
        h.update(prefix.as_bytes());
        h.update(&HASH_SEPARATOR);
        self.feed(&mut h);
        h.digest()
    }

    /// xxHash64 (seed 0) over `name 0xFF value 0xFF …`.
    pub fn stable_hash(self) -> u64 {
        let mut h = Xxh64::new(0);
        self.feed(&mut h);
        h.digest()
    }

    fn feed(self, h: &mut Xxh64) {
        for (n, v) in self.iter() {
            h.update(n.as_bytes());
            h.update(&HASH_SEPARATOR);
            h.update(v.as_bytes());
            h.update(&HASH_SEPARATOR);
        }
    }
}

impl Labels {
    /// See [`LabelsRef::hash_with_prefix`].
    pub fn hash_with_prefix(&self, prefix: &str) -> u64 {
        self.as_ref().hash_with_prefix(prefix)
    }

    /// See [`LabelsRef::stable_hash`].
    pub fn stable_hash(&self) -> u64 {
        self.as_ref().stable_hash()
    }
}
