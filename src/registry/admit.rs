//! Admission of what is not stored: connections, and objects that are posted to be answered (reviews,
//! bindings, evictions, token requests).

use crate::admission::{Admission, Operation, Reinvocation};
use crate::api::options::WriteOptions;
use crate::api::status::Status;
use crate::base::tree::Value;
use crate::registry::{Registry, Target};
use crate::request::RequestContext;

impl Registry {
    /// Asks admission whether a connection may be made. `options` is its options object.
    pub async fn admit_connect(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        mut options: Value,
    ) -> Result<(), Status> {
        let object = &mut options;
        self.admit(
            ctx,
            target,
            Operation::Connect,
            object,
            &WriteOptions::default(),
        )
        .await
    }

    /// Asks admission whether a posted object may be answered; plugins may change it.
    pub async fn admit_posted(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        object: &mut Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        self.admit(ctx, target, Operation::Create, object, options)
            .await
    }

    async fn admit(
        &self,
        ctx: &mut RequestContext,
        target: &Target,
        operation: Operation,
        object: &mut Value,
        options: &WriteOptions,
    ) -> Result<(), Status> {
        let Some(chain) = self.admission.get() else {
            return Ok(());
        };
        let user = ctx.user();
        let options_object = match operation {
            Operation::Connect => Value::Null,
            _ => options.to_json("CreateOptions"),
        };
        let mut admission = Admission {
            operation,
            resource: &target.resource,
            subresource: &target.subresource,
            namespace: &target.namespace,
            name: &target.name,
            name_is_generated: false,
            object,
            old_object: None,
            options: &options_object,
            dry_run: options.dry_run,
            user: &user,
            ctx,
            reinvocation: Reinvocation::default(),
        };
        chain.admit(&mut admission).await?;
        chain.validate(&mut admission).await
    }
}
