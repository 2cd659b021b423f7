//! Containers, init containers and ephemeral containers.

use super::super::common::access::{arr_at, at, is_zero, opt_str_at, str_at};
use super::super::common::checks;
use super::super::common::names::{self, invalid_each};
use super::super::common::resources;
use super::{Scope, env, mounts, ports, probes, security};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

const TERMINATION_POLICIES: [&str; 2] = ["File", "FallbackToLogsOnError"];
const PULL_POLICIES: [&str; 3] = ["Always", "IfNotPresent", "Never"];
const RESTART_POLICIES: [&str; 3] = ["Always", "Never", "OnFailure"];
const EPHEMERAL: &str = "cannot be set for an Ephemeral Container";
const RESTART_RULES_MAX: usize = 20;
const EXIT_CODES_MAX: usize = 255;

/// Fields of a container that an ephemeral one may not set.
const NOT_EPHEMERAL: [&str; 9] = [
    "ports",
    "resources",
    "resizePolicy",
    "restartPolicy",
    "restartPolicyRules",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "lifecycle",
];

/// Whether an init container is a sidecar.
pub fn is_sidecar(container: &Value) -> bool {
    str_at(container, "restartPolicy") == "Always"
}

/// Validates `containers`.
pub fn validate_containers(scope: &Scope<'_>, path: &Path<'_>, errors: &mut FieldErrors) {
    let containers = arr_at(scope.spec, "containers");
    if containers.is_empty() {
        errors.required(path, "");
        return;
    }
    for (i, container) in containers.iter().enumerate() {
        let path = path.index(i);
        validate_common(container, scope, &path, errors);
        let name = str_at(container, "name");
        if containers[..i].iter().any(|c| str_at(c, "name") == name) {
            errors.duplicate(&path.field("name"), &name.into());
        }
        if let Some(lifecycle) = at(container, "lifecycle") {
            probes::validate_lifecycle(lifecycle, scope.grace, &path.field("lifecycle"), errors);
        }
        probes::validate_probes(container, scope.grace, &path, errors);
        validate_restart_policy(container, &path, errors);
    }
    ports::validate_unique_host_ports(containers, 0, path, errors);
}

/// Validates `initContainers`.
pub fn validate_init_containers(scope: &Scope<'_>, path: &Path<'_>, errors: &mut FieldErrors) {
    let regular = arr_at(scope.spec, "containers");
    let containers = arr_at(scope.spec, "initContainers");
    for (i, container) in containers.iter().enumerate() {
        let item = path.index(i);
        validate_common(container, scope, &item, errors);
        validate_restart_policy(container, &item, errors);
        let name = str_at(container, "name");
        let mut others = regular.iter().chain(&containers[..i]);
        if others.any(|c| str_at(c, "name") == name) {
            errors.duplicate(&item.field("name"), &name.into());
        }
        ports::validate_unique_host_ports(&containers[i..=i], i, path, errors);
        if is_sidecar(container) {
            if let Some(lifecycle) = at(container, "lifecycle") {
                let path = item.field("lifecycle");
                probes::validate_lifecycle(lifecycle, scope.grace, &path, errors);
            }
            probes::validate_probes(container, scope.grace, &item, errors);
            continue;
        }
        for field in [
            "lifecycle",
            "livenessProbe",
            "readinessProbe",
            "startupProbe",
        ] {
            if at(container, field).is_some() {
                errors.forbidden(
                    &item.field(field),
                    "may not be set for init containers without restartPolicy=Always",
                );
            }
        }
        for policy in arr_at(container, "resizePolicy") {
            if str_at(policy, "restartPolicy") == "RestartContainer" {
                errors.invalid_str(
                    &item.field("resizePolicy"),
                    "RestartContainer",
                    "must not be set to 'RestartContainer' for non-sidecar initContainers",
                );
            }
        }
    }
}

/// Validates `ephemeralContainers`.
pub fn validate_ephemeral_containers(scope: &Scope<'_>, path: &Path<'_>, errors: &mut FieldErrors) {
    let others = || {
        let fields = ["containers", "initContainers"];
        fields
            .into_iter()
            .flat_map(|field| arr_at(scope.spec, field))
            .map(|c| str_at(c, "name"))
    };
    let containers = arr_at(scope.spec, "ephemeralContainers");
    for (i, container) in containers.iter().enumerate() {
        let path = path.index(i);
        validate_common(container, scope, &path, errors);
        let name = str_at(container, "name");
        let earlier = containers[..i].iter().map(|c| str_at(c, "name"));
        if !name.is_empty() && others().chain(earlier).any(|n| n == name) {
            errors.duplicate(&path.field("name"), &name.into());
        }
        let target = str_at(container, "targetContainerName");
        if !target.is_empty() && !others().any(|n| n == target) {
            errors.not_found(&path.field("targetContainerName"), &target.into());
        }
        for field in NOT_EPHEMERAL {
            if !is_zero(container.get(field)) {
                errors.forbidden(&path.field(field), EPHEMERAL);
            }
        }
        let mounts_path = path.field("volumeMounts");
        for (j, mount) in arr_at(container, "volumeMounts").iter().enumerate() {
            let mount_path = mounts_path.index(j);
            for field in ["subPath", "subPathExpr"] {
                if !str_at(mount, field).is_empty() {
                    errors.forbidden(&mount_path.field(field), EPHEMERAL);
                }
            }
        }
    }
}

