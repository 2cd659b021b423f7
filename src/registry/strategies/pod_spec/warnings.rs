//! Warnings about pod specs (contract/validation.md §K).

use super::super::common::access::{
    Object, arr_at, at, int_at, obj_at, path_at, str_at, strings_at,
};
use super::super::common::names;
use super::super::common::net;
use super::super::common::resources::{nanos, quantity_text};
use crate::api::field::Path;
use crate::base::tree::Value;

const NANO: i128 = 1_000_000_000;
const CONTAINER_LISTS: [&str; 2] = ["initContainers", "containers"];
const REQUIRED: &str = "requiredDuringSchedulingIgnoredDuringExecution";
const PREFERRED: &str = "preferredDuringSchedulingIgnoredDuringExecution";

/// Node labels that are going away, with what to use.
const NODE_LABELS: [(&str, &str); 8] = [
    (
        "beta.kubernetes.io/arch",
        "deprecated since v1.14; use \"kubernetes.io/arch\" instead",
    ),
    (
        "beta.kubernetes.io/os",
        "deprecated since v1.14; use \"kubernetes.io/os\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/region",
        "deprecated since v1.17; use \"topology.kubernetes.io/region\" instead",
    ),
    (
        "failure-domain.beta.kubernetes.io/zone",
        "deprecated since v1.17; use \"topology.kubernetes.io/zone\" instead",
    ),
    (
        "beta.kubernetes.io/instance-type",
        "deprecated since v1.17; use \"node.kubernetes.io/instance-type\" instead",
    ),
    ("app.kubernetes.io/created-by", "deprecated since v1.9"),
    (
        "scheduler.alpha.kubernetes.io/preferAvoidPods",
        "deprecated since v1.22; use Taints and Tolerations instead",
    ),
    (
        "node-role.kubernetes.io/master",
        "use \"node-role.kubernetes.io/control-plane\" instead",
    ),
];

const VOLUMES: [(&str, &str); 9] = [
    (
        "photonPersistentDisk",
        "deprecated in v1.11, non-functional in v1.16+",
    ),
    (
        "gitRepo",
        "deprecated in v1.11, and disabled by default in v1.33+",
    ),
    ("scaleIO", "deprecated in v1.16, non-functional in v1.22+"),
    ("flocker", "deprecated in v1.22, non-functional in v1.25+"),
    ("storageos", "deprecated in v1.22, non-functional in v1.25+"),
    ("quobyte", "deprecated in v1.22, non-functional in v1.25+"),
    ("glusterfs", "deprecated in v1.25, non-functional in v1.26+"),
    ("cephfs", "deprecated in v1.28, non-functional in v1.31+"),
    ("rbd", "deprecated in v1.28, non-functional in v1.31+"),
];

/// The text for a deprecated node label.
pub fn node_label(key: &str) -> Option<&'static str> {
    NODE_LABELS
        .iter()
        .find(|(label, _)| *label == key)
        .map(|(_, text)| *text)
}

/// A name that is not a DNS label surprises as a host name. `used_in` says where it ends up.
pub fn warn_dns_label(meta: &Value, used_in: &str, warnings: &mut Vec<String>) {
    let messages = names::dns1123_label(str_at(meta, "name"));
    if !messages.is_empty() {
        warnings.push(format!(
            "metadata.name: this is used in {used_in}, which can result in surprising behavior; a DNS label is recommended: [{}]",
            messages.join(" ")
        ));
    }
}

/// Warnings of a template of a workload; `path` is the template's.
pub fn warn_template(template: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let null = Value::Null;
    let meta = at(template, "metadata").unwrap_or(&null);
    let spec = at(template, "spec").unwrap_or(&null);
    warn_pod(meta, spec, path, warnings);
}

