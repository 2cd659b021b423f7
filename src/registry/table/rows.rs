//! The rows of the built-in kinds that are served without `--runtime-config`
//! (contract/resources.md §2, verbs.md §4, §7, §11, defaults.md §4).

use super::row::*;
use crate::api::resource::{Connect, Review, Special};

/// Kinds that are served by default, by group and version.
pub(super) const SERVED: &[Row] = &[
    Row::namespaced("", "v1", "bindings", "Binding")
        .verbs(CREATE)
        .answered_by(Special::Binding),
    Row::cluster("", "v1", "componentstatuses", "ComponentStatus")
        .verbs(GET_LIST)
        .short(&["cs"])
        .not_found_as("componentstatus")
        .deprecated("v1 ComponentStatus is deprecated in v1.19+")
        .answered_by(Special::ComponentStatuses),
    Row::namespaced("", "v1", "configmaps", "ConfigMap").short(&["cm"]),
    Row::namespaced("", "v1", "endpoints", "Endpoints")
        .short(&["ep"])
        .stored_under("services/endpoints")
        .deprecated("v1 Endpoints is deprecated in v1.33+; use discovery.k8s.io/v1 EndpointSlice")
        .creates_on_update(),
    Row::namespaced("", "v1", "events", "Event")
        .short(&["ev"])
        .ttl(3600)
        .fields(EVENT_FIELDS)
        .creates_on_update(),
    Row::namespaced("", "v1", "limitranges", "LimitRange")
        .short(&["limits"])
        .creates_on_update(),
    Row::cluster("", "v1", "namespaces", "Namespace")
        .verbs(NO_COLLECTION)
        .short(&["ns"])
        .subresources(&[
            Sub::own("finalize", UPDATE),
            Sub::own("status", GET_PATCH_UPDATE),
        ])
        .fields(NAMESPACE_FIELDS)
        .returns_deleted(),
    Row::cluster("", "v1", "nodes", "Node")
        .short(&["no"])
        .subresources(&[
            Sub::other("proxy", "NodeProxyOptions", ANY_METHOD).connects(Connect::ProxyNode),
            Sub::own("status", GET_PATCH_UPDATE),
        ])
        .stored_under("minions")
        .fields(NODE_FIELDS),
    Row::namespaced("", "v1", "persistentvolumeclaims", "PersistentVolumeClaim")
        .short(&["pvc"])
        .subresources(STATUS)
        .returns_deleted(),
    Row::cluster("", "v1", "persistentvolumes", "PersistentVolume")
        .short(&["pv"])
        .subresources(STATUS)
        .returns_deleted(),
    Row::namespaced("", "v1", "pods", "Pod")
        .short(&["po"])
        .categories(&["all"])
        .subresources(&[
            Sub::other("attach", "PodAttachOptions", CREATE_GET).connects(Connect::Attach),
            Sub::other("binding", "Binding", CREATE).special(Special::Binding),
            Sub::own("ephemeralcontainers", GET_PATCH_UPDATE),
            Sub::foreign("eviction", "policy", "v1", "Eviction", CREATE).special(Special::Eviction),
            Sub::other("exec", "PodExecOptions", CREATE_GET).connects(Connect::Exec),
            Sub::own("log", GET).connects(Connect::Log),
            Sub::other("portforward", "PodPortForwardOptions", CREATE_GET)
                .connects(Connect::PortForward),
            Sub::other("proxy", "PodProxyOptions", ANY_METHOD).connects(Connect::ProxyPod),
            Sub::own("resize", GET_PATCH_UPDATE),
            Sub::own("status", GET_PATCH_UPDATE),
        ])
        .fields(POD_FIELDS)
        .returns_deleted()
        .generation(),
    Row::namespaced("", "v1", "podtemplates", "PodTemplate")
        .returns_deleted()
        .generation(),
    Row::namespaced("", "v1", "replicationcontrollers", "ReplicationController")
        .short(&["rc"])
        .categories(&["all"])
        .subresources(SCALE_STATUS)
        .stored_under("controllers")
        .fields(REPLICAS_FIELDS)
        .generation(),
    Row::namespaced("", "v1", "resourcequotas", "ResourceQuota")
        .short(&["quota"])
        .subresources(STATUS)
        .returns_deleted(),
    Row::namespaced("", "v1", "secrets", "Secret").fields(SECRET_FIELDS),
    Row::namespaced("", "v1", "serviceaccounts", "ServiceAccount")
        .short(&["sa"])
        .subresources(&[Sub::foreign(
            "token",
            "authentication.k8s.io",
            "v1",
            "TokenRequest",
            CREATE,
        )
        .special(Special::TokenRequest)])
        .returns_deleted(),
    Row::namespaced("", "v1", "services", "Service")
        .short(&["svc"])
        .categories(&["all"])
        .subresources(&[
            Sub::other("proxy", "ServiceProxyOptions", ANY_METHOD).connects(Connect::ProxyService),
            Sub::own("status", GET_PATCH_UPDATE),
        ])
        .stored_under("services/specs")
        .fields(SERVICE_FIELDS)
        .creates_on_update()
        .returns_deleted(),
    Row::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "mutatingadmissionpolicies",
        "MutatingAdmissionPolicy",
    )
    .categories(&["api-extensions"])
    .stored_as("admissionregistration.k8s.io", "v1beta1")
    .conditional_update()
    .generation(),
    Row::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "mutatingadmissionpolicybindings",
        "MutatingAdmissionPolicyBinding",
    )
    .categories(&["api-extensions"])
    .stored_as("admissionregistration.k8s.io", "v1beta1")
    .conditional_update()
    .generation(),
    Row::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "mutatingwebhookconfigurations",
        "MutatingWebhookConfiguration",
    )
    .categories(&["api-extensions"])
    .conditional_update()
    .generation(),
    Row::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicies",
        "ValidatingAdmissionPolicy",
    )
    .categories(&["api-extensions"])
    .subresources(STATUS)
    .conditional_update()
    .generation(),
    Row::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "validatingadmissionpolicybindings",
        "ValidatingAdmissionPolicyBinding",
    )
    .categories(&["api-extensions"])
    .conditional_update()
    .generation(),
    Row::cluster(
        "admissionregistration.k8s.io",
        "v1",
        "validatingwebhookconfigurations",
        "ValidatingWebhookConfiguration",
    )
    .categories(&["api-extensions"])
    .conditional_update()
    .generation(),
    Row::cluster(
        "apiextensions.k8s.io",
        "v1",
        "customresourcedefinitions",
        "CustomResourceDefinition",
    )
    .short(&["crd", "crds"])
    .categories(&["api-extensions"])
    .subresources(STATUS)
    .stored_under("apiextensions.k8s.io/customresourcedefinitions")
    .conditional_update()
    .generation(),
    Row::cluster("apiregistration.k8s.io", "v1", "apiservices", "APIService")
        .categories(&["api-extensions"])
        .subresources(STATUS)
        .stored_under("apiregistration.k8s.io/apiservices")
        .conditional_update(),
    Row::namespaced("apps", "v1", "controllerrevisions", "ControllerRevision"),
    Row::namespaced("apps", "v1", "daemonsets", "DaemonSet")
        .short(&["ds"])
        .categories(&["all"])
        .subresources(STATUS)
        .generation(),
    Row::namespaced("apps", "v1", "deployments", "Deployment")
        .short(&["deploy"])
        .categories(&["all"])
        .subresources(SCALE_STATUS)
        .generation(),
    Row::namespaced("apps", "v1", "replicasets", "ReplicaSet")
        .short(&["rs"])
        .categories(&["all"])
        .subresources(SCALE_STATUS)
        .generation(),
    Row::namespaced("apps", "v1", "statefulsets", "StatefulSet")
        .short(&["sts"])
        .categories(&["all"])
        .subresources(SCALE_STATUS)
        .generation(),
    Row::cluster(
        "authentication.k8s.io",
        "v1",
        "selfsubjectreviews",
        "SelfSubjectReview",
    )
    .review(Review::SelfSubject),
    Row::cluster("authentication.k8s.io", "v1", "tokenreviews", "TokenReview")
        .review(Review::Token),
    Row::namespaced(
        "authorization.k8s.io",
        "v1",
        "localsubjectaccessreviews",
        "LocalSubjectAccessReview",
    )
    .review(Review::LocalSubjectAccess),
    Row::cluster(
        "authorization.k8s.io",
        "v1",
        "selfsubjectaccessreviews",
        "SelfSubjectAccessReview",
    )
    .review(Review::SelfSubjectAccess),
    Row::cluster(
        "authorization.k8s.io",
        "v1",
        "selfsubjectrulesreviews",
        "SelfSubjectRulesReview",
    )
    .review(Review::SelfSubjectRules),
    Row::cluster(
        "authorization.k8s.io",
        "v1",
        "subjectaccessreviews",
        "SubjectAccessReview",
    )
    .review(Review::SubjectAccess),
    Row::namespaced(
        "autoscaling",
        "v1",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
    )
    .short(&["hpa"])
    .categories(&["all"])
    .subresources(STATUS)
    .stored_as("autoscaling", "v2"),
    Row::namespaced(
        "autoscaling",
        "v2",
        "horizontalpodautoscalers",
        "HorizontalPodAutoscaler",
    )
    .short(&["hpa"])
    .categories(&["all"])
    .subresources(STATUS),
    Row::namespaced("batch", "v1", "cronjobs", "CronJob")
        .short(&["cj"])
        .categories(&["all"])
        .subresources(STATUS)
        .generation(),
    Row::namespaced("batch", "v1", "jobs", "Job")
        .field_error_names_kind()
        .categories(&["all"])
        .subresources(STATUS)
        .fields(JOB_FIELDS)
        .generation(),
    Row::cluster(
        "certificates.k8s.io",
        "v1",
        "certificatesigningrequests",
        "CertificateSigningRequest",
    )
    .short(&["csr"])
    .subresources(&[
        Sub::own("approval", GET_PATCH_UPDATE),
        Sub::own("status", GET_PATCH_UPDATE),
    ])
    .fields(SIGNER_FIELDS),
    Row::namespaced("coordination.k8s.io", "v1", "leases", "Lease")
        .conditional_update()
        .creates_on_update(),
    Row::namespaced("discovery.k8s.io", "v1", "endpointslices", "EndpointSlice").generation(),
    Row::namespaced("events.k8s.io", "v1", "events", "Event")
        .short(&["ev"])
        .stored_as("", "v1")
        .ttl(3600)
        .fields(EVENTS_FIELDS)
        .creates_on_update(),
    Row::cluster(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "flowschemas",
        "FlowSchema",
    )
    .subresources(STATUS)
    .generation(),
    Row::cluster(
        "flowcontrol.apiserver.k8s.io",
        "v1",
        "prioritylevelconfigurations",
        "PriorityLevelConfiguration",
    )
    .subresources(STATUS)
    .generation(),
    Row::cluster("networking.k8s.io", "v1", "ingressclasses", "IngressClass").generation(),
    Row::namespaced("networking.k8s.io", "v1", "ingresses", "Ingress")
        .short(&["ing"])
        .subresources(STATUS)
        .stored_under("ingress")
        .generation(),
    Row::cluster("networking.k8s.io", "v1", "ipaddresses", "IPAddress").short(&["ip"]),
    Row::namespaced(
        "networking.k8s.io",
        "v1",
        "networkpolicies",
        "NetworkPolicy",
    )
    .short(&["netpol"])
    .generation(),
    Row::cluster("networking.k8s.io", "v1", "servicecidrs", "ServiceCIDR").subresources(STATUS),
    Row::cluster("node.k8s.io", "v1", "runtimeclasses", "RuntimeClass")
        .conditional_update()
        .creates_on_update(),
    Row::namespaced(
        "policy",
        "v1",
        "poddisruptionbudgets",
        "PodDisruptionBudget",
    )
    .short(&["pdb"])
    .subresources(STATUS)
    .conditional_update()
    .generation(),
    Row::cluster(
        "rbac.authorization.k8s.io",
        "v1",
        "clusterrolebindings",
        "ClusterRoleBinding",
    )
    .creates_on_update(),
    Row::cluster(
        "rbac.authorization.k8s.io",
        "v1",
        "clusterroles",
        "ClusterRole",
    )
    .creates_on_update(),
    Row::namespaced(
        "rbac.authorization.k8s.io",
        "v1",
        "rolebindings",
        "RoleBinding",
    )
    .creates_on_update(),
    Row::namespaced("rbac.authorization.k8s.io", "v1", "roles", "Role").creates_on_update(),
    Row::cluster("resource.k8s.io", "v1", "deviceclasses", "DeviceClass")
        .returns_deleted()
        .generation(),
    Row::namespaced("resource.k8s.io", "v1", "resourceclaims", "ResourceClaim")
        .subresources(STATUS)
        .returns_deleted(),
    Row::namespaced(
        "resource.k8s.io",
        "v1",
        "resourceclaimtemplates",
        "ResourceClaimTemplate",
    )
    .returns_deleted(),
    Row::cluster("resource.k8s.io", "v1", "resourceslices", "ResourceSlice")
        .fields(RESOURCE_SLICE_FIELDS)
        .returns_deleted()
        .generation(),
    Row::cluster(
        "scheduling.k8s.io",
        "v1",
        "priorityclasses",
        "PriorityClass",
    )
    .short(&["pc"])
    .generation(),
    Row::cluster("storage.k8s.io", "v1", "csidrivers", "CSIDriver")
        .conditional_update()
        .returns_deleted(),
    Row::cluster("storage.k8s.io", "v1", "csinodes", "CSINode")
        .conditional_update()
        .returns_deleted(),
    Row::namespaced(
        "storage.k8s.io",
        "v1",
        "csistoragecapacities",
        "CSIStorageCapacity",
    )
    .conditional_update()
    .returns_deleted(),
    Row::cluster("storage.k8s.io", "v1", "storageclasses", "StorageClass")
        .short(&["sc"])
        .returns_deleted(),
    Row::cluster(
        "storage.k8s.io",
        "v1",
        "volumeattachments",
        "VolumeAttachment",
    )
    .subresources(STATUS)
    .conditional_update()
    .returns_deleted(),
    Row::cluster(
        "storage.k8s.io",
        "v1",
        "volumeattributesclasses",
        "VolumeAttributesClass",
    )
    .short(&["vac"])
    .returns_deleted(),
];
