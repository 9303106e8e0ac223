//! A scripted receiver: what counts as acked, refused and unknown, and what is sent again.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};

use super::*;

/// What the receiver does with one request.
#[derive(Debug, Clone, Copy)]
enum Act {
    Answer(&'static str),
    /// Reads the request and closes without an answer.
    HangUp,
}

const OK: Act = Act::Answer("HTTP/1.1 204 No Content\r\n\r\n");
const BAD: Act = Act::Answer("HTTP/1.1 400 Bad Request\r\nContent-Length: 11\r\n\r\nout of line");
const BUSY: Act = Act::Answer("HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n");

/// Serves one connection after another until the script is done; every request is three bytes long. After the script
/// the port is closed. Returns the first byte of each request it read.
fn receiver(script: Vec<Act>) -> (SocketAddr, std::thread::JoinHandle<Vec<u8>>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    let serve = move || {
        let mut seen = Vec::new();
        let mut stream: Option<TcpStream> = None;
        for act in script {
            let mut request = [0; 3];
            loop {
                let open = stream.get_or_insert_with(|| listener.accept().unwrap().0);
                match open.read_exact(&mut request) {
                    Ok(()) => break,
                    Err(_) => stream = None,
                }
            }
            seen.push(request[0]);
            match act {
                Act::Answer(text) => stream.as_mut().unwrap().write_all(text.as_bytes()).unwrap(),
                Act::HangUp => stream = None,
            }
        }
        seen
    };
    (address, std::thread::spawn(serve))
}

fn requests(names: &[u8]) -> Vec<Request> {
    let one =
        |(index, name): (usize, &u8)| Request { bytes: vec![*name; 3], samples: 10, index: index as u32 };
    names.iter().enumerate().map(one).collect()
}

fn policy(address: SocketAddr, retry_for: Duration) -> Policy {
    Policy { address, retry_for, spacing: None, reconnect: false }
}

fn send(script: Vec<Act>, names: &[u8], retry_for: Duration) -> (Tally, Vec<u8>) {
    let (address, server) = receiver(script);
    let mut senders = Senders::new(policy(address, retry_for), 1);
    let tally = senders.send(1, &[requests(names)], None).unwrap();
    drop(senders);
    (tally, server.join().unwrap())
}

/// Long enough for every retry of these tests; none waits for it to pass.
const LONG: Duration = Duration::from_secs(30);

#[test]
fn only_a_2xx_is_acked_and_the_first_refusal_is_kept() {
    let (tally, seen) = send(vec![OK, BAD, OK], b"abc", Duration::ZERO);
    assert_eq!(seen, b"abc");
    assert_eq!((tally.acked, tally.refused, tally.unknown), (20, 10, 0));
    assert_eq!(tally.statuses, BTreeMap::from([(204, 2), (400, 1)]));
    assert_eq!(tally.first_refusal.as_deref(), Some("400: out of line"));
    assert_eq!(tally.outcome(), Outcome::SomeRefused);
}

#[test]
fn a_request_that_breaks_is_neither_acked_nor_refused_and_ends_the_run() {
    let (tally, seen) = send(vec![OK, Act::HangUp], b"abc", Duration::ZERO);
    assert_eq!(seen, b"ab");
    assert_eq!((tally.acked, tally.refused, tally.unknown), (10, 0, 10));
    assert_eq!(tally.outcome(), Outcome::Unreachable);
}

#[test]
fn a_busy_or_broken_answer_is_tried_again_and_a_client_error_is_not() {
    let (tally, seen) = send(vec![BUSY, OK, Act::HangUp, OK, BAD, OK], b"abcd", LONG);
    assert_eq!(seen, b"aabbcd");
    assert_eq!((tally.acked, tally.refused, tally.unknown, tally.retries), (30, 10, 0, 2));
    assert_eq!(tally.outcome(), Outcome::SomeRefused);
}

#[test]
fn what_is_logged_is_exactly_what_was_acked() {
    use crate::acked_log::{self, Run};
    use crate::fleet::Plan;
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("acked");
    let plan = Plan { series: 30, churn_percent: 0.0, seed: 1, start_ms: 0, step_ms: 15_000 };
    let run = Run { plan, rounds: 1, request_samples: 10, connections: 1, shuffle: false };
    let log = AckedLog::create(&path, &run).unwrap();
    let (address, server) = receiver(vec![OK, BAD, OK]);
    let mut senders = Senders::new(policy(address, Duration::ZERO), 1);
    senders.send(7, &[requests(b"abc")], Some(&log)).unwrap();
    server.join().unwrap();
    assert_eq!(acked_log::read(&path).unwrap(), (run, vec![(7, 0), (7, 2)]));
}

#[test]
fn nobody_listening_is_unreachable() {
    let address = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let mut senders = Senders::new(policy(address, Duration::ZERO), 2);
    let tally = senders.send(1, &[requests(b"a"), requests(b"b")], None).unwrap();
    assert_eq!(tally.outcome(), Outcome::Unreachable);
    assert_eq!(tally.acked, 0);
}

#[test]
fn latency_counts_from_the_due_time_only_where_the_target_was_late() {
    let spacing = Duration::from_millis(20);
    let behind = Instant::now().checked_sub(Duration::from_secs(5)).unwrap();
    let schedule = Schedule { start: behind, spacing: Some(spacing), lane: 1, lanes: 2 };
    assert_eq!(schedule.wait(3), (behind + spacing * 7, Duration::ZERO), "kept from being sent");
    let ahead = Schedule { start: Instant::now(), ..schedule };
    let (from, late) = ahead.wait(0);
    assert_eq!(from, ahead.start + spacing + late, "the lane was free");
    let unpaced = Schedule { spacing: None, ..ahead };
    assert_eq!(unpaced.wait(9).1, Duration::ZERO);
}
