//! Where the pinned peers lie. Standard library only, so that any crate's tests can take it in:
//! `#[path = "../../xtask/src/peers/locate.rs"] mod peers;`.
//!
//! Parts in order: the pins (`peers.toml`, compiled in) → the cache folder (`CAIRN_PEERS`, else
//! `$XDG_CACHE_HOME/cairn/peers`, else `~/.cache/cairn/peers`) → `<cache>/<name>-<version>/bin/<binary>`.
//! Invariant: a folder of that name appears whole or not at all, so a binary found here is the pinned one.
#![allow(dead_code, reason = "each crate that includes this file uses a part of it")]
#![allow(clippy::disallowed_methods, reason = "finds real programs on the real disk; no part of the product")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const PINS: &str = include_str!("../../peers.toml");

/// One pinned program, or several built from one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Peer {
    /// Name on the command line and in the cache.
    pub name: String,
    /// Upstream's version, without a leading `v`.
    pub version: String,
    /// (name it gets, path inside its source).
    pub binaries: Vec<(String, String)>,
    /// What `--version` must print, empty when the program prints nothing of use.
    pub prints: String,
    /// Where it comes from.
    pub source: Source,
}

/// How a peer is had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A package of the host's Debian release, unpacked without being installed.
    Debian {
        /// The package's name.
        package: String,
    },
    /// A Go module, built by the host's Go.
    Go(GoModule),
}

/// What `go build` needs to know.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GoModule {
    /// Module path without version.
    pub path: String,
    /// Module version with its leading `v`.
    pub version: String,
    /// The `go` line of the module file.
    pub go: String,
    /// Comma-separated build tags.
    pub tags: String,
    /// The module's own `replace` directives, which Go ignores in a dependency and which are therefore repeated.
    pub replace: Vec<String>,
    /// Linker flags.
    pub ldflags: String,
    /// Whether C is linked in.
    pub cgo: bool,
}

impl Peer {
    /// The peer's folder in the cache `cache`.
    pub fn folder(&self, cache: &Path) -> PathBuf {
        cache.join(format!("{}-{}", self.name, self.version))
    }

    /// Where `binary` is once the peer has been fetched.
    pub fn binary(&self, cache: &Path, binary: &str) -> PathBuf {
        self.folder(cache).join("bin").join(binary)
    }
}

/// The folder that holds all peers. It need not exist yet.
pub fn cache() -> PathBuf {
    let from = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    if let Some(folder) = from("CAIRN_PEERS") {
        return folder;
    }
    let base = from("XDG_CACHE_HOME").or_else(|| from("HOME").map(|home| home.join(".cache")));
    base.unwrap_or_else(std::env::temp_dir).join("cairn").join("peers")
}

/// The path of a fetched binary: `promtool` means the first peer that has one, `prometheus-2.42/prometheus` a given one.
///
/// # Errors
/// A text that names the command to run, when the binary is not pinned or not fetched.
pub fn find(wanted: &str) -> Result<PathBuf, String> {
    let peers = pinned()?;
    let (peer, binary) = match wanted.split_once('/') {
        Some((peer, binary)) => (peers.iter().find(|p| p.name == peer), binary),
        None => (peers.iter().find(|p| p.binaries.iter().any(|(name, _)| name == wanted)), wanted),
    };
    let peer = peer
        .filter(|p| p.binaries.iter().any(|(name, _)| name == binary))
        .ok_or_else(|| format!("cannot find {wanted}: no such program in xtask/peers.toml"))?;
    let path = peer.binary(&cache(), binary);
    if path.is_file() {
        Ok(path)
    } else {
        Err(format!(
            "cannot find {wanted}: {} is not there; run `cargo xtask peers {}`",
            path.display(),
            peer.name
        ))
    }
}

/// All pins, in the file's order.
///
/// # Errors
/// A text that names the line of `peers.toml` which cannot be read.
pub fn pinned() -> Result<Vec<Peer>, String> {
    parse(PINS)
}

/// Reads the part of TOML that `peers.toml` uses: `[[peer]]`, strings, arrays of strings, comments.
fn parse(text: &str) -> Result<Vec<Peer>, String> {
    let mut tables: Vec<BTreeMap<String, Vec<String>>> = Vec::new();
    let mut lines = text.lines().enumerate();
    while let Some((number, line)) = lines.next() {
        let line = line.trim();
        let fail = |why: &str| format!("cannot read peers.toml:{}: {why}", number + 1);
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if line == "[[peer]]" {
            tables.push(BTreeMap::new());
            continue;
        }
        let (key, value) = line.split_once('=').ok_or_else(|| fail("expected key = value"))?;
        let mut value = value.trim().to_owned();
        while value.starts_with('[') && !value.ends_with(']') {
            let (_, next) = lines.next().ok_or_else(|| fail("the list does not end"))?;
            value.push_str(next.trim());
        }
        let table = tables.last_mut().ok_or_else(|| fail("a key before the first [[peer]]"))?;
        let known = strings(&value).ok_or_else(|| fail("expected a string or a list of strings"))?;
        if table.insert(key.trim().to_owned(), known).is_some() {
            return Err(fail("the key stands twice"));
        }
    }
    tables.into_iter().map(peer).collect()
}

