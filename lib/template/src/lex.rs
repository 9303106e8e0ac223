//! Text to tokens. Outside `{{ }}` everything is one text token; inside, words, numbers, strings and single characters.
//!
//! Spaces inside actions are tokens (they separate arguments); comments vanish; trim markers (`{{- `, ` -}}`) are
//! resolved here, so the parser never sees them. An error is the last token: the parser reports it when it gets there.
//!
//! Source: the lexical part of <https://pkg.go.dev/text/template>.

/// The kind of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    Error,
    Eof,
    Text,
    Open,
    Close,
    Space,
    Ident,
    Keyword(Keyword),
    Field,
    Variable,
    Dot,
    Bool,
    Number,
    Char,
    Quoted,
    Raw,
    Assign,
    Declare,
    Pipe,
    LeftParen,
    RightParen,
    Other,
}

/// The words with a meaning of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Keyword {
    Block,
    Break,
    Continue,
    Define,
    Else,
    End,
    If,
    Nil,
    Range,
    Template,
    With,
}

impl Keyword {
    fn of(word: &str) -> Option<Keyword> {
        Some(match word {
            "block" => Keyword::Block,
            "break" => Keyword::Break,
            "continue" => Keyword::Continue,
            "define" => Keyword::Define,
            "else" => Keyword::Else,
            "end" => Keyword::End,
            "if" => Keyword::If,
            "nil" => Keyword::Nil,
            "range" => Keyword::Range,
            "template" => Keyword::Template,
            "with" => Keyword::With,
            _ => return None,
        })
    }
}

/// One token: its text, where it starts (byte) and on which line (from 1).
#[derive(Clone, Debug)]
pub(crate) struct Token {
    pub kind: Kind,
    pub pos: usize,
    pub line: usize,
    pub text: String,
}

/// Splits a whole template. The last token is `Eof` or `Error`.
pub(crate) fn tokens(input: &str) -> Vec<Token> {
    let mut lexer = Lexer { input, pos: 0, line: 1, out: Vec::new() };
    if let Err((pos, line, message)) = lexer.text() {
        lexer.out.push(Token { kind: Kind::Error, pos, line, text: message });
    }
    lexer.out
}

const OPEN: &str = "{{";
const CLOSE: &str = "}}";
const TRIM_MARKER_BYTES: usize = 2; // the minus and the space beside it
const SPACES: [char; 4] = [' ', '\t', '\r', '\n'];

type Failure = (usize, usize, String);

