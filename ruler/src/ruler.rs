//! All groups together: loading, reloading, starting, stopping.
//!
//! A reload is all or nothing: when any file is broken the rules loaded before stay in force, and
//! `thanos_rule_config_last_reload_successful` says so. Groups that did not change go on undisturbed; a changed group takes
//! over what the old one knew.

use std::collections::{BTreeMap, BTreeSet};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use cairn_model::{Labels, TimestampMs};
use cairn_runtime::{Runtime, Shutdown};

use crate::context::{Context, RulerOptions, RulerParts};
use crate::error::LoadError;
use crate::file::{ReadOptions, RuleGroup, parse_rule_file};
use crate::files;
use crate::group::{Group, GroupKey, GroupState, GroupView};
use crate::progress::Progress;

/// Groups a ruler takes. Judgement: each costs a task, a timer and two dozen time series of metrics.
pub const MAX_GROUPS: usize = 20_000;
/// How often it is written down how far groups got.
const SAVE_INTERVAL: Duration = Duration::from_secs(5);

type Groups = BTreeMap<GroupKey, Arc<Group>>;

/// How reading the rule files went, as the metrics of the same meaning say it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ReloadState {
    /// Whether the last attempt succeeded.
    pub successful: bool,
    /// When the rules in force were read.
    pub success_ms: TimestampMs,
}

/// The ruler. Clones share everything.
#[derive(Clone)]
pub struct Ruler {
    context: Arc<Context>,
    progress: Arc<Progress>,
    groups: Arc<ArcSwap<Groups>>,
    /// One reload at a time.
    reloading: Arc<tokio::sync::Mutex<()>>,
}

impl Ruler {
    /// A ruler without rules. Blocks on the disk for a moment; [`Ruler::reload`] loads the rules and starts them.
    pub fn new(parts: RulerParts, options: RulerOptions, runtime: &Runtime) -> Ruler {
        let progress = Progress::load(&*runtime.disk, options.progress_file.clone());
        let ruler = Ruler {
            context: Arc::new(Context::new(parts, options, runtime.clone())),
            progress: Arc::new(progress),
            groups: Arc::new(ArcSwap::from_pointee(Groups::new())),
            reloading: Arc::default(),
        };
        let saver = ruler.clone();
        runtime.tasks.spawn_loop("rule_progress", runtime.clock.clone(), move |shutdown| {
            saver.clone().save_now_and_then(shutdown)
        });
        ruler
    }

    /// Reads all rule files and puts them in force. The first call starts the rules.
    ///
    /// # Errors
    /// [`LoadError`]; then nothing has changed.
    pub async fn reload(&self) -> Result<(), LoadError> {
        let _one_at_a_time = self.reloading.lock().await;
        let loaded = self.load();
        self.context.metrics.reload_successful.set(i64::from(loaded.is_ok()));
        let loaded = loaded?;
        self.context.metrics.reload_success_s.set(self.context.runtime.clock.now_ms() as f64 / 1000.0);
        self.put_in_force(loaded).await;
        Ok(())
    }

    fn load(&self) -> Result<BTreeMap<GroupKey, RuleGroup>, LoadError> {
        let disk = &*self.context.runtime.disk;
        let paths = files::find(disk, &self.context.options.rule_files)
            .map_err(|(path, source)| LoadError::Read { path, source })?;
        let read = ReadOptions { features: self.context.options.features, ..ReadOptions::default() };
        let mut groups = BTreeMap::new();
        let mut invalid: Vec<(PathBuf, crate::file::Problem)> = Vec::new();
        for path in paths {
            let bytes = disk.read(&path).map_err(|source| LoadError::Read { path: path.clone(), source })?;
            let text = String::from_utf8_lossy(&bytes);
            match parse_rule_file(&text, read) {
                Ok(parsed) => groups.extend(parsed.into_iter().map(|group| {
                    (GroupKey { file: path.display().to_string(), name: group.name.clone() }, group)
                })),
                Err(problems) => invalid.extend(problems.into_iter().map(|problem| (path.clone(), problem))),
            }
        }
        if !invalid.is_empty() {
            return Err(LoadError::Invalid(invalid));
        }
        if groups.len() > MAX_GROUPS {
            return Err(LoadError::TooMany { what: "rule groups", have: groups.len(), limit: MAX_GROUPS });
        }
        Ok(groups)
    }

