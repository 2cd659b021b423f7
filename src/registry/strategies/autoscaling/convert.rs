//! Conversion between autoscaling/v1 and v2 in place. What v1 has no fields for travels in four
//! annotations ([`super::annotations`]); annotations that cannot be read are dropped.

use super::super::common::access::{
    arr_at, at, ensure_object, get, i64_at, int_at, remove, str_at,
};
use super::annotations;
use crate::base::tree::{Map, Value, json};

/// Annotation with the metrics other than CPU utilization.
const METRICS: &str = "autoscaling.alpha.kubernetes.io/metrics";
/// Annotation with the current metrics.
const CURRENT_METRICS: &str = "autoscaling.alpha.kubernetes.io/current-metrics";
/// Annotation with the conditions.
const CONDITIONS: &str = "autoscaling.alpha.kubernetes.io/conditions";
/// Annotation with the behavior.
const BEHAVIOR: &str = "autoscaling.alpha.kubernetes.io/behavior";

/// From v1 to v2.
pub fn to_v2(object: &mut Value) {
    let mut carried = take_annotations(object);
    let had_metrics = carried.contains_key(METRICS);
    let mut read = |name: &str| -> Option<Value> {
        let text = carried.remove(name)?;
        serde_json::from_str(text.as_str()?).ok()
    };
    let metrics = read(METRICS).and_then(|v| annotations::read_metrics(&v));
    let current = read(CURRENT_METRICS).and_then(|v| annotations::read_current(&v));
    let conditions = read(CONDITIONS).filter(Value::is_array);
    let behavior = read(BEHAVIOR).and_then(|v| annotations::read_behavior(&v));

    let spec = ensure_object(object, "spec");
    let target = remove(spec, "targetCPUUtilizationPercentage").filter(|v| !v.is_null());
    let mut all = metrics.unwrap_or_default();
    match target {
        Some(percent) => all.push(cpu_metric(percent)),
        None if !had_metrics => all.push(cpu_metric(json!(80))),
        None => {}
    }
    if !all.is_empty() {
        spec["metrics"] = Value::Array(all);
    }
    if let Some(behavior) = behavior {
        spec["behavior"] = behavior;
    }
    if at(object, "status").is_some() {
        status_to_v2(ensure_object(object, "status"), current, conditions);
    } else if current.is_some() || conditions.is_some() {
        let mut status = json!({});
        status_to_v2(&mut status, current, conditions);
        object["status"] = status;
    }
}

fn cpu_metric(percent: Value) -> Value {
    json!({
        "type": "Resource",
        "resource": {
            "name": "cpu",
            "target": {"type": "Utilization", "averageUtilization": percent},
        },
    })
}

fn status_to_v2(status: &mut Value, current: Option<Vec<Value>>, conditions: Option<Value>) {
    let percent = remove(status, "currentCPUUtilizationPercentage").filter(|v| !v.is_null());
    // The annotation is complete; the percentage alone counts only without it.
    let metrics = match (current, percent) {
        (Some(current), _) => Value::Array(current),
        (None, Some(percent)) => json!([{
            "type": "Resource",
            "resource": {"name": "cpu", "current": {"averageUtilization": percent}},
        }]),
        (None, None) => Value::Null,
    };
    status["currentMetrics"] = metrics;
    if let Some(conditions) = conditions {
        status["conditions"] = conditions;
    }
    // v1 always says how many there are, v2 only when not zero.
    if int_at(status, "currentReplicas") == 0 {
        remove(status, "currentReplicas");
    }
    let desired = int_at(status, "desiredReplicas");
    status["desiredReplicas"] = desired.into();
}

