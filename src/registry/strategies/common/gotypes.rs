//! Tables of the internal Go structs that error texts print: Go name, wire name, type, in
//! declaration order. Facts, checked against recordings of the reference.

use super::golang::{Field, Ty};

type Fields = &'static [Field];

const LOCAL_OBJECT: Fields = &[("Name", "name", Ty::Str)];
const NAMESPACED_NAME: Fields = &[
    ("Name", "name", Ty::Str),
    ("Namespace", "namespace", Ty::Str),
];

const CONTAINER_PORT: Fields = &[
    ("Name", "name", Ty::Str),
    ("HostPort", "hostPort", Ty::Int),
    ("ContainerPort", "containerPort", Ty::Int),
    ("Protocol", "protocol", Ty::Str),
    ("HostIP", "hostIP", Ty::Str),
];

const OPTIONAL_NAME: Fields = &[("Name", "name", Ty::Str), ("Optional", "optional", Ty::Nil)];

const ENV_FROM: Fields = &[
    ("Prefix", "prefix", Ty::Str),
    ("ConfigMapRef", "configMapRef", Ty::Ptr(OPTIONAL_NAME)),
    ("SecretRef", "secretRef", Ty::Ptr(OPTIONAL_NAME)),
];

const FIELD_REF: Fields = &[
    ("APIVersion", "apiVersion", Ty::Str),
    ("FieldPath", "fieldPath", Ty::Str),
];

const RESOURCE_FIELD_REF: Fields = &[
    ("ContainerName", "containerName", Ty::Str),
    ("Resource", "resource", Ty::Str),
    ("Divisor", "divisor", Ty::Quantity),
];

const KEY_SELECTOR: Fields = &[
    ("Name", "name", Ty::Str),
    ("Key", "key", Ty::Str),
    ("Optional", "optional", Ty::Nil),
];

const FILE_KEY_SELECTOR: Fields = &[
    ("VolumeName", "volumeName", Ty::Str),
    ("Path", "path", Ty::Str),
    ("Key", "key", Ty::Str),
    ("Optional", "optional", Ty::Nil),
];

const ENV_SOURCE: Fields = &[
    ("FieldRef", "fieldRef", Ty::Ptr(FIELD_REF)),
    (
        "ResourceFieldRef",
        "resourceFieldRef",
        Ty::Ptr(RESOURCE_FIELD_REF),
    ),
    ("ConfigMapKeyRef", "configMapKeyRef", Ty::Ptr(KEY_SELECTOR)),
    ("SecretKeyRef", "secretKeyRef", Ty::Ptr(KEY_SELECTOR)),
    ("FileKeyRef", "fileKeyRef", Ty::Ptr(FILE_KEY_SELECTOR)),
];

const ENV: Fields = &[
    ("Name", "name", Ty::Str),
    ("Value", "value", Ty::Str),
    ("ValueFrom", "valueFrom", Ty::Ptr(ENV_SOURCE)),
];

const RESOURCE_CLAIM: Fields = &[("Name", "name", Ty::Str), ("Request", "request", Ty::Str)];

/// `core.ResourceRequirements`
pub const RESOURCES: Fields = &[
    ("Limits", "limits", Ty::Nil),
    ("Requests", "requests", Ty::Nil),
    ("Claims", "claims", Ty::List(RESOURCE_CLAIM)),
];

const RESIZE_POLICY: Fields = &[
    ("ResourceName", "resourceName", Ty::Str),
    ("RestartPolicy", "restartPolicy", Ty::Str),
];

const EXIT_CODES: Fields = &[
    ("Operator", "operator", Ty::Str),
    ("Values", "values", Ty::Nil),
];

const RESTART_RULE: Fields = &[
    ("Action", "action", Ty::Str),
    ("ExitCodes", "exitCodes", Ty::Ptr(EXIT_CODES)),
];

const VOLUME_MOUNT: Fields = &[
    ("Name", "name", Ty::Str),
    ("ReadOnly", "readOnly", Ty::Bool),
    ("RecursiveReadOnly", "recursiveReadOnly", Ty::Nil),
    ("MountPath", "mountPath", Ty::Str),
    ("SubPath", "subPath", Ty::Str),
    ("MountPropagation", "mountPropagation", Ty::Nil),
    ("SubPathExpr", "subPathExpr", Ty::Str),
];

const VOLUME_DEVICE: Fields = &[
    ("Name", "name", Ty::Str),
    ("DevicePath", "devicePath", Ty::Str),
];

const EXEC: Fields = &[("Command", "command", Ty::Nil)];

const HTTP_HEADER: Fields = &[("Name", "name", Ty::Str), ("Value", "value", Ty::Str)];

