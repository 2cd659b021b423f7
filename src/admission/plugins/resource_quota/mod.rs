//! ResourceQuota: a namespace uses no more than its quotas allow (contract/admission.md §2b).
//!
//! Runs last in the validating pass. What a write would use is computed by the evaluator of its kind
//! (`usage`), compared with every quota that matches (`scopes`) and charged to `status.used` before the
//! write is stored. Usage that a write gives back, or that was charged for a write that then failed, is
//! corrected by the quota controller, as upstream leaves it.
//!
//! # Invariants
//! - Writes of one namespace are checked one at a time within a server, and charges are compare-and-swap
//!   on the stored quota between servers: whatever runs in parallel, no quota is exceeded.
//! - A dry run charges nothing.
//!
//! # Decisions
//! - The cache says whether a namespace has quotas at all; the quotas themselves are then read from the
//!   store. Upstream reads them from its cache and remembers what it wrote itself; that is faster where
//!   there are quotas, and makes a second server run into conflicts.

mod pod;
mod scopes;
#[cfg(test)]
mod tests;
mod usage;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use dashmap::DashMap;
use tokio::sync::Mutex;

use self::usage::{Evaluator, Usage};
use crate::admission::plugins::{forbidden, text};
use crate::admission::{Admission, AdmissionPlugin, Operation};
use crate::api::names::GroupResource;
use crate::api::objects::Objects;
use crate::api::quantity::Quantity;
use crate::api::status::Status;
use crate::base::tree::{Value, json};

/// How often a charge is tried again when the quota changed under it.
const RETRIES: u32 = 3;
/// Longest wait for the namespace's turn and for the charge.
const EVALUATION_TIMEOUT: Duration = Duration::from_secs(10);

/// The plugin.
pub(super) struct ResourceQuota {
    objects: Arc<dyn Objects>,
    /// Who checks in a namespace holds its lock; a lock that nobody holds or awaits is dropped.
    turns: DashMap<String, Arc<Mutex<()>>>,
}

impl ResourceQuota {
    pub(super) fn new(objects: Arc<dyn Objects>) -> Self {
        ResourceQuota {
            objects,
            turns: DashMap::new(),
        }
    }
}

fn quotas() -> GroupResource {
    GroupResource::new("", "resourcequotas")
}

#[async_trait]
impl AdmissionPlugin for ResourceQuota {
    fn stage(&self) -> &'static str {
        "admission/ResourceQuota"
    }

    fn handles(&self, operation: Operation) -> bool {
        matches!(operation, Operation::Create | Operation::Update)
    }

    fn validates(&self) -> bool {
        true
    }

    async fn validate(&self, admission: &mut Admission<'_>) -> Result<(), Status> {
        if admission.namespace.is_empty() || !admission.resource.namespaced {
            return Ok(());
        }
        let Some(evaluator) = Evaluator::of(admission) else {
            return Ok(());
        };
        let namespace = admission.namespace;
        if self
            .objects
            .list_cached(&quotas(), namespace)
            .await?
            .is_empty()
        {
            return Ok(());
        }
        let turn = self.turns.entry(namespace.to_string()).or_default().clone();
        let outcome = tokio::time::timeout(EVALUATION_TIMEOUT, async {
            let _turn = turn.lock().await;
            self.charge(admission, &evaluator).await
        });
        let outcome = outcome.await;
        drop(turn);
        self.turns
            .remove_if(namespace, |_, turn| Arc::strong_count(turn) == 1);
        outcome.unwrap_or_else(|_| Err(Status::internal("resource quota evaluation timed out")))
    }
}

impl ResourceQuota {
    /// Checks and charges; again with the new quotas where they changed meanwhile.
    async fn charge(&self, admission: &Admission<'_>, evaluator: &Evaluator) -> Result<(), Status> {
        let mut retries = RETRIES;
        loop {
            let mut conflict = None;
            for quota in self.current(admission.namespace).await? {
                let Some(charged) = check(admission, evaluator, &quota)? else {
                    continue;
                };
                if admission.dry_run {
                    continue;
                }
                match self
                    .objects
                    .update_status(&quotas(), admission.namespace, charged)
                    .await
                {
                    Ok(_) => {}
                    Err(status) if status.reason == "Conflict" => {
                        conflict = Some(status);
                        break;
                    }
                    Err(status) => return Err(status),
                }
            }
            match conflict {
                None => return Ok(()),
                Some(status) if retries == 0 => return Err(status),
                Some(_) => retries -= 1,
            }
        }
    }

