//! Parses ranges, steps and offsets: literals, and arithmetic on durations.
//!
//! Within brackets everything up to `:` or `]` is one duration expression. An offset has no closing bracket, so a
//! literal, `step()`, `range()`, `min_of(…)`, `max_of(…)` and whatever a sign stands before end it: an operator
//! behind them belongs to the expression around (`a offset 5m + b`). Only an offset that begins with a
//! parenthesis goes on (`a offset (5m) * 2`).

use super::MAX_DURATION_TERMS;
use super::ast::{BinaryOp, DurationArg, DurationExpr, DurationOp, Span};
use super::duration::MAX_DURATION_S;
use super::syntax::{Parser, Result, span_of};
use super::token::{Token, TokenKind};

/// Binding power of a sign's operand, see [`BinaryOp::precedence`].
const OPERAND_OF_SIGN: u8 = 6;

/// What an error in a duration is reported as: context and expectation.
type Place = (&'static str, &'static str);

const OFFSET: Place = ("offset", "number, duration, step(), or range()");

impl Parser<'_> {
    /// The range or step in brackets, behind which `:` or `]` stands.
    pub fn positive_duration(
        &mut self,
        context: &'static str,
        expected: &'static str,
    ) -> Result<DurationArg> {
        self.duration_terms = 0;
        let duration = self.duration(0, (context, expected))?;
        if let (DurationOp::Number(seconds, _), false) = (&duration.op, duration.wrapped)
            && *seconds <= 0.0
        {
            if let Some(e) = self.lexical_error() {
                return Err(e);
            }
            return Err(self.error(duration.span, "duration must be greater than 0"));
        }
        Ok(into_arg(duration))
    }

    /// What stands behind `offset`.
    pub fn offset_duration(&mut self) -> Result<DurationArg> {
        self.duration_terms = 0;
        let sign = self.duration_sign()?;
        let duration = match (self.token.kind, sign) {
            (TokenKind::LeftParen, None) => self.duration(0, OFFSET)?,
            (_, None) => self.duration_operand(OFFSET)?,
            // A second sign, like a parenthesis, begins an expression that goes on.
            (TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub), Some(sign)) => {
                let operand = self.duration(OPERAND_OF_SIGN, OFFSET)?;
                let left = self.signed_duration(sign, operand)?;
                self.duration_operations(left, 0, OFFSET)?
            }
            (kind, Some(sign)) => {
                let operand = self.duration_operand(OFFSET)?;
                let span = span_of(sign).to(operand.span);
                // `parse_query` shows a plus only in front of these.
                if kind.is_callable_keyword() && self.text(sign) == "+" {
                    DurationExpr { span, op: DurationOp::Plus(Box::new(operand)), wrapped: false }
                } else {
                    self.signed_duration(sign, operand)?
                }
            }
        };
        Ok(into_arg(duration))
    }

    fn duration(&mut self, min_precedence: u8, place: Place) -> Result<DurationExpr> {
        self.nested(|p| {
            let left = match p.duration_sign()? {
                Some(sign) => {
                    let operand = p.duration(OPERAND_OF_SIGN, place)?;
                    p.signed_duration(sign, operand)?
                }
                None => p.duration_operand(place)?,
            };
            p.duration_operations(left, min_precedence, place)
        })
    }

    /// `left` with the operators behind it that bind at least as close as `min_precedence`.
    fn duration_operations(
        &mut self,
        mut left: DurationExpr,
        min_precedence: u8,
        place: Place,
    ) -> Result<DurationExpr> {
        while let Some(op) = self.duration_operator().filter(|op| op.precedence() >= min_precedence) {
            let operator = self.advance()?;
            let right = self.duration(op.precedence() + u8::from(op != BinaryOp::Pow), place)?;
            left = self.duration_operation(left, op, operator, right)?;
        }
        Ok(left)
    }

    fn duration_operator(&self) -> Option<BinaryOp> {
        match self.token.kind {
            TokenKind::Operator(op) if op.is_arithmetic() && op != BinaryOp::Atan2 => Some(op),
            _ => None,
        }
    }

    fn duration_operation(
        &self,
        left: DurationExpr,
        op: BinaryOp,
        operator: Token,
        right: DurationExpr,
    ) -> Result<DurationExpr> {
        let zero = matches!(right.op, DurationOp::Number(0.0, _)) && !right.wrapped;
        let span = left.span.to(right.span);
        let (left, right) = (Box::new(left), Box::new(right));
        if zero && let Some(e) = self.lexical_error() {
            return Err(e);
        }
        let op = match op {
            BinaryOp::Div if zero => return Err(self.error(span_of(operator), "division by zero")),
            BinaryOp::Mod if zero => return Err(self.error(span_of(operator), "modulo by zero")),
            BinaryOp::Add => DurationOp::Add(left, right),
            BinaryOp::Sub => DurationOp::Sub(left, right),
            BinaryOp::Mul => DurationOp::Mul(left, right),
            BinaryOp::Div => DurationOp::Div(left, right),
            BinaryOp::Mod => DurationOp::Mod(left, right),
            _ => DurationOp::Pow(left, right),
        };
        Ok(DurationExpr { span, op, wrapped: false })
    }

    /// Consumes a sign.
    fn duration_sign(&mut self) -> Result<Option<Token>> {
        match self.token.kind {
            TokenKind::Operator(BinaryOp::Add | BinaryOp::Sub) => self.advance().map(Some),
            _ => Ok(None),
        }
    }

    fn signed_duration(&mut self, sign: Token, operand: DurationExpr) -> Result<DurationExpr> {
        self.count_duration_term()?;
        let minus = self.text(sign) == "-";
        let span = span_of(sign).to(operand.span);
        let op = match operand.op {
            DurationOp::Number(seconds, is_duration) if !operand.wrapped => {
                DurationOp::Number(if minus { -seconds } else { seconds }, is_duration)
            }
            _ if minus => DurationOp::Minus(Box::new(operand)),
            // A plus says nothing.
            _ => return Ok(operand),
        };
        Ok(DurationExpr { span, op, wrapped: false })
    }

    fn duration_operand(&mut self, place: Place) -> Result<DurationExpr> {
        self.count_duration_term()?;
        let start = self.token.start;
        let op = match self.token.kind {
            TokenKind::Number | TokenKind::Duration => {
                let literal = self.number_or_duration()?;
                if literal.value.is_nan() || literal.value.abs() > MAX_DURATION_S {
                    return Err(self.error(literal.span, "duration out of range"));
                }
                DurationOp::Number(literal.value, literal.is_duration)
            }
            TokenKind::LeftParen => {
                self.advance()?;
                let mut inner = self.duration(0, place)?;
                self.expect_in_duration(TokenKind::RightParen, place)?;
                // Prometheus forgets parentheses around a literal; they are kept where `(-2) ^ 2` needs them.
                let needed = match inner.op {
                    DurationOp::Number(v, _) => v < 0.0 && self.duration_operator() == Some(BinaryOp::Pow),
                    _ => true,
                };
                if needed {
                    inner.span = Span::new(start, self.last_end);
                    inner.wrapped = true;
                }
                return Ok(inner);
            }
            kind @ (TokenKind::Step | TokenKind::Range) => {
                self.advance()?;
                self.expect_in_duration(TokenKind::LeftParen, place)?;
                self.expect_in_duration(TokenKind::RightParen, place)?;
                if kind == TokenKind::Step { DurationOp::Step } else { DurationOp::Range }
            }
            kind @ (TokenKind::MinOf | TokenKind::MaxOf) => {
                self.advance()?;
                self.expect_in_duration(TokenKind::LeftParen, place)?;
                let a = Box::new(self.duration(0, place)?);
                self.expect_in_duration(TokenKind::Comma, place)?;
                let b = Box::new(self.duration(0, place)?);
                self.expect_in_duration(TokenKind::RightParen, place)?;
                if kind == TokenKind::MinOf { DurationOp::MinOf(a, b) } else { DurationOp::MaxOf(a, b) }
            }
            _ => return Err(self.unexpected_in(place.0, place.1)),
        };
        Ok(DurationExpr { span: Span::new(start, self.last_end), op, wrapped: false })
    }

    /// Bounds the depth of a duration's tree by the number of its operands and signs.
    fn count_duration_term(&mut self) -> Result<()> {
        self.duration_terms += 1;
        if self.duration_terms > MAX_DURATION_TERMS {
            let text = format!("duration has more than {MAX_DURATION_TERMS} terms");
            return Err(self.error(span_of(self.token), text));
        }
        Ok(())
    }

    fn expect_in_duration(&mut self, kind: TokenKind, place: Place) -> Result<Token> {
        self.accept(kind)?.ok_or_else(|| self.unexpected_in(place.0, place.1))
    }
}

/// A bare literal is known now, anything else when the query is planned.
fn into_arg(duration: DurationExpr) -> DurationArg {
    match duration.op {
        DurationOp::Number(seconds, _) if !duration.wrapped => {
            // Prometheus rounds to nanoseconds and evaluates with the whole milliseconds of them.
            let nanoseconds = (seconds * 1e9).round();
            DurationArg::Fixed((nanoseconds / 1e6) as i64)
        }
        _ => DurationArg::Expr(Box::new(duration)),
    }
}
