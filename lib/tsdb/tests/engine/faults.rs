//! A disk that fails: every call in turn, in every way, once and for a while; and power cuts in the middle of calls.
//!
//! What was acknowledged is there after the next start, and nothing is there that was never offered.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;

use cairn_model::Labels;
use cairn_model::storage::{AppendError, Appendable};
use cairn_runtime::disk::{DiskOp, Fault};
use cairn_runtime::{MemDisk, Rng};
use cairn_tsdb::{Db, DbOptions};
use parking_lot::Mutex;

use crate::support::*;

/// Values by series and time; each offered sample has a value of its own.
type Samples = BTreeMap<(u32, i64), f64>;

#[derive(Default)]
struct Ledger {
    offered: Samples,
    acked: Samples,
    refused: usize,
}

fn small_segments() -> DbOptions {
    DbOptions { wal_segment_bytes: 700, ..options() }
}

/// Appends `rounds` of a few series; what fails is repeated once a round later, as a sender does.
async fn workload(db: &Db, ledger: &mut Ledger, rounds: std::ops::Range<i64>) {
    let mut again: Vec<(u32, i64)> = Vec::new();
    for round in rounds {
        let t_ms = 1_000_000 + round * 900;
        let mut samples: Vec<(u32, i64)> = std::mem::take(&mut again);
        samples.extend((0..4).map(|n| (n + (round % 3) as u32, t_ms + i64::from(n))));
        let mut batch = batch_of("acme");
        for (n, t) in &samples {
            let value = f64::from(*n) * 1e9 + *t as f64;
            ledger.offered.insert((*n, *t), value);
            batch.push_floats(labels(*n).as_ref(), &[(*t, value)]);
        }
        match db.append(batch).await {
            Ok(appended) => {
                assert!(appended.rejections.is_empty() && appended.unknown.is_empty(), "{appended:?}");
                ledger.acked.extend(samples.iter().map(|s| (*s, ledger.offered[s])));
            }
            Err(AppendError::ShuttingDown) => panic!("nobody shut the database down"),
            Err(_) => {
                ledger.refused += 1;
                again = samples;
                tokio::time::advance(std::time::Duration::from_millis(300)).await;
            }
        }
        if round % 7 == 6 {
            // Sealing may fail like anything else; what it did must hold.
            let _ = db.seal_locally(t_ms).await;
            db.maintain().await;
        }
    }
}

async fn check(disk: &MemDisk, ledger: &Ledger, when: &str) {
    let db = open_with(small_segments(), disk, 77).await;
    let contents = read_all(&db).await;
    let name = |n: u32| {
        let id = cairn_model::TenantId::new("acme").expect("valid");
        let external = cairn_model::external::ExternalLabels::for_tenant(&id, &Labels::empty());
        external.merge(labels(n).as_ref()).to_string()
    };
    for ((n, t), value) in &ledger.acked {
        let found = contents.get(&name(*n)).and_then(|s| s.get(t));
        let found = found.unwrap_or_else(|| panic!("acked sample {n} at {t} is missing {when}"));
        assert_eq!(found.value, cairn_model::Value::Float(*value), "{n} at {t} {when}");
    }
    let offered: BTreeSet<(String, i64)> = ledger.offered.keys().map(|(n, t)| (name(*n), *t)).collect();
    for (series, samples) in &contents {
        for t in samples.keys() {
            assert!(offered.contains(&(series.clone(), *t)), "{series} at {t} was invented {when}");
        }
    }
}

/// Watches that no file is written after its write or sync failed.
#[derive(Default)]
struct Watch {
    calls: usize,
    failed: BTreeSet<PathBuf>,
    violated: Option<String>,
}

impl Watch {
    fn see(&mut self, op: &DiskOp, fails: bool) {
        self.calls += 1;
        if let DiskOp::Write(path, _) | DiskOp::Sync(path) = op
            && path.extension().is_some_and(|e| e == "wal")
        {
            if self.failed.contains(path) {
                self.violated = Some(format!("{op:?} after a failure"));
            }
            if fails {
                self.failed.insert(path.clone());
            }
        }
    }
}

/// Runs the workload with `fault` striking the calls for which it gives one, then a power cut, then checks.
fn run_with(
    what: String,
    seed: u64,
    mut fault: impl FnMut(usize, &DiskOp) -> Option<Fault> + Send + 'static,
) -> usize {
    run(async move {
        let disk = MemDisk::new();
        let watch = Arc::new(Mutex::new(Watch::default()));
        let seen = watch.clone();
        disk.set_fault_hook(move |op| {
            let mut w = seen.lock();
            let struck = fault(w.calls, op);
            w.see(op, struck.is_some());
            struck
        });
        let mut ledger = Ledger::default();
        if let Ok(db) = Db::open(small_segments(), machine(&disk, seed)).await {
            workload(&db, &mut ledger, 0..40).await;
            disk.clear_faults();
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
            workload(&db, &mut ledger, 40..44).await;
            let last: Vec<_> = ledger.offered.keys().rev().take(1).cloned().collect();
            assert!(last.iter().all(|s| ledger.acked.contains_key(s)), "it resumes by itself, {what}");
            disk.crash(&Rng::from_seed(seed));
        }
        disk.clear_faults();
        assert_eq!(watch.lock().violated, None, "{what}");
        check(&disk, &ledger, &what).await;
        watch.lock().calls
    })
}

