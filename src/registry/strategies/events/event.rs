//! Event. Rules are those of the core form; events.k8s.io adds the strict ones.

use super::super::common::access::{at, get, int_at, str_at};
use super::super::common::checks;
use super::super::common::golang::{self, Field, Ty};
use super::super::common::names::{self, NameRule, invalid_each};
use super::convert;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{DeletionRules, Strategy, WriteContext};

const TEXT_MAX: usize = 128;
const NOTE_MAX: usize = 1024;

const REFERENCE: &[Field] = &[
    ("Kind", "kind", Ty::Str),
    ("Namespace", "namespace", Ty::Str),
    ("Name", "name", Ty::Str),
    ("UID", "uid", Ty::Str),
    ("APIVersion", "apiVersion", Ty::Str),
    ("ResourceVersion", "resourceVersion", Ty::Str),
    ("FieldPath", "fieldPath", Ty::Str),
];

const SOURCE: &[Field] = &[
    ("Component", "component", Ty::Str),
    ("Host", "host", Ty::Str),
];

/// Rules of Event.
pub struct EventStrategy {
    /// The core/v1 form.
    pub core: bool,
}

impl Strategy for EventStrategy {
    fn name_rule(&self) -> NameRule {
        if self.core {
            NameRule::PathSegment
        } else {
            NameRule::Subdomain
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if self.core {
            return self.validate_core(object, errors);
        }
        let core = |object: &Value| {
            let mut object = object.clone();
            convert::to_core(&mut object);
            object
        };
        let object = core(object);
        self.validate_core(&object, errors);
        match old {
            None => validate_strict(&object, errors),
            Some(old) => validate_update(&object, &core(old), errors),
        }
    }

    fn deletion(&self) -> DeletionRules {
        DeletionRules {
            no_garbage_collection: true,
            ..DeletionRules::default()
        }
    }
}

impl EventStrategy {
    fn validate_core(&self, object: &Value, errors: &mut FieldErrors) {
        let root = Path::ROOT;
        let timed = at(object, "eventTime").is_some();
        let namespace = str_at(get(object, "metadata"), "namespace");
        let involved = str_at(get(object, "involvedObject"), "namespace");
        // Events about cluster objects live in the default namespace.
        let misplaced = if involved.is_empty() {
            !matches!(namespace, "" | "default")
        } else {
            !timed && namespace != involved
        };
        if misplaced {
            let path = root.field("involvedObject");
            errors.invalid_str(
                &path.field("namespace"),
                involved,
                "does not match event.namespace",
            );
        }
        if timed {
            self.validate_timed(object, errors);
        }
    }

    /// What an event with an `eventTime` needs.
    fn validate_timed(&self, object: &Value, errors: &mut FieldErrors) {
        let root = Path::ROOT;
        let controller = str_at(object, "reportingComponent");
        let path = root.field(if self.core {
            "reportingComponent"
        } else {
            "reportingController"
        });
        if controller.is_empty() {
            errors.required(&path, "");
        }
        invalid_each(errors, &path, controller, names::qualified_name(controller));
        for field in ["reportingInstance", "action", "reason"] {
            checks::required_str(object, &root, field, errors);
            at_most(object, field, TEXT_MAX, errors);
        }
        at_most(object, "message", NOTE_MAX, errors);
    }
}

fn at_most(object: &Value, field: &str, max: usize, errors: &mut FieldErrors) {
    if str_at(object, field).len() > max {
        errors.invalid_str(
            &Path::ROOT.field(field),
            "",
            format!("can have at most {max} characters"),
        );
    }
}

/// What only events.k8s.io demands.
fn validate_strict(object: &Value, errors: &mut FieldErrors) {
    let root = Path::ROOT;
    if at(object, "eventTime").is_none() {
        errors.required(&root.field("eventTime"), "");
    }
    if let Some(series) = at(object, "series") {
        let path = root.field("series");
        if int_at(series, "count") < 2 {
            errors.invalid_str(&path.field("count"), "", "should be at least 2");
        }
        if at(series, "lastObservedTime").is_none() {
            errors.required(&path.field("lastObservedTime"), "");
        }
    }
    let kind = str_at(object, "type");
    if !matches!(kind, "Normal" | "Warning") {
        errors.invalid_str(
            &root.field("type"),
            "",
            format!("has invalid value: {kind}"),
        );
    }
    let mut unset = |field: &str, set: bool| {
        if set {
            errors.invalid_str(&root.field(field), "", "needs to be unset");
        }
    };
    unset("firstTimestamp", at(object, "firstTimestamp").is_some());
    unset("lastTimestamp", at(object, "lastTimestamp").is_some());
    unset("count", int_at(object, "count") != 0);
    let source = get(object, "source");
    let has_source = ["component", "host"]
        .iter()
        .any(|field| !str_at(source, field).is_empty());
    unset("source", has_source);
}

/// Only the series of a stored event may change.
fn validate_update(object: &Value, old: &Value, errors: &mut FieldErrors) {
    for field in [
        "involvedObject",
        "reason",
        "message",
        "source",
        "firstTimestamp",
        "lastTimestamp",
        "count",
        "type",
        "eventTime",
        "action",
        "related",
        "reportingComponent",
        "reportingInstance",
    ] {
        let path = Path::ROOT.field(match field {
            "reportingComponent" => "reportingController",
            other => other,
        });
        checks::immutable_as(
            at(object, field),
            at(old, field),
            &path,
            |value| match field {
                "involvedObject" => golang::compact_zero(value, REFERENCE),
                "related" => golang::compact(value, REFERENCE),
                "source" => golang::compact_zero(value, SOURCE),
                "count" => value.map_or("0".to_owned(), Value::to_string),
                "eventTime" | "firstTimestamp" | "lastTimestamp" => {
                    value.map_or("null".to_owned(), golang::json)
                }
                _ => crate::api::field::go_quote(value.and_then(Value::as_str).unwrap_or_default()),
            },
            errors,
        );
    }
}
