//! Pipelines, from the declarations in front down to the operands of each command.

use super::{Parser, Result};
use crate::ast::{Command, Expr, ExprKind, Pipe};
use crate::functions;
use crate::gofmt::quote;
use crate::lex::{Keyword, Kind};
use crate::literal;
use crate::value::Value;

impl Parser {
    pub(super) fn pipe(&mut self, context: &str, end: Kind) -> Result<Pipe> {
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
