//! The syntax tree of a PromQL expression.
//!
//! Parts in the order a reader meets them: [`Span`] (where a node stands in the query), [`Expr`] and its node
//! structs, the operators ([`BinaryOp`], [`AggregateOp`], [`UnaryOp`]), [`VectorMatching`], and the modifiers of
//! selectors ([`At`]; offsets and ranges are [`DurationArg`]s).
//!
//! Invariant: a tree made by the parser is well typed, its spans lie within the query on character
//! boundaries, and no path from the root is longer than
//! [`crate::parser::MAX_DEPTH`], so that recursion over a tree is bounded.
//!
//! Source: the language of Prometheus 3.14 (reference of `promql/parser`).

mod matching;
mod operator;
mod span;

pub use cairn_model::matcher::{MatchOp, Matcher};

pub use matching::{FillValues, VectorMatchCardinality, VectorMatching};
pub use operator::{AggregateOp, BinaryOp, UnaryOp};
pub use span::{Position, Span};

pub use super::duration::{DurationArg, DurationContext, DurationError, DurationExpr, DurationOp};
pub use super::functions::Function;
pub use super::value_type::ValueType;

/// An expression. Nodes are boxed, so that an `Expr` is two words and recursion is cheap.
#[derive(Debug, Clone, PartialEq)]
pub enum Expr {
    /// `1.5`, `0x1F`, `Inf`, `5m` as a number of seconds.
    Number(Box<NumberLiteral>),
    /// `"text"`.
    String(Box<StringLiteral>),
    /// `up{job="x"} offset 5m`.
    Vector(Box<VectorSelector>),
    /// `up[5m]`.
    Matrix(Box<MatrixSelector>),
    /// `(…)[1h:5m]`.
    Subquery(Box<SubqueryExpr>),
    /// `rate(…)`.
    Call(Box<Call>),
    /// `sum by (job) (…)`.
    Aggregate(Box<AggregateExpr>),
    /// `a + b`.
    Binary(Box<BinaryExpr>),
    /// `-a`.
    Unary(Box<UnaryExpr>),
    /// `(a)`.
    Paren(Box<ParenExpr>),
}

/// A number.
#[derive(Debug, Clone)]
pub struct NumberLiteral {
    /// Where it stands.
    pub span: Span,
    /// Its value; seconds when it was written as a duration.
    pub value: f64,
    /// Whether it was written as a duration (`5m`).
    pub is_duration: bool,
}

/// NaN equals NaN, so that trees can be compared.
impl PartialEq for NumberLiteral {
    fn eq(&self, o: &Self) -> bool {
        self.span == o.span
            && self.is_duration == o.is_duration
            && (self.value.to_bits() == o.value.to_bits() || (self.value.is_nan() && o.value.is_nan()))
    }
}

/// A string.
#[derive(Debug, Clone, PartialEq)]
pub struct StringLiteral {
    /// Where it stands, quotes included.
    pub span: Span,
    /// Its value, escapes resolved.
    pub value: String,
}

/// Selects instant vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct VectorSelector {
    /// From the name or brace to the end of the last modifier.
    pub span: Span,
    /// The metric name as written before the braces; empty when there is none. The matchers hold it too, as
    /// `__name__="…"`, last. A name that is quoted within the braces is a matcher only.
    pub name: String,
    /// All must hold.
    pub matchers: Vec<Matcher>,
    /// `offset …`; `None` is no offset. Positive looks into the past.
    pub offset: Option<DurationArg>,
    /// `@ …`.
    pub at: Option<At>,
    /// `anchored` (experimental).
    pub anchored: bool,
    /// `smoothed` (experimental).
    pub smoothed: bool,
}

/// Selects range vectors.
#[derive(Debug, Clone, PartialEq)]
pub struct MatrixSelector {
    /// From the selector to the end of the last modifier.
    pub span: Span,
    /// What is selected; offset, `@`, `anchored` and `smoothed` of the whole are kept here.
    pub selector: VectorSelector,
    /// How far back, positive.
    pub range: DurationArg,
}

/// Evaluates an expression over a range.
#[derive(Debug, Clone, PartialEq)]
pub struct SubqueryExpr {
    /// From the expression to the end of the last modifier.
    pub span: Span,
    /// An instant vector expression.
    pub expr: Expr,
    /// How far back, positive.
    pub range: DurationArg,
    /// Resolution; `None` is the engine's default (the global evaluation interval).
    pub step: Option<DurationArg>,
    /// `offset …`.
    pub offset: Option<DurationArg>,
    /// `@ …`.
    pub at: Option<At>,
}

/// Calls a function.
#[derive(Debug, Clone, PartialEq)]
pub struct Call {
    /// From the name to the closing parenthesis.
    pub span: Span,
    /// Entry of the function table.
    pub func: &'static Function,
    /// Arguments; their number and types fit the function.
    pub args: Vec<Expr>,
}

