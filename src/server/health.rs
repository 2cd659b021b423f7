//! `/healthz`, `/livez`, `/readyz` and their single checks (contract/health.md).

use std::fmt::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use futures::future::BoxFuture;
use http::StatusCode;
use parking_lot::RwLock;

use crate::request::{ApiResponse, RequestContext};
use crate::telemetry::Metrics;

/// Which endpoints ask a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// healthz, livez and readyz.
    Everywhere,
    /// healthz and livez.
    Alive,
    /// readyz.
    Ready,
    /// Only by its own name below readyz.
    ByName,
    /// healthz, livez after its grace period, and readyz.
    StartHook,
}

/// The endpoints.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthEndpoint {
    /// `/healthz`.
    Healthz,
    /// `/livez`.
    Livez,
    /// `/readyz`.
    Readyz,
}

impl HealthEndpoint {
    /// The path without its slash.
    pub fn name(self) -> &'static str {
        match self {
            HealthEndpoint::Healthz => "healthz",
            HealthEndpoint::Livez => "livez",
            HealthEndpoint::Readyz => "readyz",
        }
    }
}

type CheckFn = Arc<dyn Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync>;

#[derive(Clone)]
struct Check {
    name: String,
    asked: Asked,
    run: CheckFn,
}

/// A start hook's state, as its check sees it.
#[derive(Clone, Default)]
pub struct HookDone(Arc<AtomicBool>);

