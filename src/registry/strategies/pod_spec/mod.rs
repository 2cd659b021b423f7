//! PodSpec: defaults, validation and warnings, for pods and for every template that holds one
//! (contract/defaults.md §2, contract/validation.md §B1–B2, §K).
//!
//! Called by the strategies of core, apps and batch. One file per topic; [`validate_pod_spec`] is the
//! visit order.

pub mod affinity;
pub mod claims;
pub mod containers;
pub mod defaults;
pub mod env;
mod image;
pub mod mounts;
pub mod network;
pub mod placement;
pub mod pod_resources;
pub mod ports;
pub mod probes;
pub mod security;
pub mod template;
pub mod volume_sources;
pub mod volumes;
pub mod warnings;
pub mod windows;

use super::common::access::{arr_at, at, bool_at, i64_at, is_true, str_at};
use super::common::checks;
use super::common::names::{self, invalid_each};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::Value;

/// Whose pod spec it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Owner<'a> {
    /// A Pod of this name.
    Pod(&'a str),
    /// A template.
    Template,
}

impl Owner<'_> {
    /// Whether it is a Pod itself.
    pub fn is_pod(self) -> bool {
        matches!(self, Owner::Pod(_))
    }
}

/// Facts of the spec that many rules need.
#[derive(Debug)]
pub struct Scope<'a> {
    /// The whole spec.
    pub spec: &'a Value,
    /// Whose spec it is.
    pub owner: Owner<'a>,
    /// Valid volumes by name.
    pub volumes: Vec<(&'a str, &'a Value)>,
    /// Names of the pod's resource claims.
    pub claims: Vec<&'a str>,
    /// Termination grace in seconds.
    pub grace: Option<i64>,
    /// The pod's restart policy.
    pub restart_policy: &'a str,
    /// `hostUsers` is missing or true.
    pub host_users: bool,
}

impl<'a> Scope<'a> {
    /// The volume of this name.
    pub fn volume(&self, name: &str) -> Option<&'a Value> {
        self.volumes
            .iter()
            .find(|(n, _)| *n == name)
            .map(|(_, volume)| *volume)
    }
}

/// Validates a pod spec at `path`, in upstream's visit order.
pub fn validate_pod_spec(
    spec: &Value,
    owner: Owner<'_>,
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    validate_pod_spec_with(spec, owner, &[], path, errors);
}

/// As [`validate_pod_spec`], with volumes that come from outside of the spec (claim templates of a
/// stateful set).
pub fn validate_pod_spec_with(
    spec: &Value,
    owner: Owner<'_>,
    extra_volumes: &[(&str, &Value)],
    path: &Path<'_>,
    errors: &mut FieldErrors,
) {
    let grace = i64_at(spec, "terminationGracePeriodSeconds");
    if grace.is_none() {
        errors.required(&path.field("terminationGracePeriodSeconds"), "");
    }
    let mut volumes = volumes::validate_volumes(spec, owner, &path.field("volumes"), errors);
    volumes.extend_from_slice(extra_volumes);
    claims::validate_resource_claims(spec, &path.field("resourceClaims"), errors);
    let scope = Scope {
        spec,
        owner,
        volumes,
        claims: claims::names(spec),
        grace,
        restart_policy: str_at(spec, "restartPolicy"),
        host_users: bool_at(spec, "hostUsers") != Some(false),
    };
    containers::validate_containers(&scope, &path.field("containers"), errors);
    containers::validate_init_containers(&scope, &path.field("initContainers"), errors);
    containers::validate_ephemeral_containers(&scope, &path.field("ephemeralContainers"), errors);
    pod_resources::validate(&scope, &path.field("resources"), errors);
    ports::validate_host_network_ports(spec, path, errors);
    checks::required_enum(
        spec,
        path,
        "restartPolicy",
        &["Always", "OnFailure", "Never"],
        errors,
    );
    checks::required_enum(
        spec,
        path,
        "dnsPolicy",
        &["ClusterFirstWithHostNet", "ClusterFirst", "Default", "None"],
        errors,
    );
    checks::labels(
        spec.get("nodeSelector"),
        &path.field("nodeSelector"),
        errors,
    );
    security::validate_pod_security_context(spec, path, errors);
    validate_image_pull_secrets(spec, &path.field("imagePullSecrets"), errors);
    let keys = match owner {
        Owner::Pod(_) => affinity::SelectorKeys::Merged,
        Owner::Template => affinity::SelectorKeys::Distinct,
    };
    affinity::validate(spec, keys, &path.field("affinity"), errors);
    network::validate_dns_config(spec, &path.field("dnsConfig"), errors);
    validate_gates(spec, path, errors);
    let spread = path.field("topologySpreadConstraints");
    placement::validate_topology_spread(spec, keys, &spread, errors);
    windows::validate_host_process_pod(spec, path, errors);
    validate_host_users(spec, path, errors);
    validate_identity(spec, path, errors);
    placement::validate_tolerations(spec, &path.field("tolerations"), errors);
    network::validate_host_aliases(spec, &path.field("hostAliases"), errors);
    validate_names(
        spec,
        path,
        &["priorityClassName", "runtimeClassName"],
        errors,
    );
    checks::optional_enum(
        spec,
        path,
        "preemptionPolicy",
        &["PreemptLowerPriority", "Never"],
        errors,
    );
    pod_resources::validate_overhead(spec, &path.field("overhead"), errors);
    windows::validate_os(spec, path, errors);
    env::validate_file_key_volumes(&scope, path, errors);
}

