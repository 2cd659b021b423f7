//! The pod's row: readiness, status and restarts as the containers tell (contract/printers.md §3).

use chrono::{DateTime, Utc};

use super::Row;
use super::duration::translate_timestamp;
use super::fields::{
    NONE, age, condition, condition_true, deleting, int, items, len, name, text, text_or, time,
};
use crate::base::tree::{Value, json};

/// Restarts and when the last one was.
#[derive(Clone, Copy, Default)]
struct Restarts {
    count: i64,
    last: Option<DateTime<Utc>>,
}

impl Restarts {
    fn add(&mut self, container: &Value) {
        self.count += int(container, &["restartCount"]);
        let finished = time(container, &["lastState", "terminated", "finishedAt"]);
        self.last = self.last.max(finished);
    }
}

/// What the containers tell about the pod.
struct Summary {
    reason: String,
    ready: usize,
    restarts: Restarts,
}

/// The row of a pod.
pub(super) fn pod(object: &Value, now: DateTime<Utc>) -> Row {
    let total = len(object, &["spec", "containers"])
        + items(object, &["spec", "initContainers"])
            .iter()
            .filter(|c| is_sidecar(c))
            .count();
    let summary = summarize(object);
    let cells = vec![
        name(object),
        format!("{}/{total}", summary.ready).into(),
        summary.reason.into(),
        restarts_cell(summary.restarts, now),
        age(object, now),
        pod_ip(object),
        text_or(object, &["spec", "nodeName"], NONE),
        text_or(object, &["status", "nominatedNodeName"], NONE),
        readiness_gates(object),
    ];
    Row {
        cells,
        conditions: completed(object),
    }
}

fn is_sidecar(container: &Value) -> bool {
    container["restartPolicy"] == "Always"
}

fn summarize(object: &Value) -> Summary {
    let mut summary = Summary {
        reason: text(object, &["status", "phase"]).to_string(),
        ready: 0,
        restarts: Restarts::default(),
    };
    let status_reason = text(object, &["status", "reason"]);
    if !status_reason.is_empty() {
        summary.reason = status_reason.to_string();
    }
    let gated = items(object, &["status", "conditions"])
        .iter()
        .any(|c| c["type"] == "PodScheduled" && c["reason"] == "SchedulingGated");
    if gated {
        summary.reason = "SchedulingGated".to_string();
    }
    let mut sidecars = Restarts::default();
    let initializing = init_containers(object, &mut summary, &mut sidecars);
    if !initializing || condition_true(object, "Initialized") {
        // Finished init containers no longer matter; sidecars run on.
        summary.restarts = sidecars;
        containers(object, &mut summary);
    }
    if deleting(object) {
        let phase = text(object, &["status", "phase"]);
        if status_reason == "NodeLost" {
            summary.reason = "Unknown".to_string();
        } else if !matches!(phase, "Failed" | "Succeeded") {
            summary.reason = "Terminating".to_string();
        }
    }
    summary
}

/// Whether an init container still holds the pod up.
fn init_containers(object: &Value, summary: &mut Summary, sidecars: &mut Restarts) -> bool {
    let specs = items(object, &["spec", "initContainers"]);
    let statuses = items(object, &["status", "initContainerStatuses"]);
    for (index, status) in statuses.iter().enumerate() {
        let sidecar = specs
            .iter()
            .any(|spec| spec["name"] == status["name"] && is_sidecar(spec));
        summary.restarts.add(status);
        if sidecar {
            sidecars.add(status);
        }
        let terminated = &status["state"]["terminated"];
        if !terminated.is_null() && int(terminated, &["exitCode"]) == 0 {
            continue;
        }
        if sidecar && status["started"] == true {
            if status["ready"] == true {
                summary.ready += 1;
            }
            continue;
        }
        let waiting = text(status, &["state", "waiting", "reason"]);
        summary.reason = if !terminated.is_null() {
            format!("Init:{}", terminated_reason(terminated))
        } else if !matches!(waiting, "" | "PodInitializing") {
            format!("Init:{waiting}")
        } else {
            format!("Init:{index}/{}", specs.len())
        };
        return true;
    }
    false
}

/// The container's reason, or what made it end.
fn terminated_reason(terminated: &Value) -> String {
    match (text(terminated, &["reason"]), int(terminated, &["signal"])) {
        ("", 0) => format!("ExitCode:{}", int(terminated, &["exitCode"])),
        ("", signal) => format!("Signal:{signal}"),
        (reason, _) => reason.to_string(),
    }
}

/// Walks backwards, so that the first container with a reason has the last word.
fn containers(object: &Value, summary: &mut Summary) {
    let mut running = false;
    let mut error = None;
    for status in items(object, &["status", "containerStatuses"]).iter().rev() {
        summary.restarts.add(status);
        let waiting = text(status, &["state", "waiting", "reason"]);
        let terminated = &status["state"]["terminated"];
        if !waiting.is_empty() {
            summary.reason = waiting.to_string();
        } else if !terminated.is_null() {
            summary.reason = terminated_reason(terminated);
            if int(terminated, &["exitCode"]) != 0 {
                error = Some(summary.reason.clone());
            }
        } else if status["ready"] == true && !status["state"]["running"].is_null() {
            running = true;
            summary.ready += 1;
        }
    }
    if summary.reason == "Completed" {
        if running && condition_true(object, "Ready") {
            summary.reason = "Running".to_string();
        } else if let Some(error) = error {
            summary.reason = error;
        } else if running {
            summary.reason = "NotReady".to_string();
        }
    }
}

fn restarts_cell(restarts: Restarts, now: DateTime<Utc>) -> Value {
    match restarts.last {
        Some(_) if restarts.count != 0 => {
            let ago = translate_timestamp(restarts.last, now);
            format!("{} ({ago} ago)", restarts.count).into()
        }
        _ => restarts.count.to_string().into(),
    }
}

fn pod_ip(object: &Value) -> Value {
    let first = items(object, &["status", "podIPs"]).first();
    match first.map_or("", |ip| text(ip, &["ip"])) {
        "" => text_or(object, &["status", "podIP"], NONE),
        ip => ip.into(),
    }
}

fn readiness_gates(object: &Value) -> Value {
    let gates = items(object, &["spec", "readinessGates"]);
    if gates.is_empty() {
        return NONE.into();
    }
    let open = gates
        .iter()
        .filter(|gate| {
            condition(object, text(gate, &["conditionType"])).is_some_and(|c| c["status"] == "True")
        })
        .count();
    format!("{open}/{}", gates.len()).into()
}

/// kubectl leaves finished pods out of some views by this condition.
fn completed(object: &Value) -> Option<Value> {
    let (reason, message) = match text(object, &["status", "phase"]) {
        "Succeeded" => ("Succeeded", "The pod has completed successfully."),
        "Failed" => ("Failed", "The pod failed."),
        _ => return None,
    };
    Some(json!([{"type": "Completed", "status": "True", "reason": reason, "message": message}]))
}
