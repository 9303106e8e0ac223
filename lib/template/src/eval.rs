//! Values of pipelines: each command's result is the last argument of the next. Fields, methods and functions are looked
//! up here, and arguments are held against the types Go's functions declare.

use crate::ast::{Command, Expr, ExprKind, Pipe};
use crate::exec::{At, Exec, Result};
use crate::functions::{Failure, Function, Param, Special};
use crate::value::Value;

impl<'t> Exec<'t> {
    /// Runs a pipeline and declares or assigns its variables.
    pub(crate) fn pipe(&mut self, dot: &Value, pipe: &'t Pipe) -> Result<Value> {
        self.at = At::Pipe(pipe);
        let mut value = None;
        for command in &pipe.commands {
            value = Some(self.command(dot, command, value)?);
        }
        let value = value.unwrap_or(Value::Nil);
        for name in &pipe.names {
            match pipe.is_assign {
                true => self.assign(name, value.clone())?,
                false => self.variables.push((name, value.clone())),
            }
        }
        Ok(value)
    }

    /// `last` is the result of the command before, `None` for the first.
    fn command(&mut self, dot: &Value, command: &'t Command, last: Option<Value>) -> Result<Value> {
        let (first, args) = command.args.split_first().expect("the parser refuses empty commands");
        self.spend(1)?;
        if !matches!(first.kind, ExprKind::Pipe(_)) {
            self.at = At::Expr(first);
        }
        match &first.kind {
            ExprKind::Function(function) => {
                self.call_function(dot, function, At::Command(command), args, last)
            }
            ExprKind::Field(fields) => self.fields(dot, dot.clone(), first, fields, args, last),
            ExprKind::Chain(inner, fields) => {
                let receiver = self.chain_receiver(dot, inner)?;
                self.fields(dot, receiver, first, fields, args, last)
            }
            ExprKind::Variable(name, fields) => {
                let receiver = self.variable(name)?;
                if fields.is_empty() {
                    self.no_arguments(first, args, last.is_some())?;
                    return Ok(receiver);
                }
                self.fields(dot, receiver, first, fields, args, last)
            }
            ExprKind::Pipe(pipe) => {
                self.no_arguments(first, args, last.is_some())?;
                self.deeper(|exec| exec.pipe(dot, pipe))
            }
            ExprKind::Dot => {
                self.no_arguments(first, args, last.is_some())?;
                Ok(dot.clone())
            }
            ExprKind::Nil => {
                self.no_arguments(first, args, last.is_some())?;
                self.fail("nil is not a command")
            }
            ExprKind::Constant(value, _) => {
                self.no_arguments(first, args, last.is_some())?;
                Ok(value.clone())
            }
        }
    }

    fn no_arguments(&self, first: &Expr, args: &[Expr], has_last: bool) -> Result<()> {
        match args.is_empty() && !has_last {
            true => Ok(()),
            false => self.fail(format!("can't give argument to non-function {first}")),
        }
    }

    fn variable(&self, name: &str) -> Result<Value> {
        match self.variables[self.frame..].iter().rev().find(|(known, _)| *known == name) {
            Some((_, value)) => Ok(value.clone()),
            None => self.fail(format!("undefined variable: {name}")),
        }
    }

    fn chain_receiver(&mut self, dot: &Value, inner: &'t Expr) -> Result<Value> {
        if matches!(inner.kind, ExprKind::Nil) {
            return self.fail(format!("indirection through explicit nil in {inner}"));
        }
        self.operand(dot, inner)
    }

    /// An operand standing as an argument, whatever its type.
    fn operand(&mut self, dot: &Value, expr: &'t Expr) -> Result<Value> {
        self.spend(1)?;
        self.at = At::Expr(expr);
        match &expr.kind {
            ExprKind::Dot => Ok(dot.clone()),
            ExprKind::Nil => Ok(Value::Nil),
            ExprKind::Constant(value, _) => Ok(value.clone()),
            ExprKind::Field(fields) => self.fields(dot, dot.clone(), expr, fields, &[], None),
            ExprKind::Variable(name, fields) => {
                let receiver = self.variable(name)?;
                self.fields(dot, receiver, expr, fields, &[], None)
            }
            ExprKind::Function(function) => self.call_function(dot, function, At::Expr(expr), &[], None),
            ExprKind::Chain(inner, fields) => {
                let receiver = self.deeper(|exec| exec.chain_receiver(dot, inner))?;
                self.fields(dot, receiver, expr, fields, &[], None)
            }
            ExprKind::Pipe(pipe) => self.deeper(|exec| exec.pipe(dot, pipe)),
        }
    }

