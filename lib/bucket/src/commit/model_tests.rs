//! Every interleaving of several attempts against a model of the bucket, with lost and late answers, crashes and
//! damage. `decide` is the code under test; the model does what a store may do.

use std::collections::HashSet;

use ulid::Ulid;

use super::decide::{Step, decide};
use super::view::{Files, Meta, Newest, Own, View};

const ATTEMPTS: usize = 2;
const MAX_RECORDS: usize = 4;
const MAX_ULIDS: u64 = 6;

#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
struct Folder {
    exists: bool,
    sound: bool,
    meta: bool,
}

/// A write that was sent and not answered: it may be applied at any later time, once.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
enum Late {
    Record(usize, u64),
    Meta(u64),
}

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
struct World {
    records: Vec<u64>,
    folders: [Folder; MAX_ULIDS as usize],
    ulids: u64,
    late: Vec<Late>,
    attempts: [Option<View>; ATTEMPTS],
    done: bool,
    faults_left: u8,
    damage_left: u8,
    restarts_left: u8,
}

impl World {
    fn new(faults: u8, damage: u8, restarts: u8) -> Self {
        World {
            records: Vec::new(),
            folders: Default::default(),
            ulids: 0,
            late: Vec::new(),
            attempts: [Some(View::new(false)); ATTEMPTS],
            done: false,
            faults_left: faults,
            damage_left: damage,
            restarts_left: restarts,
        }
    }

    fn folder(&mut self, u: Ulid) -> &mut Folder {
        &mut self.folders[u.random() as usize]
    }

    fn newest(&self) -> Newest {
        match self.records.last() {
            None => Newest::None,
            Some(u) => Newest::Record { n: self.records.len() as u32 - 1, ulid: Some(id(*u)) },
        }
    }

    fn create_record(&mut self, n: usize, u: u64) -> bool {
        let new = self.records.len() == n;
        if new {
            let f = self.folders[u as usize];
            assert!(f.exists, "a record names only a folder that is there: {self:?}");
            self.records.push(u);
        }
        new
    }

    fn create_meta(&mut self, u: u64) -> bool {
        assert!(self.records.contains(&u), "only a record's ULID gets a meta.json: {self:?}");
        !std::mem::replace(&mut self.folders[u as usize].meta, true)
    }

    fn check(&self) {
        let committed = self.records.last().map(|u| self.folders[*u as usize]);
        if self.done && self.damage_left > 0 {
            let f = committed.expect("done means recorded");
            assert!(f.exists && f.sound, "a done commit without damage stays whole: {self:?}");
        }
        if let Some(u) = self.records.last() {
            assert!(
                self.folders[*u as usize].exists,
                "the newest record's folder is never deleted: {self:?}"
            );
        }
    }
}

fn id(u: u64) -> Ulid {
    Ulid::from_parts(0, u.into())
}

/// All worlds one event away.
fn successors(w: &World) -> Vec<World> {
    let mut next = Vec::new();
    for i in 0..ATTEMPTS {
        if let Some(view) = w.attempts[i] {
            step(w, i, view, &mut next);
            if w.faults_left > 0 {
                let mut crashed = w.clone();
                crashed.faults_left -= 1;
                crashed.attempts[i] = None;
                next.push(crashed);
            }
        } else if w.restarts_left > 0 {
            let mut again = w.clone();
            again.restarts_left -= 1;
            again.attempts[i] = Some(View::new(false));
            next.push(again);
        }
    }
    for l in 0..w.late.len() {
        let mut applied = w.clone();
        match applied.late.remove(l) {
            Late::Record(n, u) => drop(applied.create_record(n, u)),
            Late::Meta(u) => drop(applied.create_meta(u)),
        }
        next.push(applied);
    }
    if w.damage_left > 0 {
        for u in 0..w.ulids as usize {
            if w.folders[u].sound {
                let mut damaged = w.clone();
                damaged.damage_left -= 1;
                damaged.folders[u].sound = false;
                next.push(damaged);
            }
        }
    }
    next
}

