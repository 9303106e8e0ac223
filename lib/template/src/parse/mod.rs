//! Tokens to tree, by recursive descent. Names are checked here: a function that does not exist, a variable used before
//! it is declared, `break` outside `range` are errors of the text, found when rules are loaded.
//!
//! Invariant: no tree is nested deeper than [`MAX_PARSE_DEPTH`], so walking, printing and dropping it may recurse.
//!
//! Source: <https://pkg.go.dev/text/template>; messages as Go words them.

use std::collections::BTreeMap;

use crate::ast::{Branch, Command, Expr, ExprKind, List, Node, Pipe};
use crate::functions;
use crate::gofmt::quote;
use crate::lex::{self, Keyword, Kind, Token};
use crate::limits::{MAX_PARSE_DEPTH, MAX_TEXT_BYTES};
use crate::literal;
use crate::value::Value;

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
    // -- tokens

    fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    fn skip_spaces(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    fn peek_word(&mut self) -> &Token {
        self.skip_spaces();
        self.peek()
    }

    fn next_word(&mut self) -> Token {
        self.skip_spaces();
        self.next()
    }

    fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        let last = self.at.saturating_sub(1).min(self.tokens.len() - 1);
        Err(ParseFailure { line: self.tokens[last].line, message: message.into() })
    }

    fn unexpected<T>(&self, token: &Token, context: &str) -> Result<T> {
        if token.kind != Kind::Error {
            return self.fail(format!("unexpected {} in {context}", shown(token)));
        }
        let mut message = token.text.clone();
        if self.action_line != 0 && self.action_line != token.line {
            let action = if message.ends_with(" action") { "" } else { " in action" };
            message.push_str(&format!("{action} started at {}:{}", self.name, self.action_line));
        }
        Err(ParseFailure { line: token.line, message })
    }

    fn expect(&mut self, kind: Kind, context: &str) -> Result<Token> {
        let token = self.next_word();
        if token.kind != kind {
            return self.unexpected(&token, context);
        }
        Ok(token)
    }

    fn deeper<T>(&mut self, parse: impl FnOnce(&mut Parser) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_PARSE_DEPTH {
            return self.fail("max expression depth exceeded");
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }

    // -- lists

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

    // -- actions

    fn action(&mut self) -> Result<std::result::Result<Node, ListEnd>> {
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

    fn template_name(&mut self, context: &str) -> Result<(usize, String)> {
        let token = self.next_word();
        if !matches!(token.kind, Kind::Quoted | Kind::Raw) {
            return self.unexpected(&token, context);
        }
        match literal::unquote(&token.text) {
            Some(name) => Ok((token.pos, name)),
            None => self.fail("invalid syntax"),
        }
    }

    // -- pipelines

    fn pipe(&mut self, context: &str, end: Kind) -> Result<Pipe> {
        let pos = self.peek_word().pos;
        let mut pipe = Pipe { pos, names: Vec::new(), is_assign: false, commands: Vec::new() };
        self.declarations(&mut pipe, context)?;
        loop {
            let token = self.peek_word().clone();
            if token.kind == end {
                self.at += 1;
                return self.checked(pipe, context);
            }
            if !starts_operand(token.kind) {
                self.at += 1;
                return self.unexpected(&token, context);
            }
            let command = self.command()?;
            pipe.commands.push(command);
        }
    }

    /// `$x :=`, `$x =`, and in a range `$i, $x :=`. Anything else is left for the commands.
    fn declarations(&mut self, pipe: &mut Pipe, context: &str) -> Result<()> {
        while self.peek_word().kind == Kind::Variable {
            let before = self.at;
            let name = self.next().text;
            let sign = self.peek_word().clone();
            let is_comma = sign.kind == Kind::Other && sign.text == ",";
            if !is_comma && !matches!(sign.kind, Kind::Assign | Kind::Declare) {
                self.at = before;
                return Ok(());
            }
            self.at += 1;
            pipe.names.push(name.clone());
            self.scope.variables.push(name);
            if !is_comma {
                pipe.is_assign = sign.kind == Kind::Assign;
                return Ok(());
            }
            if context != "range" || pipe.names.len() > 1 {
                return self.fail(format!("too many declarations in {context}"));
            }
            if !matches!(self.peek_word().kind, Kind::Variable | Kind::Close | Kind::RightParen) {
                return self.fail("range can only initialize variables");
            }
        }
        Ok(())
    }

    fn checked(&self, pipe: Pipe, context: &str) -> Result<Pipe> {
        if pipe.commands.is_empty() {
            return self.fail(format!("missing value for {context}"));
        }
        for (stage, command) in pipe.commands.iter().enumerate().skip(1) {
            if matches!(command.args[0].kind, ExprKind::Constant(..) | ExprKind::Dot | ExprKind::Nil) {
                return self.fail(format!("non executable command in pipeline stage {}", stage + 1));
            }
        }
        Ok(pipe)
    }

    fn command(&mut self) -> Result<Command> {
        let mut command = Command { pos: self.peek_word().pos, args: Vec::new() };
        loop {
            self.skip_spaces();
            if let Some(operand) = self.operand()? {
                command.args.push(operand);
            }
            match self.peek().kind {
                Kind::Space => self.at += 1,
                Kind::Close | Kind::RightParen => break,
                Kind::Pipe => {
                    self.at += 1;
                    break;
                }
                _ => {
                    let token = self.next();
                    return self.unexpected(&token, "operand");
                }
            }
        }
        match command.args.is_empty() {
            true => self.fail("empty command"),
            false => Ok(command),
        }
    }

    /// A term and the fields right behind it.
    fn operand(&mut self) -> Result<Option<Expr>> {
        let Some(term) = self.term()? else { return Ok(None) };
        if self.peek().kind != Kind::Field {
            return Ok(Some(term));
        }
        let pos = self.peek().pos;
        let mut fields = Vec::new();
        while self.peek().kind == Kind::Field {
            fields.push(self.next().text[1..].to_owned());
        }
        let kind = match term.kind {
            ExprKind::Field(mut first) => {
                first.append(&mut fields);
                ExprKind::Field(first)
            }
            ExprKind::Variable(name, _) => ExprKind::Variable(name, fields),
            ExprKind::Constant(..) | ExprKind::Nil | ExprKind::Dot => {
                return self.fail(format!("unexpected . after term {}", quote(&term.to_string())));
            }
            ExprKind::Function(_) | ExprKind::Chain(..) | ExprKind::Pipe(_) => {
                ExprKind::Chain(Box::new(term), fields)
            }
        };
        Ok(Some(Expr { pos, kind }))
    }

    fn term(&mut self) -> Result<Option<Expr>> {
        let token = self.peek_word().clone();
        if !starts_operand(token.kind) {
            return Ok(None);
        }
        self.at += 1;
        let pos = token.pos;
        let kind = match token.kind {
            Kind::Ident => match functions::find(&token.text) {
                Some(function) => ExprKind::Function(function),
                None => return self.fail(format!("function {} not defined", quote(&token.text))),
            },
            Kind::Dot => ExprKind::Dot,
            Kind::Keyword(_) => ExprKind::Nil,
            Kind::Variable => {
                if !self.scope.variables.contains(&token.text) {
                    return self.fail(format!("undefined variable {}", quote(&token.text)));
                }
                ExprKind::Variable(token.text, Vec::new())
            }
            Kind::Field => ExprKind::Field(vec![token.text[1..].to_owned()]),
            Kind::Bool => ExprKind::Constant(Value::Bool(token.text == "true"), token.text),
            Kind::Number => ExprKind::Constant(self.number(&token.text)?, token.text),
            Kind::Char => match literal::unquote_char(&token.text) {
                Some(code) => ExprKind::Constant(Value::Int(code), token.text),
                None => return self.fail(format!("malformed character constant: {}", token.text)),
            },
            Kind::Quoted | Kind::Raw => match literal::unquote(&token.text) {
                Some(text) => ExprKind::Constant(Value::str(text), token.text),
                None => return self.fail("invalid syntax"),
            },
            Kind::LeftParen => ExprKind::Pipe(Box::new(
                self.deeper(|parser| parser.pipe("parenthesized pipeline", Kind::RightParen))?,
            )),
            _ => unreachable!("starts_operand lets only these through"),
        };
        Ok(Some(Expr { pos, kind }))
    }

    /// A number without a type of its own: how it is written decides between `int` and `float64`.
    fn number(&self, text: &str) -> Result<Value> {
        if let Some(n) = literal::parse_int(text) {
            return Ok(Value::Int(n));
        }
        if literal::is_int_syntax(text) {
            return self.fail(format!("integer overflow: {}", quote(text)));
        }
        match literal::parse_float_literal(text).filter(|_| text.contains(['.', 'e', 'E', 'p', 'P'])) {
            Some(f) => Ok(Value::Float(f)),
            None if text.ends_with('i') => self.fail("complex numbers are not supported"),
            None => self.fail(format!("illegal number syntax: {}", quote(text))),
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

fn starts_operand(kind: Kind) -> bool {
    matches!(
        kind,
        Kind::Ident
            | Kind::Dot
            | Kind::Keyword(Keyword::Nil)
            | Kind::Variable
            | Kind::Field
            | Kind::Bool
            | Kind::Number
            | Kind::Char
            | Kind::Quoted
            | Kind::Raw
            | Kind::LeftParen
    )
}

/// A token as messages show it: keywords in angle brackets, the rest quoted and cut after ten characters.
fn shown(token: &Token) -> String {
    match token.kind {
        Kind::Eof => "EOF".to_owned(),
        Kind::Error => token.text.clone(),
        Kind::Keyword(_) | Kind::Dot => format!("<{}>", token.text),
        _ if token.text.len() > 10 => {
            format!("{}...", quote(&token.text.chars().take(10).collect::<String>()))
        }
        _ => quote(&token.text),
    }
}
