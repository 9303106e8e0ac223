//! What the actors share: time, the node of the present life, the weather, the ledger, the trace.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use cairn_model::TimestampMs;
use cairn_runtime::{Clock, Disk, MemDisk, Rng, TokioClock};

use crate::invariants::tokens_grow::Seen;
use crate::invariants::{Violation, acked_is_readable, nothing_invented};
use crate::ledger::Ledger;
use crate::mutants::Mutant;
use crate::node::{DATA_DIR, Machine, Node};
use crate::trace::Trace;
use crate::traffic::Offer;
use crate::weather::Weather;

/// Wall time of the first moment: a fixed one, so that a seed is one run.
const START_MS: TimestampMs = 1_700_000_000_000;

/// The product's time window (`TenantLimits`); traffic keeps a minute away from its ends.
const LATE_MS: i64 = 6 * 3_600_000;
const FUTURE_MS: i64 = 10 * 60_000;

/// After bad weather or a start, 503 is excused for this long.
const GRACE: Duration = Duration::from_secs(5);

/// The world of one run.
pub struct World {
    /// Time of the node, whose wall clock may be moved.
    pub clock: Arc<TokioClock>,
    /// The weather over the node's disk.
    pub weather: Weather,
    /// The planted fault.
    pub mutant: Option<Mutant>,
    /// What senders know.
    pub ledger: RefCell<Ledger>,
    /// Requests to repeat.
    pub pending: RefCell<Vec<Offer>>,
    /// Tokens and epochs.
    pub seen: RefCell<Seen>,
    /// Windows that begin before this may have been closed.
    pub open_from_ms: Cell<TimestampMs>,
    /// Requests that are not answered yet.
    pub in_flight: Cell<u32>,
    trace: RefCell<Trace>,
    checks: Cell<u64>,
    machine: Machine,
    node: RefCell<Option<Rc<Node>>>,
    life: Cell<u64>,
    bad_until: Cell<Duration>,
    rng: Rng,
}

impl World {
    /// The world of `seed`.
    pub fn new(seed: u64, mutant: Option<Mutant>) -> Self {
        let rng = Rng::from_seed(seed);
        let (clock, disk) = (Arc::new(TokioClock::starting_at(START_MS)), MemDisk::new());
        let machine = Machine { clock: clock.clone(), disk: disk.clone(), mutant };
        World {
            clock,
            weather: Weather::over(&disk, &rng),
            mutant,
            ledger: RefCell::default(),
            pending: RefCell::default(),
            seen: RefCell::default(),
            open_from_ms: Cell::new(TimestampMs::MIN),
            in_flight: Cell::new(0),
            trace: RefCell::default(),
            checks: Cell::new(0),
            machine,
            node: RefCell::default(),
            life: Cell::new(0),
            bad_until: Cell::new(Duration::ZERO),
            rng,
        }
    }

    /// Randomness of an actor's own.
    pub fn fork_rng(&self) -> Rng {
        self.rng.fork()
    }

    /// Adds an event to the trace.
    pub fn event(&self, actor: &str, outcome: &str) {
        self.trace.borrow_mut().event(self.clock.monotonic().as_millis(), actor, outcome);
    }

