//! An S3 server in this process, on 127.0.0.1, over a folder.

use std::path::Path;

use cairn_runtime::Runtime;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto::Builder;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;

/// Access key of the server.
pub const ACCESS_KEY: &str = "cairn-test";
/// Secret key of the server.
pub const SECRET_KEY: &str = "cairn-secret";

/// Serves `root`, whose folders are the buckets, until `runtime` shuts down. Gives host and port.
pub async fn serve(root: &Path, runtime: &Runtime) -> String {
    let mut builder = S3ServiceBuilder::new(s3s_fs::FileSystem::new(root).expect("a folder to serve"));
    builder.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
    let service = builder.build();
    let listener = runtime.net.bind("127.0.0.1:0").await.expect("a free port");
    let addr = listener.local_addr().expect("an address");
    let (tasks, shutdown) = (runtime.tasks.clone(), runtime.tasks.shutdown().clone());
    runtime.tasks.spawn("s3 server", async move {
        loop {
            let stream = tokio::select! {
                () = shutdown.begun() => return,
                accepted = listener.accept() => accepted.expect("a connection").0,
            };
            let (service, shutdown) = (service.clone(), shutdown.clone());
            tasks.spawn("s3 connection", async move {
                let http = Builder::new(TokioExecutor::new());
                tokio::select! {
                    () = shutdown.begun() => {}
                    _ = http.serve_connection(TokioIo::new(stream), service) => {}
                }
            });
        }
    });
    addr.to_string()
}
