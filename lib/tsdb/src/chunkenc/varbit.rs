//! Variable-length integers and XOR-ed floats inside bit streams.
//!
//! A varbit number is a class prefix (`0`, `10`, `110`, … up to eight ones) and a payload of fixed size. Signed
//! payloads of n bits hold −(2^(n−1)−1) … 2^(n−1): the asymmetry is Prometheus' and part of the format.
//! Layout: docs/formats/block.md.

use super::Malformed;
use super::bits::{BitReader, BitWriter, low_bits};

/// Payload bits by class; class 0 is the number 0.
const PAYLOAD_BITS: [u32; 9] = [0, 3, 6, 9, 12, 18, 25, 56, 64];

/// Leading-zero count meaning "no window yet".
const NO_WINDOW: u8 = 0xff;

/// Writes a signed number.
pub fn write_int(w: &mut BitWriter<'_>, v: i64) {
    if v == 0 {
        return w.write(0, 1);
    }
    // v fits n bits of the asymmetric range iff v − 1 fits n bits of two's complement.
    let u = v.wrapping_sub(1);
    let class = class_of(65 - (u ^ (u >> 63)).leading_zeros());
    write_prefix(w, class);
    w.write_signed(v, PAYLOAD_BITS[class]);
}

/// Writes an unsigned number.
pub fn write_uint(w: &mut BitWriter<'_>, v: u64) {
    if v == 0 {
        return w.write(0, 1);
    }
    let class = class_of(64 - v.leading_zeros());
    write_prefix(w, class);
    w.write(v, PAYLOAD_BITS[class]);
}

/// The smallest class that holds `bits` bits, 1 ≤ bits ≤ 64.
fn class_of(bits: u32) -> usize {
    PAYLOAD_BITS.iter().position(|&b| b >= bits).expect("the last class holds 64 bits")
}

fn write_prefix(w: &mut BitWriter<'_>, class: usize) {
    match class {
        8 => w.write(0xff, 8),
        _ => w.write((1 << (class + 1)) - 2, class as u32 + 1),
    }
}

/// Reads what [`write_int`] wrote.
///
/// # Errors
/// [`Malformed`] when the stream ends first.
#[inline]
pub fn read_int(r: &mut BitReader<'_>) -> Result<i64, Malformed> {
    let bits = read_prefix(r);
    if bits == 0 {
        r.check()?;
        return Ok(0);
    }
    let v = r.take(bits);
    r.check()?;
    Ok(extend_asymmetric(v, bits))
}

/// Reads what [`write_uint`] wrote.
///
/// # Errors
/// [`Malformed`] when the stream ends first.
#[inline]
pub fn read_uint(r: &mut BitReader<'_>) -> Result<u64, Malformed> {
    let bits = read_prefix(r);
    let v = if bits == 0 { 0 } else { r.take(bits) };
    r.check()?;
    Ok(v)
}

/// Consumes a class prefix and gives the payload's size in bits.
#[inline]
fn read_prefix(r: &mut BitReader<'_>) -> u32 {
    let ones = (!r.peek()).leading_zeros().min(8);
    r.skip((ones + 1).min(8));
    PAYLOAD_BITS[ones as usize]
}

/// The signed number in an n-bit payload of the asymmetric range.
#[inline]
pub fn extend_asymmetric(v: u64, bits: u32) -> i64 {
    if bits < 64 && v > 1 << (bits - 1) { v as i64 - (1 << bits) } else { v as i64 }
}

/// The window of significant bits that an XOR-ed float may reuse.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct XorWindow {
    leading: u8,
    trailing: u8,
}

impl XorWindow {
    /// Before the first changed value of a writer.
    pub const NONE: XorWindow = XorWindow { leading: NO_WINDOW, trailing: 0 };

    /// Before the first changed value of a reader: a stream that reuses a window it never set is read with all
    /// 64 bits, as Prometheus does.
    pub const ALL: XorWindow = XorWindow { leading: 0, trailing: 0 };

    /// The window that exactly holds `delta` ≠ 0; leading zeros are clamped to the 31 that the format can say.
    #[inline]
    pub fn around(delta: u64) -> XorWindow {
        XorWindow { leading: delta.leading_zeros().min(31) as u8, trailing: delta.trailing_zeros() as u8 }
    }

    /// The window at rest: leading zeros, or 255 for none, and trailing zeros.
    pub fn to_bytes(self) -> [u8; 2] {
        [self.leading, self.trailing]
    }

    /// The window of its bytes; `None` when no writer has such a one.
    pub fn from_bytes([leading, trailing]: [u8; 2]) -> Option<XorWindow> {
        let window = XorWindow { leading, trailing };
        (window == Self::NONE || (leading <= 31 && leading + trailing.min(64) < 64)).then_some(window)
    }

    /// Whether `inner` lies inside this window, so that it can be reused.
    #[inline]
    pub fn holds(self, inner: XorWindow) -> bool {
        self.leading != NO_WINDOW && inner.leading >= self.leading && inner.trailing >= self.trailing
    }