    /// The trace so far.
    pub fn trace(&self) -> std::cell::Ref<'_, Trace> {
        self.trace.borrow()
    }

    /// Checks of invariants so far.
    pub fn checks(&self) -> u64 {
        self.checks.get()
    }

    /// Notes that an invariant was checked and held.
    pub fn checked(&self) {
        self.checks.set(self.checks.get() + 1);
    }

    /// The node, when it runs.
    pub fn node(&self) -> Option<Rc<Node>> {
        self.node.borrow().clone()
    }

    /// Number of the present life; grows with every start and end.
    pub fn life(&self) -> u64 {
        self.life.get()
    }

    /// Whether the product takes samples of this time now.
    pub fn admissible(&self, t_ms: TimestampMs) -> bool {
        let now = self.clock.now_ms();
        (now - LATE_MS..=now + FUTURE_MS).contains(&t_ms)
    }

    /// Remembers bad weather, so that what fails shortly after is excused.
    pub fn note_weather(&self) {
        if self.weather.is_bad() {
            self.bad_until.set(self.clock.monotonic() + GRACE);
        }
    }

    /// Whether a failure is excused now.
    pub fn is_excused(&self) -> bool {
        self.note_weather();
        self.clock.monotonic() < self.bad_until.get()
    }

    /// Starts a life; `false` when the disk did not let it.
    pub async fn start(&self) -> bool {
        self.note_weather();
        self.life.set(self.life.get() + 1);
        let started = Node::start(&self.machine, self.rng.next_u64()).await;
        self.note_weather();
        match started {
            Ok(node) => {
                let (blocks, corruptions) = (node.db.blocks(), node.db.replay_report().corruptions());
                let (sound, unsound) = (blocks.len(), blocks.quarantined().len());
                self.event(
                    "node",
                    &format!("up, {corruptions} corruptions, {sound} blocks, {unsound} unsound"),
                );
                *self.node.borrow_mut() = Some(Rc::new(node));
                true
            }
            Err(why) => {
                self.event("node", &format!("cannot start: {why}"));
                false
            }
        }
    }

    /// Ends the life in good order.
    pub async fn stop(&self) {
        let Some(node) = self.node.borrow_mut().take() else { return };
        self.life.set(self.life.get() + 1);
        node.stop().await;
        self.event("node", "stopped");
    }

    /// Cuts the power: what was not synced is gone.
    pub async fn crash(&self) {
        let node = self.node.borrow_mut().take();
        self.life.set(self.life.get() + 1);
        if let Some(node) = &node {
            node.kill();
        }
        self.weather.crash(&self.rng);
        self.mutate_disk();
        self.event("node", "crashed");
        if let Some(node) = &node {
            node.bury().await;
        }
    }

    /// Reads everything and checks what must hold of it.
    ///
    /// # Errors
    /// The violation; a read that fails without cause is one too.
    pub async fn audit(&self, when: &str) -> Result<(), Violation> {
        let Some(node) = self.node() else { return Ok(()) };
        let life = self.life();
        let excused = self.is_excused();
        let acked = self.ledger.borrow().acked();
        match node.read_all().await {
            Ok(contents) => {
                acked_is_readable::check(&acked, &contents, when)?;
                nothing_invented::check(&self.ledger.borrow(), &contents, when)?;
                self.checked();
                let samples: usize = contents.values().map(|s| s.len()).sum();
                self.event("audit", &format!("{} series, {samples} samples, {when}", contents.len()));
            }
            Err(e) if excused || self.is_excused() || self.life() != life => {
                self.event("audit", &format!("cannot read: {e}"));
            }
            Err(e) => {
                let what = format!("a read failed although the disk was well, {when}: {e}");
                return Err(Violation::new("a sound node answers", what));
            }
        }
        Ok(())
    }

    /// A digest of the disk, for the trace.
    pub fn disk_digest(&self) -> u64 {
        crate::node::disk_digest(&self.machine.disk)
    }

    fn mutate_disk(&self) {
        let (disk, dir) = (&self.machine.disk, std::path::Path::new(DATA_DIR));
        match self.mutant {
            Some(Mutant::ForgetControlPlane) => {
                let _ = disk.remove_dir_all(&dir.join("raft"));
                let _ = disk.remove_file(&dir.join("node.json"));
            }
            Some(Mutant::LoseNewestSegment) => {
                let wal = dir.join("tsdb/wal");
                let newest = disk.list(&wal).unwrap_or_default().pop();
                newest.map(|entry| disk.remove_file(&wal.join(entry.name)));
            }
            _ => {}
        }
    }
}
