//! Walks a tree and writes the result: text, branches, loops, calls of definitions, variables and their scopes.
//!
//! The walker remembers the part it looks at (`at`), so that an error names it the way Go does. Work, depth and output
//! are counted here and nowhere else; every path that makes bytes calls [`Exec::spend_bytes`].

use std::fmt::Display;

use crate::ast::{Branch, Command, Expr, List, Node, Pipe};
use crate::env::Env;
use crate::error::TemplateError;
use crate::gofmt;
use crate::limits::{MAX_EXEC_DEPTH, MAX_OUTPUT_BYTES, MAX_WORK};
use crate::parse::Trees;
use crate::regexes::RegexCache;
use crate::value::Value;

pub(crate) type Result<T> = std::result::Result<T, TemplateError>;

/// What comes after a node: the next one, or a jump out of it.
enum Flow {
    Next,
    Break,
    Continue,
}

/// The part being looked at, for messages.
#[derive(Clone, Copy)]
pub(crate) enum At<'t> {
    Nothing,
    Node(&'t Node),
    Pipe(&'t Pipe),
    Command(&'t Command),
    Expr(&'t Expr),
}

/// One expansion in progress.
pub(crate) struct Exec<'t> {
    name: &'t str,
    text: &'t str,
    trees: &'t Trees,
    pub(crate) env: &'t Env<'t>,
    pub(crate) regexes: &'t RegexCache,
    pub(crate) at: At<'t>,
    within: &'t str,
    pub(crate) variables: Vec<(&'t str, Value)>,
    /// Where the variables of the running definition begin: it does not see its caller's.
    pub(crate) frame: usize,
    depth: usize,
    work: u64,
    pub(crate) queries: usize,
    out: String,
}

impl<'t> Exec<'t> {
    pub fn new(
        name: &'t str,
        text: &'t str,
        trees: &'t Trees,
        env: &'t Env<'t>,
        regexes: &'t RegexCache,
    ) -> Exec<'t> {
        Exec {
            name,
            text,
            trees,
            env,
            regexes,
            at: At::Nothing,
            within: name,
            variables: Vec::new(),
            frame: 0,
            depth: 0,
            work: 0,
            queries: 0,
            out: String::new(),
        }
    }

    /// Runs the text under the template's own name.
    pub fn run(mut self, data: Value) -> Result<String> {
        let trees = self.trees;
        if let Some(root) = trees.get(self.name) {
            self.variables.push(("$", data.clone()));
            self.list(&data, root)?;
        }
        Ok(self.out)
    }

    // -- errors and bounds

    pub fn fail<T>(&self, message: impl Into<String>) -> Result<T> {
        let (pos, shown) = match self.at {
            At::Nothing => (0, String::new()),
            At::Node(node) => (node.pos(), node.to_string()),
            At::Pipe(pipe) => (pipe.pos, pipe.to_string()),
            At::Command(command) => (command.pos, command.to_string()),
            At::Expr(expr) => (expr.pos, expr.to_string()),
        };
        let before = &self.text[..pos];
        Err(TemplateError::Exec {
            name: self.name.to_owned(),
            within: self.within.to_owned(),
            line: 1 + before.matches('\n').count(),
            column: before.rfind('\n').map_or(pos, |newline| pos - newline - 1),
            at: shown,
            message: message.into(),
        })
    }

    pub fn limit<T>(&self, limit: impl Display) -> Result<T> {
        Err(TemplateError::Limit { name: self.name.to_owned(), limit: limit.to_string() })
    }

    pub fn needs_query<T>(&self, expr: &str) -> Result<T> {
        Err(TemplateError::NeedsQuery { name: self.name.to_owned(), expr: expr.to_owned() })
    }

    pub fn spend(&mut self, units: u64) -> Result<()> {
        self.work = self.work.saturating_add(units);
        match self.work > MAX_WORK {
            true => self.limit(format_args!("{MAX_WORK} steps")),
            false => Ok(()),
        }
    }

    /// Counts bytes just made, and refuses a value longer than any result may be.
    pub fn spend_bytes(&mut self, bytes: usize) -> Result<()> {
        if bytes > MAX_OUTPUT_BYTES {
            return self.limit(format_args!("{MAX_OUTPUT_BYTES} bytes of text"));
        }
        self.spend(1 + bytes as u64 / 16)
    }

    fn write(&mut self, text: &str) -> Result<()> {
        if self.out.len() + text.len() > MAX_OUTPUT_BYTES {
            return self.limit(format_args!("{MAX_OUTPUT_BYTES} bytes of text"));
        }
        self.spend_bytes(text.len())?;
        self.out.push_str(text);
        Ok(())
    }

    /// Goes one level deeper into the tree or into a definition.
    pub fn deeper<T>(&mut self, step: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        if self.depth >= MAX_EXEC_DEPTH {
            return self.limit(format_args!("{MAX_EXEC_DEPTH} levels of nesting"));
        }
        self.depth += 1;
        let result = step(self);
        self.depth -= 1;
        result
    }

    // -- walking

    fn list(&mut self, dot: &Value, list: &'t List) -> Result<Flow> {
        for node in &list.nodes {
            match self.node(dot, node)? {
                Flow::Next => {}
                jump => return Ok(jump),
            }
        }
        Ok(Flow::Next)
    }

    fn node(&mut self, dot: &Value, node: &'t Node) -> Result<Flow> {
        self.at = At::Node(node);
        self.spend(1)?;
        match node {
            Node::Text { text, .. } => self.write(text)?,
            Node::Action { pipe, .. } => {
                let value = self.pipe(dot, pipe)?;
                if pipe.names.is_empty() {
                    self.at = At::Node(node);
                    let text = gofmt::print_value(&value);
                    self.write(&text)?;
                }
            }
            Node::If { branch, .. } => return self.deeper(|exec| exec.branch(dot, branch, false)),
            Node::With { branch, .. } => return self.deeper(|exec| exec.branch(dot, branch, true)),
            Node::Range { branch, .. } => {
                self.deeper(|exec| exec.range(dot, branch))?;
            }
            Node::Template { name, pipe, .. } => self.deeper(|exec| exec.call(dot, name, pipe.as_ref()))?,
            Node::Break { .. } => return Ok(Flow::Break),
            Node::Continue { .. } => return Ok(Flow::Continue),
        }
        Ok(Flow::Next)
    }

    /// `if`, and `with`, which also moves the dot.
    fn branch(&mut self, dot: &Value, branch: &'t Branch, moves_dot: bool) -> Result<Flow> {
        let mark = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let flow = match (value.is_true(), &branch.otherwise) {
            (true, _) => self.list(if moves_dot { &value } else { dot }, &branch.list)?,
            (false, Some(list)) => self.list(dot, list)?,
            (false, None) => Flow::Next,
        };
        self.variables.truncate(mark);
        Ok(flow)
    }

    fn range(&mut self, dot: &Value, branch: &'t Branch) -> Result<()> {
        let mark = self.variables.len();
        let value = self.pipe(dot, &branch.pipe)?;
        let names = &branch.pipe.names;
        let any = match &value {
            Value::Int(n) if names.len() > 1 => {
                return self.fail(format!("can't use {n} to iterate over more than one variable"));
            }
            Value::Int(n) => self.each(branch, (0..*n).map(|i| (Value::Nil, Value::Int(i))))?,
            Value::Byte(n) if names.len() <= 1 => {
                self.each(branch, (0..*n).map(|i| (Value::Nil, Value::Byte(i))))?
            }
            Value::Labels(labels) => self.each(
                branch,
                labels.iter().map(|(k, v)| (Value::from(k.as_str()), Value::from(v.as_str()))),
            )?,
            Value::Args(args) => {
                self.each(branch, args.entries.iter().map(|(k, v)| (Value::from(k.as_str()), v.clone())))?
            }
            Value::Vector(vector) => {
                let samples = vector.iter().enumerate();
                self.each(branch, samples.map(|(i, s)| (Value::Int(i as i64), Value::Sample(s.clone()))))?
            }
            Value::Nil => false,
            other => {
                let shown = gofmt::sprint(std::slice::from_ref(other));
                return self.fail(format!("range can't iterate over {shown}"));
            }
        };
        if let (false, Some(list)) = (any, &branch.otherwise) {
            // A jump out of `else` belongs to no loop but this one, and ends it all the same.
            self.list(dot, list)?;
        }
        self.variables.truncate(mark);
        Ok(())
    }

    /// Runs the body once for each pair of key and element; false when there was none.
    fn each(&mut self, branch: &'t Branch, pairs: impl Iterator<Item = (Value, Value)>) -> Result<bool> {
        let names = &branch.pipe.names;
        let mark = self.variables.len();
        let mut any = false;
        for (key, element) in pairs {
            any = true;
            self.spend(1)?;
            match (names.as_slice(), branch.pipe.is_assign) {
                ([name], true) => self.assign(name, element.clone())?,
                ([key_name, name], true) => {
                    self.assign(key_name, key)?;
                    self.assign(name, element.clone())?;
                }
                ([_], false) => self.variables[mark - 1].1 = element.clone(),
                ([_, _], false) => {
                    self.variables[mark - 1].1 = element.clone();
                    self.variables[mark - 2].1 = key;
                }
                _ => {}
            }
            let flow = self.list(&element, &branch.list)?;
            self.variables.truncate(mark);
            if matches!(flow, Flow::Break) {
                break;
            }
        }
        Ok(any)
    }

    fn call(&mut self, dot: &Value, name: &'t str, pipe: Option<&'t Pipe>) -> Result<()> {
        let trees = self.trees;
        let Some(list) = trees.get(name) else {
            return self.fail(format!("template {} not defined", gofmt::quote(name)));
        };
        let data = match pipe {
            Some(pipe) => self.pipe(dot, pipe)?,
            None => Value::Nil,
        };
        let (frame, within) = (self.frame, self.within);
        let mark = self.variables.len();
        self.frame = mark;
        self.within = name;
        self.variables.push(("$", data.clone()));
        self.list(&data, list)?;
        self.variables.truncate(mark);
        (self.frame, self.within) = (frame, within);
        Ok(())
    }

    pub fn assign(&mut self, name: &str, value: Value) -> Result<()> {
        match self.variables[self.frame..].iter_mut().rev().find(|(known, _)| *known == name) {
            Some((_, slot)) => {
                *slot = value;
                Ok(())
            }
            None => self.fail(format!("undefined variable: {name}")),
        }
    }
}
