//! `printf`: verbs, flags, widths, precisions and argument numbers.
//!
//! Nothing here fails: a wrong verb or a missing argument becomes a word like `%!d(string=hi)` in the text, as in Go.

use super::number::integer;
use super::quote::{fits_back_quotes, quote_char, quote_with};
use super::{Style, float, plain};
use crate::limits::{MAX_FORMAT_NUMBER, MAX_OUTPUT_BYTES};
use crate::value::{Indirection, Value};

/// What stands between `%` and the verb.
#[derive(Clone, Copy, Default)]
pub(crate) struct Spec {
    pub plus: bool,
    pub minus: bool,
    pub sharp: bool,
    pub space: bool,
    pub zero: bool,
    pub width: Option<usize>,
    pub precision: Option<usize>,
}

/// Formats as Go's `Sprintf`; `None` when the text grows over [`MAX_OUTPUT_BYTES`].
pub(crate) fn sprintf(format: &str, args: &[Value]) -> Option<String> {
    let mut printer =
        Printer { rest: format, args, next: 0, reordered: false, too_long: false, out: String::new() };
    while let Some(at) = printer.rest.find('%') {
        printer.out.push_str(&printer.rest[..at]);
        printer.rest = &printer.rest[at + 1..];
        printer.directive();
        if printer.too_long || printer.out.len() > MAX_OUTPUT_BYTES {
            return None;
        }
    }
    printer.out.push_str(printer.rest);
    printer.extra();
    (printer.out.len() <= MAX_OUTPUT_BYTES).then_some(printer.out)
}

struct Printer<'a> {
    rest: &'a str,
    args: &'a [Value],
    next: usize,
    /// An argument number was used anywhere: then left-over arguments are no mistake.
    reordered: bool,
    /// A width or precision beyond any result.
    too_long: bool,
    out: String,
}

/// An argument number in brackets.
enum Index {
    None,
    Good,
    Bad,
}