fn step(w: &World, i: usize, mut v: View, next: &mut Vec<World>) {
    let mut push = |mut w: World, v: Option<View>| {
        w.attempts[i] = v;
        next.push(w);
    };
    let fault =
        |w: &World| (w.faults_left > 0).then(|| World { faults_left: w.faults_left - 1, ..w.clone() });
    let mut after = w.clone();
    match decide(&v) {
        Step::ReadRecords => {
            v.saw_newest(w.newest());
            push(after, Some(v));
        }
        Step::Upload => {
            if w.ulids == MAX_ULIDS {
                return push(after, None);
            }
            let u = w.ulids;
            after.ulids += 1;
            after.folders[u as usize] = Folder { exists: true, sound: true, meta: false };
            v.own = Own::Uploaded(id(u));
            push(after, Some(v));
        }
        Step::ReadBack(u) => {
            v.own = Own::Verified(u);
            let sound = after.folder(u).sound;
            push(after, sound.then_some(v));
        }
        Step::CreateRecord { n, ulid } => {
            let u = ulid.expect("these jobs have data").random() as u64;
            if n as usize >= MAX_RECORDS {
                return push(after, None);
            }
            if let Some(mut lost) = fault(w) {
                let mut unanswered = v;
                unanswered.create_unanswered = true;
                unanswered.forget_records();
                let mut late = lost.clone();
                late.late.push(Late::Record(n as usize, u));
                push(late, Some(unanswered));
                lost.create_record(n as usize, u);
                push(lost, Some(unanswered));
            }
            if after.create_record(n as usize, u) {
                v.saw_newest(Newest::Record { n, ulid });
            } else {
                v.forget_records();
            }
            push(after, Some(v));
        }
        Step::ReadRetired => {
            v.retired = Some(false);
            push(after, Some(v));
        }
        Step::ReadMeta(u) => {
            v.saw_meta(if after.folder(u).meta { Meta::Equal } else { Meta::Absent });
            push(after, Some(v));
        }
        Step::CreateMeta(u) => {
            if let Some(mut lost) = fault(w) {
                let mut unanswered = v;
                unanswered.saw_meta(Meta::Unknown);
                let mut late = lost.clone();
                late.late.push(Late::Meta(u.random() as u64));
                push(late, Some(unanswered));
                lost.create_meta(u.random() as u64);
                push(lost, Some(unanswered));
            }
            v.saw_meta(if after.create_meta(u.random() as u64) { Meta::Equal } else { Meta::Unknown });
            push(after, Some(v));
        }
        Step::CheckFiles(u) => {
            let f = *after.folder(u);
            v.files = if f.exists && f.sound { Files::Sound } else { Files::Unsound };
            v.retired = None;
            push(after, Some(v));
        }
        Step::WithdrawMeta(u) => {
            after.folder(u).meta = false;
            v.meta = Meta::Absent;
            v.files = Files::Unsound;
            push(after, Some(v));
        }
        Step::DiscardOwn(u) => {
            let named = w.records.iter().position(|r| id(*r) == u);
            assert!(named.is_none_or(|n| n + 1 < w.records.len()), "deletes only what lost: {w:?}");
            assert!(!w.late.iter().any(|l| matches!(l, Late::Record(_, r) if id(*r) == u)), "{w:?}");
            *after.folder(u) = Folder::default();
            v.own = Own::Nothing;
            push(after, Some(v));
        }
        Step::Done { n, ulid } => {
            let u = ulid.expect("these jobs have data");
            let f = *after.folder(u);
            let newer = w.records.len() as u32 > n + 1;
            assert!(f.exists && (f.meta || w.damage_left == 0 || newer), "done means published: {w:?}");
            after.done = true;
            push(after, None);
        }
        Step::Retired | Step::GiveUp => unreachable!("nothing is retired or expired here"),
    }
}

/// Visits every reachable world and gives their number.
fn explore(start: World) -> usize {
    let mut seen = HashSet::from([start.clone()]);
    let mut todo = vec![start];
    while let Some(w) = todo.pop() {
        w.check();
        for next in successors(&w) {
            if seen.insert(next.clone()) {
                todo.push(next);
            }
        }
    }
    seen.len()
}

#[test]
fn every_interleaving_with_lost_and_late_answers_keeps_the_invariants() {
    let worlds = explore(World::new(2, 0, 2));
    assert!(worlds > 10_000, "explored only {worlds} worlds");
}

#[test]
fn every_interleaving_with_damage_keeps_the_invariants() {
    let worlds = explore(World::new(1, 1, 1));
    assert!(worlds > 10_000, "explored only {worlds} worlds");
}

#[test]
fn left_alone_an_attempt_ends_in_a_published_block_from_every_world() {
    // Worlds with all that can go wrong behind them: one attempt, started now, must get through.
    let mut seen = HashSet::from([World::new(1, 1, 1)]);
    let mut todo: Vec<World> = seen.iter().cloned().collect();
    let mut healed = 0;
    while let Some(w) = todo.pop() {
        let mut calm = w.clone();
        (calm.faults_left, calm.damage_left, calm.restarts_left) = (0, 0, 0);
        calm.late.clear();
        calm.attempts = [Some(View::new(false)), None];
        calm.done = false;
        if calm.ulids < MAX_ULIDS - 1 && calm.records.len() < MAX_RECORDS - 1 {
            for _ in 0..40 {
                let Some(v) = calm.attempts[0] else { break };
                let mut next = Vec::new();
                step(&calm, 0, v, &mut next);
                calm = next.pop().expect("a step has an outcome");
            }
            let u = *calm.records.last().expect("there is a record");
            let f = calm.folders[u as usize];
            assert!(calm.done && f.exists && f.sound && f.meta, "from {w:?}\nto {calm:?}");
            healed += 1;
        }
        for next in successors(&w) {
            if seen.insert(next.clone()) {
                todo.push(next);
            }
        }
    }
    assert!(healed > 1_000, "healed only {healed} worlds");
}