    /// Significant bits, 1..=64.
    #[inline]
    pub fn bits(self) -> u32 {
        64 - u32::from(self.leading) - u32::from(self.trailing)
    }

    /// Writes the 11-bit description: 5 bits leading zeros, 6 bits significant bits with 64 as 0.
    #[inline]
    pub fn write(self, w: &mut BitWriter<'_>) {
        w.write(u64::from(self.leading) << 6 | u64::from(self.bits() & 63), 11);
    }

    /// The window of an 11-bit description; `None` when it reaches over 64 bits.
    #[inline]
    pub fn from_description(d: u64) -> Option<XorWindow> {
        let leading = (d >> 6 & 31) as u8;
        let bits = if d & 63 == 0 { 64 } else { (d & 63) as u8 };
        (leading + bits <= 64).then(|| XorWindow { leading, trailing: 64 - leading - bits })
    }

    /// The part of `delta` inside the window.
    #[inline]
    pub fn extract(self, delta: u64) -> u64 {
        delta >> self.trailing
    }

    /// Inverse of [`XorWindow::extract`].
    #[inline]
    pub fn place(self, significant: u64) -> u64 {
        significant << self.trailing
    }
}

/// A writer's beginning.
impl Default for XorWindow {
    fn default() -> Self {
        XorWindow::NONE
    }
}

/// Writes `delta`, the XOR of a float with the one before.
#[inline]
pub fn write_xor(w: &mut BitWriter<'_>, delta: u64, window: &mut XorWindow) {
    if delta == 0 {
        return w.write(0, 1);
    }
    let exact = XorWindow::around(delta);
    if window.holds(exact) {
        w.write(0b10, 2);
    } else {
        *window = exact;
        w.write(0b11, 2);
        exact.write(w);
    }
    w.write(window.extract(delta), window.bits());
}

/// Reads what [`write_xor`] wrote: the XOR with the float before.
///
/// # Errors
/// [`Malformed`] when the stream ends first or describes an impossible window.
#[inline]
pub fn read_xor(r: &mut BitReader<'_>, window: &mut XorWindow) -> Result<u64, Malformed> {
    let head = r.peek();
    if head >> 63 == 0 {
        r.skip(1);
        r.check()?;
        return Ok(0);
    }
    if head >> 62 == 0b10 {
        r.skip(2);
    } else {
        *window = XorWindow::from_description(head >> 51 & low_bits(11))
            .ok_or_else(|| r.malformed("XOR window of more than 64 bits"))?;
        r.skip(13);
    }
    let delta = window.place(r.take(window.bits()));
    r.check()?;
    Ok(delta)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(write: impl FnOnce(&mut BitWriter<'_>)) -> (Vec<u8>, usize) {
        let mut bytes = Vec::new();
        let mut w = BitWriter::new(&mut bytes);
        write(&mut w);
        let free = w.finish();
        let bits = bytes.len() * 8 - free as usize;
        (bytes, bits)
    }

    #[test]
    fn class_limits_are_the_format_s() {
        for (v, bits) in [
            (0i64, 1),
            (4, 5),
            (-3, 5),
            (5, 9),
            (-4, 9),
            (32, 9),
            (-31, 9),
            (33, 13),
            (256, 13),
            (257, 17),
            (2048, 17),
            (2049, 24),
            (131_072, 24),
            (131_073, 32),
            (16_777_216, 32),
            (16_777_217, 64),
            (1 << 55, 64),
            ((1 << 55) + 1, 72),
            (i64::MIN, 72),
        ] {
            assert_eq!(encoded(|w| write_int(w, v)).1, bits, "{v}");
        }
        for (v, bits) in [(7u64, 5), (8, 9), (63, 9), (64, 13), (33_554_431, 32), (33_554_432, 64)] {
            assert_eq!(encoded(|w| write_uint(w, v)).1, bits, "{v}");
        }
    }

    fn any_magnitude() -> impl Strategy<Value = i64> {
        (any::<i64>(), 0u32..64).prop_map(|(v, shift)| v >> shift)
    }

    proptest! {
        #[test]
        fn numbers_round_trip(v in prop::collection::vec(any_magnitude(), 1..50)) {
            let (bytes, _) = encoded(|w| v.iter().for_each(|&x| { write_int(w, x); write_uint(w, x as u64) }));
            let mut r = BitReader::new(&bytes);
            for x in v {
                prop_assert_eq!(read_int(&mut r).unwrap(), x);
                prop_assert_eq!(read_uint(&mut r).unwrap(), x as u64);
            }
        }

        #[test]
        fn xor_deltas_round_trip(v in prop::collection::vec(any_magnitude(), 1..50)) {
            let (bytes, _) = encoded(|w| {
                let mut window = XorWindow::NONE;
                v.iter().for_each(|&x| write_xor(w, x as u64, &mut window));
            });
            let (mut r, mut window) = (BitReader::new(&bytes), XorWindow::ALL);
            for x in v {
                prop_assert_eq!(read_xor(&mut r, &mut window).unwrap(), x as u64);
            }
        }
    }
}
