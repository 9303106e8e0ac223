//! Going through the tokens, and saying what is wrong with them.

use super::{ParseFailure, Parser, Result};
use crate::gofmt::quote;
use crate::lex::{Kind, Token};
use crate::limits::MAX_PARSE_DEPTH;

impl Parser {
    pub(super) fn peek(&self) -> &Token {
        &self.tokens[self.at.min(self.tokens.len() - 1)]
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    pub(super) fn skip_spaces(&mut self) {
        while self.peek().kind == Kind::Space {
            self.at += 1;
        }
    }

    pub(super) fn peek_word(&mut self) -> &Token {
        self.skip_spaces();
        self.peek()
    }

    pub(super) fn next_word(&mut self) -> Token {
        self.skip_spaces();
        self.next()
    }

    pub(super) fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        let last = self.at.saturating_sub(1).min(self.tokens.len() - 1);
        Err(ParseFailure { line: self.tokens[last].line, message: message.into() })
    }

    pub(super) fn unexpected<T>(&self, token: &Token, context: &str) -> Result<T> {
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

    pub(super) fn expect(&mut self, kind: Kind, context: &str) -> Result<Token> {
        let token = self.next_word();
        if token.kind != kind {
            return self.unexpected(&token, context);
        }
        Ok(token)
    }

    pub(super) fn deeper<T>(&mut self, parse: impl FnOnce(&mut Parser) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_PARSE_DEPTH {
            return self.fail("max expression depth exceeded");
        }
        self.depth += 1;
        let parsed = parse(self);
        self.depth -= 1;
        parsed
    }
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
