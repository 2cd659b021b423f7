//! Rows of objects with everything that columns look at.

use chrono::{DateTime, TimeZone, Utc};

use super::*;
use crate::base::tree::{Value, json};

fn now() -> DateTime<Utc> {
    Utc.with_ymd_and_hms(2026, 1, 1, 1, 0, 0)
        .single()
        .expect("a time")
}

/// Cells of an object that was made an hour ago and is called `n`.
fn cells(group: &str, kind: &str, mut object: Value) -> Value {
    let metadata = object["metadata"].take();
    object["metadata"] = json!({"name": "n", "creationTimestamp": "2026-01-01T00:00:00Z"});
    for (key, value) in metadata.as_object().into_iter().flatten() {
        object["metadata"][key] = value.clone();
    }
    printer_of_kind(group, kind)
        .row(&object, now())
        .cells
        .into()
}

#[test]
fn every_builtin_kind_fills_its_columns() {
    for row in crate::registry::table::builtin() {
        let printer = printer(row);
        let cells = printer.row(&json!({}), now()).cells.len();
        // IPAddress has an undeclared age.
        let extra = usize::from(row.kind == "IPAddress");
        assert_eq!(cells, printer.columns().len() + extra, "{}", row.kind);
    }
}

#[test]
fn pods() {
    let pod =
        |spec: Value, status: Value| cells("", "Pod", json!({"spec": spec, "status": status}));
    let two = json!({"containers": [{"name": "one"}, {"name": "two"}], "nodeName": "n1"});
    let cases = [
        (
            two.clone(),
            json!({"phase": "Pending"}),
            ["0/2", "Pending", "0"],
        ),
        (
            two.clone(),
            json!({"phase": "Running", "containerStatuses": [
                {"name": "one", "restartCount": 2, "state": {"waiting": {"reason": "CrashLoopBackOff"}},
                 "lastState": {"terminated": {"finishedAt": "2026-01-01T00:50:00Z"}}},
                {"name": "two", "ready": true, "state": {"running": {}}}]}),
            ["1/2", "CrashLoopBackOff", "2 (10m ago)"],
        ),
        (
            two.clone(),
            json!({"phase": "Running", "containerStatuses": [
                {"name": "one", "state": {"terminated": {"exitCode": 0, "reason": "Completed"}}},
                {"name": "two", "state": {"terminated": {"exitCode": 1, "reason": "Error"}}}]}),
            ["0/2", "Error", "0"],
        ),
        (
            two.clone(),
            json!({"phase": "Running", "containerStatuses": [
                {"name": "one", "state": {"terminated": {"exitCode": 137, "signal": 9}}}]}),
            ["0/2", "Signal:9", "0"],
        ),
        (
            json!({"containers": [{"name": "a"}], "initContainers": [
                {"name": "i"}, {"name": "s", "restartPolicy": "Always"}]}),
            json!({"phase": "Pending", "initContainerStatuses": [
                {"name": "i", "restartCount": 1, "state": {"terminated": {"exitCode": 0}}},
                {"name": "s", "started": false, "state": {"waiting": {"reason": "PodInitializing"}}}]}),
            ["0/2", "Init:1/2", "1"],
        ),
        (
            two,
            json!({"phase": "Pending", "conditions": [
                {"type": "PodScheduled", "status": "False", "reason": "SchedulingGated"}]}),
            ["0/2", "SchedulingGated", "0"],
        ),
    ];
    for (spec, status, expected) in cases {
        let cells = pod(spec, status.clone());
        assert_eq!(
            (&cells[1], &cells[2], &cells[3]),
            (
                &json!(expected[0]),
                &json!(expected[1]),
                &json!(expected[2])
            ),
            "{status}"
        );
    }
    let failed = json!({"metadata": {}, "status": {"phase": "Failed"}});
    let row = printer_of_kind("", "Pod").row(&failed, now());
    assert_eq!(
        row.conditions,
        Some(
            json!([{"type": "Completed", "status": "True", "reason": "Failed", "message": "The pod failed."}])
        )
    );
}

