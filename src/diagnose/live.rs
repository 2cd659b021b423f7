//! What other requests, the store and the metrics add to a cause.
//!
//! [`Sources`] is all that is asked; nothing here knows which store or which index there is.

use std::collections::BTreeMap;

use async_trait::async_trait;
use chrono::{DateTime, Duration, Utc};

use crate::base::tree::Value;
use crate::diagnose::cause::{Cause, Class};
use crate::diagnose::evidence::{Evidence, EvidenceKind};
use crate::diagnose::trace::{Trace, cluster_of, in_cluster};
use crate::search::query::quote;
use crate::storage::Examination;

/// Events looked at to find out who fills the server.
const LOAD_EVENTS_MAX: usize = 2000;
/// How long before a refusal they may be.
const LOAD_SECONDS: i64 = 10;
/// How far back writers of an object are looked for.
const WRITERS_HOURS: i64 = 24;
/// Users, writers and metrics that are named.
const NAMED_MAX: usize = 3;

/// Where evidence comes from. Whatever cannot be told is left out.
#[async_trait]
pub trait Sources: Send + Sync {
    /// Events of a time that match a query, newest first, as far as the asker may see them.
    async fn events(
        &self,
        query: String,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        limit: usize,
    ) -> Vec<Value>;

    /// How the store is now.
    async fn store(&self) -> Option<Examination>;

    /// The samples of a metric now, in text format.
    fn metric(&self, name: &str) -> Vec<String>;
}

/// Evidence from elsewhere for a cause.
pub async fn evidence(sources: &dyn Sources, event: &Value, cause: &Cause) -> Vec<Evidence> {
    let is_ours = is_of_this_server(event);
    let mut out = match cause.class {
        Class::NotFound => deletions(sources, event).await,
        Class::Conflict | Class::ApplyConflict | Class::PreconditionFailed => {
            writers(sources, event, "written before").await
        }
        Class::AlreadyExists => writers(sources, event, "created or written before").await,
        Class::Throttled => load(sources, event).await,
        Class::StoreUnreachable
        | Class::StoreNoLeader
        | Class::StoreTimeout
        | Class::StoreOverloaded
        | Class::StoreNoSpace
        | Class::StoreTooLarge
        | Class::StorePermissionDenied
        | Class::StoreCorrupt
        | Class::StoreFailed
            if is_ours =>
        {
            store(sources).await
        }
        Class::WebhookTimeout | Class::WebhookFailed => others_like(sources, event, cause).await,
        _ => Vec::new(),
    };
    for name in metrics_of(cause.class).iter().filter(|_| is_ours) {
        for sample in sources.metric(name).into_iter().take(NAMED_MAX) {
            out.push(Evidence::new(
                EvidenceKind::Metric,
                *name,
                format!("metric now: {sample}"),
            ));
        }
    }
    out
}

/// Metrics that say more about a class of causes.
fn metrics_of(class: Class) -> &'static [&'static str] {
    match class {
        Class::Throttled => &["apiserver_current_inflight_requests"],
        Class::WebhookTimeout | Class::WebhookFailed => {
            &["apiserver_admission_webhook_fail_open_count"]
        }
        Class::StoreNoSpace => &["apiserver_storage_size_bytes"],
        _ => &[],
    }
}

/// Whether store and metrics of this server are those that the request met.
fn is_of_this_server(event: &Value) -> bool {
    cluster_of(event).is_none() && Trace::of(event).is_ours
}

/// A query, kept to the cluster that an event is of.
fn same_cluster(event: &Value, query: &str) -> String {
    match in_cluster(event) {
        Some(term) => format!("{term} ({query})"),
        None => format!("-cluster:* ({query})"),
    }
}

fn time_of(event: &Value) -> DateTime<Utc> {
    let text = event["requestReceivedTimestamp"]
        .as_str()
        .unwrap_or_default();
    DateTime::parse_from_rfc3339(text).map_or_else(|_| Utc::now(), |t| t.to_utc())
}

/// A query for successful writes of the event's object.
fn object_query(event: &Value, verbs: &str) -> Option<String> {
    let object = &event["objectRef"];
    let name = object["name"].as_str()?;
    let resource = object["resource"].as_str()?;
    let namespace = object["namespace"].as_str();
    Some(writes_query(event, verbs, (resource, name, namespace)))
}

