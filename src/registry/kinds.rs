//! `Kinds` over the resource table: how admission sees other versions.

use std::borrow::Cow;
use std::sync::Arc;

use crate::admission::Kinds;
use crate::api::managed_fields;
use crate::api::names::GroupVersionKind;
use crate::api::resource::Resource;
use crate::api::schema::{self, Format};
use crate::base::tree::Value;
use crate::registry::objects::RegistryObjects;
use crate::registry::{Target, convert, meta, scale};

impl Kinds for RegistryObjects {
    fn row(&self, group: &str, version: &str, kind: &str) -> Option<Arc<Resource>> {
        self.0.table().load().by_gvk(group, version, kind).cloned()
    }

    fn equivalents(&self, resource: &Resource) -> Vec<Arc<Resource>> {
        let table = self.0.table().load();
        table
            .by_storage_prefix(&resource.storage_prefix)
            .cloned()
            .collect()
    }

    fn present<'a>(
        &self,
        resource: &Resource,
        subresource: &str,
        object: &'a Value,
        to: &Resource,
    ) -> Cow<'a, Value> {
        if is_scale(subresource) {
            return Cow::Owned(scale::of(object));
        }
        if (&resource.group, &resource.version) == (&to.group, &to.version) {
            return Cow::Borrowed(object);
        }
        let mut converted = object.clone();
        convert::convert(&mut converted, resource, &to.group_version());
        Cow::Owned(converted)
    }

    fn take_back(
        &self,
        resource: &Resource,
        subresource: &str,
        presented: Value,
        from: &Resource,
        object: &mut Value,
    ) -> Result<(), String> {
        if is_scale(subresource) {
            scale::apply(object, &presented);
            return Ok(());
        }
        let bytes = serde_json::to_vec(&presented).map_err(|error| error.to_string())?;
        let known = match from.custom {
            true => None,
            false => schema::builtin(&from.group_version_kind()),
        };
        let decoded =
            schema::decode(&bytes, Format::Json, known).map_err(|error| error.to_string())?;
        let mut taken = decoded.value;
        if let Some(known) = known {
            schema::normalise(&mut taken, known);
        }
        let target = Target::new(Arc::new(from.clone()), meta::namespace(&taken), "");
        target.default(&mut taken);
        convert::convert(&mut taken, from, &resource.group_version());
        *object = taken;
        Ok(())
    }

    fn merge(
        &self,
        kind: &GroupVersionKind,
        object: &Value,
        config: &Value,
    ) -> Option<Result<Value, String>> {
        let row = self.row(&kind.group, &kind.version, &kind.kind);
        let ty = match (schema::builtin(kind), row) {
            (Some(schema), _) => managed_fields::Type::Known(schema),
            (None, Some(row)) if row.custom => managed_fields::Type::Deduced,
            (None, _) => return None,
        };
        Some(managed_fields::merge_unowned(object, config, ty))
    }
}

/// Whether a subresource speaks Scale.
fn is_scale(subresource: &str) -> bool {
    subresource == "scale"
}