impl Printer<'_> {
    fn directive(&mut self) {
        let mut spec = Spec::default();
        self.flags(&mut spec);
        let mut index = self.index();
        if self.eat('*') {
            match self.star() {
                Some(width) => {
                    spec.minus |= width < 0;
                    spec.width = Some(width.unsigned_abs() as usize);
                }
                None => self.out.push_str("%!(BADWIDTH)"),
            }
            index = Index::None;
        } else {
            if let Some(width) = self.digits() {
                spec.width = Some(width);
                if matches!(index, Index::Good) {
                    index = Index::Bad; // "%[3]2d"
                }
            }
        }
        if self.eat('.') {
            let had_index = matches!(index, Index::Good);
            let inner = self.index();
            if had_index || matches!(inner, Index::Bad) {
                index = Index::Bad; // "%[3].2d"
            }
            if self.eat('*') {
                match self.star() {
                    Some(precision) if precision >= 0 => spec.precision = Some(precision as usize),
                    _ => self.out.push_str("%!(BADPREC)"),
                }
            } else {
                spec.precision = Some(self.digits().unwrap_or(0));
            }
        }
        if !matches!(index, Index::Bad) {
            index = match self.index() {
                Index::None => index,
                found => found,
            };
        }
        self.verb(spec, index);
    }

    fn flags(&mut self, spec: &mut Spec) {
        while let Some(c) = self.rest.chars().next() {
            match c {
                '#' => spec.sharp = true,
                '0' => spec.zero = true,
                '+' => spec.plus = true,
                '-' => spec.minus = true,
                ' ' => spec.space = true,
                _ => return,
            }
            self.rest = &self.rest[1..];
        }
    }

    fn verb(&mut self, spec: Spec, index: Index) {
        let Some(verb) = self.rest.chars().next() else {
            self.out.push_str("%!(NOVERB)");
            return;
        };
        self.rest = &self.rest[verb.len_utf8()..];
        if verb == '%' {
            self.out.push('%');
            return;
        }
        if matches!(index, Index::Bad) {
            self.out.push_str(&format!("%!{verb}(BADINDEX)"));
            return;
        }
        let Some(value) = self.args.get(self.next) else {
            self.out.push_str(&format!("%!{verb}(MISSING)"));
            return;
        };
        self.next += 1;
        if spec.width.max(spec.precision).is_some_and(|n| n > MAX_OUTPUT_BYTES) {
            self.too_long = true;
            return;
        }
        let text = spec.format(value, verb);
        self.out.push_str(&text);
    }

    fn extra(&mut self) {
        if self.reordered || self.next >= self.args.len() {
            return;
        }
        let words: Vec<String> = self.args[self.next..]
            .iter()
            .map(|value| match value {
                Value::Nil => "<nil>".to_owned(),
                value => format!("{}={}", value.go_type(), plain(value, Style::default())),
            })
            .collect();
        self.out.push_str(&format!("%!(EXTRA {})", words.join(", ")));
    }

    fn eat(&mut self, c: char) -> bool {
        match self.rest.strip_prefix(c) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    /// A decimal number. One that gets too large takes the rest of the format with it, as in Go.
    fn digits(&mut self) -> Option<usize> {
        let count = self.rest.bytes().take_while(u8::is_ascii_digit).count();
        let (digits, rest) = self.rest.split_at(count);
        let mut n = None;
        for digit in digits.bytes() {
            if n.is_some_and(|n| n > MAX_FORMAT_NUMBER) {
                self.rest = "";
                return None;
            }
            n = Some(n.unwrap_or(0) * 10 + i64::from(digit - b'0'));
        }
        self.rest = rest;
        n.map(|n| n as usize)
    }

    /// `[n]`: the argument to use next, from 1.
    fn index(&mut self) -> Index {
        let Some(inner) = self.rest.strip_prefix('[') else { return Index::None };
        self.reordered = true;
        let Some((digits, rest)) = inner.split_once(']') else {
            self.rest = inner;
            return Index::Bad;
        };
        self.rest = rest;
        match digits.parse::<usize>() {
            Ok(n) if (1..=self.args.len()).contains(&n) && !digits.starts_with('+') => {
                self.next = n - 1;
                Index::Good
            }
            _ => Index::Bad,
        }
    }

    /// The integer argument that a `*` takes.
    fn star(&mut self) -> Option<i64> {
        let value = self.args.get(self.next)?;
        self.next += 1;
        match value {
            Value::Int(n) if n.saturating_abs() <= MAX_FORMAT_NUMBER => Some(*n),
            Value::Byte(n) => Some(i64::from(*n)),
            _ => None,
        }
    }
}

impl Spec {
    fn format(&self, value: &Value, verb: char) -> String {
        if let (Value::Bool(_), 'v' | 't') = (value, verb) {
            return Spec { sharp: false, plus: false, ..*self }.scalar(value, 't');
        }
        if verb == 'T' {
            return self.pad(value.go_type(), false);
        }
        if matches!(value, Value::Nil) {
            return match verb {
                'v' => self.pad("<nil>", false),
                verb => format!("%!{verb}(<nil>)"),
            };
        }
        if verb == 'p' {
            return self.bad(value, verb);
        }
        if verb == 'v' && (self.sharp || self.plus) {
            let style = Style { names: self.plus, source: self.sharp };
            return match value {
                Value::Int(_) | Value::Byte(_) | Value::Float(_) if !self.sharp => {
                    Spec { plus: false, ..*self }.scalar(value, verb)
                }
                _ => Spec { plus: false, ..*self }.pad(&plain(value, style), false),
            };
        }
        if let (Some(word), 'v' | 's' | 'x' | 'X' | 'q') = (value.stringer(), verb) {
            return self.text(&word, verb).unwrap_or_else(|| self.bad(value, verb));
        }
        self.scalar(value, verb)
    }