    /// The namespace's quotas as they are stored, by name.
    async fn current(&self, namespace: &str) -> Result<Vec<Arc<Value>>, Status> {
        let cached = self.objects.list_cached(&quotas(), namespace).await?;
        let mut current = Vec::with_capacity(cached.len());
        for quota in cached {
            let name = text(&quota, "/metadata/name");
            current.extend(self.objects.get(&quotas(), namespace, name).await?);
        }
        Ok(current)
    }
}

/// Compares a write with one quota. Answers the quota with the write charged, or nothing when it does
/// not concern it.
fn check(
    admission: &Admission<'_>,
    evaluator: &Evaluator,
    quota: &Value,
) -> Result<Option<Value>, Status> {
    let name = text(quota, "/metadata/name");
    let object: &Value = admission.object;
    let spec = amounts(&quota["spec"]["hard"]);
    let tracks = |amounts: &Usage| amounts.keys().any(|key| evaluator.tracks(key));
    if !tracks(&spec) || !scopes::match_all(evaluator, quota, object) {
        return Ok(None);
    }
    let hard = amounts(&quota["status"]["hard"]);
    let used = amounts(&quota["status"]["used"]);
    let restricted: Vec<&String> = hard.keys().filter(|key| evaluator.tracks(key)).collect();
    evaluator
        .constraints(&restricted, object)
        .map_err(|why| forbidden(admission, &format!("failed quota: {name}: {why}")))?;
    if restricted.iter().any(|key| !used.contains_key(*key)) {
        let names: Vec<&str> = restricted.iter().map(|key| key.as_str()).collect();
        let why = format!(
            "status unknown for quota: {name}, resources: {}",
            names.join(",")
        );
        return Err(forbidden(admission, &why));
    }
    let requested = requested(admission, evaluator, quota, &hard)?;
    if requested.values().all(Quantity::is_zero) {
        return Ok(None);
    }
    let sum = |key: &str, more: &Quantity| match used.get(key) {
        Some(used) => *used + *more,
        None => *more,
    };
    let exceeded: Vec<&String> = requested
        .iter()
        .filter(|(key, more)| hard.get(*key).is_some_and(|hard| sum(key, more) > *hard))
        .map(|(key, _)| key)
        .collect();
    if !exceeded.is_empty() {
        let why = format!(
            "exceeded quota: {name}, requested: {}, used: {}, limited: {}",
            print(&requested, &exceeded),
            print(&used, &exceeded),
            print(&hard, &exceeded),
        );
        return Err(forbidden(admission, &why));
    }
    let mut charged = quota.clone();
    for (key, more) in &requested {
        charged["status"]["used"][key.as_str()] = json!(sum(key, more).to_string());
    }
    Ok(Some(charged))
}

/// What the write uses more than before, of what the quota limits.
fn requested(
    admission: &Admission<'_>,
    evaluator: &Evaluator,
    quota: &Value,
    hard: &Usage,
) -> Result<Usage, Status> {
    let mut usage = evaluator.usage(admission.object);
    let negative: Vec<&str> = usage
        .iter()
        .filter(|(_, amount)| amount.sign() < 0)
        .map(|(key, _)| key.as_str())
        .collect();
    if !negative.is_empty() {
        let why = format!(
            "quota usage is negative for resource(s): {}",
            negative.join(",")
        );
        return Err(forbidden(admission, &why));
    }
    let old = admission
        .old_object
        .filter(|_| admission.operation == Operation::Update)
        .filter(|old| scopes::match_all(evaluator, quota, old));
    if let Some(old) = old {
        let before = evaluator.usage(old);
        for (key, amount) in &mut usage {
            let less = before.get(key).copied().unwrap_or(Quantity::ZERO);
            *amount = (*amount - less).max(Quantity::ZERO);
        }
    }
    usage.retain(|key, _| hard.contains_key(key));
    Ok(usage)
}

/// A resource list.
fn amounts(list: &Value) -> Usage {
    let members = list.as_object().into_iter().flatten();
    members
        .filter_map(|(key, value)| Some((key.to_string(), Quantity::parse(value.as_str()?).ok()?)))
        .collect()
}

/// `k=v,k=v` of some keys.
fn print(amounts: &BTreeMap<String, Quantity>, keys: &[&String]) -> String {
    let parts: Vec<String> = keys
        .iter()
        .filter_map(|key| Some(format!("{key}={}", amounts.get(*key)?)))
        .collect();
    parts.join(",")
}
