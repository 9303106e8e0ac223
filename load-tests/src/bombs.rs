//! `load-tests bombs`: requests that decompress to far more than they are, and requests that lie about their length,
//! while the server's memory is watched.
//!
//! A receiver must refuse both from the first bytes: four bodies of 12.6 MB that decode to 256 MiB, then a thousand
//! tiny ones whose header claims 1 GiB. Every sender must read a status; a connection that breaks counts against it.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use serde_json::json;

use crate::sender::{Connection, Outcome};
use crate::server_process::usage;
use crate::target::Target;
use crate::wire::{Proto, request_head};

const BOMBS: usize = 4;
const BOMB_DECODED_BYTES: usize = 256 << 20;
const LIES: usize = 1_000;
const LIE_CLAIMED_BYTES: u64 = 1 << 30;
const LIARS: usize = 8;
/// Memory is read this often.
const WATCH_EVERY: Duration = Duration::from_millis(5);

/// Options of the command.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Where to send, http://HOST:PORT/PATH.
    #[arg(long)]
    url: String,
    /// Server process whose memory and CPU time are reported.
    #[arg(long)]
    pid: u32,
}

/// Runs the command; prints one JSON line. Anything but a 4xx for each request is [`Outcome::SomeRefused`].
///
/// # Errors
/// When an argument makes no sense or the process cannot be read.
pub fn run(args: &Args) -> Result<Outcome> {
    let target = Target::parse(&args.url)?;
    let address = target.address()?;
    let head = request_head(&target, Proto::V1, None);
    let request = |body: &[u8]| {
        let mut bytes = format!("{head}{}\r\n\r\n", body.len()).into_bytes();
        bytes.extend_from_slice(body);
        bytes
    };
    let bomb =
        snap::raw::Encoder::new().compress_vec(&vec![0; BOMB_DECODED_BYTES]).context("cannot make a bomb")?;
    let bomb_bytes = bomb.len();
    let bomb = request(&bomb);
    let lie = request(&lying_block());

    let before = usage(args.pid)?;
    let peak = AtomicU64::new(before.rss_anon_bytes);
    let done = AtomicBool::new(false);
    let (bombs, lies) = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(Ordering::Relaxed) {
                if let Ok(now) = usage(args.pid) {
                    peak.fetch_max(now.rss_anon_bytes, Ordering::Relaxed);
                }
                std::thread::sleep(WATCH_EVERY);
            }
        });
        let bombs = throw(address, &bomb, BOMBS, 1);
        let lies = throw(address, &lie, LIARS, LIES / LIARS);
        done.store(true, Ordering::Relaxed);
        (bombs, lies)
    });
    let after = usage(args.pid)?;
    println!(
        "{}",
        json!({
            "event": "bombs", "bomb_bytes": bomb_bytes, "bomb_decoded_bytes": BOMB_DECODED_BYTES,
            "bomb_answers": bombs.answers, "bombs_unanswered": bombs.unanswered,
            "lie_answers": lies.answers, "lies_unanswered": lies.unanswered,
            "server_rss_anon_before_bytes": before.rss_anon_bytes,
            "server_rss_anon_peak_bytes": peak.load(Ordering::Relaxed),
            "server_rss_anon_growth_bytes": peak.load(Ordering::Relaxed) - before.rss_anon_bytes,
            "server_cpu_s": after.cpu_s - before.cpu_s,
        })
    );
    Ok(if bombs.all_refused() && lies.all_refused() { Outcome::AllAcked } else { Outcome::SomeRefused })
}

/// A snappy block whose length says 1 GiB and which holds three bytes.
fn lying_block() -> Vec<u8> {
    let mut block = Vec::new();
    crate::wire::put_varint(&mut block, LIE_CLAIMED_BYTES);
    block.extend_from_slice(&[0x08, 1, 2, 3]);
    block
}

#[derive(Debug, Default)]
struct Answers {
    answers: BTreeMap<String, u64>,
    unanswered: u64,
}

impl Answers {
    fn all_refused(&self) -> bool {
        self.unanswered == 0 && self.answers.keys().all(|status| status.starts_with('4'))
    }
}

/// `senders` at once, each `times` over.
fn throw(address: SocketAddr, request: &[u8], senders: usize, times: usize) -> Answers {
    let mut sum = Answers::default();
    let one = || {
        let mut answers = Answers::default();
        let mut connection = None;
        for _ in 0..times {
            let open = connection.take().map_or_else(|| Connection::open(address), Ok);
            match open.and_then(|mut c| Ok((c.exchange(request)?, c))) {
                Err(_) => answers.unanswered += 1,
                Ok((answer, c)) => {
                    *answers.answers.entry(answer.status.to_string()).or_default() += 1;
                    connection = Some(c).filter(Connection::is_reusable);
                }
            }
        }
        answers
    };
    std::thread::scope(|scope| {
        let threads: Vec<_> = (0..senders).map(|_| scope.spawn(one)).collect();
        for thread in threads {
            let part = thread.join().expect("a sender does not panic");
            sum.unanswered += part.unanswered;
            for (status, count) in part.answers {
                *sum.answers.entry(status).or_default() += count;
            }
        }
    });
    sum
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lying_block_claims_a_gibibyte_and_is_tiny() {
        let block = lying_block();
        assert_eq!(snap::raw::decompress_len(&block).unwrap(), 1 << 30);
        assert!(block.len() < 16);
    }

    #[test]
    fn only_a_client_error_for_each_request_is_a_refusal() {
        let answers = |statuses: &[&str], unanswered| Answers {
            answers: statuses.iter().map(|s| ((*s).to_owned(), 1)).collect(),
            unanswered,
        };
        assert!(answers(&["400", "413"], 0).all_refused());
        assert!(!answers(&["413"], 1).all_refused());
        assert!(!answers(&["413", "503"], 0).all_refused());
        assert!(!answers(&["204"], 0).all_refused());
    }
}
