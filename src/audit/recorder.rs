//! `Recorder`: decides what to record of a request and hands rendered events to the sinks.
//!
//! Called by `filters::audit`, and by `filters::authentication` for refused credentials.

use std::sync::Arc;

use arc_swap::ArcSwapOption;
use smallvec::SmallVec;

use crate::api::status::Status;
use crate::audit::metrics::Metrics;
use crate::audit::own::own_event;
use crate::audit::sink::{Receipt, Sink};
use crate::audit::{Decision, EventBytes, Head, Policy, Response, ResponseObject, Stage};
use crate::request::{AuditLevel, RequestContext};

/// What a timed-out request would have been answered by its handler.
const TIMEOUT: &[u8] = br#"{"status":"Failure","message":"Timeout: request did not complete within requested timeout - context deadline exceeded","reason":"Timeout","details":{}}"#;

/// A sink and what its mode promises.
#[derive(Clone)]
pub struct Route {
    /// Where events go.
    pub sink: Arc<dyn Sink>,
    /// blocking-strict: a request whose RequestReceived event is lost is refused.
    pub strict: bool,
}

/// blocking-strict could not keep its promise: the request must not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to store audit event")]
pub struct Refused;

/// The recorder.
pub struct Recorder {
    policy: ArcSwapOption<Policy>,
    routes: Vec<Route>,
    metrics: Metrics,
}

/// Receipts of one event, of strict sinks first to be told apart.
#[must_use]
pub struct Receipts(SmallVec<[(bool, Receipt); 2]>);

impl Receipts {
    /// Waits for all sinks. An error when a strict one lost the event.
    pub async fn settle(self) -> Result<(), Refused> {
        let mut outcome = Ok(());
        for (strict, receipt) in self.0 {
            if receipt.settle().await.is_err() && strict {
                outcome = Err(Refused);
            }
        }
        outcome
    }
}

impl Recorder {
    /// Without a policy nothing is recorded, whatever the sinks.
    pub fn new(policy: Option<Policy>, routes: Vec<Route>, metrics: Metrics) -> Arc<Self> {
        Arc::new(Recorder {
            policy: ArcSwapOption::from_pointee(policy),
            routes,
            metrics,
        })
    }

