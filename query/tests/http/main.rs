//! The HTTP API over stores in memory, in process: what needs no other program to compare with.
//!
//! [`world`] is what is served; [`arrow`] reads results in their other form,
//! [`limits`] asks for more than is allowed, [`status`] asks for facts of the server, [`thanos`] uses the parameters that Thanos adds.

mod arrow;
mod limits;
mod status;
mod thanos;
mod world;
