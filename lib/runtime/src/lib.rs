//! Clock, randomness, network, disk, tasks, metrics and shutdown: the only crate that touches the machine.