const HTTP_GET: Fields = &[
    ("Path", "path", Ty::Str),
    ("Port", "port", Ty::Int),
    ("Host", "host", Ty::Str),
    ("Scheme", "scheme", Ty::Str),
    ("HTTPHeaders", "httpHeaders", Ty::List(HTTP_HEADER)),
];

const TCP_SOCKET: Fields = &[("Port", "port", Ty::Int), ("Host", "host", Ty::Str)];

const GRPC: Fields = &[("Port", "port", Ty::Int), ("Service", "service", Ty::Nil)];

const PROBE: Fields = &[
    ("Exec", "exec", Ty::Ptr(EXEC)),
    ("HTTPGet", "httpGet", Ty::Ptr(HTTP_GET)),
    ("TCPSocket", "tcpSocket", Ty::Ptr(TCP_SOCKET)),
    ("GRPC", "grpc", Ty::Ptr(GRPC)),
    ("InitialDelaySeconds", "initialDelaySeconds", Ty::Int),
    ("TimeoutSeconds", "timeoutSeconds", Ty::Int),
    ("PeriodSeconds", "periodSeconds", Ty::Int),
    ("SuccessThreshold", "successThreshold", Ty::Int),
    ("FailureThreshold", "failureThreshold", Ty::Int),
    (
        "TerminationGracePeriodSeconds",
        "terminationGracePeriodSeconds",
        Ty::Nil,
    ),
];

const HANDLER: Fields = &[
    ("Exec", "exec", Ty::Ptr(EXEC)),
    ("HTTPGet", "httpGet", Ty::Ptr(HTTP_GET)),
    ("TCPSocket", "tcpSocket", Ty::Ptr(TCP_SOCKET)),
    (
        "Sleep",
        "sleep",
        Ty::Ptr(&[("Seconds", "seconds", Ty::Int)]),
    ),
];

const LIFECYCLE: Fields = &[
    ("PostStart", "postStart", Ty::Ptr(HANDLER)),
    ("PreStop", "preStop", Ty::Ptr(HANDLER)),
    ("StopSignal", "stopSignal", Ty::Nil),
];

const CAPABILITIES: Fields = &[("Add", "add", Ty::Nil), ("Drop", "drop", Ty::Nil)];

const SE_LINUX: Fields = &[
    ("User", "user", Ty::Str),
    ("Role", "role", Ty::Str),
    ("Type", "type", Ty::Str),
    ("Level", "level", Ty::Str),
];

const WINDOWS: Fields = &[
    ("GMSACredentialSpecName", "gmsaCredentialSpecName", Ty::Nil),
    ("GMSACredentialSpec", "gmsaCredentialSpec", Ty::Nil),
    ("RunAsUserName", "runAsUserName", Ty::Nil),
    ("HostProcess", "hostProcess", Ty::Nil),
];

/// `core.SeccompProfile`, `core.AppArmorProfile`
pub const PROFILE: Fields = &[
    ("Type", "type", Ty::Str),
    ("LocalhostProfile", "localhostProfile", Ty::Nil),
];

/// `core.SecurityContext`
pub const SECURITY_CONTEXT: Fields = &[
    ("Capabilities", "capabilities", Ty::Ptr(CAPABILITIES)),
    ("Privileged", "privileged", Ty::Nil),
    ("SELinuxOptions", "seLinuxOptions", Ty::Ptr(SE_LINUX)),
    ("WindowsOptions", "windowsOptions", Ty::Ptr(WINDOWS)),
    ("RunAsUser", "runAsUser", Ty::Nil),
    ("RunAsGroup", "runAsGroup", Ty::Nil),
    ("RunAsNonRoot", "runAsNonRoot", Ty::Nil),
    ("ReadOnlyRootFilesystem", "readOnlyRootFilesystem", Ty::Nil),
    (
        "AllowPrivilegeEscalation",
        "allowPrivilegeEscalation",
        Ty::Nil,
    ),
    ("ProcMount", "procMount", Ty::Nil),
    ("SeccompProfile", "seccompProfile", Ty::Ptr(PROFILE)),
    ("AppArmorProfile", "appArmorProfile", Ty::Ptr(PROFILE)),
];

