//! Cuts the text of an expression into tokens.
//!
//! The language is not regular: what a character means depends on the brackets around it. [`Lexer`] keeps that
//! state ([`Mode`] and the open brackets) and gives one token a call; a token is a kind and a byte range, nothing
//! is copied. Each byte is looked at a bounded number of times, so lexing is linear.
//!
//! Invariant: a token's range lies on character boundaries; after an error no token follows.
//! Source: the lexer of Prometheus 3.14, whose error texts are kept to the letter.

use super::ast::{BinaryOp, Span};
use super::token::{Token, TokenKind, duration_keyword, keyword};
use cairn_model::labels::quoted;

/// What is being read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Expressions.
    Expression,
    /// Within `{…}`: label matchers, no keywords.
    Braces,
    /// Right behind `[`: a duration, until its first literal.
    Duration,
}

/// A text that cannot be a token.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LexError {
    /// From the token's beginning to the end of the query.
    pub span: Span,
    /// What is wrong.
    pub message: String,
}

/// See the module.
#[derive(Debug)]
pub struct Lexer<'a> {
    text: &'a str,
    bytes: &'a [u8],
    position: usize,
    /// Where the token being read begins.
    start: usize,
    mode: Mode,
    open_parens: i64,
    in_bracket: bool,
    seen_colon: bool,
    seen_duration: bool,
}

impl<'a> Lexer<'a> {
    /// Starts at the beginning of `text`.
    pub fn new(text: &'a str) -> Self {
        Lexer {
            text,
            bytes: text.as_bytes(),
            position: 0,
            start: 0,
            mode: Mode::Expression,
            open_parens: 0,
            in_bracket: false,
            seen_colon: false,
            seen_duration: false,
        }
    }

    /// The next token; [`TokenKind::Eof`] at the end, again and again. Comments and spaces are skipped.
    ///
    /// # Errors
    /// [`LexError`] when no token can be read; the lexer must not be used after it.
    pub fn next_token(&mut self) -> Result<Token, LexError> {
        match self.mode {
            Mode::Expression => self.expression_token(),
            Mode::Braces => self.braces_token(),
            Mode::Duration => self.duration_token(),
        }
    }

    fn expression_token(&mut self) -> Result<Token, LexError> {
        self.skip_spaces_and_comments();
        let Some(c) = self.bump() else {
            return match () {
                () if self.open_parens != 0 => self.error("unclosed left parenthesis"),
                () if self.in_bracket => self.error("unclosed left bracket"),
                () => Ok(self.token(TokenKind::Eof)),
            };
        };
        let op = |op| TokenKind::Operator(op);
        let kind = match c {
            b',' => TokenKind::Comma,
            b'*' => op(BinaryOp::Mul),
            b'/' => op(BinaryOp::Div),
            b'%' => op(BinaryOp::Mod),
            b'+' => op(BinaryOp::Add),
            b'-' => op(BinaryOp::Sub),
            b'^' => op(BinaryOp::Pow),
            b'@' => TokenKind::At,
            b'=' => match self.peek() {
                Some(b'=') => self.with_next(op(BinaryOp::Eql)),
                Some(b'~') => return self.error("unexpected character after '=': '~'"),
                _ => TokenKind::Equal,
            },
            b'!' => match self.peek() {
                Some(b'=') => self.with_next(op(BinaryOp::Neq)),
                _ => return self.error(format!("unexpected character after '!': {}", self.peek_quoted())),
            },
            b'<' => match self.peek() {
                Some(b'=') => self.with_next(op(BinaryOp::Lte)),
                Some(b'/') => self.with_next(op(BinaryOp::TrimUpper)),
                _ => op(BinaryOp::Lss),
            },
            b'>' => match self.peek() {
                Some(b'=') => self.with_next(op(BinaryOp::Gte)),
                Some(b'/') => self.with_next(op(BinaryOp::TrimLower)),
                _ => op(BinaryOp::Gtr),
            },
            b'0'..=b'9' => return self.number_or_duration(),
            b'.' if self.peek().is_some_and(|b| b.is_ascii_digit()) => return self.number_or_duration(),
            b'"' | b'\'' => return self.string(c),
            b'`' => return self.raw_string(),
            b'(' | b')' => return self.paren(c),
            b':' | b'_' | b'a'..=b'z' | b'A'..=b'Z' if self.in_bracket => {
                return self.word_in_bracket(c);
            }
            b':' | b'_' | b'a'..=b'z' | b'A'..=b'Z' => return Ok(self.keyword_or_identifier()),
            b'{' => {
                self.mode = Mode::Braces;
                TokenKind::LeftBrace
            }
            b'[' if self.in_bracket => return self.error("unexpected left bracket '['"),
            b'[' => {
                self.seen_colon = false;
                self.in_bracket = true;
                self.mode = Mode::Duration;
                TokenKind::LeftBracket
            }
            b']' if !self.in_bracket => return self.error("unexpected right bracket ']'"),
            b']' => {
                self.in_bracket = false;
                TokenKind::RightBracket
            }
            _ => return self.unexpected_character("unexpected character"),
        };
        Ok(self.token(kind))
    }

