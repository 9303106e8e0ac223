//! Every expression of the conformance data, those of the parser's golden data, and random ones, read by both parsers:
//! accepted or refused alike, and into the same trees, but for the gaps that are listed.

mod corpus;
mod random;

use std::collections::BTreeMap;

use cairn_promql_oracle::gaps::{GAPS, explanation};
use cairn_promql_oracle::verdict::{Difference, Reading, Verdict};
use cairn_tests::conformance::conformance;
use random::Random;

/// Random expressions that are compared; what they are follows from [`SEED`] alone.
const RANDOM: usize = 20_000;
const SEED: u64 = 5;

/// What a set of expressions came to.
#[derive(Default)]
struct Counts {
    equal: usize,
    refused: usize,
    gaps: BTreeMap<&'static str, usize>,
    unexplained: Vec<String>,
}

impl Counts {
    fn add(&mut self, text: &str) {
        let reading = Reading::of(text);
        match (reading.verdict(), explanation(&reading)) {
            (Verdict::Equal, _) => self.equal += 1,
            (Verdict::BothRefuse, _) => self.refused += 1,
            (Verdict::Differ(_), Some(gap)) => *self.gaps.entry(gap.name).or_default() += 1,
            (Verdict::Differ(_), None) => self.unexplained.push(reading.to_string()),
        }
    }

    /// Says what was compared; fails for what no gap explains.
    fn report(self, of: &str) -> Self {
        let gaps: usize = self.gaps.values().sum();
        let compared = self.equal + self.refused + gaps + self.unexplained.len();
        println!(
            "{of}: {compared} compared, {} equal, {} refused by both, {gaps} gaps",
            self.equal, self.refused
        );
        self.gaps.iter().for_each(|(name, n)| println!("  {n:5} {name}"));
        let (all, first) = (self.unexplained.len(), self.unexplained.iter().take(20));
        assert_eq!(all, 0, "differ:\n{}", first.cloned().collect::<Vec<_>>().join("\n"));
        self
    }
}

fn compare(of: &str, expressions: &[String]) -> Counts {
    let mut counts = Counts::default();
    expressions.iter().for_each(|text| counts.add(text));
    counts.report(of)
}

#[test]
fn expressions_of_the_language_tests_are_read_alike() {
    let Some(folder) = conformance("promqltest") else { return };
    let expressions = corpus::language_tests(&folder);
    assert_eq!(expressions.len(), 1_112, "eval lines of the corpus");
    let counts = compare("promqltest", &expressions);
    assert!(counts.equal > 900, "only {} are equal", counts.equal);
}

#[test]
fn queries_of_the_compliance_suite_are_read_alike() {
    let Some(file) = conformance("promql/promql-test-queries.yml") else { return };
    let counts = compare("compliance suite", &corpus::compliance_suite(&file));
    assert!(counts.equal > 400, "only {} are equal", counts.equal);
}

#[test]
fn golden_expressions_are_read_alike() {
    let expressions = corpus::golden();
    let counts = compare("golden data", &expressions);
    assert!(counts.equal > 900 && counts.refused > 900, "golden data is incomplete");
}

#[test]
fn random_expressions_are_read_alike() {
    let mut random = Random::new(SEED);
    let expressions: Vec<String> = (0..RANDOM).map(|_| random.expression()).collect();
    let counts = compare("random", &expressions);
    assert!(counts.equal > RANDOM / 2, "only {} are equal", counts.equal);
}

#[test]
fn random_texts_are_refused_alike() {
    let mut random = Random::new(SEED);
    let texts: Vec<String> = (0..RANDOM).map(|_| random.damaged_expression()).collect();
    let counts = compare("damaged", &texts);
    assert!(counts.refused > RANDOM / 4, "only {} are refused", counts.refused);
}

#[test]
fn another_tree_is_not_equal() {
    const PAIRS: [(&str, &str); 12] = [
        ("a - b", "a + b"),
        ("-1 ^ 2", "(-1) ^ 2"),
        ("a + b * c", "(a + b) * c"),
        ("a{b=\"c\"}", "a{b!=\"c\"}"),
        ("a offset 1m", "a offset 1h"),
        ("a @ 1", "a @ end()"),
        ("rate(a[1m])", "rate(a[1m] offset 1s)"),
        ("sum by (x) (a)", "sum without (x) (a)"),
        ("topk(1, a)", "topk(2, a)"),
        ("a * on (x) group_left (y) b", "a * on (x) group_right (y) b"),
        ("a == b", "a == bool b"),
        ("max_over_time(a[1h:1m])", "max_over_time(a[1h:])"),
    ];
    for (left, right) in PAIRS {
        let (left, right) = (Reading::of(left), Reading::of(right));
        assert_eq!((left.verdict(), right.verdict()), (Verdict::Equal, Verdict::Equal), "{left}\n{right}");
        let crossed = Reading { text: left.text, cairn: left.cairn, oracle: right.oracle };
        assert_eq!(crossed.verdict(), Verdict::Differ(Difference::OtherTree), "{crossed}");
    }
}

#[test]
fn every_gap_is_still_one() {
    for gap in GAPS {
        let reading = Reading::of(gap.witness);
        assert_eq!(reading.verdict(), Verdict::Differ(gap.kind), "{}: {}", gap.name, gap.witness);
        let found = explanation(&reading).map(|gap| gap.name);
        assert_eq!(found, Some(gap.name), "{} is taken for another gap", gap.witness);
    }
}
