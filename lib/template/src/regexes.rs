//! Regular expressions of templates, in Go's dialect ([`go_regex`]), bounded in size and in number.

use std::sync::Mutex;

use cairn_model::go_regex;
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
    let regex = RegexBuilder::new(&go_regex::translate(pattern))
        .size_limit(MAX_REGEX_BYTES)
        .build()
        .map_err(|e| format!("error parsing regexp: {}: `{pattern}`", last_line(&e.to_string())))?;
    go_regex::refusal(pattern).map_or(Ok(regex), |why| Err(format!("error parsing regexp: {why}")))
}

/// The regex crate draws the pattern first; the reason is the last line.
fn last_line(message: &str) -> String {
    let line = message.lines().last().unwrap_or(message);
    line.trim_start_matches("error: ").to_owned()
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
        check(r"^a\Bb$", "ab", true);
        check(r"^a\Bé$", "aé", false);
        check(r"^\p{Greek}\x{3b1}$", "βα", true);
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
