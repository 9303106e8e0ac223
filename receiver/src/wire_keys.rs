//! Wire keys: keyed hashes of the label bytes as they came, one for each version of the protocol.
//!
//! This is a hot file: nothing here allocates after the start.

use cairn_runtime::Rng;
use xxhash_rust::xxh3::xxh3_128_with_secret;

/// Secrets of the process, so that nobody outside can make two label sets meet.
#[derive(Clone)]
pub struct WireKeys {
    region: Box<[u8; SECRET_BYTES]>,
    symbol: Box<[u8; SECRET_BYTES]>,
    refs: Box<[(u64, u64); MAX_KEYED_REFS]>,
}

/// References of a series of 2.0 that a key can cover: 128 labels.
pub const MAX_KEYED_REFS: usize = 256;

/// Length of XXH3's own secret.
const SECRET_BYTES: usize = 192;

/// The 128-bit hash of a symbol of 2.0, as two halves.
pub type SymbolHash = (u64, u64);

impl WireKeys {
    /// Draws the secrets.
    pub fn new(rng: &Rng) -> Self {
        let secret = || {
            let mut bytes = Box::new([0; SECRET_BYTES]);
            bytes.as_chunks_mut::<8>().0.iter_mut().for_each(|c| *c = rng.next_u64().to_le_bytes());
            bytes
        };
        let mut refs = Box::new([(0, 0); MAX_KEYED_REFS]);
        refs.iter_mut().for_each(|pair| *pair = (rng.next_u64(), rng.next_u64()));
        WireKeys { region: secret(), symbol: secret(), refs }
    }

    /// The key of a label region of 1.0.
    #[inline]
    pub fn of_region(&self, region: &[u8]) -> u128 {
        xxh3_128_with_secret(region, &*self.region)
    }

    /// The hash of a symbol of 2.0.
    pub fn of_symbol(&self, symbol: &[u8]) -> SymbolHash {
        let hash = xxh3_128_with_secret(symbol, &*self.symbol);
        (hash as u64, (hash >> 64) as u64)
    }

    /// The key of a series of 2.0, to which the hashes of its symbols are added in order.
    #[inline]
    pub fn of_symbols(&self) -> SymbolsKey<'_> {
        SymbolsKey { secret: &self.refs, sum: 0, len: 0 }
    }
}

/// Sums up a key from the hashes of symbols: the universal hash NH (Black et al., UMAC, 1999) over words that are
/// keyed hashes already, with a secret of its own for every place, so that the order counts.
pub struct SymbolsKey<'k> {
    secret: &'k [(u64, u64); MAX_KEYED_REFS],
    sum: u128,
    len: usize,
}

impl SymbolsKey<'_> {
    /// Adds the next symbol; `false` when there are more than a key can cover.
    #[inline]
    pub fn add(&mut self, (low, high): SymbolHash) -> bool {
        let Some((a, b)) = self.secret.get(self.len) else { return false };
        let product = u128::from(low.wrapping_add(*a)) * u128::from(high.wrapping_add(*b));
        self.sum = self.sum.wrapping_add(product);
        self.len += 1;
        true
    }

    /// The key.
    #[inline]
    pub fn finish(&self) -> u128 {
        // Spreads the sum over all bits, one to one, because the table takes the low ones.
        const ODD: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;
        let sum = self.sum.wrapping_add(self.len as u128);
        (sum ^ sum >> 64).wrapping_mul(ODD)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_depend_on_the_process() {
        let (a, b) = (WireKeys::new(&Rng::from_seed(1)), WireKeys::new(&Rng::from_seed(2)));
        assert_ne!(a.of_region(b"x"), b.of_region(b"x"));
        assert_eq!(a.of_region(b"x"), WireKeys::new(&Rng::from_seed(1)).of_region(b"x"));
        let (low, high) = a.of_symbol(b"x");
        assert_ne!(u128::from(high) << 64 | u128::from(low), a.of_region(b"x"), "uses are apart");
        let key = |texts: &[&str]| {
            let mut key = a.of_symbols();
            assert!(texts.iter().all(|t| key.add(a.of_symbol(t.as_bytes()))));
            key.finish()
        };
        assert_eq!(key(&["a", "b"]), key(&["a", "b"]));
        let different =
            [key(&[]), key(&["a"]), key(&["b"]), key(&["a", "b"]), key(&["b", "a"]), key(&["ab"])];
        assert_eq!(different.iter().collect::<std::collections::HashSet<_>>().len(), different.len());
        let mut full = a.of_symbols();
        assert!((0..MAX_KEYED_REFS).all(|_| full.add((1, 1))) && !full.add((1, 1)));
    }
}
