//! The words of PromQL: kinds of tokens, the keyword table, and how error texts name a token.
//!
//! Keywords are recognised without regard to case; where the grammar wants a name, most of them serve as one
//! ([`TokenKind::is_metric_name`], [`TokenKind::is_label_name`]).

use std::borrow::Cow;

use cairn_model::labels::quoted;

use super::ast::{AggregateOp, BinaryOp};

/// Longest keyword; longer words need no lookup.
const MAX_KEYWORD_BYTES: usize = 12;

/// Longest token text that an error shows whole, in characters.
const MAX_SHOWN_CHARS: usize = 10;

/// What a token is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs)] // the language's own words
pub enum TokenKind {
    Eof,
    /// What the lexer could not read.
    Error,
    Identifier,
    /// A name with a colon in it.
    MetricIdentifier,
    Number,
    Duration,
    String,
    LeftParen,
    RightParen,
    LeftBrace,
    RightBrace,
    LeftBracket,
    RightBracket,
    Comma,
    Colon,
    /// `=`
    Equal,
    /// `=~`
    EqualRegex,
    /// `!~`
    NotEqualRegex,
    /// `@`
    At,
    /// Every operator between expressions; `!=` also compares labels.
    Operator(BinaryOp),
    Aggregator(AggregateOp),
    Offset,
    Smoothed,
    Anchored,
    By,
    Without,
    On,
    Ignoring,
    GroupLeft,
    GroupRight,
    Fill,
    FillLeft,
    FillRight,
    Bool,
    Start,
    End,
    Step,
    Range,
    MaxOf,
    MinOf,
}

/// A token and the bytes of the query that it covers, `start .. end`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Token {
    /// What it is.
    pub kind: TokenKind,
    /// First byte.
    pub start: usize,
    /// One past the last byte.
    pub end: usize,
}

/// The keyword that `word` is, whatever its case.
pub fn keyword(word: &str) -> Option<TokenKind> {
    use TokenKind as T;
    let mut lower = [0u8; MAX_KEYWORD_BYTES];
    let lower = lower.get_mut(..word.len())?;
    for (to, from) in lower.iter_mut().zip(word.bytes()) {
        *to = from.to_ascii_lowercase();
    }
    Some(match &*lower {
        b"and" => T::Operator(BinaryOp::And),
        b"or" => T::Operator(BinaryOp::Or),
        b"unless" => T::Operator(BinaryOp::Unless),
        b"atan2" => T::Operator(BinaryOp::Atan2),
        b"sum" => T::Aggregator(AggregateOp::Sum),
        b"avg" => T::Aggregator(AggregateOp::Avg),
        b"count" => T::Aggregator(AggregateOp::Count),
        b"min" => T::Aggregator(AggregateOp::Min),
        b"max" => T::Aggregator(AggregateOp::Max),
        b"group" => T::Aggregator(AggregateOp::Group),
        b"stddev" => T::Aggregator(AggregateOp::Stddev),
        b"stdvar" => T::Aggregator(AggregateOp::Stdvar),
        b"topk" => T::Aggregator(AggregateOp::Topk),
        b"bottomk" => T::Aggregator(AggregateOp::Bottomk),
        b"count_values" => T::Aggregator(AggregateOp::CountValues),
        b"quantile" => T::Aggregator(AggregateOp::Quantile),
        b"limitk" => T::Aggregator(AggregateOp::Limitk),
        b"limit_ratio" => T::Aggregator(AggregateOp::LimitRatio),
        b"offset" => T::Offset,
        b"smoothed" => T::Smoothed,
        b"anchored" => T::Anchored,
        b"by" => T::By,
        b"without" => T::Without,
        b"on" => T::On,
        b"ignoring" => T::Ignoring,
        b"group_left" => T::GroupLeft,
        b"group_right" => T::GroupRight,
        b"fill" => T::Fill,
        b"fill_left" => T::FillLeft,
        b"fill_right" => T::FillRight,
        b"bool" => T::Bool,
        b"start" => T::Start,
        b"end" => T::End,
        b"inf" | b"nan" => T::Number,
        other => return duration_keyword(other),
    })
}

/// The keyword of duration expressions that `lower` (in lower case) is.
pub fn duration_keyword(lower: &[u8]) -> Option<TokenKind> {
    match lower {
        b"step" => Some(TokenKind::Step),
        b"range" => Some(TokenKind::Range),
        b"max_of" => Some(TokenKind::MaxOf),
        b"min_of" => Some(TokenKind::MinOf),
        _ => None,
    }
}

