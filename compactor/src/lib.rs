//! Plans and runs compaction, downsampling, retention and cleaning of a bucket.
