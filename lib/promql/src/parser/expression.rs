//! Operators, literals, parentheses, calls and aggregations.

use super::ast::{
    AggregateExpr, AggregateOp, BinaryExpr, BinaryOp, Call, Expr, FillValues, NumberLiteral, ParenExpr, Span,
    StringLiteral, UnaryExpr, UnaryOp, VectorMatchCardinality, VectorMatching,
};
use super::duration::parse_duration;
use super::functions::function;
use super::literal::{parse_number, unquote};
use super::syntax::{Node, Parser, Result, span_of};
use super::token::{Token, TokenKind};

/// Binding power of a sign's operand: only `^` and what stands behind a selector bind closer than a sign.
const OPERAND_OF_SIGN: u8 = 6;

/// What may stand between an operator and its right side.
struct BinaryModifiers {
    return_bool: bool,
    matching: VectorMatching,
}

/// Arguments of a call, and where its closing parenthesis ends.
struct Arguments {
    nodes: Vec<Node>,
    end: usize,
}

impl Parser<'_> {
    /// An expression of operators that bind at least as close as `min_precedence`.
    pub fn expression(&mut self, min_precedence: u8) -> Result<Node> {
        self.nested(|p| {
            let mut left = p.signed()?;
            while let TokenKind::Operator(op) = p.token.kind {
                if op.precedence() < min_precedence {
                    break;
                }
                p.advance()?;
                let modifiers = p.binary_modifiers()?;
                let right_associative = op == BinaryOp::Pow;
                let right = p.expression(op.precedence() + u8::from(!right_associative))?;
                left = p.binary(left, op, modifiers, right)?;
            }
            Ok(left)
        })
    }

    fn binary(&self, left: Node, op: BinaryOp, modifiers: BinaryModifiers, right: Node) -> Result<Node> {
        let span = left.expr.span().to(right.expr.span());
        if modifiers.matching.fill.is_some() && !self.features.binop_fill_modifiers {
            return Err(self.error(span, "binop fill modifiers are experimental and not enabled"));
        }
        let height = left.height.max(right.height);
        let BinaryModifiers { return_bool, matching } = modifiers;
        let expr =
            BinaryExpr { span, op, lhs: left.expr, rhs: right.expr, return_bool, matching: Some(matching) };
        self.node(Expr::Binary(Box::new(expr)), height)
    }

    /// An operand with the signs in front of it.
    fn signed(&mut self) -> Result<Node> {
        let op = match self.token.kind {
            TokenKind::Operator(BinaryOp::Add) => UnaryOp::Plus,
            TokenKind::Operator(BinaryOp::Sub) => UnaryOp::Minus,
            _ => {
                let operand = self.operand()?;
                return self.modified(operand);
            }
        };
        let sign = self.advance()?;
        let operand = self.expression(OPERAND_OF_SIGN)?;
        if let Expr::Number(mut number) = operand.expr {
            number.span.start = sign.start as u32;
            if op == UnaryOp::Minus {
                number.value = -number.value;
            }
            return Ok(Node::leaf(Expr::Number(number)));
        }
        let span = span_of(sign).to(operand.expr.span());
        self.node(Expr::Unary(Box::new(UnaryExpr { span, op, expr: operand.expr })), operand.height)
    }

    /// What stands without operators and modifiers.
    fn operand(&mut self) -> Result<Node> {
        match self.token.kind {
            TokenKind::Number | TokenKind::Duration => {
                Ok(Node::leaf(Expr::Number(Box::new(self.number_or_duration()?))))
            }
            TokenKind::String => {
                let token = self.advance()?;
                let literal = StringLiteral { span: span_of(token), value: unquote(self.text(token)) };
                Ok(Node::leaf(Expr::String(Box::new(literal))))
            }
            TokenKind::LeftParen => self.parentheses(),
            TokenKind::LeftBrace => self.selector(None),
            TokenKind::Aggregator(op) => {
                let token = self.advance()?;
                match self.token.kind {
                    TokenKind::LeftParen | TokenKind::By | TokenKind::Without => self.aggregation(token, op),
                    _ => self.selector(Some(token)),
                }
            }
            kind if kind == TokenKind::Identifier || kind.is_callable_keyword() => {
                let token = self.advance()?;
                match self.token.kind {
                    TokenKind::LeftParen => self.call(token),
                    _ => self.selector(Some(token)),
                }
            }
            kind if kind.is_metric_name() => {
                let token = self.advance()?;
                self.selector(Some(token))
            }
            _ => Err(self.unexpected()),
        }
    }

    fn selector(&mut self, name: Option<Token>) -> Result<Node> {
        let selector = self.selector_after_name(name)?;
        Ok(Node::leaf(Expr::Vector(Box::new(selector))))
    }

    /// A number, or a duration as a number of seconds. The next token is one of the two.
    pub fn number_or_duration(&mut self) -> Result<NumberLiteral> {
        let token = self.advance()?;
        let span = span_of(token);
        let is_duration = token.kind == TokenKind::Duration;
        let value = if is_duration {
            let ms = parse_duration(self.text(token)).map_err(|e| self.error(span, e.to_string()))?;
            ms as f64 / 1000.0
        } else {
            parse_number(self.text(token)).map_err(|e| self.error(span, e))?
        };
        Ok(NumberLiteral { span, value, is_duration })
    }

    fn parentheses(&mut self) -> Result<Node> {
        let open = self.advance()?;
        let inner = self.expression(0)?;
        let close = self.expect(TokenKind::RightParen)?;
        let span = Span::new(open.start, close.end);
        self.node(Expr::Paren(Box::new(ParenExpr { span, expr: inner.expr })), inner.height)
    }

    fn call(&mut self, name: Token) -> Result<Node> {
        let arguments = self.arguments()?;
        let text = self.text(name);
        let Some(func) = function(text) else {
            return Err(self.error(span_of(name), format!("unknown function with name \"{text}\"")));
        };
        if func.experimental && !self.features.experimental_functions {
            return Err(self.error(span_of(name), format!("function \"{text}\" is not enabled")));
        }
        let height = arguments.nodes.iter().map(|n| n.height).max().unwrap_or(0);
        let args = arguments.nodes.into_iter().map(|n| n.expr).collect();
        let span = Span::new(name.start, arguments.end);
        self.node(Expr::Call(Box::new(Call { span, func, args })), height)
    }

    fn arguments(&mut self) -> Result<Arguments> {
        self.expect(TokenKind::LeftParen)?;
        let mut nodes = Vec::new();
        if let Some(close) = self.accept(TokenKind::RightParen)? {
            return Ok(Arguments { nodes, end: close.end });
        }
        loop {
            nodes.push(self.expression(0)?);
            if let Some(comma) = self.accept(TokenKind::Comma)? {
                if let Some(e) = self.lexical_error() {
                    return Err(e);
                }
                if !self.token.kind.begins_expression() {
                    let text = "trailing commas not allowed in function call args";
                    return Err(self.error(span_of(comma), text));
                }
                continue;
            }
            let close = self.expect(TokenKind::RightParen)?;
            return Ok(Arguments { nodes, end: close.end });
        }
    }

    fn aggregation(&mut self, name: Token, op: AggregateOp) -> Result<Node> {
        let outer = std::mem::replace(&mut self.context, "aggregation");
        let mut grouping = self.aggregate_grouping()?;
        let arguments = self.arguments()?;
        self.context = outer;
        let mut end = arguments.end;
        if grouping.is_none() {
            grouping = self.aggregate_grouping()?;
            end = grouping.as_ref().map_or(end, |g| g.end);
        }
        if let (None, Some(e)) = (&grouping, self.lexical_error()) {
            return Err(e);
        }
        let grouping = grouping.unwrap_or_default();
        let span = Span::new(name.start, end);

        let height = arguments.nodes.iter().map(|n| n.height).max().unwrap_or(0);
        let mut args = arguments.nodes.into_iter().map(|n| n.expr);
        let (wanted, given) = (1 + usize::from(op.param_type().is_some()), args.len());
        if given == 0 {
            return Err(self.error(span, "no arguments for aggregate expression provided"));
        }
        if op.is_experimental() && !self.features.experimental_functions {
            let flag = "--enable-feature=promql-experimental-functions";
            return Err(self.error(span, format!("{op}() is experimental and must be enabled with {flag}")));
        }
        let param = if wanted == 2 { args.next() } else { None };
        match (args.next(), given == wanted) {
            (Some(expr), true) => {
                let Grouping { labels: grouping, without, .. } = grouping;
                let aggregate = AggregateExpr { span, op, expr, param, grouping, without };
                self.node(Expr::Aggregate(Box::new(aggregate)), height)
            }
            _ => {
                let what = "wrong number of arguments for aggregate expression provided";
                Err(self.error(span, format!("{what}, expected {wanted}, got {given}")))
            }
        }
    }

    fn aggregate_grouping(&mut self) -> Result<Option<Grouping>> {
        let without = match self.token.kind {
            TokenKind::By => false,
            TokenKind::Without => true,
            _ => return Ok(None),
        };
        self.advance()?;
        let (labels, end) = self.grouping_labels()?;
        Ok(Some(Grouping { labels, without, end }))
    }

    /// `(a, "b", c)`, and where it ends.
    fn grouping_labels(&mut self) -> Result<(Vec<String>, usize)> {
        if self.accept(TokenKind::LeftParen)?.is_none() {
            return Err(self.unexpected_in("grouping opts", "\"(\""));
        }
        let mut labels = Vec::new();
        loop {
            if let Some(close) = self.accept(TokenKind::RightParen)? {
                return Ok((labels, close.end));
            }
            labels.push(self.grouping_label()?);
            match self.token.kind {
                TokenKind::Comma => drop(self.advance()?),
                TokenKind::RightParen => {}
                _ => return Err(self.unexpected_in("grouping opts", "\",\" or \")\"")),
            }
        }
    }

    fn grouping_label(&mut self) -> Result<String> {
        match self.token.kind {
            TokenKind::String => {
                let token = self.advance()?;
                let name = unquote(self.text(token));
                if name.is_empty() {
                    return Err(self.error(span_of(token), "invalid label name for grouping: \"\""));
                }
                Ok(name)
            }
            kind if kind.is_label_name() => {
                let token = self.advance()?;
                Ok(self.text(token).to_owned())
            }
            _ => Err(self.unexpected_in("grouping opts", "label")),
        }
    }

    fn binary_modifiers(&mut self) -> Result<BinaryModifiers> {
        let return_bool = self.accept(TokenKind::Bool)?.is_some();
        let mut matching = VectorMatching::default();
        if let TokenKind::On | TokenKind::Ignoring = self.token.kind {
            matching.on = self.advance()?.kind == TokenKind::On;
            matching.labels = self.grouping_labels()?.0;
            matching.card = match self.token.kind {
                TokenKind::GroupLeft => VectorMatchCardinality::ManyToOne,
                TokenKind::GroupRight => VectorMatchCardinality::OneToMany,
                _ => VectorMatchCardinality::OneToOne,
            };
            if matching.card != VectorMatchCardinality::OneToOne {
                self.advance()?;
                if self.token.kind == TokenKind::LeftParen || !self.token.kind.begins_expression() {
                    matching.include = self.grouping_labels()?.0;
                }
            }
        }
        matching.fill = self.fill_modifiers()?;
        Ok(BinaryModifiers { return_bool, matching })
    }

    /// `fill(v)`, or `fill_left(v)` and `fill_right(v)` in any order, each at most once.
    fn fill_modifiers(&mut self) -> Result<FillValues> {
        let mut fill = FillValues::default();
        if self.accept(TokenKind::Fill)?.is_some() {
            let value = Some(self.fill_value()?);
            return Ok(FillValues { lhs: value, rhs: value });
        }
        loop {
            let side = match self.token.kind {
                TokenKind::FillLeft if fill.lhs.is_none() => &mut fill.lhs,
                TokenKind::FillRight if fill.rhs.is_none() => &mut fill.rhs,
                _ => return Ok(fill),
            };
            self.advance()?;
            *side = Some(self.fill_value()?);
        }
    }

    fn fill_value(&mut self) -> Result<f64> {
        self.expect(TokenKind::LeftParen)?;
        let value = self.signed_number()?.ok_or_else(|| self.unexpected())?;
        self.expect(TokenKind::RightParen)?;
        Ok(value)
    }

    /// A number or duration with at most one sign; `None` when the next token is neither (a sign before it is
    /// consumed).
    pub fn signed_number(&mut self) -> Result<Option<f64>> {
        let negative = match self.token.kind {
            TokenKind::Operator(BinaryOp::Add) => self.advance().map(|_| false)?,
            TokenKind::Operator(BinaryOp::Sub) => self.advance().map(|_| true)?,
            _ => false,
        };
        if !matches!(self.token.kind, TokenKind::Number | TokenKind::Duration) {
            return Ok(None);
        }
        let value = self.number_or_duration()?.value;
        Ok(Some(if negative { -value } else { value }))
    }
}

/// `by (…)` or `without (…)`.
#[derive(Default)]
struct Grouping {
    labels: Vec<String>,
    without: bool,
    end: usize,
}
