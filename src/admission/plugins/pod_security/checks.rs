//! The checks of the Pod Security standards (contract/admission.md §2a): pure functions of a pod.

use crate::admission::plugins::pod::containers;
use crate::admission::plugins::{items, text};
use crate::api::field::go_quote;
use crate::base::tree::{Key, Value};

/// Minor version of the policy; `u32::MAX` for `latest`.
pub(super) type Minor = u32;

/// What a check found: the reason and its detail.
pub(super) struct Violation {
    pub(super) reason: String,
    pub(super) detail: String,
}

type Check = fn(&Value, Minor) -> Option<Violation>;

/// One row: since which version, whether the restricted level only, what it replaces.
struct Row {
    id: &'static str,
    since: Minor,
    restricted: bool,
    replaces: &'static str,
    check: Check,
}

const fn baseline(id: &'static str, since: Minor, check: Check) -> Row {
    Row {
        id,
        since,
        restricted: false,
        replaces: "",
        check,
    }
}

const fn restricted(id: &'static str, since: Minor, replaces: &'static str, check: Check) -> Row {
    Row {
        id,
        since,
        restricted: true,
        replaces,
        check,
    }
}

/// All checks: baseline by ID, then restricted by ID.
const ROWS: [Row; 19] = [
    baseline("appArmorProfile", 0, app_armor),
    baseline("capabilities_baseline", 0, capabilities_baseline),
    baseline("hostNamespaces", 0, host_namespaces),
    baseline("hostPathVolumes", 0, host_path_volumes),
    baseline("hostPorts", 0, host_ports),
    baseline("hostProbesAndHostLifecycle", 34, host_probes),
    baseline("privileged", 0, privileged),
    baseline("procMount", 0, proc_mount_baseline),
    baseline("seLinuxOptions", 0, se_linux),
    baseline("seccompProfile_baseline", 19, seccomp_baseline),
    baseline("sysctls", 0, sysctls),
    baseline("windowsHostProcess", 0, windows_host_process),
    restricted(
        "allowPrivilegeEscalation",
        8,
        "",
        allow_privilege_escalation,
    ),
    restricted(
        "capabilities_restricted",
        22,
        "capabilities_baseline",
        capabilities_restricted,
    ),
    restricted(
        "procMount_restricted",
        35,
        "procMount",
        proc_mount_restricted,
    ),
    restricted(
        "restrictedVolumes",
        0,
        "hostPathVolumes",
        restricted_volumes,
    ),
    restricted("runAsNonRoot", 0, "", run_as_non_root),
    restricted("runAsUser", 23, "", run_as_user),
    restricted(
        "seccompProfile_restricted",
        19,
        "seccompProfile_baseline",
        seccomp_restricted,
    ),
];

/// What of `pod` a level forbids, in upstream's order.
pub(super) fn violations(pod: &Value, is_restricted: bool, minor: Minor) -> Vec<Violation> {
    let active = |row: &&Row| row.since <= minor && (is_restricted || !row.restricted);
    let replaced: Vec<&str> = ROWS.iter().filter(active).map(|row| row.replaces).collect();
    ROWS.iter()
        .filter(active)
        .filter(|row| !replaced.contains(&row.id))
        .filter_map(|row| (row.check)(pod, minor))
        .collect()
}

fn violation(reason: impl Into<String>, detail: impl Into<String>) -> Option<Violation> {
    Some(Violation {
        reason: reason.into(),
        detail: detail.into(),
    })
}

fn quoted(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|w| go_quote(w)).collect();
    words.join(", ")
}

fn plural(count: usize, word: &str) -> String {
    match count {
        1 => word.to_string(),
        _ => format!("{word}s"),
    }
}

fn sorted(mut words: Vec<String>) -> Vec<String> {
    words.sort();
    words.dedup();
    words
}

/// `container "a"` or `containers "a", "b"`.
fn container_list(names: &[String]) -> String {
    format!("{} {}", plural(names.len(), "container"), quoted(names))
}

fn names_where(pod: &Value, test: impl Fn(&Value) -> bool) -> Vec<String> {
    containers(pod)
        .filter(|(_, container)| test(container))
        .map(|(_, container)| text(container, "/name").to_string())
        .collect()
}

