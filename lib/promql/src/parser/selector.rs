//! Label matchers, and the modifiers behind a selector: ranges, subqueries, `offset`, `@`, `anchored`, `smoothed`.
//!
//! Modifiers bind closer than any operator and may follow any operand; whether they make sense there is decided
//! here, in the order and words of Prometheus.

use cairn_model::labels::METRIC_NAME;

use super::ast::{
    At, BinaryOp, DurationArg, Expr, MatchOp, Matcher, MatrixSelector, Span, SubqueryExpr, VectorSelector,
};
use super::literal::unquote;
use super::regex_error;
use super::syntax::{Node, Parser, Result, span_of};
use super::token::{Token, TokenKind};

const NOT_A_SELECTOR: &str =
    "modifier must be preceded by an instant vector selector or range vector selector or a subquery";

/// `anchored` or `smoothed`.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Extension {
    Anchored,
    Smoothed,
}

impl Parser<'_> {
    /// A selector whose name, if it has one, is consumed.
    pub fn selector_after_name(&mut self, name: Option<Token>) -> Result<VectorSelector> {
        let mut selector = VectorSelector {
            span: name.map_or(span_of(self.token), span_of),
            name: name.map_or(String::new(), |t| self.text(t).to_owned()),
            matchers: Vec::new(),
            offset: None,
            at: None,
            anchored: false,
            smoothed: false,
        };
        if self.accept(TokenKind::LeftBrace)?.is_some() {
            let close = self.label_matchers(&mut selector.matchers)?;
            selector.span.end = close.end as u32;
        }
        if !selector.name.is_empty() {
            selector.matchers.push(Matcher::equal(METRIC_NAME, selector.name.as_str()));
        }
        Ok(selector)
    }

    /// Matchers up to the closing brace, which is consumed and given.
    fn label_matchers(&mut self, matchers: &mut Vec<Matcher>) -> Result<Token> {
        if let Some(close) = self.accept(TokenKind::RightBrace)? {
            return Ok(close);
        }
        loop {
            matchers.push(self.label_matcher()?);
            match self.token.kind {
                TokenKind::RightBrace => return self.advance(),
                TokenKind::Comma => drop(self.advance()?),
                _ => return Err(self.unexpected_in("label matching", "\",\" or \"}\"")),
            }
            if let Some(close) = self.accept(TokenKind::RightBrace)? {
                return Ok(close);
            }
        }
    }

    fn label_matcher(&mut self) -> Result<Matcher> {
        let quoted = match self.token.kind {
            TokenKind::Identifier => false,
            TokenKind::String => true,
            _ => return Err(self.unexpected_in("label matching", "identifier or \"}\"")),
        };
        let name = self.advance()?;
        let name_text = if quoted { unquote(self.text(name)) } else { self.text(name).to_owned() };
        let op = match self.token.kind {
            TokenKind::Equal => MatchOp::Equal,
            TokenKind::Operator(BinaryOp::Neq) => MatchOp::NotEqual,
            TokenKind::EqualRegex => MatchOp::Regex,
            TokenKind::NotEqualRegex => MatchOp::NotRegex,
            _ if quoted => return Ok(Matcher::equal(METRIC_NAME, name_text)),
            _ => return Err(self.unexpected_in("label matching", "label matching operator")),
        };
        self.advance()?;
        let Some(value) = self.accept(TokenKind::String)? else {
            return Err(self.unexpected_in("label matching", "string"));
        };
        let span = Span::new(name.start, value.end);
        Matcher::new(op, name_text, unquote(self.text(value)))
            .map_err(|e| self.error(span, regex_error::describe(&e.pattern, &e.reason)))
    }

    /// Labels with values up to the closing brace, which is consumed.
    pub fn labels(&mut self) -> Result<Vec<(String, String)>> {
        let mut labels = Vec::new();
        loop {
            if self.accept(TokenKind::RightBrace)?.is_some() {
                return Ok(labels);
            }
            let quoted = match self.token.kind {
                TokenKind::Identifier => false,
                TokenKind::String => true,
                _ => return Err(self.unexpected_in("label set", "identifier or \"}\"")),
            };
            let name = self.advance()?;
            let name = if quoted { unquote(self.text(name)) } else { self.text(name).to_owned() };
            if self.accept(TokenKind::Equal)?.is_some() {
                let Some(value) = self.accept(TokenKind::String)? else {
                    return Err(self.unexpected_in("label set", "string"));
                };
                labels.push((name, unquote(self.text(value))));
            } else if quoted {
                labels.push((METRIC_NAME.to_owned(), name));
            } else {
                return Err(self.unexpected_in("label set", "\"=\""));
            }
            match self.token.kind {
                TokenKind::Comma => drop(self.advance()?),
                TokenKind::RightBrace => {}
                _ => return Err(self.unexpected_in("label set", "\",\" or \"}\"")),
            }
        }
    }

    /// `node` with the modifiers that follow it.
    pub fn modified(&mut self, mut node: Node) -> Result<Node> {
        loop {
            match self.token.kind {
                TokenKind::LeftBracket => node = self.range_or_subquery(node)?,
                TokenKind::Offset => self.offset(&mut node)?,
                TokenKind::At => self.at(&mut node)?,
                TokenKind::Anchored => self.extension(&mut node, Extension::Anchored)?,
                TokenKind::Smoothed => self.extension(&mut node, Extension::Smoothed)?,
                _ => return Ok(node),
            }
        }
    }

    fn range_or_subquery(&mut self, node: Node) -> Result<Node> {
        let open = self.advance()?;
        let range =
            self.positive_duration("subquery or range selector", "number, duration, step(), or range()")?;
        let colon = self.accept(TokenKind::Colon)?.is_some();
        if !colon {
            let Some(close) = self.accept(TokenKind::RightBracket)? else {
                return Err(self.unexpected_in("subquery or range", "\":\" or \"]\""));
            };
            return self.range(node, range, Span::new(open.start, close.end));
        }
        let step = if self.token.kind == TokenKind::RightBracket {
            None
        } else {
            let expected = "number, duration, step(), range(), or \"]\"";
            Some(self.positive_duration("subquery selector", expected)?)
        };
        let Some(close) = self.accept(TokenKind::RightBracket)? else {
            return Err(self.unexpected_in("subquery selector", "\"]\""));
        };
        let span = Span { end: close.end as u32, ..node.expr.span() };
        let subquery = SubqueryExpr { span, expr: node.expr, range, step, offset: None, at: None };
        self.node(Expr::Subquery(Box::new(subquery)), node.height)
    }

    fn range(&mut self, node: Node, range: DurationArg, brackets: Span) -> Result<Node> {
        let selector = match node.expr {
            Expr::Vector(v) => *v,
            _ => return Err(self.error(brackets, "ranges only allowed for vector selectors")),
        };
        // Like Prometheus 3.14 this lets `offset step()` and `@ start()` pass, which then hold for the range.
        if matches!(selector.offset, Some(DurationArg::Fixed(_))) {
            return Err(self.error(brackets, "no offset modifiers allowed before range"));
        }
        if matches!(selector.at, Some(At::TimestampMs(_))) {
            return Err(self.error(brackets, "no @ modifiers allowed before range"));
        }
        let span = Span { end: brackets.end, ..selector.span };
        Ok(Node {
            expr: Expr::Matrix(Box::new(MatrixSelector { span, selector, range })),
            height: node.height,
        })
    }

    fn offset(&mut self, node: &mut Node) -> Result<()> {
        self.advance()?;
        let offset = self.offset_duration()?;
        let (span, end) = (node.expr.span(), self.last_end as u32);
        let Some(modifiers) = modifiers_of(&mut node.expr) else {
            return Err(self.error(span, format!("offset {NOT_A_SELECTOR}")));
        };
        if modifiers.offset.is_some() {
            return Err(self.error(span, "offset may not be set multiple times"));
        }
        // An offset of nothing is none, and may be set again.
        *modifiers.offset = Some(offset).filter(|o| *o != DurationArg::Fixed(0));
        modifiers.span.end = end;
        Ok(())
    }

    fn at(&mut self, node: &mut Node) -> Result<()> {
        self.advance()?;
        let span = node.expr.span();
        let at = self.at_value(span)?;
        let end = self.last_end as u32;
        let Some(modifiers) = modifiers_of(&mut node.expr) else {
            return Err(self.error(span, format!("@ {NOT_A_SELECTOR}")));
        };
        if modifiers.at.is_some() {
            return Err(self.error(span, "@ <timestamp> may not be set multiple times"));
        }
        *modifiers.at = Some(at);
        modifiers.span.end = end;
        Ok(())
    }

    /// What stands behind `@`.
    fn at_value(&mut self, selector: Span) -> Result<At> {
        let refuse = |p: &Self| p.unexpected_in("@", "timestamp");
        let preprocessor = match self.token.kind {
            TokenKind::Start => Some(At::Start),
            TokenKind::End => Some(At::End),
            _ => None,
        };
        if let Some(at) = preprocessor {
            self.advance()?;
            self.accept(TokenKind::LeftParen)?.ok_or_else(|| refuse(self))?;
            self.accept(TokenKind::RightParen)?.ok_or_else(|| refuse(self))?;
            return Ok(at);
        }
        let seconds = self.signed_number()?.ok_or_else(|| refuse(self))?;
        // The bounds of an i64, as floats.
        if !(seconds > i64::MIN as f64 && seconds < i64::MAX as f64) {
            let shown = match seconds {
                s if s == f64::INFINITY => "+Inf".to_owned(),
                s if s == f64::NEG_INFINITY => "-Inf".to_owned(),
                s => format!("{s:.6}"),
            };
            return Err(self.error(selector, format!("timestamp out of bounds for @ modifier: {shown}")));
        }
        Ok(At::TimestampMs((seconds * 1000.0).round() as i64))
    }

    fn extension(&mut self, node: &mut Node, extension: Extension) -> Result<()> {
        self.advance()?;
        let name = if extension == Extension::Anchored { "anchored" } else { "smoothed" };
        let span = node.expr.span();
        if !self.features.extended_range_selectors {
            return Err(self.error(span, format!("{name} modifier is experimental and not enabled")));
        }
        let selector = match &mut node.expr {
            Expr::Vector(v) => &mut **v,
            Expr::Matrix(m) => &mut m.selector,
            Expr::Subquery(_) => {
                return Err(self.error(span, format!("{name} modifier is not supported for subqueries")));
            }
            // Prometheus' words for an expression that is no selector.
            _ => return Err(self.error(span, format!("{name} modifier not implemented"))),
        };
        match extension {
            Extension::Anchored => selector.anchored = true,
            Extension::Smoothed => selector.smoothed = true,
        }
        if selector.anchored && selector.smoothed {
            return Err(self.error(span, "anchored and smoothed modifiers cannot be used together"));
        }
        Ok(())
    }
}

/// The parts of a node that modifiers set.
struct Modifiers<'a> {
    span: &'a mut Span,
    offset: &'a mut Option<DurationArg>,
    at: &'a mut Option<At>,
}

fn modifiers_of(expr: &mut Expr) -> Option<Modifiers<'_>> {
    match expr {
        Expr::Vector(v) => Some(Modifiers { span: &mut v.span, offset: &mut v.offset, at: &mut v.at }),
        Expr::Matrix(m) => {
            Some(Modifiers { span: &mut m.span, offset: &mut m.selector.offset, at: &mut m.selector.at })
        }
        Expr::Subquery(s) => Some(Modifiers { span: &mut s.span, offset: &mut s.offset, at: &mut s.at }),
        _ => None,
    }
}
