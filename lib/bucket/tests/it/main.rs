//! The bucket over real stores and over one that fails: the same suite for each store, and commits that are killed,
//! refused and left without an answer.

mod commit;
mod s3_server;
mod stores;
