//! Printers: what `kubectl get` shows of an object, computed by the server.
//!
//! A [`Printer`] is a row of columns and a function that makes cells of an object. Built-in kinds have
//! one each ([`printer`]); custom resources get theirs from their definition ([`Printer::custom`]).
//! [`TableWriter`] assembles a `Table` document. Rules: contract/printers.md, resources.md §5-6.
//!
//! # Invariants
//! - Printers take objects in any served version; where versions differ (events, autoscalers) the
//!   printer knows both forms.
//! - Printers never fail: missing or odd fields print as the rules say for missing ones.
//!
//! # Decisions
//! - Cells are JSON values of the type the cell rule names, which is not always the column's type.
//! - Wide cells are always computed; kubectl hides them.

mod columns;
mod core;
mod custom;
mod duration;
mod fields;
mod networking;
mod others;
mod pods;
mod storage;
mod table;
mod workloads;

use std::borrow::Cow;
use std::cmp::Ordering;

use chrono::{DateTime, Utc};

use crate::api::names::Name;
use crate::api::resource::Resource;
use crate::base::tree::Value;

pub use custom::CustomColumn;
pub use duration::{human_duration, translate_timestamp};
pub use table::{IncludeObject, RowObject, TableWriter, partial_object_metadata};

/// One column of a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Name, as sent; kubectl prints it in upper case.
    pub name: Name,
    /// `string`, `integer`, `boolean`, `number` or `date`.
    pub kind: Name,
    /// OpenAPI format; `name` marks the name column.
    pub format: Name,
    /// Description.
    pub description: Name,
    /// Above zero: shown only by `-o wide`.
    pub priority: i32,
}

impl Column {
    /// A string column that is always shown.
    pub const fn new(name: &'static str, description: &'static str) -> Self {
        Column {
            name: Cow::Borrowed(name),
            kind: Cow::Borrowed("string"),
            format: Cow::Borrowed(""),
            description: Cow::Borrowed(description),
            priority: 0,
        }
    }

    const fn of_type(mut self, kind: &'static str) -> Self {
        // Assigning would drop the old value, which a const fn may not.
        std::mem::forget(std::mem::replace(&mut self.kind, Cow::Borrowed(kind)));
        self
    }

    const fn with_format(mut self, format: &'static str) -> Self {
        std::mem::forget(std::mem::replace(&mut self.format, Cow::Borrowed(format)));
        self
    }

    const fn wide(mut self) -> Self {
        self.priority = 1;
        self
    }
}

/// What a row shows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Row {
    /// One per column, in order.
    pub cells: Vec<Value>,
    /// Conditions of the row: finished pods carry one.
    pub conditions: Option<Value>,
}

impl From<Vec<Value>> for Row {
    fn from(cells: Vec<Value>) -> Self {
        Row {
            cells,
            conditions: None,
        }
    }
}

/// Makes the cells of a built-in kind.
type Cells = fn(&Value, DateTime<Utc>) -> Row;

enum Source {
    BuiltIn(Cells),
    Custom(Vec<custom::Path>),
}

/// Columns and cells of one kind.
pub struct Printer {
    columns: Cow<'static, [Column]>,
    source: Source,
    order: Option<fn(&Value, &Value) -> Ordering>,
}

impl Printer {
    const fn built_in(columns: &'static [Column], cells: Cells) -> Self {
        Printer {
            columns: Cow::Borrowed(columns),
            source: Source::BuiltIn(cells),
            order: None,
        }
    }

    const fn sorted(mut self, order: fn(&Value, &Value) -> Ordering) -> Self {
        self.order = Some(order);
        self
    }