/// From v2 to v1.
pub fn to_v1(object: &mut Value) {
    take_annotations(object);
    let mut carried = Map::new();
    let spec = ensure_object(object, "spec");
    let metrics = remove(spec, "metrics").unwrap_or_default();
    let metrics = metrics.as_array().map_or(&[][..], Vec::as_slice);
    if let Some(percent) = metrics.iter().find_map(cpu_target) {
        spec["targetCPUUtilizationPercentage"] = percent.into();
    }
    let others: Vec<&Value> = metrics.iter().filter(|m| cpu_target(m).is_none()).collect();
    if !others.is_empty() {
        carried.insert(METRICS.into(), annotations::write_metrics(&others).into());
    }
    if let Some(behavior) = remove(spec, "behavior").filter(|b| !b.is_null()) {
        carried.insert(
            BEHAVIOR.into(),
            annotations::write_behavior(&behavior).into(),
        );
    }
    if at(object, "status").is_some() {
        status_to_v1(ensure_object(object, "status"), &mut carried);
    }
    if !carried.is_empty() {
        let metadata = ensure_object(object, "metadata");
        if let Some(map) = ensure_object(metadata, "annotations").as_object_mut() {
            map.extend(carried);
        }
    }
}

fn cpu_target(metric: &Value) -> Option<i64> {
    let resource = get(metric, "resource");
    if str_at(metric, "type") != "Resource" || str_at(resource, "name") != "cpu" {
        return None;
    }
    i64_at(get(resource, "target"), "averageUtilization")
}

fn status_to_v1(status: &mut Value, carried: &mut Map) {
    let current = remove(status, "currentMetrics").unwrap_or_default();
    let current = current.as_array().map_or(&[][..], Vec::as_slice);
    let percent = current.iter().find_map(|metric| {
        let resource = get(metric, "resource");
        let is_cpu = str_at(metric, "type") == "Resource" && str_at(resource, "name") == "cpu";
        i64_at(get(resource, "current"), "averageUtilization").filter(|_| is_cpu)
    });
    if let Some(percent) = percent {
        status["currentCPUUtilizationPercentage"] = percent.into();
    }
    if !current.is_empty() {
        carried.insert(
            CURRENT_METRICS.into(),
            annotations::write_current(current).into(),
        );
    }
    let conditions = remove(status, "conditions").unwrap_or_default();
    if !arr_at(&json!({"c": conditions}), "c").is_empty() {
        carried.insert(
            CONDITIONS.into(),
            annotations::write_conditions(&conditions).into(),
        );
    }
    for field in ["currentReplicas", "desiredReplicas"] {
        let n = int_at(status, field);
        status[field] = n.into();
    }
}

/// Removes the four annotations and answers them; an emptied map goes too.
fn take_annotations(object: &mut Value) -> Map {
    let mut taken = Map::new();
    let Some(metadata) = object.get_mut("metadata") else {
        return taken;
    };
    let Some(all) = metadata
        .get_mut("annotations")
        .and_then(Value::as_object_mut)
    else {
        return taken;
    };
    for name in [METRICS, CURRENT_METRICS, CONDITIONS, BEHAVIOR] {
        if let Some(value) = all.remove(name) {
            taken.insert(name.into(), value);
        }
    }
    if all.is_empty() {
        remove(metadata, "annotations");
    }
    taken
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn round_trip_keeps_everything() {
        let v2 = json!({
            "metadata": {"name": "a"},
            "spec": {
                "maxReplicas": 3,
                "metrics": [
                    {"type": "Pods", "pods": {"metric": {"name": "m"}, "target": {"type": "AverageValue", "averageValue": "5"}}},
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 50}}},
                ],
                "behavior": {"scaleUp": {"selectPolicy": "Min", "policies": [{"type": "Pods", "value": 1, "periodSeconds": 2}]}},
            },
            "status": {"desiredReplicas": 1, "currentMetrics": null},
        });
        let mut object = v2.clone();
        to_v1(&mut object);
        assert_eq!(object["spec"]["targetCPUUtilizationPercentage"], 50);
        assert_eq!(
            object["metadata"]["annotations"][METRICS],
            r#"[{"type":"Pods","pods":{"metricName":"m","targetAverageValue":"5"}}]"#
        );
        to_v2(&mut object);
        assert_eq!(object, v2);
    }

    #[test]
    fn unreadable_annotations_are_dropped() {
        let mut object = json!({"metadata": {"annotations": {METRICS: "x"}}, "spec": {}});
        to_v2(&mut object);
        assert_eq!(object, json!({"metadata": {}, "spec": {}}));
    }
}
