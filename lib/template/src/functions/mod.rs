//! The functions a template can call: Go's own and Prometheus', each with the types it takes, so that a wrong argument
//! is refused in Go's words before the function runs.
//!
//! [`find`] and [`method`] are the only ways in; the table below is the list of what exists.

mod collection;
mod compare;
mod escape;
mod hostport;
mod humanize;
mod moments;
mod strings;
mod vector;

use crate::error::TemplateError;
use crate::exec::Exec;
use crate::gofmt;
use crate::value::{Indirection, Value};

/// A type that Go's functions declare for a parameter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Param {
    Any,
    Str,
    Int,
    Vector,
    Sample,
    Time,
    Duration,
}

impl Param {
    pub fn go_type(self) -> &'static str {
        match self {
            Param::Any => "interface {}",
            Param::Str => "string",
            Param::Int => "int",
            Param::Vector => "template.queryResult",
            Param::Sample => "*template.sample",
            Param::Time => "time.Time",
            Param::Duration => "time.Duration",
        }
    }
}

/// Functions whose arguments are not all looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Special {
    And,
    Or,
}

/// Why a function failed.
pub(crate) enum Failure {
    /// Its own fault: the expansion fails with this text.
    Message(String),
    /// The expansion must stop for another reason (a bound, a query without an answer).
    Stop(Box<TemplateError>),
}

impl From<String> for Failure {
    fn from(message: String) -> Failure {
        Failure::Message(message)
    }
}

impl From<&str> for Failure {
    fn from(message: &str) -> Failure {
        Failure::Message(message.to_owned())
    }
}

impl From<TemplateError> for Failure {
    fn from(error: TemplateError) -> Failure {
        Failure::Stop(Box::new(error))
    }
}

pub(crate) type Outcome = Result<Value, Failure>;
type Run = fn(&mut Exec<'_>, &[Value]) -> Outcome;

/// One function. `rest` is the type of any number of further arguments.
pub(crate) struct Function {
    pub name: &'static str,
    pub params: &'static [Param],
    pub rest: Option<Param>,
    pub special: Option<Special>,
    pub run: Run,
}

impl std::fmt::Debug for Function {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name)
    }
}

impl Function {
    /// The type of the argument at a place. The caller has checked the count.
    pub fn param(&self, at: usize) -> Param {
        self.params.get(at).copied().or(self.rest).unwrap_or(Param::Any)
    }
}

const fn fixed(name: &'static str, params: &'static [Param], run: Run) -> Function {
    Function { name, params, rest: None, special: None, run }
}

const fn variadic(name: &'static str, params: &'static [Param], run: Run) -> Function {
    Function { name, params, rest: Some(Param::Any), special: None, run }
}

const fn shortcut(name: &'static str, special: Special) -> Function {
    Function {
        name,
        params: &[Param::Any],
        rest: Some(Param::Any),
        special: Some(special),
        run: |_, _| Err(Failure::from("and/or are evaluated by the walker")),
    }
}

use Param::{Any, Sample, Str, Vector};

