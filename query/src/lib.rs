//! Prometheus HTTP API and the fan-out that makes one Queryable of many stores.