/// `pod`, `container "a"`, or both.
fn setters(pod_sets: bool, names: &[String]) -> Option<String> {
    let mut parts = Vec::new();
    if pod_sets {
        parts.push("pod".to_string());
    }
    if !names.is_empty() {
        parts.push(container_list(names));
    }
    (!parts.is_empty()).then(|| parts.join(" and "))
}

fn is_windows(pod: &Value) -> bool {
    text(pod, "/spec/os/name") == "windows"
}

/// Whether users are not those of the host, which newer policies honour.
fn relaxed_by_user_namespace(pod: &Value, minor: Minor) -> bool {
    minor >= 35 && pod.pointer("/spec/hostUsers").and_then(Value::as_bool) == Some(false)
}

fn app_armor(pod: &Value, _: Minor) -> Option<Violation> {
    let allowed = ["", "RuntimeDefault", "Localhost"];
    let kind = |value: &Value| text(value, "/securityContext/appArmorProfile/type").to_string();
    let bad = |value: &Value| !allowed.contains(&kind(value).as_str());
    let spec = &pod["spec"];
    let mut kinds = Vec::new();
    if bad(spec) {
        kinds.push(kind(spec));
    }
    let names = names_where(pod, bad);
    kinds.extend(
        containers(pod)
            .map(|(_, c)| kind(c))
            .filter(|k| !allowed.contains(&k.as_str())),
    );
    let kinds = sorted(kinds);
    let mut details = Vec::new();
    if let Some(who) = setters(bad(spec), &names) {
        details.push(format!(
            "{who} must not set AppArmor profile type to {}",
            quoted(&kinds)
        ));
    }
    let annotations = forbidden_annotations(pod);
    if !annotations.is_empty() {
        let word = plural(annotations.len(), "annotation");
        details.push(format!(
            "{word} must not set AppArmor profile type to {}",
            quoted_raw(&annotations)
        ));
    }
    let count = kinds.len() + annotations.len();
    match details.is_empty() {
        true => None,
        false => violation(
            format!("forbidden AppArmor {}", plural(count, "profile")),
            details.join(" and "),
        ),
    }
}

fn forbidden_annotations(pod: &Value) -> Vec<String> {
    const PREFIX: &str = "container.apparmor.security.beta.kubernetes.io/";
    let annotations = pod
        .pointer("/metadata/annotations")
        .and_then(Value::as_object);
    let found = annotations
        .into_iter()
        .flatten()
        .filter_map(|(key, value)| {
            let value = value.as_str()?;
            let good =
                value.is_empty() || value == "runtime/default" || value.starts_with("localhost/");
            (key.starts_with(PREFIX) && !good).then(|| format!("{key}=\"{value}\""))
        });
    sorted(found.collect())
}

fn quoted_raw(words: &[String]) -> String {
    let words: Vec<String> = words.iter().map(|w| format!("\"{w}\"")).collect();
    words.join(", ")
}

fn added_capabilities(container: &Value) -> impl Iterator<Item = &str> {
    items(container, "/securityContext/capabilities/add").filter_map(Value::as_str)
}

fn forbidden_additions(pod: &Value, allowed: &[&str]) -> Option<String> {
    let bad = |container: &Value| added_capabilities(container).any(|c| !allowed.contains(&c));
    let names = names_where(pod, bad);
    if names.is_empty() {
        return None;
    }
    let found = containers(pod)
        .flat_map(|(_, container)| added_capabilities(container))
        .filter(|c| !allowed.contains(c))
        .map(str::to_string);
    let found = sorted(found.collect());
    Some(format!(
        "{} must not include {} in securityContext.capabilities.add",
        container_list(&names),
        quoted(&found)
    ))
}

fn capabilities_baseline(pod: &Value, _: Minor) -> Option<Violation> {
    const ALLOWED: [&str; 13] = [
        "AUDIT_WRITE",
        "CHOWN",
        "DAC_OVERRIDE",
        "FOWNER",
        "FSETID",
        "KILL",
        "MKNOD",
        "NET_BIND_SERVICE",
        "SETFCAP",
        "SETGID",
        "SETPCAP",
        "SETUID",
        "SYS_CHROOT",
    ];
    violation(
        "non-default capabilities",
        forbidden_additions(pod, &ALLOWED)?,
    )
}

