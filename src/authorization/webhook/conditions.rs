//! Match conditions: CEL over the review that would be sent.

use std::sync::LazyLock;

use super::review::Spec;
use crate::api::cel::{
    Budget, Decisions, Env, PER_CALL_LIMIT, Program, Type, Val, compile as parse,
};

/// A condition that compiled.
pub type Condition = std::sync::Arc<Program>;

/// `request`, the spec of a SubjectAccessReview of v1.
static ENV: LazyLock<Env> = LazyLock::new(|| {
    let strings = |names: &[&'static str]| -> Vec<(&'static str, Type)> {
        names.iter().map(|name| (*name, Type::String)).collect()
    };
    let texts = || Type::list(Type::String);
    let requirement = || {
        let mut fields = strings(&["key", "operator"]);
        fields.push(("values", texts()));
        Type::object("kubernetes.SelectorRequirement", fields)
    };
    let selector = |name: &str| {
        let requirements = Type::list(requirement());
        let fields = vec![
            ("rawSelector", Type::String),
            ("requirements", requirements),
        ];
        Type::object(name, fields)
    };
    let mut resource = strings(&[
        "namespace",
        "verb",
        "group",
        "version",
        "resource",
        "subresource",
        "name",
    ]);
    resource.push((
        "fieldSelector",
        selector("kubernetes.FieldSelectorAttributes"),
    ));
    resource.push((
        "labelSelector",
        selector("kubernetes.LabelSelectorAttributes"),
    ));
    let path = strings(&["path", "verb"]);
    let request = vec![
        (
            "resourceAttributes",
            Type::object("kubernetes.ResourceAttributes", resource),
        ),
        (
            "nonResourceAttributes",
            Type::object("kubernetes.NonResourceAttributes", path),
        ),
        ("user", Type::String),
        ("groups", texts()),
        ("extra", Type::map(Type::String, texts())),
        ("uid", Type::String),
    ];
    let request = Type::object("kubernetes.SubjectAccessReviewSpec", request);
    Env::new().with("request", request)
});

/// Compiles a condition.
///
/// # Errors
/// In upstream's words.
pub fn compile(expression: &str) -> Result<Condition, String> {
    let program =
        parse(expression, &ENV).map_err(|error| format!("compilation failed: {error}"))?;
    match program.output {
        Type::Bool => Ok(program.into()),
        ref other => Err(format!("must evaluate to bool but got {other}")),
    }
}

/// Whether all hold. One that is false wins over those that fail.
///
/// # Errors
/// Those that fail, in upstream's words.
pub(super) fn hold(conditions: &[Condition], spec: &Spec) -> Result<bool, String> {
    let request = spec.for_conditions();
    let decisions = Decisions::default();
    let mut errors = Vec::new();
    for condition in conditions {
        let mut budget = Budget::new(PER_CALL_LIMIT);
        match condition.evaluate(&[Val::json(&request)], &decisions, &mut budget) {
            Ok(Val::Bool(false)) => return Ok(false),
            Ok(_) => {}
            Err(error) => errors.push(format!(
                "cel evaluation error: expression '{}' resulted in error: {error}",
                condition.source
            )),
        }
    }
    match errors.len() {
        0 => Ok(true),
        1 => Err(errors.swap_remove(0)),
        _ => Err(format!("[{}]", errors.join(", "))),
    }
}
