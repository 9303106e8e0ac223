//! Programs of a Go module, built by the host's Go from a module file written here.
//!
//! The module file only requires the pinned version; Go's minimal version selection then takes exactly the versions
//! which that release names, its checksum database verifies them, and the `replace` lines are repeated from the pin.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::locate::GoModule;
use super::{Peer, step};

/// Builds every binary of `peer` into `fresh/bin`. `GOFLAGS`, `GOMAXPROCS` and `GOPROXY` of the caller count.
pub fn build(peer: &Peer, module: &GoModule, fresh: &Path) -> Result<()> {
    let source = fresh.join("module");
    fs::create_dir_all(&source).with_context(|| format!("cannot create {}", source.display()))?;
    let file = source.join("go.mod");
    fs::write(&file, module_file(peer, module))
        .with_context(|| format!("cannot write {}", file.display()))?;
    for (name, path) in &peer.binaries {
        let mut go = Command::new("go");
        go.current_dir(&source)
            .env("GOWORK", "off")
            .env("CGO_ENABLED", if module.cgo { "1" } else { "0" })
            .args(["build", "-mod=mod", "-trimpath", "-buildvcs=false"])
            .args(["-tags", &module.tags, "-ldflags", &module.ldflags])
            .arg("-o")
            .arg(fresh.join("bin").join(name))
            .arg(format!("{}/{path}", module.path));
        step(&mut go, &format!("build {name} {}", module.version))?;
    }
    Ok(())
}

fn module_file(peer: &Peer, module: &GoModule) -> String {
    let mut text = format!(
        "module cairn.invalid/peers/{}\n\ngo {}\n\nrequire {} {}\n",
        peer.name, module.go, module.path, module.version
    );
    for line in &module.replace {
        text.push_str(&format!("\nreplace {line}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::super::locate::{Source, pinned};
    use super::*;

    #[test]
    fn the_module_file_requires_the_pin_and_repeats_its_replacements() {
        let peers = pinned().unwrap();
        let thanos = peers.iter().find(|p| p.name == "thanos").unwrap();
        let Source::Go(module) = &thanos.source else { panic!("thanos is a Go module") };
        let text = module_file(thanos, module);
        assert!(text.contains("\nrequire github.com/thanos-io/thanos v0.42.3\n"), "{text}");
        assert_eq!(text.lines().filter(|l| l.starts_with("replace ")).count(), module.replace.len());
    }
}
