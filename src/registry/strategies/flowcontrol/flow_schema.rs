//! FlowSchema.

use super::super::common::access::{
    arr_at, at, default_zero, ensure_object, get, int_at, items_mut, remove, semantic_equal, str_at,
};
use super::super::common::golang::{self, Field, Ty};
use super::super::common::names::{self, invalid_each};
use super::super::storage::volume_attachment::keep_metadata;
use super::{rules, validate_conditions};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;
use crate::flowcontrol::mandatory;
use crate::registry::strategy::{Strategy, WriteContext};

const PRECEDENCE_MAX: i64 = 10000;

const NAMED: &[Field] = &[("Name", "name", Ty::Str)];
const METHOD: &[Field] = &[("Type", "type", Ty::Str)];

const SPEC: &[Field] = &[
    (
        "PriorityLevelConfiguration",
        "priorityLevelConfiguration",
        Ty::Struct(NAMED),
    ),
    ("MatchingPrecedence", "matchingPrecedence", Ty::Int),
    (
        "DistinguisherMethod",
        "distinguisherMethod",
        Ty::Ptr(METHOD),
    ),
    (
        "Rules",
        "rules",
        Ty::List(&[
            (
                "Subjects",
                "subjects",
                Ty::List(&[
                    ("Kind", "kind", Ty::Str),
                    ("User", "user", Ty::Ptr(NAMED)),
                    ("Group", "group", Ty::Ptr(NAMED)),
                    (
                        "ServiceAccount",
                        "serviceAccount",
                        Ty::Ptr(&[
                            ("Namespace", "namespace", Ty::Str),
                            ("Name", "name", Ty::Str),
                        ]),
                    ),
                ]),
            ),
            (
                "ResourceRules",
                "resourceRules",
                Ty::List(&[
                    ("Verbs", "verbs", Ty::Nil),
                    ("APIGroups", "apiGroups", Ty::Nil),
                    ("Resources", "resources", Ty::Nil),
                    ("ClusterScope", "clusterScope", Ty::Bool),
                    ("Namespaces", "namespaces", Ty::Nil),
                ]),
            ),
            (
                "NonResourceRules",
                "nonResourceRules",
                Ty::List(&[
                    ("Verbs", "verbs", Ty::Nil),
                    ("NonResourceURLs", "nonResourceURLs", Ty::Nil),
                ]),
            ),
        ]),
    ),
];

/// Rules of FlowSchema.
pub struct FlowSchemaStrategy;

impl Strategy for FlowSchemaStrategy {
    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        default_zero(spec, "matchingPrecedence", 1000);
        for rule in items_mut(spec, "rules") {
            for resource in items_mut(rule, "resourceRules") {
                if get(resource, "clusterScope") == &Value::Bool(false) {
                    remove(resource, "clusterScope");
                }
            }
        }
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        if ctx.subresource == "status" {
            keep_metadata(object, old);
        }
    }

    fn validate(
        &self,
        object: &Value,
        _old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource != "status" {
            validate_spec(object, errors);
        }
        validate_conditions(object, errors);
    }
}

fn validate_spec(object: &Value, errors: &mut FieldErrors) {
    let name = str_at(get(object, "metadata"), "name");
    let spec = get(object, "spec");
    let path = Path::ROOT.field("spec");
    validate_precedence(name, int_at(spec, "matchingPrecedence"), &path, errors);
    if let Some(method) = at(spec, "distinguisherMethod")
        && !matches!(str_at(method, "type"), "ByUser" | "ByNamespace")
    {
        let path = path.field("distinguisherMethod");
        errors.push(
            ErrorType::NotSupported,
            &path.field("type"),
            golang::compact_zero(Some(method), METHOD),
            "supported values: \"ByNamespace\", \"ByUser\"",
        );
    }
    let level = str_at(get(spec, "priorityLevelConfiguration"), "name");
    let level_path = path.field("priorityLevelConfiguration");
    let level_path = level_path.field("name");
    if level.is_empty() {
        errors.required(&level_path, "must reference a priority level");
    } else {
        invalid_each(errors, &level_path, level, names::dns1123_subdomain(level));
    }
    let list = path.field("rules");
    for (i, rule) in arr_at(spec, "rules").iter().enumerate() {
        rules::validate(rule, &list.index(i), errors);
    }
    if let Some(fixed) = mandatory::schema(name)
        && !semantic_equal(Some(spec), Some(fixed))
    {
        errors.push(
            ErrorType::Invalid,
            &path,
            golang::compact_zero(Some(spec), SPEC),
            format!("spec of '{name}' must equal the fixed value"),
        );
    }
}

fn validate_precedence(name: &str, n: i64, path: &Path<'_>, errors: &mut FieldErrors) {
    let path = path.field("matchingPrecedence");
    if n <= 0 {
        errors.invalid(&path, &n.into(), "must be a positive value");
    }
    if n > PRECEDENCE_MAX {
        errors.invalid(
            &path,
            &n.into(),
            format!("must not be greater than {PRECEDENCE_MAX}"),
        );
    }
    if n == 1 && name != "exempt" {
        errors.invalid(
            &path,
            &n.into(),
            "only the schema named 'exempt' may have matchingPrecedence 1",
        );
    }
}
