//! The status contract and the rules of remote write, one row a rule, against the receiver's router with a store in
//! memory.

mod bounds;
mod harness;
mod labels;
mod panics;
mod rules;
mod samples;
mod status;
mod stores;
mod versions;
mod wire;
