//! Create: POST, and PUT or apply of what is not there.

use crate::admission::{Admission, AdmissionChain, Operation, Reinvocation};
use crate::api::field::{FieldErrors, Path};
use crate::api::options::WriteOptions;
use crate::api::resource::Resource;
use crate::api::schema;
use crate::api::status::Status;
use crate::base::tree::{Value, json};
use crate::registry::allocate::Allocation;
use crate::registry::errors::{StorageOperation, storage_status};
use crate::registry::stages::store_stage;
use crate::registry::strategies::common::meta as meta_rules;
use crate::registry::{Registry, Target, Written, meta};
use crate::request::{RequestContext, UserInfo};
use crate::storage::Error;

/// Attempts to find a free generated name.
const GENERATE_NAME_ATTEMPTS: usize = 8;

impl Registry {
    /// Creates `object`, which is decoded, defaulted and in the version of the target. The target's
    /// name may be empty; the object's then counts.
    pub async fn create(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        self.create_with(ctx, target, object, options, self.admission.get())
            .await
    }

    /// As [`Registry::create`], past admission: for what the server itself creates.
    pub async fn create_unadmitted(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        object: Value,
        options: &WriteOptions,
    ) -> Result<Written, Status> {
        self.create_with(ctx, target, object, options, None).await
    }

    pub(super) async fn create_with(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        mut object: Value,
        options: &WriteOptions,
        chain: Option<&AdmissionChain>,
    ) -> Result<Written, Status> {
        match_namespace(&mut object, target)?;
        refuse_resource_version(&object)?;
        fill_system_metadata(&mut object);
        if let Some(warning) = meta::drop_duplicate_owners(&mut object) {
            ctx.warn(warning);
        }
        let generated =
            meta::name(&object).is_empty() && !meta::text(&object, "generateName").is_empty();
        let attempts = if generated { GENERATE_NAME_ATTEMPTS } else { 1 };
        for attempt in 1..=attempts {
            let mut candidate = object.clone_unless_last(attempt == attempts);
            if generated {
                let name = meta::generate_name(meta::text(&candidate, "generateName"));
                meta::set_text(&mut candidate, "name", &name);
            }
            let new = New {
                object: candidate,
                generated,
            };
            match self.create_once(ctx, target, new, options, chain).await {
                Err(status) if generated && status.reason == "AlreadyExists" => {
                    if attempt == attempts {
                        return Err(names_exhausted(status));
                    }
                }
                outcome => return outcome,
            }
        }
        Err(Status::internal("no attempt was made to create the object"))
    }

    async fn create_once(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        new: New,
        options: &WriteOptions,
        chain: Option<&AdmissionChain>,
    ) -> Result<Written, Status> {
        let New {
            mut object,
            generated,
        } = new;
        let resource = target.resource.clone();
        let strategy = target.strategy();
        let name = meta::name(&object).to_string();
        let named = target.with_name(meta::namespace(&object), &name);

        let admit = Admit {
            chain,
            target: &named,
            operation: Operation::Create,
            generated,
            old: None,
            options,
        };
        self.track(ctx, &named, None, &mut object, options, chain.is_none());
        admit.mutate(ctx, &mut object).await?;

        let user = ctx.user();
        let write = named.write_context(Some(&user));
        if resource.has_status() && !resource.custom && !strategy.keeps_status_on_create() {
            strip_status(&mut object, &resource);
        }
        strategy.prepare_for_create(&mut object, &write);
        if resource.tracks_generation {
            meta::set(&mut object, "generation", Some(json!(1)));
        }
        let allocation = self
            .allocate(&named, &mut object, None, options.dry_run)
            .await?;
        let outcome = self.store_new(ctx, &admit, object, &write).await;
        self.settle(allocation, outcome.is_ok()).await;
        outcome
    }

