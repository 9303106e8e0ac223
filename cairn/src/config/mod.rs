//! How cairn is configured: flags over environment over `cairn.yml` over defaults.

mod features;
mod file;
mod flags;
mod memory;
mod print;
mod sizes;
mod suggest;

pub use features::Feature;
pub use file::{ConfigFileError, with_file_defaults};
pub use flags::{Cli, LogFormat, ServeFlags, Sub};
pub use memory::MemoryBudget;
pub use print::{Described, printed};
pub use sizes::{Bytes, GoDuration};
pub use suggest::did_you_mean;
