//! How long the order cache's lock is held while a tenant grows to a million series.
//!
//! `cargo run --release -p cairn-receiver --example new_series_bench [SERIES] [PAUSE_MS]`
//!
//! Requests of 2,000 new series each are learnt, with a pause between them of 5 ms: what such a request takes elsewhere. Of each
//! pass the longest times of one `learn` are given, which is what every other request of the tenant waits for.
#![allow(clippy::disallowed_methods)] // a bench measures with the machine's clock

use std::sync::Arc;
use std::time::{Duration, Instant};

use cairn_receiver::identity::{Identity, Learned, NO_ENTRY};
use cairn_runtime::Rng;

/// As in the product.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const REQUEST_SERIES: usize = 2000;
const PASSES: usize = 7;

fn main() {
    let argument = |n, default| std::env::args().nth(n).and_then(|a| a.parse().ok()).unwrap_or(default);
    let (series, pause) = (argument(1, 1_000_000) as usize, Duration::from_millis(argument(2, 5)));
    let rng = Rng::from_seed(1);
    let keys: Vec<u128> =
        (0..series).map(|_| u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64())).collect();
    println!("{series} series, {REQUEST_SERIES} a request; milliseconds a request");
    println!(
        "{:>8} {:>8} {:>8} {:>8} {:>8} {:>12}",
        "median", "p99", "third", "second", "longest", "over 1 ms"
    );
    for _ in 0..PASSES {
        let identity = Arc::new(Identity::new(usize::MAX));
        let mut took: Vec<Duration> =
            keys.chunks(REQUEST_SERIES).map(|keys| learn(&identity, keys, pause)).collect();
        took.sort_unstable();
        let at = |place: usize| took[place.min(took.len() - 1)].as_secs_f64() * 1e3;
        let end = took.len();
        println!(
            "{:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>8.3} {:>12}",
            at(end / 2),
            at(end * 99 / 100),
            at(end.saturating_sub(3)),
            at(end.saturating_sub(2)),
            at(end - 1),
            took.iter().filter(|t| t.as_secs_f64() > 1e-3).count()
        );
    }
}

fn learn(identity: &Arc<Identity>, keys: &[u128], pause: Duration) -> Duration {
    let new: Vec<Learned> = (0u32..)
        .zip(keys)
        .map(|(position, &key)| Learned { position, key, region_len: 200, hash: key as u64, store_ref: 1 })
        .collect();
    let mut entries = vec![NO_ENTRY; new.len()];
    let begun = Instant::now();
    let wanted = identity.learn(&new, &mut entries, 1);
    let took = begun.elapsed();
    if wanted.any() {
        let identity = identity.clone();
        std::thread::spawn(move || identity.bring_memory(wanted));
    }
    std::thread::sleep(pause);
    took
}