fn capabilities_restricted(pod: &Value, minor: Minor) -> Option<Violation> {
    if minor >= 25 && is_windows(pod) {
        return None;
    }
    let keeps = names_where(pod, |container| {
        !items(container, "/securityContext/capabilities/drop").any(|c| c == "ALL")
    });
    let mut details = Vec::new();
    if !keeps.is_empty() {
        let who = container_list(&keeps);
        details.push(format!(
            "{who} must set securityContext.capabilities.drop=[\"ALL\"]"
        ));
    }
    details.extend(forbidden_additions(pod, &["NET_BIND_SERVICE"]));
    match details.is_empty() {
        true => None,
        false => violation("unrestricted capabilities", details.join("; ")),
    }
}

fn host_namespaces(pod: &Value, _: Minor) -> Option<Violation> {
    let set: Vec<String> = ["hostNetwork", "hostPID", "hostIPC"]
        .iter()
        .filter(|key| pod["spec"][**key] == true)
        .map(|key| format!("{key}=true"))
        .collect();
    match set.is_empty() {
        true => None,
        false => violation("host namespaces", set.join(", ")),
    }
}

fn host_path_volumes(pod: &Value, _: Minor) -> Option<Violation> {
    let names: Vec<String> = items(pod, "/spec/volumes")
        .filter(|v| v.get("hostPath").is_some_and(Value::is_object))
        .map(|v| text(v, "/name").to_string())
        .collect();
    match names.is_empty() {
        true => None,
        false => violation(
            "hostPath volumes",
            format!("{} {}", plural(names.len(), "volume"), quoted(&names)),
        ),
    }
}

fn host_ports(pod: &Value, _: Minor) -> Option<Violation> {
    let ports_of = |container: &Value| -> Vec<i64> {
        let ports = items(container, "/ports").filter_map(|p| p["hostPort"].as_i64());
        ports.filter(|port| *port != 0).collect()
    };
    let names = names_where(pod, |container| !ports_of(container).is_empty());
    if names.is_empty() {
        return None;
    }
    let mut ports: Vec<i64> = containers(pod).flat_map(|(_, c)| ports_of(c)).collect();
    ports.sort_unstable();
    ports.dedup();
    let texts: Vec<String> = ports.iter().map(i64::to_string).collect();
    let verb = if names.len() == 1 { "uses" } else { "use" };
    let who = container_list(&names);
    let what = plural(texts.len(), "hostPort");
    violation(
        "hostPort",
        format!("{who} {verb} {what} {}", texts.join(", ")),
    )
}

fn host_probes(pod: &Value, _: Minor) -> Option<Violation> {
    const HANDLERS: [&str; 5] = [
        "/livenessProbe",
        "/readinessProbe",
        "/startupProbe",
        "/lifecycle/postStart",
        "/lifecycle/preStop",
    ];
    let hosts_of = |container: &Value| -> Vec<String> {
        let handlers = HANDLERS
            .iter()
            .filter_map(|pointer| container.pointer(pointer));
        handlers
            .flat_map(|h| [text(h, "/httpGet/host"), text(h, "/tcpSocket/host")])
            .filter(|host| !host.is_empty())
            .map(str::to_string)
            .collect()
    };
    let names = names_where(pod, |container| !hosts_of(container).is_empty());
    if names.is_empty() {
        return None;
    }
    let hosts = sorted(containers(pod).flat_map(|(_, c)| hosts_of(c)).collect());
    let verb = if names.len() == 1 { "uses" } else { "use" };
    let who = container_list(&names);
    let what = plural(hosts.len(), "probe or lifecycle host");
    violation(
        "probe or lifecycle host",
        format!("{who} {verb} {what} {}", quoted(&hosts)),
    )
}

fn privileged(pod: &Value, _: Minor) -> Option<Violation> {
    let names = names_where(pod, |c| c["securityContext"]["privileged"] == true);
    match names.is_empty() {
        true => None,
        false => violation(
            "privileged",
            format!(
                "{} must not set securityContext.privileged=true",
                container_list(&names)
            ),
        ),
    }
}

