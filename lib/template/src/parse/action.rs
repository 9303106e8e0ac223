//! What stands between `{{` and `}}`: a pipeline, or a keyword with the lists that belong to it.

use super::{ListEnd, Parser, Result};
use crate::ast::{Branch, List, Node};
use crate::lex::{Keyword, Kind};
use crate::literal;

impl Parser {
    pub(super) fn action(&mut self) -> Result<std::result::Result<Node, ListEnd>> {
        let token = self.peek_word().clone();
        let Kind::Keyword(word) = token.kind else {
            let pipe = self.pipe("command", Kind::Close)?;
            return Ok(Ok(Node::Action { pos: token.pos, pipe }));
        };
        match word {
            Keyword::Define | Keyword::Nil => {
                let pipe = self.pipe("command", Kind::Close)?;
                return Ok(Ok(Node::Action { pos: token.pos, pipe }));
            }
            _ => self.at += 1,
        }
        Ok(Ok(match word {
            Keyword::If => self.branch("if", |pos, branch| Node::If { pos, branch })?,
            Keyword::With => self.branch("with", |pos, branch| Node::With { pos, branch })?,
            Keyword::Range => self.branch("range", |pos, branch| Node::Range { pos, branch })?,
            Keyword::Template => self.template()?,
            Keyword::Block => self.block()?,
            Keyword::Break => self.jump("{{break}}", Node::Break { pos: token.pos })?,
            Keyword::Continue => self.jump("{{continue}}", Node::Continue { pos: token.pos })?,
            Keyword::End => {
                self.expect(Kind::Close, "end")?;
                return Ok(Err(ListEnd::End));
            }
            Keyword::Else => {
                if !matches!(self.peek_word().kind, Kind::Keyword(Keyword::If | Keyword::With)) {
                    self.expect(Kind::Close, "else")?;
                }
                return Ok(Err(ListEnd::Else));
            }
            Keyword::Define | Keyword::Nil => unreachable!("handled above"),
        }))
    }

    fn jump(&mut self, words: &str, node: Node) -> Result<Node> {
        self.expect(Kind::Close, words)?;
        if self.scope.range_depth == 0 {
            return self.fail(format!("{words} outside {{{{range}}}}"));
        }
        Ok(node)
    }

    fn branch(&mut self, word: &'static str, node: fn(usize, Branch) -> Node) -> Result<Node> {
        let in_sight = self.scope.variables.len();
        let is_range = word == "range";
        let pipe = self.pipe(word, Kind::Close)?;
        self.scope.range_depth += usize::from(is_range);
        let (list, end) = self.list()?;
        self.scope.range_depth -= usize::from(is_range);
        let otherwise = match end {
            ListEnd::End => None,
            ListEnd::Else => Some(self.otherwise(word)?),
        };
        self.scope.variables.truncate(in_sight);
        Ok(node(pipe.pos, Branch { pipe, list, otherwise }))
    }

    /// What follows `else`: a list, or one more `if` (`with`) that shares this one's `end`.
    fn otherwise(&mut self, word: &'static str) -> Result<List> {
        let chained: Option<fn(usize, Branch) -> Node> = match (word, self.peek().kind) {
            ("if", Kind::Keyword(Keyword::If)) => Some(|pos, branch| Node::If { pos, branch }),
            ("with", Kind::Keyword(Keyword::With)) => Some(|pos, branch| Node::With { pos, branch }),
            _ => None,
        };
        if let Some(node) = chained {
            self.at += 1;
            let inner = self.deeper(|parser| parser.branch(word, node))?;
            return Ok(List { nodes: vec![inner] });
        }
        match self.list()? {
            (list, ListEnd::End) => Ok(list),
            (_, end) => self.fail(format!("expected end; found {}", end.shown())),
        }
    }

    fn template(&mut self) -> Result<Node> {
        const CONTEXT: &str = "template clause";
        let (pos, name) = self.template_name(CONTEXT)?;
        let pipe = match self.peek_word().kind {
            Kind::Close => {
                self.at += 1;
                None
            }
            _ => Some(self.pipe(CONTEXT, Kind::Close)?),
        };
        Ok(Node::Template { pos, name, pipe })
    }

    fn block(&mut self) -> Result<Node> {
        const CONTEXT: &str = "block clause";
        let (pos, name) = self.template_name(CONTEXT)?;
        let pipe = self.pipe(CONTEXT, Kind::Close)?;
        let list = self.body(CONTEXT)?;
        self.add(name.clone(), list)?;
        Ok(Node::Template { pos, name, pipe: Some(pipe) })
    }

    pub(super) fn template_name(&mut self, context: &str) -> Result<(usize, String)> {
        let token = self.next_word();
        if !matches!(token.kind, Kind::Quoted | Kind::Raw) {
            return self.unexpected(&token, context);
        }
        match literal::unquote(&token.text) {
            Some(name) => Ok((token.pos, name)),
            None => self.fail("invalid syntax"),
        }
    }
}
