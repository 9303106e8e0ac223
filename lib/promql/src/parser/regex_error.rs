//! Names what is wrong with a regular expression as users of Prometheus know it.
//!
//! The regex engine here explains errors at length and over several lines; Go's, which Prometheus shows, is terse:
//! ``error parsing regexp: missing closing ): `a(b` ``. This turns one into the other.

use regex_syntax::ast::{ErrorKind, parse::Parser};

/// The text for `pattern`, which does not compile for `reason`.
pub fn describe(pattern: &str, reason: &str) -> String {
    let explained = Parser::new().parse(pattern).err().and_then(|e| {
        let (start, end) = (e.span().start.offset, e.span().end.offset);
        in_go_words(pattern, e.kind(), start, end)
    });
    format!("error parsing regexp: {}", explained.unwrap_or_else(|| reason.to_owned()))
}

fn in_go_words(pattern: &str, kind: &ErrorKind, start: usize, end: usize) -> Option<String> {
    let to_end = pattern.get(start..)?;
    let at_fault = pattern.get(start..end)?;
    // From the opening of the group that holds the fault.
    let group = |upto: usize| pattern.get(pattern.get(..upto)?.rfind("(?")?..upto);
    let (what, shown) = match kind {
        ErrorKind::GroupUnclosed => ("missing closing )", pattern),
        ErrorKind::GroupUnopened => ("unexpected )", pattern),
        ErrorKind::ClassUnclosed => ("missing closing ]", to_end),
        ErrorKind::RepetitionMissing => {
            let operator = to_end.len() - to_end.trim_start_matches(['*', '+', '?']).len();
            ("missing argument to repetition operator", to_end.get(..operator.max(1))?)
        }
        ErrorKind::RepetitionCountInvalid => ("invalid repeat count", at_fault),
        ErrorKind::ClassRangeInvalid => ("invalid character class range", at_fault),
        ErrorKind::EscapeUnexpectedEof if to_end.len() <= 1 => {
            ("trailing backslash at end of expression", "")
        }
        ErrorKind::EscapeUnexpectedEof
        | ErrorKind::EscapeUnrecognized
        | ErrorKind::EscapeHexEmpty
        | ErrorKind::EscapeHexInvalid
        | ErrorKind::EscapeHexInvalidDigit
        | ErrorKind::ClassEscapeInvalid
        | ErrorKind::UnsupportedBackreference => ("invalid escape sequence", at_fault),
        ErrorKind::UnsupportedLookAround if at_fault.starts_with("(?<") => ("invalid named capture", to_end),
        ErrorKind::UnsupportedLookAround => ("invalid or unsupported Perl syntax", at_fault),
        ErrorKind::GroupNameEmpty
        | ErrorKind::GroupNameInvalid
        | ErrorKind::GroupNameUnexpectedEof
        | ErrorKind::GroupNameDuplicate { .. } => {
            let opened = pattern.get(..start)?.rfind("(?")?;
            ("invalid named capture", pattern.get(opened..)?)
        }
        ErrorKind::FlagUnrecognized
        | ErrorKind::FlagUnexpectedEof
        | ErrorKind::FlagDanglingNegation
        | ErrorKind::FlagDuplicate { .. }
        | ErrorKind::FlagRepeatedNegation { .. } => ("invalid or unsupported Perl syntax", group(end)?),
        _ => return None,
    };
    Some(format!("{what}: `{shown}`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_read_as_in_prometheus() {
        for (pattern, want) in [
            ("(", "missing closing ): `(`"),
            ("a(b", "missing closing ): `a(b`"),
            ("b)", "unexpected ): `b)`"),
            ("*", "missing argument to repetition operator: `*`"),
            ("?a", "missing argument to repetition operator: `?`"),
            ("|*", "missing argument to repetition operator: `*`"),
            ("x[a", "missing closing ]: `[a`"),
            ("x[z-a]", "invalid character class range: `z-a`"),
            ("(?<n", "invalid named capture: `(?<n`"),
            ("(?=x)", "invalid or unsupported Perl syntax: `(?=`"),
            ("(?i", "invalid or unsupported Perl syntax: `(?i`"),
            ("\\y", "invalid escape sequence: `\\y`"),
            ("\\8", "invalid escape sequence: `\\8`"),
            ("a\\", "trailing backslash at end of expression: ``"),
            ("a{2,1}", "invalid repeat count: `{2,1}`"),
        ] {
            assert_eq!(describe(pattern, "?"), format!("error parsing regexp: {want}"), "{pattern}");
        }
        assert_eq!(
            describe("a", "compiled regex exceeds size limit"),
            "error parsing regexp: compiled regex exceeds size limit"
        );
    }
}
