//! What a started cairn tells: the ready line for programs, and what to paste and open for people.

use std::net::SocketAddr;
use std::path::Path;

use cairn_runtime::Disk;
use serde::Serialize;

/// Where cairn listens.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Addresses {
    /// Prometheus API, remote write, metrics.
    pub http: SocketAddr,
    /// Remote write alone.
    pub write: SocketAddr,
    /// gRPC.
    pub grpc: SocketAddr,
    /// Between nodes.
    pub peer: SocketAddr,
}

impl Addresses {
    /// The contract's first line on stdout.
    pub fn ready_line(&self) -> String {
        let Addresses { http, write, grpc, peer } = self;
        format!("cairn ready http={http} write={write} grpc={grpc} peer={peer}")
    }

    /// What a person does next.
    pub fn next_steps(&self) -> String {
        let (write, http) = (reachable(self.write), reachable(self.http));
        format!(
            "\nAdd this to prometheus.yml to send samples here:\n\n\
             remote_write:\n  - url: http://{write}/api/v1/write\n    \
             protobuf_message: io.prometheus.write.v2.Request\n\n\
             Then ask:\n\n  curl 'http://{http}/api/v1/query?query=up'\n"
        )
    }

    /// Writes `addresses.json`, for programs that start cairn with port 0.
    ///
    /// # Errors
    /// Of the disk.
    pub fn save(&self, disk: &dyn Disk, data_dir: &Path) -> std::io::Result<()> {
        let json = serde_json::to_vec_pretty(self).expect("plain fields");
        disk.write_atomic(&data_dir.join("addresses.json"), &json)
    }
}

/// The address as somebody on this machine can use it.
fn reachable(addr: SocketAddr) -> SocketAddr {
    if addr.ip().is_unspecified() {
        SocketAddr::new(std::net::Ipv4Addr::LOCALHOST.into(), addr.port())
    } else {
        addr
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ready_line_is_the_contract() {
        let at = |p| SocketAddr::from(([127, 0, 0, 1], p));
        let a = Addresses { http: at(1), write: at(2), grpc: at(3), peer: at(4) };
        assert_eq!(
            a.ready_line(),
            "cairn ready http=127.0.0.1:1 write=127.0.0.1:2 grpc=127.0.0.1:3 peer=127.0.0.1:4"
        );
        let unspecified = Addresses { write: SocketAddr::from(([0, 0, 0, 0], 9)), ..a };
        assert!(unspecified.next_steps().contains("http://127.0.0.1:9/api/v1/write"));
    }
}