    /// An argument for a parameter of a known type.
    fn argument(&mut self, dot: &Value, param: Param, expr: &'t Expr) -> Result<Value> {
        let value = self.operand(dot, expr)?;
        match &expr.kind {
            ExprKind::Nil if !param.takes_nil() => {
                self.fail(format!("cannot assign nil to {}", param.go_type()))
            }
            ExprKind::Constant(..) if !param.accepts(&value) => match param {
                Param::Str => self.fail(format!("expected string; found {expr}")),
                Param::Int => self.fail(format!("expected integer; found {expr}")),
                _ => self.fail(format!("can't handle {expr} for arg of type {}", param.go_type())),
            },
            ExprKind::Field(_) | ExprKind::Chain(..) | ExprKind::Variable(..)
                if matches!(value, Value::Nil) && !param.accepts(&value) =>
            {
                self.fail(format!("wrong type for value; expected {}; got interface {{}}", param.go_type()))
            }
            _ => self.fit(param, value),
        }
    }

    fn fit(&self, param: Param, value: Value) -> Result<Value> {
        match (&value, param.accepts(&value)) {
            (_, true) => Ok(value),
            (Value::Nil, false) => self.fail(format!("invalid value; expected {}", param.go_type())),
            (_, false) => self.fail(format!(
                "wrong type for value; expected {}; got {}",
                param.go_type(),
                value.go_type()
            )),
        }
    }

    fn call_function(
        &mut self,
        dot: &Value,
        function: &'static Function,
        at: At<'t>,
        args: &'t [Expr],
        last: Option<Value>,
    ) -> Result<Value> {
        let given = args.len() + usize::from(last.is_some());
        self.check_arity(function.name, function.params.len(), function.rest.is_some(), given, args.len())?;
        if let Some(Special::And | Special::Or) = function.special {
            return self.shortcut(dot, function, args, last);
        }
        let mut values = Vec::with_capacity(given);
        for (i, expr) in args.iter().enumerate() {
            let value = self.argument(dot, function.param(i), expr)?;
            values.push(value);
        }
        if let Some(value) = last {
            values.push(self.fit(function.param(args.len()), value)?);
        }
        let called = (function.run)(self, &values);
        self.finish_call(function.name, at, called)
    }

    fn check_arity(
        &self,
        name: &str,
        fixed: usize,
        variadic: bool,
        given: usize,
        written: usize,
    ) -> Result<()> {
        if variadic && given < fixed {
            return self
                .fail(format!("wrong number of args for {name}: want at least {fixed} got {written}"));
        }
        if !variadic && given != fixed {
            return self.fail(format!("wrong number of args for {name}: want {fixed} got {given}"));
        }
        Ok(())
    }

    fn finish_call(
        &mut self,
        name: &str,
        at: At<'t>,
        called: std::result::Result<Value, Failure>,
    ) -> Result<Value> {
        match called {
            Ok(value) => {
                if let Value::Str(text) | Value::Html(text) = &value {
                    self.spend_bytes(text.len())?;
                }
                Ok(value)
            }
            Err(Failure::Stop(error)) => Err(*error),
            Err(Failure::Message(message)) => {
                self.at = at;
                self.fail(format!("error calling {name}: {message}"))
            }
        }
    }

    /// `and` stops at the first false argument, `or` at the first true one; later ones are not even looked at.
    fn shortcut(
        &mut self,
        dot: &Value,
        function: &'static Function,
        args: &'t [Expr],
        last: Option<Value>,
    ) -> Result<Value> {
        let stops_at = matches!(function.special, Some(Special::Or));
        let mut value = Value::Nil;
        for expr in args {
            value = self.operand(dot, expr)?;
            if value.is_true() == stops_at {
                return Ok(value);
            }
        }
        Ok(last.unwrap_or(value))
    }

