//! Where the oracle is not Prometheus 3.14, one entry a construct.
//!
//! Parts: [`GAPS`] (the list), then what recognises an entry in an expression. A gap explains a difference only of its
//! own kind and only where its construct is found, so that it cannot hide another one; its `witness` is the shortest
//! expression that has it, and a test holds that this one still differs.

use cairn_promql::parser::ast::{DurationArg, Expr, VectorSelector};

use crate::verdict::Difference::{self, CairnRefuses, OracleRefuses};
use crate::verdict::{Reading, Verdict};

/// Something that the oracle reads otherwise than Prometheus 3.14 does.
pub struct Gap {
    /// The construct.
    pub name: &'static str,
    /// How the two then differ.
    pub kind: Difference,
    /// What the oracle does instead.
    pub reason: &'static str,
    /// The shortest expression that shows it.
    pub witness: &'static str,
    /// Whether an expression that differs in this way has the construct.
    found: fn(&Reading) -> bool,
}

/// All of them.
pub const GAPS: &[Gap] = &[
    Gap {
        name: "computed durations",
        kind: OracleRefuses,
        reason: "the oracle takes literals alone",
        witness: "up[1*1]",
        found: |r| any(r, &mut |e| durations(e).iter().any(|d| d.fixed_ms().is_none())),
    },
    Gap {
        name: "anchored, smoothed",
        kind: OracleRefuses,
        reason: "the oracle's grammar names the two words and does not use them",
        witness: "up anchored",
        found: |r| any(r, &mut |e| selector(e).is_some_and(|s| s.anchored || s.smoothed)),
    },
    Gap {
        name: "</ and >/",
        kind: OracleRefuses,
        reason: "the operators that trim histograms are not in the oracle's lexer",
        witness: "a</1",
        found: |r| any(r, &mut |e| matches!(e, Expr::Binary(b) if b.op.is_trim())),
    },
    Gap {
        name: "fill with a duration",
        kind: OracleRefuses,
        reason: "the oracle takes a number in fill(…), Prometheus a duration too",
        witness: "a+fill(1s)b",
        found: |r| any(r, &mut fills) && fills_with_duration(&r.text),
    },
    Gap {
        name: "offsets with two signs",
        kind: OracleRefuses,
        reason: "for Prometheus the second sign is one of a computed duration",
        witness: "up offset--1s",
        found: |r| {
            let shifted = |d: &DurationArg| d.fixed_ms().is_some();
            any(r, &mut |e| offset(e).is_some_and(shifted)) && offset_signs(&r.text).any(|signs| signs > 1)
        },
    },
    Gap {
        name: "backslashes in raw strings",
        kind: OracleRefuses,
        reason: "the oracle's lexer looks for escapes between backquotes, too",
        witness: "`\\`",
        found: |r| {
            let lexer = ["unknown escape sequence", "unterminated quoted string"];
            r.cairn.is_ok() && r.text.contains('`') && lexer.iter().any(|why| refused_by_oracle(r, why))
        },
    },
    Gap {
        name: "octal numbers beyond 63 bits",
        kind: OracleRefuses,
        reason: "Prometheus takes them for decimal floats",
        witness: "01000000000000000000000",
        found: |r| refused_by_oracle(r, "can't be parsed into i64"),
    },
    Gap {
        name: "digits grouped with _",
        kind: OracleRefuses,
        reason: "the oracle's lexer ends a number at the underscore",
        witness: "1_0",
        found: |r| refused_by_oracle(r, "bad number or duration syntax") && r.text.contains('_'),
    },
    Gap {
        name: "info() with a selector that matches the empty text",
        kind: OracleRefuses,
        reason: "for the oracle info()'s second argument is a selector like any other",
        witness: "info(a,{})",
        found: |r| {
            refused_by_oracle(r, "vector selector must contain at least one non-empty matcher")
                && any(r, &mut |e| matches!(e, Expr::Call(c) if c.func.name == "info"))
        },
    },
    Gap {
        name: "durations of zero",
        kind: CairnRefuses,
        reason: "a zero that is a number without unit passes the oracle's check",
        witness: "up[0]",
        found: |r| refused_by_cairn(r, "duration must be greater than 0"),
    },
    Gap {
        name: "durations beyond 292 years",
        kind: CairnRefuses,
        reason: "the oracle's durations reach further than Go's",
        witness: "up[293y]",
        found: |r| refused_by_cairn(r, "duration out of range"),
    },
    Gap {
        name: "grouping by the empty name",
        kind: CairnRefuses,
        reason: "the oracle does not look at quoted names",
        witness: "sum by(\"\")(up)",
        found: |r| refused_by_cairn(r, "invalid label name for grouping"),
    },
    Gap {
        name: "info() with more than label matchers",
        kind: CairnRefuses,
        reason: "the oracle checks the type of info()'s second argument alone",
        witness: "info(a,b)",
        found: |r| refused_by_cairn(r, "expected label selectors only"),
    },
    Gap {
        name: "fill where no series pair up",
        kind: CairnRefuses,
        reason: "the oracle takes fill at set operators and beside scalars",
        witness: "a+fill(0)1",
        found: |r| refused_by_cairn(r, "filling in missing series"),
    },
    Gap {
        name: "numbers beyond the greatest float",
        kind: CairnRefuses,
        reason: "for the oracle they are infinite",
        witness: "1e999",
        found: |r| refused_by_cairn(r, "value out of range"),
    },
    Gap {
        name: "repetitions of repetitions",
        kind: CairnRefuses,
        reason: "the oracle matches with Rust's regular expressions, where a** means something",
        witness: "a{b=~\"c**\"}",
        found: |r| refused_by_cairn(r, "invalid nested repetition operator"),
    },
    Gap {
        name: "plus in front of a range vector",
        kind: CairnRefuses,
        reason: "the oracle drops the plus before it looks at types",
        witness: "+up[1s]",
        found: |r| refused_by_cairn(r, "unary expression only allowed on") && r.text.contains('+'),
    },
];

