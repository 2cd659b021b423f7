//! Rules of Windows pods: security options, host processes, and what each OS may not set.

use std::sync::LazyLock;

use regex::Regex;

use super::super::common::access::{arr_at, at, bool_at, is_true, opt_str_at, path_at, str_at};
use super::super::common::names::{self, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const SPEC_MAX_KIB: usize = 64;
const DOMAIN_MAX: usize = 256;
const USER_MAX: usize = 104;
const CONTAINER_LISTS: [&str; 3] = ["initContainers", "containers", "ephemeralContainers"];

static NETBIOS: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r#"^[^\\/:\*\?"<>|\.][^\\/:\*\?"<>|]{0,14}$"#).expect("the pattern is constant")
});
static DOMAIN: LazyLock<Regex> = LazyLock::new(|| {
    let label = "[a-zA-Z0-9](?:[a-zA-Z0-9-]{0,61}[a-zA-Z0-9])?";
    Regex::new(&format!(r"^{label}(?:\.{label})*$")).expect("the pattern is constant")
});

/// Validates `windowsOptions` of a security context at `path`.
pub fn validate_options(context: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(options) = at(context, "windowsOptions") else {
        return;
    };
    let path = path.field("windowsOptions");
    if let Some(name) = opt_str_at(options, "gmsaCredentialSpecName") {
        let messages = names::dns1123_subdomain(name);
        invalid_each(
            errors,
            &path.field("gmsaCredentialSpecName"),
            name,
            messages,
        );
    }
    if let Some(spec) = opt_str_at(options, "gmsaCredentialSpec") {
        let path = path.field("gmsaCredentialSpec");
        if spec.is_empty() {
            errors.invalid_str(&path, spec, "gmsaCredentialSpec cannot be an empty string");
        } else if spec.len() > SPEC_MAX_KIB * 1024 {
            errors.invalid_str(
                &path,
                spec,
                format!("gmsaCredentialSpec size must be under {SPEC_MAX_KIB} KiB"),
            );
        }
    }
    if let Some(user) = opt_str_at(options, "runAsUserName") {
        let path = path.field("runAsUserName");
        for message in user_name_errors(user) {
            errors.invalid_str(&path, user, message);
        }
    }
}

fn user_name_errors(text: &str) -> Vec<&'static str> {
    if text.is_empty() {
        return vec!["runAsUserName cannot be an empty string"];
    }
    if text.chars().any(|c| c.is_ascii_control()) {
        return vec!["runAsUserName cannot contain control characters"];
    }
    let mut parts = text.split('\\');
    let first = parts.next().unwrap_or_default();
    let (domain, user) = match (parts.next(), parts.next()) {
        (None, _) => (None, first),
        (Some(user), None) => (Some(first), user),
        _ => return vec!["runAsUserName cannot contain more than one backslash"],
    };
    let mut out = Vec::new();
    if let Some(domain) = domain {
        if domain.len() >= DOMAIN_MAX {
            out.push("runAsUserName's Domain length must be under 256 characters");
        }
        if !NETBIOS.is_match(domain) && !DOMAIN.is_match(domain) {
            out.push("runAsUserName's Domain doesn't match the NetBios nor the DNS format");
        }
    }
    if user.is_empty() {
        out.push("runAsUserName's User cannot be empty");
    } else if user.len() > USER_MAX {
        out.push("runAsUserName's User length must not be longer than 104 characters");
    }
    if user.chars().all(|c| c == '.' || c == ' ') && !user.is_empty() {
        out.push("runAsUserName's User cannot contain only periods or spaces");
    }
    if user.contains([
        '"', '/', '\\', ':', ';', '|', '=', ',', '+', '*', '?', '<', '>', '@', '[', ']',
    ]) {
        out.push(
            "runAsUserName's User cannot contain the following characters: \"/\\:;|=,+*?<>@[]",
        );
    }
    out
}

fn host_process(context: Option<&Value>) -> Option<bool> {
    bool_at(at(context?, "windowsOptions")?, "hostProcess")
}

