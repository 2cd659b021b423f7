//! Delete: preconditions, grace, finalizers, propagation.
//!
//! The rules are those of upstream's generic store (contract/verbs.md §7). A delete either removes
//! the object at once or marks it, and an update that empties the last finalizer removes it later.

use crate::admission::{Admission, AdmissionChain, Operation, Reinvocation};
use crate::api::options::DeleteOptions;
use crate::api::status::{Details, Status};
use crate::base::tree::{Value, json};
use crate::registry::errors::{StorageOperation, storage_status};
use crate::registry::stages::store_stage;
use crate::registry::update::Existing;
use crate::registry::{Registry, Target, meta};
use crate::request::RequestContext;
use crate::storage::{Error, Revision};

const ORPHAN: &str = "orphan";
const FOREGROUND: &str = "foregroundDeletion";

/// What a delete left.
#[derive(Clone, Debug)]
pub struct Deletion {
    /// The object as it last was, or as it is now marked.
    pub object: Value,
    /// Whether it is gone.
    pub removed: bool,
}

/// What a delete answers.
#[derive(Clone, Debug)]
pub enum Deleted {
    /// The object.
    Object(Value),
    /// A Success status.
    Status(Status),
}

impl Registry {
    /// Deletes the target.
    pub async fn delete(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        options: &DeleteOptions,
    ) -> Result<Deletion, Status> {
        if let Some(chain) = self.admission.get() {
            self.admit_delete(chain, ctx, target, options).await?;
        }
        self.delete_unadmitted(ctx, target, options).await
    }

    /// As [`Registry::delete`], past admission: for what the server itself deletes.
    pub async fn delete_unadmitted(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        options: &DeleteOptions,
    ) -> Result<Deletion, Status> {
        if let Some(why) = target.strategy().undeletable(&target.name) {
            let resource = target.resource.group_resource();
            return Err(Status::forbidden(&resource, &target.name, why));
        }
        let not_found = || Status::not_found(&target.resource.group_resource(), &target.name);
        loop {
            let existing = self
                .read_live_existing(ctx, target)
                .await?
                .ok_or_else(not_found)?;
            check_preconditions(target, &existing.object, options)?;
            if let Some(deletion) = self.delete_once(ctx, target, existing, options).await? {
                return Ok(deletion);
            }
        }
    }

    /// The answer of a delete: the object where the kind returns it or it is still there.
    pub fn deletion_answer(&self, target: &Target, deletion: Deletion) -> Deleted {
        if !deletion.removed || target.resource.returns_deleted_object {
            return Deleted::Object(deletion.object);
        }
        Deleted::Status(Status::success(
            200,
            Some(Details {
                name: target.name.clone(),
                group: target.resource.group.to_string(),
                kind: target.resource.plural.to_string(),
                uid: meta::text(&deletion.object, "uid").to_string(),
                ..Details::default()
            }),
        ))
    }

    /// One attempt; `None` when it lost a race.
    async fn delete_once(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        existing: Existing,
        options: &DeleteOptions,
    ) -> Result<Option<Deletion>, Status> {
        let strategy = target.strategy();
        let mut object = existing.object.clone();
        let grace = strategy.grace_period(&object, options.grace_period_seconds);
        let was_deleting = meta::is_being_deleted(&object);
        let mut rules = strategy.deletion();
        rules.no_garbage_collection |= !self.options.garbage_collector;
        let finalizers = finalizers_after(&object, rules, options);
        let held = !finalizers.is_empty() || strategy.is_held(&object);

        let remaining = match (grace, was_deleting) {
            (None, _) | (Some(0), _) => 0,
            (Some(grace), false) => grace,
            // A delete of a terminating object may only shorten its grace period.
            (Some(grace), true) => grace.min(meta::deletion_grace_period(&object).unwrap_or(grace)),
        };
        set_finalizers(&mut object, &finalizers);
        let first_mark = !was_deleting;
        let shortened = was_deleting && meta::deletion_grace_period(&object) != Some(remaining);
        if first_mark || (grace.is_some() && shortened) {
            meta::set(
                &mut object,
                "deletionTimestamp",
                Some(json!(meta::seconds_from_now(remaining))),
            );
            meta::set(
                &mut object,
                "deletionGracePeriodSeconds",
                Some(json!(remaining)),
            );
            if first_mark && meta::generation(&object) > 0 {
                let generation = meta::generation(&object) + 1;
                meta::set(&mut object, "generation", Some(json!(generation)));
            }
        }
        strategy.mark_deleted(&mut object);

        if remaining > 0 || held {
            return self.mark(ctx, target, existing, object, options).await;
        }
        if grace.is_none() {
            return self
                .remove(ctx, target, existing.object, existing.revision, options)
                .await;
        }
        // Watchers of gracefully deleted kinds see the mark before the object goes.
        let revision = existing.revision;
        let Some(marked) = self.mark(ctx, target, existing, object, options).await? else {
            return Ok(None);
        };
        let revision = match options.dry_run {
            true => revision,
            false => meta::revision(&marked.object).unwrap_or(revision),
        };
        self.remove(ctx, target, marked.object, revision, options)
            .await
    }

