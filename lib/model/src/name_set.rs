//! Names or values of an answer while they are collected: sorted, each once, no more than were asked for, and never more
//! bytes than allowed.

use std::collections::BTreeSet;
use std::ops::ControlFlow;

use crate::read_bounds::ReadBounds;
use crate::storage::StoreError;

/// The names found so far.
#[derive(Debug, Default)]
pub struct NameSet {
    found: BTreeSet<String>,
    bytes: usize,
    limit: usize,
    bounds: ReadBounds,
    is_cut: bool,
    refused: Option<StoreError>,
}

impl NameSet {
    /// Keeps the first `limit` names in their order, 0 = all, within `bounds`.
    pub fn new(limit: usize, bounds: ReadBounds) -> Self {
        NameSet { limit, bounds, ..NameSet::default() }
    }

    /// Adds a name. Breaks when nothing more is to be added: see [`NameSet::finish`].
    pub fn add(&mut self, name: &str) -> ControlFlow<()> {
        self.go_on()?;
        if self.found.contains(name) {
            return ControlFlow::Continue(());
        }
        if self.limit > 0 && self.found.len() == self.limit {
            self.is_cut = true;
            match self.found.last() {
                Some(last) if last.as_str() > name => {}
                _ => return ControlFlow::Continue(()),
            }
            self.bytes -= self.found.pop_last().map_or(0, |last| last.len());
        }
        self.bytes += name.len();
        self.found.insert(name.to_owned());
        self.go_on()
    }

    /// Whether there is a reason to look for more; to be asked now and then where names are long in coming.
    pub fn go_on(&mut self) -> ControlFlow<()> {
        if self.refused.is_none() {
            self.refused = self.bounds.admit(0, self.bytes, 0).err();
        }
        if self.refused.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
    }

    /// Whether there were more names than the limit.
    pub fn is_cut(&self) -> bool {
        self.is_cut
    }

    /// The names in order.
    ///
    /// # Errors
    /// Why it broke off, see [`ReadBounds::admit`].
    pub fn finish(self) -> Result<Vec<String>, StoreError> {
        self.refused.map_or_else(|| Ok(self.found.into_iter().collect()), Err)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn collect(names: &[String], limit: usize, max_bytes: u64) -> (Result<Vec<String>, String>, bool) {
        let mut set = NameSet::new(limit, ReadBounds { max_bytes, ..ReadBounds::default() });
        let _ = names.iter().try_for_each(|name| set.add(name));
        let is_cut = set.is_cut();
        (set.finish().map_err(|e| e.to_string()), is_cut)
    }

    proptest! {
        #[test]
        fn the_first_names_in_order_are_kept(
            names in prop::collection::vec("[a-c]{0,3}", 0..40), limit in 0usize..12
        ) {
            let distinct: BTreeSet<String> = names.iter().cloned().collect();
            let most = if limit == 0 { usize::MAX } else { limit };
            let (got, is_cut) = collect(&names, limit, 0);
            prop_assert_eq!(got.unwrap(), distinct.iter().take(most).cloned().collect::<Vec<_>>());
            prop_assert_eq!(is_cut, distinct.len() > most);
        }
    }

    #[test]
    fn bytes_are_bounded_by_what_is_kept() {
        let names = ["aaaa", "bbbb", "aaaa", "cccc"].map(str::to_owned);
        assert_eq!(collect(&names, 0, 12).0.unwrap().len(), 3);
        assert_eq!(collect(&names, 2, 8).0.unwrap(), ["aaaa", "bbbb"]);
        let refused = collect(&names, 0, 11).0.unwrap_err();
        assert!(refused.starts_with("at least 12 bytes are needed, the limit is 11"), "{refused}");
    }

    #[test]
    fn nothing_is_added_once_nobody_waits() {
        let bounds = ReadBounds::default();
        let mut set = NameSet::new(0, bounds.clone());
        assert!(set.add("a").is_continue());
        bounds.cancel.cancel();
        assert!(set.add("b").is_break());
        assert!(matches!(set.finish(), Err(StoreError::Canceled)));
    }
}
