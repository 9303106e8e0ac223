//! Seeded whole-cluster simulation: the product's own crates on simulated clock, network and disk.