/// `core.Container`
pub const CONTAINER: Fields = &[
    ("Name", "name", Ty::Str),
    ("Image", "image", Ty::Str),
    ("Command", "command", Ty::Nil),
    ("Args", "args", Ty::Nil),
    ("WorkingDir", "workingDir", Ty::Str),
    ("Ports", "ports", Ty::List(CONTAINER_PORT)),
    ("EnvFrom", "envFrom", Ty::List(ENV_FROM)),
    ("Env", "env", Ty::List(ENV)),
    ("Resources", "resources", Ty::Struct(RESOURCES)),
    ("ResizePolicy", "resizePolicy", Ty::List(RESIZE_POLICY)),
    ("RestartPolicy", "restartPolicy", Ty::Nil),
    (
        "RestartPolicyRules",
        "restartPolicyRules",
        Ty::List(RESTART_RULE),
    ),
    ("VolumeMounts", "volumeMounts", Ty::List(VOLUME_MOUNT)),
    ("VolumeDevices", "volumeDevices", Ty::List(VOLUME_DEVICE)),
    ("LivenessProbe", "livenessProbe", Ty::Ptr(PROBE)),
    ("ReadinessProbe", "readinessProbe", Ty::Ptr(PROBE)),
    ("StartupProbe", "startupProbe", Ty::Ptr(PROBE)),
    ("Lifecycle", "lifecycle", Ty::Ptr(LIFECYCLE)),
    ("TerminationMessagePath", "terminationMessagePath", Ty::Str),
    (
        "TerminationMessagePolicy",
        "terminationMessagePolicy",
        Ty::Str,
    ),
    ("ImagePullPolicy", "imagePullPolicy", Ty::Str),
    (
        "SecurityContext",
        "securityContext",
        Ty::Ptr(SECURITY_CONTEXT),
    ),
    ("Stdin", "stdin", Ty::Bool),
    ("StdinOnce", "stdinOnce", Ty::Bool),
    ("TTY", "tty", Ty::Bool),
];

/// `core.EphemeralContainer`
pub const EPHEMERAL_CONTAINER: Fields = &[
    ("", "", Ty::Inline(CONTAINER)),
    ("TargetContainerName", "targetContainerName", Ty::Str),
];

const KEY_TO_PATH: Fields = &[
    ("Key", "key", Ty::Str),
    ("Path", "path", Ty::Str),
    ("Mode", "mode", Ty::Nil),
];

const DOWNWARD_FILE: Fields = &[
    ("Path", "path", Ty::Str),
    ("FieldRef", "fieldRef", Ty::Ptr(FIELD_REF)),
    (
        "ResourceFieldRef",
        "resourceFieldRef",
        Ty::Ptr(RESOURCE_FIELD_REF),
    ),
    ("Mode", "mode", Ty::Nil),
];

const NAMED_PROJECTION: Fields = &[
    ("Name", "name", Ty::Str),
    ("Items", "items", Ty::List(KEY_TO_PATH)),
    ("Optional", "optional", Ty::Nil),
];

const PROJECTION: Fields = &[
    ("Secret", "secret", Ty::Ptr(NAMED_PROJECTION)),
    (
        "DownwardAPI",
        "downwardAPI",
        Ty::Ptr(&[("Items", "items", Ty::List(DOWNWARD_FILE))]),
    ),
    ("ConfigMap", "configMap", Ty::Ptr(NAMED_PROJECTION)),
    (
        "ServiceAccountToken",
        "serviceAccountToken",
        Ty::Ptr(&[
            ("Audience", "audience", Ty::Str),
            ("ExpirationSeconds", "expirationSeconds", Ty::Int),
            ("Path", "path", Ty::Str),
        ]),
    ),
    (
        "ClusterTrustBundle",
        "clusterTrustBundle",
        Ty::Ptr(&[
            ("Name", "name", Ty::Nil),
            ("SignerName", "signerName", Ty::Nil),
            ("LabelSelector", "labelSelector", Ty::Selector),
            ("Optional", "optional", Ty::Nil),
            ("Path", "path", Ty::Str),
        ]),
    ),
    (
        "PodCertificate",
        "podCertificate",
        Ty::Ptr(&[
            ("SignerName", "signerName", Ty::Str),
            ("KeyType", "keyType", Ty::Str),
            ("MaxExpirationSeconds", "maxExpirationSeconds", Ty::Nil),
            ("CredentialBundlePath", "credentialBundlePath", Ty::Str),
            ("KeyPath", "keyPath", Ty::Str),
            ("CertificateChainPath", "certificateChainPath", Ty::Str),
            ("UserAnnotations", "userAnnotations", Ty::Nil),
        ]),
    ),
];

const TYPED_LOCAL_REFERENCE: Fields = &[
    ("APIGroup", "apiGroup", Ty::Nil),
    ("Kind", "kind", Ty::Str),
    ("Name", "name", Ty::Str),
];

const TYPED_REFERENCE: Fields = &[
    ("APIGroup", "apiGroup", Ty::Nil),
    ("Kind", "kind", Ty::Str),
    ("Name", "name", Ty::Str),
    ("Namespace", "namespace", Ty::Nil),
];

