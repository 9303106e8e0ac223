//! Entry points for bytes from anywhere: they must neither panic nor run away.
//!
//! Beyond that, each checks what the receiver relies on: regions are prefixes, and what the walk finds in a
//! series does not depend on where the walk began.

use crate::datum::Datum;
use crate::{snappy, v1, v2};

/// Walks `data` as a decompressed request of 1.0, to the last label of the last exemplar.
pub fn fuzz_v1(data: &[u8]) {
    for item in v1::Request::new(data) {
        let Ok(item) = item else { return };
        let v1::Item::Series(series) = item else { continue };
        let Ok(region) = series.region() else { continue };
        assert!(series.bytes().starts_with(region));
        assert_eq!(series.region_of_len(region.len()), Some(region), "a walked region is a possible one");
        let leading = v1::Series::from_bytes(region).labels().count();
        let mut late_label = false;
        for datum in series.data(region.len()) {
            match datum {
                Ok(Datum::Label) => late_label = true,
                Ok(Datum::Histogram(h)) => drop(h.decode()),
                Ok(Datum::Exemplar(bytes)) => {
                    if let Ok(exemplar) = v1::exemplar(bytes) {
                        assert!(exemplar.labels.count() <= bytes.len());
                    }
                }
                Ok(Datum::Float(_)) => {}
                Ok(Datum::Metadata(_)) => unreachable!("1.0 has no metadata at the series"),
                Err(_) => return,
            }
        }
        if !late_label {
            assert_eq!(series.labels().filter(Result::is_ok).count(), {
                v1::Series::from_bytes(region).labels().filter(Result::is_ok).count()
            });
            assert_eq!(series.labels().count(), leading);
        }
    }
}

/// Walks `data` as a decompressed request of 2.0, to the last reference of the last exemplar.
pub fn fuzz_v2(data: &[u8]) {
    let mut table = Vec::new();
    let Ok(request) = v2::Request::read(data, &mut table) else { return };
    assert_eq!(request.symbols().count(), request.symbol_count());
    for series in request.series() {
        let Ok(series) = series else { return };
        let Ok((refs, len)) = series.leading_refs() else { continue };
        let leading: Vec<_> = refs.collect();
        let mut late_refs = false;
        for datum in series.data(len) {
            match datum {
                Ok(Datum::Label) => late_refs = true,
                Ok(Datum::Histogram(h)) => drop(h.decode()),
                Ok(Datum::Exemplar(bytes)) => {
                    if let Ok(exemplar) = v2::exemplar(bytes) {
                        assert!(
                            exemplar
                                .refs
                                .map_while(Result::ok)
                                .filter(|r| request.symbol(*r).is_some())
                                .count()
                                <= bytes.len()
                        );
                    }
                }
                Ok(Datum::Metadata(m)) => assert!(
                    request.symbol(m.help_ref).is_none() || m.help_ref < request.symbol_count() as u64
                ),
                Ok(Datum::Float(_)) => {}
                Err(_) => return,
            }
        }
        if !late_refs {
            assert_eq!(series.refs().collect::<Vec<_>>(), leading);
        }
    }
}

/// Decompresses `data` with a small limit.
pub fn fuzz_snappy(data: &[u8]) {
    const LIMIT: u64 = 1 << 20;
    let mut buffer = Vec::new();
    if let Ok(decoded) = snappy::decompress(data, &mut buffer, LIMIT) {
        assert_eq!(snappy::declared_len(data), Ok(decoded.len() as u64));
    }
    assert!(buffer.len() as u64 <= LIMIT);
}
