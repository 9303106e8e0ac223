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

use std::fmt;

pub use cairn_model::matcher::{MatchOp, Matcher};

pub use super::duration::{DurationArg, DurationContext, DurationError, DurationExpr, DurationOp};
pub use super::functions::Function;
pub use super::value_type::ValueType;

/// A half-open range of bytes of the query, `start .. end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub struct Span {
    /// First byte.
    pub start: u32,
    /// One past the last byte.
    pub end: u32,
}

impl Span {
    /// The range `start .. end`.
    pub fn new(start: usize, end: usize) -> Self {
        // Queries are bounded far below 4 GiB by `MAX_QUERY_BYTES`.
        Span { start: start as u32, end: end as u32 }
    }

    /// The smallest range that contains both.
    pub fn to(self, other: Span) -> Span {
        Span { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// The text of `query` at this range; empty when the range does not fit.
    pub fn text(self, query: &str) -> &str {
        query.get(self.start as usize..self.end as usize).unwrap_or("")
    }

    /// Line and column of the range's start in `query`.
    pub fn position(self, query: &str) -> Position {
        Position::of(query, self.start as usize)
    }
}

/// Line and column, both from 1; the column counts bytes, as Prometheus does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// Line, from 1.
    pub line: u32,
    /// Byte within the line, from 1.
    pub column: u32,
}

impl Position {
    /// Where byte `offset` of `query` stands. O(offset).
    pub fn of(query: &str, offset: usize) -> Self {
        let before = &query.as_bytes()[..offset.min(query.len())];
        let line = 1 + before.iter().filter(|b| **b == b'\n').count();
        let column = before.len() - before.iter().rposition(|b| *b == b'\n').map_or(0, |i| i + 1) + 1;
        Position { line: line as u32, column: column as u32 }
    }
}

/// `line:column`, as in Prometheus' errors and annotations.
impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}", self.line, self.column)
    }
}

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

/// A sign.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum UnaryOp {
    /// `+`
    Plus,
    /// `-`
    Minus,
}

/// Operators between two expressions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum BinaryOp {
    /// `+`
    Add,
    /// `-`
    Sub,
    /// `*`
    Mul,
    /// `/`
    Div,
    /// `%`
    Mod,
    /// `^`, binds to the right
    Pow,
    /// `atan2`
    Atan2,
    /// `==`
    Eql,
    /// `!=`
    Neq,
    /// `<=`
    Lte,
    /// `<`
    Lss,
    /// `>=`
    Gte,
    /// `>`
    Gtr,
    /// `</`: keeps a histogram's observations below the right side.
    TrimUpper,
    /// `>/`: keeps a histogram's observations above the right side.
    TrimLower,
    /// `and`
    And,
    /// `or`
    Or,
    /// `unless`
    Unless,
}

impl BinaryOp {
    /// As written in PromQL.
    pub fn as_str(self) -> &'static str {
        match self {
            BinaryOp::Add => "+",
            BinaryOp::Sub => "-",
            BinaryOp::Mul => "*",
            BinaryOp::Div => "/",
            BinaryOp::Mod => "%",
            BinaryOp::Pow => "^",
            BinaryOp::Atan2 => "atan2",
            BinaryOp::Eql => "==",
            BinaryOp::Neq => "!=",
            BinaryOp::Lte => "<=",
            BinaryOp::Lss => "<",
            BinaryOp::Gte => ">=",
            BinaryOp::Gtr => ">",
            BinaryOp::TrimUpper => "</",
            BinaryOp::TrimLower => ">/",
            BinaryOp::And => "and",
            BinaryOp::Or => "or",
            BinaryOp::Unless => "unless",
        }
    }

    /// Whether this is `== != < <= > >=`. The trim operators are none: they yield histograms.
    pub fn is_comparison(self) -> bool {
        use BinaryOp::{Eql, Gte, Gtr, Lss, Lte, Neq};
        matches!(self, Eql | Neq | Lte | Lss | Gte | Gtr)
    }

    /// Whether this is `and or unless`.
    pub fn is_set(self) -> bool {
        matches!(self, BinaryOp::And | BinaryOp::Or | BinaryOp::Unless)
    }

    /// Whether this is `</` or `>/`.
    pub fn is_trim(self) -> bool {
        matches!(self, BinaryOp::TrimUpper | BinaryOp::TrimLower)
    }

    /// Whether this is `+ - * / % ^ atan2`.
    pub fn is_arithmetic(self) -> bool {
        !(self.is_comparison() || self.is_set() || self.is_trim())
    }

    /// Binding power; greater binds closer.
    pub fn precedence(self) -> u8 {
        match self {
            BinaryOp::Or => 1,
            BinaryOp::And | BinaryOp::Unless => 2,
            op if op.is_comparison() || op.is_trim() => 3,
            BinaryOp::Add | BinaryOp::Sub => 4,
            BinaryOp::Pow => 6,
            _ => 5,
        }
    }
}