fn faults_of(op: &DiskOp) -> &'static [Fault] {
    match op {
        DiskOp::Write(..) => &[Fault::Eio, Fault::ShortWrite(30), Fault::Enospc(0), Fault::Enospc(11)],
        DiskOp::Open(_) | DiskOp::Change(_) => &[Fault::Eio, Fault::Enospc(0)],
        DiskOp::Read(_) | DiskOp::Sync(_) => &[Fault::Eio],
    }
}

#[test]
fn an_error_from_every_disk_call_in_turn_loses_nothing_and_invents_nothing() {
    let calls = run_with("without faults".into(), 1, |_, _| None);
    assert!(calls > 150, "the workload makes {calls} disk calls");
    for strike in 0..calls {
        for kind in 0..4 {
            run_with(format!("call {strike} failing as kind {kind}"), strike as u64, move |call, op| {
                (call == strike).then(|| faults_of(op).get(kind).copied()).flatten()
            });
        }
    }
}

/// A first life without faults and a power cut; then a start in which `fault` strikes, some requests, another power cut,
/// and a check.
fn restart_with(
    what: String,
    mut fault: impl FnMut(usize, &DiskOp) -> Option<Fault> + Send + 'static,
) -> usize {
    run(async move {
        let struck = Arc::new(Mutex::new(String::new()));
        let note = struck.clone();
        let (disk, mut ledger) = (MemDisk::new(), Ledger::default());
        let db = open_with(small_segments(), &disk, 1).await;
        workload(&db, &mut ledger, 0..20).await;
        disk.crash(&Rng::from_seed(1));
        drop(db);
        let calls = Arc::new(Mutex::new(0));
        let counted = calls.clone();
        disk.set_fault_hook(move |op| {
            let mut calls = counted.lock();
            *calls += 1;
            let strikes = fault(*calls - 1, op);
            if strikes.is_some() {
                *note.lock() = format!("{op:?}");
            }
            strikes
        });
        // A start may be refused; what was there must then still be there for the next.
        let started = Db::open(small_segments(), machine(&disk, 2)).await;
        let calls_of_start = *calls.lock();
        disk.clear_faults();
        if let Ok(db) = started {
            tokio::time::advance(std::time::Duration::from_secs(1)).await;
            workload(&db, &mut ledger, 20..30).await;
        }
        disk.crash(&Rng::from_seed(2));
        check(&disk, &ledger, &format!("{what}: {}", struck.lock())).await;
        calls_of_start
    })
}

#[test]
fn an_error_from_every_disk_call_of_a_start_loses_nothing_and_invents_nothing() {
    let calls = restart_with("without faults".into(), |_, _| None);
    assert!(calls > 10, "a start makes {calls} disk calls");
    for strike in 0..calls {
        for kind in 0..4 {
            restart_with(format!("call {strike} of a start failing as kind {kind}"), move |call, op| {
                (call == strike).then(|| faults_of(op).get(kind).copied()).flatten()
            });
        }
    }
}

#[test]
fn a_disk_that_is_full_for_a_while_answers_and_resumes() {
    for from in (10..200).step_by(7) {
        for length in [1, 5, 40] {
            run_with(format!("full from call {from} for {length}"), from as u64, move |call, op| {
                let strikes = (from..from + length).contains(&call) && !matches!(op, DiskOp::Read(_));
                let writes = matches!(op, DiskOp::Write(..) | DiskOp::Open(_));
                (strikes && writes).then_some(Fault::Enospc(call % 50))
            });
        }
    }
}

#[test]
fn a_power_cut_inside_any_call_loses_nothing_that_was_acknowledged() {
    let calls = run_with("without faults".into(), 1, |_, _| None);
    for cut in 0..calls {
        run(async move {
            let disk = MemDisk::new();
            let mut call = 0;
            disk.set_fault_hook(move |op| {
                call += 1;
                let torn = if let DiskOp::Write(_, n) = op { Fault::ShortWrite(n / 2) } else { Fault::Eio };
                (call > cut).then_some(torn)
            });
            let mut ledger = Ledger::default();
            if let Ok(db) = Db::open(small_segments(), machine(&disk, cut as u64)).await {
                workload(&db, &mut ledger, 0..40).await;
                disk.crash(&Rng::from_seed(cut as u64));
            }
            disk.clear_faults();
            check(&disk, &ledger, &format!("after a cut at call {cut}")).await;
        });
    }
}

#[test]
fn a_full_disk_is_answered_as_such_and_then_refused_unseen() {
    run(async {
        let disk = MemDisk::new();
        let db = open(&disk, 1).await;
        disk.set_fault_hook(|op| matches!(op, DiskOp::Write(..)).then_some(Fault::Enospc(3)));
        let batch = || {
            let mut batch = batch_of("acme");
            batch.push_floats(labels(1).as_ref(), &[(1_000_000, 1.0)]);
            batch
        };
        for _ in 0..2 {
            let refused = db.append(batch()).await.unwrap_err();
            assert!(matches!(&refused, AppendError::DiskFull(why) if why.contains("/data/wal")), "{refused}");
        }
        disk.clear_faults();
        tokio::time::advance(std::time::Duration::from_millis(300)).await;
        assert_eq!(db.append(batch()).await.unwrap().floats, 1);
    });
}
