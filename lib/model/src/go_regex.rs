//! Go's regular expressions (RE2) in the syntax of the regex crate.
//!
//! Both engines match the same language by the same rules; only the spelling differs, and what the Perl classes
//! mean: in Go `\d`, `\w`, `\s`, `\b` and `\B` are ASCII. Translated here:
//! - `\Q…\E` is literal text, a brace that begins no repetition is a literal brace;
//! - Perl classes become ASCII sets;
//! - within a set `[`, `&`, `~` and a second `-` are literal, not set operations.
//!
//! What is no valid pattern stays invalid, so that the regex crate can say why. One pass over the text. What only Go
//! refuses is for [`refusal`].

/// Greatest count of a repetition in Go.
const MAX_COUNT: u32 = 1000;

/// The pattern that means to the regex crate what `source` means to Go. Anchors nothing.
pub fn translate(source: &str) -> String {
    let mut out = String::with_capacity(source.len() + 8);
    let mut rest = source;
    while let Some(c) = rest.chars().next() {
        rest = match c {
            '\\' => translate_escape(rest, &mut out),
            '[' => translate_set(rest, &mut out),
            '{' if !begins_repetition(rest) => {
                out.push_str("\\{");
                &rest[1..]
            }
            _ => {
                out.push(c);
                &rest[c.len_utf8()..]
            }
        };
    }
    out
}

/// Why Go refuses a pattern that the regex crate takes, in Go's words: a repetition of a repetition, as in `a**`, or a
/// count above 1,000. Of a pattern that is wrong otherwise it may say nothing.
pub fn refusal(source: &str) -> Option<String> {
    let mut translated = String::new();
    let mut rest = source;
    // From the repetition that ends where `rest` begins.
    let mut repeated: Option<&str> = None;
    while let Some(c) = rest.chars().next() {
        let operator = repetition(rest);
        if !operator.is_empty() {
            if operator
                .split(|c: char| !c.is_ascii_digit())
                .any(|n| n.parse().is_ok_and(|n: u32| n > MAX_COUNT))
            {
                return Some(format!("invalid repeat count: `{operator}`"));
            }
            let after = &rest[operator.len()..];
            let after = after.strip_prefix('?').unwrap_or(after);
            if let Some(first) = repeated {
                let both = &first[..first.len() - after.len()];
                return Some(format!("invalid nested repetition operator: `{both}`"));
            }
            (repeated, rest) = (Some(rest), after);
            continue;
        }
        repeated = None;
        rest = match c {
            '\\' => translate_escape(rest, &mut translated),
            '[' => translate_set(rest, &mut translated),
            // What stands there is no repetition.
            '(' => rest.strip_prefix("(?").unwrap_or(&rest[1..]),
            _ => &rest[c.len_utf8()..],
        };
        translated.clear();
    }
    None
}

/// The repetition that `text` begins with; empty when it begins with none.
fn repetition(text: &str) -> &str {
    match text.as_bytes().first() {
        Some(b'*' | b'+' | b'?') => &text[..1],
        Some(b'{') if begins_repetition(text) => text.split_inclusive('}').next().unwrap_or(""),
        _ => "",
    }
}

/// Translates the escape that `text` begins with and gives what follows it.
fn translate_escape<'a>(text: &'a str, out: &mut String) -> &'a str {
    if let Some(quoted) = text.strip_prefix("\\Q") {
        let (literal, after) = quoted.split_once("\\E").unwrap_or((quoted, ""));
        out.push_str(&regex::escape(literal));
        return after;
    }
    let (escape, rest) = split_escape(text);
    match perl_class(escape) {
        Some((negated, members)) => {
            out.push_str(if negated { "[^" } else { "[" });
            out.push_str(members);
            out.push(']');
        }
        None if matches!(escape, "\\b" | "\\B") => {
            out.push_str("(?-u:");
            out.push_str(escape);
            out.push(')');
        }
        None => out.push_str(escape),
    }
    rest
}

/// Translates the set `[…]` that `text` begins with and gives what follows it.
fn translate_set<'a>(text: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let mut rest = &text[1..];
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    // A bracket in the first place is a member.
    if let Some(after) = rest.strip_prefix(']') {
        out.push_str("\\]");
        rest = after;
    }
    let mut after_dash = false;
    while let Some(c) = rest.chars().next() {
        let was_dash = std::mem::replace(&mut after_dash, c == '-');
        rest = match c {
            ']' => {
                out.push(']');
                return &rest[1..];
            }
            '[' => match rest.strip_prefix("[:").and_then(|r| r.find(":]")) {
                Some(len) if rest[2..2 + len].bytes().all(|b| b.is_ascii_lowercase() || b == b'^') => {
                    out.push_str(&rest[..len + 4]);
                    &rest[len + 4..]
                }
                _ => {
                    out.push_str("\\[");
                    &rest[1..]
                }
            },
            '\\' => {
                let (escape, after) = split_escape(rest);
                match perl_class(escape) {
                    Some((true, members)) => {
                        out.push_str("[^");
                        out.push_str(members);
                        out.push(']');
                    }
                    Some((false, members)) => out.push_str(members),
                    None => out.push_str(escape),
                }
                after
            }
            '&' | '~' => {
                out.push('\\');
                out.push(c);
                &rest[1..]
            }
            '-' if was_dash => {
                out.push_str("\\-");
                &rest[1..]
            }
            _ => {
                out.push(c);
                &rest[c.len_utf8()..]
            }
        };
    }
    rest
}

