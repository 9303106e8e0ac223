//! A client walks every gRPC method of the router, in process: no socket, no clock.
//!
//! [`world`] is what is served; [`store`] asks the Store service, [`services`] all others.

mod services;
mod store;
mod world;