struct Lexer<'a> {
    input: &'a str,
    pos: usize,
    line: usize,
    out: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        &self.input[self.pos..]
    }

    fn peek(&self) -> Option<char> {
        self.rest().chars().next()
    }

    /// Moves on by bytes, counting lines.
    fn skip(&mut self, bytes: usize) {
        let passed = &self.rest()[..bytes];
        self.line += passed.matches('\n').count();
        self.pos += bytes;
    }

    /// Adds a token of the next `bytes` and moves past it. Its line is where it begins.
    fn push(&mut self, kind: Kind, bytes: usize) {
        let text = self.rest()[..bytes].to_owned();
        self.out.push(Token { kind, pos: self.pos, line: self.line, text });
        self.skip(bytes);
    }

    fn fail<T>(&self, start: usize, line: usize, message: impl Into<String>) -> Result<T, Failure> {
        Err((start, line, message.into()))
    }

    /// Plain text and actions in turn, to the end.
    fn text(&mut self) -> Result<(), Failure> {
        while let Some(found) = self.rest().find(OPEN) {
            let text = &self.rest()[..found];
            let kept = match opens_with_trim(&self.rest()[found + OPEN.len()..]) {
                true => text.trim_end_matches(SPACES).len(),
                false => found,
            };
            if kept > 0 {
                self.push(Kind::Text, kept);
            }
            self.skip(found - kept);
            let trim = opens_with_trim(&self.rest()[OPEN.len()..]);
            let marker = if trim { TRIM_MARKER_BYTES } else { 0 };
            if self.rest()[OPEN.len() + marker..].starts_with("/*") {
                self.skip(OPEN.len() + marker);
                self.comment()?;
            } else {
                self.push(Kind::Open, OPEN.len());
                self.skip(marker);
                self.action()?;
            }
        }
        if !self.rest().is_empty() {
            self.push(Kind::Text, self.rest().len());
        }
        self.out.push(Token { kind: Kind::Eof, pos: self.pos, line: self.line, text: String::new() });
        Ok(())
    }

    fn comment(&mut self) -> Result<(), Failure> {
        let (start, line) = (self.pos, self.line);
        let Some(end) = self.rest()[2..].find("*/") else {
            return self.fail(start, line, "unclosed comment");
        };
        self.skip(2 + end + 2);
        match self.closes() {
            None => self.fail(start, line, "comment ends before closing delimiter"),
            Some(trim) => {
                self.close_without_token(trim);
                Ok(())
            }
        }
    }

    /// Whether a closing delimiter comes next; `Some(true)` with a trim marker.
    fn closes(&self) -> Option<bool> {
        let rest = self.rest();
        let mut chars = rest.chars();
        if chars.next().is_some_and(|c| SPACES.contains(&c))
            && chars.next() == Some('-')
            && rest[TRIM_MARKER_BYTES..].starts_with(CLOSE)
        {
            return Some(true);
        }
        rest.starts_with(CLOSE).then_some(false)
    }

    fn close_without_token(&mut self, trim: bool) {
        self.skip(CLOSE.len() + if trim { TRIM_MARKER_BYTES } else { 0 });
        if trim {
            let rest = self.rest();
            self.skip(rest.len() - rest.trim_start_matches(SPACES).len());
        }
    }

    /// The inside of one action, through its closing delimiter.
    fn action(&mut self) -> Result<(), Failure> {
        let mut parens = 0usize;
        loop {
            let (start, line) = (self.pos, self.line);
            if let Some(trim) = self.closes() {
                if parens > 0 {
                    return self.fail(start, line, "unclosed left paren");
                }
                if trim {
                    self.skip(TRIM_MARKER_BYTES);
                }
                self.push(Kind::Close, CLOSE.len());
                if trim {
                    let rest = self.rest();
                    self.skip(rest.len() - rest.trim_start_matches(SPACES).len());
                }
                return Ok(());
            }
            let Some(c) = self.peek() else { return self.fail(start, line, "unclosed action") };
            match c {
                c if SPACES.contains(&c) => self.spaces(),
                '=' => self.push(Kind::Assign, 1),
                ':' if self.rest().starts_with(":=") => self.push(Kind::Declare, 2),
                ':' => return self.fail(start, line, "expected :="),
                '|' => self.push(Kind::Pipe, 1),
                '"' => self.quoted('"', Kind::Quoted, "unterminated quoted string")?,
                '\'' => self.quoted('\'', Kind::Char, "unterminated character constant")?,
                '`' => match self.rest()[1..].find('`') {
                    Some(end) => self.push(Kind::Raw, end + 2),
                    None => return self.fail(start, line, "unterminated raw quoted string"),
                },
                '$' => self.word_after_sign(Kind::Variable)?,
                '.' if !self.rest()[1..].starts_with(|c: char| c.is_ascii_digit())
                    && self.rest().len() > 1 =>
                {
                    self.word_after_sign(Kind::Field)?;
                }
                '.' | '+' | '-' | '0'..='9' => self.number()?,
                '(' => {
                    parens += 1;
                    self.push(Kind::LeftParen, 1);
                }
                ')' if parens == 0 => return self.fail(start, line, "unexpected right paren"),
                ')' => {
                    parens -= 1;
                    self.push(Kind::RightParen, 1);
                }
                c if is_word(c) => self.word()?,
                ' '..='~' => self.push(Kind::Other, 1),
                c => {
                    return self.fail(
                        start,
                        line,
                        format!("unrecognized character in action: {}", name_char(c)),
                    );
                }
            }
        }
    }

    /// A run of spaces; the one that belongs to a closing trim marker stays.
    fn spaces(&mut self) {
        let rest = self.rest();
        let mut bytes = rest.len() - rest.trim_start_matches(SPACES).len();
        let last = &rest[bytes - 1..];
        if last[1..].starts_with('-') && last[TRIM_MARKER_BYTES..].starts_with(CLOSE) {
            bytes -= 1;
        }
        if bytes > 0 {
            self.push(Kind::Space, bytes);
        }
    }

    fn quoted(&mut self, quote: char, kind: Kind, unterminated: &str) -> Result<(), Failure> {
        let (start, line) = (self.pos, self.line);
        let mut chars = self.rest().char_indices().skip(1);
        while let Some((at, c)) = chars.next() {
            match c {
                '\\' if chars.next().is_some_and(|(_, c)| c != '\n') => {}
                '\\' | '\n' => break,
                c if c == quote => {
                    self.push(kind, at + 1);
                    return Ok(());
                }
                _ => {}
            }
        }
        self.fail(start, line, unterminated)
    }

    /// `.name`, `$name`, or the sign alone.
    fn word_after_sign(&mut self, kind: Kind) -> Result<(), Failure> {
        let (start, line) = (self.pos, self.line);
        let word = self.rest()[1..].chars().take_while(|c| is_word(*c)).map(char::len_utf8).sum::<usize>();
        let after = &self.rest()[1 + word..];
        if !ends_word(after) {
            return self.fail(start, line, bad_character(after));
        }
        let kind = if word == 0 && kind == Kind::Field { Kind::Dot } else { kind };
        self.push(kind, 1 + word);
        Ok(())
    }

    fn word(&mut self) -> Result<(), Failure> {
        let (start, line) = (self.pos, self.line);
        let bytes = self.rest().chars().take_while(|c| is_word(*c)).map(char::len_utf8).sum::<usize>();
        let (word, after) = self.rest().split_at(bytes);
        if !ends_word(after) {
            return self.fail(start, line, bad_character(after));
        }
        let kind = match word {
            "true" | "false" => Kind::Bool,
            word => Keyword::of(word).map_or(Kind::Ident, Kind::Keyword),
        };
        self.push(kind, bytes);
        Ok(())
    }

    /// Anything that may be a number; whether it is one, the parser finds out.
    fn number(&mut self) -> Result<(), Failure> {
        let (start, line) = (self.pos, self.line);
        let mut scan = NumberScan { rest: self.rest().as_bytes(), at: 0 };
        scan.number();
        let next = self.rest()[scan.at..].chars().next();
        if let Some(c) = next.filter(|c| is_word(*c)) {
            let text = &self.rest()[..scan.at + c.len_utf8()];
            let message = format!("bad number syntax: {}", crate::gofmt::quote(text));
            return self.fail(start, line, message);
        }
        if matches!(next, Some('+' | '-')) {
            let first = scan.at;
            scan.number();
            let text = &self.rest()[..scan.at];
            let message = match scan.at > first && text.ends_with('i') {
                true => "complex numbers are not supported".to_owned(),
                false => format!("bad number syntax: {}", crate::gofmt::quote(text)),
            };
            return self.fail(start, line, message);
        }
        self.push(Kind::Number, scan.at);
        Ok(())
    }
}