/// Warnings of a pod or template with this metadata and spec; `path` is that of the pod or template.
pub fn warn_pod(meta: &Value, spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let spec_path = path.field("spec");
    let meta_path = path.field("metadata");
    warn_node_selectors(spec, &spec_path, warnings);
    warn_topology(spec, &spec_path, warnings);
    warn_annotations(meta, spec, &meta_path.field("annotations"), warnings);
    warn_volumes(spec, &spec_path.field("volumes"), warnings);
    warn_lists(spec, &spec_path, warnings);
    warn_amounts(
        obj_at(spec, "overhead"),
        &spec_path.field("overhead"),
        warnings,
    );
    for list in CONTAINER_LISTS {
        let list_path = spec_path.field(list);
        for (i, container) in arr_at(spec, list).iter().enumerate() {
            warn_container(container, &list_path.index(i), warnings);
        }
    }
    warn_ports(spec, &spec_path, warnings);
    if int_at(spec, "terminationGracePeriodSeconds") < 0 {
        warnings.push(format!(
            "{}: must be >= 0; negative values are invalid and will be treated as 1",
            spec_path.field("terminationGracePeriodSeconds")
        ));
    }
    warn_null_selectors(spec, &spec_path, warnings);
    if let Some(config) = at(spec, "dnsConfig") {
        let path = spec_path.field("dnsConfig");
        let servers = path.field("nameservers");
        for (i, server) in arr_at(config, "nameservers").iter().enumerate() {
            let text = server.as_str().unwrap_or_default();
            net::warn_ip(&servers.index(i), text, warnings);
        }
    }
    let aliases = spec_path.field("hostAliases");
    for (i, alias) in arr_at(spec, "hostAliases").iter().enumerate() {
        let path = aliases.index(i);
        net::warn_ip(&path.field("ip"), str_at(alias, "ip"), warnings);
    }
}

fn warn_node_selectors(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let selector_path = path.field("nodeSelector");
    for (key, _) in strings_at(spec, "nodeSelector") {
        if let Some(text) = node_label(key) {
            warnings.push(format!("{}: {text}", selector_path.key(key)));
        }
    }
    let Some(affinity) = path_at(spec, &["affinity", "nodeAffinity"]) else {
        return;
    };
    let affinity_path = path.field("affinity");
    let node_path = affinity_path.field("nodeAffinity");
    if let Some(required) = at(affinity, REQUIRED) {
        let required_path = node_path.field(REQUIRED);
        let terms_path = required_path.field("nodeSelectorTerms");
        for (i, term) in arr_at(required, "nodeSelectorTerms").iter().enumerate() {
            warn_term(term, &terms_path.index(i), warnings);
        }
    }
    let preferred_path = node_path.field(PREFERRED);
    for (i, preferred) in arr_at(affinity, PREFERRED).iter().enumerate() {
        let Some(term) = at(preferred, "preference") else {
            continue;
        };
        let item = preferred_path.index(i);
        let path = item.field("preference");
        warn_term(term, &path, warnings);
        warn_values(term, &path, warnings);
    }
}

fn warn_term(term: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let expressions = path.field("matchExpressions");
    for (i, expression) in arr_at(term, "matchExpressions").iter().enumerate() {
        let key = str_at(expression, "key");
        if let Some(text) = node_label(key) {
            let item = expressions.index(i);
            warnings.push(format!("{}: {key} is {text}", item.field("key")));
        }
    }
}

fn warn_values(term: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let expressions = path.field("matchExpressions");
    for (i, expression) in arr_at(term, "matchExpressions").iter().enumerate() {
        let item = expressions.index(i);
        let values = item.field("values");
        for (j, value) in arr_at(expression, "values").iter().enumerate() {
            let value = value.as_str().unwrap_or_default();
            for message in names::label_value(value) {
                warnings.push(format!(
                    "{}: {value} is invalid, {message}",
                    values.index(j)
                ));
            }
        }
    }
}

fn warn_topology(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let list = path.field("topologySpreadConstraints");
    for (i, constraint) in arr_at(spec, "topologySpreadConstraints").iter().enumerate() {
        let key = str_at(constraint, "topologyKey");
        if let Some(text) = node_label(key) {
            let item = list.index(i);
            warnings.push(format!("{}: {key} is {text}", item.field("topologyKey")));
        }
    }
}

fn warn_null_selectors(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let mut check = |term: &Value, path: &Path<'_>| {
        if at(term, "labelSelector").is_none() {
            warnings.push(format!(
                "{}: a null labelSelector results in matching no pod",
                path.field("labelSelector")
            ));
        }
    };
    let spread = path.field("topologySpreadConstraints");
    for (i, constraint) in arr_at(spec, "topologySpreadConstraints").iter().enumerate() {
        check(constraint, &spread.index(i));
    }
    let Some(affinity) = at(spec, "affinity") else {
        return;
    };
    let affinity_path = path.field("affinity");
    for field in ["podAffinity", "podAntiAffinity"] {
        let Some(pod) = at(affinity, field) else {
            continue;
        };
        let path = affinity_path.field(field);
        let required = path.field(REQUIRED);
        for (i, term) in arr_at(pod, REQUIRED).iter().enumerate() {
            check(term, &required.index(i));
        }
        let preferred = path.field(PREFERRED);
        for (i, weighted) in arr_at(pod, PREFERRED).iter().enumerate() {
            let item = preferred.index(i);
            let null = Value::Null;
            let term = at(weighted, "podAffinityTerm").unwrap_or(&null);
            check(term, &item.field("podAffinityTerm"));
        }
    }
}