    /// Validates and stores what is complete.
    async fn store_new(
        &self,
        ctx: &mut RequestContext,
        admit: &Admit<'_>,
        mut object: Value,
        write: &crate::registry::strategy::WriteContext<'_>,
    ) -> Result<Written, Status> {
        let (named, options) = (admit.target, admit.options);
        let resource = named.resource.clone();
        self.check_new(ctx, named, &object, write)?;
        admit.validate(ctx, &mut object).await?;

        if options.dry_run {
            return self.dry_create(ctx, named, object).await;
        }
        let stored = self.stored(&object, &resource);
        let key = self.key(named);
        let ttl = self.ttl(&resource);
        let created = self.storage.create(&key, stored.clone(), ttl);
        match store_stage(ctx, StorageOperation::Create, created).await {
            Ok(revision) => {
                meta::set_text(&mut object, "resourceVersion", &revision.to_string());
                Ok(Written {
                    object,
                    created: true,
                    no_op: false,
                    removed: false,
                    stored: Some((stored, revision)),
                })
            }
            Err(Error::KeyExists { .. }) => Err(self.exists_status(named).await),
            Err(error) => Err(storage_status(
                &error,
                &resource,
                &named.name,
                StorageOperation::Create,
            )),
        }
    }

    /// Takes what the object needs of shared pools.
    pub(super) async fn allocate(
        &self,
        target: &Target,
        object: &mut Value,
        old: Option<&Value>,
        dry_run: bool,
    ) -> Result<Option<Allocation>, Status> {
        let allocator = target.strategy().allocator();
        let Some(allocator) = allocator.filter(|_| target.subresource.is_empty()) else {
            return Ok(None);
        };
        let allocation = allocator.allocate(self, object, old, dry_run).await?;
        Ok(Some(allocation))
    }

    /// Ends an allocation: the write it was for succeeded or not.
    pub(super) async fn settle(&self, allocation: Option<Allocation>, succeeded: bool) {
        match allocation {
            None => {}
            Some(allocation) if succeeded => allocation.commit(self).await,
            Some(allocation) => allocation.abort(self).await,
        }
    }

    /// Gives back what a removed object held.
    pub(super) async fn release(&self, target: &Target, object: &Value) {
        if let Some(allocator) = target.strategy().allocator() {
            allocator.release(self, object).await;
        }
    }

    /// Object metadata, then the strategy's rules, then warnings.
    fn check_new(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        object: &Value,
        write: &crate::registry::strategy::WriteContext<'_>,
    ) -> Result<(), Status> {
        let began = ctx.stages.begin("validation");
        let mut errors = FieldErrors::default();
        let strategy = target.strategy();
        let namespaced = target.resource.namespaced;
        let path = Path::ROOT.field("metadata");
        let rule = strategy.name_rule();
        meta_rules::validate_object_meta(&object["metadata"], namespaced, rule, &path, &mut errors);
        strategy.validate(object, None, write, &mut errors);
        self.check_capabilities(target, object, &mut errors);
        if !errors.is_empty() {
            ctx.stages
                .end("validation", began, "invalid", errors.to_aggregate());
            for warning in strategy.warnings_when_refused(object) {
                ctx.warn(warning);
            }
            let kind = target.resource.internal_group_kind();
            return Err(Status::invalid(&kind, meta::name(object), &errors));
        }
        ctx.stages.end("validation", began, "ok", "");
        for warning in strategy.warnings(object, None, write) {
            ctx.warn(warning);
        }
        Ok(())
    }

    async fn dry_create(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        object: Value,
    ) -> Result<Written, Status> {
        let key = self.key(target);
        let got = self.storage.get(&key);
        let got = store_stage(ctx, StorageOperation::Get, got)
            .await
            .map_err(|e| {
                storage_status(&e, &target.resource, &target.name, StorageOperation::Get)
            })?;
        if got.kv.is_some() {
            return Err(self.exists_status(target).await);
        }
        Ok(Written {
            object,
            created: true,
            no_op: false,
            removed: false,
            stored: None,
        })
    }

    /// 409 `AlreadyExists`; says so when the object there is being deleted.
    async fn exists_status(&self, target: &Target) -> Status {
        let mut status = Status::already_exists(&target.resource.group_resource(), &target.name);
        if let Ok(Some(existing)) = self.read_live(target).await
            && meta::is_being_deleted(&existing)
        {
            status.message = format!("object is being deleted: {}", status.message);
        }
        status
    }
}

/// A new object, and whether its name was made from generateName.
struct New {
    object: Value,
    generated: bool,
}

/// Admission of one create or update.
pub(super) struct Admit<'a> {
    /// `None` past admission.
    pub(super) chain: Option<&'a AdmissionChain>,
    pub(super) target: &'a Target,
    pub(super) operation: Operation,
    /// The name was made from generateName.
    pub(super) generated: bool,
    pub(super) old: Option<&'a Value>,
    pub(super) options: &'a WriteOptions,
}

