//! Update: PUT, every kind of PATCH, and the status and scale subresources.
//!
//! One loop for all: read the object, let the caller's transform make the new one, admit, validate,
//! compare-and-swap; on a lost race again with what won.

use crate::admission::{AdmissionChain, Operation};
use crate::api::field::{FieldErrors, Path};
use crate::api::managed_fields;
use crate::api::names::GroupKind;
use crate::api::options::WriteOptions;
use crate::api::resource::Resource;
use crate::api::status::Status;
use crate::base::tree::{Key, Map, Value, json};
use crate::registry::create::Admit;
use crate::registry::errors::{StorageOperation, storage_status};
use crate::registry::stages::store_stage;
use crate::registry::strategies::common::meta as meta_rules;
use crate::registry::strategy::WriteContext;
use crate::registry::{Registry, Target, Written, meta};
use crate::request::RequestContext;
use crate::storage::{Error, Revision};

/// What a transform makes of the stored object.
pub struct Transform {
    /// The new object, decoded, defaulted and in the version of the target.
    pub object: Value,
    /// Warning header texts (unknown fields in a patch result).
    pub warnings: Vec<String>,
}

/// What [`Update::transform`] is.
pub type TransformFn<'a> = Box<dyn FnMut(Option<&Value>) -> Result<Transform, Status> + Send + 'a>;

/// One update.
pub struct Update<'a> {
    /// Makes the new object of the stored one (`None` when there is none and `creates`). May be
    /// called again when the write lost a race.
    pub transform: TransformFn<'a>,
    /// UID that the stored object must have, as storage words it (PUT with a uid).
    pub precondition_uid: Option<String>,
    /// A missing object is created.
    pub creates: bool,
    /// Options of the request.
    pub options: &'a WriteOptions,
}

/// A stored object as it was read.
pub(super) struct Existing {
    pub(super) object: Value,
    pub(super) revision: Revision,
    /// Read from the watch cache, so it may be old.
    from_cache: bool,
}

/// A new object on its way to the store.
struct Pending {
    object: Value,
    warnings: Vec<String>,
    /// The client said which version it saw.
    asked_version: bool,
}

/// What one round of the loop came to.
enum Round {
    Done(Box<Written>),
    /// Lost a race, or the cached copy was too old to decide on.
    Again,
}

impl Registry {
    /// Updates the target.
    pub async fn update(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        update: Update<'_>,
    ) -> Result<Written, Status> {
        self.update_with(ctx, target, update, self.admission.get())
            .await
    }

    /// As [`Registry::update`], past admission: for what the server itself writes.
    pub async fn update_unadmitted(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        update: Update<'_>,
    ) -> Result<Written, Status> {
        self.update_with(ctx, target, update, None).await
    }

    async fn update_with(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        mut update: Update<'_>,
        chain: Option<&AdmissionChain>,
    ) -> Result<Written, Status> {
        // A dry run ends without the compare-and-swap that would notice an old copy.
        let mut existing = match update.options.dry_run {
            true => None,
            false => self.read_cached_existing(target).await?,
        };
        loop {
            let Some(current) = existing else {
                if let Some(live) = self.read_live_existing(ctx, target).await? {
                    existing = Some(live);
                    continue;
                }
                return self.create_on_update(ctx, target, update, chain).await;
            };
            let from_cache = current.from_cache;
            match self
                .update_round(ctx, target, &current, &mut update, chain)
                .await
            {
                Ok(Round::Done(written)) => return Ok(*written),
                Ok(Round::Again) => existing = self.read_live_existing(ctx, target).await?,
                // The decision may rest on an old copy: look once more, live.
                Err(status) if from_cache => match self.read_live_existing(ctx, target).await? {
                    Some(live) if live.revision == current.revision => return Err(status),
                    live => existing = live,
                },
                Err(status) => return Err(status),
            }
        }
    }

    async fn create_on_update(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        mut update: Update<'_>,
        chain: Option<&AdmissionChain>,
    ) -> Result<Written, Status> {
        if !update.creates {
            return Err(Status::not_found(
                &target.resource.group_resource(),
                &target.name,
            ));
        }
        if let Some(uid) = update.precondition_uid.as_deref() {
            return Err(self.uid_precondition_failed(target, uid, ""));
        }
        let transform = (update.transform)(None)?;
        for warning in transform.warnings {
            ctx.warn(warning);
        }
        let mut object = transform.object;
        meta::set(&mut object, "resourceVersion", None);
        self.create_with(ctx, target, object, update.options, chain)
            .await
    }

