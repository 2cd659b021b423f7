//! The JSON texts in the annotations of autoscaling/v1: metrics in v1's own field names and order,
//! the behavior in Go field names.

use super::super::common::access::{arr_at, at, get, str_at};
use super::super::common::golang::{self, Field, Ty};
use super::super::common::selector;
use crate::base::tree::{Map, Value, json};

const POLICY: &[Field] = &[
    ("Type", "type", Ty::Str),
    ("Value", "value", Ty::Int),
    ("PeriodSeconds", "periodSeconds", Ty::Int),
];

const RULES: &[Field] = &[
    (
        "StabilizationWindowSeconds",
        "stabilizationWindowSeconds",
        Ty::Nil,
    ),
    ("SelectPolicy", "selectPolicy", Ty::Nil),
    ("Policies", "policies", Ty::List(POLICY)),
    ("Tolerance", "tolerance", Ty::Nil),
];

const BEHAVIOR: &[Field] = &[
    ("ScaleUp", "scaleUp", Ty::Ptr(RULES)),
    ("ScaleDown", "scaleDown", Ty::Ptr(RULES)),
];

/// How one member of a v2 source is written in v1: v1's name and the path in v2.
type Members = &'static [(&'static str, &'static [&'static str])];

/// Sources of `spec.metrics`: the field, its members in v1's order.
const SPEC_SOURCES: &[(&str, &str, Members)] = &[
    (
        "Object",
        "object",
        &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("targetValue", &["target", "value"]),
            ("selector", &["metric", "selector"]),
            ("averageValue", &["target", "averageValue"]),
        ],
    ),
    (
        "Pods",
        "pods",
        &[
            ("metricName", &["metric", "name"]),
            ("targetAverageValue", &["target", "averageValue"]),
            ("selector", &["metric", "selector"]),
        ],
    ),
    (
        "Resource",
        "resource",
        &[
            ("name", &["name"]),
            (
                "targetAverageUtilization",
                &["target", "averageUtilization"],
            ),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
    ),
    (
        "ContainerResource",
        "containerResource",
        &[
            ("name", &["name"]),
            (
                "targetAverageUtilization",
                &["target", "averageUtilization"],
            ),
            ("targetAverageValue", &["target", "averageValue"]),
            ("container", &["container"]),
        ],
    ),
    (
        "External",
        "external",
        &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("targetValue", &["target", "value"]),
            ("targetAverageValue", &["target", "averageValue"]),
        ],
    ),
];

/// Sources of `status.currentMetrics`.
const STATUS_SOURCES: &[(&str, &str, Members)] = &[
    (
        "Object",
        "object",
        &[
            ("target", &["describedObject"]),
            ("metricName", &["metric", "name"]),
            ("currentValue", &["current", "value"]),
            ("selector", &["metric", "selector"]),
            ("averageValue", &["current", "averageValue"]),
        ],
    ),
    (
        "Pods",
        "pods",
        &[
            ("metricName", &["metric", "name"]),
            ("currentAverageValue", &["current", "averageValue"]),
            ("selector", &["metric", "selector"]),
        ],
    ),
    (
        "Resource",
        "resource",
        &[
            ("name", &["name"]),
            (
                "currentAverageUtilization",
                &["current", "averageUtilization"],
            ),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    ),
    (
        "ContainerResource",
        "containerResource",
        &[
            ("name", &["name"]),
            (
                "currentAverageUtilization",
                &["current", "averageUtilization"],
            ),
            ("currentAverageValue", &["current", "averageValue"]),
            ("container", &["container"]),
        ],
    ),
    (
        "External",
        "external",
        &[
            ("metricName", &["metric", "name"]),
            ("metricSelector", &["metric", "selector"]),
            ("currentValue", &["current", "value"]),
            ("currentAverageValue", &["current", "averageValue"]),
        ],
    ),
];

/// Quantities that v1 has no pointer for, so zero is written when there is none.
fn is_plain(source: &str, member: &str) -> bool {
    matches!(
        (source, member),
        ("object", "targetValue" | "currentValue")
            | ("pods", "targetAverageValue" | "currentAverageValue")
            | ("external", "currentValue")
            | ("resource" | "containerResource", "currentAverageValue")
    )
}

/// The metrics annotation.
pub fn write_metrics(metrics: &[&Value]) -> String {
    list(metrics.iter().map(|m| write_metric(m, SPEC_SOURCES)))
}

/// The current-metrics annotation.
pub fn write_current(metrics: &[Value]) -> String {
    list(metrics.iter().map(|m| write_metric(m, STATUS_SOURCES)))
}

/// The conditions annotation.
pub fn write_conditions(conditions: &Value) -> String {
    let conditions = conditions.as_array().map_or(&[][..], Vec::as_slice);
    list(conditions.iter().map(|condition| {
        let member = |key: &'static str| at(condition, key).map(|v| (key, golang::json(v)));
        let time = at(condition, "lastTransitionTime").map_or("null".to_owned(), golang::json);
        object(
            [
                member("type"),
                member("status"),
                Some(("lastTransitionTime", time)),
                member("reason"),
                member("message"),
            ]
            .into_iter()
            .flatten(),
        )
    }))
}

/// The behavior annotation.
pub fn write_behavior(behavior: &Value) -> String {
    golang::compact_zero(Some(behavior), BEHAVIOR)
}

fn write_metric(metric: &Value, sources: &[(&str, &str, Members)]) -> String {
    let kind = str_at(metric, "type");
    let source = sources
        .iter()
        .find(|(_, field, _)| at(metric, field).is_some())
        .map(|(_, field, members)| (*field, write_source(get(metric, field), field, members)));
    object(
        [("type", golang::json(&kind.into()))]
            .into_iter()
            .chain(source),
    )
}

fn write_source(source: &Value, field: &str, members: Members) -> String {
    object(members.iter().filter_map(|(name, path)| {
        let value = path.iter().try_fold(source, |v, key| at(v, key));
        let text = match value {
            Some(value) if name.ends_with("elector") => selector::print(Some(value)),
            Some(value) if *name == "target" => write_reference(value),
            Some(value) => golang::json(value),
            None if is_plain(field, name) => "\"0\"".to_owned(),
            None => return None,
        };
        Some((*name, text))
    }))
}

fn write_reference(reference: &Value) -> String {
    object(
        ["kind", "name", "apiVersion"]
            .into_iter()
            .filter_map(|key| at(reference, key).map(|v| (key, golang::json(v)))),
    )
}

fn object<'a>(members: impl Iterator<Item = (&'a str, String)>) -> String {
    let texts: Vec<String> = members
        .map(|(key, text)| format!("\"{key}\":{text}"))
        .collect();
    format!("{{{}}}", texts.join(","))
}