impl TokenKind {
    /// Whether a metric may be called so without quotes.
    pub fn is_metric_name(self) -> bool {
        use TokenKind as T;
        match self {
            T::Identifier | T::MetricIdentifier | T::Aggregator(_) => true,
            T::Operator(op) => op.is_set(),
            T::Offset | T::Smoothed | T::Anchored | T::By | T::Without => true,
            T::Fill | T::FillLeft | T::FillRight => true,
            other => other.is_callable_keyword(),
        }
    }

    /// Whether a label in a grouping may be called so without quotes.
    pub fn is_label_name(self) -> bool {
        use TokenKind as T;
        match self {
            T::Operator(BinaryOp::Atan2) | T::Bool | T::On | T::Ignoring | T::GroupLeft | T::GroupRight => {
                true
            }
            T::Without => false,
            other => other.is_metric_name(),
        }
    }

    /// Whether this keyword is also the name of a function.
    pub fn is_callable_keyword(self) -> bool {
        use TokenKind as T;
        matches!(self, T::Start | T::End | T::Step | T::Range | T::MaxOf | T::MinOf)
    }

    /// Whether an expression may begin with it.
    pub fn begins_expression(self) -> bool {
        use TokenKind as T;
        match self {
            T::Number | T::Duration | T::String | T::LeftParen | T::LeftBrace => true,
            T::Operator(op) => matches!(op, BinaryOp::Add | BinaryOp::Sub) || op.is_set(),
            other => other.is_metric_name(),
        }
    }

    /// What error texts call a token of this kind, when the text alone does not say.
    fn category(self) -> Option<&'static str> {
        match self {
            TokenKind::Identifier => Some("identifier"),
            TokenKind::MetricIdentifier => Some("metric identifier"),
            TokenKind::String => Some("string"),
            TokenKind::Number => Some("number"),
            TokenKind::Duration => Some("duration"),
            _ => None,
        }
    }
}

/// A token as error texts name it: `identifier "foo"`, `<op:+>`, `")"`, `end of input`.
pub fn describe(kind: TokenKind, text: &str) -> String {
    use TokenKind as T;
    let shown: Cow<'static, str> = match kind {
        T::Eof => return "end of input".to_owned(),
        T::Identifier | T::MetricIdentifier => quoted(text).into(),
        T::Operator(_) | T::EqualRegex | T::NotEqualRegex | T::At => format!("<op:{text}>").into(),
        T::Aggregator(_) => format!("<aggr:{text}>").into(),
        T::Offset | T::Smoothed | T::Anchored | T::By | T::Without | T::On | T::Ignoring | T::Bool => {
            format!("<{text}>").into()
        }
        T::GroupLeft | T::GroupRight | T::Fill | T::FillLeft | T::FillRight => format!("<{text}>").into(),
        _ => match text.char_indices().nth(MAX_SHOWN_CHARS) {
            // Prometheus decides by bytes and cuts by characters.
            Some((cut, _)) => format!("{}...", quoted(&text[..cut])).into(),
            None if text.len() > MAX_SHOWN_CHARS => format!("{}...", quoted(text)).into(),
            None => quoted(text).into(),
        },
    };
    match kind.category() {
        Some(category) => format!("{category} {shown}"),
        None => shown.into_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keywords_are_found_whatever_their_case() {
        assert_eq!(keyword("SUM"), Some(TokenKind::Aggregator(AggregateOp::Sum)));
        assert_eq!(keyword("Count_Values"), Some(TokenKind::Aggregator(AggregateOp::CountValues)));
        assert_eq!(keyword("min_OF"), Some(TokenKind::MinOf));
        assert_eq!(keyword("NaN"), Some(TokenKind::Number));
        for word in ["summ", "", "count_values_", "ſum"] {
            assert_eq!(keyword(word), None, "{word}");
        }
        for op in AggregateOp::ALL {
            assert_eq!(keyword(op.as_str()), Some(TokenKind::Aggregator(op)));
        }
    }

    #[test]
    fn tokens_are_named_as_prometheus_names_them() {
        assert_eq!(describe(TokenKind::Eof, ""), "end of input");
        assert_eq!(describe(TokenKind::Identifier, "a_long_identifier"), "identifier \"a_long_identifier\"");
        assert_eq!(describe(TokenKind::Operator(BinaryOp::Mul), "*"), "<op:*>");
        assert_eq!(describe(TokenKind::Aggregator(AggregateOp::Sum), "SUM"), "<aggr:SUM>");
        assert_eq!(describe(TokenKind::By, "by"), "<by>");
        assert_eq!(describe(TokenKind::RightParen, ")"), "\")\"");
        assert_eq!(describe(TokenKind::String, "\"0123456789\""), "string \"\\\"012345678\"...");
        assert_eq!(describe(TokenKind::Start, "start"), "\"start\"");
    }
}