static FUNCTIONS: &[Function] = &[
    // Go
    shortcut("and", Special::And),
    shortcut("or", Special::Or),
    fixed("not", &[Any], |_, a| Ok(Value::Bool(!a[0].is_true()))),
    variadic("eq", &[Any], |_, a| compare::eq(&a[0], &a[1..])),
    fixed("ne", &[Any, Any], |_, a| compare::ne(&a[0], &a[1])),
    fixed("lt", &[Any, Any], |_, a| compare::lt(&a[0], &a[1])),
    fixed("le", &[Any, Any], |_, a| compare::le(&a[0], &a[1])),
    fixed("gt", &[Any, Any], |_, a| compare::gt(&a[0], &a[1])),
    fixed("ge", &[Any, Any], |_, a| compare::ge(&a[0], &a[1])),
    fixed("len", &[Any], |_, a| collection::len(&a[0])),
    variadic("index", &[Any], |_, a| collection::index(&a[0], &a[1..])),
    variadic("slice", &[Any], |_, a| collection::slice(&a[0], &a[1..])),
    variadic("call", &[Any], |_, a| match &a[0] {
        Value::Nil => Err("call of nil".into()),
        value => Err(format!("non-function of type {}", value.go_type()).into()),
    }),
    variadic("print", &[], |_, a| Ok(gofmt::sprint(a).into())),
    variadic("println", &[], |_, a| Ok(gofmt::sprintln(a).into())),
    variadic("printf", &[Str], printf),
    variadic("html", &[], |_, a| Ok(escape::html(&escape::joined(a)).into())),
    variadic("js", &[], |_, a| Ok(escape::js(&escape::joined(a)).into())),
    variadic("urlquery", &[], |_, a| Ok(escape::query(&escape::joined(a)).into())),
    // Prometheus: queries
    fixed("query", &[Str], vector::query),
    fixed("first", &[Vector], |_, a| vector::first(&a[0])),
    fixed("label", &[Str, Sample], |_, a| vector::label(&a[0], &a[1])),
    fixed("value", &[Sample], |_, a| vector::value(&a[0])),
    fixed("strvalue", &[Sample], |_, a| vector::label(&Value::from("__value__"), &a[0])),
    fixed("sortByLabel", &[Str, Vector], vector::sort_by_label),
    variadic("args", &[], vector::args),
    // Prometheus: text
    fixed("reReplaceAll", &[Str, Str, Str], strings::replace_all),
    fixed("match", &[Str, Str], strings::is_match),
    fixed("title", &[Str], |_, a| strings::map(&a[0], strings::title)),
    fixed("toUpper", &[Str], |_, a| strings::map(&a[0], str::to_uppercase)),
    fixed("toLower", &[Str], |_, a| strings::map(&a[0], str::to_lowercase)),
    fixed("safeHtml", &[Str], |_, a| Ok(Value::Html(strings::text(&a[0])))),
    fixed("graphLink", &[Str], |_, a| {
        strings::map(&a[0], |e| format!("/graph?g0.expr={}&g0.tab=0", escape::query(e)))
    }),
    fixed("tableLink", &[Str], |_, a| strings::map(&a[0], table_link)),
    fixed("urlQueryEscape", &[Str], |_, a| strings::map(&a[0], escape::query)),
    fixed("stripPort", &[Str], |_, a| strings::map(&a[0], hostport::strip_port)),
    fixed("stripDomain", &[Str], |_, a| strings::map(&a[0], hostport::strip_domain)),
    fixed("externalURL", &[], |exec, _| Ok(Value::from(exec.env.external_url))),
    fixed("pathPrefix", &[], |exec, _| Ok(Value::from(hostport::url_path(exec.env.external_url)))),
    // Prometheus: numbers and time
    fixed("humanize", &[Any], |_, a| humanize::humanize(&a[0])),
    fixed("humanize1024", &[Any], |_, a| humanize::humanize1024(&a[0])),
    fixed("humanizeDuration", &[Any], |_, a| humanize::humanize_duration(&a[0])),
    fixed("humanizePercentage", &[Any], |_, a| humanize::humanize_percentage(&a[0])),
    fixed("humanizeTimestamp", &[Any], |_, a| humanize::humanize_timestamp(&a[0])),
    fixed("toTime", &[Any], |_, a| humanize::to_time(&a[0]).map(|t| Value::Time(t, Indirection::Pointer))),
    fixed("toDuration", &[Any], |_, a| {
        humanize::to_duration(&a[0]).map(|d| Value::Duration(d, Indirection::Pointer))
    }),
    fixed("now", &[], |exec, _| Ok(Value::Float(exec.env.now_ms as f64 / 1000.0))),
    fixed("parseDuration", &[Str], |_, a| humanize::parse_duration(&strings::text(&a[0])).map(Value::Float)),
];

/// The function of a name.
pub(crate) fn find(name: &str) -> Option<&'static Function> {
    FUNCTIONS.iter().find(|function| function.name == name)
}

/// The path and query of the page that shows an expression as a table: what `generatorURL` ends with.
pub fn table_link(expr: &str) -> String {
    format!("/graph?g0.expr={}&g0.tab=1", escape::query(expr))
}

/// The names of all functions, as the features endpoint lists them.
pub fn names() -> impl Iterator<Item = &'static str> {
    FUNCTIONS.iter().map(|function| function.name)
}

/// The method of a name on a value. Its run takes the receiver first.
pub(crate) fn method(receiver: &Value, name: &str) -> Option<&'static Function> {
    let table = match receiver {
        Value::Time(..) => moments::TIME_METHODS,
        Value::Duration(..) => moments::DURATION_METHODS,
        Value::Named { .. } => moments::NAMED_METHODS,
        Value::Histogram(_) => moments::HISTOGRAM_METHODS,
        _ => return None,
    };
    table.iter().find(|method| method.name == name)
}

fn printf(exec: &mut Exec<'_>, args: &[Value]) -> Outcome {
    let format = strings::text(&args[0]);
    exec.spend_bytes(args.iter().map(Value::printed_bytes).sum())?;
    match gofmt::sprintf(&format, &args[1..]) {
        Some(text) => Ok(text.into()),
        None => Ok(exec.spend_bytes(usize::MAX).map(|()| Value::Nil)?),
    }
}
