//! The authorization filter: asks whether the user may, or answers 403.

use std::sync::Arc;
use std::time::{Duration, Instant};

use http::{HeaderValue, StatusCode};

use crate::api::status::Status;
use crate::audit::event::{DECISION_ANNOTATION, REASON_ANNOTATION};
use crate::authorization::refusal::{forbidden, sanitize};
use crate::authorization::{Authorizer, Decision, Verdict};
use crate::filters::{Filter, Step};
use crate::request::negotiate::status_response;
use crate::request::{ApiRequest, ApiResponse, Attributes, RequestContext, UserInfo};
use crate::telemetry::{Metrics, Outcomes};

/// Asks an authorizer.
pub struct Authorization {
    authorizer: Arc<dyn Authorizer>,
    attempts: Outcomes<4>,
}

impl Authorization {
    /// Asks `authorizer`.
    pub fn new(authorizer: Arc<dyn Authorizer>, metrics: Arc<Metrics>) -> Self {
        Authorization {
            authorizer,
            attempts: Outcomes::new(
                &metrics.authorization_attempts_total,
                &metrics.authorization_duration_seconds,
                ["allowed", "error", "denied", "no-opinion"],
            ),
        }
    }

    fn count(&self, decision: &Decision, took: Duration) {
        let result = match decision.verdict {
            Verdict::Allow => "allowed",
            _ if !decision.errors.is_empty() => "error",
            Verdict::Deny => "denied",
            Verdict::NoOpinion => "no-opinion",
        };
        self.attempts.note(result, took);
    }
}

impl Authorization {
    /// `None` for a request that goes on, else the refusal.
    fn apply(
        &self,
        ctx: &mut RequestContext,
        began: Instant,
        mut decision: Decision,
    ) -> Option<ApiResponse> {
        for asked in decision.asked.drain(..) {
            let stage = format!("authorizer/{}", asked.authorizer);
            ctx.stages
                .end(stage, asked.began, asked.outcome, asked.reason);
        }
        if decision.verdict == Verdict::Allow {
            let reason = decision.reason.as_str();
            ctx.audit.annotate(DECISION_ANNOTATION, "allow");
            ctx.audit.annotate(REASON_ANNOTATION, reason);
            let stages = &mut ctx.stages;
            let took = stages.end_timed("authorization", began, "allow", decision.reason);
            self.attempts.note("allowed", took);
            return None;
        }
        self.count(&decision, began.elapsed());
        if !decision.errors.is_empty() {
            let error = decision.errors.join(", ");
            let body = format!(
                "Internal Server Error: \"{}\": {error}",
                sanitize(&ctx.uri.to_string())
            );
            ctx.audit.annotate(REASON_ANNOTATION, "internal error");
            ctx.stages.end("authorization", began, "error", error);
            let code = StatusCode::INTERNAL_SERVER_ERROR;
            return Some(ApiResponse::text(code, format!("{body}\n")));
        }
        let user = ctx.user();
        let status = forbidden(&Attributes::of(&ctx.info, &user), &decision.reason);
        ctx.audit.annotate(DECISION_ANNOTATION, "forbid");
        ctx.audit
            .annotate(REASON_ANNOTATION, decision.reason.clone());
        ctx.stages
            .end("authorization", began, "forbid", decision.reason);
        Some(forbidden_response(ctx, &status))
    }
}

impl Filter for Authorization {
    fn name(&self) -> &'static str {
        "authorization"
    }

    fn before<'a>(&'a self, request: &'a mut ApiRequest) -> Step<'a> {
        let ctx = &mut request.ctx;
        let began = ctx.stages.begin("authorization");
        let ask = |user: &UserInfo| self.authorizer.at_once(&Attributes::of(&ctx.info, user));
        let decision = match &ctx.user {
            Some(user) => ask(user),
            None => ask(&UserInfo::anonymous()),
        };
        match decision {
            Some(decision) => match self.apply(ctx, began, decision) {
                None => Step::Pass,
                Some(response) => Step::Answer(response),
            },
            None => Step::Wait(Box::pin(async move {
                let user = ctx.user();
                let attributes = Attributes::of(&ctx.info, &user);
                let decision = self.authorizer.authorize(&attributes).await;
                self.apply(ctx, began, decision)
            })),
        }
    }
}

/// Answers with a 403 and records it as the answer.
pub fn forbidden_response(ctx: &mut RequestContext, status: &Status) -> ApiResponse {
    let mut response = status_response(ctx, status);
    response.headers.insert(
        "x-content-type-options",
        HeaderValue::from_static("nosniff"),
    );
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts() {
        let user = UserInfo {
            username: "a<b".into(),
            ..UserInfo::default()
        };
        let mut ask = Attributes::resource(&user, "get", "apps", "deployments", "ns", "x");
        ask.subresource = "scale";
        let status = forbidden(&ask, "because");
        assert_eq!(
            status.message,
            "deployments.apps \"x\" is forbidden: User \"a&lt;b\" cannot get resource \"deployments/scale\" in API group \"apps\" in the namespace \"ns\": because"
        );
        let ask = Attributes {
            is_resource: false,
            path: "/rby",
            ..Attributes::resource(&user, "get", "", "", "", "")
        };
        let status = forbidden(&ask, "");
        assert_eq!(
            status.message,
            "forbidden: User \"a&lt;b\" cannot get path \"/rby\""
        );
        let ask = Attributes::resource(&user, "list", "", "nodes", "", "");
        assert_eq!(
            forbidden(&ask, "").message,
            "nodes is forbidden: User \"a&lt;b\" cannot list resource \"nodes\" in API group \"\" at the cluster scope"
        );
    }
}
