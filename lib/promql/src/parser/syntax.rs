//! The recursive-descent core: tokens in, errors out, and the entry points.
//!
//! The grammar is spread over three files that extend [`Parser`]: `expression.rs` (operators, calls, aggregations),
//! `selector.rs` (matchers and the modifiers behind a selector), `duration_syntax.rs` (durations). Operators are
//! parsed by binding power, so that time is linear in the query's length.
//!
//! Invariant: [`Parser::nesting`] bounds the parser's recursion and [`Node::height`] the tree's, both by
//! [`MAX_DEPTH`]. The first error ends the parse: Prometheus prints no other.

use super::ast::{Expr, Matcher, Span};
use super::check;
use super::error::ParseError;
use super::lexer::{LexError, Lexer};
use super::token::{Token, TokenKind, describe};
use super::{Features, MAX_DEPTH, MAX_QUERY_BYTES};

/// Errors are boxed: they are rare, and results of the recursion stay small.
pub(super) type Result<T> = std::result::Result<T, Box<ParseError>>;

/// An expression and how deep its tree is.
pub(super) struct Node {
    pub expr: Expr,
    pub height: usize,
}

impl Node {
    pub fn leaf(expr: Expr) -> Self {
        Node { expr, height: 1 }
    }
}

/// Parses and checks an expression.
///
/// # Errors
/// The first thing that is wrong, in Prometheus' words and with its position.
pub fn parse(query: &str, features: Features) -> std::result::Result<Expr, ParseError> {
    Parser::run(query, features, |p| {
        if p.token.kind == TokenKind::Eof {
            return Err(p.error(Span::default(), "no expression found in input"));
        }
        let mut expr = p.expression(0)?.expr;
        p.expect_end()?;
        check::check(query, &mut expr)?;
        Ok(expr)
    })
}

/// Parses a series selector, as in the `match[]` parameters of the HTTP API: `up{job="x"}` without modifiers.
/// Matchers are as written, `__name__` last when the name stands before the braces. Whether one of them refuses
/// the empty value is the caller's question.
///
/// # Errors
/// As [`parse`].
pub fn parse_selector(text: &str) -> std::result::Result<Vec<Matcher>, ParseError> {
    Parser::run(text, Features::default(), |p| {
        let name = match p.token.kind {
            kind if kind.is_metric_name() => Some(p.advance()?),
            _ => None,
        };
        if name.is_none() && p.token.kind != TokenKind::LeftBrace {
            return Err(p.unexpected());
        }
        let selector = p.selector_after_name(name)?;
        p.expect_end()?;
        Ok(selector.matchers)
    })
}

/// Parses the label set that `text` begins with, as in the description of a test's series: `{a="b", "l.c"="d"}`;
/// a string without value is the metric name. Gives the labels, in the order of the text, and where the closing
/// brace ends; what follows is not looked at.
///
/// # Errors
/// As [`parse`]; positions are relative to `text`.
pub fn label_set(text: &str) -> std::result::Result<(Vec<(String, String)>, usize), ParseError> {
    Parser::run(text, Features::default(), |p| {
        p.expect(TokenKind::LeftBrace)?;
        let labels = p.labels()?;
        Ok((labels, p.last_end))
    })
}

/// See the module.
pub(super) struct Parser<'a> {
    pub query: &'a str,
    pub features: Features,
    /// The next token, not yet consumed.
    pub token: Token,
    /// Where the token consumed last ends.
    pub last_end: usize,
    /// What [`Self::unexpected`] says the error is in, for instance `aggregation`.
    pub context: &'static str,
    /// Operands and signs of the duration being parsed.
    pub duration_terms: usize,
    lexer: Lexer<'a>,
    /// Set with a next token of [`TokenKind::Error`].
    unreadable: Option<LexError>,
    nesting: usize,
}