    async fn update_round(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        existing: &Existing,
        update: &mut Update<'_>,
        chain: Option<&AdmissionChain>,
    ) -> Result<Round, Status> {
        let old = &existing.object;
        if let Some(uid) = update.precondition_uid.as_deref()
            && uid != meta::text(old, "uid")
        {
            return Err(self.uid_precondition_failed(target, uid, meta::text(old, "uid")));
        }
        let Transform {
            mut object,
            mut warnings,
        } = (update.transform)(Some(old))?;
        warnings.extend(meta::drop_duplicate_owners(&mut object));
        let asked_version = self.check_version(target, &mut object, old)?;
        self.track(
            ctx,
            target,
            Some(old),
            &mut object,
            update.options,
            chain.is_none(),
        );
        let admit = Admit {
            chain,
            target,
            operation: Operation::Update,
            generated: false,
            old: Some(old),
            options: update.options,
        };
        admit.mutate(ctx, &mut object).await?;
        let user = ctx.user();
        let write = target.write_context(Some(&user));
        self.prepare_update(target, &mut object, old, &write);
        let allocation = self
            .allocate(target, &mut object, Some(old), update.options.dry_run)
            .await?;
        let pending = Pending {
            object,
            warnings,
            asked_version,
        };
        let outcome = self
            .store_update(ctx, &admit, existing, pending, &write)
            .await;
        self.settle(allocation, matches!(outcome, Ok(Round::Done(_))))
            .await;
        if let Ok(Round::Done(written)) = &outcome
            && written.removed
            && !update.options.dry_run
        {
            self.release(target, &written.object).await;
        }
        outcome
    }

    /// Validates and stores what is complete.
    async fn store_update(
        &self,
        ctx: &mut RequestContext,
        admit: &Admit<'_>,
        existing: &Existing,
        pending: Pending,
        write: &WriteContext<'_>,
    ) -> Result<Round, Status> {
        let Pending {
            mut object,
            warnings,
            asked_version,
        } = pending;
        let (target, options, old) = (admit.target, admit.options, &existing.object);
        let resource = &target.resource;
        self.check_update(ctx, target, &object, old, write)?;
        admit.validate(ctx, &mut object).await?;
        for warning in warnings {
            ctx.warn(warning);
        }

        managed_fields::keep_times(old, &mut object);
        if self.stores_the_same(&object, old, resource) {
            if existing.from_cache {
                return Ok(Round::Again);
            }
            ctx.audit.no_op = true;
            meta::set_text(
                &mut object,
                "resourceVersion",
                &existing.revision.to_string(),
            );
            return Ok(Round::Done(Box::new(Written {
                object,
                created: false,
                no_op: true,
                removed: false,
                stored: None,
            })));
        }
        if self.deletion_is_complete(target, &object) {
            return self
                .remove_by_update(ctx, target, object, existing, options)
                .await;
        }
        if options.dry_run {
            meta::set_text(
                &mut object,
                "resourceVersion",
                &existing.revision.to_string(),
            );
            return Ok(Round::Done(Box::new(Written {
                object,
                created: false,
                no_op: false,
                removed: false,
                stored: None,
            })));
        }
        let key = self.key(target);
        let stored = self.stored(&object, resource);
        let ttl = self.ttl(resource);
        let written = self
            .storage
            .update(&key, stored.clone(), existing.revision, ttl);
        match store_stage(ctx, StorageOperation::Update, written).await {
            Ok(revision) => {
                meta::set_text(&mut object, "resourceVersion", &revision.to_string());
                Ok(Round::Done(Box::new(Written {
                    object,
                    created: false,
                    no_op: false,
                    removed: false,
                    stored: Some((stored, revision)),
                })))
            }
            Err(Error::Conflict { .. }) if asked_version && !existing.from_cache => {
                Err(Status::modified(&resource.group_resource(), &target.name))
            }
            Err(Error::Conflict { .. }) => Ok(Round::Again),
            Err(error) => Err(storage_status(
                &error,
                resource,
                &target.name,
                StorageOperation::Update,
            )),
        }
    }

