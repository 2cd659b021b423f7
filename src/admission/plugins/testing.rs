//! Runs one plugin on one write, for the tests of plugins.

use std::borrow::Cow;
use std::sync::Arc;

use http::{HeaderMap, Method, Uri};

use crate::admission::{Admission, AdmissionPlugin, Operation, Reinvocation};
use crate::api::names::GroupVersion;
use crate::api::resource::{Quirks, Resource};
use crate::api::status::Status;
use crate::base::tree::Value;
use crate::request::{RequestContext, UserInfo};

/// A write to run.
pub(crate) struct Write {
    pub(crate) operation: Operation,
    pub(crate) group: &'static str,
    pub(crate) resource: &'static str,
    pub(crate) subresource: &'static str,
    pub(crate) old: Option<Value>,
    pub(crate) user: UserInfo,
}

impl Write {
    pub(crate) fn create(group: &'static str, resource: &'static str) -> Self {
        Write {
            operation: Operation::Create,
            group,
            resource,
            subresource: "",
            old: None,
            user: UserInfo::anonymous(),
        }
    }

    pub(crate) fn update(group: &'static str, resource: &'static str, old: Value) -> Self {
        Write {
            operation: Operation::Update,
            old: Some(old),
            ..Write::create(group, resource)
        }
    }

    /// The write as a node's.
    pub(crate) fn by_node(mut self, node: &str) -> Self {
        self.user = UserInfo {
            username: format!("system:node:{node}"),
            groups: vec!["system:nodes".into()],
            ..UserInfo::default()
        };
        self
    }

    /// Both passes; answers the object as the plugin leaves it.
    pub(crate) async fn run(
        &self,
        plugin: &Arc<dyn AdmissionPlugin>,
        object: Value,
    ) -> Result<Value, Status> {
        Ok(self.run_audited(plugin, object).await?.0)
    }

    /// As [`Write::run`], with the audit annotations that the plugin sets.
    pub(crate) async fn run_audited(
        &self,
        plugin: &Arc<dyn AdmissionPlugin>,
        mut object: Value,
    ) -> Result<(Value, Vec<(Cow<'static, str>, String)>), Status> {
        let row = Resource {
            group: self.group.into(),
            version: "v1".into(),
            plural: self.resource.into(),
            singular: "".into(),
            kind: "".into(),
            list_kind: "".into(),
            namespaced: true,
            short_names: Vec::new(),
            categories: Vec::new(),
            verbs: Vec::new(),
            subresources: Vec::new(),
            storage_prefix: "".into(),
            storage_version: GroupVersion::new("", "v1"),
            custom: false,
            mounted: false,
            definitions: None,
            on_by_default: true,
            allow_unconditional_update: true,
            allow_create_on_update: false,
            returns_deleted_object: false,
            tracks_generation: false,
            ttl_seconds: 0,
            selectable_fields: Vec::new(),
            special: None,
            quirks: Quirks::default(),
        };
        let text =
            |value: &Value, key: &str| value["metadata"][key].as_str().unwrap_or("").to_string();
        let shown = if object.is_null() {
            self.old.clone().unwrap_or_default()
        } else {
            object.clone()
        };
        let (namespace, name) = (text(&shown, "namespace"), text(&shown, "name"));
        let uri = Uri::from_static("/");
        let mut ctx = RequestContext::new(Method::POST, uri, HeaderMap::new(), None);
        let mut admission = Admission {
            operation: self.operation,
            resource: &row,
            subresource: self.subresource,
            namespace: &namespace,
            name: &name,
            name_is_generated: false,
            object: &mut object,
            old_object: self.old.as_ref(),
            options: &Value::Null,
            dry_run: false,
            user: &self.user,
            ctx: &mut ctx,
            reinvocation: Reinvocation::default(),
        };
        if !plugin.handles(self.operation) {
            return Ok((object, Vec::new()));
        }
        if plugin.mutates() {
            plugin.admit(&mut admission).await?;
        }
        if plugin.validates() {
            plugin.validate(&mut admission).await?;
        }
        Ok((object, ctx.audit.annotations.clone()))
    }
}
