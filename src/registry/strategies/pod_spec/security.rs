//! Security contexts of pods and containers: IDs, profiles, sysctls.

use std::sync::LazyLock;

use regex::Regex;

use super::super::common::access::{arr_at, at, bool_at, i64_at, is_true, opt_str_at, str_at};
use super::super::common::checks;
use super::super::common::golang;
use super::super::common::gotypes::{PROFILE, SECURITY_CONTEXT};
use super::super::common::names;
use super::windows;
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;

const SYSCTL_RE: &str = r"^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$";
const APP_ARMOR_PROFILE_MAX: usize = 4095;

static SYSCTL: LazyLock<Regex> =
    LazyLock::new(|| Regex::new(SYSCTL_RE).expect("the pattern is constant"));

/// Sysctls of the IPC namespace; those of the network namespace start with `net.`.
const IPC_SYSCTLS: [&str; 3] = ["kernel.shm", "kernel.msg", "fs.mqueue."];

/// Validates `securityContext` of a container.
pub fn validate_security_context(
    context: &Value,
    host_users: bool,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    validate_ids(context, &["runAsUser", "runAsGroup"], path, errors);
    if let Some(proc_mount) = at(context, "procMount") {
        let path = path.field("procMount");
        if proc_mount != "Default" && proc_mount != "Unmasked" {
            errors.not_supported(&path, proc_mount, &["Default", "Unmasked"]);
        }
        if host_users && proc_mount == "Unmasked" {
            errors.invalid(
                &path,
                proc_mount,
                "`hostUsers` must be false to use `Unmasked`",
            );
        }
    }
    validate_seccomp(context, path, errors);
    if bool_at(context, "allowPrivilegeEscalation") == Some(false) {
        let mut report = |detail: &str| {
            let printed = golang::compact(Some(context), SECURITY_CONTEXT);
            errors.push(ErrorType::Invalid, path, printed, detail);
        };
        if is_true(context, "privileged") {
            report("cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
        }
        let added = at(context, "capabilities").map_or(&[][..], |c| arr_at(c, "add"));
        for _ in added.iter().filter(|c| *c == "CAP_SYS_ADMIN") {
            report(
                "cannot set `allowPrivilegeEscalation` to false and `capabilities.Add` CAP_SYS_ADMIN",
            );
        }
    }
    windows::validate_options(context, path, errors);
    validate_app_armor(context, path, errors);
}

/// Validates `securityContext` of a pod; `path` is that of the spec.
pub fn validate_pod_security_context(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let host_path = path;
    let path = path.field("securityContext");
    let empty = Value::Null;
    let context = at(spec, "securityContext").unwrap_or(&empty);
    validate_ids(
        context,
        &["fsGroup", "runAsUser", "runAsGroup"],
        &path,
        errors,
    );
    let groups = path.field("supplementalGroups");
    for (i, group) in arr_at(context, "supplementalGroups").iter().enumerate() {
        let id = group.as_i64().unwrap_or_default();
        for message in names::user_id(id) {
            errors.invalid(&groups.index(i), group, message);
        }
    }
    if is_true(spec, "shareProcessNamespace") && is_true(spec, "hostPID") {
        errors.invalid(
            &host_path.field("shareProcessNamespace"),
            &true.into(),
            "ShareProcessNamespace and HostPID cannot both be enabled",
        );
    }
    validate_sysctls(context, spec, &path.field("sysctls"), errors);
    checks::optional_enum(
        context,
        &path,
        "fsGroupChangePolicy",
        &["Always", "OnRootMismatch"],
        errors,
    );
    validate_seccomp(context, &path, errors);
    windows::validate_options(context, &path, errors);
    validate_app_armor(context, &path, errors);
    checks::optional_enum(
        context,
        &path,
        "supplementalGroupsPolicy",
        &["Merge", "Strict"],
        errors,
    );
    checks::optional_enum(
        context,
        &path,
        "seLinuxChangePolicy",
        &["MountOption", "Recursive"],
        errors,
    );
}

fn validate_ids(context: &Value, fields: &[&str], path: &Path<'_>, errors: &mut FieldErrors) {
    for field in fields {
        if let Some(id) = i64_at(context, field) {
            for message in names::user_id(id) {
                errors.invalid(&path.field(field), &id.into(), message);
            }
        }
    }
}

fn validate_seccomp(context: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(profile) = at(context, "seccompProfile") else {
        return;
    };
    let path = path.field("seccompProfile");
    let kind = str_at(profile, "type");
    const TYPES: [&str; 3] = ["Localhost", "RuntimeDefault", "Unconfined"];
    if kind.is_empty() {
        errors.required(
            &path.field("type"),
            "type is required when seccompProfile is set",
        );
    } else if !TYPES.contains(&kind) {
        errors.not_supported(&path.field("type"), &kind.into(), &TYPES);
    }
    let local_path = path.field("localhostProfile");
    match (kind == "Localhost", opt_str_at(profile, "localhostProfile")) {
        (true, None) => errors.required(&local_path, "must be set when seccomp type is Localhost"),
        (true, Some(local)) => checks::relative_path(local, &local_path, errors),
        (false, Some(_)) => errors.push(
            ErrorType::Invalid,
            &local_path,
            golang::compact(Some(profile), PROFILE),
            "can only be set when seccomp type is Localhost",
        ),
        (false, None) => {}
    }
}

fn validate_app_armor(context: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let Some(profile) = at(context, "appArmorProfile") else {
        return;
    };
    let path = path.field("appArmorProfile");
    let local_path = path.field("localhostProfile");
    let local = opt_str_at(profile, "localhostProfile");
    const NEEDED: &str = "must be set when AppArmor type is Localhost";
    match str_at(profile, "type") {
        "Localhost" => match local {
            None => errors.required(&local_path, NEEDED),
            Some(local) => {
                if local.trim() != local {
                    errors.invalid_str(&local_path, local, "must not be padded with whitespace");
                } else if local.is_empty() {
                    errors.required(&local_path, NEEDED);
                }
                if local.len() > APP_ARMOR_PROFILE_MAX {
                    errors.too_long(&local_path, APP_ARMOR_PROFILE_MAX);
                }
            }
        },
        "RuntimeDefault" | "Unconfined" => {
            if let Some(local) = local {
                errors.invalid_str(
                    &local_path,
                    local,
                    "can only be set when AppArmor type is Localhost",
                );
            }
        }
        "" => errors.required(
            &path.field("type"),
            "type is required when appArmorProfile is set",
        ),
        other => errors.not_supported(
            &path.field("type"),
            &other.into(),
            &["Localhost", "RuntimeDefault", "Unconfined"],
        ),
    }
}

fn validate_sysctls(context: &Value, spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let sysctls = arr_at(context, "sysctls");
    for (i, sysctl) in sysctls.iter().enumerate() {
        let item = path.index(i);
        let path = item.field("name");
        let name = str_at(sysctl, "name");
        if name.is_empty() {
            errors.required(&path, "");
        } else if name.len() > 253 || !SYSCTL.is_match(name) {
            errors.invalid_str(
                &path,
                name,
                format!("must have at most 253 characters and match regex {SYSCTL_RE}"),
            );
        } else if sysctls[..i]
            .iter()
            .any(|s| str_at(s, "name").replace('/', ".") == name.replace('/', "."))
        {
            errors.duplicate(&path, &name.into());
        }
        let dotted = name.replace('/', ".");
        if dotted.starts_with("net.") && is_true(spec, "hostNetwork") {
            errors.invalid_str(
                &path,
                name,
                "may not be specified when 'hostNetwork' is true",
            );
        }
        let ipc = dotted == "kernel.sem" || IPC_SYSCTLS.iter().any(|p| dotted.starts_with(p));
        if ipc && is_true(spec, "hostIPC") {
            errors.invalid_str(&path, name, "may not be specified when 'hostIPC' is true");
        }
    }
}