    async fn remove(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        mut object: Value,
        revision: Revision,
        options: &DeleteOptions,
    ) -> Result<Option<Deletion>, Status> {
        if !options.dry_run {
            let key = self.key(target);
            let deleted = self.storage.delete(&key, revision);
            match store_stage(ctx, StorageOperation::Delete, deleted).await {
                Ok(revision) => {
                    meta::set_text(&mut object, "resourceVersion", &revision.to_string())
                }
                Err(Error::Conflict { .. }) => return Ok(None),
                Err(error) => {
                    let name = &target.name;
                    return Err(storage_status(
                        &error,
                        &target.resource,
                        name,
                        StorageOperation::Delete,
                    ));
                }
            }
            self.release(target, &object).await;
        }
        Ok(Some(Deletion {
            object,
            removed: true,
        }))
    }

    async fn mark(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        existing: Existing,
        mut object: Value,
        options: &DeleteOptions,
    ) -> Result<Option<Deletion>, Status> {
        let resource = &target.resource;
        let is_marked = self.stores_the_same(&object, &existing.object, resource);
        if !is_marked && !options.dry_run {
            let key = self.key(target);
            let (stored, ttl) = (self.stored(&object, resource), self.ttl(resource));
            let updated = self.storage.update(&key, stored, existing.revision, ttl);
            match store_stage(ctx, StorageOperation::Update, updated).await {
                Ok(revision) => {
                    meta::set_text(&mut object, "resourceVersion", &revision.to_string())
                }
                Err(Error::Conflict { .. }) => return Ok(None),
                Err(error) => {
                    let name = &target.name;
                    return Err(storage_status(
                        &error,
                        &target.resource,
                        name,
                        StorageOperation::Delete,
                    ));
                }
            }
        }
        Ok(Some(Deletion {
            object,
            removed: false,
        }))
    }

    async fn admit_delete(
        &self,
        chain: &AdmissionChain,
        ctx: &mut RequestContext,
        target: &Target,
        options: &DeleteOptions,
    ) -> Result<(), Status> {
        let old = self.read_cached_tree(target).await?;
        let user = ctx.user();
        let mut nothing = Value::Null;
        let mut admission = Admission {
            operation: Operation::Delete,
            resource: &target.resource,
            subresource: &target.subresource,
            namespace: &target.namespace,
            name: &target.name,
            name_is_generated: false,
            object: &mut nothing,
            old_object: old.as_ref(),
            options: &options.raw,
            dry_run: options.dry_run,
            user: &user,
            ctx,
            reinvocation: Reinvocation::default(),
        };
        chain.admit(&mut admission).await?;
        chain.validate(&mut admission).await
    }
}

/// UID and resourceVersion must be as the client said. Note that the texts name the *Kind*.
fn check_preconditions(
    target: &Target,
    object: &Value,
    options: &DeleteOptions,
) -> Result<(), Status> {
    let fail = |why: String| {
        let mut kind = target.resource.group_resource();
        kind.resource = target.resource.kind.clone();
        Err(Status::conflict(&kind, &target.name, &why))
    };
    let uid = meta::text(object, "uid");
    if let Some(wanted) = options.precondition_uid.as_deref()
        && wanted != uid
    {
        return fail(format!(
            "the UID in the precondition ({wanted}) does not match the UID in record ({uid}). \
             The object might have been deleted and then recreated"
        ));
    }
    let version = meta::text(object, "resourceVersion");
    if let Some(wanted) = options.precondition_resource_version.as_deref()
        && wanted != version
    {
        return fail(format!(
            "the ResourceVersion in the precondition ({wanted}) does not match the ResourceVersion in record ({version}). \
             The object might have been modified"
        ));
    }
    Ok(())
}

/// The finalizers after the propagation policy is applied.
fn finalizers_after(
    object: &Value,
    rules: crate::registry::strategy::DeletionRules,
    options: &DeleteOptions,
) -> Vec<String> {
    let mut finalizers: Vec<String> = meta::finalizers(object)
        .into_iter()
        .map(str::to_string)
        .collect();
    if rules.no_garbage_collection {
        return finalizers;
    }
    let has = |name: &str| finalizers.iter().any(|f| f == name);
    let (orphan, foreground) = match (
        options.orphan_dependents,
        options.propagation_policy.as_deref(),
    ) {
        (Some(orphan), _) => (orphan, false),
        (None, Some("Orphan")) => (true, false),
        (None, Some("Foreground")) => (false, true),
        (None, Some("Background")) => (false, false),
        _ if has(ORPHAN) => (true, has(FOREGROUND)),
        _ if has(FOREGROUND) => (false, true),
        _ => (rules.orphans_by_default, false),
    };
    finalizers.retain(|f| f != ORPHAN && f != FOREGROUND);
    if orphan {
        finalizers.push(ORPHAN.into());
    }
    if foreground {
        finalizers.push(FOREGROUND.into());
    }
    finalizers
}

fn set_finalizers(object: &mut Value, finalizers: &[String]) {
    let value = (!finalizers.is_empty()).then(|| json!(finalizers));
    meta::set(object, "finalizers", value);
}
