//! Rows of workloads and what scales or guards them (contract/printers.md §5).

use chrono::{DateTime, Utc};

use super::Row;
use super::duration::human_duration;
use super::fields::{
    NONE, UNSET, age, age_of, at, condition_true, containers, deleting, int, items, labels, len,
    name, scalar, selector, selector_cell, text, text_cell, text_or, time, with_group,
};
use crate::base::tree::{Value, json};

/// Cells, then containers and images of a pod template, then more cells.
fn with_containers(mut cells: Vec<Value>, template: &Value, rest: Vec<Value>) -> Row {
    cells.extend(containers(&template["spec"]));
    cells.extend(rest);
    cells.into()
}

/// The row of a PodTemplate.
pub(super) fn pod_template(object: &Value, _now: DateTime<Utc>) -> Row {
    let template = &object["template"];
    let pod_labels = labels(at(template, &["metadata", "labels"]));
    with_containers(vec![name(object)], template, vec![pod_labels])
}

/// The row of a ReplicationController.
pub(super) fn replication_controller(object: &Value, now: DateTime<Utc>) -> Row {
    with_containers(
        replicas(object, now),
        &object["spec"]["template"],
        vec![labels(&object["spec"]["selector"])],
    )
}

/// The row of a ReplicaSet.
pub(super) fn replica_set(object: &Value, now: DateTime<Utc>) -> Row {
    with_containers(
        replicas(object, now),
        &object["spec"]["template"],
        vec![selector_cell(&object["spec"]["selector"])],
    )
}

fn replicas(object: &Value, now: DateTime<Utc>) -> Vec<Value> {
    vec![
        name(object),
        int(object, &["spec", "replicas"]).into(),
        int(object, &["status", "replicas"]).into(),
        int(object, &["status", "readyReplicas"]).into(),
        age(object, now),
    ]
}

fn ready_of(object: &Value) -> Value {
    let ready = int(object, &["status", "readyReplicas"]);
    format!("{ready}/{}", int(object, &["spec", "replicas"])).into()
}

/// The row of a Deployment.
pub(super) fn deployment(object: &Value, now: DateTime<Utc>) -> Row {
    let selector = selector(&object["spec"]["selector"]);
    with_containers(
        vec![
            name(object),
            ready_of(object),
            int(object, &["status", "updatedReplicas"]).into(),
            int(object, &["status", "availableReplicas"]).into(),
            age(object, now),
        ],
        &object["spec"]["template"],
        vec![selector.unwrap_or_else(|| "<invalid>".into()).into()],
    )
}

/// The row of a StatefulSet.
pub(super) fn stateful_set(object: &Value, now: DateTime<Utc>) -> Row {
    with_containers(
        vec![name(object), ready_of(object), age(object, now)],
        &object["spec"]["template"],
        vec![],
    )
}

/// The row of a DaemonSet.
pub(super) fn daemon_set(object: &Value, now: DateTime<Utc>) -> Row {
    let status = |member: &str| Value::from(int(object, &["status", member]));
    let template = &object["spec"]["template"];
    with_containers(
        vec![
            name(object),
            status("desiredNumberScheduled"),
            status("currentNumberScheduled"),
            status("numberReady"),
            status("updatedNumberScheduled"),
            status("numberAvailable"),
            labels(at(template, &["spec", "nodeSelector"])),
            age(object, now),
        ],
        template,
        vec![selector_cell(&object["spec"]["selector"])],
    )
}

/// The row of a ControllerRevision.
pub(super) fn controller_revision(object: &Value, now: DateTime<Utc>) -> Row {
    let owner = items(object, &["metadata", "ownerReferences"])
        .iter()
        .find(|owner| owner["controller"] == true);
    let controller = owner.map_or_else(
        || NONE.to_string(),
        |owner| {
            let api_version = text(owner, &["apiVersion"]);
            let group = api_version.split_once('/').map_or("", |(group, _)| group);
            let kind = with_group(text(owner, &["kind"]), group).to_lowercase();
            format!("{kind}/{}", text(owner, &["name"]))
        },
    );
    vec![
        name(object),
        controller.into(),
        int(object, &["revision"]).into(),
        age(object, now),
    ]
    .into()
}