/// The gap that explains how a reading differs.
pub fn explanation(reading: &Reading) -> Option<&'static Gap> {
    let Verdict::Differ(kind) = reading.verdict() else { return None };
    GAPS.iter().find(|gap| gap.kind == kind && (gap.found)(reading))
}

fn any(reading: &Reading, holds: &mut dyn FnMut(&Expr) -> bool) -> bool {
    let mut found = false;
    if let Ok(expr) = &reading.cairn {
        expr.walk(&mut |e| found |= holds(e));
    }
    found
}

fn refused_by_cairn(reading: &Reading, why: &str) -> bool {
    reading.cairn.as_ref().is_err_and(|e| e.message.contains(why))
}

fn refused_by_oracle(reading: &Reading, why: &str) -> bool {
    reading.oracle.as_ref().is_err_and(|e| e.contains(why))
}

fn selector(expr: &Expr) -> Option<&VectorSelector> {
    match expr {
        Expr::Vector(v) => Some(v),
        Expr::Matrix(m) => Some(&m.selector),
        _ => None,
    }
}

/// The ranges, steps and offsets of a node itself.
fn durations(expr: &Expr) -> Vec<&DurationArg> {
    match expr {
        Expr::Vector(v) => v.offset.iter().collect(),
        Expr::Matrix(m) => std::iter::once(&m.range).chain(&m.selector.offset).collect(),
        Expr::Subquery(s) => std::iter::once(&s.range).chain(&s.step).chain(&s.offset).collect(),
        _ => Vec::new(),
    }
}

fn offset(expr: &Expr) -> Option<&DurationArg> {
    match expr {
        Expr::Subquery(s) => s.offset.as_ref(),
        _ => selector(expr)?.offset.as_ref(),
    }
}

/// How many signs stand behind each `offset`; the tree holds what they come to.
fn offset_signs(text: &str) -> impl Iterator<Item = usize> {
    let is_sign = |c: &char| matches!(c, '+' | '-');
    let behind = text.split("offset").skip(1);
    behind.map(move |rest| rest.chars().filter(|c| !c.is_whitespace()).take_while(is_sign).count())
}

fn fills(expr: &Expr) -> bool {
    matches!(expr, Expr::Binary(b) if b.matching.as_ref().is_some_and(|m| m.fill.is_some()))
}

/// Whether what stands in the parentheses of a fill ends with a unit; the tree does not tell.
fn fills_with_duration(text: &str) -> bool {
    let values = text.split("fill").skip(1).filter_map(|rest| rest.split_once('(')?.1.split_once(')'));
    values.map(|(value, _)| value.trim_end()).any(|value| value.ends_with(['s', 'm', 'h', 'd', 'w', 'y']))
}
