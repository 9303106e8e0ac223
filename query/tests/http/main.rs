//! The HTTP API over stores in memory, in process: what needs no other program to compare with.
//!
//! [`world`] is what is served; [`status`] asks for facts of the server, [`thanos`] uses the parameters that Thanos adds.

mod status;
mod thanos;
mod world;