impl Admit<'_> {
    /// The mutating pass.
    pub(super) async fn mutate(
        &self,
        ctx: &mut RequestContext,
        object: &mut Value,
    ) -> Result<(), Status> {
        let Some(chain) = self.chain else {
            return Ok(());
        };
        let (user, options) = (
            ctx.user(),
            self.options.to_json(options_kind(self.operation)),
        );
        chain
            .admit(&mut self.admission(ctx, object, &user, &options))
            .await
    }

    /// The validating pass.
    pub(super) async fn validate(
        &self,
        ctx: &mut RequestContext,
        object: &mut Value,
    ) -> Result<(), Status> {
        let Some(chain) = self.chain else {
            return Ok(());
        };
        let (user, options) = (
            ctx.user(),
            self.options.to_json(options_kind(self.operation)),
        );
        chain
            .validate(&mut self.admission(ctx, object, &user, &options))
            .await
    }

    fn admission<'a>(
        &'a self,
        ctx: &'a mut RequestContext,
        object: &'a mut Value,
        user: &'a UserInfo,
        options: &'a Value,
    ) -> Admission<'a> {
        Admission {
            operation: self.operation,
            resource: &self.target.resource,
            subresource: &self.target.subresource,
            namespace: &self.target.namespace,
            name: &self.target.name,
            name_is_generated: self.generated,
            object,
            old_object: self.old,
            options,
            dry_run: self.options.dry_run,
            user,
            ctx,
            reinvocation: Reinvocation::default(),
        }
    }
}

fn options_kind(operation: Operation) -> &'static str {
    match operation {
        Operation::Create => "CreateOptions",
        Operation::Delete => "DeleteOptions",
        Operation::Update | Operation::Connect => "UpdateOptions",
    }
}

trait CloneUnlessLast {
    fn clone_unless_last(&mut self, last: bool) -> Self;
}

impl CloneUnlessLast for Value {
    /// Generated names may need another attempt with the same object; everything else takes it.
    fn clone_unless_last(&mut self, last: bool) -> Self {
        if last { self.take() } else { self.clone() }
    }
}

/// The object's namespace must be the request's; an empty one is filled.
pub(super) fn match_namespace(object: &mut Value, target: &Target) -> Result<(), Status> {
    let namespace = meta::namespace(object);
    if namespace == target.namespace {
        return Ok(());
    }
    if namespace.is_empty() {
        meta::set_text(object, "namespace", &target.namespace);
        return Ok(());
    }
    if target.namespace.is_empty() {
        meta::set_text(object, "namespace", "");
        return Ok(());
    }
    Err(Status::bad_request(
        "the namespace of the provided object does not match the namespace sent on the request",
    ))
}

fn refuse_resource_version(object: &Value) -> Result<(), Status> {
    let version = meta::text(object, "resourceVersion");
    // Text that is no number counts as none, as in upstream's versioner.
    if version.parse::<u64>().unwrap_or(0) == 0 {
        return Ok(());
    }
    Err(Status::failure(
        500,
        "",
        "resourceVersion should not be set on objects to be created",
    ))
}

/// Wipes what only the server sets and sets it.
fn fill_system_metadata(object: &mut Value) {
    for member in [
        "resourceVersion",
        "selfLink",
        "deletionTimestamp",
        "deletionGracePeriodSeconds",
    ] {
        meta::set(object, member, None);
    }
    meta::set_text(object, "creationTimestamp", &meta::now());
    meta::set_text(object, "uid", &uuid::Uuid::new_v4().to_string());
}

/// Empties `status`: what is left is what an empty status prints.
fn strip_status(object: &mut Value, resource: &Resource) {
    let Some(status) = object.get_mut("status") else {
        return;
    };
    *status = json!({});
    let schema = schema::builtin(&resource.group_version_kind());
    if let Some(schema) = schema.and_then(|s| s.member("status")) {
        schema::normalise(status, schema);
    }
}

fn names_exhausted(mut status: Status) -> Status {
    status
        .message
        .push_str(", the server was not able to generate a unique name for the object");
    status.retry_after(1)
}
