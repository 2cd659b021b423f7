//! `Target`: the row, subresource, namespace and name that a request is about.

use std::sync::Arc;

use crate::api::resource::Resource;
use crate::api::schema::{self, Touched};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};
use crate::request::UserInfo;

/// What a request is about, resolved against the resource table.
#[derive(Clone)]
pub struct Target {
    /// The row of the requested version.
    pub resource: Arc<Resource>,
    /// Subresource or empty.
    pub subresource: String,
    /// Namespace; empty for cluster-scoped rows and all-namespaces lists.
    pub namespace: String,
    /// Object name; empty for collections.
    pub name: String,
}

impl Target {
    /// A target on the main resource.
    pub fn new(resource: Arc<Resource>, namespace: &str, name: &str) -> Self {
        Target {
            resource,
            subresource: String::new(),
            namespace: namespace.to_string(),
            name: name.to_string(),
        }
    }

    /// The strategy of the row.
    pub fn strategy(&self) -> &'static dyn Strategy {
        let row = &self.resource;
        super::strategies::strategy_for(&row.group, &row.version, &row.kind)
    }

    /// Fills the defaults that the schema declares, then those of the strategy.
    pub fn default(&self, object: &mut Value) {
        self.default_where(object, &Touched::All);
    }

    /// The same for an object of which only some members were touched.
    pub fn default_where(&self, object: &mut Value, touched: &Touched) {
        if let Some(schema) = schema::builtin(&self.resource.group_version_kind()) {
            schema::apply_defaults_where(object, schema, touched);
        }
        self.strategy().default(object);
    }

    /// The context strategies see.
    pub fn write_context<'a>(&'a self, user: Option<&'a UserInfo>) -> WriteContext<'a> {
        WriteContext {
            subresource: &self.subresource,
            namespace: &self.namespace,
            user,
        }
    }

    /// The same target under another name (generated names, collections).
    pub fn with_name(&self, namespace: &str, name: &str) -> Self {
        Target {
            namespace: namespace.to_string(),
            name: name.to_string(),
            ..self.clone()
        }
    }
}
