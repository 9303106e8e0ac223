//! Wire types: remote write scanned by hand from borrowed bytes.
