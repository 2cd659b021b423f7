//! Group `audit.verbatim.dev` over HTTP: `auditevents` and `auditsummaries` (see `search::api`), and
//! `explanations`. Where a resource has a local form (`localexplanations`), that is the same over one
//! namespace.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::api::names::GroupResource;
use crate::api::status::Status;
use crate::diagnose::access::AccessExplainer;
use crate::diagnose::explain::{Explanation, explain};
use crate::request::negotiate::{self, TransformKind};
use crate::request::{ApiRequest, ApiResponse, RequestContext, RequestInfo};
use crate::search::api::{EventsApi, GROUP, negotiated, value_response};

/// The name that stands for the newest request of the user who asks, as in `why --last`.
const LAST: &str = "last";

/// Answers requests for the group.
pub struct RecordApi {
    events: EventsApi,
    access: Option<Arc<dyn AccessExplainer>>,
}

impl RecordApi {
    /// Over the events and whoever explains refusals.
    pub fn new(events: EventsApi, access: Option<Arc<dyn AccessExplainer>>) -> Self {
        RecordApi { events, access }
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
        let answer = self.explain(&request.ctx).await;
        answer.unwrap_or_else(|s| negotiate::status_response(&mut request.ctx, &s))
    }

    /// Fills in the status of an AuditSummary.
    pub async fn summarize(&self, ctx: &RequestContext, summary: &mut Value) -> Result<(), Status> {
        self.events.summarize(ctx, summary).await
    }

    async fn explain(&self, ctx: &RequestContext) -> Result<ApiResponse, Status> {
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
        let events: Vec<Value> = hits
            .iter()
            .filter_map(|h| serde_json::from_slice(&h.event).ok())
            .collect();
        let explanation = explain(&events, self.access.as_deref());
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
            _ => serde_json::to_value(&explanation).unwrap_or_default(),
        };
        Ok(value_response(&tree, negotiated))
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
