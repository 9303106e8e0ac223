//! Object-store layout as Thanos': configuration, commit records, shipping, fetching, marks.
