//! The rows of the built-in kinds that `--runtime-config` switches on (contract/resources.md §3).

use super::row::*;

/// Kinds that are off by default, by group and version.
pub(super) const OPTIONAL: &[Row] = &[
    Row::cluster(
        "admissionregistration.k8s.io",
        "v1alpha1",
        "mutatingadmissionpolicies",
        "MutatingAdmissionPolicy",
    )
    .categories(&["api-extensions"])
    .stored_as("admissionregistration.k8s.io", "v1beta1")
    .conditional_update()
    .generation(),
    Row::cluster(
        "admissionregistration.k8s.io",
        "v1alpha1",
        "mutatingadmissionpolicybindings",
        "MutatingAdmissionPolicyBinding",
    )
    .categories(&["api-extensions"])
    .stored_as("admissionregistration.k8s.io", "v1beta1")
    .conditional_update()
    .generation(),
    Row::cluster(
        "admissionregistration.k8s.io",
        "v1beta1",
        "mutatingadmissionpolicies",
        "MutatingAdmissionPolicy",
    )
    .categories(&["api-extensions"])
    .conditional_update()
    .generation(),
    Row::cluster(
        "admissionregistration.k8s.io",
        "v1beta1",
        "mutatingadmissionpolicybindings",
        "MutatingAdmissionPolicyBinding",
    )
    .categories(&["api-extensions"])
    .conditional_update()
    .generation(),
    Row::cluster(
        "certificates.k8s.io",
        "v1alpha1",
        "clustertrustbundles",
        "ClusterTrustBundle",
    )
    .stored_as("certificates.k8s.io", "v1beta1")
    .fields(SIGNER_FIELDS)
    .conditional_update(),
    Row::cluster(
        "certificates.k8s.io",
        "v1beta1",
        "clustertrustbundles",
        "ClusterTrustBundle",
    )
    .fields(SIGNER_FIELDS)
    .conditional_update(),
    Row::namespaced(
        "certificates.k8s.io",
        "v1beta1",
        "podcertificaterequests",
        "PodCertificateRequest",
    )
    .subresources(STATUS)
    .fields(POD_CERTIFICATE_FIELDS)
    .conditional_update(),
    Row::namespaced(
        "coordination.k8s.io",
        "v1alpha2",
        "leasecandidates",
        "LeaseCandidate",
    )
    .stored_as("coordination.k8s.io", "v1beta1")
    .fields(LEASE_CANDIDATE_FIELDS)
    .conditional_update()
    .creates_on_update(),
    Row::namespaced(
        "coordination.k8s.io",
        "v1beta1",
        "leasecandidates",
        "LeaseCandidate",
    )
    .fields(LEASE_CANDIDATE_FIELDS)
    .conditional_update()
    .creates_on_update(),
    Row::cluster(
        "internal.apiserver.k8s.io",
        "v1alpha1",
        "storageversions",
        "StorageVersion",
    )
    .subresources(STATUS)
    .conditional_update(),
    Row::cluster("networking.k8s.io", "v1beta1", "ipaddresses", "IPAddress")
        .short(&["ip"])
        .stored_as("networking.k8s.io", "v1"),
    Row::cluster(
        "networking.k8s.io",
        "v1beta1",
        "servicecidrs",
        "ServiceCIDR",
    )
    .subresources(STATUS)
    .stored_as("networking.k8s.io", "v1"),
    Row::cluster(
        "resource.k8s.io",
        "v1alpha3",
        "devicetaintrules",
        "DeviceTaintRule",
    )
    .subresources(STATUS)
    .returns_deleted(),
    Row::cluster(
        "resource.k8s.io",
        "v1alpha3",
        "resourcepoolstatusrequests",
        "ResourcePoolStatusRequest",
    )
    .subresources(STATUS)
    .returns_deleted(),
    Row::cluster("resource.k8s.io", "v1beta1", "deviceclasses", "DeviceClass")
        .stored_as("resource.k8s.io", "v1")
        .returns_deleted()
        .generation(),
    Row::namespaced(
        "resource.k8s.io",
        "v1beta1",
        "resourceclaims",
        "ResourceClaim",
    )
    .subresources(STATUS)
    .stored_as("resource.k8s.io", "v1")
    .returns_deleted(),
    Row::namespaced(
        "resource.k8s.io",
        "v1beta1",
        "resourceclaimtemplates",
        "ResourceClaimTemplate",
    )
    .stored_as("resource.k8s.io", "v1")
    .returns_deleted(),
    Row::cluster(
        "resource.k8s.io",
        "v1beta1",
        "resourceslices",
        "ResourceSlice",
    )
    .stored_as("resource.k8s.io", "v1")
    .fields(RESOURCE_SLICE_FIELDS)
    .returns_deleted()
    .generation(),
    Row::cluster("resource.k8s.io", "v1beta2", "deviceclasses", "DeviceClass")
        .stored_as("resource.k8s.io", "v1")
        .returns_deleted()
        .generation(),
    Row::cluster(
        "resource.k8s.io",
        "v1beta2",
        "devicetaintrules",
        "DeviceTaintRule",
    )
    .subresources(STATUS)
    .stored_as("resource.k8s.io", "v1alpha3")
    .returns_deleted(),
    Row::namespaced(
        "resource.k8s.io",
        "v1beta2",
        "resourceclaims",
        "ResourceClaim",
    )
    .subresources(STATUS)
    .stored_as("resource.k8s.io", "v1")
    .returns_deleted(),
    Row::namespaced(
        "resource.k8s.io",
        "v1beta2",
        "resourceclaimtemplates",
        "ResourceClaimTemplate",
    )
    .stored_as("resource.k8s.io", "v1")
    .returns_deleted(),
    Row::cluster(
        "resource.k8s.io",
        "v1beta2",
        "resourceslices",
        "ResourceSlice",
    )
    .stored_as("resource.k8s.io", "v1")
    .fields(RESOURCE_SLICE_FIELDS)
    .returns_deleted()
    .generation(),
    Row::namespaced("scheduling.k8s.io", "v1alpha2", "podgroups", "PodGroup")
        .subresources(STATUS)
        .generation(),
    Row::namespaced("scheduling.k8s.io", "v1alpha2", "workloads", "Workload").generation(),
    Row::cluster(
        "storage.k8s.io",
        "v1beta1",
        "volumeattributesclasses",
        "VolumeAttributesClass",
    )
    .short(&["vac"])
    .stored_as("storage.k8s.io", "v1")
    .returns_deleted(),
    Row::cluster(
        "storagemigration.k8s.io",
        "v1beta1",
        "storageversionmigrations",
        "StorageVersionMigration",
    )
    .subresources(STATUS)
    .conditional_update(),
];