    /// Within brackets a letter can only begin `step`, `range`, `max_of` or `min_of`.
    fn word_in_bracket(&mut self, first: u8) -> Result<Token, LexError> {
        if first == b':' {
            if self.seen_colon {
                return self.error("unexpected colon ':'");
            }
            self.seen_colon = true;
            return Ok(self.token(TokenKind::Colon));
        }
        if let Some(kind) = self.duration_word(first) {
            return Ok(self.token(kind));
        }
        self.error(format!("unexpected character: '{}', expected ':'", first as char))
    }

    fn duration_token(&mut self) -> Result<Token, LexError> {
        self.skip_spaces();
        let Some(c) = self.bump() else {
            return self.error("unexpected end of input in duration expression");
        };
        let op = |op| TokenKind::Operator(op);
        let kind = match c {
            b']' => {
                self.in_bracket = false;
                self.seen_colon = false;
                self.mode = Mode::Expression;
                TokenKind::RightBracket
            }
            b':' => {
                self.start = self.position;
                if !self.seen_duration {
                    return self.error("unexpected colon before duration in duration expression");
                }
                if self.seen_colon {
                    return self.error("unexpected repeated colon in duration expression");
                }
                self.start = self.position - 1;
                self.seen_colon = true;
                TokenKind::Colon
            }
            b'(' | b')' => return self.paren(c),
            b'+' => op(BinaryOp::Add),
            b'-' => op(BinaryOp::Sub),
            b'*' => op(BinaryOp::Mul),
            b'/' => op(BinaryOp::Div),
            b'%' => op(BinaryOp::Mod),
            b'^' => op(BinaryOp::Pow),
            b',' => TokenKind::Comma,
            b'0'..=b'9' => return self.number_or_duration(),
            b'.' if self.peek().is_some_and(|b| b.is_ascii_digit()) => return self.number_or_duration(),
            _ => match self.duration_word(c) {
                Some(kind) => kind,
                None => return self.unexpected_character("unexpected character in duration expression"),
            },
        };
        Ok(self.token(kind))
    }

    /// Reads a word of letters and underscores; `first` is read already.
    fn duration_word(&mut self, first: u8) -> Option<TokenKind> {
        if !matches!(first.to_ascii_lowercase(), b's' | b'r' | b'm') {
            return None;
        }
        let len = self.bytes[self.start..].iter().take_while(|b| is_alpha(**b)).count();
        let kind = duration_keyword(&self.bytes[self.start..self.start + len].to_ascii_lowercase())?;
        self.position = self.start + len;
        Some(kind)
    }

    fn braces_token(&mut self) -> Result<Token, LexError> {
        self.skip_spaces_and_comments();
        let Some(c) = self.bump() else {
            return self.error("unexpected end of input inside braces");
        };
        let kind = match c {
            _ if is_alpha(c) => {
                self.skip_while(is_alphanumeric);
                TokenKind::Identifier
            }
            b',' => TokenKind::Comma,
            b'"' | b'\'' => return self.string(c),
            b'`' => return self.raw_string(),
            b'=' => match self.peek() {
                Some(b'~') => self.with_next(TokenKind::EqualRegex),
                _ => TokenKind::Equal,
            },
            b'!' => match self.peek() {
                Some(b'~') => self.with_next(TokenKind::NotEqualRegex),
                Some(b'=') => self.with_next(TokenKind::Operator(BinaryOp::Neq)),
                _ => {
                    let text =
                        format!("unexpected character after '!' inside braces: {}", self.peek_quoted());
                    return self.error(text);
                }
            },
            b'{' => return self.error("unexpected left brace '{'"),
            b'}' => {
                self.mode = Mode::Expression;
                TokenKind::RightBrace
            }
            _ => return self.unexpected_character("unexpected character inside braces"),
        };
        Ok(self.token(kind))
    }

    fn paren(&mut self, c: u8) -> Result<Token, LexError> {
        if c == b'(' {
            self.open_parens += 1;
            return Ok(self.token(TokenKind::LeftParen));
        }
        self.open_parens -= 1;
        if self.open_parens < 0 {
            self.start = self.position;
            return self.error("unexpected right parenthesis ')'");
        }
        Ok(self.token(TokenKind::RightParen))
    }

