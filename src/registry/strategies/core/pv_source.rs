//! The Go structs of persistent volume sources, for the diff that an update of one answers with.

use super::super::common::golang::{Field, Ty};
use super::super::common::gotypes::SECRET_REFERENCE;

type Fields = &'static [Field];

const SECRET: Ty = Ty::Ptr(SECRET_REFERENCE);

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

const HOST_PATH: Fields = &[("Path", "path", Ty::Str), ("Type", "type", Ty::Nil)];

const GLUSTERFS: Fields = &[
    ("EndpointsName", "endpoints", Ty::Str),
    ("Path", "path", Ty::Str),
    ("ReadOnly", "readOnly", Ty::Bool),
    ("EndpointsNamespace", "endpointsNamespace", Ty::Nil),
];

const NFS: Fields = &[
    ("Server", "server", Ty::Str),
    ("Path", "path", Ty::Str),
    ("ReadOnly", "readOnly", Ty::Bool),
];

const RBD: Fields = &[
    ("CephMonitors", "monitors", Ty::Nil),
    ("RBDImage", "image", Ty::Str),
    ("FSType", "fsType", Ty::Str),
    ("RBDPool", "pool", Ty::Str),
    ("RadosUser", "user", Ty::Str),
    ("Keyring", "keyring", Ty::Str),
    ("SecretRef", "secretRef", SECRET),
    ("ReadOnly", "readOnly", Ty::Bool),
];

const QUOBYTE: Fields = &[
    ("Registry", "registry", Ty::Str),
    ("Volume", "volume", Ty::Str),
    ("ReadOnly", "readOnly", Ty::Bool),
    ("User", "user", Ty::Str),
    ("Group", "group", Ty::Str),
    ("Tenant", "tenant", Ty::Str),
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
    ("SecretRef", "secretRef", SECRET),
    ("InitiatorName", "initiatorName", Ty::Nil),
];

const FLEX: Fields = &[
    ("Driver", "driver", Ty::Str),
    ("FSType", "fsType", Ty::Str),
    ("SecretRef", "secretRef", SECRET),
    ("ReadOnly", "readOnly", Ty::Bool),
    ("Options", "options", Ty::Nil),
];

const CINDER: Fields = &[
    ("VolumeID", "volumeID", Ty::Str),
    ("FSType", "fsType", Ty::Str),
    ("ReadOnly", "readOnly", Ty::Bool),
    ("SecretRef", "secretRef", SECRET),
];

const CEPHFS: Fields = &[
    ("Monitors", "monitors", Ty::Nil),
    ("Path", "path", Ty::Str),
    ("User", "user", Ty::Str),
    ("SecretFile", "secretFile", Ty::Str),
    ("SecretRef", "secretRef", SECRET),
    ("ReadOnly", "readOnly", Ty::Bool),
];

const FC: Fields = &[
    ("TargetWWNs", "targetWWNs", Ty::Nil),
    ("Lun", "lun", Ty::Nil),
    ("FSType", "fsType", Ty::Str),
    ("ReadOnly", "readOnly", Ty::Bool),
    ("WWIDs", "wwids", Ty::Nil),
];

const FLOCKER: Fields = &[
    ("DatasetName", "datasetName", Ty::Str),
    ("DatasetUUID", "datasetUUID", Ty::Str),
];

const AZURE_FILE: Fields = &[
    ("SecretName", "secretName", Ty::Str),
    ("ShareName", "shareName", Ty::Str),
    ("ReadOnly", "readOnly", Ty::Bool),
    ("SecretNamespace", "secretNamespace", Ty::Nil),
];

const VSPHERE: Fields = &[
    ("VolumePath", "volumePath", Ty::Str),
    ("FSType", "fsType", Ty::Str),
    ("StoragePolicyName", "storagePolicyName", Ty::Str),
    ("StoragePolicyID", "storagePolicyID", Ty::Str),
];

const AZURE_DISK: Fields = &[
    ("DiskName", "diskName", Ty::Str),
    ("DataDiskURI", "diskURI", Ty::Str),
    ("CachingMode", "cachingMode", Ty::Nil),
    ("FSType", "fsType", Ty::Nil),
    ("ReadOnly", "readOnly", Ty::Nil),
    ("Kind", "kind", Ty::Nil),
];

const PHOTON: Fields = &[("PdID", "pdID", Ty::Str), ("FSType", "fsType", Ty::Str)];

