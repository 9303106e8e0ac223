//! Random expressions: what follows the grammar and nearly always the types, and the same with damage.

use cairn_promql::parser::ast::AggregateOp;
use cairn_promql::parser::{FUNCTIONS, Function, ValueType, functions::Variadic};

/// How deep expressions nest.
const DEPTH: u32 = 4;

/// Makes expressions from a seed.
pub struct Random(u64);

impl Random {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Random(seed)
    }

    /// An expression of any type.
    pub fn expression(&mut self) -> String {
        let kind = self.pick(&[ValueType::Vector, ValueType::Vector, ValueType::Scalar, ValueType::Matrix]);
        self.of_type(kind, DEPTH)
    }

    /// An expression of which one to three words are left out, doubled, swapped or replaced.
    pub fn damaged_expression(&mut self) -> String {
        let text = self.expression();
        let mut words = words(&text);
        for _ in 0..=self.below(3) {
            let (i, j) = (self.below(words.len()), self.below(words.len()));
            match self.below(4) {
                0 => words[i].clear(),
                1 => words[i] = words[i].repeat(2),
                2 => words.swap(i, j),
                _ => words[i] = words[j].clone(),
            }
        }
        words.concat()
    }

    fn of_type(&mut self, kind: ValueType, depth: u32) -> String {
        match kind {
            ValueType::Scalar => self.scalar(depth),
            ValueType::Matrix => self.matrix(depth),
            ValueType::String => self.string(),
            _ => self.vector(depth),
        }
    }

    fn vector(&mut self, depth: u32) -> String {
        if depth == 0 {
            return self.selector() + &self.shift();
        }
        let (left, right) = (depth - 1, self.below(depth as usize) as u32);
        match self.below(9) {
            0 => format!("({})", self.vector(left)),
            1 => format!("{}{}", self.pick(&["-", "+", "- "]), self.vector(left)),
            2 | 3 => self.call(ValueType::Vector, left),
            4 | 5 => self.aggregation(left),
            6 => {
                let op =
                    self.pick(&["+", "-", "*", "/", "%", "^", "atan2", "==", "!=", "<=", "<", ">=", ">"]);
                let is_bool = if "==!=<=>=".contains(op) { self.pick(&["", " bool"]) } else { "" };
                let matching = self.matching();
                format!("{} {op}{is_bool}{matching} {}", self.vector(left), self.vector(right))
            }
            7 => {
                let (op, on) = (self.pick(&["and", "or", "unless"]), self.on());
                format!("{} {op}{on} {}", self.vector(left), self.vector(right))
            }
            _ => {
                let op = self.pick(&["+", "-", "*", "/", "%", "^", "==", ">", "<= bool"]);
                let (vector, scalar) = (self.vector(left), self.scalar(right));
                if self.below(2) == 0 {
                    format!("{vector}{op}{scalar}")
                } else {
                    format!("{scalar} {op} {vector}")
                }
            }
        }
    }

    fn scalar(&mut self, depth: u32) -> String {
        const NUMBERS: &[&str] = &[
            "0", "1", "2.5", ".5", "5.", "1e3", "1E-7", "0x1F", "0X0a", "017", "Inf", "inf", "NaN", "nan",
            "5m", "1h30m", "100ms", "1d", "2w", "1y",
        ];
        match self.below(if depth == 0 { 2 } else { 6 }) {
            0 | 1 => self.pick(NUMBERS).to_owned(),
            2 => format!("({})", self.scalar(depth - 1)),
            3 => format!("{}{}", self.pick(&["-", "+"]), self.scalar(depth - 1)),
            4 => self.call(ValueType::Scalar, depth - 1),
            _ => {
                let op = self.pick(&["+", "-", "*", "/", "%", "^", "atan2", "== bool", "> bool"]);
                format!("{} {op} {}", self.scalar(depth - 1), self.scalar(0))
            }
        }
    }

    fn matrix(&mut self, depth: u32) -> String {
        let range = self.duration();
        if depth == 0 || self.below(3) > 0 {
            return format!("{}[{range}]{}", self.selector(), self.shift());
        }
        let step = if self.below(2) == 0 { self.duration() } else { "" };
        format!("({})[{range}:{step}]{}", self.vector(depth - 1), self.shift())
    }

    fn call(&mut self, of: ValueType, depth: u32) -> String {
        let fitting: Vec<&Function> = FUNCTIONS.iter().filter(|f| f.return_type == of).collect();
        let function = self.pick(&fitting);
        let listed = function.arg_types.len();
        let count = match function.variadic {
            Variadic::No => listed,
            Variadic::UpTo(_) | Variadic::Unbounded => listed.saturating_sub(1) + self.below(2),
        };
        let kinds: Vec<ValueType> = (0..count).filter_map(|i| function.arg_type(i)).collect();
        let args: Vec<String> = kinds.into_iter().map(|kind| self.of_type(kind, depth)).collect();
        format!("{}({})", function.name, args.join(", "))
    }

    fn aggregation(&mut self, depth: u32) -> String {
        let op = self.pick(&AggregateOp::ALL);
        let param = op.param_type().map_or_else(String::new, |kind| self.of_type(kind, 1) + ", ");
        let labels = self.labels();
        let grouping = match self.below(3) {
            0 => String::new(),
            1 => format!(" by {labels} "),
            _ => format!(" without {labels}"),
        };
        let of = self.vector(depth);
        if self.below(2) == 0 {
            format!("{op}{grouping}({param}{of})")
        } else {
            format!("{op}({param}{of}){grouping}")
        }
    }

    fn selector(&mut self) -> String {
        const NAMES: &[&str] = &["up", "http_requests_total", "a:b", "sum", "offset", "by", "_x9", ""];
        let name = self.pick(NAMES);
        let mut matchers = Vec::new();
        for _ in 0..self.below(3) + usize::from(name.is_empty()) {
            let label = self.pick(&["job", "le", "\"a.b\"", "on", "group_left", "__x"]);
            let op = self.pick(&["=", "!=", "=~", "!~"]);
            matchers.push(format!("{label}{op}{}", self.string()));
        }
        if name.is_empty() && self.below(2) == 0 {
            matchers.push("\"my.metric\"".to_owned());
        }
        let comma = if matchers.is_empty() { "" } else { self.pick(&["", ","]) };
        match matchers.is_empty() && self.below(2) == 0 {
            true => name.to_owned(),
            false => format!("{name}{{{}{comma}}}", matchers.join(", ")),
        }
    }

    fn shift(&mut self) -> String {
        let offset = format!(" offset {}{}", self.pick(&["", "-", "+"]), self.duration());
        let at = format!(" @ {}", self.pick(&["1.5", "-3", "1700000000.123", "start()", "end()", "0x10"]));
        match self.below(6) {
            0 => offset,
            1 => at,
            2 => offset + &at,
            3 => at + &offset,
            _ => String::new(),
        }
    }

    fn matching(&mut self) -> String {
        let group = match self.below(4) {
            0 => format!(" group_left{}", self.pick(&["", "()", " (x)", "(x, y)"])),
            1 => format!(" group_right{}", self.pick(&["", "()", " (x)", "(\"x.y\")"])),
            _ => String::new(),
        };
        let on = self.on();
        let fill = self.pick(&["", "", " fill(0)", " fill_left(-1.5)", " fill_right(+1) fill_left(Inf)"]);
        format!("{on}{}{fill}", if on.is_empty() { "" } else { &group })
    }

    fn on(&mut self) -> String {
        let labels = self.labels();
        match self.below(3) {
            0 => String::new(),
            1 => format!(" on {labels}"),
            _ => format!(" ignoring{labels}"),
        }
    }

    fn labels(&mut self) -> &'static str {
        self.pick(&["()", "(job)", "(job, le)", "(a,)", "(\"b.c\")", "(by, sum, start)"])
    }

    fn duration(&mut self) -> &'static str {
        self.pick(&["5m", "1h30m", "30s", "100ms", "1d", "300", "1.5", "0x10", "1w2d", "1y"])
    }

    fn string(&mut self) -> String {
        const TEXTS: &[&str] =
            &["\"x\"", "'y z'", "`a\\b`", "\"\"", "\"a|b.*\"", "\"\\n\\x41\\u00e9\\\"\"", "'é'"];
        self.pick(TEXTS).to_owned()
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A number below `bound`, by splitmix64.
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % bound as u64) as usize
    }
}

/// Cuts a text into words, spaces and single signs.
fn words(text: &str) -> Vec<String> {
    let mut words: Vec<String> = Vec::new();
    let is_word = |c: char| c.is_alphanumeric() || c == '_' || c == '.';
    for c in text.chars() {
        match words.last_mut() {
            Some(word) if is_word(c) && word.ends_with(is_word) => word.push(c),
            _ => words.push(c.to_string()),
        }
    }
    words
}
