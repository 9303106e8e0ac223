//! Lays an expression out over lines, as `format_query` and `promtool promql format` do.
//!
//! What fits [`MAX_LINE_BYTES`] stays on one line; what does not is split at its own parentheses or operator, its
//! parts indented by two spaces a level. Whether a part fits is found by printing it until the limit, so that the
//! work is linear in the text times the limit.

use std::fmt::{self, Display, Write};

use super::ast::Expr;
use super::print::{AggregateHead, BinaryHead, SubquerySuffix, close_offset, is_infinite_base, open_offset};

/// Longest line that is not split.
const MAX_LINE_BYTES: usize = 100;

const INDENT: &str = "  ";

/// `expr` over as many lines as it needs; no newline at the end.
pub fn prettify(expr: &Expr) -> String {
    let mut out = String::new();
    write_expr(&mut out, expr, 0);
    out
}

fn write_expr(out: &mut String, expr: &Expr, level: usize) {
    if fits(expr) && !matches!(expr, Expr::Unary(_)) {
        // Prometheus leaves a short subquery without indentation.
        let level = if matches!(expr, Expr::Subquery(_)) { 0 } else { level };
        indent(out, level);
        return append(out, expr);
    }
    match expr {
        Expr::Number(_) | Expr::String(_) | Expr::Vector(_) | Expr::Matrix(_) => {
            indent(out, level);
            append(out, expr);
        }
        Expr::Subquery(e) => {
            write_expr(out, &e.expr, level);
            append(out, &SubquerySuffix(e));
        }
        Expr::Call(e) => {
            indent(out, level);
            out.push_str(e.func.name);
            write_block(out, &mut e.args.iter(), level);
        }
        Expr::Aggregate(e) => {
            indent(out, level);
            append(out, &AggregateHead(e));
            write_block(out, &mut e.param.iter().chain([&e.expr]), level);
        }
        Expr::Binary(e) => {
            if is_infinite_base(&e.lhs, e.op) {
                indent(out, level + 1);
                out.push_str("Inf");
            } else {
                write_expr(out, &e.lhs, level + 1);
            }
            if let Some(offset) = open_offset(&e.lhs, e.op) {
                close_offset(out, offset);
            }
            out.push('\n');
            indent(out, level);
            append(out, &BinaryHead(e));
            out.push('\n');
            write_expr(out, &e.rhs, level + 1);
        }
        Expr::Unary(e) => {
            indent(out, level);
            out.push_str(e.op.as_str());
            let mut operand = String::new();
            write_expr(&mut operand, &e.expr, level);
            out.push_str(operand.trim());
        }
        Expr::Paren(e) => {
            indent(out, level);
            write_block(out, &mut std::iter::once(&e.expr), level);
        }
    }
}

/// Parenthesised parts, one a line.
fn write_block(out: &mut String, parts: &mut dyn Iterator<Item = &Expr>, level: usize) {
    out.push_str("(\n");
    for (i, part) in parts.enumerate() {
        if i > 0 {
            out.push_str(",\n");
        }
        write_expr(out, part, level + 1);
    }
    out.push('\n');
    indent(out, level);
    out.push(')');
}

fn indent(out: &mut String, level: usize) {
    for _ in 0..level {
        out.push_str(INDENT);
    }
}

fn append(out: &mut String, part: &impl Display) {
    write!(out, "{part}").expect("writing to a String does not fail");
}

fn fits(expr: &Expr) -> bool {
    write!(LineBudget(MAX_LINE_BYTES), "{expr}").is_ok()
}

/// Fails once more than a line is written.
struct LineBudget(usize);

impl Write for LineBudget {
    fn write_str(&mut self, s: &str) -> fmt::Result {
        self.0 = self.0.checked_sub(s.len()).ok_or(fmt::Error)?;
        Ok(())
    }
}