fn list(items: impl Iterator<Item = String>) -> String {
    let texts: Vec<String> = items.collect();
    format!("[{}]", texts.join(","))
}

/// Reads the metrics annotation. `None` when it is not a list.
pub fn read_metrics(value: &Value) -> Option<Vec<Value>> {
    let items = value.as_array()?;
    Some(items.iter().map(|m| read_metric(m, SPEC_SOURCES)).collect())
}

/// Reads the current-metrics annotation.
pub fn read_current(value: &Value) -> Option<Vec<Value>> {
    let items = value.as_array()?;
    Some(
        items
            .iter()
            .map(|m| read_metric(m, STATUS_SOURCES))
            .collect(),
    )
}

fn read_metric(metric: &Value, sources: &[(&str, &str, Members)]) -> Value {
    let mut out = json!({"type": str_at(metric, "type")});
    for (_, field, members) in sources {
        if let Some(source) = at(metric, field) {
            out[*field] = read_source(field, source, members);
        }
    }
    out
}

fn read_source(field: &str, source: &Value, members: Members) -> Value {
    let mut out = Value::Object(Map::new());
    for (name, path) in members {
        let Some(value) = at(source, name) else {
            continue;
        };
        // A plain quantity of an object metric that uses the average is not a value.
        if *name == "targetValue" && field == "object" && at(source, "averageValue").is_some() {
            continue;
        }
        let mut place = &mut out;
        for key in *path {
            place = &mut place[*key];
        }
        *place = value.clone();
    }
    if let Some(kind) = target_type(field, get(&out, "target")) {
        out["target"]["type"] = kind.into();
    }
    out
}

/// v1 has no target type; it follows from what is set.
fn target_type(field: &str, target: &Value) -> Option<&'static str> {
    if target.is_null() {
        return None;
    }
    let set = |key: &str| at(target, key).is_some();
    Some(match field {
        "pods" => "AverageValue",
        _ if set("averageUtilization") => "Utilization",
        _ if set("averageValue") => "AverageValue",
        _ => "Value",
    })
}

/// Reads the behavior annotation; names are matched in any case, as Go's decoder does.
pub fn read_behavior(value: &Value) -> Option<Value> {
    value.as_object()?;
    let mut out = json!({});
    for (go, wire, _) in BEHAVIOR {
        if let Some(rules) = any_case(value, go) {
            out[*wire] = read_rules(rules);
        }
    }
    Some(out)
}

fn read_rules(rules: &Value) -> Value {
    let mut out = json!({});
    for (go, wire, ty) in RULES {
        let Some(value) = any_case(rules, go) else {
            continue;
        };
        out[*wire] = match ty {
            Ty::List(_) => {
                let wrapped = json!({"p": value});
                arr_at(&wrapped, "p")
                    .iter()
                    .map(|policy| {
                        let mut out = json!({});
                        for (go, wire, _) in POLICY {
                            if let Some(value) = any_case(policy, go) {
                                out[*wire] = value.clone();
                            }
                        }
                        out
                    })
                    .collect()
            }
            _ => value.clone(),
        };
    }
    out
}

fn any_case<'a>(value: &'a Value, name: &str) -> Option<&'a Value> {
    value
        .as_object()?
        .iter()
        .find(|(key, value)| key.eq_ignore_ascii_case(name) && !value.is_null())
        .map(|(_, value)| value)
}
