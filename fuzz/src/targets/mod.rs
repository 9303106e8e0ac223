//! Decoders of bytes from outside, by the name of their fuzz target. Each takes any bytes and must return.
//!
//! [`files`] are what lies on a disk or in a bucket, [`texts`] what people write, [`edges`] whole requests through the
//! routes that serve them. The fuzz binaries and the test that replays the kept inputs share this table.

mod edges;
mod files;
mod texts;

/// A decoder's entry point.
pub type Target = fn(&[u8]);

/// All of them.
pub const TARGETS: &[(&str, Target)] = &[
    ("remote_write_v1", cairn_proto::fuzz::fuzz_v1),
    ("remote_write_v2", cairn_proto::fuzz::fuzz_v2),
    ("snappy", cairn_proto::fuzz::fuzz_snappy),
    ("write_request", edges::write_request),
    ("api_request", edges::api_request),
    ("grpc_request", edges::grpc_request),
    ("chunk_xor", cairn_tsdb::fuzzing::fuzz_xor),
    ("chunk_xor2", cairn_tsdb::fuzzing::fuzz_xor2),
    ("chunk_histogram", cairn_tsdb::fuzzing::fuzz_histogram),
    ("chunk_float_histogram", cairn_tsdb::fuzzing::fuzz_float_histogram),
    ("chunk_aggr", cairn_tsdb::fuzzing::fuzz_aggr),
    ("segment", cairn_tsdb::fuzzing::fuzz_segment),
    ("index", cairn_tsdb::fuzzing::fuzz_index),
    ("tombstones", cairn_tsdb::fuzzing::fuzz_tombstones),
    ("meta", cairn_tsdb::fuzzing::fuzz_meta),
    ("snapshot", cairn_tsdb::fuzzing::fuzz_snapshot),
    ("wal", files::wal),
    ("raft_journal", files::raft_journal),
    ("commit_record", files::commit_record),
    ("promql", cairn_promql::parser::fuzz_parser),
    ("promql_evaluate", cairn_promql::memory::fuzz_evaluate),
    ("promqltest", texts::promqltest),
    ("template", texts::template),
    ("matcher", texts::matcher),
    ("rule_file", texts::rule_file),
    ("objstore_config", texts::objstore_config),
    ("openmetrics", texts::openmetrics),
    ("alertmanager_url", texts::alertmanager_url),
];