const APP_ARMOR: &str = "container.apparmor.security.beta.kubernetes.io/";
const APP_ARMOR_TEXT: &str = "deprecated since v1.30; use the \"appArmorProfile\" field instead";

/// AppArmor profiles of a pod that are annotations.
pub fn warn_app_armor(meta: &Value, warnings: &mut Vec<String>) {
    let path = Path::ROOT.field("metadata");
    let path = path.field("annotations");
    for (key, _) in strings_at(meta, "annotations") {
        if key.starts_with(APP_ARMOR) {
            warnings.push(format!("{}: {APP_ARMOR_TEXT}", path.key(key)));
        }
    }
}

fn warn_annotations(meta: &Value, spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    const SECCOMP_POD: &str = "seccomp.security.alpha.kubernetes.io/pod";
    const SECCOMP_CONTAINER: &str = "container.seccomp.security.alpha.kubernetes.io/";
    let pod_has = |field: &str| path_at(spec, &["securityContext", field]).is_some();
    for (key, _) in strings_at(meta, "annotations") {
        let text = match key {
            "scheduler.alpha.kubernetes.io/critical-pod" => {
                "non-functional in v1.16+; use the \"priorityClassName\" field instead"
            }
            "security.alpha.kubernetes.io/sysctls"
            | "security.alpha.kubernetes.io/unsafe-sysctls" => {
                "non-functional in v1.11+; use the \"sysctls\" field instead"
            }
            SECCOMP_POD if !pod_has("seccompProfile") => {
                "non-functional in v1.27+; use the \"seccompProfile\" field instead"
            }
            _ if key.starts_with(SECCOMP_CONTAINER)
                && lacks_field(spec, &key[SECCOMP_CONTAINER.len()..], "seccompProfile") =>
            {
                "non-functional in v1.27+; use the \"seccompProfile\" field instead"
            }
            _ if key.starts_with(APP_ARMOR) => APP_ARMOR_TEXT,
            _ => continue,
        };
        warnings.push(format!("{}: {text}", path.key(key)));
    }
}

/// Whether the named container exists and neither it nor the pod sets the field.
fn lacks_field(spec: &Value, name: &str, field: &str) -> bool {
    ["initContainers", "containers", "ephemeralContainers"]
        .iter()
        .flat_map(|list| arr_at(spec, list))
        .any(|c| str_at(c, "name") == name && path_at(c, &["securityContext", field]).is_none())
}

fn warn_volumes(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    for (i, volume) in arr_at(spec, "volumes").iter().enumerate() {
        let item = path.index(i);
        for (source, text) in VOLUMES {
            if at(volume, source).is_some() {
                let field = if source == "storageos" {
                    "storageOS"
                } else {
                    source
                };
                warnings.push(format!("{}: {text}", item.field(field)));
            }
        }
        if let Some(claim) = path_at(volume, &["ephemeral", "volumeClaimTemplate", "spec"]) {
            let ephemeral = item.field("ephemeral");
            let template = ephemeral.field("volumeClaimTemplate");
            warn_claim_spec(claim, &template.field("spec"), warnings);
        }
        warn_overlaps(volume, warnings);
    }
}

/// Fractional storage of a claim spec.
pub fn warn_claim_spec(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let Some(resources) = at(spec, "resources") else {
        return;
    };
    let path = path.field("resources");
    for field in ["requests", "limits"] {
        let list = path.field(field);
        if let Some(amount) = at(resources, field).and_then(|m| at(m, "storage")) {
            warn_fraction(amount, &list.key("storage"), warnings);
        }
    }
}

fn warn_fraction(amount: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    if nanos(amount).is_some_and(|n| n % NANO != 0) {
        warnings.push(format!(
            "{path}: fractional byte value \"{}\" is invalid, must be an integer",
            quantity_text(amount)
        ));
    }
}

fn warn_amounts(amounts: Option<&Object>, path: &Path<'_>, warnings: &mut Vec<String>) {
    for name in ["memory", "ephemeral-storage"] {
        if let Some(amount) = amounts.and_then(|a| a.get(name)) {
            warn_fraction(amount, &path.key(name), warnings);
        }
    }
}

/// A projected file and where it comes from.
struct Target<'a> {
    path: &'a str,
    source: String,
}