/// `core.PersistentVolumeClaimSpec`
pub const PVC_SPEC: Fields = &[
    ("AccessModes", "accessModes", Ty::Nil),
    ("Selector", "selector", Ty::Selector),
    (
        "Resources",
        "resources",
        Ty::Struct(&[
            ("Limits", "limits", Ty::Nil),
            ("Requests", "requests", Ty::Nil),
        ]),
    ),
    ("VolumeName", "volumeName", Ty::Str),
    ("StorageClassName", "storageClassName", Ty::Nil),
    ("VolumeMode", "volumeMode", Ty::Nil),
    ("DataSource", "dataSource", Ty::Ptr(TYPED_LOCAL_REFERENCE)),
    ("DataSourceRef", "dataSourceRef", Ty::Ptr(TYPED_REFERENCE)),
    (
        "VolumeAttributesClassName",
        "volumeAttributesClassName",
        Ty::Nil,
    ),
];

const ISCSI: Fields = &[
    ("TargetPortal", "targetPortal", Ty::Str),
    ("IQN", "iqn", Ty::Str),
    ("Lun", "lun", Ty::Int),
    ("ISCSIInterface", "iscsiInterface", Ty::Str),
    ("FSType", "fsType", Ty::Str),
    ("ReadOnly", "readOnly", Ty::Bool),
    ("Portals", "portals", Ty::Nil),
    ("DiscoveryCHAPAuth", "chapAuthDiscovery", Ty::Bool),
    ("SessionCHAPAuth", "chapAuthSession", Ty::Bool),
    ("SecretRef", "secretRef", Ty::Ptr(LOCAL_OBJECT)),
    ("InitiatorName", "initiatorName", Ty::Nil),
];

const DISK: Fields = &[
    ("PDName", "pdName", Ty::Str),
    ("FSType", "fsType", Ty::Str),
    ("Partition", "partition", Ty::Int),
    ("ReadOnly", "readOnly", Ty::Bool),
];

const EBS: Fields = &[
    ("VolumeID", "volumeID", Ty::Str),
    ("FSType", "fsType", Ty::Str),
    ("Partition", "partition", Ty::Int),
    ("ReadOnly", "readOnly", Ty::Bool),
];

