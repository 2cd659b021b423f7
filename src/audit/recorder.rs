//! `Recorder`: decides what to record of a request and hands rendered events to the sinks.
//!
//! Sinks that see the same (one policy, one redaction) form a [`Group`]; an event is rendered, and
//! redacted, once per group. Bodies are captured for the highest level that any group asks for.
//!
//! Called by `filters::audit`, and by `filters::authentication` for refused credentials. `server`
//! makes the groups and puts others in their place when the configuration changes.

use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use prometheus::IntCounter;
use smallvec::SmallVec;

use crate::api::status::Status;
use crate::audit::metrics::Metrics;
use crate::audit::own::own_event;
use crate::audit::redact::Redactor;
use crate::audit::sampling::Sampler;
use crate::audit::sink::{Receipt, Sink};
use crate::audit::{Decision, EventBytes, Head, Policy, Response, ResponseObject, Stage};
use crate::request::{AuditLevel, RequestContext};

/// What a timed-out request would have been answered by its handler.
const TIMEOUT: &[u8] = br#"{"status":"Failure","message":"Timeout: request did not complete within requested timeout - context deadline exceeded","reason":"Timeout","details":{}}"#;

/// How long a shutdown waits for the sinks to empty their queues.
pub const FLUSH_TIMEOUT: Duration = Duration::from_secs(30);

/// A sink and what its mode promises.
#[derive(Clone)]
pub struct Route {
    /// Where events go.
    pub sink: Arc<dyn Sink>,
    /// blocking-strict: a request whose RequestReceived event is lost is refused.
    pub strict: bool,
}

/// Sinks that see the same.
pub struct Group {
    /// Shown in metrics: the name of its first sink.
    pub name: String,
    /// What is recorded; nothing without one.
    pub policy: Option<Arc<Policy>>,
    /// What is not shown of it.
    pub redactor: Option<Arc<Redactor>>,
    /// Where it goes.
    pub routes: Vec<Route>,
}

/// blocking-strict could not keep its promise: the request must not run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("failed to store audit event")]
pub struct Refused;

/// The recorder.
pub struct Recorder {
    table: ArcSwap<Table>,
    metrics: Metrics,
}

/// The groups in force.
struct Table {
    generation: u64,
    groups: Vec<Group>,
    /// Per group and rule.
    counters: Vec<Vec<IntCounter>>,
    sampler: Sampler,
}

/// What is recorded of one request: the groups that were in force when it came, and per group what
/// does not change of its events. The decisions are in the context.
pub struct Recording {
    table: Arc<Table>,
    heads: SmallVec<[Option<Head>; 1]>,
    level: AuditLevel,
}

impl Recording {
    /// The highest level of any group.
    pub fn level(&self) -> AuditLevel {
        self.level
    }
}

/// Receipts of one event, each with whether its sink is strict.
#[must_use]
pub struct Receipts(SmallVec<[(bool, Receipt); 2]>);

impl Receipts {
    /// Waits for all sinks. An error when a strict one lost the event.
    pub async fn settle(self) -> Result<(), Refused> {
        let mut outcome = Ok(());
        // Whoever has a group to write does that first: others wait for it, and must not be waited for.
        let (leading, waiting): (SmallVec<[_; 2]>, SmallVec<[_; 2]>) = self
            .0
            .into_iter()
            .partition(|(_, receipt)| matches!(receipt, Receipt::Leading(_)));
        for (strict, receipt) in leading.into_iter().chain(waiting) {
            if receipt.settle().await.is_err() && strict {
                outcome = Err(Refused);
            }
        }
        outcome
    }
}

impl Recorder {
    /// One policy for all sinks and nothing redacted. Without a policy nothing is recorded, whatever
    /// the sinks.
    pub fn new(policy: Option<Policy>, routes: Vec<Route>, metrics: Metrics) -> Arc<Self> {
        let group = Group {
            name: "log".into(),
            policy: policy.map(Arc::new),
            redactor: None,
            routes,
        };
        Self::with_groups(vec![group], Sampler::random(), metrics)
    }

