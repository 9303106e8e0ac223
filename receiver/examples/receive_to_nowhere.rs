//! A receiver whose store acknowledges everything and keeps nothing: for measuring the write path with real
//! senders, HTTP included, without an engine. Never a place for data.
//!
//! `cargo run --release -p cairn-receiver --example receive_to_nowhere [ADDR]`; ends when its input ends.

use std::sync::Arc;

use async_trait::async_trait;
use cairn_model::WriteBatch;
use cairn_model::batch::Appended;
use cairn_model::storage::{AppendError, Appendable};
use cairn_net::{HttpStack, Readiness, ServerConfig, health};
use cairn_receiver::{Limits, LimitsBook, Receiver, ReceiverConfig};
use cairn_runtime::Runtime;
use tokio::io::AsyncReadExt;

#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

struct Nowhere;

#[async_trait]
impl Appendable for Nowhere {
    async fn append(&self, batch: WriteBatch) -> Result<Appended, AppendError> {
        Ok(Appended {
            floats: batch.floats.t_ms.len() as u64,
            histograms: batch.histograms.len() as u64,
            exemplars: batch.exemplars.len() as u64,
            // The hash is as good a reference as any when nothing is looked up by it.
            refs: batch.series.iter().map(|s| s.hash | 1).collect(),
            spare: Some(Box::new(batch)),
            ..Appended::default()
        })
    }
}

#[tokio::main]
async fn main() {
    let addr = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let runtime = Runtime::system(2);
    let limits = Arc::new(LimitsBook::new(Limits::default()));
    let receiver = Receiver::new(ReceiverConfig::default(), &runtime, Arc::new(Nowhere), limits)
        .expect("the defaults agree with one another");
    let readiness = Readiness::new(runtime.tasks.shutdown().clone());
    let router = receiver.routes().merge(health::routes(readiness, runtime.metrics.clone()));
    let bound = HttpStack::new(&runtime)
        .bind(&addr, ServerConfig::named("write"))
        .await
        .expect("the address is free");
    println!("listening on {}", bound.local_addr());
    bound.serve(router);
    let mut rest = Vec::new();
    let _ = tokio::io::stdin().read_to_end(&mut rest).await;
    runtime.tasks.stop(&*runtime.clock, std::time::Duration::from_secs(5)).await;
}
