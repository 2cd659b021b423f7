//! Group `audit.verbatim.dev` over HTTP: `auditevents` and `auditsummaries` (see `search::api`), and
//! `explanations`. Where a resource has a local form (`localexplanations`), that is the same over one
//! namespace.

use std::sync::Arc;

use async_trait::async_trait;
use chrono::{DateTime, Utc};

use crate::api::names::GroupResource;
use crate::api::status::Status;
use crate::authorization::refusal::forbidden;
use crate::authorization::{Authorizer, Verdict};
use crate::base::tree::{Value, json, to_value};
use crate::diagnose::access::AccessExplainer;
use crate::diagnose::explain::{Explanation, explain_live};
use crate::diagnose::live::Sources;
use crate::request::negotiate::{self, TransformKind};
use crate::request::{ApiRequest, ApiResponse, Attributes, RequestContext, RequestInfo};
use crate::search::api::{EventsApi, GROUP, negotiated, value_response};
use crate::search::{Hit, Window};
use crate::storage::{Examination, Storage};
use crate::telemetry::Metrics;

/// The name that stands for the newest request of the user who asks, as in `why --last`.
const LAST: &str = "last";

/// What explanations ask beside the record.
#[derive(Clone, Default)]
pub struct Asked {
    /// Whoever explains refusals.
    pub access: Option<Arc<dyn AccessExplainer>>,
    /// Whether somebody may read the record, which explanations show. `None`: whoever comes this far.
    pub authorizer: Option<Arc<dyn Authorizer>>,
    /// How the store is.
    pub storage: Option<Arc<dyn Storage>>,
    /// How the server is.
    pub metrics: Option<Arc<Metrics>>,
}

/// Answers requests for the group.
pub struct RecordApi {
    events: EventsApi,
    asked: Asked,
}

impl RecordApi {
    /// Over the events and what explanations ask.
    pub fn new(events: EventsApi, asked: Asked) -> Self {
        RecordApi { events, asked }
    }

    /// Whether a request is for this group's resources.
    pub fn serves(&self, info: &RequestInfo) -> bool {
        info.is_resource && info.group == GROUP
    }

    /// Answers one request that has passed the filter chain and the router.
    pub async fn handle(&self, request: &mut ApiRequest) -> ApiResponse {
        if request.ctx.info.resource == "auditevents" {
            return self.events.handle(request).await;
        }
        let gaps = self.events.gaps();
        let answer = self.explain(&request.ctx).await;
        // Who may not read the record is told nothing of it.
        if !matches!(&answer, Err(status) if status.code == 403) {
            gaps.warn(&mut request.ctx);
        }
        answer.unwrap_or_else(|s| negotiate::status_response(&mut request.ctx, &s))
    }

    /// Fills in the status of an AuditSummary.
    pub async fn summarize(&self, ctx: &RequestContext, summary: &mut Value) -> Result<(), Status> {
        self.events.summarize(ctx, summary).await
    }

    async fn explain(&self, ctx: &RequestContext) -> Result<ApiResponse, Status> {
        self.may_read(ctx).await?;
        let negotiated = negotiated(ctx)?;
        let name = ctx.info.name.as_str();
        let hits = match name {
            // The newest failure that is not about the record itself.
            LAST => {
                let query = format!("code:>=400 -group:{GROUP}");
                self.events.newest(ctx, query, 1).await?
            }
            id => self.events.of_audit_id(ctx, id).await?,
        };
        let events = parsed(&hits);
        let sources = Here { api: self, ctx };
        let explanation = explain_live(&events, self.asked.access.as_deref(), &sources).await;
        let mut explanation = explanation.ok_or_else(|| {
            let resource = GroupResource::new(GROUP, ctx.info.resource.clone());
            Status::not_found(&resource, name)
        })?;
        if !ctx.info.namespace.is_empty() {
            explanation.kind = "LocalExplanation";
            // Who may ask in one namespace is not told of bindings elsewhere.
            let here = &ctx.info.namespace;
            explanation.nearest.retain(|n| n.binding_namespace == *here);
        }
        let tree = match negotiated.transform.map(|t| t.kind) {
            Some(TransformKind::Table) => table_of(&explanation),
            _ => to_value(&explanation).unwrap_or_default(),
        };
        Ok(value_response(&tree, negotiated))
    }
}

impl RecordApi {
    /// An explanation shows events, so it is for those who may list them.
    async fn may_read(&self, ctx: &RequestContext) -> Result<(), Status> {
        let Some(authorizer) = &self.asked.authorizer else {
            return Ok(());
        };
        let user = ctx.user();
        let namespace = ctx.info.namespace.as_str();
        let attributes = Attributes::resource(&user, "list", GROUP, "auditevents", namespace, "");
        let decision = authorizer.authorize(&attributes).await;
        match decision.verdict {
            Verdict::Allow => Ok(()),
            Verdict::Deny | Verdict::NoOpinion => Err(forbidden(&attributes, &decision.reason)),
        }
    }
}

fn parsed(hits: &[Hit]) -> Vec<Value> {
    hits.iter()
        .filter_map(|h| serde_json::from_slice(&h.event).ok())
        .collect()
}

/// The record and the server as the asker of one request may see them.
struct Here<'a> {
    api: &'a RecordApi,
    ctx: &'a RequestContext,
}

impl Here<'_> {
    /// Who may read one namespace only is told nothing of the server as a whole.
    fn sees_all(&self) -> bool {
        self.ctx.info.namespace.is_empty()
    }
}

#[async_trait]
impl Sources for Here<'_> {
    async fn events(
        &self,
        query: String,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: usize,
    ) -> Vec<Value> {
        let window = Window { from, to };
        match self.api.events.within(self.ctx, query, window, limit).await {
            Ok(hits) => parsed(&hits),
            Err(status) => {
                tracing::warn!(%status, "looking for evidence in the record");
                Vec::new()
            }
        }
    }

    async fn store(&self) -> Option<Examination> {
        let storage = self.api.asked.storage.as_ref();
        storage.filter(|_| self.sees_all())?.examine().await
    }

    fn metric(&self, name: &str) -> Vec<String> {
        let metrics = self.api.asked.metrics.as_ref();
        let Some(metrics) = metrics.filter(|_| self.sees_all()) else {
            return Vec::new();
        };
        let text = String::from_utf8(metrics.render()).unwrap_or_default();
        let is_sample = |line: &&str| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        };
        text.lines().filter(is_sample).map(str::to_string).collect()
    }
}

fn table_of(explanation: &Explanation) -> Value {
    let column = |name: &str| json!({"name": name, "type": "string", "format": "", "description": name, "priority": 0});
    let columns: Vec<Value> = ["Audit-ID", "Outcome", "User", "Asked", "Cause"]
        .into_iter()
        .map(column)
        .collect();
    json!({
        "kind": "Table",
        "apiVersion": "meta.k8s.io/v1",
        "metadata": {},
        "columnDefinitions": columns,
        "rows": [{
            "cells": [
                explanation.metadata["name"], explanation.outcome, explanation.caller.username,
                explanation.asked, explanation.cause,
            ],
            "object": {
                "kind": "PartialObjectMetadata",
                "apiVersion": "meta.k8s.io/v1",
                "metadata": explanation.metadata,
            },
        }],
    })
}
