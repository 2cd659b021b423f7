//! Conversion between resource.k8s.io/v1beta1 and the versions after it, in place, and the v1beta1
//! strategies. v1beta1 writes what one request asks for directly into the request where later
//! versions have `exactly`, and a slice's device in `basic` where later versions have it directly.
//! Alternatives (`firstAvailable`), classes and statuses look the same.

use super::super::common::access::{at_mut, items_mut, remove};
use super::{claim, slice};
use crate::api::field::FieldErrors;
use crate::base::tree::{Map, Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

/// Members of `exactly`, in the order of v1beta1's fields.
const EXACTLY: [&str; 7] = [
    "deviceClassName",
    "selectors",
    "allocationMode",
    "count",
    "adminAccess",
    "tolerations",
    "capacity",
];

/// A ResourceClaim from v1beta1.
pub fn claim_from_v1beta1(object: &mut Value) {
    each_request(at_mut(object, "spec"), fold_exactly);
}

/// A ResourceClaim to v1beta1.
pub fn claim_to_v1beta1(object: &mut Value) {
    each_request(at_mut(object, "spec"), unfold_exactly);
}

/// A ResourceClaimTemplate from v1beta1.
pub fn template_from_v1beta1(object: &mut Value) {
    each_request(template_spec(object), fold_exactly);
}

/// A ResourceClaimTemplate to v1beta1.
pub fn template_to_v1beta1(object: &mut Value) {
    each_request(template_spec(object), unfold_exactly);
}

/// A ResourceSlice from v1beta1.
pub fn slice_from_v1beta1(object: &mut Value) {
    each_device(object, |device| {
        if let Some(Value::Object(basic)) = device.remove("basic") {
            device.extend(basic);
        }
    });
}

/// A ResourceSlice to v1beta1. `basic` is always there, as upstream's conversion makes it.
pub fn slice_to_v1beta1(object: &mut Value) {
    each_device(object, |device| {
        let name = device.remove("name");
        let basic = std::mem::take(device);
        if let Some(name) = name {
            device.insert("name".into(), name);
        }
        device.insert("basic".into(), Value::Object(basic));
    });
}

fn template_spec(object: &mut Value) -> Option<&mut Value> {
    at_mut(object, "spec").and_then(|template| at_mut(template, "spec"))
}

fn each_request(spec: Option<&mut Value>, convert: fn(&mut Value)) {
    if let Some(devices) = spec.and_then(|spec| at_mut(spec, "devices")) {
        items_mut(devices, "requests").for_each(convert);
    }
}

fn each_device(object: &mut Value, convert: fn(&mut Map)) {
    if let Some(spec) = at_mut(object, "spec") {
        items_mut(spec, "devices")
            .filter_map(Value::as_object_mut)
            .for_each(convert);
    }
}

/// `exactly` stands where any of its members is set: a request for alternatives has none.
fn fold_exactly(request: &mut Value) {
    let exactly: Map = EXACTLY
        .iter()
        .filter_map(|key| Some((key.to_string(), remove(request, key)?)))
        .collect();
    let is_zero = |value: &Value| match value {
        Value::Null => true,
        Value::String(text) => text.is_empty(),
        Value::Number(number) => number.as_i64() == Some(0),
        _ => false,
    };
    if !exactly.values().all(is_zero) {
        request["exactly"] = Value::Object(exactly);
    }
}

fn unfold_exactly(request: &mut Value) {
    let exactly = remove(request, "exactly");
    // v1beta1 always says the class, even where there is none.
    request["deviceClassName"] = json!("");
    if let (Some(Value::Object(exactly)), Some(request)) = (exactly, request.as_object_mut()) {
        request.extend(exactly);
    }
}

/// The rules of a kind in v1beta1: those of v1 on the converted object. Defaults are filled in
/// place: `of_v1` knows both forms, because what v1beta1 fills depends on its own form.
pub struct V1Beta1Strategy {
    of_v1: &'static dyn Strategy,
    from: fn(&mut Value),
    to: fn(&mut Value),
}

/// Rules of ResourceClaim.
pub static CLAIM: V1Beta1Strategy = V1Beta1Strategy {
    of_v1: &claim::ClaimStrategy,
    from: claim_from_v1beta1,
    to: claim_to_v1beta1,
};

/// Rules of ResourceClaimTemplate.
pub static TEMPLATE: V1Beta1Strategy = V1Beta1Strategy {
    of_v1: &claim::TemplateStrategy,
    from: template_from_v1beta1,
    to: template_to_v1beta1,
};

/// Rules of ResourceSlice.
pub static SLICE: V1Beta1Strategy = V1Beta1Strategy {
    of_v1: &slice::SliceStrategy,
    from: slice_from_v1beta1,
    to: slice_to_v1beta1,
};

impl V1Beta1Strategy {
    fn converted(&self, object: &Value) -> Value {
        let mut object = object.clone();
        (self.from)(&mut object);
        object
    }
}

impl Strategy for V1Beta1Strategy {
    fn default(&self, object: &mut Value) {
        self.of_v1.default(object);
    }

    fn prepare_for_create(&self, object: &mut Value, ctx: &WriteContext<'_>) {
        (self.from)(object);
        self.of_v1.prepare_for_create(object, ctx);
        (self.to)(object);
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        (self.from)(object);
        self.of_v1
            .prepare_for_update(object, &self.converted(old), ctx);
        (self.to)(object);
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let old = old.map(|old| self.converted(old));
        self.of_v1
            .validate(&self.converted(object), old.as_ref(), ctx, errors);
    }

    fn warnings(&self, object: &Value, old: Option<&Value>, ctx: &WriteContext<'_>) -> Vec<String> {
        let old = old.map(|old| self.converted(old));
        self.of_v1
            .warnings(&self.converted(object), old.as_ref(), ctx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(from: fn(&mut Value), to: fn(&mut Value), v1beta1: Value, v1: Value) {
        let mut object = v1beta1.clone();
        from(&mut object);
        assert_eq!(object, v1);
        to(&mut object);
        assert_eq!(object, v1beta1);
    }

    fn claim(request: Value) -> Value {
        json!({"spec": {"devices": {"requests": [request]}}})
    }

    #[test]
    fn one_request_and_alternatives() {
        check(
            claim_from_v1beta1,
            claim_to_v1beta1,
            claim(json!({
                "name": "r", "deviceClassName": "c", "allocationMode": "ExactCount", "count": 2,
            })),
            claim(json!({
                "name": "r",
                "exactly": {"deviceClassName": "c", "allocationMode": "ExactCount", "count": 2},
            })),
        );
        check(
            claim_from_v1beta1,
            claim_to_v1beta1,
            claim(json!({"name": "r", "deviceClassName": "", "firstAvailable": [{"name": "a"}]})),
            claim(json!({"name": "r", "firstAvailable": [{"name": "a"}]})),
        );
        check(
            template_from_v1beta1,
            template_to_v1beta1,
            json!({"spec": claim(json!({"name": "r", "deviceClassName": "c"}))}),
            json!({"spec": claim(json!({"name": "r", "exactly": {"deviceClassName": "c"}}))}),
        );
    }

    #[test]
    fn devices() {
        check(
            slice_from_v1beta1,
            slice_to_v1beta1,
            json!({"spec": {"devices": [
                {"name": "d", "basic": {"capacity": {"m": {"value": "1"}}}}, {"name": "e", "basic": {}},
            ]}}),
            json!({"spec": {"devices": [
                {"name": "d", "capacity": {"m": {"value": "1"}}}, {"name": "e"},
            ]}}),
        );
    }

    #[test]
    fn defaults_follow_the_class() {
        let mut with = claim(json!({"name": "r", "deviceClassName": "c"}));
        CLAIM.default(&mut with);
        let request = json!({
            "name": "r", "deviceClassName": "c", "allocationMode": "ExactCount", "count": 1,
        });
        assert_eq!(with, claim(request));
        let alternatives = json!({
            "name": "r", "deviceClassName": "", "firstAvailable": [{"name": "a", "allocationMode": "All"}],
        });
        let mut without = claim(alternatives.clone());
        CLAIM.default(&mut without);
        assert_eq!(without, claim(alternatives));
    }
}