const PORTWORX: Fields = &[
    ("VolumeID", "volumeID", Ty::Str),
    ("FSType", "fsType", Ty::Str),
    ("ReadOnly", "readOnly", Ty::Bool),
];

const SCALE_IO: Fields = &[
    ("Gateway", "gateway", Ty::Str),
    ("System", "system", Ty::Str),
    ("SecretRef", "secretRef", SECRET),
    ("SSLEnabled", "sslEnabled", Ty::Bool),
    ("ProtectionDomain", "protectionDomain", Ty::Str),
    ("StoragePool", "storagePool", Ty::Str),
    ("StorageMode", "storageMode", Ty::Str),
    ("VolumeName", "volumeName", Ty::Str),
    ("FSType", "fsType", Ty::Str),
    ("ReadOnly", "readOnly", Ty::Bool),
];

const LOCAL: Fields = &[("Path", "path", Ty::Str), ("FSType", "fsType", Ty::Nil)];

const OBJECT_REFERENCE: Fields = &[
    ("Kind", "kind", Ty::Str),
    ("Namespace", "namespace", Ty::Str),
    ("Name", "name", Ty::Str),
    ("UID", "uid", Ty::Str),
    ("APIVersion", "apiVersion", Ty::Str),
    ("ResourceVersion", "resourceVersion", Ty::Str),
    ("FieldPath", "fieldPath", Ty::Str),
];

const STORAGE_OS: Fields = &[
    ("VolumeName", "volumeName", Ty::Str),
    ("VolumeNamespace", "volumeNamespace", Ty::Str),
    ("FSType", "fsType", Ty::Str),
    ("ReadOnly", "readOnly", Ty::Bool),
    ("SecretRef", "secretRef", Ty::Ptr(OBJECT_REFERENCE)),
];

const CSI: Fields = &[
    ("Driver", "driver", Ty::Str),
    ("VolumeHandle", "volumeHandle", Ty::Str),
    ("ReadOnly", "readOnly", Ty::Bool),
    ("FSType", "fsType", Ty::Str),
    ("VolumeAttributes", "volumeAttributes", Ty::Nil),
    (
        "ControllerPublishSecretRef",
        "controllerPublishSecretRef",
        SECRET,
    ),
    ("NodeStageSecretRef", "nodeStageSecretRef", SECRET),
    ("NodePublishSecretRef", "nodePublishSecretRef", SECRET),
    (
        "ControllerExpandSecretRef",
        "controllerExpandSecretRef",
        SECRET,
    ),
    ("NodeExpandSecretRef", "nodeExpandSecretRef", SECRET),
];

/// `core.PersistentVolumeSource`
pub const PERSISTENT_VOLUME_SOURCE: Fields = &[
    ("GCEPersistentDisk", "gcePersistentDisk", Ty::Ptr(DISK)),
    ("AWSElasticBlockStore", "awsElasticBlockStore", Ty::Ptr(EBS)),
    ("HostPath", "hostPath", Ty::Ptr(HOST_PATH)),
    ("Glusterfs", "glusterfs", Ty::Ptr(GLUSTERFS)),
    ("NFS", "nfs", Ty::Ptr(NFS)),
    ("RBD", "rbd", Ty::Ptr(RBD)),
    ("Quobyte", "quobyte", Ty::Ptr(QUOBYTE)),
    ("ISCSI", "iscsi", Ty::Ptr(ISCSI)),
    ("FlexVolume", "flexVolume", Ty::Ptr(FLEX)),
    ("Cinder", "cinder", Ty::Ptr(CINDER)),
    ("CephFS", "cephfs", Ty::Ptr(CEPHFS)),
    ("FC", "fc", Ty::Ptr(FC)),
    ("Flocker", "flocker", Ty::Ptr(FLOCKER)),
    ("AzureFile", "azureFile", Ty::Ptr(AZURE_FILE)),
    ("VsphereVolume", "vsphereVolume", Ty::Ptr(VSPHERE)),
    ("AzureDisk", "azureDisk", Ty::Ptr(AZURE_DISK)),
    (
        "PhotonPersistentDisk",
        "photonPersistentDisk",
        Ty::Ptr(PHOTON),
    ),
    ("PortworxVolume", "portworxVolume", Ty::Ptr(PORTWORX)),
    ("ScaleIO", "scaleIO", Ty::Ptr(SCALE_IO)),
    ("Local", "local", Ty::Ptr(LOCAL)),
    ("StorageOS", "storageos", Ty::Ptr(STORAGE_OS)),
    ("CSI", "csi", Ty::Ptr(CSI)),
];
