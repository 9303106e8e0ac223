//! The inputs kept for the fuzz targets, replayed: `fuzz/corpus/TARGET`, each through the decoder that it is for.
//!
//! Files named `seed-…` are made by [`seeds`], with the product's own encoders: `cargo xtask fuzz --seed-corpus` writes
//! them. All others are inputs that once found something; they stay for ever.
#![allow(clippy::disallowed_methods)] // reads and writes a checkout; no part of the product

mod seeds;
#[path = "../../../fuzz/src/targets/mod.rs"]
mod targets;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// All corpora together stay a small part of a clone.
const MOST_BYTES: u64 = 300 << 10;

fn corpora() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/corpus")
}

/// The files below `folder`, sorted; none when there is no folder.
fn files(folder: &Path) -> BTreeSet<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().map(|e| e.expect("a readable folder").path()).collect()
}

#[test]
fn every_target_has_kept_inputs_and_returns_from_each() {
    let mut bytes = 0;
    for (name, target) in targets::TARGETS {
        let inputs = files(&corpora().join(name));
        assert!(!inputs.is_empty(), "no inputs in fuzz/corpus/{name}: cargo xtask fuzz --seed-corpus");
        for input in &inputs {
            let content = fs::read(input).expect("a readable input");
            bytes += content.len() as u64;
            println!("{}", input.display()); // says which one it was when the decoder panics
            target(&content);
        }
    }
    assert!(bytes < MOST_BYTES, "{bytes} bytes of inputs are more than {MOST_BYTES}: keep small ones");
}

#[test]
fn targets_binaries_and_corpora_are_the_same_set() {
    let names: BTreeSet<String> = targets::TARGETS.iter().map(|t| t.0.to_owned()).collect();
    assert_eq!(names.len(), targets::TARGETS.len(), "a name stands twice");
    let stems = |folder: &Path| -> BTreeSet<String> {
        files(folder).iter().map(|f| f.file_stem().expect("a name").to_string_lossy().into_owned()).collect()
    };
    assert_eq!(stems(&corpora()), names, "folders of fuzz/corpus");
    assert_eq!(stems(&corpora().join("../src/bin")), names, "binaries in fuzz/src/bin");
}

/// Seeds follow from the encoders, so a format that changes without its version shows here too.
#[test]
fn seeds_are_what_their_generator_makes() {
    let write = std::env::var_os("CAIRN_WRITE_SEEDS").is_some();
    let mut made = BTreeSet::new();
    for (target, seeds) in seeds::all() {
        let folder = corpora().join(target);
        for (n, seed) in seeds.iter().enumerate() {
            let path = folder.join(format!("seed-{n:02}"));
            if write {
                fs::create_dir_all(&folder).expect("a folder for seeds");
                fs::write(&path, seed).expect("a seed is written");
            }
            let kept = fs::read(&path).unwrap_or_default();
            assert!(kept == *seed, "{} differs: cargo xtask fuzz --seed-corpus", path.display());
            made.insert(path);
        }
    }
    for (name, _) in targets::TARGETS {
        let seed = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with("seed-"));
        let strays = files(&corpora().join(name)).into_iter().filter(|p| seed(p) && !made.contains(p));
        let strays: Vec<PathBuf> = strays.collect();
        assert!(strays.is_empty(), "made by nothing: {strays:?}");
    }
}