fn proc_mount_baseline(pod: &Value, minor: Minor) -> Option<Violation> {
    match relaxed_by_user_namespace(pod, minor) {
        true => None,
        false => proc_mount_restricted(pod, minor),
    }
}

fn proc_mount_restricted(pod: &Value, _: Minor) -> Option<Violation> {
    let kind = |container: &Value| text(container, "/securityContext/procMount").to_string();
    let bad = |container: &Value| !matches!(kind(container).as_str(), "" | "Default");
    let names = names_where(pod, bad);
    if names.is_empty() {
        return None;
    }
    let kinds = containers(pod)
        .filter(|(_, c)| bad(c))
        .map(|(_, c)| kind(c));
    let kinds = sorted(kinds.collect());
    let who = container_list(&names);
    violation(
        "procMount",
        format!(
            "{who} must not set securityContext.procMount to {}",
            quoted(&kinds)
        ),
    )
}

fn se_linux(pod: &Value, minor: Minor) -> Option<Violation> {
    let allowed = |kind: &str| {
        matches!(
            kind,
            "" | "container_t" | "container_init_t" | "container_kvm_t"
        ) || kind == "container_engine_t" && minor >= 31
    };
    let part = |value: &Value, key: &str| {
        text(value, &format!("/securityContext/seLinuxOptions/{key}")).to_string()
    };
    let bad = |value: &Value| {
        !allowed(&part(value, "type"))
            || !part(value, "user").is_empty()
            || !part(value, "role").is_empty()
    };
    let spec = &pod["spec"];
    let names = names_where(pod, bad);
    let who = setters(bad(spec), &names)?;
    let all: Vec<&Value> = std::iter::once(spec)
        .chain(containers(pod).map(|(_, c)| c))
        .collect();
    let kinds = all
        .iter()
        .map(|v| part(v, "type"))
        .filter(|kind| !allowed(kind));
    let kinds = sorted(kinds.collect());
    let mut data = Vec::new();
    if !kinds.is_empty() {
        data.push(format!(
            "{} {}",
            plural(kinds.len(), "type"),
            quoted(&kinds)
        ));
    }
    for key in ["user", "role"] {
        if all.iter().any(|v| !part(v, key).is_empty()) {
            data.push(format!("{key} may not be set"));
        }
    }
    violation(
        "seLinuxOptions",
        format!(
            "{who} set forbidden securityContext.seLinuxOptions: {}",
            data.join("; ")
        ),
    )
}

fn seccomp_of(value: &Value) -> &str {
    text(value, "/securityContext/seccompProfile/type")
}

fn unconfined(pod: &Value) -> Option<Violation> {
    let bad = |value: &Value| !matches!(seccomp_of(value), "" | "RuntimeDefault" | "Localhost");
    let spec = &pod["spec"];
    let who = setters(bad(spec), &names_where(pod, bad))?;
    let all = std::iter::once(spec).chain(containers(pod).map(|(_, c)| c));
    let kinds = all.filter(|v| bad(v)).map(|v| seccomp_of(v).to_string());
    let kinds = sorted(kinds.collect());
    violation(
        "seccompProfile",
        format!(
            "{who} must not set securityContext.seccompProfile.type to {}",
            quoted(&kinds)
        ),
    )
}

fn seccomp_baseline(pod: &Value, _: Minor) -> Option<Violation> {
    unconfined(pod)
}

fn seccomp_restricted(pod: &Value, minor: Minor) -> Option<Violation> {
    if minor >= 25 && is_windows(pod) {
        return None;
    }
    if let Some(found) = unconfined(pod) {
        return Some(found);
    }
    if !seccomp_of(&pod["spec"]).is_empty() {
        return None;
    }
    let names = names_where(pod, |container| seccomp_of(container).is_empty());
    match names.is_empty() {
        true => None,
        false => violation(
            "seccompProfile",
            format!(
                "pod or {} must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\"",
                container_list(&names)
            ),
        ),
    }
}

