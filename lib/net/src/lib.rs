//! HTTP accept loop, graceful drain, tenant header, error to status, readiness.