/// The quoted strings of `"a"` or `["a", "b"]`; none when anything else is between them.
fn strings(value: &str) -> Option<Vec<String>> {
    let inner = match value.strip_prefix('[') {
        Some(rest) => rest.strip_suffix(']')?,
        None => value,
    };
    let pieces: Vec<&str> = inner.split('"').collect();
    if pieces.len().is_multiple_of(2) || pieces.iter().step_by(2).any(|gap| !matches!(gap.trim(), "" | ",")) {
        return None;
    }
    Some(pieces.iter().skip(1).step_by(2).map(|s| (*s).to_owned()).collect())
}

fn peer(mut table: BTreeMap<String, Vec<String>>) -> Result<Peer, String> {
    let name = table.get("name").and_then(|v| v.first()).cloned().unwrap_or_default();
    let mut optional = |key: &str| table.remove(key).and_then(|v| v.into_iter().next()).unwrap_or_default();
    let need = |key: &str, value: String| {
        if value.is_empty() {
            Err(format!("cannot read peers.toml: peer {name:?} has no {key}"))
        } else {
            Ok(value)
        }
    };
    let (from, module) = (optional("from"), optional("module"));
    let _ = optional("name");
    let version = need("version", optional("version"))?;
    let prints = optional("prints");
    let package = optional("package");
    let (go, tags, ldflags, cgo) =
        (optional("go"), optional("tags"), optional("ldflags"), optional("cgo") == "1");
    let replace = table.remove("replace").unwrap_or_default();
    let binaries = table.remove("binaries").unwrap_or_default();
    let source = match from.as_str() {
        "debian" => Source::Debian { package: need("package", package)? },
        "go" => {
            let (path, version) = module
                .split_once('@')
                .ok_or_else(|| format!("cannot read peers.toml: peer {name:?} has no module path@version"))?;
            let (path, version) = (path.to_owned(), version.to_owned());
            Source::Go(GoModule { path, version, go: need("go", go)?, tags, replace, ldflags, cgo })
        }
        other => {
            return Err(format!("cannot read peers.toml: peer {name:?} is from {other:?}, not debian or go"));
        }
    };
    let binaries = binaries
        .iter()
        .map(|b| b.split_once('=').map(|(n, p)| (n.to_owned(), p.to_owned())))
        .collect::<Option<Vec<_>>>()
        .filter(|b| !b.is_empty())
        .ok_or_else(|| format!("cannot read peers.toml: peer {name:?} needs binaries as NAME=PATH"))?;
    if let Some(key) = table.keys().next() {
        return Err(format!("cannot read peers.toml: peer {name:?} has an unknown key {key:?}"));
    }
    Ok(Peer { name: need("name", name.clone())?, version, binaries, prints, source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_pin_can_be_read_and_names_are_unique() {
        let peers = pinned().unwrap();
        let mut names: Vec<_> = peers.iter().map(|p| &p.name).collect();
        names.sort();
        names.dedup();
        assert_eq!(names.len(), peers.len());
        let oracle = peers.iter().find(|p| p.name == "prometheus").unwrap();
        assert_eq!(oracle.binaries.len(), 2);
        let Source::Go(module) = &oracle.source else { panic!("the oracle is a Go module") };
        assert_eq!(module.replace.len(), 1, "Go ignores a dependency's replace lines, so they stand here");
    }

    #[test]
    fn a_broken_pin_is_named_by_its_line_or_its_peer() {
        let good = "[[peer]]\nname = \"a\"\nversion = \"1\"\nfrom = \"debian\"\npackage = \"p\"\nbinaries = [\n\"b=c\",\n]\n";
        assert_eq!(parse(good).unwrap()[0].binaries, [("b".to_owned(), "c".to_owned())]);
        for (text, want) in [
            ("name = \"a\"\n", "peers.toml:1"),
            ("[[peer]]\nname = a\n", "peers.toml:2"),
            ("[[peer]]\nname = [\"a\" \"b\", c]\n", "peers.toml:2"),
            (&good.replace("debian", "snap"), "is from \"snap\""),
            (&good.replace("package", "packet"), "has no package"),
            (&format!("{good}colour = \"red\"\n"), "unknown key \"colour\""),
            (&format!("{good}name = \"b\"\n"), "stands twice"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.contains(want), "{text:?} gave {error:?}, not {want:?}");
        }
    }

    #[test]
    fn a_program_is_found_by_its_name_or_by_peer_and_name() {
        let error = find("prometheus-2.42/prometheus-none").unwrap_err();
        assert!(error.contains("no such program"), "{error}");
        let error = find("sendmail").unwrap_err();
        assert!(error.contains("no such program"), "{error}");
        match find("prometheus-2.42/prometheus") {
            Ok(path) => assert!(path.ends_with("prometheus-2.42-2.42.0/bin/prometheus")),
            Err(error) => assert!(error.contains("cargo xtask peers prometheus-2.42"), "{error}"),
        }
    }
}