    /// Puts another policy in force (hot reload) and records that.
    pub fn set_policy(&self, policy: Policy) {
        let rules = policy.rules.len();
        self.policy.store(Some(Arc::new(policy)));
        self.note(
            "policy",
            &format!(r#"{{"policy":"changed","rules":{rules}}}"#),
        );
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Decides about a request and notes the decision in the context. Counts its level.
    pub fn evaluate(&self, ctx: &mut RequestContext) -> Decision {
        let user = ctx.impersonator.as_deref().or(ctx.user.as_deref());
        let decision = match &*self.policy.load() {
            Some(policy) => policy.evaluate(&ctx.info, user),
            None => return Decision::default(),
        };
        self.metrics.level(decision.level);
        ctx.audit.level = decision.level;
        ctx.audit.omit_stages = decision.omit_stages;
        ctx.audit.omit_managed_fields = decision.omit_managed_fields;
        ctx.audit.rule = decision.rule;
        decision
    }

    /// Renders and emits the event of one stage, unless the policy omits it.
    pub fn emit(
        &self,
        ctx: &RequestContext,
        head: &Head,
        decision: &Decision,
        stage: Stage,
        response: Option<Response<'_>>,
    ) -> Receipts {
        if !decision.wants(stage) {
            return Receipts(SmallVec::new());
        }
        self.send(head.event(ctx, decision, stage, response))
    }

    /// Hands a rendered event to all sinks.
    pub fn send(&self, event: EventBytes) -> Receipts {
        self.metrics.events.inc();
        let event = Arc::new(event);
        let routes = self.routes.iter();
        Receipts(routes.map(|r| (r.strict, r.sink.accept(&event))).collect())
    }

    /// Has every sink look after itself; called about twice a second. Answers what is wrong.
    pub fn check(&self) -> Vec<String> {
        let problems = self.routes.iter().filter_map(|r| r.sink.check().err());
        problems.collect()
    }

    /// Waits until everything emitted so far is where it belongs.
    pub async fn flush(&self) {
        for route in &self.routes {
            route.sink.flush().await;
        }
    }

    /// The single event of a request with bad credentials (contract/audit.md §6). The answer's
    /// `Status` is expected in `ctx.audit.response_status`; the bare 401 is assumed where it is not.
    pub async fn record_failed_authentication(&self, ctx: &mut RequestContext) {
        if ctx.audit.response_status.is_none() {
            ctx.audit.response_status = Some(Status::unauthorized().to_json());
        }
        // The request is refused already; the sinks have counted a loss.
        self.emit_unhandled(ctx, 401).settle().await.ok();
    }

    /// The single ResponseStarted event of a request that was answered before the audit filter, if
    /// this is one. Called by the request's owner.
    pub fn record_refused_early(&self, ctx: &mut RequestContext) {
        if let Some(code) = ctx.audit.refused_early.take() {
            // The answer has left.
            let _ = self.emit_unhandled(ctx, code);
        }
    }

    /// Expects the answer's `Status` in `ctx.audit.response_status`.
    fn emit_unhandled(&self, ctx: &mut RequestContext, code: u16) -> Receipts {
        ctx.user = None;
        let decision = self.evaluate(ctx);
        if let Some(status) = &ctx.audit.response_status
            && decision.level == AuditLevel::RequestResponse
        {
            ctx.audit.response_object = serde_json::to_vec(status).ok().map(Into::into);
        }
        let head = Head::render(ctx, decision.level);
        let response = Response {
            code,
            object: ResponseObject::Context,
            message: None,
        };
        self.emit(
            ctx,
            &head,
            &decision,
            Stage::ResponseStarted,
            Some(response),
        )
    }

    /// The last event of a request that was dropped before it was answered: the client went away, or
    /// the deadline passed. Called by the request's owner; does nothing for finished requests.
    pub fn record_abandoned(&self, ctx: &mut RequestContext) {
        if !std::mem::take(&mut ctx.audit.open) {
            return;
        }
        let is_timeout = ctx.deadline.is_some_and(|d| d <= std::time::Instant::now());
        let mut code = 0;
        if is_timeout {
            code = 504;
            ctx.audit.response_status = serde_json::from_slice(TIMEOUT).ok();
        }
        let decision = Decision {
            level: ctx.audit.level,
            omit_stages: ctx.audit.omit_stages,
            omit_managed_fields: ctx.audit.omit_managed_fields,
            rule: ctx.audit.rule,
        };
        let head = Head::render(ctx, decision.level);
        let response = Response {
            code,
            ..Response::default()
        };
        // Nobody is left to wait for it.
        let _ = self.emit(
            ctx,
            &head,
            &decision,
            Stage::ResponseComplete,
            Some(response),
        );
    }

    /// Records something that happened to the record itself (a gap, a policy change) as an event of
    /// the server's own. `value` is the JSON text of our annotation.
    pub fn note(&self, verb: &str, value: &str) {
        // Nobody waits for it; the sinks have counted a loss.
        let _ = self.send(own_event(verb, value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::audit::event::TRACE_ANNOTATION;
    use crate::audit::policy_file;
    use crate::audit::sink::Loss;
    use crate::audit::sink::memory::MemorySink;
    use crate::request::RequestInfo;

    const ALL: &str =
        "apiVersion: audit.k8s.io/v1\nkind: Policy\nrules: [{level: RequestResponse}]";

    fn recorder(sink: Arc<MemorySink>, strict: bool) -> Arc<Recorder> {
        let policy = policy_file::parse(ALL).expect("loads");
        Recorder::new(Some(policy), vec![Route { sink, strict }], Metrics::new())
    }

    fn context() -> RequestContext {
        let uri = http::Uri::from_static("/api/v1/namespaces/n/pods/p");
        let mut ctx = RequestContext::new(http::Method::GET, uri, http::HeaderMap::new(), None);
        ctx.info = RequestInfo::parse(&ctx.method, ctx.uri.path(), "").expect("a path");
        ctx
    }

    #[tokio::test]
    async fn failed_authentication_is_one_event_with_its_reason() {
        // users.md threads 26 and 27: 401s say why, in the record only.
        let sink = Arc::new(MemorySink::default());
        let recorder = recorder(sink.clone(), false);
        let mut ctx = context();
        let began = ctx.stages.begin("authentication");
        ctx.stages
            .end("authentication", began, "refused", "token is expired");
        recorder.record_failed_authentication(&mut ctx).await;
        let events = sink.events();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["stage"], "ResponseStarted");
        assert_eq!(events[0]["user"], serde_json::json!({}));
        assert_eq!(events[0]["responseStatus"]["message"], "Unauthorized");
        assert_eq!(events[0]["responseObject"]["code"], 401);
        let trace = events[0]["annotations"][TRACE_ANNOTATION].as_str();
        assert!(trace.expect("a trace").contains("token is expired"));
    }

    #[tokio::test]
    async fn strict_sinks_refuse() {
        for (strict, expected) in [(true, Err(Refused)), (false, Ok(()))] {
            let sink = Arc::new(MemorySink::failing(Loss::WriteFailed));
            let recorder = recorder(sink, strict);
            let mut ctx = context();
            let decision = recorder.evaluate(&mut ctx);
            let head = Head::render(&ctx, decision.level);
            let receipts = recorder.emit(&ctx, &head, &decision, Stage::RequestReceived, None);
            assert_eq!(receipts.settle().await, expected);
        }
    }

    #[test]
    fn a_bad_timeout_is_one_event() {
        let sink = Arc::new(MemorySink::default());
        let recorder = recorder(sink.clone(), false);
        let mut ctx = context();
        recorder.record_refused_early(&mut ctx);
        assert!(sink.events().is_empty());
        ctx.audit.refused_early = Some(400);
        ctx.audit.response_status = Some(Status::bad_request("invalid timeout").to_json());
        recorder.record_refused_early(&mut ctx);
        let events = sink.events();
        assert_eq!(events[0]["stage"], "ResponseStarted");
        assert_eq!(events[0]["responseObject"]["message"], "invalid timeout");
    }

    #[test]
    fn timeouts_name_the_stage_that_ate_the_time() {
        // users.md threads 36 and 37.
        let sink = Arc::new(MemorySink::default());
        let recorder = recorder(sink.clone(), false);
        let mut ctx = context();
        recorder.evaluate(&mut ctx);
        ctx.audit.open = true;
        ctx.deadline = Some(std::time::Instant::now());
        ctx.stages.begin("validating-webhook");
        recorder.record_abandoned(&mut ctx);
        recorder.record_abandoned(&mut ctx);
        let events = sink.events();
        assert_eq!(events.len(), 1);
        assert_eq!(events[0]["responseStatus"]["code"], 504);
        let trace = events[0]["annotations"][TRACE_ANNOTATION].as_str();
        assert!(
            trace
                .expect("a trace")
                .contains(r#""running":["validating-webhook""#)
        );
    }
}