/// The escape sequence that `text` begins with, and the rest. A class or code in braces belongs to it.
fn split_escape(text: &str) -> (&str, &str) {
    let len = 1 + text[1..].chars().next().map_or(0, char::len_utf8);
    let end = match text[len..].strip_prefix('{').and_then(|r| r.find('}')) {
        Some(close) if matches!(&text[1..len], "p" | "P" | "x") => len + close + 2,
        _ => len,
    };
    text.split_at(end)
}

/// Whether the class is negated, and the members of its positive form.
fn perl_class(escape: &str) -> Option<(bool, &'static str)> {
    let members = match escape.get(1..)? {
        "d" | "D" => "0-9",
        "w" | "W" => "0-9A-Za-z_",
        "s" | "S" => "\\t\\n\\x0C\\r ",
        _ => return None,
    };
    Some((escape.ends_with(['D', 'W', 'S']), members))
}

/// Whether `text` begins with `{n}`, `{n,}` or `{n,m}`.
fn begins_repetition(text: &str) -> bool {
    let digits = |s: &str| s.bytes().take_while(u8::is_ascii_digit).count();
    let after_brace = &text[1..];
    let min = digits(after_brace);
    let rest = &after_brace[min..];
    let rest = rest.strip_prefix(',').map_or(rest, |r| &r[digits(r)..]);
    min > 0 && rest.starts_with('}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_means_the_same_is_left_alone() {
        for same in [
            "a.*|b+?",
            "(?i)x{2,3}y{4}z{5,}",
            "[a-z^-]",
            "[[:alpha:]_]",
            "\\pL\\p{Greek}\\x{10FFFF}\\.",
            "é[é-ü]",
        ] {
            assert_eq!(translate(same), same);
        }
    }

    #[test]
    fn what_differs_is_translated() {
        for (go, want) in [
            ("\\Qa.b\\E.", "a\\.b."),
            ("\\Qa.b", "a\\.b"),
            ("a{,2}{x}{", "a\\{,2}\\{x}\\{"),
            ("\\d+\\W\\s", "[0-9]+[^0-9A-Za-z_][\\t\\n\\x0C\\r ]"),
            ("\\bx\\B", "(?-u:\\b)x(?-u:\\B)"),
            ("[\\d_\\D]", "[0-9_[^0-9]]"),
            ("[a[b]", "[a\\[b]"),
            ("[]a]", "[\\]a]"),
            ("[^]a]", "[^\\]a]"),
            ("[a&&b~~c]", "[a\\&\\&b\\~\\~c]"),
            ("[+--]", "[+-\\-]"),
            ("[\\]\\[]", "[\\]\\[]"),
        ] {
            assert_eq!(translate(go), want, "{go}");
        }
    }

    #[test]
    fn broken_patterns_do_not_panic_and_stay_broken() {
        for broken in ["\\", "[", "[^", "[]", "[a\\", "a\\p{", "\\Q", "(", "[[:alpha:]"] {
            let translated = translate(broken);
            if broken != "\\Q" {
                assert!(regex_syntax::parse(&translated).is_err(), "{broken} became {translated}");
            }
        }
    }

    #[test]
    fn what_only_go_refuses_is_named_in_its_words() {
        for (pattern, operator) in [
            ("a**", "**"),
            ("a*+", "*+"),
            ("a???", "???"),
            ("a**?", "**?"),
            ("a*?*", "*?*"),
            ("a{2}{3}", "{2}{3}"),
            ("a*{2}", "*{2}"),
            ("^**", "**"),
            ("[*]**", "**"),
            ("\\***", "**"),
            ("\\Q*\\E**", "**"),
            ("(?i)(é++b**)", "++"),
        ] {
            let want = format!("invalid nested repetition operator: `{operator}`");
            assert_eq!(refusal(pattern), Some(want), "{pattern}");
        }
        for count in ["{1001}", "{1001,}", "{1,2000}"] {
            assert_eq!(refusal(&format!("a{count}")), Some(format!("invalid repeat count: `{count}`")));
        }
        for fine in [
            "a??",
            "a{2}{",
            "a*{,2}",
            "(a*)*",
            "(?:a*)*",
            "(?P<n>a)+",
            "^*",
            "[a**]*",
            "\\**",
            "\\Q**\\E",
            "a{1000}",
            "a*b*",
        ] {
            assert_eq!(refusal(fine), None, "{fine}");
        }
    }

    #[test]
    fn hostile_braces_take_one_pass() {
        assert_eq!(translate(&"{".repeat(100_000)).len(), 200_000);
    }
}
