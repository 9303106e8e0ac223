//! Every bound of the engine. A rule file is written by a tenant; none of its templates may hang or fill the ruler.
//!
//! All values are judgement: each is far above what any published rule set needs and far below what hurts.

/// Longest template text, in bytes.
pub const MAX_TEXT_BYTES: usize = 1 << 20;
/// Longest result of one expansion, and longest single value made on the way, in bytes.
pub const MAX_OUTPUT_BYTES: usize = 1 << 20;
/// Work one expansion may do: a unit a node visited, a unit per 16 bytes made.
pub const MAX_WORK: u64 = 2_000_000;
/// Nesting of actions and parentheses in the text.
pub const MAX_PARSE_DEPTH: usize = 100;
/// Nesting at run time, over all `{{template}}` calls together. One level costs a few hundred bytes of stack.
pub const MAX_EXEC_DEPTH: usize = 400;
/// Queries one expansion may ask.
pub const MAX_QUERIES: usize = 100;
/// Largest width, precision or argument index in a format (Go's own bound).
pub const MAX_FORMAT_NUMBER: i64 = 1_000_000;
/// Largest compiled form of one regular expression, in bytes.
pub const MAX_REGEX_BYTES: usize = 1 << 20;
/// Compiled regular expressions a template remembers between expansions.
pub const MAX_CACHED_REGEXES: usize = 16;
/// Maps from `args` within one another.
pub const MAX_ARGS_DEPTH: usize = 16;
