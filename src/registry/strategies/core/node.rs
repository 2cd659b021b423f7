//! Node.

use std::net::IpAddr;

use super::super::common::access::{
    arr_at, at, entries_at, is_zero, object_mut, path_at, remove, semantic_equal, str_at,
};
use super::super::common::golang::{self, Field, Ty};
use super::super::common::names::{self, invalid_each};
use super::super::common::net;
use super::super::common::resources::validate_quantity_value;
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

const EFFECTS: [&str; 3] = ["NoSchedule", "PreferNoSchedule", "NoExecute"];

const TAINT: &[Field] = &[
    ("Key", "key", Ty::Str),
    ("Value", "value", Ty::Str),
    ("Effect", "effect", Ty::Str),
    ("TimeAdded", "timeAdded", Ty::Nil),
];

const ADDRESS: &[Field] = &[("Type", "type", Ty::Str), ("Address", "address", Ty::Str)];

/// Rules of Node.
pub struct NodeStrategy;

impl Strategy for NodeStrategy {
    fn default(&self, object: &mut Value) {
        if let Some(status) = object.get_mut("status")
            && at(status, "allocatable").is_none()
            && let Some(capacity) = at(status, "capacity").filter(|c| !is_zero(Some(c)))
        {
            let capacity = capacity.clone();
            object_mut(status).insert("allocatable".into(), capacity);
        }
        let Some(spec) = object.get_mut("spec") else {
            return;
        };
        let cidr = str_at(spec, "podCIDR");
        if !cidr.is_empty() && arr_at(spec, "podCIDRs").first().is_none_or(|c| c != cidr) {
            let cidrs = json!([cidr]);
            object_mut(spec).insert("podCIDRs".into(), cidrs);
        }
    }

    fn keeps_status_on_create(&self) -> bool {
        true
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        drop_configuration(object, None);
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, _ctx: &WriteContext<'_>) {
        drop_configuration(object, Some(old));
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let null = Value::Null;
        let spec = at(object, "spec").unwrap_or(&null);
        match old {
            None => {
                validate_taints(spec, errors);
                validate_resources(object, errors);
                validate_pod_cidrs(spec, errors);
            }
            Some(old) => {
                // Taints are checked as part of the node and again as part of its update.
                validate_taints(spec, errors);
                validate_resources(object, errors);
                validate_addresses(object, errors);
                validate_fixed(spec, at(old, "spec").unwrap_or(&null), errors);
                validate_taints(spec, errors);
            }
        }
        validate_features(object, errors);
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let mut out = Vec::new();
        let Some(spec) = at(object, "spec") else {
            return out;
        };
        if at(spec, "configSource").is_some() {
            out.push("spec.configSource: the feature is removed".into());
        }
        if !str_at(spec, "externalID").is_empty() {
            out.push(
                "spec.externalID: this field is deprecated, and is unused by Kubernetes".into(),
            );
        }
        let parent = Path::ROOT.field("spec");
        let path = parent.field("podCIDRs");
        for (i, cidr) in arr_at(spec, "podCIDRs").iter().enumerate() {
            net::warn_cidr(&path.index(i), cidr.as_str().unwrap_or_default(), &mut out);
        }
        out
    }
}

/// Dynamic kubelet configuration is gone: it is only kept where it is stored.
fn drop_configuration(object: &mut Value, old: Option<&Value>) {
    let stored = |path: [&str; 2]| old.is_some_and(|old| path_at(old, &path).is_some());
    for (parent, field) in [("spec", "configSource"), ("status", "config")] {
        if !stored([parent, field])
            && let Some(parent) = object.get_mut(parent)
        {
            remove(parent, field);
        }
    }
}

fn validate_taints(spec: &Value, errors: &mut FieldErrors) {
    let meta = Path::ROOT.field("metadata");
    let path = meta.field("taints");
    let taints = arr_at(spec, "taints");
    for (i, taint) in taints.iter().enumerate() {
        let path = path.index(i);
        let (key, value, effect) = (
            str_at(taint, "key"),
            str_at(taint, "value"),
            str_at(taint, "effect"),
        );
        invalid_each(errors, &path.field("key"), key, names::qualified_name(key));
        let messages = names::label_value(value);
        if !messages.is_empty() {
            errors.invalid_str(&path.field("value"), value, messages.join(";"));
        }
        if effect.is_empty() {
            errors.required(&path.field("effect"), "");
        } else if !EFFECTS.contains(&effect) {
            errors.not_supported(&path.field("effect"), &effect.into(), &EFFECTS);
        }
        let same = |other: &Value| str_at(other, "key") == key && str_at(other, "effect") == effect;
        if taints[..i].iter().any(same) {
            errors.push(
                ErrorType::Duplicate,
                &path,
                golang::compact(Some(taint), TAINT),
                "taints must be unique by key and effect pair",
            );
        }
    }
}