    fn scalar(&self, value: &Value, verb: char) -> String {
        let done = match value {
            Value::Bool(b) => matches!(verb, 't' | 'v').then(|| self.pad(&b.to_string(), false)),
            Value::Int(n) => self.integer(i128::from(*n), verb),
            Value::Byte(n) => self.integer(i128::from(*n), verb),
            Value::Duration(d, Indirection::Bare) => self.integer(i128::from(d.nanos()), verb),
            Value::Named { number, .. } => self.integer(i128::from(*number), verb),
            Value::Float(f) => self.float(*f, verb),
            Value::Str(text) | Value::Html(text) => self.text(text, verb),
            Value::Labels(labels) => {
                let entries = labels.iter().map(|(k, v)| (Value::from(k.as_str()), Value::from(v.as_str())));
                Some(self.map(entries, verb))
            }
            Value::Args(args) => {
                Some(self.map(args.entries.iter().map(|(k, v)| (Value::from(k.as_str()), v.clone())), verb))
            }
            Value::Vector(vector) => {
                let words: Vec<String> =
                    vector.iter().map(|s| self.format(&Value::Sample(s.clone()), verb)).collect();
                Some(format!("[{}]", words.join(" ")))
            }
            Value::Sample(sample) => {
                let labels = self.format(&Value::Labels(sample.labels.clone()), verb);
                Some(format!("&{{{labels} {}}}", self.format(&sample.value, verb)))
            }
            Value::Root(data) => {
                let fields = [
                    Value::Labels(data.labels.clone()),
                    Value::Labels(data.external_labels.clone()),
                    Value::Str(data.external_url.clone()),
                    data.value.clone(),
                ];
                let words: Vec<String> = fields.iter().map(|f| self.format(f, verb)).collect();
                Some(format!("{{{}}}", words.join(" ")))
            }
            Value::Time(..) | Value::Duration(..) | Value::Histogram(_) | Value::Nil => None,
        };
        done.unwrap_or_else(|| self.bad(value, verb))
    }

    fn map(&self, entries: impl Iterator<Item = (Value, Value)>, verb: char) -> String {
        let words: Vec<String> =
            entries.map(|(k, v)| format!("{}:{}", self.format(&k, verb), self.format(&v, verb))).collect();
        format!("map[{}]", words.join(" "))
    }

    /// A verb the type does not know. The value is shown with the flags and width of that verb.
    fn bad(&self, value: &Value, verb: char) -> String {
        let shown = match value {
            Value::Bool(_)
            | Value::Int(_)
            | Value::Byte(_)
            | Value::Float(_)
            | Value::Str(_)
            | Value::Html(_) => self.scalar(value, 'v'),
            Value::Labels(_) | Value::Args(_) => self.scalar(value, 'v'),
            _ => plain(value, Style::default()),
        };
        format!("%!{verb}({}={shown})", value.go_type())
    }

    fn integer(&self, n: i128, verb: char) -> Option<String> {
        match verb {
            'v' | 'd' | 'b' | 'o' | 'O' | 'x' | 'X' => {
                let verb = if verb == 'v' { 'd' } else { verb };
                Some(Spec { zero: false, ..*self }.pad(&integer(n, verb, self), false))
            }
            'c' => Some(self.pad(&code_point(n).to_string(), false)),
            'q' => Some(self.pad(&quote_char(code_point(n), self.plus), false)),
            'U' => {
                let mut text = format!("U+{n:0>4X}");
                let c = code_point(n);
                if self.sharp && super::quote::is_printable(c) {
                    text.push_str(&format!(" '{c}'"));
                }
                Some(Spec { zero: false, ..*self }.pad(&text, false))
            }
            _ => None,
        }
    }

