//! Tokens to tree, by recursive descent. Names are checked here: a function that does not exist, a variable used before
//! it is declared, `break` outside `range` are errors of the text, found when rules are loaded.
//!
//! Here are texts with their definitions and lists; [`action`]s stand in them, and [`pipeline`]s in those. [`cursor`] reads
//! tokens for all of them.
//!
//! Invariant: no tree is nested deeper than [`crate::limits::MAX_PARSE_DEPTH`], so walking, printing and dropping it may recurse.
//!
//! Source: <https://pkg.go.dev/text/template>; messages as Go words them.

mod action;
mod cursor;
mod pipeline;

use std::collections::BTreeMap;

use crate::ast::{List, Node};
use crate::gofmt::quote;
use crate::lex::{self, Keyword, Kind, Token};
use crate::limits::MAX_TEXT_BYTES;

/// What is wrong and on which line (from 1).
#[derive(Debug)]
pub(crate) struct ParseFailure {
    pub line: usize,
    pub message: String,
}

type Result<T> = std::result::Result<T, ParseFailure>;

/// The trees of a text by name; the text itself stands under its own name.
pub(crate) type Trees = BTreeMap<String, List>;

/// Parses a text and every `{{define}}` and `{{block}}` in it.
pub(crate) fn parse(name: &str, text: &str) -> Result<Trees> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(ParseFailure { line: 1, message: format!("text is longer than {MAX_TEXT_BYTES} bytes") });
    }
    let mut parser = Parser {
        tokens: lex::tokens(text),
        at: 0,
        depth: 0,
        action_line: 0,
        name: name.to_owned(),
        trees: Trees::new(),
        scope: Scope::new(),
    };
    let root = parser.document()?;
    parser.add(name.to_owned(), root)?;
    Ok(parser.trees)
}

/// The names in sight of one definition.
struct Scope {
    variables: Vec<String>,
    range_depth: usize,
}

impl Scope {
    fn new() -> Scope {
        Scope { variables: vec!["$".to_owned()], range_depth: 0 }
    }
}

struct Parser {
    tokens: Vec<Token>,
    at: usize,
    depth: usize,
    /// Line where the action being parsed began, 0 outside.
    action_line: usize,
    name: String,
    trees: Trees,
    scope: Scope,
}

/// How a list ended.
enum ListEnd {
    End,
    /// `else`; the word that follows it, if it is `if` or `with`, is still to be read.
    Else,
}

impl Parser {
    fn document(&mut self) -> Result<List> {
        let mut list = List::default();
        while self.peek().kind != Kind::Eof {
            if self.peek().kind == Kind::Open {
                let before = self.at;
                self.at += 1;
                if self.next_word().kind == Kind::Keyword(Keyword::Define) {
                    self.definition()?;
                    continue;
                }
                self.at = before;
            }
            match self.text_or_action()? {
                Ok(node) => list.nodes.push(node),
                Err(end) => return self.fail(format!("unexpected {}", end.shown())),
            }
        }
        Ok(list)
    }

    fn definition(&mut self) -> Result<()> {
        const CONTEXT: &str = "define clause";
        let name = self.template_name(CONTEXT)?.1;
        self.expect(Kind::Close, CONTEXT)?;
        let list = self.body(CONTEXT)?;
        self.add(name, list)
    }

    /// The inside of a `define` or `block`, with names of its own.
    fn body(&mut self, context: &str) -> Result<List> {
        let outer = std::mem::replace(&mut self.scope, Scope::new());
        let (list, end) = self.list()?;
        self.scope = outer;
        match end {
            ListEnd::End => Ok(list),
            ListEnd::Else => self.fail(format!("unexpected {} in {context}", end.shown())),
        }
    }

    fn add(&mut self, name: String, list: List) -> Result<()> {
        match self.trees.get(&name) {
            Some(old) if !old.is_blank() && !list.is_blank() => {
                self.fail(format!("template: multiple definition of template {}", quote(&name)))
            }
            Some(old) if !old.is_blank() => Ok(()),
            _ => {
                self.trees.insert(name, list);
                Ok(())
            }
        }
    }

    fn list(&mut self) -> Result<(List, ListEnd)> {
        let mut list = List::default();
        while self.peek_word().kind != Kind::Eof {
            match self.text_or_action()? {
                Ok(node) => list.nodes.push(node),
                Err(end) => return Ok((list, end)),
            }
        }
        self.at += 1;
        self.fail("unexpected EOF")
    }

    fn text_or_action(&mut self) -> Result<std::result::Result<Node, ListEnd>> {
        let token = self.next_word();
        match token.kind {
            Kind::Text => Ok(Ok(Node::Text { pos: token.pos, text: token.text })),
            Kind::Open => {
                self.action_line = token.line;
                let node = self.deeper(Parser::action);
                if node.is_ok() {
                    self.action_line = 0;
                }
                node
            }
            _ => self.unexpected(&token, "input"),
        }
    }
}

impl ListEnd {
    fn shown(&self) -> &'static str {
        match self {
            ListEnd::End => "{{end}}",
            ListEnd::Else => "{{else}}",
        }
    }
}