    async fn put_in_force(&self, loaded: BTreeMap<GroupKey, RuleGroup>) {
        let old = self.groups.load_full();
        let mut new = Groups::new();
        let mut to_start = Vec::new();
        for (key, source) in loaded {
            match old.get(&key) {
                Some(group) if group.source == source => {
                    new.insert(key, group.clone());
                }
                replaced => {
                    let group = Group::new(key.clone(), source, self.context.clone());
                    let group = Arc::new(group.expect("validation parsed every template"));
                    to_start.push((group.clone(), replaced.cloned()));
                    new.insert(key, group);
                }
            }
        }
        let gone: Vec<Arc<Group>> =
            old.iter().filter(|(key, _)| !new.contains_key(*key)).map(|(_, g)| g.clone()).collect();
        self.progress.keep_only(&new.keys().cloned().collect::<BTreeSet<_>>());
        self.groups.store(Arc::new(new));
        for (group, replaced) in to_start {
            if let Some(old) = replaced {
                let state = stop(&old).await;
                *group.parked.lock() = state.map(|state| group.inherit(&old, state));
            }
            self.start(group);
        }
        for group in gone {
            let state = stop(&group).await;
            self.context.metrics.forget(&group.key.metric_label());
            self.end_series(group, state);
        }
    }

    fn start(&self, group: Arc<Group>) {
        let runtime = &self.context.runtime;
        let progress = self.progress.clone();
        runtime
            .tasks
            .spawn_loop("rule_group", runtime.clock.clone(), move |_| group.clone().run(progress.clone()));
    }

    /// Marks the series of a group that is no more as stale, two intervals from now: a reload that moves a rule to another
    /// group must not end series that go on there.
    fn end_series(&self, group: Arc<Group>, state: Option<GroupState>) {
        let Some(state) = state else { return };
        let ruler = self.clone();
        let clock = self.context.runtime.clock.clone();
        let shutdown = self.context.runtime.tasks.shutdown().clone();
        self.context.runtime.tasks.spawn("rule_group_end", async move {
            let wait = Duration::from_millis(2 * group.grid.interval_ms() as u64);
            tokio::select! {
                () = shutdown.begun() => return,
                () = clock.sleep(wait) => {}
            }
            let mut series: BTreeSet<_> = state.orphans;
            series.extend(state.rules.iter().flat_map(|rule| rule.previous.iter().cloned()));
            series.retain(|labels| !ruler.writes(labels));
            group.end(series, clock.now_ms()).await;
        });
    }

    /// Whether a rule in force wrote this series at its last slot.
    fn writes(&self, labels: &Labels) -> bool {
        self.groups
            .load()
            .values()
            .any(|group| group.written.load().iter().any(|written| written.contains(labels)))
    }

    /// How the last reload went.
    pub fn reload_state(&self) -> ReloadState {
        let metrics = &self.context.metrics;
        ReloadState {
            successful: metrics.reload_successful.get() == 1,
            success_ms: (metrics.reload_success_s.get() * 1000.0).round() as TimestampMs,
        }
    }

    /// All groups, sorted by file and name, as of their last slots.
    pub fn groups(&self) -> Vec<Arc<GroupView>> {
        self.groups.load().values().map(|group| group.view.load_full()).collect()
    }

    /// External labels of the tenant that rules belong to.
    pub(crate) fn implied_labels(&self) -> &Labels {
        &self.context.options.implied_labels
    }

    /// Endpoints of the Alertmanagers that alerts go to.
    pub fn alertmanagers(&self) -> Vec<String> {
        self.context.parts.notifier.endpoints()
    }

    async fn save_now_and_then(self, shutdown: Shutdown) {
        let runtime = &self.context.runtime;
        loop {
            let stopping = shutdown.has_begun();
            let (progress, disk) = (self.progress.clone(), runtime.disk.clone());
            match runtime.cpu.run_blocking(move || progress.save(&*disk)).await {
                Ok(Ok(())) => {}
                Ok(Err(e)) => tracing::warn!(error = %e, "cannot write down how far rules got"),
                Err(e) => tracing::error!(error = %e, "cannot write down how far rules got"),
            }
            if stopping {
                return;
            }
            tokio::select! {
                () = shutdown.begun() => {}
                () = runtime.clock.sleep(SAVE_INTERVAL) => {}
            }
        }
    }
}

/// Stops a group after the slot it is at and gives what it remembers.
async fn stop(group: &Group) -> Option<GroupState> {
    group.stop.begin();
    let mut ended = group.ended.subscribe();
    // The sender lives in the group itself, so this ends only when the loop has.
    let _ = ended.wait_for(|ended| *ended).await;
    group.parked.lock().take()
}

#[cfg(test)]
mod tests;