/// The row of a Job.
pub(super) fn job(object: &Value, now: DateTime<Utc>) -> Row {
    with_containers(
        vec![
            name(object),
            job_status(object).into(),
            completions(object),
            job_duration(object, now),
            age(object, now),
        ],
        &object["spec"]["template"],
        vec![selector_cell(&object["spec"]["selector"])],
    )
}

fn job_status(object: &Value) -> &'static str {
    for (kind, shown) in [("Complete", "Complete"), ("Failed", "Failed")] {
        if condition_true(object, kind) {
            return shown;
        }
    }
    if deleting(object) {
        return "Terminating";
    }
    ["Suspended", "FailureTarget", "SuccessCriteriaMet"]
        .into_iter()
        .find(|kind| condition_true(object, kind))
        .unwrap_or("Running")
}

fn completions(object: &Value) -> Value {
    let succeeded = int(object, &["status", "succeeded"]);
    if let Some(wanted) = object["spec"]["completions"].as_i64() {
        return format!("{succeeded}/{wanted}").into();
    }
    match int(object, &["spec", "parallelism"]) {
        parallelism if parallelism > 1 => format!("{succeeded}/1 of {parallelism}").into(),
        _ => format!("{succeeded}/1").into(),
    }
}

fn job_duration(object: &Value, now: DateTime<Utc>) -> Value {
    let Some(start) = time(object, &["status", "startTime"]) else {
        return "".into();
    };
    let end = time(object, &["status", "completionTime"]).unwrap_or(now);
    human_duration((end - start).num_seconds()).into()
}

/// The row of a CronJob. Suspend is text although its column says boolean.
pub(super) fn cron_job(object: &Value, now: DateTime<Utc>) -> Row {
    let suspend = match object["spec"]["suspend"].as_bool() {
        None => UNSET,
        Some(true) => "True",
        Some(false) => "False",
    };
    let last_schedule = match time(object, &["status", "lastScheduleTime"]) {
        None => NONE.into(),
        Some(_) => age_of(object, &["status", "lastScheduleTime"], now),
    };
    let job = at(object, &["spec", "jobTemplate", "spec"]);
    with_containers(
        vec![
            name(object),
            text_cell(object, &["spec", "schedule"]),
            text_or(object, &["spec", "timeZone"], NONE),
            suspend.into(),
            len(object, &["status", "active"]).into(),
            last_schedule,
            age(object, now),
        ],
        &job["template"],
        vec![selector_cell(&job["selector"])],
    )
}

/// The row of a PodDisruptionBudget.
pub(super) fn disruption_budget(object: &Value, now: DateTime<Utc>) -> Row {
    let bound = |member: &str| -> Value {
        match &object["spec"][member] {
            Value::Null => "N/A".into(),
            bound => scalar(bound).into(),
        }
    };
    vec![
        name(object),
        bound("minAvailable"),
        bound("maxUnavailable"),
        int(object, &["status", "disruptionsAllowed"]).into(),
        age(object, now),
    ]
    .into()
}

/// The row of a Scale.
pub(super) fn scale(object: &Value, now: DateTime<Utc>) -> Row {
    vec![
        name(object),
        int(object, &["spec", "replicas"]).into(),
        int(object, &["status", "replicas"]).into(),
        age(object, now),
    ]
    .into()
}

/// The row of a HorizontalPodAutoscaler. In its v1 form the CPU's target stands apart and is printed
/// first.
pub(super) fn autoscaler(object: &Value, now: DateTime<Utc>) -> Row {
    let target = &object["spec"]["scaleTargetRef"];
    let min = match object["spec"]["minReplicas"].as_i64() {
        None => UNSET.to_string(),
        Some(min) => min.to_string(),
    };
    vec![
        name(object),
        format!("{}/{}", text(target, &["kind"]), text(target, &["name"])).into(),
        metrics(object),
        min.into(),
        int(object, &["spec", "maxReplicas"]).into(),
        int(object, &["status", "currentReplicas"]).into(),
        age(object, now),
    ]
    .into()
}