impl HookDone {
    /// The hook has finished its work.
    pub fn done(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// All checks, in the order of their registration.
pub struct Health {
    checks: RwLock<Vec<Check>>,
    started: Instant,
    livez_grace: Duration,
    metrics: Arc<Metrics>,
}

impl Health {
    /// No checks but `ping` and `log`.
    pub fn new(livez_grace: Duration, metrics: Arc<Metrics>) -> Arc<Self> {
        let health = Health {
            checks: RwLock::default(),
            started: Instant::now(),
            livez_grace,
            metrics,
        };
        health.add("ping", Asked::Everywhere, || Box::pin(async { Ok(()) }));
        // The log writer is a thread that cannot hang without the process noticing.
        health.add("log", Asked::Everywhere, || Box::pin(async { Ok(()) }));
        Arc::new(health)
    }

    /// Adds a check behind those that are there.
    pub fn add<F>(&self, name: impl Into<String>, asked: Asked, check: F)
    where
        F: Fn() -> BoxFuture<'static, Result<(), String>> + Send + Sync + 'static,
    {
        self.checks.write().push(Check {
            name: name.into(),
            asked,
            run: Arc::new(check),
        });
    }

    /// Adds a check that fails with `reason` until the answer is told to be done.
    pub fn add_done(&self, name: &str, asked: Asked, reason: &'static str) -> HookDone {
        let hook = HookDone::default();
        let state = hook.clone();
        self.add(name, asked, move || {
            let done = state.0.load(Ordering::Acquire);
            Box::pin(async move { done.then_some(()).ok_or(reason.to_string()) })
        });
        hook
    }

    /// Names of the checks of an endpoint.
    pub fn names(&self, endpoint: HealthEndpoint) -> Vec<String> {
        let checks = self.checks_of(endpoint);
        checks.into_iter().map(|check| check.name).collect()
    }

    fn checks_of(&self, endpoint: HealthEndpoint) -> Vec<Check> {
        let checks = self.checks.read();
        let wanted = checks.iter().filter(|c| match c.asked {
            Asked::Everywhere | Asked::StartHook => true,
            Asked::Alive => endpoint != HealthEndpoint::Readyz,
            Asked::Ready => endpoint == HealthEndpoint::Readyz,
            Asked::ByName => false,
        });
        wanted.cloned().collect()
    }

    /// Answers an endpoint (`rest` is empty) or one of its checks. `None`: no such check.
    pub async fn answer(
        &self,
        endpoint: HealthEndpoint,
        rest: &str,
        ctx: &RequestContext,
    ) -> Option<ApiResponse> {
        if rest.is_empty() {
            return Some(self.all(endpoint, ctx).await);
        }
        let name = rest.strip_prefix('/')?;
        let mut checks = self.checks_of(endpoint);
        if endpoint == HealthEndpoint::Readyz {
            let by_name = |c: &&Check| c.asked == Asked::ByName;
            checks.extend(self.checks.read().iter().filter(by_name).cloned());
        }
        let check = checks.into_iter().find(|c| c.name == name)?;
        Some(match self.run(endpoint, &check).await {
            Ok(()) => ok(),
            Err(reason) => ApiResponse::text(
                StatusCode::INTERNAL_SERVER_ERROR,
                format!("internal server error: {reason}\n"),
            ),
        })
    }

    async fn all(&self, endpoint: HealthEndpoint, ctx: &RequestContext) -> ApiResponse {
        let mut excluded: Vec<(String, bool)> = query_values(ctx, "exclude");
        let mut lines = String::new();
        let mut failed = Vec::new();
        for check in self.checks_of(endpoint) {
            if let Some((_, used)) = excluded.iter_mut().find(|(name, _)| *name == check.name) {
                *used = true;
                // Writing to a String cannot fail.
                let _ = writeln!(lines, "[+]{} excluded: ok", check.name);
                continue;
            }
            match self.run(endpoint, &check).await {
                Ok(()) => {
                    let _ = writeln!(lines, "[+]{} ok", check.name);
                }
                Err(reason) => {
                    let _ = writeln!(lines, "[-]{} failed: reason withheld", check.name);
                    failed.push(format!("{}: {reason}", check.name));
                }
            }
        }
        let unknown: Vec<String> = excluded
            .iter()
            .filter(|(_, used)| !used)
            .map(|(name, _)| format!("{name:?}"))
            .collect();
        if !unknown.is_empty() {
            let _ = writeln!(
                lines,
                "warn: some health checks cannot be excluded: no matches for {}",
                unknown.join(",")
            );
        }
        let endpoint = endpoint.name();
        if !failed.is_empty() {
            tracing::info!(endpoint, failed = ?failed, "health check failed");
            let _ = writeln!(lines, "{endpoint} check failed");
            return ApiResponse::text(StatusCode::INTERNAL_SERVER_ERROR, lines);
        }
        if query_values(ctx, "verbose").is_empty() {
            return ok();
        }
        let _ = writeln!(lines, "{endpoint} check passed");
        ApiResponse::text(StatusCode::OK, lines)
    }

    async fn run(&self, endpoint: HealthEndpoint, check: &Check) -> Result<(), String> {
        let grace = endpoint == HealthEndpoint::Livez
            && check.asked == Asked::StartHook
            && self.started.elapsed() < self.livez_grace;
        let result = match grace {
            true => Ok(()),
            false => (check.run)().await,
        };
        let kind = endpoint.name();
        let (value, status) = match result {
            Ok(()) => (1, "success"),
            Err(_) => (0, "error"),
        };
        let metrics = &self.metrics;
        metrics
            .kubernetes_healthcheck
            .with_label_values(&[check.name.as_str(), kind])
            .set(value);
        metrics
            .kubernetes_healthchecks_total
            .with_label_values(&[check.name.as_str(), status, kind])
            .inc();
        result
    }
}

/// Values of a repeatable parameter, each with a mark whether it was used.
fn query_values(ctx: &RequestContext, name: &str) -> Vec<(String, bool)> {
    form_urlencoded::parse(ctx.query().as_bytes())
        .filter(|(key, _)| key == name)
        .map(|(_, value)| (value.into_owned(), false))
        .collect()
}

fn ok() -> ApiResponse {
    ApiResponse::text(StatusCode::OK, "ok")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::request::Body;
    use http::{HeaderMap, Method, Uri};

    fn text(response: &ApiResponse) -> String {
        let Body::Segments(segments) = &response.body else {
            return String::new();
        };
        String::from_utf8(segments.concat()).expect("health answers are text")
    }

    async fn get(health: &Health, uri: &'static str) -> (u16, String) {
        let ctx = RequestContext::new(Method::GET, Uri::from_static(uri), HeaderMap::new(), None);
        let path = ctx.uri.path().to_string();
        let rest = path.strip_prefix("/livez").expect("a livez path");
        match health.answer(HealthEndpoint::Livez, rest, &ctx).await {
            Some(response) => (response.status.as_u16(), text(&response)),
            None => (404, String::new()),
        }
    }

    #[tokio::test]
    async fn bodies() {
        let health = Health::new(Duration::ZERO, Metrics::new(&[]));
        let hook = health.add_done("poststarthook/a/b", Asked::StartHook, "not finished");
        health.add("shutdown", Asked::Ready, || {
            Box::pin(async { Err("x".into()) })
        });
        let (code, body) = get(&health, "/livez").await;
        assert_eq!(code, 500);
        assert_eq!(
            body,
            "[+]ping ok\n[+]log ok\n[-]poststarthook/a/b failed: reason withheld\nlivez check \
             failed\n"
        );
        assert_eq!(
            get(&health, "/livez/poststarthook/a/b").await,
            (500, "internal server error: not finished\n".into())
        );
        hook.done();
        assert_eq!(get(&health, "/livez").await, (200, "ok".into()));
        assert_eq!(get(&health, "/livez/shutdown").await.0, 404);
        assert_eq!(get(&health, "/livez/").await.0, 404);
        assert_eq!(
            get(&health, "/livez?verbose&exclude=ping&exclude=no")
                .await
                .1,
            "[+]ping excluded: ok\n[+]log ok\n[+]poststarthook/a/b ok\nwarn: some health checks \
             cannot be excluded: no matches for \"no\"\nlivez check passed\n"
        );
    }
}
