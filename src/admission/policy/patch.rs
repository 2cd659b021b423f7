//! What one mutation makes of an object.

use super::config::{Mutation, PatchType, Policy};
use super::evaluate::{Inputs, Scope, decided};
use crate::admission::Kinds;
use crate::admission::expressions::Asks;
use crate::api::cel::{Budget, Constructed, Decisions, Query, RUNTIME_LIMIT, Val};
use crate::api::names::{GroupVersion, GroupVersionKind};
use crate::api::patch::JsonPatch;
use crate::api::status::Status;
use crate::base::tree::{Map, Value, json};

/// Why a mutation has no effect.
pub(super) enum Failure {
    /// The policy is at fault, and says what that means.
    Policy(String),
    /// The client's answer whatever the policy says.
    Request(Box<Status>),
}

/// What an expression came to.
enum Patch {
    /// An object to merge.
    Object(Value),
    /// Operations.
    Operations(Vec<Value>),
}

/// Evaluates a mutation and applies it to the object of `inputs`.
///
/// # Errors
/// See [`Failure`].
pub(super) async fn patched(
    policy: &Policy,
    mutation: &Mutation,
    inputs: &Inputs<'_>,
    asks: &Asks<'_>,
    kinds: &dyn Kinds,
) -> Result<Value, Failure> {
    let evaluated = decided(asks, |decisions| run(policy, mutation, inputs, decisions)).await;
    match evaluated.and_then(|patch| patch).map_err(Failure::Policy)? {
        Patch::Object(patch) => merged(inputs.object, patch, kinds),
        Patch::Operations(operations) => {
            let bytes = serde_json::to_vec(&operations).unwrap_or_default();
            let failed = |text: String| Failure::Policy(format!("JSON Patch: {text}"));
            let patch = JsonPatch::parse(&bytes).map_err(failed)?;
            match patch.apply(inputs.object) {
                Ok(object) => Ok(object),
                // A test that does not hold is a condition, not an error.
                Err(error) if error.test_failed => Ok(inputs.object.clone()),
                Err(error) => Err(failed(error.text)),
            }
        }
    }
}

type Evaluated<T> = Result<Result<T, String>, Box<Query>>;

fn run(
    policy: &Policy,
    mutation: &Mutation,
    inputs: &Inputs<'_>,
    decisions: &Decisions,
) -> Evaluated<Patch> {
    let scope = Scope::new(policy, inputs, decisions);
    let mut budget = Budget::new(RUNTIME_LIMIT);
    Ok(match scope.eval(&mutation.program, &mut budget)? {
        Err(error) => Err(error),
        Ok(value) => match mutation.patches {
            PatchType::ApplyConfiguration => configuration(&value),
            PatchType::JsonPatch => operations(&value),
        },
    })
}

fn configuration(value: &Val<'_>) -> Result<Patch, String> {
    let Val::Object(object) = value else {
        return Err(format!(
            "unsupported return type from ApplyConfiguration expression: {}",
            value.type_name()
        ));
    };
    check_places(object)?;
    value.to_json().map(Patch::Object)
}

fn operations(value: &Val<'_>) -> Result<Patch, String> {
    let Val::List(items) = value else {
        return Err("type mismatch: JSONPatchType.expression should evaluate to array".into());
    };
    let operations: Result<Vec<Value>, String> = items.iter().map(operation).collect();
    operations.map(Patch::Operations)
}

fn operation(item: &Val<'_>) -> Result<Value, String> {
    let Val::Object(operation) = item else {
        return Err(format!(
            "type mismatch: JSONPatchType.expression should evaluate to array of JSONPatch, got element of {}",
            item.type_name()
        ));
    };
    let text = |field: &str| operation.field(field).and_then(Val::as_str).unwrap_or("");
    let mut members = Map::new();
    members.insert("op".into(), json!(text("op")));
    members.insert("path".into(), json!(text("path")));
    if !text("from").is_empty() {
        members.insert("from".into(), json!(text("from")));
    }
    if let Some(value) = operation.field("value") {
        if let Val::Object(object) = value {
            check_places(object)?;
        }
        let value = value.to_json().map_err(|error| {
            format!("JSONPath valueExpression evaluated to a type that could not marshal to JSON: {error}")
        })?;
        members.insert("value".into(), value);
    }
    Ok(Value::Object(members))
}

/// Nested objects must name the place they stand in.
fn check_places(object: &Constructed<'_>) -> Result<(), String> {
    match object.misplaced().as_slice() {
        [] => Ok(()),
        problems => Err(format!("type mismatch: {}", problems.join("\n"))),
    }
}

/// Merges an applied configuration into an object by the schema of its kind.
fn merged(object: &Value, mut patch: Value, kinds: &dyn Kinds) -> Result<Value, Failure> {
    let text = |member: &str| object[member].as_str().unwrap_or_default();
    for member in ["kind", "apiVersion"] {
        patch[member] = object[member].clone();
    }
    let version =
        GroupVersion::parse(text("apiVersion")).unwrap_or_else(|| GroupVersion::new("", ""));
    let gvk = GroupVersionKind::new(version.group, version.version, text("kind").to_string());
    match kinds.merge(&gvk, object, &patch) {
        Some(merged) => {
            merged.map_err(|why| Failure::Policy(format!("error applying patch: {why}")))
        }
        None => Err(Failure::Request(Box::new(Status::service_unavailable(
            format!(
                "Resource kind {}, Kind={} not found. There can be a delay between when CustomResourceDefinitions are created and when they are available.",
                gvk.group_version(),
                gvk.kind
            ),
        )))),
    }
}
