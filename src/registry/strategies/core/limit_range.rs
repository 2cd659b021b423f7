//! LimitRange.

use super::super::common::access::{
    Object, arr_at, at, ensure_object, entries_at, items_mut, obj_at, object_mut, path_at, str_at,
};
use super::super::common::names::{self, invalid_each};
use super::super::common::resources::{
    self, nanos, quantity_text, validate_container_resource_name, validate_resource_name,
};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

const TYPES: [&str; 3] = ["Pod", "Container", "PersistentVolumeClaim"];
const NANO: i128 = 1_000_000_000;

/// Rules of LimitRange.
pub struct LimitRangeStrategy;

impl Strategy for LimitRangeStrategy {
    fn default(&self, object: &mut Value) {
        let Some(spec) = object.get_mut("spec") else {
            return;
        };
        for limit in items_mut(spec, "limits").filter(|l| str_at(l, "type") == "Container") {
            fill(limit, "default", "max");
            fill(limit, "defaultRequest", "default");
            fill(limit, "defaultRequest", "min");
        }
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        let meta = ensure_object(object, "metadata");
        if str_at(meta, "name").is_empty() {
            let name = uuid::Uuid::new_v4().to_string();
            object_mut(meta).insert("name".into(), name.into());
        }
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let Some(spec) = at(object, "spec") else {
            return;
        };
        let spec_path = Path::ROOT.field("spec");
        let path = spec_path.field("limits");
        let limits = arr_at(spec, "limits");
        for (i, limit) in limits.iter().enumerate() {
            let path = path.index(i);
            let kind = str_at(limit, "type");
            validate_type(kind, &path.field("type"), errors);
            if limits[..i].iter().any(|l| str_at(l, "type") == kind) {
                errors.duplicate(&path.field("type"), &kind.into());
            }
            validate_limit(limit, kind, &path, errors);
        }
    }
}

/// Missing entries of map `to` are those of map `from`.
fn fill(limit: &mut Value, to: &str, from: &str) {
    let Some(from) = obj_at(limit, from).filter(|m| !m.is_empty()).cloned() else {
        return;
    };
    let map = object_mut(ensure_object(limit, to));
    for (key, value) in from {
        map.entry(key).or_insert(value);
    }
}

fn validate_type(kind: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let messages = names::qualified_name(kind);
    if !messages.is_empty() {
        return invalid_each(errors, path, kind, messages);
    }
    if !kind.contains('/') && !TYPES.contains(&kind) {
        errors.invalid_str(
            path,
            kind,
            "must be a standard limit type or fully qualified",
        );
    }
}

fn validate_limit(limit: &Value, kind: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let names_of = |field: &'static str, errors: &mut FieldErrors| {
        let path = path.field(field);
        for (name, _) in entries_at(limit, field) {
            match kind {
                "Pod" | "Container" => {
                    validate_container_resource_name(name, &path.key(name), errors);
                }
                _ => validate_resource_name(name, &path.key(name), errors),
            }
        }
    };
    names_of("max", errors);
    names_of("min", errors);
    for field in ["default", "defaultRequest"] {
        if kind != "Pod" {
            names_of(field, errors);
        } else if obj_at(limit, field).is_some_and(|m| !m.is_empty()) {
            let text = "may not be specified when `type` is 'Pod'";
            errors.forbidden(&path.field(field), text);
        }
    }
    if kind == "PersistentVolumeClaim"
        && path_at(limit, &["min", "storage"]).is_none()
        && path_at(limit, &["max", "storage"]).is_none()
    {
        errors.required(
            &path.field("limits"),
            "either minimum or maximum storage value is required, but neither was provided",
        );
    }
    names_of("maxLimitRequestRatio", errors);
    let mut keys: Vec<&str> = Vec::new();
    for field in [
        "max",
        "min",
        "default",
        "defaultRequest",
        "maxLimitRequestRatio",
    ] {
        for (key, _) in entries_at(limit, field) {
            if !keys.contains(&key) {
                keys.push(key);
            }
        }
    }
    for key in keys {
        validate_order(limit, kind, key, path, errors);
    }
}

/// A bound of one resource: its text and amount.
#[derive(Clone, Copy)]
struct Bound<'a> {
    value: &'a Value,
    amount: i128,
}