    fn keyword_or_identifier(&mut self) -> Token {
        self.skip_while(|b| is_alphanumeric(b) || b == b':');
        let word = &self.text[self.start..self.position];
        let kind = match keyword(word) {
            // These became keywords late: metrics may be called so, as long as no parenthesis follows.
            Some(TokenKind::Fill | TokenKind::FillLeft | TokenKind::FillRight) if !self.paren_follows() => {
                TokenKind::Identifier
            }
            Some(kind) => kind,
            None if word.contains(':') => TokenKind::MetricIdentifier,
            None => TokenKind::Identifier,
        };
        self.token(kind)
    }

    fn paren_follows(&self) -> bool {
        self.bytes[self.position..].iter().find(|b| !is_space(**b)) == Some(&b'(')
    }

    /// Reads a number or a duration literal, whose first character is read already. Whether it is a valid one
    /// is the parser's question.
    fn number_or_duration(&mut self) -> Result<Token, LexError> {
        self.position = self.start;
        if self.mode == Mode::Duration {
            self.seen_duration = true;
            self.mode = Mode::Expression;
        }
        if self.scan_number() {
            return Ok(self.token(TokenKind::Number));
        }
        if self.scan_rest_of_duration() {
            return Ok(self.token(TokenKind::Duration));
        }
        self.error(format!(
            "bad number or duration syntax: {}",
            quoted(&self.text[self.start..self.position])
        ))
    }

    /// `[.][d][d._eE]*`, with digits of the base; false when what follows cannot be a number.
    fn scan_number(&mut self) -> bool {
        let mut hex = false;
        if self.accept(|b| b == b'0') && self.accept(|b| matches!(b, b'x' | b'X')) {
            self.accept(|b| b == b'_');
            hex = true;
        }
        let digit = |b: u8| b.is_ascii_digit() || (hex && b.is_ascii_hexdigit());
        let (mut dot, mut exponent) = (false, false);
        self.accept(|b| b == b'.');
        self.accept(digit);
        while let Some(c) = self.peek() {
            if c == b'.' {
                self.position += 1;
                if dot {
                    return false;
                }
                dot = true;
                if self.accept(|b| matches!(b, b'_' | b'.')) || hex {
                    return false;
                }
            } else if matches!(c, b'e' | b'E') {
                // In a hexadecimal number this is a digit, but it still may not occur twice.
                self.position += 1;
                if exponent {
                    return false;
                }
                exponent = true;
                self.accept(|b| matches!(b, b'+' | b'-'));
                if self.accept(|b| matches!(b, b'.' | b'_' | b'e' | b'E')) || self.peek().is_none() {
                    return false;
                }
            } else if c == b'_' {
                self.position += 1;
                if self.accept(|b| matches!(b, b'.' | b'_' | b'e' | b'E')) || self.peek().is_none() {
                    return false;
                }
            } else if digit(c) {
                while self.accept(digit) {}
            } else {
                break;
            }
        }
        self.position > self.start && !self.peek().is_some_and(is_alphanumeric)
    }

    /// The unit behind what [`Self::scan_number`] read, and further numbers with units.
    fn scan_rest_of_duration(&mut self) -> bool {
        if !self.accept(|b| b"smhdwy".contains(&b)) {
            return false;
        }
        self.accept(|b| b == b's');
        while self.accept(|b| b.is_ascii_digit()) {
            while self.accept(|b| b.is_ascii_digit()) {}
            if !self.accept(|b| b"smhdw".contains(&b)) {
                return false;
            }
            self.accept(|b| b == b's');
        }
        !self.accept(is_alphanumeric)
    }

    fn string(&mut self, quote: u8) -> Result<Token, LexError> {
        loop {
            match self.bump() {
                None | Some(b'\n') => return self.error("unterminated quoted string"),
                Some(b'\\') => self.escape(quote)?,
                Some(c) if c == quote => return Ok(self.token(TokenKind::String)),
                Some(c) => self.check_replacement_character(c)?,
            }
        }
    }

    fn raw_string(&mut self) -> Result<Token, LexError> {
        loop {
            match self.bump() {
                None => return self.error("unterminated raw string"),
                Some(b'`') => return Ok(self.token(TokenKind::String)),
                Some(c) => self.check_replacement_character(c)?,
            }
        }
    }