struct NumberScan<'a> {
    rest: &'a [u8],
    at: usize,
}

impl NumberScan<'_> {
    fn accept(&mut self, set: &[u8]) -> bool {
        let found = self.rest.get(self.at).is_some_and(|b| set.contains(b));
        self.at += usize::from(found);
        found
    }

    fn accept_all(&mut self, set: &[u8]) {
        while self.accept(set) {}
    }

    fn number(&mut self) {
        self.accept(b"+-");
        let mut digits: &[u8] = b"0123456789_";
        let mut exponent: &[u8] = b"eE";
        if self.accept(b"0") {
            if self.accept(b"xX") {
                (digits, exponent) = (b"0123456789abcdefABCDEF_", b"pP");
            } else if self.accept(b"oO") {
                (digits, exponent) = (b"01234567_", b"");
            } else if self.accept(b"bB") {
                (digits, exponent) = (b"01_", b"");
            }
        }
        self.accept_all(digits);
        if self.accept(b".") {
            self.accept_all(digits);
        }
        if self.accept(exponent) {
            self.accept(b"+-");
            self.accept_all(b"0123456789_");
        }
        self.accept(b"i");
    }
}

fn opens_with_trim(after_open: &str) -> bool {
    after_open.strip_prefix('-').is_some_and(|rest| rest.starts_with(SPACES))
}

fn is_word(c: char) -> bool {
    c == '_' || c.is_alphanumeric()
}

/// Whether a word may end before `after`: catches things like `$x+2`, which would look like arithmetic.
fn ends_word(after: &str) -> bool {
    match after.chars().next() {
        None => true,
        Some(c) if SPACES.contains(&c) => true,
        Some('.' | ',' | '|' | ':' | ')' | '(') => true,
        Some(_) => after.starts_with(CLOSE),
    }
}

fn bad_character(after: &str) -> String {
    match after.chars().next() {
        Some(c) => format!("bad character {}", name_char(c)),
        None => "bad character at the end".to_owned(),
    }
}

fn name_char(c: char) -> String {
    match c.is_control() {
        true => format!("U+{:04X}", c as u32),
        false => format!("U+{:04X} '{c}'", c as u32),
    }
}