    /// A printer of a custom resource with `additionalPrinterColumns`; none declared prints the age.
    pub fn custom(declared: &[CustomColumn]) -> Self {
        let (columns, paths) = custom::columns(declared);
        Printer {
            columns: Cow::Owned(columns),
            source: Source::Custom(paths),
            order: None,
        }
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The row of one object.
    pub fn row(&self, object: &Value, now: DateTime<Utc>) -> Row {
        match &self.source {
            Source::BuiltIn(cells) => cells(object, now),
            Source::Custom(paths) => custom::cells(paths, object, now),
        }
    }

    /// The order of a list's rows, where it is not the order of the list.
    pub fn order(&self) -> Option<fn(&Value, &Value) -> Ordering> {
        self.order
    }
}

/// Group, kind and printer of the built-in kinds that have one.
static PRINTERS: &[(&str, &str, Printer)] = &[
    (
        "",
        "ComponentStatus",
        Printer::built_in(columns::COMPONENT_STATUS, core::component_status),
    ),
    (
        "",
        "ConfigMap",
        Printer::built_in(columns::CONFIG_MAP, core::config_map),
    ),
    (
        "",
        "Endpoints",
        Printer::built_in(columns::ENDPOINTS, core::endpoints),
    ),
    ("", "Event", Printer::built_in(columns::EVENT, core::event)),
    (
        "",
        "Namespace",
        Printer::built_in(columns::NAMESPACE, core::namespace),
    ),
    ("", "Node", Printer::built_in(columns::NODE, core::node)),
    (
        "",
        "PersistentVolume",
        Printer::built_in(columns::PERSISTENT_VOLUME, storage::persistent_volume),
    ),
    (
        "",
        "PersistentVolumeClaim",
        Printer::built_in(
            columns::PERSISTENT_VOLUME_CLAIM,
            storage::persistent_volume_claim,
        ),
    ),
    ("", "Pod", Printer::built_in(columns::POD, pods::pod)),
    (
        "",
        "PodTemplate",
        Printer::built_in(columns::POD_TEMPLATE, workloads::pod_template),
    ),
    (
        "",
        "ReplicationController",
        Printer::built_in(
            columns::REPLICATION_CONTROLLER,
            workloads::replication_controller,
        ),
    ),
    (
        "",
        "ResourceQuota",
        Printer::built_in(columns::RESOURCE_QUOTA, core::resource_quota),
    ),
    (
        "",
        "Secret",
        Printer::built_in(columns::SECRET, core::secret),
    ),
    (
        "",
        "Service",
        Printer::built_in(columns::SERVICE, networking::service),
    ),
    (
        "",
        "ServiceAccount",
        Printer::built_in(columns::NAME_AGE, others::name_and_age),
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicy",
        Printer::built_in(columns::MUTATING_ADMISSION_POLICY, others::mutating_policy),
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingAdmissionPolicyBinding",
        Printer::built_in(columns::ADMISSION_POLICY_BINDING, others::policy_binding),
    ),
    (
        "admissionregistration.k8s.io",
        "MutatingWebhookConfiguration",
        Printer::built_in(columns::WEBHOOK_CONFIGURATION, others::webhooks),
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicy",
        Printer::built_in(
            columns::VALIDATING_ADMISSION_POLICY,
            others::validating_policy,
        ),
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingAdmissionPolicyBinding",
        Printer::built_in(columns::ADMISSION_POLICY_BINDING, others::policy_binding),
    ),
    (
        "admissionregistration.k8s.io",
        "ValidatingWebhookConfiguration",
        Printer::built_in(columns::WEBHOOK_CONFIGURATION, others::webhooks),
    ),
    (
        "apiregistration.k8s.io",
        "APIService",
        Printer::built_in(columns::API_SERVICE, others::api_service),
    ),
    (
        "apps",
        "ControllerRevision",
        Printer::built_in(columns::CONTROLLER_REVISION, workloads::controller_revision),
    ),
    (
        "apps",
        "DaemonSet",
        Printer::built_in(columns::DAEMON_SET, workloads::daemon_set),
    ),
    (
        "apps",
        "Deployment",
        Printer::built_in(columns::DEPLOYMENT, workloads::deployment),
    ),
    (
        "apps",
        "ReplicaSet",
        Printer::built_in(columns::REPLICA_SET, workloads::replica_set),
    ),
    (
        "apps",
        "StatefulSet",
        Printer::built_in(columns::STATEFUL_SET, workloads::stateful_set),
    ),
    (
        "autoscaling",
        "HorizontalPodAutoscaler",
        Printer::built_in(columns::HORIZONTAL_POD_AUTOSCALER, workloads::autoscaler),
    ),
    (
        "batch",
        "CronJob",
        Printer::built_in(columns::CRON_JOB, workloads::cron_job),
    ),
    (
        "batch",
        "Job",
        Printer::built_in(columns::JOB, workloads::job),
    ),
    (
        "certificates.k8s.io",
        "CertificateSigningRequest",
        Printer::built_in(
            columns::CERTIFICATE_SIGNING_REQUEST,
            others::signing_request,
        ),
    ),
    (
        "certificates.k8s.io",
        "ClusterTrustBundle",
        Printer::built_in(columns::CLUSTER_TRUST_BUNDLE, others::trust_bundle),
    ),
    (
        "certificates.k8s.io",
        "PodCertificateRequest",
        Printer::built_in(
            columns::POD_CERTIFICATE_REQUEST,
            others::pod_certificate_request,
        ),
    ),
    (
        "coordination.k8s.io",
        "Lease",
        Printer::built_in(columns::LEASE, others::lease),
    ),
    (
        "coordination.k8s.io",
        "LeaseCandidate",
        Printer::built_in(columns::LEASE_CANDIDATE, others::lease_candidate),
    ),
    (
        "discovery.k8s.io",
        "EndpointSlice",
        Printer::built_in(columns::ENDPOINT_SLICE, networking::endpoint_slice),
    ),
    (
        "events.k8s.io",
        "Event",
        Printer::built_in(columns::EVENT, core::event),
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "FlowSchema",
        Printer::built_in(columns::FLOW_SCHEMA, others::flow_schema)
            .sorted(others::compare_flow_schemas),
    ),
    (
        "flowcontrol.apiserver.k8s.io",
        "PriorityLevelConfiguration",
        Printer::built_in(
            columns::PRIORITY_LEVEL_CONFIGURATION,
            others::priority_level,
        ),
    ),
    (
        "internal.apiserver.k8s.io",
        "StorageVersion",
        Printer::built_in(columns::STORAGE_VERSION, others::storage_version),
    ),
    (
        "networking.k8s.io",
        "Ingress",
        Printer::built_in(columns::INGRESS, networking::ingress),
    ),
    (
        "networking.k8s.io",
        "IngressClass",
        Printer::built_in(columns::INGRESS_CLASS, networking::ingress_class),
    ),
    (
        "networking.k8s.io",
        "IPAddress",
        Printer::built_in(columns::IP_ADDRESS, networking::ip_address),
    ),
    (
        "networking.k8s.io",
        "NetworkPolicy",
        Printer::built_in(columns::NETWORK_POLICY, networking::network_policy),
    ),
    (
        "networking.k8s.io",
        "ServiceCIDR",
        Printer::built_in(columns::SERVICE_CIDR, networking::service_cidr),
    ),
    (
        "node.k8s.io",
        "RuntimeClass",
        Printer::built_in(columns::RUNTIME_CLASS, others::runtime_class),
    ),
    (
        "policy",
        "PodDisruptionBudget",
        Printer::built_in(columns::POD_DISRUPTION_BUDGET, workloads::disruption_budget),
    ),
    (
        "rbac.authorization.k8s.io",
        "ClusterRoleBinding",
        Printer::built_in(columns::ROLE_BINDING, others::role_binding),
    ),
    (
        "rbac.authorization.k8s.io",
        "RoleBinding",
        Printer::built_in(columns::ROLE_BINDING, others::role_binding),
    ),
    (
        "resource.k8s.io",
        "DeviceClass",
        Printer::built_in(columns::NAME_AGE, others::name_and_age),
    ),
    (
        "resource.k8s.io",
        "DeviceTaintRule",
        Printer::built_in(columns::DEVICE_TAINT_RULE, others::device_taint_rule),
    ),
    (
        "resource.k8s.io",
        "ResourceClaim",
        Printer::built_in(columns::RESOURCE_CLAIM, others::resource_claim),
    ),
    (
        "resource.k8s.io",
        "ResourceClaimTemplate",
        Printer::built_in(columns::NAME_AGE, others::name_and_age),
    ),
    (
        "resource.k8s.io",
        "ResourcePoolStatusRequest",
        Printer::built_in(
            columns::RESOURCE_POOL_STATUS_REQUEST,
            others::pool_status_request,
        ),
    ),
    (
        "resource.k8s.io",
        "ResourceSlice",
        Printer::built_in(columns::RESOURCE_SLICE, others::resource_slice),
    ),
    (
        "scheduling.k8s.io",
        "PodGroup",
        Printer::built_in(columns::POD_GROUP, others::pod_group),
    ),
    (
        "scheduling.k8s.io",
        "PriorityClass",
        Printer::built_in(columns::PRIORITY_CLASS, others::priority_class),
    ),
    (
        "scheduling.k8s.io",
        "Workload",
        Printer::built_in(columns::NAME_AGE, others::name_and_age),
    ),
    (
        "storage.k8s.io",
        "CSIDriver",
        Printer::built_in(columns::CSI_DRIVER, storage::csi_driver),
    ),
    (
        "storage.k8s.io",
        "CSINode",
        Printer::built_in(columns::CSI_NODE, storage::csi_node),
    ),
    (
        "storage.k8s.io",
        "StorageClass",
        Printer::built_in(columns::STORAGE_CLASS, storage::storage_class),
    ),
    (
        "storage.k8s.io",
        "VolumeAttachment",
        Printer::built_in(columns::VOLUME_ATTACHMENT, storage::volume_attachment),
    ),
    (
        "storage.k8s.io",
        "VolumeAttributesClass",
        Printer::built_in(
            columns::VOLUME_ATTRIBUTES_CLASS,
            storage::volume_attributes_class,
        ),
    ),
    (
        "storagemigration.k8s.io",
        "StorageVersionMigration",
        Printer::built_in(
            columns::STORAGE_VERSION_MIGRATION,
            others::storage_version_migration,
        ),
    ),
];
static FALLBACK: Printer = Printer::built_in(columns::FALLBACK, others::name_and_created);
/// Of custom resources that declare no columns.
static CUSTOM: Printer = Printer::built_in(columns::NAME_AGE, others::name_and_age);
static SCALE: Printer = Printer::built_in(columns::SCALE, workloads::scale);
static STATUS: Printer = Printer::built_in(columns::STATUS, others::status);

/// The printer of a built-in kind, or of a custom resource without columns of its own.
pub fn printer(resource: &Resource) -> &'static Printer {
    if resource.custom {
        return &CUSTOM;
    }
    printer_of_kind(&resource.group, &resource.kind)
}

/// The printer of a kind by name; kinds without their own get name and creation time.
pub fn printer_of_kind(group: &str, kind: &str) -> &'static Printer {
    match (group, kind) {
        ("autoscaling", "Scale") => return &SCALE,
        ("", "Status") => return &STATUS,
        _ => {}
    }
    PRINTERS
        .iter()
        .find(|(g, k, _)| *g == group && *k == kind)
        .map_or(&FALLBACK, |(_, _, printer)| printer)
}

#[cfg(test)]
mod tests;
