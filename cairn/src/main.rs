//! Long-term Prometheus storage that loses nothing: receive, rule, compact, store and query in one binary.
fn main() {}