/// `core.VolumeSource`
pub const VOLUME_SOURCE: Fields = &[
    (
        "HostPath",
        "hostPath",
        Ty::Ptr(&[("Path", "path", Ty::Str), ("Type", "type", Ty::Nil)]),
    ),
    (
        "EmptyDir",
        "emptyDir",
        Ty::Ptr(&[
            ("Medium", "medium", Ty::Str),
            ("SizeLimit", "sizeLimit", Ty::Nil),
        ]),
    ),
    ("GCEPersistentDisk", "gcePersistentDisk", Ty::Ptr(DISK)),
    ("AWSElasticBlockStore", "awsElasticBlockStore", Ty::Ptr(EBS)),
    (
        "GitRepo",
        "gitRepo",
        Ty::Ptr(&[
            ("Repository", "repository", Ty::Str),
            ("Revision", "revision", Ty::Str),
            ("Directory", "directory", Ty::Str),
        ]),
    ),
    (
        "Secret",
        "secret",
        Ty::Ptr(&[
            ("SecretName", "secretName", Ty::Str),
            ("Items", "items", Ty::List(KEY_TO_PATH)),
            ("DefaultMode", "defaultMode", Ty::Nil),
            ("Optional", "optional", Ty::Nil),
        ]),
    ),
    (
        "NFS",
        "nfs",
        Ty::Ptr(&[
            ("Server", "server", Ty::Str),
            ("Path", "path", Ty::Str),
            ("ReadOnly", "readOnly", Ty::Bool),
        ]),
    ),
    ("ISCSI", "iscsi", Ty::Ptr(ISCSI)),
    (
        "Glusterfs",
        "glusterfs",
        Ty::Ptr(&[
            ("EndpointsName", "endpoints", Ty::Str),
            ("Path", "path", Ty::Str),
            ("ReadOnly", "readOnly", Ty::Bool),
        ]),
    ),
    (
        "PersistentVolumeClaim",
        "persistentVolumeClaim",
        Ty::Ptr(&[
            ("ClaimName", "claimName", Ty::Str),
            ("ReadOnly", "readOnly", Ty::Bool),
        ]),
    ),
    (
        "RBD",
        "rbd",
        Ty::Ptr(&[
            ("CephMonitors", "monitors", Ty::Nil),
            ("RBDImage", "image", Ty::Str),
            ("FSType", "fsType", Ty::Str),
            ("RBDPool", "pool", Ty::Str),
            ("RadosUser", "user", Ty::Str),
            ("Keyring", "keyring", Ty::Str),
            ("SecretRef", "secretRef", Ty::Ptr(LOCAL_OBJECT)),
            ("ReadOnly", "readOnly", Ty::Bool),
        ]),
    ),
    (
        "Quobyte",
        "quobyte",
        Ty::Ptr(&[
            ("Registry", "registry", Ty::Str),
            ("Volume", "volume", Ty::Str),
            ("ReadOnly", "readOnly", Ty::Bool),
            ("User", "user", Ty::Str),
            ("Group", "group", Ty::Str),
            ("Tenant", "tenant", Ty::Str),
        ]),
    ),
    (
        "FlexVolume",
        "flexVolume",
        Ty::Ptr(&[
            ("Driver", "driver", Ty::Str),
            ("FSType", "fsType", Ty::Str),
            ("SecretRef", "secretRef", Ty::Ptr(LOCAL_OBJECT)),
            ("ReadOnly", "readOnly", Ty::Bool),
            ("Options", "options", Ty::Nil),
        ]),
    ),
    (
        "Cinder",
        "cinder",
        Ty::Ptr(&[
            ("VolumeID", "volumeID", Ty::Str),
            ("FSType", "fsType", Ty::Str),
            ("ReadOnly", "readOnly", Ty::Bool),
            ("SecretRef", "secretRef", Ty::Ptr(LOCAL_OBJECT)),
        ]),
    ),
    (
        "CephFS",
        "cephfs",
        Ty::Ptr(&[
            ("Monitors", "monitors", Ty::Nil),
            ("Path", "path", Ty::Str),
            ("User", "user", Ty::Str),
            ("SecretFile", "secretFile", Ty::Str),
            ("SecretRef", "secretRef", Ty::Ptr(LOCAL_OBJECT)),
            ("ReadOnly", "readOnly", Ty::Bool),
        ]),
    ),
    (
        "Flocker",
        "flocker",
        Ty::Ptr(&[
            ("DatasetName", "datasetName", Ty::Str),
            ("DatasetUUID", "datasetUUID", Ty::Str),
        ]),
    ),
    (
        "DownwardAPI",
        "downwardAPI",
        Ty::Ptr(&[
            ("Items", "items", Ty::List(DOWNWARD_FILE)),
            ("DefaultMode", "defaultMode", Ty::Nil),
        ]),
    ),
    (
        "FC",
        "fc",
        Ty::Ptr(&[
            ("TargetWWNs", "targetWWNs", Ty::Nil),
            ("Lun", "lun", Ty::Nil),
            ("FSType", "fsType", Ty::Str),
            ("ReadOnly", "readOnly", Ty::Bool),
            ("WWIDs", "wwids", Ty::Nil),
        ]),
    ),
    (
        "AzureFile",
        "azureFile",
        Ty::Ptr(&[
            ("SecretName", "secretName", Ty::Str),
            ("ShareName", "shareName", Ty::Str),
            ("ReadOnly", "readOnly", Ty::Bool),
        ]),
    ),
    (
        "ConfigMap",
        "configMap",
        Ty::Ptr(&[
            ("Name", "name", Ty::Str),
            ("Items", "items", Ty::List(KEY_TO_PATH)),
            ("DefaultMode", "defaultMode", Ty::Nil),
            ("Optional", "optional", Ty::Nil),
        ]),
    ),
    (
        "VsphereVolume",
        "vsphereVolume",
        Ty::Ptr(&[
            ("VolumePath", "volumePath", Ty::Str),
            ("FSType", "fsType", Ty::Str),
            ("StoragePolicyName", "storagePolicyName", Ty::Str),
            ("StoragePolicyID", "storagePolicyID", Ty::Str),
        ]),
    ),
    (
        "AzureDisk",
        "azureDisk",
        Ty::Ptr(&[
            ("DiskName", "diskName", Ty::Str),
            ("DataDiskURI", "diskURI", Ty::Str),
            ("CachingMode", "cachingMode", Ty::Nil),
            ("FSType", "fsType", Ty::Nil),
            ("ReadOnly", "readOnly", Ty::Nil),
            ("Kind", "kind", Ty::Nil),
        ]),
    ),
    (
        "PhotonPersistentDisk",
        "photonPersistentDisk",
        Ty::Ptr(&[("PdID", "pdID", Ty::Str), ("FSType", "fsType", Ty::Str)]),
    ),
    (
        "Projected",
        "projected",
        Ty::Ptr(&[
            ("Sources", "sources", Ty::List(PROJECTION)),
            ("DefaultMode", "defaultMode", Ty::Nil),
        ]),
    ),
    (
        "PortworxVolume",
        "portworxVolume",
        Ty::Ptr(&[
            ("VolumeID", "volumeID", Ty::Str),
            ("FSType", "fsType", Ty::Str),
            ("ReadOnly", "readOnly", Ty::Bool),
        ]),
    ),
    (
        "ScaleIO",
        "scaleIO",
        Ty::Ptr(&[
            ("Gateway", "gateway", Ty::Str),
            ("System", "system", Ty::Str),
            ("SecretRef", "secretRef", Ty::Ptr(LOCAL_OBJECT)),
            ("SSLEnabled", "sslEnabled", Ty::Bool),
            ("ProtectionDomain", "protectionDomain", Ty::Str),
            ("StoragePool", "storagePool", Ty::Str),
            ("StorageMode", "storageMode", Ty::Str),
            ("VolumeName", "volumeName", Ty::Str),
            ("FSType", "fsType", Ty::Str),
            ("ReadOnly", "readOnly", Ty::Bool),
        ]),
    ),
    (
        "StorageOS",
        "storageos",
        Ty::Ptr(&[
            ("VolumeName", "volumeName", Ty::Str),
            ("VolumeNamespace", "volumeNamespace", Ty::Str),
            ("FSType", "fsType", Ty::Str),
            ("ReadOnly", "readOnly", Ty::Bool),
            ("SecretRef", "secretRef", Ty::Ptr(LOCAL_OBJECT)),
        ]),
    ),
    (
        "CSI",
        "csi",
        Ty::Ptr(&[
            ("Driver", "driver", Ty::Str),
            ("ReadOnly", "readOnly", Ty::Nil),
            ("FSType", "fsType", Ty::Nil),
            ("VolumeAttributes", "volumeAttributes", Ty::Nil),
            (
                "NodePublishSecretRef",
                "nodePublishSecretRef",
                Ty::Ptr(LOCAL_OBJECT),
            ),
        ]),
    ),
    (
        "Ephemeral",
        "ephemeral",
        Ty::Ptr(&[(
            "VolumeClaimTemplate",
            "volumeClaimTemplate",
            Ty::Ptr(&[
                ("", "metadata", Ty::Meta),
                ("Spec", "spec", Ty::Struct(PVC_SPEC)),
            ]),
        )]),
    ),
    (
        "Image",
        "image",
        Ty::Ptr(&[
            ("Reference", "reference", Ty::Str),
            ("PullPolicy", "pullPolicy", Ty::Str),
        ]),
    ),
];