fn validate_image_pull_secrets(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for (i, secret) in arr_at(spec, "imagePullSecrets").iter().enumerate() {
        let only_name = secret
            .as_object()
            .is_none_or(|o| o.keys().all(|k| k == "name"));
        if !only_name {
            errors.invalid(&path.index(i), secret, "only name may be set");
        }
    }
}

fn validate_gates(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let readiness = path.field("readinessGates");
    for (i, gate) in arr_at(spec, "readinessGates").iter().enumerate() {
        let condition = str_at(gate, "conditionType");
        invalid_each(
            errors,
            &readiness.index(i).field("conditionType"),
            condition,
            names::qualified_name(condition),
        );
    }
    let scheduling = path.field("schedulingGates");
    let gates = arr_at(spec, "schedulingGates");
    for (i, gate) in gates.iter().enumerate() {
        let name = str_at(gate, "name");
        let path = scheduling.index(i);
        invalid_each(errors, &path, name, names::qualified_name(name));
        if gates[..i].iter().any(|g| str_at(g, "name") == name) {
            errors.duplicate(&path, &name.into());
        }
    }
}

fn validate_host_users(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    if bool_at(spec, "hostUsers") != Some(false) {
        return;
    }
    for (member, field) in [
        ("hostNetwork", "hostNetwork"),
        ("hostPID", "HostPID"),
        ("hostIPC", "HostIPC"),
    ] {
        if is_true(spec, member) {
            errors.forbidden(&path.field(field), "when `hostUsers` is false");
        }
    }
}

/// hostnameOverride, serviceAccountName, nodeName, activeDeadlineSeconds, hostname, subdomain.
fn validate_identity(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    network::validate_hostname_override(spec, path, errors);
    validate_names(spec, path, &["serviceAccountName", "nodeName"], errors);
    if let Some(seconds) = i64_at(spec, "activeDeadlineSeconds")
        && !(1..=2_147_483_647).contains(&seconds)
    {
        errors.invalid(
            &path.field("activeDeadlineSeconds"),
            &seconds.into(),
            "must be between 1 and 2147483647, inclusive",
        );
    }
    for field in ["hostname", "subdomain"] {
        let name = str_at(spec, field);
        if !name.is_empty() {
            invalid_each(errors, &path.field(field), name, names::dns1123_label(name));
        }
    }
}

/// DNS subdomain names, where set. `runtimeClassName` is a pointer: empty is set.
fn validate_names(spec: &Value, path: &Path<'_>, fields: &[&str], errors: &mut FieldErrors) {
    for field in fields {
        let name = str_at(spec, field);
        let set = !name.is_empty() || (*field == "runtimeClassName" && at(spec, field).is_some());
        if set {
            invalid_each(
                errors,
                &path.field(field),
                name,
                names::dns1123_subdomain(name),
            );
        }
    }
}

/// Refuses privileged containers of the pod spec at `steps` (`--allow-privileged=false`).
pub fn forbid_privileged(object: &Value, steps: &[&str], errors: &mut FieldErrors) {
    let spec = steps.iter().try_fold(object, |value, step| value.get(step));
    let dotted = steps.join(".");
    let root = Path::ROOT.field(&dotted);
    for list in ["initContainers", "containers", "ephemeralContainers"] {
        let containers = spec.and_then(|s| s.get(list)).and_then(Value::as_array);
        for (i, container) in containers.into_iter().flatten().enumerate() {
            if container["securityContext"]["privileged"] == true {
                let list = root.field(list);
                let context = list.index(i);
                let context = context.field("securityContext");
                errors.forbidden(&context.field("privileged"), "disallowed by cluster policy");
            }
        }
    }
}