impl<'a> Parser<'a> {
    fn run<T>(
        query: &'a str,
        features: Features,
        parse: impl FnOnce(&mut Self) -> Result<T>,
    ) -> std::result::Result<T, ParseError> {
        if query.len() > MAX_QUERY_BYTES {
            let text = format!("expression is longer than {MAX_QUERY_BYTES} bytes");
            return Err(ParseError::new(query, Span::default(), text));
        }
        let token = Token { kind: TokenKind::Eof, start: 0, end: 0 };
        let mut parser = Parser {
            query,
            features,
            token,
            last_end: 0,
            context: "",
            duration_terms: 0,
            lexer: Lexer::new(query),
            unreadable: None,
            nesting: 0,
        };
        parser.advance().and_then(|_| parse(&mut parser)).map_err(|e| *e)
    }

    /// Consumes the next token and gives it. A text that is no token becomes an error only when something else
    /// is not wrong before it: see [`Self::unexpected`].
    pub fn advance(&mut self) -> Result<Token> {
        let next = self.lexer.next_token().unwrap_or_else(|e| {
            let at = Token { kind: TokenKind::Error, start: e.span.start as usize, end: e.span.end as usize };
            self.unreadable = Some(e);
            at
        });
        self.last_end = self.token.end;
        Ok(std::mem::replace(&mut self.token, next))
    }

    /// Consumes the next token if it is of `kind`.
    pub fn accept(&mut self, kind: TokenKind) -> Result<Option<Token>> {
        if self.token.kind == kind { self.advance().map(Some) } else { Ok(None) }
    }

    /// Consumes a token of `kind`, or fails.
    pub fn expect(&mut self, kind: TokenKind) -> Result<Token> {
        if self.token.kind == kind { self.advance() } else { Err(self.unexpected()) }
    }

    fn expect_end(&mut self) -> Result<()> {
        if self.token.kind == TokenKind::Eof { Ok(()) } else { Err(self.unexpected()) }
    }

    /// The text of a token.
    pub fn text(&self, token: Token) -> &'a str {
        &self.query[token.start..token.end]
    }

    /// Complains of the next token, naming what it stands in.
    pub fn unexpected(&self) -> Box<ParseError> {
        if let Some(e) = self.lexical_error() {
            return e;
        }
        let what = describe(self.token.kind, self.text(self.token));
        let message = match self.context {
            "" => format!("unexpected {what}"),
            context => format!("unexpected {what} in {context}"),
        };
        self.error(span_of(self.token), message)
    }

    /// Complains of the next token, saying what should stand there.
    pub fn unexpected_in(&self, context: &str, expected: &str) -> Box<ParseError> {
        if let Some(e) = self.lexical_error() {
            return e;
        }
        let what = describe(self.token.kind, self.text(self.token));
        self.error(span_of(self.token), format!("unexpected {what} in {context}, expected {expected}"))
    }

    /// Why the next token cannot be read, if it cannot.
    pub fn lexical_error(&self) -> Option<Box<ParseError>> {
        self.unreadable.as_ref().map(|e| self.error(e.span, e.message.as_str()))
    }

    /// An error at `span`.
    pub fn error(&self, span: Span, message: impl Into<String>) -> Box<ParseError> {
        Box::new(ParseError::new(self.query, span, message))
    }

    /// Runs `parse` one level deeper.
    pub fn nested<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.nesting += 1;
        if self.nesting > MAX_DEPTH {
            return Err(self.too_deep(span_of(self.token)));
        }
        let result = parse(self);
        self.nesting -= 1;
        result
    }

    /// A node over children of at most `height`.
    pub fn node(&self, expr: Expr, height: usize) -> Result<Node> {
        if height >= MAX_DEPTH {
            return Err(self.too_deep(expr.span()));
        }
        Ok(Node { expr, height: height + 1 })
    }

    fn too_deep(&self, span: Span) -> Box<ParseError> {
        self.error(span, format!("expression nests deeper than {MAX_DEPTH} levels"))
    }
}

/// Where a token stands.
pub(super) fn span_of(token: Token) -> Span {
    Span::new(token.start, token.end)
}
