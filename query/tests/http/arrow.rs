//! Results as Arrow over HTTP.

use std::io::Cursor;

use arrow_ipc::reader::StreamReader;
use axum::body::Body;
use axum::http::Request;

use crate::world::{Asked, Memory, World, ask, series};

const ARROW: &str = "application/vnd.apache.arrow.stream";

async fn query(path: &str, accept: &str) -> Asked {
    let head = Memory {
        name: "head",
        tenant: "a",
        series: vec![series(&[("__name__", "up"), ("tenant_id", "a")], &[(0, 1.0), (60_000, 0.0)], None)],
        down: false,
    };
    let world = World { stores: vec![head], replica_labels: vec![], auto_downsampling: false };
    let request = Request::get(path).header("accept", accept).body(Body::empty()).unwrap();
    ask(&world.api().router(), request).await
}

#[tokio::test]
async fn who_accepts_arrow_gets_a_stream_and_others_json() {
    for (path, rows) in
        [("/api/v1/query?query=up&time=60", 1), ("/api/v1/query_range?query=up&start=0&end=60&step=30", 3)]
    {
        let answer = query(path, ARROW).await;
        assert_eq!((answer.status, &answer.headers["content-type"]), (200, &ARROW.parse().unwrap()));
        let reader = StreamReader::try_new(Cursor::new(answer.body), None).unwrap();
        assert_eq!(reader.map(|batch| batch.unwrap().num_rows()).sum::<usize>(), rows, "{path}");
        let plain = query(path, "*/*").await;
        assert_eq!(plain.headers["content-type"], "application/json");
        assert_eq!(plain.json()["status"], "success");
    }
}

#[tokio::test]
async fn errors_are_json_even_then() {
    let answer = query("/api/v1/query?query=up{", ARROW).await;
    assert_eq!((answer.status, answer.json()["errorType"].as_str()), (400, Some("bad_data")));
}