fn bound<'a>(limit: &'a Value, field: &str, key: &str) -> Option<Bound<'a>> {
    let value = obj_at(limit, field).and_then(|m: &Object| m.get(key))?;
    let amount = nanos(value)?;
    Some(Bound { value, amount })
}

fn validate_order(limit: &Value, kind: &str, key: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let get = |field| bound(limit, field, key);
    let (min, max) = (get("min"), get("max"));
    let (default, request) = match kind {
        "Pod" => (None, None),
        _ => (get("default"), get("defaultRequest")),
    };
    let mut order = |field: &str,
                     shown: Option<Bound<'_>>,
                     (low, low_name): (Option<Bound<'_>>, &str),
                     (high, high_name): (Option<Bound<'_>>, &str)| {
        let (Some(shown), Some(low), Some(high)) = (shown, low, high) else {
            return;
        };
        if low.amount > high.amount {
            errors.invalid_str(
                &path.field(field).key(key),
                &quantity_text(shown.value),
                format!(
                    "{low_name} {} is greater than {high_name} {}",
                    quantity_text(low.value),
                    quantity_text(high.value)
                ),
            );
        }
    };
    let (low, high) = ((min, "min value"), (max, "max value"));
    let asked = (request, "default request value");
    order("min", min, low, high);
    order("defaultRequest", request, low, asked);
    order("defaultRequest", request, asked, high);
    order(
        "defaultRequest",
        request,
        asked,
        (default, "default limit value"),
    );
    // These two print the bound that is hit, not the default.
    order("default", min, low, (default, "default value"));
    order("default", max, (default, "default value"), high);
    validate_ratio(get("maxLimitRequestRatio"), min, max, key, path, errors);
    if let (Some(default), Some(request)) = (default, request)
        && !resources::is_overcommit_allowed(key)
        && default.amount != request.amount
    {
        errors.invalid_str(
            &path.field("defaultRequest").key(key),
            &quantity_text(request.value),
            format!(
                "default value {} must equal to defaultRequest value {} in {key}",
                quantity_text(default.value),
                quantity_text(request.value)
            ),
        );
    }
}

fn validate_ratio(
    ratio: Option<Bound<'_>>,
    min: Option<Bound<'_>>,
    max: Option<Bound<'_>>,
    key: &str,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let Some(ratio) = ratio else { return };
    let list = path.field("maxLimitRequestRatio");
    let text = quantity_text(ratio.value);
    if ratio.amount < NANO {
        let why = format!("ratio {text} is less than 1");
        errors.invalid_str(&list.key(key), &text, why);
    }
    if let (Some(min), Some(max)) = (min, max) {
        let most = max.amount as f64 / min.amount as f64;
        if ratio.amount as f64 / NANO as f64 > most {
            let why = format!("ratio {text} is greater than max/min = {most:.6}");
            errors.invalid_str(&list.key(key), &text, why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    fn check(limit: Value) -> String {
        let mut object = json!({"spec": {"limits": [limit]}});
        LimitRangeStrategy.default(&mut object);
        let mut errors = FieldErrors::default();
        LimitRangeStrategy.validate(&object, None, &WriteContext::default(), &mut errors);
        let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        texts.join("\n")
    }

    #[test]
    fn order() {
        let cases = [
            (
                json!({"type": "Container", "default": {"cpu": "3"}, "max": {"cpu": "2"}}),
                "spec.limits[0].defaultRequest[cpu]: Invalid value: \"3\": default request value 3 is greater than max value 2\n\
                 spec.limits[0].default[cpu]: Invalid value: \"2\": default value 3 is greater than max value 2",
            ),
            (
                json!({"type": "Pod", "min": {"cpu": "1"}, "max": {"cpu": "2"}, "maxLimitRequestRatio": {"cpu": "4"}}),
                "spec.limits[0].maxLimitRequestRatio[cpu]: Invalid value: \"4\": ratio 4 is greater than max/min = 2.000000",
            ),
            (
                json!({"type": "Pod", "default": {"cpu": "1"}}),
                "spec.limits[0].default: Forbidden: may not be specified when `type` is 'Pod'",
            ),
        ];
        for (limit, want) in cases {
            assert_eq!(check(limit.clone()), want, "{limit}");
        }
    }
}
