//! PromQL: parser with positions, planner, columnar engine. Knows no HTTP and no storage but the Queryable trait.
