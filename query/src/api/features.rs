//! `/features`: what of the language and of the API is there, for programs that adapt to it.
//!
//! Groups and keys are those of Prometheus 3.14 as far as they mean something here. What is listed comes from the
//! parser's own tables, so it cannot differ from what is accepted.

use std::collections::BTreeMap;

use axum::extract::State;
use cairn_promql::engine::EngineOptions;
use cairn_promql::parser::FUNCTIONS;
use cairn_promql::parser::ast::{AggregateOp, BinaryOp};

use super::Api;
use super::answer::Answer;
use super::error::Failure;
use super::status::json;

type Group = BTreeMap<&'static str, bool>;

/// `/api/v1/features`
pub async fn features(State(api): State<Api>) -> Result<Answer, Failure> {
    json(&groups(api.engine.options()))
}

fn groups(o: &EngineOptions) -> BTreeMap<&'static str, Group> {
    let experimental = o.features.experimental_functions;
    let functions = FUNCTIONS.iter().map(|f| (f.name, !f.experimental || experimental)).collect();
    let mut operators: Group =
        AggregateOp::ALL.iter().map(|a| (a.as_str(), !a.is_experimental() || experimental)).collect();
    operators.extend(BINARY.iter().map(|op| (op.as_str(), true)));
    operators.extend(["=~", "!~", "@"].map(|op| (op, true)));
    BTreeMap::from([
        ("api", api()),
        ("promql", language(o)),
        ("promql_functions", functions),
        ("promql_operators", operators),
    ])
}

/// All binary operators.
const BINARY: [BinaryOp; 18] = [
    BinaryOp::Add,
    BinaryOp::Sub,
    BinaryOp::Mul,
    BinaryOp::Div,
    BinaryOp::Mod,
    BinaryOp::Pow,
    BinaryOp::Atan2,
    BinaryOp::Eql,
    BinaryOp::Neq,
    BinaryOp::Lte,
    BinaryOp::Lss,
    BinaryOp::Gte,
    BinaryOp::Gtr,
    BinaryOp::TrimUpper,
    BinaryOp::TrimLower,
    BinaryOp::And,
    BinaryOp::Or,
    BinaryOp::Unless,
];

fn api() -> Group {
    Group::from([
        ("admin", false),
        ("exclude_alerts", true),
        ("label_values_match", true),
        ("lifecycle", true),
        ("openapi_3.1", false),
        ("openapi_3.2", false),
        ("query_stats", true),
        ("query_warnings", true),
        ("remote_write_receiver", true),
        ("search", false),
        ("time_range_labels", true),
        ("time_range_series", true),
    ])
}

fn language(o: &EngineOptions) -> Group {
    let (extended, fill) = (o.features.extended_range_selectors, o.features.binop_fill_modifiers);
    let mut group: Group = [
        "at_modifier",
        "bool",
        "by",
        "duration_expr",
        "group_left",
        "group_right",
        "ignoring",
        "negative_offset",
        "offset",
        "on",
        "per_query_lookback_delta",
        "subqueries",
        "without",
    ]
    .map(|name| (name, true))
    .into();
    group.extend([
        ("anchored", extended),
        ("smoothed", extended),
        ("fill", fill),
        ("fill_left", fill),
        ("fill_right", fill),
        ("delayed_name_removal", o.delayed_name_removal),
        ("type_and_unit_labels", o.type_and_unit_labels),
        ("per_step_stats", o.per_step_stats),
    ]);
    group
}
