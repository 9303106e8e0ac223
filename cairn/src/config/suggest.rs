//! The name that somebody meant who wrote another.

/// How alike two names must be for a suggestion, 0 to 1.
const SUGGEST_ABOVE: f64 = 0.7;

/// `, did you mean "…"?` with the one of `known` that is most like `key`; empty when none is.
pub fn did_you_mean<'a>(key: &str, known: impl Iterator<Item = &'a str>) -> String {
    let scored = known.map(|k| (strsim::jaro_winkler(k, key), k)).filter(|(s, _)| *s > SUGGEST_ABOVE);
    let nearest = scored.max_by(|a, b| a.0.total_cmp(&b.0));
    nearest.map(|(_, name)| format!(", did you mean {name:?}?")).unwrap_or_default()
}