    /// Several groups.
    pub fn with_groups(groups: Vec<Group>, sampler: Sampler, metrics: Metrics) -> Arc<Self> {
        let table = Table::new(0, groups, sampler, &metrics);
        Arc::new(Recorder {
            table: ArcSwap::from_pointee(table),
            metrics,
        })
    }

    /// Puts other groups in force (hot reload). Requests under way are recorded to their end as they
    /// began.
    pub fn set_groups(&self, groups: Vec<Group>, sampler: Sampler) {
        let generation = self.table.load().generation + 1;
        let table = Table::new(generation, groups, sampler, &self.metrics);
        self.table.store(Arc::new(table));
    }

    /// What redacts the server's own log: the first group's.
    pub fn redactor(&self) -> Option<Arc<Redactor>> {
        self.table.load().groups.first()?.redactor.clone()
    }

    /// The counters.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// Decides about a request and begins to record it.
    pub fn evaluate(&self, ctx: &mut RequestContext) -> Recording {
        self.decide(ctx);
        self.begin(ctx)
    }

    /// Decides about a request and notes the decisions in the context. Counts its level, which it
    /// answers.
    pub fn decide(&self, ctx: &mut RequestContext) -> AuditLevel {
        let table = self.table.load();
        table.decide(ctx);
        if table.groups.iter().any(|g| g.policy.is_some()) {
            self.metrics.level(ctx.audit.level);
        }
        for (decision, counters) in ctx.audit.decisions.iter().zip(&table.counters) {
            if let Some(counter) = decision.rule.and_then(|rule| counters.get(rule)) {
                counter.inc();
            }
        }
        ctx.audit.level
    }

    /// Begins to record a request that has been decided about.
    pub fn begin(&self, ctx: &mut RequestContext) -> Recording {
        let table = self.table.load_full();
        if table.generation != ctx.audit.policy_generation {
            // Its own groups are gone: what is in force now decides.
            table.decide(ctx);
        }
        table.recording(ctx)
    }

    /// Renders and emits the event of one stage to each group whose policy does not omit it.
    pub fn emit(
        &self,
        ctx: &RequestContext,
        recording: &Recording,
        stage: Stage,
        response: Option<Response<'_>>,
    ) -> Receipts {
        let mut receipts = SmallVec::new();
        let mut has_emitted = false;
        let groups = recording.table.groups.iter().zip(&recording.heads);
        for ((group, head), decision) in groups.zip(&ctx.audit.decisions) {
            let Some(head) = head.as_ref().filter(|_| decision.wants(stage)) else {
                continue;
            };
            let event = head.event(ctx, decision, group.redactor.as_deref(), stage, response);
            group.accept(event, &mut receipts);
            has_emitted = true;
        }
        if has_emitted {
            self.metrics.events.inc();
        }
        Receipts(receipts)
    }

    /// Hands a rendered event to the sinks of all groups, whatever their policies.
    pub fn send(&self, event: EventBytes) -> Receipts {
        self.metrics.events.inc();
        let event = Arc::new(event);
        let table = self.table.load();
        Receipts(
            table
                .routes()
                .map(|r| (r.strict, r.sink.accept(&event)))
                .collect(),
        )
    }

    /// Has every sink look after itself, and writes down with the others what one of them lost;
    /// called about twice a second. Answers what is wrong.
    pub fn check(&self) -> Vec<String> {
        let table = self.table.load_full();
        self.write_gaps(&table);
        table
            .routes()
            .filter_map(|r| r.sink.check().err())
            .collect()
    }

    fn write_gaps(&self, table: &Table) {
        for (index, route) in table.routes().enumerate() {
            let Some(record) = route.sink.gap_for_others().map(Arc::new) else {
                continue;
            };
            self.metrics.events.inc();
            for (_, other) in table.routes().enumerate().filter(|(i, _)| *i != index) {
                // Nobody waits for it; the sink has counted a loss.
                drop(other.sink.accept(&record));
            }
        }
    }

