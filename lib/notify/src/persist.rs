//! An outbox as a file, so that alerts that were not delivered survive a restart.
//!
//! JSON, written whole and atomically: an outbox is empty or small except while an Alertmanager is down. Layout
//! (version 1): `{"version":1,"alertmanager":URL,"rows":[{"labels":{},"episodes":[{"startsAtMs":…,"annotations":{},
//! "generatorUrl":"…","state":…}]}]}`. A file that cannot be read is set aside and named, never an obstacle.

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};

use cairn_model::Labels;
use cairn_runtime::Disk;
use serde::{Deserialize, Serialize};

use crate::alert::{AlertState, AlertUpdate};
use crate::outbox::Outbox;
use crate::url::AlertmanagerUrl;

const VERSION: u32 = 1;

#[derive(Serialize, Deserialize)]
struct SavedOutbox {
    version: u32,
    alertmanager: String,
    rows: Vec<SavedRow>,
}

#[derive(Serialize, Deserialize)]
struct SavedRow {
    labels: BTreeMap<String, String>,
    episodes: Vec<SavedEpisode>,
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct SavedEpisode {
    starts_at_ms: i64,
    annotations: BTreeMap<String, String>,
    generator_url: String,
    state: AlertState,
}

/// The file of an Alertmanager's outbox: named by a hash, because a URL is no file name.
pub(crate) fn path(dir: &Path, url: &AlertmanagerUrl) -> PathBuf {
    let identity = Labels::from_pairs([("url", url.shown_endpoint())]).expect("one label");
    dir.join(format!("{:016x}.json", identity.stable_hash()))
}

/// The file's content.
pub(crate) fn encode(outbox: &Outbox, url: &AlertmanagerUrl) -> Vec<u8> {
    let owned = |labels: &Labels| labels.iter().map(|(n, v)| (n.to_owned(), v.to_owned())).collect();
    let rows = outbox
        .rows()
        .map(|(labels, episodes)| SavedRow {
            labels: owned(labels),
            episodes: episodes
                .iter()
                .map(|episode| SavedEpisode {
                    starts_at_ms: episode.starts_at_ms,
                    annotations: owned(&episode.annotations),
                    generator_url: episode.generator_url.clone(),
                    state: episode.state,
                })
                .collect(),
        })
        .collect();
    let saved = SavedOutbox { version: VERSION, alertmanager: url.shown_endpoint(), rows };
    serde_json::to_vec(&saved).expect("maps of strings always serialize")
}

/// Reads a file's content back.
///
/// # Errors
/// What makes it unreadable.
pub(crate) fn decode(bytes: &[u8]) -> Result<Outbox, String> {
    let saved: SavedOutbox = serde_json::from_slice(bytes).map_err(|e| e.to_string())?;
    if saved.version != VERSION {
        return Err(format!("version {}, this program reads version {VERSION}", saved.version));
    }
    let mut outbox = Outbox::default();
    for row in saved.rows {
        let labels = Labels::from_pairs(row.labels).map_err(|e| e.to_string())?;
        for episode in row.episodes {
            outbox.put(AlertUpdate {
                labels: labels.clone(),
                annotations: Labels::from_pairs(episode.annotations).map_err(|e| e.to_string())?,
                starts_at_ms: episode.starts_at_ms,
                generator_url: episode.generator_url,
                state: episode.state,
            });
        }
    }
    Ok(outbox)
}

/// Loads an outbox; an empty one when there is no file or none that can be read. Blocks.
pub(crate) fn load(disk: &dyn Disk, path: &Path) -> Outbox {
    let bytes = match disk.read(path) {
        Ok(bytes) => bytes,
        Err(e) if e.kind() == io::ErrorKind::NotFound => return Outbox::default(),
        Err(e) => {
            tracing::warn!(path = %path.display(), error = %e, "cannot read undelivered alerts: they wait for the next start");
            return Outbox::default();
        }
    };
    decode(&bytes).unwrap_or_else(|reason| {
        let aside = path.with_extension("json.bad");
        let moved = disk.rename(path, &aside);
        tracing::error!(path = %path.display(), reason, set_aside = moved.is_ok(), "cannot use undelivered alerts");
        Outbox::default()
    })
}

/// Writes an outbox; no file stands for an empty one. Blocks.
pub(crate) fn save(disk: &dyn Disk, path: &Path, content: Option<&[u8]>) -> io::Result<()> {
    let dir = path.parent().ok_or_else(|| io::Error::other("a file needs a folder"))?;
    match content {
        Some(content) => {
            disk.create_dir_all(dir)?;
            disk.write_atomic(path, content)
        }
        None if disk.exists(path)? => {
            disk.remove_file(path)?;
            disk.sync_dir(dir)
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_runtime::MemDisk;

    fn update(name: &str, start: i64, state: AlertState) -> AlertUpdate {
        AlertUpdate {
            labels: Labels::from_pairs([("alertname", name)]).unwrap(),
            annotations: Labels::from_pairs([("summary", "é \"x\"")]).unwrap(),
            starts_at_ms: start,
            generator_url: "http://x".to_owned(),
            state,
        }
    }

    #[test]
    fn an_outbox_survives_a_restart() {
        let url = AlertmanagerUrl::parse("http://am:9093").unwrap();
        let disk = MemDisk::default();
        let path = path(Path::new("/data/outbox"), &url);
        let mut outbox = Outbox::default();
        outbox.put(update("a", 1, AlertState::Resolved { at_ms: 5 }));
        outbox.put(update("a", 9, AlertState::Firing { valid_for_ms: 60 }));
        outbox.put(update("b", 2, AlertState::Firing { valid_for_ms: 60 }));
        save(&disk, &path, Some(&encode(&outbox, &url))).unwrap();
        let loaded = load(&disk, &path);
        assert_eq!(encode(&loaded, &url), encode(&outbox, &url));
        save(&disk, &path, None).unwrap();
        assert!(load(&disk, &path).is_empty());
    }

    #[test]
    fn a_damaged_file_is_set_aside() {
        let disk = MemDisk::default();
        let path = Path::new("/data/outbox/x.json");
        save(&disk, path, Some(b"{\"version\":1,")).unwrap();
        assert!(load(&disk, path).is_empty());
        assert!(disk.exists(Path::new("/data/outbox/x.json.bad")).unwrap());
        save(&disk, path, Some(br#"{"version":7,"alertmanager":"","rows":[]}"#)).unwrap();
        assert!(load(&disk, path).is_empty());
    }
}