/// Aggregates over series.
#[derive(Debug, Clone, PartialEq)]
pub struct AggregateExpr {
    /// From the operator to the closing parenthesis or the grouping behind it.
    pub span: Span,
    /// What is computed.
    pub op: AggregateOp,
    /// The vector.
    pub expr: Expr,
    /// `topk`'s number, `quantile`'s φ, `count_values`' label.
    pub param: Option<Expr>,
    /// Labels of `by` or `without`.
    pub grouping: Vec<String>,
    /// Whether `grouping` is of `without`.
    pub without: bool,
}

/// Combines two expressions.
#[derive(Debug, Clone, PartialEq)]
pub struct BinaryExpr {
    /// From the left side's start to the right side's end.
    pub span: Span,
    /// How.
    pub op: BinaryOp,
    /// Left side.
    pub lhs: Expr,
    /// Right side.
    pub rhs: Expr,
    /// `bool`: a comparison yields 0 or 1 instead of filtering.
    pub return_bool: bool,
    /// How series pair up; present exactly when both sides are instant vectors.
    pub matching: Option<VectorMatching>,
}

/// Sign in front of an expression.
#[derive(Debug, Clone, PartialEq)]
pub struct UnaryExpr {
    /// From the sign to the expression's end.
    pub span: Span,
    /// Which sign.
    pub op: UnaryOp,
    /// A scalar or an instant vector.
    pub expr: Expr,
}

/// Parentheses.
#[derive(Debug, Clone, PartialEq)]
pub struct ParenExpr {
    /// Parentheses included.
    pub span: Span,
    /// What they hold.
    pub expr: Expr,
}

/// `@` modifier.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum At {
    /// A fixed time in milliseconds since the epoch.
    TimestampMs(i64),
    /// `start()`: the query's start.
    Start,
    /// `end()`: the query's end.
    End,
}

impl Expr {
    /// Where the expression stands in the query.
    pub fn span(&self) -> Span {
        match self {
            Expr::Number(e) => e.span,
            Expr::String(e) => e.span,
            Expr::Vector(e) => e.span,
            Expr::Matrix(e) => e.span,
            Expr::Subquery(e) => e.span,
            Expr::Call(e) => e.span,
            Expr::Aggregate(e) => e.span,
            Expr::Binary(e) => e.span,
            Expr::Unary(e) => e.span,
            Expr::Paren(e) => e.span,
        }
    }

    /// What it evaluates to. O(depth of parentheses, signs and scalar operators).
    pub fn value_type(&self) -> ValueType {
        match self {
            Expr::Number(_) => ValueType::Scalar,
            Expr::String(_) => ValueType::String,
            Expr::Vector(_) | Expr::Aggregate(_) => ValueType::Vector,
            Expr::Matrix(_) | Expr::Subquery(_) => ValueType::Matrix,
            Expr::Call(e) => e.func.return_type,
            // The right side first: in a chain of operators it is a leaf, so that the walk stays short.
            Expr::Binary(e) => {
                let scalar =
                    e.rhs.value_type() == ValueType::Scalar && e.lhs.value_type() == ValueType::Scalar;
                if scalar { ValueType::Scalar } else { ValueType::Vector }
            }
            Expr::Unary(e) => e.expr.value_type(),
            Expr::Paren(e) => e.expr.value_type(),
        }
    }

    /// The expression inside all parentheses around it.
    pub fn unwrap_parens(&self) -> &Expr {
        let mut expr = self;
        while let Expr::Paren(p) = expr {
            expr = &p.expr;
        }
        expr
    }

    /// The direct sub-expressions, in the order of evaluation: an aggregation's vector before its parameter,
    /// left before right, arguments in order. A matrix selector's inner selector is not a child.
    pub fn children(&self) -> Vec<&Expr> {
        match self {
            Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) => Vec::new(),
            Expr::Subquery(e) => vec![&e.expr],
            Expr::Call(e) => e.args.iter().collect(),
            Expr::Aggregate(e) => std::iter::once(&e.expr).chain(&e.param).collect(),
            Expr::Binary(e) => vec![&e.lhs, &e.rhs],
            Expr::Unary(e) => vec![&e.expr],
            Expr::Paren(e) => vec![&e.expr],
        }
    }

    /// Calls `visit` for this expression and all below, parents first.
    pub fn walk<'a>(&'a self, visit: &mut impl FnMut(&'a Expr)) {
        visit(self);
        for child in self.children() {
            child.walk(visit);
        }
    }

    /// All selectors below, those of matrix selectors included, in the order of the query.
    pub fn selectors(&self) -> Vec<&VectorSelector> {
        let mut found = Vec::new();
        self.walk(&mut |e| match e {
            Expr::Vector(v) => found.push(&**v),
            Expr::Matrix(m) => found.push(&m.selector),
            _ => {}
        });
        found.sort_by_key(|v| v.span.start);
        found
    }
}
