//! Inputs to begin with, made by the product's encoders, so that a fuzzer starts behind the first checks.

mod samples;
mod stored;
mod texts;
mod wire;

/// A target's name and its seeds.
pub type Seeds = (&'static str, Vec<Vec<u8>>);

/// All seeds of all targets.
pub fn all() -> Vec<Seeds> {
    [wire::seeds(), stored::seeds(), texts::seeds()].concat()
}
