//! How far a tool has come, for whoever shows it.

/// Is told of the progress of long work.
pub trait Progress {
    /// A stretch of work begins: at most `total` things called `unit`.
    fn begin(&self, total: u64, unit: &'static str);

    /// So many more are done.
    fn advance(&self, by: u64);

    /// All is done, or the output begins, which a bar must not stand in.
    fn end(&self);
}

/// Nobody watches.
pub struct Unseen;

impl Progress for Unseen {
    fn begin(&self, _: u64, _: &'static str) {}

    fn advance(&self, _: u64) {}

    fn end(&self) {}
}