    /// Waits until everything emitted so far is where it belongs, at most [`FLUSH_TIMEOUT`]. What is
    /// left then is counted as lost, and written down with the sinks that still work.
    pub async fn flush(&self) {
        let table = self.table.load_full();
        let flushed = futures::future::join_all(table.routes().map(|route| async {
            let flushed = tokio::time::timeout(FLUSH_TIMEOUT, route.sink.flush()).await;
            if flushed.is_err() {
                let sink = route.sink.name();
                tracing::error!(sink, "events are left in the queue of an audit sink");
                route.sink.give_up();
            }
            flushed.is_ok()
        }));
        let flushed = flushed.await;
        self.write_gaps(&table);
        for (route, _) in table.routes().zip(flushed).filter(|(_, flushed)| *flushed) {
            tokio::time::timeout(FLUSH_TIMEOUT, route.sink.flush())
                .await
                .ok();
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
        let recording = self.evaluate(ctx);
        if let Some(status) = &ctx.audit.response_status
            && recording.level() == AuditLevel::RequestResponse
        {
            ctx.audit.response_object = serde_json::to_vec(status).ok().map(Into::into);
        }
        let response = Response {
            code,
            object: ResponseObject::Context,
            message: None,
        };
        self.emit(ctx, &recording, Stage::ResponseStarted, Some(response))
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
        let recording = self.begin(ctx);
        let response = Response {
            code,
            ..Response::default()
        };
        // Nobody is left to wait for it.
        let _ = self.emit(ctx, &recording, Stage::ResponseComplete, Some(response));
    }

    /// Records something that happened to the record itself (a gap, a policy change) as an event of
    /// the server's own. `value` is the JSON text of our annotation.
    pub fn note(&self, verb: &str, value: &str) {
        // Nobody waits for it; the sinks have counted a loss.
        let _ = self.send(own_event(verb, value));
    }
}

impl Group {
    fn accept(&self, event: EventBytes, receipts: &mut SmallVec<[(bool, Receipt); 2]>) {
        let event = Arc::new(event);
        for route in &self.routes {
            receipts.push((route.strict, route.sink.accept(&event)));
        }
    }

    fn decide(&self, ctx: &RequestContext, sampler: &Sampler) -> Decision {
        let Some(policy) = &self.policy else {
            return Decision::default();
        };
        let user = ctx.impersonator.as_deref().or(ctx.user.as_deref());
        let mut decision = policy.evaluate(&ctx.info, user);
        if let Some(percent) = decision.sampled_percent
            && !sampler.keeps(&ctx.audit_id, percent)
        {
            decision.level = AuditLevel::None;
        }
        decision
    }
}

impl Table {
    fn new(generation: u64, groups: Vec<Group>, sampler: Sampler, metrics: &Metrics) -> Self {
        let counters = groups.iter().map(|group| {
            let rules = group.policy.iter().flat_map(|p| p.rules.iter().enumerate());
            rules
                .map(|(index, rule)| metrics.rule(&group.name, &rule.label(index), rule.level))
                .collect()
        });
        Table {
            generation,
            counters: counters.collect(),
            groups,
            sampler,
        }
    }

    fn routes(&self) -> impl Iterator<Item = &Route> {
        self.groups.iter().flat_map(|g| &g.routes)
    }

    fn decide(&self, ctx: &mut RequestContext) {
        let decisions: SmallVec<[Decision; 1]> = self
            .groups
            .iter()
            .map(|group| group.decide(ctx, &self.sampler))
            .collect();
        let level = decisions.iter().map(|d| d.level).max();
        ctx.audit.level = level.unwrap_or_default();
        ctx.audit.decisions = decisions;
        ctx.audit.policy_generation = self.generation;
    }

    fn recording(self: Arc<Self>, ctx: &RequestContext) -> Recording {
        let heads = self.groups.iter().zip(&ctx.audit.decisions);
        let heads = heads.map(|(group, decision)| {
            let is_recorded = decision.level > AuditLevel::None;
            is_recorded.then(|| Head::render(ctx, decision.level, group.redactor.as_deref()))
        });
        Recording {
            heads: heads.collect(),
            level: ctx.audit.level,
            table: self,
        }
    }
}

#[cfg(test)]
mod tests;