const VOLUME: Fields = &[
    ("Name", "name", Ty::Str),
    ("", "", Ty::Inline(VOLUME_SOURCE)),
];

const NODE_SELECTOR_REQUIREMENT: Fields = &[
    ("Key", "key", Ty::Str),
    ("Operator", "operator", Ty::Str),
    ("Values", "values", Ty::Nil),
];

/// `core.NodeSelectorTerm`
pub const NODE_SELECTOR_TERM: Fields = &[
    (
        "MatchExpressions",
        "matchExpressions",
        Ty::List(NODE_SELECTOR_REQUIREMENT),
    ),
    (
        "MatchFields",
        "matchFields",
        Ty::List(NODE_SELECTOR_REQUIREMENT),
    ),
];

/// `core.NodeSelector`
pub const NODE_SELECTOR: Fields = &[(
    "NodeSelectorTerms",
    "nodeSelectorTerms",
    Ty::List(NODE_SELECTOR_TERM),
)];

/// `core.NodeAffinity`
pub const NODE_AFFINITY: Fields = &[
    (
        "RequiredDuringSchedulingIgnoredDuringExecution",
        "requiredDuringSchedulingIgnoredDuringExecution",
        Ty::Ptr(NODE_SELECTOR),
    ),
    (
        "PreferredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
        Ty::List(&[
            ("Weight", "weight", Ty::Int),
            ("Preference", "preference", Ty::Struct(NODE_SELECTOR_TERM)),
        ]),
    ),
];

const POD_AFFINITY_TERM: Fields = &[
    ("LabelSelector", "labelSelector", Ty::Selector),
    ("Namespaces", "namespaces", Ty::Nil),
    ("TopologyKey", "topologyKey", Ty::Str),
    ("NamespaceSelector", "namespaceSelector", Ty::Selector),
    ("MatchLabelKeys", "matchLabelKeys", Ty::Nil),
    ("MismatchLabelKeys", "mismatchLabelKeys", Ty::Nil),
];

