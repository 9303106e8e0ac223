//! Fuzz targets, one binary a decoder: `cargo xtask fuzz`.

pub mod targets;

/// Runs the target `name` on `data`.
///
/// # Panics
/// When there is no such target, or when the decoder breaks a promise.
pub fn run(name: &str, data: &[u8]) {
    let target = targets::TARGETS.iter().find(|t| t.0 == name);
    (target.expect("every binary is in the table").1)(data);
}