/// Host process containers are consistent with the pod and need its host network; `path` is the spec's.
pub fn validate_host_process_pod(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let pod = host_process(at(spec, "securityContext"));
    let (mut any, mut all, mut count) = (false, true, 0);
    for field in CONTAINER_LISTS {
        let list = path.field(field);
        for (i, container) in arr_at(spec, field).iter().enumerate() {
            let own = host_process(at(container, "securityContext"));
            count += 1;
            let effective = own.or(pod).unwrap_or_default();
            any |= effective;
            all &= effective;
            if let (Some(pod), Some(own)) = (pod, own)
                && pod != own
            {
                let item = list.index(i);
                let context = item.field("securityContext");
                let options = context.field("windowsOptions");
                errors.invalid(
                    &options.field("hostProcess"),
                    &own.into(),
                    format!(
                        "pod hostProcess value must be identical if both are specified, was {pod}"
                    ),
                );
            }
        }
    }
    if !any || count == 0 {
        return;
    }
    if !all {
        errors.invalid_str(
            path,
            "",
            "If pod contains any hostProcess containers then all containers must be HostProcess containers",
        );
    }
    if !is_true(spec, "hostNetwork") {
        errors.invalid(
            &path.field("hostNetwork"),
            &is_true(spec, "hostNetwork").into(),
            "hostNetwork must be true if pod contains any hostProcess containers",
        );
    }
}

/// `os`, and the fields each OS may not set; `path` is the spec's.
pub fn validate_os(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(os) = at(spec, "os") else { return };
    let os_path = path.field("os");
    match str_at(os, "name") {
        "" => errors.required(&os_path.field("name"), ""),
        "linux" => forbid_windows_options(spec, path, errors),
        "windows" => forbid_linux_fields(spec, path, errors),
        other => errors.not_supported(&os_path, &other.into(), &["linux", "windows"]),
    }
}

fn forbid_windows_options(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    const TEXT: &str = "windows options cannot be set for a linux pod";
    if path_at(spec, &["securityContext", "windowsOptions"]).is_some() {
        let context = path.field("securityContext");
        errors.forbidden(&context.field("windowsOptions"), TEXT);
    }
    for field in CONTAINER_LISTS {
        let list = path.field(field);
        for (i, container) in arr_at(spec, field).iter().enumerate() {
            if path_at(container, &["securityContext", "windowsOptions"]).is_some() {
                let item = list.index(i);
                let context = item.field("securityContext");
                errors.forbidden(&context.field("windowsOptions"), TEXT);
            }
        }
    }
}

fn forbid_linux_fields(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    const TEXT: &str = "cannot be set for a windows pod";
    /// Fields of the spec or, with `true`, of its security context.
    const POD: [(&str, bool); 14] = [
        ("appArmorProfile", true),
        ("seLinuxOptions", true),
        ("hostUsers", false),
        ("hostPID", false),
        ("hostIPC", false),
        ("seccompProfile", true),
        ("fsGroup", true),
        ("fsGroupChangePolicy", true),
        ("sysctls", true),
        ("shareProcessNamespace", false),
        ("runAsUser", true),
        ("runAsGroup", true),
        ("supplementalGroups", true),
        ("supplementalGroupsPolicy", true),
    ];
    const CONTAINER: [&str; 10] = [
        "appArmorProfile",
        "seLinuxOptions",
        "seccompProfile",
        "capabilities",
        "readOnlyRootFilesystem",
        "privileged",
        "allowPrivilegeEscalation",
        "procMount",
        "runAsUser",
        "runAsGroup",
    ];
    let context_path = path.field("securityContext");
    let null = Value::Null;
    let context = at(spec, "securityContext").unwrap_or(&null);
    for (field, in_context) in POD {
        let holder = if in_context { context } else { spec };
        let set = match (field, holder.get(field)) {
            ("hostPID" | "hostIPC", value) => value == Some(&Value::Bool(true)),
            (_, Some(Value::Array(list))) => !list.is_empty(),
            (_, value) => value.is_some_and(|v| !v.is_null()),
        };
        if set && in_context {
            errors.forbidden(&context_path.field(field), TEXT);
        } else if set {
            errors.forbidden(&path.field(field), TEXT);
        }
    }
    for field in CONTAINER_LISTS {
        let list = path.field(field);
        for (i, container) in arr_at(spec, field).iter().enumerate() {
            let Some(context) = at(container, "securityContext") else {
                continue;
            };
            let item = list.index(i);
            let path = item.field("securityContext");
            for field in CONTAINER {
                if at(context, field).is_some() {
                    errors.forbidden(&path.field(field), TEXT);
                }
            }
        }
    }
}