fn warn_overlaps(volume: &Value, warnings: &mut Vec<String>) {
    let name = str_at(volume, "name");
    for (source, kind, field) in [
        ("configMap", "ConfigMap", "name"),
        ("secret", "Secret", "secretName"),
    ] {
        if let Some(value) = at(volume, source) {
            let targets = items_of(value, String::new());
            let owner = format!("({kind} \"{}\")", str_at(value, field));
            report_overlaps(name, &owner, &targets, warnings);
        }
    }
    if let Some(value) = at(volume, "downwardAPI") {
        report_overlaps(
            name,
            "(DownwardAPI)",
            &items_of(value, String::new()),
            warnings,
        );
    }
    let Some(projected) = at(volume, "projected") else {
        return;
    };
    let mut targets = Vec::new();
    let mut empty = false;
    for source in arr_at(projected, "sources") {
        if let Some(value) = at(source, "configMap") {
            targets.extend(items_of(
                value,
                format!("(ConfigMap \"{}\")", str_at(value, "name")),
            ));
        } else if let Some(value) = at(source, "secret") {
            targets.extend(items_of(
                value,
                format!("(Secret \"{}\")", str_at(value, "name")),
            ));
        } else if let Some(value) = at(source, "downwardAPI") {
            targets.extend(items_of(value, "(DownwardAPI)".into()));
        } else if let Some(value) = at(source, "serviceAccountToken") {
            targets.push(Target {
                path: str_at(value, "path"),
                source: "(ServiceAccountToken)".into(),
            });
        } else {
            empty = true;
        }
    }
    if empty {
        warnings.push(format!(
            "volume \"{name}\" (Projected) has no sources provided"
        ));
    }
    report_overlaps(name, "(Projected)", &targets, warnings);
}

fn items_of(value: &Value, source: String) -> Vec<Target<'_>> {
    arr_at(value, "items")
        .iter()
        .map(|item| Target {
            path: str_at(item, "path"),
            source: source.clone(),
        })
        .collect()
}

fn report_overlaps(volume: &str, owner: &str, targets: &[Target<'_>], warnings: &mut Vec<String>) {
    let shown = |target: &Target<'_>| match target.source.as_str() {
        "" => format!("\"{}\"", target.path),
        source => format!("\"{}\" {source}", target.path),
    };
    for (i, target) in targets.iter().enumerate() {
        for other in &targets[..i] {
            if overlap(target.path, other.path) {
                warnings.push(format!(
                    "volume \"{volume}\" {owner}: overlapping paths: {} with {}",
                    shown(target),
                    shown(other)
                ));
            }
        }
    }
}

fn overlap(a: &str, b: &str) -> bool {
    let a = a.trim_end_matches('/');
    let b = b.trim_end_matches('/');
    let inside = |inner: &str, outer: &str| {
        inner
            .strip_prefix(outer)
            .is_some_and(|rest| rest.starts_with('/'))
    };
    a == b || inside(a, b) || inside(b, a)
}

fn warn_lists(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let aliases_path = path.field("hostAliases");
    let aliases = arr_at(spec, "hostAliases");
    for (i, alias) in aliases.iter().enumerate() {
        let ip = str_at(alias, "ip");
        if aliases[..i].iter().any(|a| str_at(a, "ip") == ip) {
            let item = aliases_path.index(i);
            warnings.push(format!("{}: duplicate ip \"{ip}\"", item.field("ip")));
        }
    }
    let secrets_path = path.field("imagePullSecrets");
    let secrets = arr_at(spec, "imagePullSecrets");
    for (i, secret) in secrets.iter().enumerate() {
        let name = str_at(secret, "name");
        let item = secrets_path.index(i);
        if name.is_empty() {
            warnings.push(format!("{}: invalid empty name \"\"", item.field("name")));
        } else if secrets[..i].iter().any(|s| str_at(s, "name") == name) {
            warnings.push(format!("{}: duplicate name \"{name}\"", item.field("name")));
        }
    }
}

fn warn_container(container: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    if let Some(resources) = at(container, "resources") {
        let path = path.field("resources");
        for field in ["limits", "requests"] {
            warn_amounts(obj_at(resources, field), &path.field(field), warnings);
        }
    }
    let env_path = path.field("env");
    let variables = arr_at(container, "env");
    for (i, variable) in variables.iter().enumerate() {
        let name = str_at(variable, "name");
        let hidden = variables[..i].iter().any(|v| str_at(v, "name") == name);
        // A value that refers to the earlier one extends it on purpose.
        let extends = str_at(variable, "value").contains(&format!("$({name})"));
        if hidden && !extends {
            warnings.push(format!(
                "{}: hides previous definition of \"{name}\", which may be dropped when using apply",
                env_path.index(i)
            ));
        }
    }
}