/// The first two metrics: current and wanted value.
fn metrics(object: &Value) -> Value {
    let from_v1;
    let mut specs = items(object, &["spec", "metrics"]);
    let mut currents = items(object, &["status", "currentMetrics"]);
    if specs.is_empty() {
        from_v1 = metrics_of_v1(object);
        (specs, currents) = (&from_v1.0, &from_v1.1);
    }
    if specs.is_empty() {
        return NONE.into();
    }
    let shown: Vec<String> = specs
        .iter()
        .enumerate()
        .take(2)
        .map(|(index, spec)| metric(spec, currents.get(index).unwrap_or(&Value::Null)))
        .collect();
    let text = shown.join(", ");
    if specs.len() > 2 {
        return format!("{text} + {} more...", specs.len() - 2).into();
    }
    text.into()
}

/// Wanted and current metrics of the v1 form: the CPU's percentages are fields, the others are JSON in
/// annotations, in an older shape.
fn metrics_of_v1(object: &Value) -> (Vec<Value>, Vec<Value>) {
    let annotation = |name: &str| -> Vec<Value> {
        let key = format!("autoscaling.alpha.kubernetes.io/{name}");
        let text = text(object, &["metadata", "annotations", &key]);
        serde_json::from_str(text).unwrap_or_default()
    };
    let cpu = |percent: &Value, kind: &str| {
        let member = json!({"averageUtilization": percent});
        (!percent.is_null())
            .then(|| json!({"type": "Resource", "resource": {"name": "cpu", kind: member}}))
    };
    let spec = &object["spec"]["targetCPUUtilizationPercentage"];
    let specs: Vec<Value> = cpu(spec, "target")
        .into_iter()
        .chain(
            annotation("metrics")
                .into_iter()
                .map(|m| metric_of_v1(m, "target")),
        )
        .collect();
    let current = &object["status"]["currentCPUUtilizationPercentage"];
    // The annotation has all of them, the CPU's too.
    let currents = match annotation("current-metrics") {
        all if all.is_empty() => cpu(current, "current").into_iter().collect(),
        all => all
            .into_iter()
            .map(|m| metric_of_v1(m, "current"))
            .collect(),
    };
    (specs, currents)
}

/// `targetAverageValue` beside the source becomes `target.averageValue` below it.
fn metric_of_v1(mut metric: Value, kind: &str) -> Value {
    for source in metric
        .as_object_mut()
        .into_iter()
        .flat_map(|m| m.values_mut())
    {
        if !source.is_object() {
            continue;
        }
        let mut members = json!({});
        for (old, new) in [
            ("AverageUtilization", "averageUtilization"),
            ("AverageValue", "averageValue"),
            ("Value", "value"),
        ] {
            let value = source[format!("{kind}{old}")].take();
            if !value.is_null() {
                members[new] = value;
            }
        }
        // Object metrics call their average by the new name already.
        let average = source["averageValue"].take();
        if !average.is_null() {
            members["averageValue"] = average;
        }
        source[kind] = members;
    }
    metric
}

fn metric(spec: &Value, current: &Value) -> String {
    const UNKNOWN: &str = "<unknown>";
    let (source, percent_of_name) = match text(spec, &["type"]) {
        "Resource" => ("resource", true),
        "ContainerResource" => ("containerResource", true),
        "Pods" => ("pods", false),
        "Object" => ("object", false),
        "External" => ("external", false),
        _ => return "<unknown type>".into(),
    };
    let (target, current) = (&spec[source]["target"], &current[source]["current"]);
    let value = |of: &Value, member: &str, missing: &str| match &of[member] {
        Value::Null => missing.to_string(),
        value => scalar(value),
    };
    let average = !target["averageValue"].is_null();
    if percent_of_name {
        let metric = text(spec, &[source, "name"]);
        if average {
            let current = value(current, "averageValue", UNKNOWN);
            return format!("{metric}: {current}/{}", scalar(&target["averageValue"]));
        }
        let percent = |of: &Value, missing: &str| match of["averageUtilization"].as_i64() {
            None => missing.to_string(),
            Some(percent) => format!("{percent}%"),
        };
        let (current, target) = (percent(current, UNKNOWN), percent(target, "<auto>"));
        return format!("{metric}: {current}/{target}");
    }
    if source == "pods" || average {
        let current = value(current, "averageValue", UNKNOWN);
        let target = value(target, "averageValue", "0");
        let suffix = if source == "pods" { "" } else { " (avg)" };
        return format!("{current}/{target}{suffix}");
    }
    let current = value(current, "value", UNKNOWN);
    format!("{current}/{}", value(target, "value", "0"))
}