const POD_AFFINITY: Fields = &[
    (
        "RequiredDuringSchedulingIgnoredDuringExecution",
        "requiredDuringSchedulingIgnoredDuringExecution",
        Ty::List(POD_AFFINITY_TERM),
    ),
    (
        "PreferredDuringSchedulingIgnoredDuringExecution",
        "preferredDuringSchedulingIgnoredDuringExecution",
        Ty::List(&[
            ("Weight", "weight", Ty::Int),
            (
                "PodAffinityTerm",
                "podAffinityTerm",
                Ty::Struct(POD_AFFINITY_TERM),
            ),
        ]),
    ),
];

const AFFINITY: Fields = &[
    ("NodeAffinity", "nodeAffinity", Ty::Ptr(NODE_AFFINITY)),
    ("PodAffinity", "podAffinity", Ty::Ptr(POD_AFFINITY)),
    ("PodAntiAffinity", "podAntiAffinity", Ty::Ptr(POD_AFFINITY)),
];

const TOLERATION: Fields = &[
    ("Key", "key", Ty::Str),
    ("Operator", "operator", Ty::Str),
    ("Value", "value", Ty::Str),
    ("Effect", "effect", Ty::Str),
    ("TolerationSeconds", "tolerationSeconds", Ty::Nil),
];

const TOPOLOGY_SPREAD: Fields = &[
    ("MaxSkew", "maxSkew", Ty::Int),
    ("TopologyKey", "topologyKey", Ty::Str),
    ("WhenUnsatisfiable", "whenUnsatisfiable", Ty::Str),
    ("LabelSelector", "labelSelector", Ty::Selector),
    ("MinDomains", "minDomains", Ty::Nil),
    ("NodeAffinityPolicy", "nodeAffinityPolicy", Ty::Nil),
    ("NodeTaintsPolicy", "nodeTaintsPolicy", Ty::Nil),
    ("MatchLabelKeys", "matchLabelKeys", Ty::Nil),
];

const DNS_CONFIG: Fields = &[
    ("Nameservers", "nameservers", Ty::Nil),
    ("Searches", "searches", Ty::Nil),
    (
        "Options",
        "options",
        Ty::List(&[("Name", "name", Ty::Str), ("Value", "value", Ty::Nil)]),
    ),
];

const POD_SECURITY_CONTEXT: Fields = &[
    ("SELinuxOptions", "seLinuxOptions", Ty::Ptr(SE_LINUX)),
    ("WindowsOptions", "windowsOptions", Ty::Ptr(WINDOWS)),
    ("RunAsUser", "runAsUser", Ty::Nil),
    ("RunAsGroup", "runAsGroup", Ty::Nil),
    ("RunAsNonRoot", "runAsNonRoot", Ty::Nil),
    ("SupplementalGroups", "supplementalGroups", Ty::Nil),
    (
        "SupplementalGroupsPolicy",
        "supplementalGroupsPolicy",
        Ty::Nil,
    ),
    ("FSGroup", "fsGroup", Ty::Nil),
    ("FSGroupChangePolicy", "fsGroupChangePolicy", Ty::Nil),
    (
        "Sysctls",
        "sysctls",
        Ty::List(&[("Name", "name", Ty::Str), ("Value", "value", Ty::Str)]),
    ),
    ("SeccompProfile", "seccompProfile", Ty::Ptr(PROFILE)),
    ("AppArmorProfile", "appArmorProfile", Ty::Ptr(PROFILE)),
    ("SELinuxChangePolicy", "seLinuxChangePolicy", Ty::Nil),
];

/// `core.PodResourceClaim`
pub const POD_RESOURCE_CLAIM: Fields = &[
    ("Name", "name", Ty::Str),
    ("ResourceClaimName", "resourceClaimName", Ty::Nil),
    (
        "ResourceClaimTemplateName",
        "resourceClaimTemplateName",
        Ty::Nil,
    ),
];

/// `core.LocalObjectReference`
pub const LOCAL_OBJECT_REFERENCE: Fields = LOCAL_OBJECT;

/// `core.SecretReference`
pub const SECRET_REFERENCE: Fields = NAMESPACED_NAME;