    fn float(&self, f: f64, verb: char) -> Option<String> {
        let (verb, precision) = match verb {
            'v' => ('g', self.precision),
            'e' | 'E' | 'f' | 'F' => (verb, Some(self.precision.unwrap_or(6))),
            'g' | 'G' | 'x' | 'X' | 'b' => (verb, self.precision),
            _ => return None,
        };
        let verb = if verb == 'F' { 'f' } else { verb };
        let mut text = float::format(f, verb, precision);
        if self.sharp && verb != 'b' && f.is_finite() {
            text = with_trailing_zeros(&text, verb, self.precision);
        }
        let (sign, digits) = match text.strip_prefix('-') {
            Some(digits) => ("-", digits),
            None => match (text.strip_prefix('+').unwrap_or(&text), self.plus, self.space) {
                (digits, true, _) => ("+", digits),
                (digits, false, true) => (" ", digits),
                (digits, ..) if f.is_infinite() => ("+", digits),
                (digits, ..) => ("", digits),
            },
        };
        if self.zero && !self.minus && f.is_finite() {
            let width = self.width.unwrap_or(0);
            let zeros = width.saturating_sub(sign.len() + digits.len());
            return Some(format!("{sign}{}{digits}", "0".repeat(zeros)));
        }
        Some(Spec { zero: false, ..*self }.pad(&format!("{sign}{digits}"), false))
    }

    fn text(&self, text: &str, verb: char) -> Option<String> {
        let cut = || match self.precision {
            Some(runes) => text.chars().take(runes).collect::<String>(),
            None => text.to_owned(),
        };
        match verb {
            'v' | 's' => Some(self.pad(&cut(), true)),
            'q' => {
                let text = cut();
                let quoted = match self.sharp && fits_back_quotes(&text) {
                    true => format!("`{text}`"),
                    false => quote_with(&text, self.plus),
                };
                Some(self.pad(&quoted, true))
            }
            'x' | 'X' => Some(self.pad(&self.hex_bytes(text, verb == 'X'), true)),
            _ => None,
        }
    }

    /// The bytes of a text; a space flag sets them apart, a sharp flag puts `0x` before them.
    fn hex_bytes(&self, text: &str, capitals: bool) -> String {
        let prefix = match (self.sharp, capitals) {
            (false, _) => "",
            (true, false) => "0x",
            (true, true) => "0X",
        };
        let bytes: Vec<String> = text
            .bytes()
            .take(self.precision.unwrap_or(usize::MAX))
            .map(|b| if capitals { format!("{b:02X}") } else { format!("{b:02x}") })
            .collect();
        match (bytes.is_empty(), self.space) {
            (true, _) => String::new(),
            (false, true) => {
                let words: Vec<String> = bytes.iter().map(|b| format!("{prefix}{b}")).collect();
                words.join(" ")
            }
            (false, false) => format!("{prefix}{}", bytes.concat()),
        }
    }

    /// Fills to the width, in characters. Texts may be filled with zeros, as odd as that is.
    fn pad(&self, text: &str, zeros_allowed: bool) -> String {
        let missing = self.width.unwrap_or(0).saturating_sub(text.chars().count());
        match (self.minus, self.zero && zeros_allowed) {
            (true, _) => format!("{text}{}", " ".repeat(missing)),
            (false, true) => format!("{}{text}", "0".repeat(missing)),
            (false, false) => format!("{}{text}", " ".repeat(missing)),
        }
    }
}

fn code_point(n: i128) -> char {
    u32::try_from(n).ok().and_then(char::from_u32).unwrap_or(char::REPLACEMENT_CHARACTER)
}

/// The `#` flag for floats: always a point, and for `g` no zeros removed.
fn with_trailing_zeros(text: &str, verb: char, precision: Option<usize>) -> String {
    let exponent_at = text.find(if verb.eq_ignore_ascii_case(&'x') { ['p', 'P'] } else { ['e', 'E'] });
    let (mantissa, tail) = text.split_at(exponent_at.unwrap_or(text.len()));
    let mut mantissa = mantissa.to_owned();
    let has_point = mantissa.contains('.');
    if !has_point {
        mantissa.push('.');
    }
    if verb.eq_ignore_ascii_case(&'g') {
        let wanted = precision.map_or(6, |p| p.max(1));
        let significant =
            mantissa.trim_start_matches(['-', '0', '.']).chars().filter(char::is_ascii_digit).count();
        let significant = if significant == 0 { 1 } else { significant };
        mantissa.push_str(&"0".repeat(wanted.saturating_sub(significant)));
    }
    mantissa + tail
}
