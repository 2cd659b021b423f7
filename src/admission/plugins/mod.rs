//! The built-in plugins, and the list of them in upstream's order.

mod certificates;
mod defaults;
mod limit_ranger;
mod namespace_lifecycle;
mod node_restriction;
mod pod;
mod pod_security;
mod priority;
mod resource_quota;
mod role_escalation;
mod runtime_class;
mod service_account;
mod storage;
#[cfg(test)]
mod testing;

use std::sync::Arc;

use crate::admission::policy::{MutatingAdmissionPolicy, PolicyContext, ValidatingAdmissionPolicy};
use crate::admission::webhook::{MutatingAdmissionWebhook, ValidatingAdmissionWebhook, Webhooks};
use crate::admission::{Admission, AdmissionPlugin};
use crate::api::objects::Objects;
use crate::api::status::Status;
use crate::authorization::Authorizer;
use crate::authorization::rbac::RoleEscalation;
use crate::base::tree::Value;

pub use defaults::TolerationSeconds;

/// Which plugins a server has, and what they are made from.
pub struct PluginOptions {
    /// `--enable-admission-plugins`.
    pub enable: Vec<String>,
    /// `--disable-admission-plugins`.
    pub disable: Vec<String>,
    /// Seconds that pods tolerate lost nodes.
    pub tolerations: TolerationSeconds,
    /// Other objects.
    pub objects: Arc<dyn Objects>,
    /// Answers for verbs like `approve`.
    pub authorizer: Arc<dyn Authorizer>,
    /// What evaluates policies.
    pub policies: Arc<PolicyContext>,
    /// Calls webhooks.
    pub webhooks: Arc<Webhooks>,
    /// Checks writes of roles and bindings, where RBAC is on.
    pub escalation: Option<Arc<RoleEscalation>>,
}

/// The plugins in upstream's order.
pub fn built_in(options: &PluginOptions) -> Vec<Arc<dyn AdmissionPlugin>> {
    let objects = || Arc::clone(&options.objects);
    let authorizer = || Arc::clone(&options.authorizer);
    let all: Vec<Arc<dyn AdmissionPlugin>> = vec![
        Arc::new(namespace_lifecycle::NamespaceLifecycle::new(objects())),
        Arc::new(limit_ranger::LimitRanger(objects())),
        Arc::new(service_account::ServiceAccount::new(objects())),
        Arc::new(node_restriction::NodeRestriction(objects())),
        Arc::new(defaults::TaintNodesByCondition),
        Arc::new(pod_security::PodSecurity(objects())),
        Arc::new(priority::Priority::new(objects())),
        Arc::new(defaults::DefaultTolerationSeconds(options.tolerations)),
        Arc::new(storage::DefaultStorageClass(objects())),
        Arc::new(storage::StorageObjectInUseProtection),
        Arc::new(storage::PersistentVolumeClaimResize(objects())),
        Arc::new(runtime_class::RuntimeClass(objects())),
        Arc::new(certificates::CertificateApproval(authorizer())),
        Arc::new(certificates::CertificateSigning(authorizer())),
        Arc::new(certificates::ClusterTrustBundleAttest(authorizer())),
        Arc::new(certificates::CertificateSubjectRestriction),
        Arc::new(defaults::DefaultIngressClass(objects())),
        Arc::new(MutatingAdmissionPolicy(options.policies.clone())),
        Arc::new(MutatingAdmissionWebhook(options.webhooks.clone())),
        Arc::new(ValidatingAdmissionPolicy(options.policies.clone())),
        Arc::new(ValidatingAdmissionWebhook(options.webhooks.clone())),
        Arc::new(resource_quota::ResourceQuota::new(objects())),
    ];
    let mut plugins: Vec<Arc<dyn AdmissionPlugin>> = all
        .into_iter()
        .filter(|plugin| !options.disable.iter().any(|name| name == plugin.name()))
        .collect();
    if let Some(escalation) = &options.escalation {
        plugins.push(Arc::new(role_escalation::RoleEscalationCheck(Arc::clone(
            escalation,
        ))));
    }
    plugins
}

/// Whether a write is of this resource (and not of a subresource of it).
fn is_of(admission: &Admission<'_>, group: &str, resource: &str) -> bool {
    is_subresource_of(admission, group, resource, "")
}

/// Whether a write is of this subresource.
fn is_subresource_of(
    admission: &Admission<'_>,
    group: &str,
    resource: &str,
    subresource: &str,
) -> bool {
    admission.resource.group == group
        && admission.resource.plural == resource
        && admission.subresource == subresource
}

/// 403 with the plugin's message.
fn forbidden(admission: &Admission<'_>, why: &str) -> Status {
    let name = match admission.name {
        "" => text(admission.object, "/metadata/name"),
        name => name,
    };
    Status::forbidden(&admission.resource.group_resource(), name, why)
}

/// Text at a pointer, or nothing.
fn text<'a>(value: &'a Value, pointer: &str) -> &'a str {
    value.pointer(pointer).and_then(Value::as_str).unwrap_or("")
}

/// Items of a list at a pointer.
fn items<'a>(value: &'a Value, pointer: &str) -> impl Iterator<Item = &'a Value> + use<'a> {
    let found = value.pointer(pointer).and_then(Value::as_array);
    found.into_iter().flatten()
}

/// An annotation.
fn annotation<'a>(object: &'a Value, key: &str) -> Option<&'a str> {
    object
        .get("metadata")?
        .get("annotations")?
        .get(key)?
        .as_str()
}
