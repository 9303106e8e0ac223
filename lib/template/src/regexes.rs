//! Regular expressions in Go's dialect on Rust's engine. Both are linear in time and prefer leftmost-first; the
//! differences are spelling: `\Q…\E`, ASCII classes, and characters that only one of them reserves inside `[…]`.

use std::sync::Mutex;

use regex::{Regex, RegexBuilder};

use crate::limits::{MAX_CACHED_REGEXES, MAX_REGEX_BYTES};

/// Compiled expressions of one template, oldest first; bounded by [`MAX_CACHED_REGEXES`].
#[derive(Debug, Default)]
pub(crate) struct RegexCache {
    compiled: Mutex<Vec<(String, Regex)>>,
}

impl RegexCache {
    /// Compiles a pattern, or finds it compiled. Cloning a `Regex` shares its program.
    pub fn get(&self, pattern: &str) -> Result<Regex, String> {
        let mut compiled = self.compiled.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if let Some((_, regex)) = compiled.iter().find(|(known, _)| known == pattern) {
            return Ok(regex.clone());
        }
        let regex = compile(pattern)?;
        if compiled.len() == MAX_CACHED_REGEXES {
            compiled.remove(0);
        }
        compiled.push((pattern.to_owned(), regex.clone()));
        Ok(regex)
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    RegexBuilder::new(&translate(pattern))
        .size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|e| format!("error parsing regexp: {}: `{pattern}`", last_line(&e.to_string())))
}

/// The regex crate draws the pattern first; the reason is the last line.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or(message);
    line.trim_start_matches("error: ").to_owned()
}

/// Rewrites what Go spells otherwise.
fn translate(pattern: &str) -> String {
    let mut out = String::with_capacity(pattern.len() + 16);
    let mut rest = pattern;
    let mut in_class = false;
    while let Some(c) = rest.chars().next() {
        let after = &rest[c.len_utf8()..];
        rest = match c {
            '\\' => escape(after, in_class, &mut out),
            '[' if !in_class => {
                in_class = true;
                open_class(after, &mut out)
            }
            '[' if after.starts_with(':') => {
                let end = after.find(":]").map_or(0, |at| at + 2);
                out.push_str(if end == 0 { "\\[" } else { "[" });
                out.push_str(&after[..end]);
                &after[end..]
            }
            // Rust reserves these inside a class, Go does not.
            '[' | '&' | '~' if in_class => {
                out.push('\\');
                out.push(c);
                after
            }
            ']' => {
                in_class = false;
                out.push(c);
                after
            }
            '{' if !in_class && !is_repetition(after) => {
                out.push_str("\\{");
                after
            }
            c => {
                out.push(c);
                after
            }
        };
    }
    out
}

/// The part of a class where `]` and `^` have their special places.
fn open_class<'a>(after: &'a str, out: &mut String) -> &'a str {
    out.push('[');
    let mut rest = after;
    if let Some(after) = rest.strip_prefix('^') {
        out.push('^');
        rest = after;
    }
    if let Some(after) = rest.strip_prefix(']') {
        out.push_str("\\]");
        rest = after;
    }
    rest
}

fn escape<'a>(after: &'a str, in_class: bool, out: &mut String) -> &'a str {
    let Some(c) = after.chars().next() else {
        out.push('\\');
        return after;
    };
    let rest = &after[c.len_utf8()..];
    let (bare, negated) = match c {
        'd' | 'D' => ("0-9", c == 'D'),
        'w' | 'W' => ("0-9A-Za-z_", c == 'W'),
        's' | 'S' => ("\\t\\n\\x0C\\r ", c == 'S'),
        'b' | 'B' => {
            out.push_str(if c == 'b' { "(?-u:\\b)" } else { "(?-u:\\B)" });
            return rest;
        }
        'Q' => {
            let end = rest.find("\\E");
            out.push_str(&regex::escape(&rest[..end.unwrap_or(rest.len())]));
            return end.map_or("", |at| &rest[at + 2..]);
        }
        c => {
            out.push('\\');
            out.push(c);
            return rest;
        }
    };
    match (negated, in_class) {
        (true, _) => out.push_str(&format!("[^{bare}]")),
        (false, true) => out.push_str(bare),
        (false, false) => out.push_str(&format!("[{bare}]")),
    }
    rest
}

/// Whether `{` begins `{n}`, `{n,}` or `{n,m}`; else Go takes it for itself.
fn is_repetition(after: &str) -> bool {
    let Some((inner, _)) = after.split_once('}') else { return false };
    let (low, high) = inner.split_once(',').unwrap_or((inner, ""));
    !low.is_empty() && low.bytes().chain(high.bytes()).all(|b| b.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, text: &str, want: bool) {
        let regex = compile(pattern).unwrap_or_else(|e| panic!("{pattern}: {e}"));
        assert_eq!(regex.is_match(text), want, "{pattern} on {text}");
    }

    #[test]
    fn go_dialect() {
        check(r"^\Qa.b\E$", "a.b", true);
        check(r"^\Qa.b\E$", "axb", false);
        check(r"^\d$", "٣", false);
        check(r"^[\d_]+$", "1_2", true);
        check(r"^[^\W]$", "a", true);
        check(r"^[\W]$", "a", false);
        check(r"^a{,2}$", "a{,2}", true);
        check(r"^a{2}$", "aa", true);
        check(r"^[]a]+$", "]a", true);
        check(r"^[a&&b]+$", "a&b", true);
        check(r"^[[:alpha:]]+$", "ab", true);
        check(r"^[[]$", "[", true);
        check(r"\bfoo\b", "a foo.", true);
    }

    #[test]
    fn a_cache_keeps_its_bound() {
        let cache = RegexCache::default();
        for n in 0..3 * MAX_CACHED_REGEXES {
            assert!(cache.get(&format!("a{n}")).is_ok());
        }
        assert_eq!(cache.compiled.lock().unwrap().len(), MAX_CACHED_REGEXES);
        assert!(cache.get("(").is_err());
    }
}