    /// Follows `.A.B.C`; arguments belong to the last name.
    fn fields(
        &mut self,
        dot: &Value,
        mut receiver: Value,
        expr: &'t Expr,
        fields: &'t [String],
        args: &'t [Expr],
        last: Option<Value>,
    ) -> Result<Value> {
        let Some((final_field, path)) = fields.split_last() else { return Ok(receiver) };
        // Go knows what stands behind an interface only by that name.
        let mut go_type = receiver.go_type();
        for field in path {
            let is_interface = matches!(receiver, Value::Args(_)) || field == "Value";
            receiver = self.field(dot, receiver, go_type, expr, field, &[], None)?;
            go_type = if is_interface { "interface {}" } else { receiver.go_type() };
        }
        self.field(dot, receiver, go_type, expr, final_field, args, last)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "a receiver, what to do with it, and where the words for it stand"
    )]
    fn field(
        &mut self,
        dot: &Value,
        receiver: Value,
        go_type: &'static str,
        expr: &'t Expr,
        name: &'t str,
        args: &'t [Expr],
        last: Option<Value>,
    ) -> Result<Value> {
        if let Some(method) = crate::functions::method(&receiver, name) {
            return self.call_method(dot, receiver, method, expr, args, last);
        }
        let has_args = !args.is_empty() || last.is_some();
        let found = match (&receiver, name) {
            (Value::Nil, _) => return Ok(Value::Nil),
            (Value::Labels(labels), name) => {
                self.no_map_arguments(name, has_args)?;
                return Ok(labels.get(name).map_or_else(|| Value::from(""), |v| Value::from(v.as_str())));
            }
            (Value::Args(args), name) => {
                self.no_map_arguments(name, has_args)?;
                return Ok(args.entries.get(name).cloned().unwrap_or(Value::Nil));
            }
            (Value::Sample(sample), "Labels") => Some(Value::Labels(sample.labels.clone())),
            (Value::Sample(sample), "Value") => Some(sample.value.clone()),
            (Value::Root(data), "Labels") => Some(Value::Labels(data.labels.clone())),
            (Value::Root(data), "ExternalLabels") => Some(Value::Labels(data.external_labels.clone())),
            (Value::Root(data), "ExternalURL") => Some(Value::Str(data.external_url.clone())),
            (Value::Root(data), "Value") => Some(data.value.clone()),
            _ => None,
        };
        match found {
            Some(_) if has_args => {
                self.fail(format!("{name} has arguments but cannot be invoked as function"))
            }
            Some(value) => Ok(value),
            None => self.fail(format!("can't evaluate field {name} in type {go_type}")),
        }
    }

    fn no_map_arguments(&self, name: &str, has_args: bool) -> Result<()> {
        match has_args {
            true => self.fail(format!("{name} is not a method but has arguments")),
            false => Ok(()),
        }
    }

    fn call_method(
        &mut self,
        dot: &Value,
        receiver: Value,
        method: &'static Function,
        expr: &'t Expr,
        args: &'t [Expr],
        last: Option<Value>,
    ) -> Result<Value> {
        let given = args.len() + usize::from(last.is_some());
        self.check_arity(method.name, method.params.len(), false, given, args.len())?;
        let mut values = Vec::with_capacity(given + 1);
        values.push(receiver);
        for (i, arg) in args.iter().enumerate() {
            let value = self.argument(dot, method.param(i), arg)?;
            values.push(value);
        }
        if let Some(value) = last {
            values.push(self.fit(method.param(args.len()), value)?);
        }
        let called = (method.run)(self, &values);
        self.finish_call(method.name, At::Expr(expr), called)
    }
}

impl Param {
    /// Whether a value may be passed as it is. A pointer to a time or duration serves where the bare one is wanted.
    fn accepts(self, value: &Value) -> bool {
        match self {
            Param::Any => true,
            Param::Str => matches!(value, Value::Str(_)),
            Param::Int => matches!(value, Value::Int(_)),
            Param::Vector => matches!(value, Value::Vector(_) | Value::Nil),
            Param::Sample => matches!(value, Value::Sample(_) | Value::Nil),
            Param::Time => matches!(value, Value::Time(..)),
            Param::Duration => matches!(value, Value::Duration(..) | Value::Int(_)),
        }
    }

    fn takes_nil(self) -> bool {
        matches!(self, Param::Any | Param::Vector | Param::Sample)
    }
}
