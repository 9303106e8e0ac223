//! Bodies that make us panic. The first two times the sender is asked to repeat, because the cause may lie
//! elsewhere; the third time the body is kept for the developers and refused for good, so that it does not come
//! for ever.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::Arc;

use cairn_runtime::Disk;
use parking_lot::Mutex;
use tracing::{error, warn};
use xxhash_rust::xxh3::xxh3_128;

/// Panics after which a body is refused.
pub const PANICS_ALLOWED: u32 = 3;
/// Bodies that are watched.
const MAX_WATCHED: usize = 64;
/// Bodies that are kept on disk.
const MAX_KEPT: usize = 16;

/// The watch list.
pub struct Quarantine {
    watched: Mutex<VecDeque<Watched>>,
    keep: Option<(Arc<dyn Disk>, PathBuf)>,
}

struct Watched {
    hash: u128,
    panics: u32,
}

/// The name under which a body is known, and kept if there is room.
pub type BodyName = String;

impl Quarantine {
    /// Watches nothing yet; keeps bodies in the folder, if there is one.
    pub fn new(keep: Option<(Arc<dyn Disk>, PathBuf)>) -> Self {
        Quarantine { watched: Mutex::default(), keep }
    }

    /// The name of `body` if it is refused. Hashes nothing while nothing is watched.
    pub fn refuses(&self, body: &[u8]) -> Option<BodyName> {
        let watched = self.watched.lock();
        if !watched.iter().any(|w| w.panics >= PANICS_ALLOWED) {
            return None;
        }
        let hash = xxh3_128(body);
        watched.iter().any(|w| w.hash == hash && w.panics >= PANICS_ALLOWED).then(|| name(hash))
    }

    /// Notes that `body` made us panic; gives its name when it is refused from now on.
    pub fn note_panic(&self, body: &[u8]) -> Option<BodyName> {
        let hash = xxh3_128(body);
        let panics = {
            let mut watched = self.watched.lock();
            let panics = match watched.iter().position(|w| w.hash == hash).and_then(|i| watched.remove(i)) {
                Some(w) => w.panics + 1,
                None => 1,
            };
            if watched.len() == MAX_WATCHED {
                watched.pop_front();
            }
            watched.push_back(Watched { hash, panics });
            panics
        };
        let name = name(hash);
        if panics == PANICS_ALLOWED {
            error!(body = %name, bytes = body.len(), "write request panicked {panics} times and is quarantined");
            self.keep(&name, body);
        }
        (panics >= PANICS_ALLOWED).then_some(name)
    }

    fn keep(&self, name: &str, body: &[u8]) {
        let Some((disk, dir)) = &self.keep else { return };
        let kept = disk.create_dir_all(dir).and_then(|()| {
            if disk.list(dir)?.len() < MAX_KEPT { disk.write_atomic(&dir.join(name), body) } else { Ok(()) }
        });
        if let Err(e) = kept {
            warn!(body = name, error = %e, "cannot keep the quarantined body");
        }
    }
}

fn name(hash: u128) -> BodyName {
    format!("{hash:032x}.snappy")
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_runtime::MemDisk;

    #[test]
    fn the_third_panic_is_the_last() {
        let disk = Arc::new(MemDisk::new());
        let quarantine = Quarantine::new(Some((disk.clone(), PathBuf::from("/q"))));
        assert_eq!(quarantine.note_panic(b"bad"), None);
        assert_eq!(quarantine.note_panic(b"bad"), None);
        assert_eq!(quarantine.refuses(b"bad"), None);
        let name = quarantine.note_panic(b"bad").unwrap();
        assert_eq!(quarantine.refuses(b"bad"), Some(name.clone()));
        assert_eq!(quarantine.refuses(b"good"), None);
        assert_eq!(disk.read(&PathBuf::from("/q").join(name)).unwrap(), b"bad");
    }

    #[test]
    fn what_is_watched_and_kept_is_bounded() {
        let disk = Arc::new(MemDisk::new());
        let quarantine = Quarantine::new(Some((disk.clone(), PathBuf::from("/q"))));
        for i in 0..200u32 {
            (0..3).for_each(|_| drop(quarantine.note_panic(&i.to_le_bytes())));
        }
        assert_eq!(quarantine.watched.lock().len(), MAX_WATCHED);
        assert_eq!(disk.list(&PathBuf::from("/q")).unwrap().len(), MAX_KEPT);
    }
}