/// The rules that hold for every type of container.
fn validate_common(
    container: &Value,
    scope: &Scope<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let name = str_at(container, "name");
    if name.is_empty() {
        errors.required(&path.field("name"), "");
    } else {
        invalid_each(
            errors,
            &path.field("name"),
            name,
            names::dns1123_label(name),
        );
    }
    checks::required_str(container, path, "image", errors);
    checks::required_enum(
        container,
        path,
        "terminationMessagePolicy",
        &TERMINATION_POLICIES,
        errors,
    );
    ports::validate_container_ports(container, &path.field("ports"), errors);
    env::validate_env(container, &path.field("env"), errors);
    env::validate_env_from(container, &path.field("envFrom"), errors);
    mounts::validate_volume_mounts(container, scope, &path.field("volumeMounts"), errors);
    mounts::validate_volume_devices(container, scope, &path.field("volumeDevices"), errors);
    checks::required_enum(container, path, "imagePullPolicy", &PULL_POLICIES, errors);
    if let Some(requirements) = at(container, "resources") {
        resources::validate_requirements(
            requirements,
            resources::validate_container_resource_name,
            &scope.claims,
            &path.field("resources"),
            errors,
        );
    }
    validate_resize_policy(container, scope, &path.field("resizePolicy"), errors);
    if let Some(context) = at(container, "securityContext") {
        let path = path.field("securityContext");
        security::validate_security_context(context, scope.host_users, &path, errors);
    }
}

/// Upstream reports these at the list, without an index, but for duplicates.
fn validate_resize_policy(
    container: &Value,
    scope: &Scope<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let policies = arr_at(container, "resizePolicy");
    for (i, policy) in policies.iter().enumerate() {
        let resource = str_at(policy, "resourceName");
        if policies[..i]
            .iter()
            .any(|p| str_at(p, "resourceName") == resource)
        {
            errors.duplicate(&path.index(i), &resource.into());
        }
        one_of_at(resource, &["cpu", "memory"], path, errors);
        let restart = str_at(policy, "restartPolicy");
        one_of_at(restart, &["NotRequired", "RestartContainer"], path, errors);
        if scope.restart_policy == "Never" && restart != "NotRequired" {
            errors.invalid_str(
                path,
                restart,
                "must be 'NotRequired' when pod `restartPolicy` is 'Never'",
            );
        }
    }
}

fn one_of_at(text: &str, supported: &[&str], path: &Path<'_>, errors: &mut FieldErrors) {
    if text.is_empty() {
        errors.required(path, "");
    } else if !supported.contains(&text) {
        errors.not_supported(path, &text.into(), supported);
    }
}

fn validate_restart_policy(container: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let rules = arr_at(container, "restartPolicyRules");
    match opt_str_at(container, "restartPolicy") {
        Some(policy) if !RESTART_POLICIES.contains(&policy) => errors.not_supported(
            &path.field("restartPolicy"),
            &policy.into(),
            &RESTART_POLICIES,
        ),
        None if !rules.is_empty() => errors.required(
            &path.field("restartPolicy"),
            "must specify restartPolicy when restart rules are used",
        ),
        _ => {}
    }
    let path = path.field("restartPolicyRules");
    if rules.len() > RESTART_RULES_MAX {
        errors.too_many(&path, rules.len(), RESTART_RULES_MAX);
    }
    for (i, rule) in rules.iter().enumerate() {
        let path = path.index(i);
        let action = str_at(rule, "action");
        if !matches!(action, "Restart" | "RestartAllContainers") {
            errors.not_supported(
                &path.field("action"),
                &action.into(),
                &["Restart", "RestartAllContainers"],
            );
        }
        let codes_path = path.field("exitCodes");
        let Some(codes) = at(rule, "exitCodes") else {
            errors.required(&codes_path, "must be specified");
            continue;
        };
        let operator = str_at(codes, "operator");
        if !matches!(operator, "In" | "NotIn") {
            errors.not_supported(
                &codes_path.field("operator"),
                &operator.into(),
                &["In", "NotIn"],
            );
        }
        let values = arr_at(codes, "values");
        if values.len() > EXIT_CODES_MAX {
            errors.too_many(&codes_path.field("values"), values.len(), EXIT_CODES_MAX);
        }
    }
}
