//! `/version`: which Kubernetes this server speaks (contract/health.md).
//!
//! kubectl compares `gitVersion`, `major` and `minor` with its own, so they name the Kubernetes
//! release whose API is served; the build metadata after `+` says who serves it.

use http::{Method, StatusCode};

use crate::api::status::Status;
use crate::base::tree::{Value, json};
use crate::request::negotiate::{router_accepts, router_not_acceptable};
use crate::request::{ApiResponse, RequestContext};

/// The Kubernetes release whose API is served.
pub const KUBERNETES_VERSION: &str = "v1.36.3";

/// The answer, or `None` when the path is not `/version`.
pub fn handle(ctx: &RequestContext) -> Option<Result<ApiResponse, Status>> {
    if !matches!(ctx.info.path.as_str(), "/version" | "/version/") {
        return None;
    }
    if ctx.method != Method::GET {
        return Some(Err(Status::method_not_allowed()));
    }
    let produces = &["application/json"];
    if !router_accepts(ctx.header("accept").unwrap_or(""), produces) {
        return Some(Err(router_not_acceptable(produces)));
    }
    let body = serde_json::to_vec_pretty(&info()).unwrap_or_default();
    Some(Ok(ApiResponse::new(
        StatusCode::OK,
        "application/json",
        body,
    )))
}

/// The document.
fn info() -> Value {
    json!({
        "major": "1",
        "minor": "36",
        "emulationMajor": "1",
        "emulationMinor": "36",
        "minCompatibilityMajor": "1",
        "minCompatibilityMinor": "35",
        "gitVersion": format!("{KUBERNETES_VERSION}+verbatim.{}", env!("CARGO_PKG_VERSION")),
        "gitCommit": option_env!("VERBATIM_COMMIT").unwrap_or("unknown"),
        "gitTreeState": "",
        "buildDate": option_env!("VERBATIM_BUILD_DATE").unwrap_or("1970-01-01T00:00:00Z"),
        "goVersion": "rust",
        "compiler": "rustc",
        "platform": platform(),
    })
}

/// In Go's words, because tools compare it with image platforms.
fn platform() -> String {
    let arch = match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    };
    format!("{}/{arch}", std::env::consts::OS)
}