    /// U+FFFD is what became of bytes that were no UTF-8.
    fn check_replacement_character(&mut self, first: u8) -> Result<(), LexError> {
        let bytes = &self.bytes[self.position - 1..];
        if first == 0xEF && bytes.starts_with("\u{FFFD}".as_bytes()) {
            return self.error("invalid UTF-8 rune");
        }
        Ok(())
    }

    fn escape(&mut self, quote: u8) -> Result<(), LexError> {
        let (digits, base, max) = match self.bump() {
            Some(b'a' | b'b' | b'f' | b'n' | b'r' | b't' | b'v' | b'\\') => return Ok(()),
            Some(c) if c == quote => return Ok(()),
            Some(b'0'..=b'7') => {
                self.position -= 1;
                (3, 8, 255)
            }
            Some(b'x') => (2, 16, 255),
            Some(b'u') => (4, 16, char::MAX as u32),
            Some(b'U') => (8, 16, char::MAX as u32),
            None => return self.error("escape sequence not terminated"),
            Some(_) => {
                self.position -= 1;
                return self.error(format!("unknown escape sequence {}", self.peek_unicode()));
            }
        };
        let mut value = 0u32;
        for _ in 0..digits {
            let Some(c) = self.peek() else {
                return self.error("escape sequence not terminated");
            };
            let Some(digit) = (c as char).to_digit(base) else {
                return self.error(format!("illegal character {} in escape sequence", self.peek_unicode()));
            };
            value = value.wrapping_mul(base).wrapping_add(digit);
            self.position += 1;
        }
        if value > max || (0xD800..0xE000).contains(&value) {
            return self.error("escape sequence is an invalid Unicode code point");
        }
        Ok(())
    }

    // -- the scanner's hands

    fn bump(&mut self) -> Option<u8> {
        let c = self.peek()?;
        self.position += 1;
        Some(c)
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.position).copied()
    }

    fn peek_char(&self) -> Option<char> {
        self.text.get(self.position..).and_then(|rest| rest.chars().next())
    }

    fn peek_quoted(&self) -> String {
        // Prometheus shows the end of input as the replacement character.
        quoted_char(self.peek_char().unwrap_or(char::REPLACEMENT_CHARACTER))
    }

    /// The next character as `U+0063 'c'`.
    fn peek_unicode(&self) -> String {
        match self.peek_char() {
            Some(c) if c.is_control() => format!("U+{:04X}", c as u32),
            Some(c) => format!("U+{:04X} '{c}'", c as u32),
            None => "U+FFFD".to_owned(),
        }
    }

    fn accept(&mut self, wanted: impl Fn(u8) -> bool) -> bool {
        let found = self.peek().is_some_and(wanted);
        self.position += usize::from(found);
        found
    }

    fn with_next(&mut self, kind: TokenKind) -> TokenKind {
        self.position += 1;
        kind
    }

    fn skip_while(&mut self, wanted: impl Fn(u8) -> bool) {
        self.position += self.bytes[self.position..].iter().take_while(|b| wanted(**b)).count();
    }

    fn skip_spaces(&mut self) {
        self.skip_while(is_space);
        self.start = self.position;
    }

    fn skip_spaces_and_comments(&mut self) {
        self.skip_spaces();
        while self.peek() == Some(b'#') {
            self.skip_while(|b| b != b'\n' && b != b'\r');
            self.skip_spaces();
        }
    }

    fn token(&self, kind: TokenKind) -> Token {
        Token { kind, start: self.start, end: self.position }
    }

    fn error<T>(&self, message: impl Into<String>) -> Result<T, LexError> {
        Err(LexError { span: Span::new(self.start, self.text.len()), message: message.into() })
    }

    /// Names the character at the token's beginning.
    fn unexpected_character<T>(&self, what: &str) -> Result<T, LexError> {
        let c = self.text[self.start..].chars().next().unwrap_or(char::REPLACEMENT_CHARACTER);
        self.error(format!("{what}: {}", quoted_char(c)))
    }
}

/// `'c'` with Go's escapes.
fn quoted_char(c: char) -> String {
    match c {
        '\'' => "'\\''".to_owned(),
        '"' => "'\"'".to_owned(),
        other => {
            let text = quoted(other.encode_utf8(&mut [0; 4]));
            format!("'{}'", &text[1..text.len() - 1])
        }
    }
}

fn is_space(b: u8) -> bool {
    matches!(b, b' ' | b'\t' | b'\n' | b'\r')
}

fn is_alpha(b: u8) -> bool {
    b == b'_' || b.is_ascii_alphabetic()
}

fn is_alphanumeric(b: u8) -> bool {
    is_alpha(b) || b.is_ascii_digit()
}
