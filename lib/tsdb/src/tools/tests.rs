use std::path::Path;

use cairn_model::{Labels, MatchOp, Matcher};
use cairn_runtime::{Disk, MemDisk, OpenHow};
use ulid::Ulid;

use super::*;
use crate::TsdbError;

const DIR: &str = "/data";

fn options() -> BackfillOptions {
    BackfillOptions {
        input: "in.om".into(),
        max_block_ms: 0,
        labels: Labels::from_pairs([("job", "x")]).unwrap(),
        human: false,
        quiet: false,
    }
}

fn import(disk: &MemDisk, text: &str) -> Result<String, TsdbError> {
    let mut n = 0u128;
    let mut out = Vec::new();
    let next = || {
        n += 1;
        Ulid(n << 80 | n)
    };
    backfill(disk, Path::new(DIR), text, &options(), next, &mut out, &Unseen)?;
    Ok(String::from_utf8(out).unwrap())
}

/// Adds up what it is told.
#[derive(Default)]
struct Watched(std::cell::RefCell<Vec<(u64, &'static str, u64)>>, std::cell::Cell<bool>);

impl Progress for Watched {
    fn begin(&self, total: u64, unit: &'static str) {
        self.0.borrow_mut().push((total, unit, 0));
    }

    fn advance(&self, by: u64) {
        self.0.borrow_mut().last_mut().unwrap().2 += by;
    }

    fn end(&self) {
        self.1.set(true);
    }
}

#[test]
fn long_tools_tell_how_far_they_are() {
    let disk = MemDisk::new();
    let stretches = |tool: &dyn Fn(&Watched)| {
        let watched = Watched::default();
        tool(&watched);
        assert!(watched.1.get(), "the end is told");
        watched.0.into_inner()
    };
    let imported = stretches(&|w| {
        let mut n = 0u128;
        let next = || {
            n += 1;
            Ulid(n)
        };
        backfill(&disk, Path::new(DIR), TEXT, &options(), next, &mut Vec::new(), w).unwrap();
    });
    assert_eq!(imported, [(5, "samples", 5)]);
    let blocks = open_blocks(&disk, Path::new(DIR)).unwrap();
    // Both series are in both blocks and are dumped once.
    let dumped = stretches(&|w| {
        dump(&blocks, &DumpOptions::default(), &mut Vec::new(), w).unwrap();
    });
    assert_eq!(dumped, [(4, "series", 2)]);
    let analyzed = stretches(&|w| {
        let options = AnalyzeOptions { limit: 20, extended: false, matchers: None };
        analyze(&blocks[0], &options, &mut Vec::new(), w).unwrap();
    });
    assert_eq!(analyzed, [(2, "series", 2), (3, "label names", 3)]);
}

/// Two series over three hours, out of order in the file.
const TEXT: &str = "# TYPE a gauge\n\
    a{i=\"2\"} 5 10800\n\
    a{i=\"1\"} 1 0\n\
    a{i=\"1\"} 1.5e7 10800.5\n\
    a{i=\"1\"} NaN 60\n\
    a{i=\"2\"} 4 7199.999\n\
    # EOF\n";

#[test]
fn imported_text_is_listed_and_dumped() {
    let disk = MemDisk::new();
    let printed = import(&disk, TEXT).unwrap();
    let rows: Vec<&str> = printed.lines().collect();
    assert_eq!(rows.len(), 3, "{printed}");
    assert!(rows[0].starts_with("BLOCK ULID                  MIN TIME"), "{printed}");
    let words = |row: &str| row.split_whitespace().skip(1).take(6).map(str::to_owned).collect::<Vec<_>>();
    assert_eq!(words(rows[1]), ["0", "7200000", "2h0m0s", "3", "2", "2"]);
    assert_eq!(words(rows[2]), ["10800000", "10800501", "501ms", "2", "2", "2"]);

    let blocks = open_blocks(&disk, Path::new(DIR)).unwrap();
    let mut out = Vec::new();
    assert_eq!(dump(&blocks, &DumpOptions::default(), &mut out, &Unseen).unwrap(), (2, 5));
    let want = "{__name__=\"a\", i=\"1\", job=\"x\"} 1 0\n\
        {__name__=\"a\", i=\"1\", job=\"x\"} NaN 60000\n\
        {__name__=\"a\", i=\"1\", job=\"x\"} 1.5e+07 10800500\n\
        {__name__=\"a\", i=\"2\", job=\"x\"} 4 7199999\n\
        {__name__=\"a\", i=\"2\", job=\"x\"} 5 10800000\n";
    assert_eq!(String::from_utf8(out).unwrap(), want);

    let mut out = Vec::new();
    let one = Matcher::new(MatchOp::Regex, "i", "1|9").unwrap();
    let some = DumpOptions {
        min_ms: 1,
        max_ms: 10_800_500,
        matcher_sets: vec![vec![one]],
        ..DumpOptions::default()
    };
    dump_openmetrics(&blocks, &some, &mut out, &Unseen).unwrap();
    let want = "a{i=\"1\",job=\"x\"} NaN 60.000\na{i=\"1\",job=\"x\"} 1.5e+07 10800.500\n# EOF\n";
    assert_eq!(String::from_utf8(out).unwrap(), want);

    let mut out = Vec::new();
    let json = DumpOptions { format: DumpFormat::SeriesJson, ..DumpOptions::default() };
    dump(&blocks, &json, &mut out, &Unseen).unwrap();
    assert_eq!(
        String::from_utf8(out).unwrap(),
        "{\"__name__\":\"a\",\"i\":\"1\",\"job\":\"x\"}\n{\"__name__\":\"a\",\"i\":\"2\",\"job\":\"x\"}\n"
    );
}

#[test]
fn a_broken_text_writes_nothing_and_names_the_line() {
    let disk = MemDisk::new();
    for (text, want) in [
        ("a 1 1\na 2\n# EOF\n", "cannot write blocks from in.om: line 2: expected timestamp"),
        ("a 1 1\n", "line 2: data does not end with # EOF"),
        ("a 1 1\na 2 1\n# EOF\n", "a{job=\"x\"} has two values at 1000: 1 and 2"),
    ] {
        let e = import(&disk, text).unwrap_err().to_string();
        assert!(e.contains(want), "{e}");
    }
    assert!(disk.list(Path::new(DIR)).unwrap().is_empty());
    assert_eq!(import(&disk, "# EOF\n").unwrap(), "");
}

#[test]
fn verification_names_the_broken_block_and_goes_on() {
    let disk = MemDisk::new();
    import(&disk, TEXT).unwrap();
    let first = disk.list(Path::new(DIR)).unwrap()[0].name.clone();
    let segment = Path::new(DIR).join(&first).join("chunks/000001");
    disk.open(&segment, OpenHow::Write).unwrap().write_all_at(&[0xff], 20).unwrap();
    let mut seen = 0;
    let verified = verify_blocks(&disk, Path::new(DIR), |_| seen += 1).unwrap();
    let mut out = Vec::new();
    assert_eq!((seen, print_findings(&verified, &mut out).unwrap()), (2, 1));
    let text = String::from_utf8(out).unwrap();
    assert!(text.contains(&format!("{first} 1 finding: 2 series")), "{text}");
    assert!(text.contains("chunks/000001"), "{text}");
    assert!(text.contains(" ok: 2 series, 2 chunks, 2 samples"), "{text}");
}

#[test]
fn analysis_counts_series_and_label_pairs() {
    let disk = MemDisk::new();
    import(&disk, TEXT).unwrap();
    let blocks = open_blocks(&disk, Path::new(DIR)).unwrap();
    let mut out = Vec::new();
    analyze(&blocks[0], &AnalyzeOptions { extended: true, ..AnalyzeOptions::default() }, &mut out, &Unseen)
        .unwrap();
    let text = String::from_utf8(out).unwrap();
    for want in [
        "Duration: 2h0m0s\nTotal Series: 2\nLabel names: 3\n",
        "Postings (unique label pairs): 4\nPostings entries (total label pairs): 6\n",
        "\nMost common label pairs:\n2 __name__=a\n2 job=x\n1 i=1\n1 i=2\n",
        "\nHighest cardinality labels:\n2 i\n1 __name__\n1 job\n",
        "samples per float chunk (min/avg/max): 1/1/2\n[ 1, 10]: 2 ####",
        "samples per histogram chunk: N/A\n",
    ] {
        assert!(text.contains(want), "{text}\nlacks\n{want}");
    }
}
