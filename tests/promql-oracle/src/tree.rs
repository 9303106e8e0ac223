//! What both parsers say of an expression, in a form in which two trees can be compared.
//!
//! Left out is what only one of them keeps: positions, that a number was written as a duration, a plus in front of an
//! expression, and in what order matchers were written.

/// An expression.
#[derive(Debug, Clone, PartialEq)]
pub enum Tree {
    /// A number; durations are seconds.
    Number(Float),
    /// A string, escapes resolved.
    Text(String),
    /// Instant and range vectors.
    Selector(Selector),
    /// `of[range:step]`
    Subquery {
        /// What is evaluated over the range.
        of: Box<Tree>,
        /// How far back.
        range_ms: i64,
        /// Resolution, where it is given.
        step_ms: Option<i64>,
        /// When.
        shift: Shift,
    },
    /// `name(args)`
    Call {
        /// The function.
        name: String,
        /// Its arguments.
        args: Vec<Tree>,
    },
    /// `op by (labels) (param, of)`
    Aggregate {
        /// The aggregation.
        op: String,
        /// Its parameter.
        param: Option<Box<Tree>>,
        /// The vector.
        of: Box<Tree>,
        /// Whether the labels are those of `without`.
        without: bool,
        /// Labels in the order they are written.
        labels: Vec<String>,
    },
    /// `left op right`
    Binary {
        /// The operator.
        op: String,
        /// `bool`
        is_bool: bool,
        /// How the series of two vectors pair up; of two vectors only.
        matching: Option<Matching>,
        /// Left side.
        left: Box<Tree>,
        /// Right side.
        right: Box<Tree>,
    },
    /// `-of`
    Negated(Box<Tree>),
    /// `(of)`
    Paren(Box<Tree>),
}

/// `name{matchers}[range] @ at offset offset`
#[derive(Debug, Clone, PartialEq)]
pub struct Selector {
    /// Name, operator and value of each matcher, sorted; the metric name is one of them.
    pub matchers: Vec<(String, &'static str, String)>,
    /// Of a range vector.
    pub range_ms: Option<i64>,
    /// When.
    pub shift: Shift,
}

/// What stands behind a selector or a subquery.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Shift {
    /// `offset`; 0 is none.
    pub offset_ms: i64,
    /// `@`
    pub at: Option<At>,
}

/// The time of `@`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum At {
    /// Milliseconds since the epoch.
    TimestampMs(i64),
    /// `start()`
    Start,
    /// `end()`
    End,
}

/// `on (labels) group_left (include) fill_left(…) fill_right(…)`
#[derive(Debug, Clone, PartialEq)]
pub struct Matching {
    /// Which side may have many.
    pub many: Many,
    /// Whether the labels are those of `on`.
    pub on: bool,
    /// Labels of `on` or `ignoring`.
    pub labels: Vec<String>,
    /// Labels that are taken over from the one side.
    pub include: Vec<String>,
    /// For a missing left side.
    pub fill_left: Option<Float>,
    /// For a missing right side.
    pub fill_right: Option<Float>,
}

/// Which side may have many series for one of the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Many {
    /// Neither.
    Neither,
    /// `group_left`
    Left,
    /// `group_right`
    Right,
    /// Set operators.
    Both,
}

/// A float that equals itself when it is NaN; zeros of both signs are two numbers.
#[derive(Debug, Clone, Copy)]
pub struct Float(pub f64);

impl PartialEq for Float {
    fn eq(&self, other: &Self) -> bool {
        self.0.to_bits() == other.0.to_bits() || (self.0.is_nan() && other.0.is_nan())
    }
}