fn sysctls(pod: &Value, minor: Minor) -> Option<Violation> {
    let allowed = |name: &str| match name {
        "kernel.shm_rmid_forced"
        | "net.ipv4.ip_local_port_range"
        | "net.ipv4.tcp_syncookies"
        | "net.ipv4.ping_group_range"
        | "net.ipv4.ip_unprivileged_port_start" => true,
        "net.ipv4.ip_local_reserved_ports" => minor >= 27,
        "net.ipv4.tcp_keepalive_time"
        | "net.ipv4.tcp_fin_timeout"
        | "net.ipv4.tcp_keepalive_intvl"
        | "net.ipv4.tcp_keepalive_probes" => minor >= 29,
        "net.ipv4.tcp_rmem" | "net.ipv4.tcp_wmem" => minor >= 32,
        _ => false,
    };
    let names: Vec<&str> = items(pod, "/spec/securityContext/sysctls")
        .map(|s| text(s, "/name"))
        .filter(|name| !allowed(name))
        .collect();
    match names.is_empty() {
        true => None,
        false => violation("forbidden sysctls", names.join(", ")),
    }
}

fn windows_host_process(pod: &Value, _: Minor) -> Option<Violation> {
    let sets = |value: &Value| {
        value.pointer("/securityContext/windowsOptions/hostProcess") == Some(&Value::Bool(true))
    };
    let who = setters(sets(&pod["spec"]), &names_where(pod, sets))?;
    violation(
        "hostProcess",
        format!("{who} must not set securityContext.windowsOptions.hostProcess=true"),
    )
}

fn allow_privilege_escalation(pod: &Value, minor: Minor) -> Option<Violation> {
    if minor >= 25 && is_windows(pod) {
        return None;
    }
    let names = names_where(pod, |container| {
        container.pointer("/securityContext/allowPrivilegeEscalation") != Some(&Value::Bool(false))
    });
    match names.is_empty() {
        true => None,
        false => violation(
            "allowPrivilegeEscalation != false",
            format!(
                "{} must set securityContext.allowPrivilegeEscalation=false",
                container_list(&names)
            ),
        ),
    }
}

fn restricted_volumes(pod: &Value, _: Minor) -> Option<Violation> {
    const ALLOWED: [&str; 9] = [
        "configMap",
        "csi",
        "downwardAPI",
        "emptyDir",
        "ephemeral",
        "image",
        "persistentVolumeClaim",
        "projected",
        "secret",
    ];
    let (mut names, mut kinds) = (Vec::new(), Vec::new());
    for volume in items(pod, "/spec/volumes") {
        let members = volume.as_object().into_iter().flatten();
        let set: Vec<&Key> = members
            .filter(|(key, value)| *key != "name" && !value.is_null())
            .map(|(key, _)| key)
            .collect();
        if set.iter().any(|key| ALLOWED.contains(&key.as_str())) {
            continue;
        }
        names.push(text(volume, "/name").to_string());
        kinds.push(
            set.first()
                .map_or("unknown".to_string(), |key| key.to_string()),
        );
    }
    if names.is_empty() {
        return None;
    }
    let kinds = sorted(kinds);
    let verb = if names.len() == 1 { "uses" } else { "use" };
    let volumes = plural(names.len(), "volume");
    let what = plural(kinds.len(), "restricted volume type");
    violation(
        "restricted volume types",
        format!(
            "{volumes} {} {verb} {what} {}",
            quoted(&names),
            quoted(&kinds)
        ),
    )
}

fn run_as_non_root(pod: &Value, minor: Minor) -> Option<Violation> {
    if relaxed_by_user_namespace(pod, minor) {
        return None;
    }
    let flag = |value: &Value| {
        value
            .pointer("/securityContext/runAsNonRoot")
            .and_then(Value::as_bool)
    };
    let reason = "runAsNonRoot != true";
    let of_pod = flag(&pod["spec"]);
    let explicit = names_where(pod, |container| flag(container) == Some(false));
    if let Some(who) = setters(of_pod == Some(false), &explicit) {
        return violation(
            reason,
            format!("{who} must not set securityContext.runAsNonRoot=false"),
        );
    }
    if of_pod == Some(true) {
        return None;
    }
    let silent = names_where(pod, |container| flag(container).is_none());
    match silent.is_empty() {
        true => None,
        false => violation(
            reason,
            format!(
                "pod or {} must set securityContext.runAsNonRoot=true",
                container_list(&silent)
            ),
        ),
    }
}