    /// Whether a write would store what is stored. Only where conversion comes between must both be
    /// written to know.
    pub(super) fn stores_the_same(&self, object: &Value, old: &Value, resource: &Resource) -> bool {
        if resource.group_version() == resource.storage_version {
            return equal_when_stored(object, old);
        }
        self.stored(object, resource) == self.stored(old, resource)
    }

    /// Compares the resourceVersion of the new object with the stored one. Answers whether the
    /// client asked for one.
    fn check_version(
        &self,
        target: &Target,
        object: &mut Value,
        old: &Value,
    ) -> Result<bool, Status> {
        let resource = &target.resource;
        let asked = meta::text(object, "resourceVersion").to_string();
        let parsed: u64 = if asked.is_empty() {
            0
        } else {
            let quoted = crate::api::field::go_quote(&asked);
            asked.parse().map_err(|_| {
                Status::failure(
                    500,
                    "",
                    format!("strconv.ParseUint: parsing {quoted}: invalid syntax"),
                )
            })?
        };
        let stored = meta::text(old, "resourceVersion");
        if parsed == 0 {
            if !resource.allow_unconditional_update {
                let mut errors = FieldErrors::default();
                let path = Path::ROOT
                    .field("metadata")
                    .field("resourceVersion")
                    .to_string();
                errors.invalid(
                    &Path::ROOT.field(&path),
                    &json!(0),
                    "must be specified for an update",
                );
                let kind = GroupKind::new(resource.group.clone(), resource.plural.clone());
                return Err(Status::invalid(&kind, &target.name, &errors));
            }
            meta::set_text(object, "resourceVersion", stored);
            return Ok(false);
        }
        if asked != stored {
            return Err(Status::modified(&resource.group_resource(), &target.name));
        }
        Ok(true)
    }

    /// Takes over what an update may not change and counts the generation.
    fn prepare_update(
        &self,
        target: &Target,
        object: &mut Value,
        old: &Value,
        write: &WriteContext<'_>,
    ) {
        let strategy = target.strategy();
        let resource = &target.resource;
        for member in ["creationTimestamp", "generation", "selfLink"] {
            meta::set(object, member, meta::metadata(old).get(member).cloned());
        }
        for member in ["uid", "deletionTimestamp", "deletionGracePeriodSeconds"] {
            if meta::metadata(object)
                .get(member)
                .is_none_or(Value::is_null)
            {
                meta::set(object, member, meta::metadata(old).get(member).cloned());
            }
        }
        if resource.has_status() {
            match target.subresource.as_str() {
                // An approval is a status write that only one kind has.
                "status" | "approval" => keep_all_but_status(object, old),
                // Binding sets the node and says so in the status; it is no new generation.
                "binding" => {}
                _ => keep_status(object, old),
            }
        }
        strategy.prepare_for_update(object, old, write);
        if resource.tracks_generation
            && !matches!(target.subresource.as_str(), "status" | "binding")
            && strategy.spec_changed(object, old)
        {
            meta::set(object, "generation", Some(json!(meta::generation(old) + 1)));
        }
    }

    fn check_update(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        object: &Value,
        old: &Value,
        write: &WriteContext<'_>,
    ) -> Result<(), Status> {
        let began = ctx.stages.begin("validation");
        let mut errors = FieldErrors::default();
        let path = Path::ROOT.field("metadata");
        let strategy = target.strategy();
        meta_rules::validate_object_meta_update(
            &object["metadata"],
            &old["metadata"],
            &path,
            &mut errors,
        );
        // Upstream checks metadata in the registry and again in every strategy; clients see both.
        let again = errors.clone();
        errors.extend(again);
        strategy.validate(object, Some(old), write, &mut errors);
        if target.subresource.is_empty() {
            self.check_capabilities(target, object, &mut errors);
        }
        if !errors.is_empty() {
            ctx.stages
                .end("validation", began, "invalid", errors.to_aggregate());
            return Err(Status::invalid(
                &target.resource.internal_group_kind(),
                &target.name,
                &errors,
            ));
        }
        ctx.stages.end("validation", began, "ok", "");
        for warning in strategy.warnings(object, Some(old), write) {
            ctx.warn(warning);
        }
        Ok(())
    }