/// `core.PodSpec`
pub const POD_SPEC: Fields = &[
    ("Volumes", "volumes", Ty::List(VOLUME)),
    ("InitContainers", "initContainers", Ty::List(CONTAINER)),
    ("Containers", "containers", Ty::List(CONTAINER)),
    (
        "EphemeralContainers",
        "ephemeralContainers",
        Ty::List(EPHEMERAL_CONTAINER),
    ),
    ("RestartPolicy", "restartPolicy", Ty::Str),
    (
        "TerminationGracePeriodSeconds",
        "terminationGracePeriodSeconds",
        Ty::Nil,
    ),
    ("ActiveDeadlineSeconds", "activeDeadlineSeconds", Ty::Nil),
    ("DNSPolicy", "dnsPolicy", Ty::Str),
    ("NodeSelector", "nodeSelector", Ty::Nil),
    ("ServiceAccountName", "serviceAccountName", Ty::Str),
    (
        "AutomountServiceAccountToken",
        "automountServiceAccountToken",
        Ty::Nil,
    ),
    ("NodeName", "nodeName", Ty::Str),
    (
        "SecurityContext",
        "securityContext",
        Ty::PodSecurity(POD_SECURITY_CONTEXT),
    ),
    (
        "ImagePullSecrets",
        "imagePullSecrets",
        Ty::List(LOCAL_OBJECT),
    ),
    ("Hostname", "hostname", Ty::Str),
    ("Subdomain", "subdomain", Ty::Str),
    ("SetHostnameAsFQDN", "setHostnameAsFQDN", Ty::Nil),
    ("Affinity", "affinity", Ty::Ptr(AFFINITY)),
    ("SchedulerName", "schedulerName", Ty::Str),
    ("Tolerations", "tolerations", Ty::List(TOLERATION)),
    (
        "HostAliases",
        "hostAliases",
        Ty::List(&[("IP", "ip", Ty::Str), ("Hostnames", "hostnames", Ty::Nil)]),
    ),
    ("PriorityClassName", "priorityClassName", Ty::Str),
    ("Priority", "priority", Ty::Nil),
    ("PreemptionPolicy", "preemptionPolicy", Ty::Nil),
    ("DNSConfig", "dnsConfig", Ty::Ptr(DNS_CONFIG)),
    (
        "ReadinessGates",
        "readinessGates",
        Ty::List(&[("ConditionType", "conditionType", Ty::Str)]),
    ),
    ("RuntimeClassName", "runtimeClassName", Ty::Nil),
    ("Overhead", "overhead", Ty::Nil),
    ("EnableServiceLinks", "enableServiceLinks", Ty::Nil),
    (
        "TopologySpreadConstraints",
        "topologySpreadConstraints",
        Ty::List(TOPOLOGY_SPREAD),
    ),
    ("OS", "os", Ty::Ptr(LOCAL_OBJECT)),
    ("SchedulingGates", "schedulingGates", Ty::List(LOCAL_OBJECT)),
    (
        "ResourceClaims",
        "resourceClaims",
        Ty::List(POD_RESOURCE_CLAIM),
    ),
    ("Resources", "resources", Ty::Ptr(RESOURCES)),
    ("HostnameOverride", "hostnameOverride", Ty::Nil),
    (
        "SchedulingGroup",
        "schedulingGroup",
        Ty::Ptr(&[("PodGroupName", "podGroupName", Ty::Nil)]),
    ),
];

/// `core.PodTemplateSpec`
pub const POD_TEMPLATE_SPEC: Fields = &[
    ("", "metadata", Ty::Meta),
    ("Spec", "spec", Ty::Struct(POD_SPEC)),
];

/// `apps.DeploymentStrategy`
pub const DEPLOYMENT_STRATEGY: Fields = &[
    ("Type", "type", Ty::Str),
    (
        "RollingUpdate",
        "rollingUpdate",
        Ty::Ptr(&[
            ("MaxUnavailable", "maxUnavailable", Ty::Int),
            ("MaxSurge", "maxSurge", Ty::Int),
        ]),
    ),
];

/// `apps.DaemonSetUpdateStrategy`
pub const DAEMON_SET_STRATEGY: Fields = DEPLOYMENT_STRATEGY;

/// `apps.RollingUpdateStatefulSetStrategy`
pub const STATEFUL_SET_ROLLING_UPDATE: Fields = &[
    ("Partition", "partition", Ty::Int),
    ("MaxUnavailable", "maxUnavailable", Ty::Nil),
];

/// `batch.SuccessPolicy`
pub const SUCCESS_POLICY: Fields = &[(
    "Rules",
    "rules",
    Ty::List(&[
        ("SucceededIndexes", "succeededIndexes", Ty::Nil),
        ("SucceededCount", "succeededCount", Ty::Nil),
    ]),
)];

/// `batch.PodFailurePolicy`
pub const POD_FAILURE_POLICY: Fields = &[(
    "Rules",
    "rules",
    Ty::List(&[
        ("Action", "action", Ty::Str),
        (
            "OnExitCodes",
            "onExitCodes",
            Ty::Ptr(&[
                ("ContainerName", "containerName", Ty::Nil),
                ("Operator", "operator", Ty::Str),
                ("Values", "values", Ty::Nil),
            ]),
        ),
        (
            "OnPodConditions",
            "onPodConditions",
            Ty::List(&[("Type", "type", Ty::Str), ("Status", "status", Ty::Str)]),
        ),
    ]),
)];