fn run_as_user(pod: &Value, minor: Minor) -> Option<Violation> {
    if relaxed_by_user_namespace(pod, minor) {
        return None;
    }
    let is_root = |value: &Value| {
        value
            .pointer("/securityContext/runAsUser")
            .and_then(Value::as_i64)
            == Some(0)
    };
    let who = setters(is_root(&pod["spec"]), &names_where(pod, is_root))?;
    violation("runAsUser=0", format!("{who} must not set runAsUser=0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    fn check(spec: Value, is_restricted: bool, minor: Minor) -> String {
        let pod = json!({"metadata": {}, "spec": spec});
        let found = violations(&pod, is_restricted, minor);
        let texts: Vec<String> = found
            .iter()
            .map(|v| format!("{} ({})", v.reason, v.detail))
            .collect();
        texts.join(", ")
    }

    #[test]
    fn texts() {
        let good = json!({"allowPrivilegeEscalation": false, "capabilities": {"drop": ["ALL"]}});
        let sound = json!({"runAsNonRoot": true, "seccompProfile": {"type": "RuntimeDefault"}});
        let plain = "allowPrivilegeEscalation != false (container \"c\" must set securityContext.allowPrivilegeEscalation=false), unrestricted capabilities (container \"c\" must set securityContext.capabilities.drop=[\"ALL\"]), runAsNonRoot != true (pod or container \"c\" must set securityContext.runAsNonRoot=true), seccompProfile (pod or container \"c\" must set securityContext.seccompProfile.type to \"RuntimeDefault\" or \"Localhost\")";
        let cases = [
            (
                json!({"containers": [{"name": "c"}]}),
                true,
                u32::MAX,
                plain,
            ),
            (
                json!({"containers": [{"name": "c", "securityContext": good}], "securityContext": sound}),
                true,
                u32::MAX,
                "",
            ),
            (
                json!({"containers": [], "hostNetwork": true, "hostPID": true}),
                false,
                u32::MAX,
                "host namespaces (hostNetwork=true, hostPID=true)",
            ),
            (
                json!({"containers": [{"name": "c", "ports": [{"hostPort": 80}]}]}),
                false,
                u32::MAX,
                "hostPort (container \"c\" uses hostPort 80)",
            ),
            (
                json!({"containers": [{"name": "c", "securityContext": {"capabilities": {"add": ["NET_ADMIN", "CHOWN"]}}}]}),
                false,
                u32::MAX,
                "non-default capabilities (container \"c\" must not include \"NET_ADMIN\" in securityContext.capabilities.add)",
            ),
            (
                json!({"containers": [{"name": "c", "securityContext": {"seLinuxOptions": {"type": "x", "user": "u"}}}]}),
                false,
                u32::MAX,
                "seLinuxOptions (container \"c\" set forbidden securityContext.seLinuxOptions: type \"x\"; user may not be set)",
            ),
            (
                json!({"containers": [{"name": "c", "securityContext": {"appArmorProfile": {"type": "Unconfined"}}}]}),
                false,
                u32::MAX,
                "forbidden AppArmor profile (container \"c\" must not set AppArmor profile type to \"Unconfined\")",
            ),
            (
                json!({"containers": [{"name": "c", "securityContext": good}], "securityContext": sound, "volumes": [{"name": "n", "nfs": {}}]}),
                true,
                u32::MAX,
                "restricted volume types (volume \"n\" uses restricted volume type \"nfs\")",
            ),
            (
                json!({"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "192.0.2.1"}}}]}),
                false,
                u32::MAX,
                "probe or lifecycle host (container \"c\" uses probe or lifecycle host \"192.0.2.1\")",
            ),
            (
                json!({"containers": [{"name": "c", "livenessProbe": {"httpGet": {"host": "192.0.2.1"}}}]}),
                false,
                33,
                "",
            ),
        ];
        for (spec, is_restricted, minor, expected) in cases {
            assert_eq!(check(spec, is_restricted, minor), expected);
        }
    }
}
