//! Text in double quotes as Go's `strconv.Quote` writes it.

/// Quotes a text: what cannot be printed is escaped.
pub(crate) fn quote(text: &str) -> String {
    quote_with(text, false)
}

/// Quotes a text; with `ascii` everything beyond ASCII is escaped too.
pub(crate) fn quote_with(text: &str, ascii: bool) -> String {
    let mut out = String::with_capacity(text.len() + 2);
    out.push('"');
    text.chars().for_each(|c| push_escaped(c, '"', ascii, &mut out));
    out.push('"');
    out
}

/// Quotes a character with single quotes.
pub(crate) fn quote_char(c: char, ascii: bool) -> String {
    let mut out = String::from('\'');
    push_escaped(c, '\'', ascii, &mut out);
    out.push('\'');
    out
}

/// Whether a text can stand between back quotes unchanged.
pub(crate) fn fits_back_quotes(text: &str) -> bool {
    text.chars().all(|c| c != '`' && c != '\u{feff}' && c != '\u{7f}' && (c >= ' ' || c == '\t'))
}

/// Letters, marks, numbers, punctuation, symbols and the ASCII space.
pub(crate) fn is_printable(c: char) -> bool {
    // The standard library escapes exactly the others, save that it also escapes a mark at the start of a text:
    // hence the letter before it.
    c == '"'
        || c == '\''
        || c == '\\'
        || (c != '\t' && ['a', c].iter().collect::<String>().escape_debug().count() == 2)
}

fn push_escaped(c: char, quote: char, ascii: bool, out: &mut String) {
    match c {
        '\\' => out.push_str("\\\\"),
        c if c == quote => out.extend(['\\', c]),
        '\u{7}' => out.push_str("\\a"),
        '\u{8}' => out.push_str("\\b"),
        '\u{c}' => out.push_str("\\f"),
        '\n' => out.push_str("\\n"),
        '\r' => out.push_str("\\r"),
        '\t' => out.push_str("\\t"),
        '\u{b}' => out.push_str("\\v"),
        c if c.is_ascii_graphic() || c == ' ' => out.push(c),
        c if !ascii && !c.is_ascii() && is_printable(c) => out.push(c),
        c if c < ' ' || c == '\u{7f}' => out.push_str(&format!("\\x{:02x}", c as u32)),
        c if (c as u32) < 0x10000 => out.push_str(&format!("\\u{:04x}", c as u32)),
        c => out.push_str(&format!("\\U{:08x}", c as u32)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_what_cannot_be_printed() {
        assert_eq!(quote("a\"b\\\n\u{1}é\u{feff}\u{10ffff}"), r#""a\"b\\\n\x01é\ufeff\U0010ffff""#);
        assert_eq!(quote_with("é", true), r#""\u00e9""#);
        assert_eq!(quote_char('\'', false), r"'\''");
    }
}
