//! `/`: the list of paths this server answers beside resources.
//!
//! Built when asked: the groups change with custom resources, and only people ask.

use http::StatusCode;

use super::health::{Health, HealthEndpoint};
use crate::base::tree::json;
use crate::registry::table::ResourceTable;
use crate::request::ApiResponse;

/// Paths that are always there.
const FIXED: &[&str] = &[
    "/.well-known/openid-configuration",
    "/api",
    "/apis",
    "/apis/",
    "/flagz",
    "/metrics",
    "/metrics/slis",
    "/openapi/v2",
    "/openapi/v3",
    "/openapi/v3/",
    "/openid/v1/jwks",
    "/statusz",
    "/version",
];

/// The answer to `/` and `/index.html`.
pub(super) fn index(health: &Health, table: &ResourceTable) -> ApiResponse {
    let body = serde_json::to_vec_pretty(&json!({"paths": paths(health, table)}));
    ApiResponse::new(StatusCode::OK, "application/json", body.unwrap_or_default())
}

fn paths(health: &Health, table: &ResourceTable) -> Vec<String> {
    let mut paths: Vec<String> = FIXED.iter().map(|path| path.to_string()).collect();
    for group in table.groups() {
        let base = if group.name.is_empty() {
            "/api".to_string()
        } else {
            let base = format!("/apis/{}", group.name);
            paths.push(base.clone());
            base
        };
        paths.extend(group.versions.iter().map(|v| format!("{base}/{}", v.name)));
    }
    for endpoint in [
        HealthEndpoint::Healthz,
        HealthEndpoint::Livez,
        HealthEndpoint::Readyz,
    ] {
        let root = format!("/{}", endpoint.name());
        let checks = health.names(endpoint);
        paths.extend(checks.iter().map(|check| format!("{root}/{check}")));
        paths.push(root);
    }
    paths.sort();
    paths.dedup();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::table::RuntimeConfig;
    use crate::server::health::Asked;
    use crate::telemetry::Metrics;

    #[test]
    fn lists_checks_and_groups() {
        let health = Health::new(std::time::Duration::ZERO, Metrics::new(&[]));
        health.add_done("ping-of-test", Asked::Everywhere, "not yet");
        let table = ResourceTable::new(&RuntimeConfig::default());
        let paths = paths(&health, &table);
        for path in ["/api/v1", "/apis/apps/v1", "/livez", "/readyz/ping-of-test"] {
            assert!(paths.iter().any(|p| p == path), "{path}");
        }
        assert!(paths.is_sorted());
    }
}