#[test]
fn rows() {
    let template = json!({"spec": {"containers": [
        {"name": "one", "image": "i:1"}, {"name": "two", "image": "i:2"}]}});
    let cases = [
        (
            ("", "ConfigMap"),
            json!({"data": {"a": "", "b": ""}, "binaryData": {"c": ""}}),
            json!(["n", 3, "60m"]),
        ),
        (
            ("", "Service"),
            json!({"spec": {"type": "LoadBalancer", "clusterIPs": ["10.0.0.1"], "externalIPs": ["192.0.2.9"],
                "ports": [{"port": 80, "protocol": "TCP", "nodePort": 30080}, {"port": 81, "protocol": "UDP"}],
                "selector": {"b": "2", "a": "1"}},
                "status": {"loadBalancer": {"ingress": [{"ip": "192.0.2.4"}, {"hostname": "h"}]}}}),
            json!([
                "n",
                "LoadBalancer",
                "10.0.0.1",
                "192.0.2.4,h,192.0.2.9",
                "80:30080/TCP,81/UDP",
                "60m",
                "a=1,b=2"
            ]),
        ),
        (
            ("", "Endpoints"),
            json!({"subsets": [{"addresses": [{"ip": "192.0.2.1"}, {"ip": "2001:db8::1"}], "ports": [{"port": 1}, {"port": 2}]}]}),
            json!([
                "n",
                "192.0.2.1:1,[2001:db8::1]:1,192.0.2.1:2 + 1 more...",
                "60m"
            ]),
        ),
        (
            ("", "Event"),
            json!({"involvedObject": {"kind": "Pod", "name": "p"}, "type": "Warning", "reason": "R",
                "message": " m\n", "source": {"component": "k", "host": "h"},
                "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:59:00Z", "count": 4}),
            json!([
                "60s", "Warning", "R", "pod/p", "", "k, h", "m", "60m", 4, "n"
            ]),
        ),
        (
            ("events.k8s.io", "Event"),
            json!({"regarding": {"kind": "Pod", "name": "p"}, "type": "Normal", "reason": "R", "note": "m",
                "reportingController": "k", "reportingInstance": "i", "eventTime": "2026-01-01T00:30:00Z"}),
            json!([
                "30m", "Normal", "R", "pod/p", "", "k, i", "m", "30m", 1, "n"
            ]),
        ),
        (
            ("autoscaling", "HorizontalPodAutoscaler"),
            json!({"metadata": {"annotations": {
                "autoscaling.alpha.kubernetes.io/metrics": "[{\"type\":\"Resource\",\"resource\":{\"name\":\"memory\",\"targetAverageValue\":\"1Gi\"}}]"}},
                "spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "maxReplicas": 3, "targetCPUUtilizationPercentage": 50},
                "status": {"currentCPUUtilizationPercentage": 20}}),
            json!([
                "n",
                "Deployment/d",
                "cpu: 20%/50%, memory: <unknown>/1Gi",
                "<unset>",
                3,
                0,
                "60m"
            ]),
        ),
        (
            ("", "ResourceQuota"),
            json!({"status": {"hard": {"pods": "3", "limits.cpu": "2", "cpu": "1"}, "used": {"pods": "1"}}}),
            json!(["n", "cpu: 0/1, pods: 1/3", "limits.cpu: 0/2", "60m"]),
        ),
        (
            ("", "Node"),
            json!({"metadata": {"labels": {"node-role.kubernetes.io/b": "", "kubernetes.io/role": "a"}},
                "spec": {"unschedulable": true},
                "status": {"conditions": [{"type": "Ready", "status": "True"}],
                    "addresses": [{"type": "InternalIP", "address": "192.0.2.1"}],
                    "nodeInfo": {"kubeletVersion": "v1", "kernelVersion": "6", "architecture": "amd64"}}}),
            json!([
                "n",
                "Ready,SchedulingDisabled",
                "a,b",
                "60m",
                "v1",
                "192.0.2.1",
                "<none>",
                "<unknown>",
                "6 (amd64)",
                "<unknown>"
            ]),
        ),
        (
            ("apps", "Deployment"),
            json!({"spec": {"replicas": 3, "template": template, "selector": {"matchLabels": {"b": "c"},
                "matchExpressions": [{"key": "a", "operator": "In", "values": ["y", "x"]}]}},
                "status": {"readyReplicas": 1, "updatedReplicas": 2, "availableReplicas": 1}}),
            json!([
                "n",
                "1/3",
                2,
                1,
                "60m",
                "one,two",
                "i:1,i:2",
                "a in (x,y),b=c"
            ]),
        ),
        (
            ("batch", "Job"),
            json!({"spec": {"parallelism": 2, "template": template}, "status": {"succeeded": 1,
                "startTime": "2026-01-01T00:00:00Z", "completionTime": "2026-01-01T00:05:00Z",
                "conditions": [{"type": "Complete", "status": "True"}]}}),
            json!([
                "n", "Complete", "1/1 of 2", "5m", "60m", "one,two", "i:1,i:2", "<none>"
            ]),
        ),
        (
            ("batch", "CronJob"),
            json!({"spec": {"schedule": "* * * * *", "suspend": false, "jobTemplate": {"spec": {"template": template}}}}),
            json!([
                "n",
                "* * * * *",
                "<none>",
                "False",
                0,
                "<none>",
                "60m",
                "one,two",
                "i:1,i:2",
                "<none>"
            ]),
        ),
        (
            ("autoscaling", "HorizontalPodAutoscaler"),
            json!({"spec": {"scaleTargetRef": {"kind": "Deployment", "name": "d"}, "minReplicas": 1, "maxReplicas": 3,
                "metrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "target": {"averageUtilization": 50}}},
                    {"type": "Resource", "resource": {"name": "memory", "target": {"averageValue": "1Gi"}}},
                    {"type": "Pods"}]},
                "status": {"currentReplicas": 2, "currentMetrics": [
                    {"type": "Resource", "resource": {"name": "cpu", "current": {"averageUtilization": 20}}}]}}),
            json!([
                "n",
                "Deployment/d",
                "cpu: 20%/50%, memory: <unknown>/1Gi + 1 more...",
                "1",
                3,
                2,
                "60m"
            ]),
        ),
        (
            ("", "PersistentVolumeClaim"),
            json!({"spec": {"volumeName": "v", "storageClassName": "s", "volumeMode": "Block"},
                "status": {"phase": "Bound", "capacity": {"storage": "1Gi"}, "accessModes": ["ReadWriteMany", "ReadWriteOnce"]}}),
            json!([
                "n", "Bound", "v", "1Gi", "RWO,RWX", "s", "<unset>", "60m", "Block"
            ]),
        ),
        (
            ("networking.k8s.io", "Ingress"),
            json!({"spec": {"tls": [{}], "rules": [{"host": "a"}, {"host": "b"}, {"host": "c"}, {"host": "d"}]}}),
            json!(["n", "<none>", "a,b,c + 1 more...", "", "80, 443", "60m"]),
        ),
        (
            ("networking.k8s.io", "IPAddress"),
            json!({"spec": {"parentRef": {"resource": "services", "namespace": "default", "name": "kubernetes"}}}),
            json!(["n", "services/default/kubernetes", "60m"]),
        ),
        (
            (
                "admissionregistration.k8s.io",
                "ValidatingAdmissionPolicyBinding",
            ),
            json!({"spec": {"policyName": "p", "paramRef": {"selector": {"matchLabels": {"a": "b"}}}}}),
            json!([
                "n",
                "p",
                "&LabelSelector{MatchLabels:map[string]string{a: b,},MatchExpressions:[]LabelSelectorRequirement{},}",
                "60m"
            ]),
        ),
        (
            ("", "LimitRange"),
            json!({}),
            json!(["n", "2026-01-01T00:00:00Z"]),
        ),
    ];
    for ((group, kind), object, expected) in cases {
        assert_eq!(cells(group, kind, object), expected, "{kind}");
    }
}

#[test]
fn documents() {
    let printer = printer_of_kind("", "ServiceAccount");
    let mut writer = TableWriter::new(
        "meta.k8s.io/v1",
        &json!({"resourceVersion": "7"}),
        Some(&printer.columns()[..0]),
    );
    let row = Row::from(vec![json!("a"), json!(1)]);
    writer.row(&row, RowObject::None);
    writer.row(&row, RowObject::Metadata(b"{\"name\":\"a\"}"));
    assert_eq!(
        String::from_utf8_lossy(&writer.finish()),
        r#"{"kind":"Table","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"7"},"columnDefinitions":[],"rows":[{"cells":["a",1],"object":null},{"cells":["a",1],"object":{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"name":"a"}}}]}"#
    );
    assert!(IncludeObject::parse(Some("Bad")).is_err());
}