fn writes_query(
    event: &Value,
    verbs: &str,
    (resource, name, namespace): (&str, &str, Option<&str>),
) -> String {
    let mut query = format!(
        "resource:{} name:{} verb:({verbs}) code:<400 stage:ResponseComplete",
        quote(resource),
        quote(name)
    );
    if let Some(namespace) = namespace {
        query.push_str(&format!(" namespace:{}", quote(namespace)));
    }
    same_cluster(event, &query)
}

/// Deletes of what the answer says is not there, which need not be what was asked for.
fn deletes_query(event: &Value) -> Option<String> {
    let (object, missing) = (&event["objectRef"], &event["responseStatus"]["details"]);
    let (Some(resource), Some(name)) = (missing["kind"].as_str(), missing["name"].as_str()) else {
        return object_query(event, "delete");
    };
    // The namespace is that of the object asked for, another kind may have none.
    let is_same = object["resource"] == resource;
    let namespace = object["namespace"].as_str().filter(|_| is_same);
    Some(writes_query(event, "delete", (resource, name, namespace)))
}

async fn deletions(sources: &dyn Sources, event: &Value) -> Vec<Evidence> {
    let Some(query) = deletes_query(event) else {
        return Vec::new();
    };
    let to = time_of(event);
    let found = sources.events(query, to - Duration::days(30), to, 1).await;
    match found.first() {
        Some(deletion) => vec![Evidence::request(deletion, "it was deleted")],
        None => vec![Evidence::new(
            EvidenceKind::Event,
            "",
            "the record of the last 30 days has no delete of it by name",
        )],
    }
}

async fn writers(sources: &dyn Sources, event: &Value, what: &str) -> Vec<Evidence> {
    let Some(query) = object_query(event, "create OR update OR patch") else {
        return Vec::new();
    };
    // Whoever won may have finished after this request came in.
    let to = time_of(event) + Duration::seconds(1);
    let from = to - Duration::hours(WRITERS_HOURS);
    let found = sources.events(query, from, to, NAMED_MAX).await;
    let others = found.iter().filter(|e| e["auditID"] != event["auditID"]);
    others.map(|e| Evidence::request(e, what)).collect()
}

/// Who asked most in the seconds before.
async fn load(sources: &dyn Sources, event: &Value) -> Vec<Evidence> {
    let at = time_of(event);
    let from = at - Duration::seconds(LOAD_SECONDS);
    let to = at + Duration::seconds(1);
    let query = same_cluster(event, "stage:RequestReceived OR stage:ResponseComplete");
    let events = sources.events(query, from, to, LOAD_EVENTS_MAX).await;
    let mut requests: BTreeMap<(String, String), String> = BTreeMap::new();
    for event in &events {
        let text = |v: &Value| v.as_str().unwrap_or_default().to_string();
        let user = match &event["impersonatedUser"]["username"] {
            Value::String(name) => name.clone(),
            _ => text(&event["user"]["username"]),
        };
        let key = (
            text(&event["auditID"]),
            text(&event["requestReceivedTimestamp"]),
        );
        requests.insert(key, user);
    }
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for user in requests.values() {
        *counts.entry(user).or_default() += 1;
    }
    let mut counts: Vec<(&str, usize)> = counts.into_iter().collect();
    counts.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
    counts
        .into_iter()
        .take(NAMED_MAX)
        .map(|(user, count)| {
            let text = format!(
                "{count} of {} requests in the {LOAD_SECONDS} seconds before came from {user}",
                requests.len()
            );
            Evidence::new(EvidenceKind::Event, user, text)
        })
        .collect()
}

async fn store(sources: &dyn Sources) -> Vec<Evidence> {
    let Some(examination) = sources.store().await else {
        return Vec::new();
    };
    let sentences = examination.in_words().into_iter();
    sentences
        .map(|text| Evidence::new(EvidenceKind::Store, "", format!("the store now: {text}")))
        .collect()
}

/// How often the same stage failed lately.
async fn others_like(sources: &dyn Sources, event: &Value, cause: &Cause) -> Vec<Evidence> {
    let to = time_of(event) + Duration::seconds(1);
    let query = same_cluster(event, &format!("failedStage:{}", quote(&cause.stage)));
    let found = sources
        .events(query, to - Duration::hours(1), to, LOAD_EVENTS_MAX)
        .await;
    if found.len() < 2 {
        return Vec::new();
    }
    let text = format!(
        "{} failed {} times in the hour before",
        cause.stage,
        found.len()
    );
    vec![Evidence::new(
        EvidenceKind::Event,
        cause.stage.as_str(),
        text,
    )]
}
