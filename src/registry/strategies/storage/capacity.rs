//! CSIStorageCapacity.

use super::super::common::access::{arr_at, at, get, str_at, strings_at};
use super::super::common::checks;
use super::super::common::names::{self, invalid_each};
use super::super::common::{resources, selector};
use super::super::pod_spec::warnings;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of CSIStorageCapacity.
pub struct CapacityStrategy;

impl Strategy for CapacityStrategy {
    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let root = Path::ROOT;
        let topology = root.field("nodeTopology");
        selector::validate_label_selector(at(object, "nodeTopology"), &topology, errors);
        let class = str_at(object, "storageClassName");
        let class_path = root.field("storageClassName");
        invalid_each(errors, &class_path, class, names::dns1123_subdomain(class));
        for field in ["capacity", "maximumVolumeSize"] {
            if let Some(quantity) = at(object, field)
                && resources::nanos(quantity).is_some_and(|n| n < 0)
            {
                let text = resources::quantity_text(quantity);
                errors.invalid_str(&root.field(field), &text, checks::NON_NEGATIVE);
            }
        }
        if let Some(old) = old {
            checks::immutable(
                at(object, "nodeTopology"),
                at(old, "nodeTopology"),
                &topology,
                errors,
            );
            checks::immutable(
                at(object, "storageClassName"),
                at(old, "storageClassName"),
                &class_path,
                errors,
            );
        }
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let topology = get(object, "nodeTopology");
        let mut out = Vec::new();
        for (key, _) in strings_at(topology, "matchLabels") {
            if let Some(message) = warnings::node_label(key) {
                out.push(format!("nodeTopology.matchLabels[{key}]: {message}"));
            }
        }
        for (i, rule) in arr_at(topology, "matchExpressions").iter().enumerate() {
            if let Some(message) = warnings::node_label(str_at(rule, "key")) {
                out.push(format!("nodeTopology.matchExpressions[{i}].key: {message}"));
            }
        }
        out
    }
}