/// A port with where it was defined.
struct PortAt<'a> {
    port: &'a Value,
    path: String,
}

/// Warns of ports that are defined twice among containers and sidecars.
fn warn_ports(spec: &Value, path: &Path<'_>, warnings: &mut Vec<String>) {
    let mut ports: Vec<PortAt<'_>> = Vec::new();
    for list in CONTAINER_LISTS {
        let list_path = path.field(list);
        for (i, container) in arr_at(spec, list).iter().enumerate() {
            if list == "initContainers" && !super::containers::is_sidecar(container) {
                continue;
            }
            let item = list_path.index(i);
            let ports_path = item.field("ports");
            for (j, port) in arr_at(container, "ports").iter().enumerate() {
                let path = ports_path.index(j).to_string();
                warn_port(port, &path, &ports, warnings);
                ports.push(PortAt { port, path });
            }
        }
    }
    for (i, this) in ports.iter().enumerate() {
        let name = str_at(this.port, "name");
        let first = ports[..i].iter().find(|p| str_at(p.port, "name") == name);
        if let Some(PortAt { path, .. }) = first.filter(|_| !name.is_empty()) {
            warnings.push(format!(
                "{}: duplicate port name \"{name}\" with {path}, services and probes that select ports by name will use {path}",
                this.path
            ));
        }
    }
}

fn warn_port(port: &Value, path: &str, earlier: &[PortAt<'_>], warnings: &mut Vec<String>) {
    let host_ip = str_at(port, "hostIP");
    let host = int_at(port, "hostPort");
    if !host_ip.is_empty() && host == 0 {
        warnings.push(format!(
            "{path}: hostIP set without hostPort: {{Name:{} HostPort:{host} ContainerPort:{} Protocol:{} HostIP:{host_ip}}}",
            str_at(port, "name"),
            int_at(port, "containerPort"),
            str_at(port, "protocol")
        ));
    }
    for other in earlier {
        if int_at(port, "containerPort") != int_at(other.port, "containerPort")
            || str_at(port, "protocol") != str_at(other.port, "protocol")
        {
            continue;
        }
        let other_ip = str_at(other.port, "hostIP");
        let other_host = int_at(other.port, "hostPort");
        let kind = if host == other_host && host_ip == other_ip {
            "duplicate port definition"
        } else if host == 0 || other_host == 0 {
            "overlapping port definition"
        } else if host == other_host && host_ip.is_empty() != other_ip.is_empty() {
            "dangerously ambiguous port definition"
        } else {
            continue;
        };
        warnings.push(format!("{path}: {kind} with {}", other.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    fn warn(meta: Value, spec: Value) -> Vec<String> {
        let mut warnings = Vec::new();
        warn_pod(&meta, &spec, &Path::ROOT, &mut warnings);
        warnings
    }

    #[test]
    fn texts() {
        let cases = [
            (
                json!({"containers": [{"env": [{"name": "A", "value": "1"}, {"name": "A", "value": "2"}]}]}),
                "spec.containers[0].env[1]: hides previous definition of \"A\", which may be dropped when using apply",
            ),
            (
                json!({"containers": [{"ports": [{"containerPort": 80}, {"containerPort": 80}]}]}),
                "spec.containers[0].ports[1]: duplicate port definition with spec.containers[0].ports[0]",
            ),
            (
                json!({"imagePullSecrets": [{}]}),
                "spec.imagePullSecrets[0].name: invalid empty name \"\"",
            ),
            (
                json!({"nodeSelector": {"beta.kubernetes.io/os": "linux"}}),
                "spec.nodeSelector[beta.kubernetes.io/os]: deprecated since v1.14; use \"kubernetes.io/os\" instead",
            ),
            (
                json!({"volumes": [{"name": "v", "projected": {"sources": [{}]}}]}),
                "volume \"v\" (Projected) has no sources provided",
            ),
        ];
        for (spec, want) in cases {
            assert_eq!(warn(json!({}), spec.clone()), [want], "{spec}");
        }
        let meta =
            json!({"annotations": {"container.apparmor.security.beta.kubernetes.io/c": "odd"}});
        assert_eq!(
            warn(meta, json!({})),
            [
                "metadata.annotations[container.apparmor.security.beta.kubernetes.io/c]: deprecated since v1.30; use the \"appArmorProfile\" field instead"
            ]
        );
    }
}