fn validate_resources(object: &Value, errors: &mut FieldErrors) {
    let Some(status) = at(object, "status") else {
        return;
    };
    let path = Path::ROOT.field("status");
    for field in ["capacity", "allocatable"] {
        let path = path.field(field);
        for (name, amount) in entries_at(status, field) {
            validate_quantity_value(name, amount, &path.field(name), errors);
        }
    }
}

fn validate_pod_cidrs(spec: &Value, errors: &mut FieldErrors) {
    let parent = Path::ROOT.field("spec");
    let path = parent.field("podCIDRs");
    let cidrs = arr_at(spec, "podCIDRs");
    let before = errors.0.len();
    for (i, cidr) in cidrs.iter().enumerate() {
        let text = cidr.as_str().unwrap_or_default();
        net::validate_cidr(&path.index(i), text, &[], errors);
    }
    if cidrs.len() > 1 && errors.0.len() == before {
        let is_v4 = |cidr: &Value| {
            let parsed = net::parse_cidr(cidr.as_str().unwrap_or_default());
            matches!(parsed.map(|c| c.ip.addr), Some(IpAddr::V4(_)))
        };
        let dual = cidrs.iter().any(is_v4) && !cidrs.iter().all(is_v4);
        if !dual || cidrs.len() > 2 {
            errors.invalid(
                &path,
                &json!(cidrs),
                "may specify no more than one CIDR for each IP family",
            );
        }
    }
}

fn validate_addresses(object: &Value, errors: &mut FieldErrors) {
    let Some(status) = at(object, "status") else {
        return;
    };
    let parent = Path::ROOT.field("status");
    let path = parent.field("addresses");
    let addresses = arr_at(status, "addresses");
    for (i, address) in addresses.iter().enumerate() {
        if addresses[..i].contains(address) {
            let printed = golang::compact(Some(address), ADDRESS);
            errors.push(ErrorType::Duplicate, &path.index(i), printed, "");
        }
    }
}

fn validate_fixed(spec: &Value, old: &Value, errors: &mut FieldErrors) {
    let path = Path::ROOT.field("spec");
    let cidrs = old.get("podCIDRs");
    if !is_zero(cidrs) && !semantic_equal(spec.get("podCIDRs"), cidrs) {
        errors.forbidden(
            &path.field("podCIDRs"),
            "node updates may not change podCIDR except from \"\" to valid",
        );
    }
    let provider = str_at(old, "providerID");
    if !provider.is_empty() && str_at(spec, "providerID") != provider {
        errors.forbidden(
            &path.field("providerID"),
            "node updates may not change providerID except from \"\" to valid",
        );
    }
    if str_at(spec, "externalID") != str_at(old, "externalID") {
        errors.forbidden(&path.field("externalID"), "may not be updated");
    }
}

fn validate_features(object: &Value, errors: &mut FieldErrors) {
    let Some(status) = at(object, "status") else {
        return;
    };
    let parent = Path::ROOT.field("status");
    let path = parent.field("declaredFeatures");
    let features = arr_at(status, "declaredFeatures");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
    if !features.is_sorted_by_key(text) {
        let list = json!(features);
        errors.invalid(&path, &list, "list must be sorted alphabetically");
    }
    for (i, feature) in features.iter().enumerate() {
        if features[..i].contains(feature) {
            errors.duplicate(&path.index(i), feature);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn taints() {
        let object = json!({"spec": {"taints": [
            {"key": "a", "effect": "NoSchedule"}, {"key": "a", "effect": "NoSchedule"}, {"key": "b", "effect": "X"}]}});
        let mut errors = FieldErrors::default();
        NodeStrategy.validate(&object, None, &WriteContext::default(), &mut errors);
        let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        assert_eq!(
            texts,
            [
                "metadata.taints[1]: Duplicate value: {\"Key\":\"a\",\"Value\":\"\",\"Effect\":\"NoSchedule\",\"TimeAdded\":null}: taints must be unique by key and effect pair",
                "metadata.taints[2].effect: Unsupported value: \"X\": supported values: \"NoSchedule\", \"PreferNoSchedule\", \"NoExecute\"",
            ]
        );
    }

    #[test]
    fn pod_cidr_becomes_a_list() {
        let mut node = json!({"spec": {"podCIDR": "10.0.0.0/24"}});
        NodeStrategy.default(&mut node);
        assert_eq!(node["spec"]["podCIDRs"], json!(["10.0.0.0/24"]));
    }
}
