//! The table of PromQL's functions: names, argument types, result types and gates.
//!
//! Invariant: the table is sorted by name, so that [`function`] is a binary search.
//! Source: the function table of Prometheus 3.14 (90 entries).

use super::value_type::ValueType;
use ValueType::{Matrix, Scalar, String, Vector};

/// What the parser knows of a function.
#[derive(Debug, PartialEq, Eq)]
pub struct Function {
    /// As written in PromQL; names are case-sensitive.
    pub name: &'static str,
    /// Types of the arguments; the last one repeats when the function is variadic.
    pub arg_types: &'static [ValueType],
    /// See [`Variadic`].
    pub variadic: Variadic,
    /// Type of the result.
    pub return_type: ValueType,
    /// Whether it needs [`crate::parser::Features::experimental_functions`].
    pub experimental: bool,
}

/// How many arguments a function takes beyond its listed types.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Variadic {
    /// Exactly the listed ones.
    No,
    /// All listed but the last are needed; with the optional ones there are at most this many more than needed.
    UpTo(usize),
    /// All listed but the last are needed; any number more may follow.
    Unbounded,
}

impl Function {
    /// Type that argument `i` must have; `None` beyond the arguments that are checked.
    pub fn arg_type(&self, i: usize) -> Option<ValueType> {
        match self.arg_types.get(i) {
            None if self.variadic == Variadic::No => None,
            None => self.arg_types.last().copied(),
            found => found.copied(),
        }
    }
}

/// The function called `name`.
pub fn function(name: &str) -> Option<&'static Function> {
    FUNCTIONS.binary_search_by(|f| f.name.cmp(name)).ok().map(|i| &FUNCTIONS[i])
}

const fn plain(name: &'static str, arg_types: &'static [ValueType], return_type: ValueType) -> Function {
    Function { name, arg_types, variadic: Variadic::No, return_type, experimental: false }
}

const fn variadic(
    name: &'static str,
    arg_types: &'static [ValueType],
    variadic: Variadic,
    return_type: ValueType,
) -> Function {
    Function { name, arg_types, variadic, return_type, experimental: false }
}

const fn experimental(f: Function) -> Function {
    Function { experimental: true, ..f }
}

/// `f(vector) vector`
const fn of_vector(name: &'static str) -> Function {
    plain(name, &[Vector], Vector)
}

/// `f(matrix) vector`
const fn of_matrix(name: &'static str) -> Function {
    plain(name, &[Matrix], Vector)
}

/// `f(vector?) vector`, for the parts of a date.
const fn of_time(name: &'static str) -> Function {
    variadic(name, &[Vector], Variadic::UpTo(1), Vector)
}

/// `f() scalar`
const fn of_nothing(name: &'static str) -> Function {
    plain(name, &[], Scalar)
}

/// All functions, sorted by name.
pub static FUNCTIONS: [Function; 90] = [
    of_vector("abs"),
    of_vector("absent"),
    of_matrix("absent_over_time"),
    of_vector("acos"),
    of_vector("acosh"),
    of_vector("asin"),
    of_vector("asinh"),
    of_vector("atan"),
    of_vector("atanh"),
    of_matrix("avg_over_time"),
    of_vector("ceil"),
    of_matrix("changes"),
    plain("clamp", &[Vector, Scalar, Scalar], Vector),
    plain("clamp_max", &[Vector, Scalar], Vector),
    plain("clamp_min", &[Vector, Scalar], Vector),
    of_vector("cos"),
    of_vector("cosh"),
    of_matrix("count_over_time"),
    of_time("day_of_month"),
    of_time("day_of_week"),
    of_time("day_of_year"),
    of_time("days_in_month"),
    of_vector("deg"),
    of_matrix("delta"),
    of_matrix("deriv"),
    experimental(plain("double_exponential_smoothing", &[Matrix, Scalar, Scalar], Vector)),
    experimental(of_nothing("end")),
    of_vector("exp"),
    of_matrix("first_over_time"),
    of_vector("floor"),
    of_vector("histogram_avg"),
    of_vector("histogram_count"),
    plain("histogram_fraction", &[Scalar, Scalar, Vector], Vector),
    plain("histogram_quantile", &[Scalar, Vector], Vector),
    experimental(variadic(
        "histogram_quantiles",
        &[Vector, String, Scalar, Scalar],
        Variadic::UpTo(9),
        Vector,
    )),
    of_vector("histogram_stddev"),
    of_vector("histogram_stdvar"),
    of_vector("histogram_sum"),
    of_time("hour"),
    of_matrix("idelta"),
    of_matrix("increase"),
    experimental(variadic("info", &[Vector, Vector], Variadic::UpTo(1), Vector)),
    of_matrix("irate"),
    variadic("label_join", &[Vector, String, String, String], Variadic::Unbounded, Vector),
    plain("label_replace", &[Vector, String, String, String, String], Vector),
    of_matrix("last_over_time"),
    of_vector("ln"),
    of_vector("log10"),
    of_vector("log2"),
    experimental(of_matrix("mad_over_time")),
    experimental(plain("max_of", &[Scalar, Scalar], Scalar)),
    of_matrix("max_over_time"),
    experimental(plain("min_of", &[Scalar, Scalar], Scalar)),
    of_matrix("min_over_time"),
    of_time("minute"),
    of_time("month"),
    of_nothing("pi"),
    plain("predict_linear", &[Matrix, Scalar], Vector),
    of_matrix("present_over_time"),
    plain("quantile_over_time", &[Scalar, Matrix], Vector),
    of_vector("rad"),
    experimental(of_nothing("range")),
    of_matrix("rate"),
    of_matrix("resets"),
    variadic("round", &[Vector, Scalar], Variadic::UpTo(1), Vector),
    plain("scalar", &[Vector], Scalar),
    of_vector("sgn"),
    of_vector("sin"),
    of_vector("sinh"),
    of_vector("sort"),
    experimental(variadic("sort_by_label", &[Vector, String], Variadic::Unbounded, Vector)),
    experimental(variadic("sort_by_label_desc", &[Vector, String], Variadic::Unbounded, Vector)),
    of_vector("sort_desc"),
    of_vector("sqrt"),
    experimental(of_nothing("start")),
    experimental(of_vector("start_timestamp")),
    of_matrix("stddev_over_time"),
    of_matrix("stdvar_over_time"),
    experimental(of_nothing("step")),
    of_matrix("sum_over_time"),
    of_vector("tan"),
    of_vector("tanh"),
    of_nothing("time"),
    of_vector("timestamp"),
    experimental(of_matrix("ts_of_first_over_time")),
    experimental(of_matrix("ts_of_last_over_time")),
    experimental(of_matrix("ts_of_max_over_time")),
    experimental(of_matrix("ts_of_min_over_time")),
    plain("vector", &[Scalar], Vector),
    of_time("year"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_sorted_and_every_name_is_found() {
        assert!(FUNCTIONS.windows(2).all(|w| w[0].name < w[1].name));
        for f in &FUNCTIONS {
            assert_eq!(function(f.name), Some(f));
        }
        assert_eq!(function("RATE"), None);
        assert_eq!(function("xrate"), None);
    }

    #[test]
    fn optional_arguments_take_the_last_type() {
        let join = function("label_join").unwrap();
        assert_eq!(join.arg_type(9), Some(String));
        assert_eq!(function("abs").unwrap().arg_type(1), None);
    }
}
