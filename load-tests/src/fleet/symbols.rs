//! Each label text once, under a number, so that a series costs bytes instead of strings.

use std::collections::HashMap;
use std::rc::Rc;

/// Number of a text in [`Symbols`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct SymbolId(u32);

impl SymbolId {
    /// The number as an index, dense from 0.
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// An append-only table of texts.
#[derive(Debug, Default)]
pub struct Symbols {
    texts: Vec<Rc<str>>,
    ids: HashMap<Rc<str>, SymbolId>,
}

impl Symbols {
    /// The number of `text`, which is added when it is new.
    pub fn id(&mut self, text: &str) -> SymbolId {
        if let Some(id) = self.ids.get(text) {
            return *id;
        }
        let id = SymbolId(u32::try_from(self.texts.len()).expect("fewer than four billion label texts"));
        let shared: Rc<str> = text.into();
        self.texts.push(Rc::clone(&shared));
        self.ids.insert(shared, id);
        id
    }

    /// The text of a number given out by this table.
    pub fn text(&self, id: SymbolId) -> &str {
        &self.texts[id.index()]
    }

    /// How many texts there are.
    pub fn len(&self) -> usize {
        self.texts.len()
    }
}
