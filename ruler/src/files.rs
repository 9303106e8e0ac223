//! `--rule-file` patterns to files: `*`, `?` and `[…]` within the parts of a path, as Go's `filepath.Glob` has them.

use std::io;
use std::path::{Path, PathBuf};

use cairn_runtime::Disk;

/// Files that match any pattern, sorted, each once. A pattern that matches nothing is no error: files may come later.
///
/// # Errors
/// A folder that cannot be listed, with its path.
pub fn find(disk: &dyn Disk, patterns: &[String]) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut found = Vec::new();
    for pattern in patterns {
        let mut matches = glob(disk, Path::new(pattern))?;
        if matches.is_empty() {
            tracing::warn!(pattern, "no rule file matches");
        }
        found.append(&mut matches);
    }
    found.sort();
    found.dedup();
    Ok(found)
}

fn glob(disk: &dyn Disk, pattern: &Path) -> Result<Vec<PathBuf>, (PathBuf, io::Error)> {
    let mut paths = vec![PathBuf::new()];
    let parts: Vec<_> = pattern.components().collect();
    for (depth, part) in parts.iter().enumerate() {
        let name = part.as_os_str().to_string_lossy();
        let is_last = depth + 1 == parts.len();
        let mut next = Vec::new();
        for path in paths {
            if !name.contains(['*', '?', '[']) {
                next.push(path.join(part));
                continue;
            }
            let dir = if path.as_os_str().is_empty() { PathBuf::from(".") } else { path.clone() };
            let entries = match disk.list(&dir) {
                Ok(entries) => entries,
                Err(e) if matches!(e.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                    continue;
                }
                Err(e) => return Err((dir, e)),
            };
            let matching = entries.into_iter().filter(|e| (is_last || e.is_dir) && matches(&name, &e.name));
            next.extend(matching.map(|entry| path.join(entry.name)));
        }
        paths = next;
    }
    let mut files = Vec::new();
    for path in paths {
        if disk.exists(&path).map_err(|e| (path.clone(), e))? {
            files.push(path);
        }
    }
    Ok(files)
}

/// Whether a name matches a pattern. A `*` also takes a dot at the beginning, as in Go. Linear in the product of lengths.
fn matches(pattern: &str, name: &str) -> bool {
    let pattern: Vec<char> = pattern.chars().collect();
    let name: Vec<char> = name.chars().collect();
    // reachable[i]: the pattern so far matches the first i characters.
    let mut reachable = vec![false; name.len() + 1];
    reachable[0] = true;
    let mut at = 0;
    while at < pattern.len() {
        if pattern[at] == '*' {
            at += 1;
            for i in 1..=name.len() {
                reachable[i] |= reachable[i - 1];
            }
            continue;
        }
        let (length, accepts) = element(&pattern[at..]);
        at += length;
        for i in (1..=name.len()).rev() {
            reachable[i] = reachable[i - 1] && accepts(name[i - 1]);
        }
        reachable[0] = false;
    }
    reachable[name.len()]
}

/// One element that takes exactly one character: its length in the pattern and what it accepts.
fn element(pattern: &[char]) -> (usize, Box<dyn Fn(char) -> bool>) {
    match pattern {
        ['?', ..] => (1, Box::new(|_| true)),
        ['\\', c, ..] => {
            let c = *c;
            (2, Box::new(move |x| x == c))
        }
        ['[', rest @ ..] => match rest.iter().skip(1).position(|c| *c == ']') {
            Some(end) => {
                let inner = rest[..=end].to_vec();
                let negated = inner[0] == '^';
                let set = if negated { inner[1..].to_vec() } else { inner };
                (end + 3, Box::new(move |x| in_set(&set, x) != negated))
            }
            None => (1, Box::new(|x| x == '[')),
        },
        [c, ..] => {
            let c = *c;
            (1, Box::new(move |x| x == c))
        }
        [] => (1, Box::new(|_| false)),
    }
}

fn in_set(set: &[char], c: char) -> bool {
    let mut at = 0;
    while at < set.len() {
        match set[at..] {
            [low, '-', high, ..] => {
                if (low..=high).contains(&c) {
                    return true;
                }
                at += 3;
            }
            [one, ..] => {
                if one == c {
                    return true;
                }
                at += 1;
            }
            [] => {}
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;
    use cairn_runtime::MemDisk;

    #[test]
    fn patterns() {
        for (pattern, name, want) in [
            ("*.yml", "a.yml", true),
            ("*.yml", "a.yaml", false),
            ("*", "", true),
            ("a?c", "abc", true),
            ("a?c", "ac", false),
            ("[a-c]x", "bx", true),
            ("[^a-c]x", "bx", false),
            ("[ab", "[ab", true),
            ("\\*", "*", true),
            ("a*b*c", "aXbYc", true),
            ("a*b*c", "aXbY", false),
        ] {
            assert_eq!(matches(pattern, name), want, "{pattern} {name}");
        }
    }

    #[test]
    fn files_in_folders() {
        let disk = MemDisk::default();
        for path in ["/r/a.yml", "/r/b.yml", "/r/c.txt", "/r/x/d.yml", "/r/y/d.yml"] {
            disk.create_dir_all(Path::new(path).parent().unwrap()).unwrap();
            disk.write_atomic(Path::new(path), b"").unwrap();
        }
        let found = |patterns: &[&str]| -> Vec<String> {
            let patterns: Vec<String> = patterns.iter().map(ToString::to_string).collect();
            find(&disk, &patterns).unwrap().iter().map(|p| p.display().to_string()).collect()
        };
        assert_eq!(found(&["/r/*.yml", "/r/a.yml"]), ["/r/a.yml", "/r/b.yml"]);
        assert_eq!(found(&["/r/*/d.yml"]), ["/r/x/d.yml", "/r/y/d.yml"]);
        assert!(found(&["/nowhere/*.yml", "/r/missing.yml"]).is_empty());
    }
}