    async fn remove_by_update(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        mut object: Value,
        existing: &Existing,
        options: &WriteOptions,
    ) -> Result<Round, Status> {
        if !options.dry_run {
            let key = self.key(target);
            let deleted = self.storage.delete(&key, existing.revision);
            match store_stage(ctx, StorageOperation::Delete, deleted).await {
                Ok(_) => {}
                Err(Error::Conflict { .. }) => return Ok(Round::Again),
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
        meta::set_text(
            &mut object,
            "resourceVersion",
            &existing.revision.to_string(),
        );
        Ok(Round::Done(Box::new(Written {
            object,
            created: false,
            no_op: false,
            removed: true,
            stored: None,
        })))
    }

    /// Whether nothing holds a deleted object any longer.
    pub(super) fn deletion_is_complete(&self, target: &Target, object: &Value) -> bool {
        meta::is_being_deleted(object)
            && meta::deletion_grace_period(object).unwrap_or(0) == 0
            && meta::finalizers(object).is_empty()
            && !target.strategy().is_held(object)
    }

    fn uid_precondition_failed(&self, target: &Target, wanted: &str, found: &str) -> Status {
        let key = self.key(target);
        let why = format!(
            "StorageError: invalid object, Code: 4, Key: {key}, ResourceVersion: 0, AdditionalErrorMsg: \
             Precondition failed: UID in precondition: {wanted}, UID in object meta: {found}"
        );
        Status::conflict(&target.resource.group_resource(), &target.name, &why)
    }

    async fn read_cached_existing(&self, target: &Target) -> Result<Option<Existing>, Status> {
        let Some(cached) = self.cached(target).await? else {
            return Ok(None);
        };
        let object = self.cached_tree(&cached, &target.resource)?;
        Ok(Some(Existing {
            object,
            revision: cached.revision(),
            from_cache: true,
        }))
    }

    /// Reads the target from the store.
    pub(super) async fn read_live_existing(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
    ) -> Result<Option<Existing>, Status> {
        let key = self.key(target);
        let got = store_stage(ctx, StorageOperation::Get, self.storage.get(&key))
            .await
            .map_err(|e| {
                storage_status(&e, &target.resource, &target.name, StorageOperation::Get)
            })?;
        let Some(kv) = got.kv else { return Ok(None) };
        let object = self
            .tree(&kv.value, kv.mod_revision, &target.resource)
            .map_err(|error| super::read::corrupt(&target.resource, &key, &error))?;
        Ok(Some(Existing {
            object,
            revision: kv.mod_revision,
            from_cache: false,
        }))
    }
}

/// Whether two trees of one version are stored alike: what the store's form leaves out or fixes
/// (see [`crate::api::bytes`]) does not count.
fn equal_when_stored(a: &Value, b: &Value) -> bool {
    fn but<'a>(
        members: &'a Map,
        uncounted: &'static [&'static str],
    ) -> impl Iterator<Item = (&'a Key, &'a Value)> {
        let members = members.iter();
        members.filter(|(member, _)| !uncounted.contains(&member.as_str()))
    }
    let (Value::Object(a_members), Value::Object(b_members)) = (a, b) else {
        return a == b;
    };
    let (a_metadata, b_metadata) = (meta::metadata(a), meta::metadata(b));
    let fixed = &["kind", "apiVersion", "metadata"];
    let left_out = &["resourceVersion", "selfLink"];
    but(a_metadata, left_out).eq(but(b_metadata, left_out))
        && but(a_members, fixed).eq(but(b_members, fixed))
}

/// A main-resource write keeps the stored status.
fn keep_status(object: &mut Value, old: &Value) {
    let Some(map) = object.as_object_mut() else {
        return;
    };
    match old.get("status") {
        // Comparing is cheaper than a copy.
        Some(status) if map.get("status") == Some(status) => {}
        Some(status) => {
            map.insert("status".into(), status.clone());
        }
        None => {
            map.remove("status");
        }
    }
}

/// A status write keeps everything but status and metadata.
fn keep_all_but_status(object: &mut Value, old: &Value) {
    let (Some(map), Some(old)) = (object.as_object_mut(), old.as_object()) else {
        return;
    };
    map.retain(|key, _| matches!(key.as_str(), "status" | "metadata" | "kind" | "apiVersion"));
    for (key, value) in old {
        if key != "status" && key != "metadata" {
            map.insert(key.clone(), value.clone());
        }
    }
}
