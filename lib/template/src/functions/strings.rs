//! Changing texts: regular expressions and letter case.

use std::sync::Arc;

use super::Outcome;
use crate::exec::Exec;
use crate::limits::MAX_OUTPUT_BYTES;
use crate::value::Value;

/// The text of an argument that was checked to be one.
pub(super) fn text(value: &Value) -> Arc<str> {
    match value {
        Value::Str(text) | Value::Html(text) => text.clone(),
        _ => unreachable!("the parameter's type is string"),
    }
}

pub(super) fn map(value: &Value, change: impl FnOnce(&str) -> String) -> Outcome {
    Ok(change(&text(value)).into())
}

/// `reReplaceAll pattern replacement text`
pub(super) fn replace_all(exec: &mut Exec<'_>, args: &[Value]) -> Outcome {
    let (pattern, replacement, text) = (text(&args[0]), text(&args[1]), text(&args[2]));
    let regex = match exec.regexes.get(&pattern) {
        Ok(regex) => regex,
        Err(reason) => return Err(format!("regexp: Compile(`{pattern}`): {reason}").into()),
    };
    exec.spend_bytes(text.len())?;
    let mut out = String::new();
    let mut copied = 0;
    for found in regex.captures_iter(&text) {
        let whole = found.get_match();
        out.push_str(&text[copied..whole.start()]);
        found.expand(&replacement, &mut out);
        copied = whole.end();
        if out.len() > MAX_OUTPUT_BYTES {
            exec.spend_bytes(out.len())?;
        }
    }
    out.push_str(&text[copied..]);
    Ok(out.into())
}

/// `match pattern text`
pub(super) fn is_match(exec: &mut Exec<'_>, args: &[Value]) -> Outcome {
    let (pattern, text) = (text(&args[0]), text(&args[1]));
    exec.spend_bytes(text.len())?;
    match exec.regexes.get(&pattern) {
        Ok(regex) => Ok(Value::Bool(regex.is_match(&text))),
        Err(reason) => Err(reason.into()),
    }
}

/// A capital for the first letter of each word, the rest as it is. Words hold together over an apostrophe, a dot or a
/// colon between letters and over underscores (the word boundaries of Unicode's annex 29, as far as names need them).
pub(super) fn title(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut in_word = false; // a word goes on
    let mut done = false; // its first letter was seen
    for (i, &c) in chars.iter().enumerate() {
        let before = i.checked_sub(1).map(|b| chars[b]);
        let joins = joins_word(before, c, chars.get(i + 1).copied());
        let belongs = is_word_char(c) || (in_word && joins);
        if !belongs {
            in_word = false;
            out.push(c);
            continue;
        }
        if !in_word {
            in_word = true;
            done = false;
        }
        if !done && (c.is_lowercase() || c.is_uppercase()) {
            done = true;
            out.extend(c.to_uppercase());
        } else {
            out.push(c);
        }
    }
    out
}

fn is_word_char(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn joins_word(before: Option<char>, c: char, after: Option<char>) -> bool {
    let (Some(before), Some(after)) = (before, after) else { return false };
    let letters = before.is_alphabetic() && after.is_alphabetic();
    let digits = before.is_numeric() && after.is_numeric();
    match c {
        '\'' | '.' | '\u{2019}' => letters || digits,
        ':' | '\u{b7}' => letters,
        ',' | ';' => digits,
        _ => false,
    }
}
