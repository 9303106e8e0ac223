//! End to end with real programs: Prometheus, promtool, Alertmanager, whole processes killed.