impl fmt::Display for BinaryOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl UnaryOp {
    /// As written in PromQL.
    pub fn as_str(self) -> &'static str {
        match self {
            UnaryOp::Plus => "+",
            UnaryOp::Minus => "-",
        }
    }
}

/// Aggregations over series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[allow(missing_docs)] // PromQL's own names
pub enum AggregateOp {
    Sum,
    Avg,
    Count,
    Min,
    Max,
    Group,
    Stddev,
    Stdvar,
    Topk,
    Bottomk,
    CountValues,
    Quantile,
    /// Experimental.
    Limitk,
    /// Experimental.
    LimitRatio,
}

impl AggregateOp {
    /// All of them.
    pub const ALL: [AggregateOp; 14] = [
        AggregateOp::Sum,
        AggregateOp::Avg,
        AggregateOp::Count,
        AggregateOp::Min,
        AggregateOp::Max,
        AggregateOp::Group,
        AggregateOp::Stddev,
        AggregateOp::Stdvar,
        AggregateOp::Topk,
        AggregateOp::Bottomk,
        AggregateOp::CountValues,
        AggregateOp::Quantile,
        AggregateOp::Limitk,
        AggregateOp::LimitRatio,
    ];

    /// As written in PromQL.
    pub fn as_str(self) -> &'static str {
        match self {
            AggregateOp::Sum => "sum",
            AggregateOp::Avg => "avg",
            AggregateOp::Count => "count",
            AggregateOp::Min => "min",
            AggregateOp::Max => "max",
            AggregateOp::Group => "group",
            AggregateOp::Stddev => "stddev",
            AggregateOp::Stdvar => "stdvar",
            AggregateOp::Topk => "topk",
            AggregateOp::Bottomk => "bottomk",
            AggregateOp::CountValues => "count_values",
            AggregateOp::Quantile => "quantile",
            AggregateOp::Limitk => "limitk",
            AggregateOp::LimitRatio => "limit_ratio",
        }
    }

    /// Type of the parameter, if the aggregation takes one.
    pub fn param_type(self) -> Option<ValueType> {
        use AggregateOp::{Bottomk, CountValues, LimitRatio, Limitk, Quantile, Topk};
        match self {
            CountValues => Some(ValueType::String),
            Topk | Bottomk | Quantile | Limitk | LimitRatio => Some(ValueType::Scalar),
            _ => None,
        }
    }

    /// Whether it is behind the experimental functions' gate.
    pub fn is_experimental(self) -> bool {
        matches!(self, AggregateOp::Limitk | AggregateOp::LimitRatio)
    }
}

impl fmt::Display for AggregateOp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How many series of one side pair with one of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum VectorMatchCardinality {
    /// The default.
    #[default]
    OneToOne,
    /// `group_left`
    ManyToOne,
    /// `group_right`
    OneToMany,
    /// Set operators.
    ManyToMany,
}

impl VectorMatchCardinality {
    /// As Prometheus names it in `parse_query`.
    pub fn as_str(self) -> &'static str {
        match self {
            VectorMatchCardinality::OneToOne => "one-to-one",
            VectorMatchCardinality::ManyToOne => "many-to-one",
            VectorMatchCardinality::OneToMany => "one-to-many",
            VectorMatchCardinality::ManyToMany => "many-to-many",
        }
    }
}

/// How the series of two vectors pair up.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct VectorMatching {
    /// See [`VectorMatchCardinality`].
    pub card: VectorMatchCardinality,
    /// Labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Whether `labels` is of `on`.
    pub on: bool,
    /// Labels that `group_left` or `group_right` takes over from the one side.
    pub include: Vec<String>,
    /// Values for a side that has no partner (experimental).
    pub fill: FillValues,
}

/// Values that stand in for a missing partner.
#[derive(Debug, Clone, Copy, Default)]
pub struct FillValues {
    /// For a missing left side.
    pub lhs: Option<f64>,
    /// For a missing right side.
    pub rhs: Option<f64>,
}

/// NaN equals NaN, so that trees can be compared.
impl PartialEq for FillValues {
    fn eq(&self, o: &Self) -> bool {
        let key = |v: Option<f64>| v.map(|v| if v.is_nan() { f64::NAN.to_bits() } else { v.to_bits() });
        key(self.lhs) == key(o.lhs) && key(self.rhs) == key(o.rhs)
    }
}

impl FillValues {
    /// Whether any side is filled.
    pub fn is_some(self) -> bool {
        self.lhs.is_some() || self.rhs.is_some()
    }
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
