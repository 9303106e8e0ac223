//! All Alertmanagers together: each hears of every alert.

use std::path::PathBuf;
use std::sync::Arc;

use cairn_runtime::Runtime;
use parking_lot::Mutex;
use tokio::sync::Notify;

use crate::alert::AlertUpdate;
use crate::metrics::SenderMetrics;
use crate::persist;
use crate::sender::Sender;
use crate::transport::Transport;
use crate::url::AlertmanagerUrl;

/// What a notifier needs to know.
pub struct NotifierOptions {
    /// Alertmanagers; repeated ones count once.
    pub alertmanagers: Vec<AlertmanagerUrl>,
    /// Folder for undelivered alerts; `None` keeps them in memory only.
    pub outbox_dir: Option<PathBuf>,
}

/// Takes alerts and delivers each to every Alertmanager.
pub struct Notifier {
    senders: Vec<Arc<Sender>>,
}

impl Notifier {
    /// Loads what earlier runs left undelivered. Blocks on the disk; nothing is sent before [`Notifier::start`].
    pub fn new(options: NotifierOptions, transport: Arc<dyn Transport>, runtime: &Runtime) -> Notifier {
        let mut urls = options.alertmanagers;
        urls.sort();
        urls.dedup();
        let endpoints: Vec<String> = urls.iter().map(AlertmanagerUrl::shown_endpoint).collect();
        let metrics = SenderMetrics::for_all(&runtime.metrics, &endpoints);
        let senders = urls
            .into_iter()
            .zip(metrics)
            .map(|(url, metrics)| {
                let path = options.outbox_dir.as_ref().map(|dir| persist::path(dir, &url));
                let outbox =
                    path.as_ref().map(|path| persist::load(&*runtime.disk, path)).unwrap_or_default();
                metrics.queue_length.set(outbox.len() as i64);
                let saved = (!outbox.is_empty()).then(|| persist::encode(&outbox, &url));
                Arc::new(Sender {
                    url,
                    outbox: Mutex::new(outbox),
                    wake: Notify::new(),
                    metrics,
                    transport: transport.clone(),
                    runtime: runtime.clone(),
                    path,
                    saved: Mutex::new(saved),
                })
            })
            .collect();
        Notifier { senders }
    }

    /// Starts a sender for each Alertmanager. They end with the runtime's shutdown.
    pub fn start(&self, runtime: &Runtime) {
        for sender in &self.senders {
            let sender = sender.clone();
            runtime.tasks.spawn_loop("alert_sender", runtime.clock.clone(), move |shutdown| {
                sender.clone().run(shutdown)
            });
        }
    }

    /// Takes in the newest states of alerts. Never waits and never fails: what does not fit is counted as dropped.
    pub fn submit(&self, updates: &[AlertUpdate]) {
        if updates.is_empty() {
            return;
        }
        for sender in &self.senders {
            let mut outbox = sender.outbox.lock();
            for update in updates {
                let dropped = outbox.put(update.clone());
                sender.metrics.dropped.inc_by(dropped.alerts + dropped.episodes);
            }
            sender.metrics.queue_length.set(outbox.len() as i64);
            drop(outbox);
            sender.wake.notify_one();
        }
    }

    /// Endpoints that alerts are posted to, for `/api/v1/alertmanagers`. Passwords are hidden.
    pub fn endpoints(&self) -> Vec<String> {
        self.senders.iter().map(|sender| sender.url.shown_endpoint()).collect()
    }

    /// Alerts that wait, all Alertmanagers together.
    pub fn waiting(&self) -> usize {
        self.senders.iter().map(|sender| sender.outbox.lock().len()).sum()
    }
}

#[cfg(test)]
mod tests;
