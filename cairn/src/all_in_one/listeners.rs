//! The addresses: all are bound before anything else, because a port in use is the most common mistake.

use anyhow::{Context, Result};
use cairn_net::{Bound, HttpStack, ServerConfig};

use crate::config::ServeFlags;
use crate::ready::Addresses;

/// The four listeners.
pub(super) struct Listeners {
    pub(super) http: Bound,
    pub(super) write: Bound,
    pub(super) grpc: Bound,
    pub(super) peer: Bound,
}

impl Listeners {
    pub(super) async fn bind(stack: &HttpStack, flags: &ServeFlags) -> Result<Self> {
        let bind = async |flag: &'static str, name: &'static str, address: &str| {
            let config = ServerConfig { drain: flags.shutdown_grace.0, ..ServerConfig::named(name) };
            stack.bind(address, config).await.with_context(|| format!("{flag} {address}"))
        };
        Ok(Listeners {
            http: bind("--http-address", "http", &flags.http_address).await?,
            write: bind("--remote-write.address", "remote-write", &flags.remote_write_address).await?,
            grpc: bind("--grpc-address", "grpc", &flags.grpc_address).await?,
            peer: bind("--peer-address", "peer", &flags.peer_address).await?,
        })
    }

    pub(super) fn addresses(&self) -> Addresses {
        Addresses {
            http: self.http.local_addr(),
            write: self.write.local_addr(),
            grpc: self.grpc.local_addr(),
            peer: self.peer.local_addr(),
        }
    }
}
