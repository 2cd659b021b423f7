//! The resource table: which kinds are served, under which names, and how they are found.
//!
//! Built-in rows are constant data ([`builtin`]); which of them are served `--runtime-config`
//! decides once. Custom resources come and go at run time, so the table is immutable and replaced as
//! a whole ([`SharedTable`]): a request loads it once and sees one consistent set of rows.
//!
//! # Invariants
//! - A table never changes; a new one has a higher [`ResourceTable::generation`], which is what
//!   caches (discovery, OpenAPI) key on.
//! - Rows of one group and version are sorted by plural.
//!
//! # Decisions
//! - Lookups nest maps by group, version and plural, so that a request needs no allocated key.
//! - Selectable fields' paths are those of the storage version, because that is what the watch
//!   cache holds.

mod groups;
mod optional;
mod own;
mod row;
mod rows;
mod runtime_config;

use std::collections::HashMap;
use std::sync::{Arc, LazyLock};

use arc_swap::ArcSwap;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use foldhash::fast::RandomState;
use sha2::{Digest, Sha256};

use crate::api::names::{GroupVersion, Name};
use crate::api::resource::Resource;

pub use groups::{
    compare_groups, compare_kube_versions, compare_versions, group_priority, is_builtin_group,
    version_priority,
};
pub use runtime_config::{RuntimeConfig, RuntimeConfigError};

/// All built-in rows, also those that are off by default.
pub fn builtin() -> &'static [Arc<Resource>] {
    static ROWS: LazyLock<Vec<Arc<Resource>>> = LazyLock::new(|| {
        let served = rows::SERVED.iter().map(|row| Arc::new(row.resource(true)));
        let optional = optional::OPTIONAL
            .iter()
            .map(|row| Arc::new(row.resource(false)));
        let own = own::OWN.iter().map(|row| Arc::new(row.resource(true)));
        served.chain(optional).chain(own).collect()
    });
    &ROWS
}

/// `storageVersionHash` of discovery: the start of a hash of the storage version and kind. `None`
/// for virtual resources.
pub fn storage_version_hash(resource: &Resource) -> Option<String> {
    if resource.storage_prefix.is_empty() {
        return None;
    }
    let GroupVersion { group, version } = &resource.storage_version;
    // kube-apiserver still stores definitions as v1beta1, a version it no longer serves. Verbatim
    // stores v1; the hash is only compared for equality, so it stays the one clients know.
    let version = if group == "apiextensions.k8s.io" {
        "v1beta1"
    } else {
        version
    };
    let digest = Sha256::digest(format!("{group}/{version}/{}", resource.kind));
    Some(STANDARD.encode(&digest[..8]))
}

/// One group with its versions, the preferred one first.
#[derive(Clone, Debug)]
pub struct Group {
    /// Name, empty for core.
    pub name: Name,
    /// Versions that have at least one row.
    pub versions: Vec<Version>,
}

/// One version of a group.
#[derive(Clone, Debug)]
pub struct Version {
    /// Name, for example `v1`.
    pub name: Name,
    /// Rows, sorted by plural.
    pub rows: Vec<Arc<Resource>>,
}

impl Group {
    /// The version clients should use.
    pub fn preferred(&self) -> &Version {
        &self.versions[0]
    }

    /// The version called `name`.
    pub fn version(&self, name: &str) -> Option<&Version> {
        self.versions.iter().find(|v| v.name == name)
    }

    /// `v1` or `apps/v1`.
    pub fn group_version(&self, version: &Version) -> GroupVersion {
        GroupVersion::new(self.name.clone(), version.name.clone())
    }
}

type ByPlural = HashMap<Name, Arc<Resource>, RandomState>;
type ByVersion = HashMap<Name, ByPlural, RandomState>;

/// The rows that are served at one moment.
#[derive(Clone, Debug, Default)]
pub struct ResourceTable {
    generation: u64,
    builtin: Vec<Arc<Resource>>,
    custom: Vec<Arc<Resource>>,
    groups: Vec<Group>,
    by_name: HashMap<Name, ByVersion, RandomState>,
    stored: HashMap<Name, ByPlural, RandomState>,
}

impl ResourceTable {
    /// The built-in rows that `config` leaves on.
    pub fn new(config: &RuntimeConfig) -> Self {
        let rows = builtin().iter().filter(|row| config.serves(row));
        Self::build(1, rows.cloned().collect(), Vec::new())
    }

    /// The same built-in rows with another set of custom rows.
    pub fn with_custom(&self, custom: Vec<Arc<Resource>>) -> Self {
        Self::build(self.generation + 1, self.builtin.clone(), custom)
    }

    fn build(generation: u64, builtin: Vec<Arc<Resource>>, custom: Vec<Arc<Resource>>) -> Self {
        let mut table = ResourceTable {
            generation,
            builtin,
            custom,
            ..ResourceTable::default()
        };
        for row in table.builtin.iter().chain(&table.custom) {
            let plurals = table
                .by_name
                .entry(row.group.clone())
                .or_default()
                .entry(row.version.clone())
                .or_default();
            // A custom row never hides a built-in one.
            plurals
                .entry(row.plural.clone())
                .or_insert_with(|| row.clone());
            let stored = table.stored.entry(row.group.clone()).or_default();
            let stored = stored
                .entry(row.plural.clone())
                .or_insert_with(|| row.clone());
            if !is_stored(stored) {
                *stored = row.clone();
            }
        }
        table.groups = groups_of(&table.by_name);
        table
    }

    /// Grows with every replacement of the table.
    pub fn generation(&self) -> u64 {
        self.generation
    }

    /// The row behind `/apis/<group>/<version>/<plural>`.
    pub fn get(&self, group: &str, version: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.by_name.get(group)?.get(version)?.get(plural)
    }

    /// The row of a resource in the version that is stored, else the last that is served.
    pub fn stored(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        self.stored.get(group)?.get(plural)
    }

    /// The row of a kind in one version.
    pub fn by_gvk(&self, group: &str, version: &str, kind: &str) -> Option<&Arc<Resource>> {
        let rows = &self.group(group)?.version(version)?.rows;
        rows.iter().find(|row| row.kind == kind)
    }

    /// The row of a kind in the first version, by preference, that has it.
    pub fn by_kind(&self, group: &str, kind: &str) -> Option<&Arc<Resource>> {
        let versions = &self.group(group)?.versions;
        versions
            .iter()
            .find_map(|v| v.rows.iter().find(|row| row.kind == kind))
    }

    /// The row of a plural in the first version, by preference, that has it.
    pub fn by_plural(&self, group: &str, plural: &str) -> Option<&Arc<Resource>> {
        let versions = &self.group(group)?.versions;
        versions
            .iter()
            .find_map(|v| v.rows.iter().find(|row| row.plural == plural))
    }

    /// Every row, of any group and version, whose objects lie under `prefix`.
    pub fn by_storage_prefix<'a>(
        &'a self,
        prefix: &'a str,
    ) -> impl Iterator<Item = &'a Arc<Resource>> {
        self.rows().filter(move |row| row.storage_prefix == prefix)
    }

    /// All rows, built-in ones first.
    pub fn rows(&self) -> impl Iterator<Item = &Arc<Resource>> {
        self.builtin.iter().chain(&self.custom)
    }

    /// The custom rows.
    pub fn custom_rows(&self) -> &[Arc<Resource>] {
        &self.custom
    }

    /// Groups in the order of discovery; core is the first when it is served.
    pub fn groups(&self) -> &[Group] {
        &self.groups
    }

    /// The group called `name`, empty for core.
    pub fn group(&self, name: &str) -> Option<&Group> {
        self.groups.iter().find(|g| g.name == name)
    }

    /// Whether anything of the group version is served.
    pub fn serves(&self, group: &str, version: &str) -> bool {
        self.by_name
            .get(group)
            .is_some_and(|versions| versions.contains_key(version))
    }
}

/// Whether the row's version is the one that is stored.
fn is_stored(row: &Resource) -> bool {
    row.storage_version.group == row.group && row.storage_version.version == row.version
}

fn groups_of(by_name: &HashMap<Name, ByVersion, RandomState>) -> Vec<Group> {
    let mut groups: Vec<Group> = by_name
        .iter()
        .map(|(name, versions)| Group {
            name: name.clone(),
            versions: versions_of(name, versions),
        })
        .collect();
    groups.sort_by(|a, b| {
        let core = |group: &Group| group.name.is_empty();
        core(b)
            .cmp(&core(a))
            .then_with(|| compare_groups(&a.name, &b.name))
    });
    groups
}

fn versions_of(group: &str, versions: &ByVersion) -> Vec<Version> {
    let mut versions: Vec<Version> = versions
        .iter()
        .map(|(name, plurals)| {
            let mut rows: Vec<_> = plurals.values().cloned().collect();
            rows.sort_by(|a, b| a.plural.cmp(&b.plural));
            Version {
                name: name.clone(),
                rows,
            }
        })
        .collect();
    versions.sort_by(|a, b| compare_versions(group, &a.name, &b.name));
    versions
}

/// The table that is current now; cheap to load, replaced when custom resources change.
#[derive(Debug)]
pub struct SharedTable(ArcSwap<ResourceTable>);

impl SharedTable {
    /// Starts with `table`.
    pub fn new(table: ResourceTable) -> Self {
        SharedTable(ArcSwap::from_pointee(table))
    }

    /// The current table; hold it for one request, not longer.
    pub fn load(&self) -> Arc<ResourceTable> {
        self.0.load_full()
    }

    /// Replaces the custom rows by what `change` makes of them. Readers see the old or the new
    /// table, nothing between; concurrent changes are retried, so `change` may run twice.
    pub fn update_custom(&self, mut change: impl FnMut(&[Arc<Resource>]) -> Vec<Arc<Resource>>) {
        self.0
            .rcu(|table| table.with_custom(change(table.custom_rows())));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> ResourceTable {
        ResourceTable::new(&RuntimeConfig::default())
    }

    #[test]
    fn storage_version_hashes_are_the_recorded_ones() {
        let expected = [
            ("v1", "configmaps", "qFsyl6wFWjQ="),
            ("v1", "endpoints", "fWeeMqaN/OA="),
            ("v1", "events", "r2yiGXH7wu8="),
            ("v1", "limitranges", "EBKMFVe6cwo="),
            ("v1", "namespaces", "Q3oi5N2YM8M="),
            ("v1", "nodes", "XwShjMxG9Fs="),
            ("v1", "persistentvolumeclaims", "QWTyNDq0dC4="),
            ("v1", "persistentvolumes", "HN/zwEC+JgM="),
            ("v1", "pods", "xPOwRZ+Yhw8="),
            ("v1", "podtemplates", "LIXB2x4IFpk="),
            ("v1", "replicationcontrollers", "Jond2If31h0="),
            ("v1", "resourcequotas", "8uhSgffRX6w="),
            ("v1", "secrets", "S6u1pOWzb84="),
            ("v1", "serviceaccounts", "pbx9ZvyFpBE="),
            ("v1", "services", "0/CO1lhkEBI="),
            (
                "admissionregistration.k8s.io/v1",
                "mutatingadmissionpolicies",
                "LYmCf+UMVdg=",
            ),
            (
                "admissionregistration.k8s.io/v1",
                "mutatingadmissionpolicybindings",
                "90V5FRZZ3Zg=",
            ),
            (
                "admissionregistration.k8s.io/v1",
                "mutatingwebhookconfigurations",
                "Sqi0GUgDaX0=",
            ),
            (
                "admissionregistration.k8s.io/v1",
                "validatingadmissionpolicies",
                "6OxvlMmQ6is=",
            ),
            (
                "admissionregistration.k8s.io/v1",
                "validatingadmissionpolicybindings",
                "v9715VZqakg=",
            ),
            (
                "admissionregistration.k8s.io/v1",
                "validatingwebhookconfigurations",
                "B0wHjQmsGNk=",
            ),
            (
                "apiextensions.k8s.io/v1",
                "customresourcedefinitions",
                "jfWCUB31mvA=",
            ),
            ("apiregistration.k8s.io/v1", "apiservices", "InPBPD7+PqM="),
            ("apps/v1", "controllerrevisions", "85nkx63pcBU="),
            ("apps/v1", "daemonsets", "dd7pWHUlMKQ="),
            ("apps/v1", "deployments", "8aSe+NMegvE="),
            ("apps/v1", "replicasets", "P1RzHs8/mWQ="),
            ("apps/v1", "statefulsets", "H+vl74LkKdo="),
            ("autoscaling/v1", "horizontalpodautoscalers", "qwQve8ut294="),
            ("autoscaling/v2", "horizontalpodautoscalers", "qwQve8ut294="),
            ("batch/v1", "cronjobs", "sd5LIXh4Fjs="),
            ("batch/v1", "jobs", "mudhfqk/qZY="),
            (
                "certificates.k8s.io/v1",
                "certificatesigningrequests",
                "95fRKMXA+00=",
            ),
            ("coordination.k8s.io/v1", "leases", "gqkMMb/YqFM="),
            ("discovery.k8s.io/v1", "endpointslices", "qgS0xkrxYAI="),
            ("events.k8s.io/v1", "events", "r2yiGXH7wu8="),
            (
                "flowcontrol.apiserver.k8s.io/v1",
                "flowschemas",
                "GJVAJZSZBIw=",
            ),
            (
                "flowcontrol.apiserver.k8s.io/v1",
                "prioritylevelconfigurations",
                "Kir5PVfvNeI=",
            ),
            ("networking.k8s.io/v1", "ingressclasses", "l/iqIbDgFyQ="),
            ("networking.k8s.io/v1", "ingresses", "39NQlfNR+bo="),
            ("networking.k8s.io/v1", "ipaddresses", "3f/plJFChNE="),
            ("networking.k8s.io/v1", "networkpolicies", "YpfwF18m1G8="),
            ("networking.k8s.io/v1", "servicecidrs", "gNLvruQhW2g="),
            ("node.k8s.io/v1", "runtimeclasses", "WQTu1GL3T2Q="),
            ("policy/v1", "poddisruptionbudgets", "EVWiDmWqyJw="),
            (
                "rbac.authorization.k8s.io/v1",
                "clusterrolebindings",
                "48tpQ8gZHFc=",
            ),
            (
                "rbac.authorization.k8s.io/v1",
                "clusterroles",
                "bYE5ZWDrJ44=",
            ),
            (
                "rbac.authorization.k8s.io/v1",
                "rolebindings",
                "eGsCzGH6b1g=",
            ),
            ("rbac.authorization.k8s.io/v1", "roles", "7FuwZcIIItM="),
            ("resource.k8s.io/v1", "deviceclasses", "Yk2PTc1Ybxk="),
            ("resource.k8s.io/v1", "resourceclaims", "wgAZaHcZxUg="),
            (
                "resource.k8s.io/v1",
                "resourceclaimtemplates",
                "TuzjC49aUfM=",
            ),
            ("resource.k8s.io/v1", "resourceslices", "KsC072WgaEY="),
            ("scheduling.k8s.io/v1", "priorityclasses", "1QwjyaZjj3Y="),
            ("storage.k8s.io/v1", "csidrivers", "hL6j/rwBV5w="),
            ("storage.k8s.io/v1", "csinodes", "Pe62DkZtjuo="),
            ("storage.k8s.io/v1", "csistoragecapacities", "xeVl+2Ly1kE="),
            ("storage.k8s.io/v1", "storageclasses", "K+m6uJwbjGY="),
            ("storage.k8s.io/v1", "volumeattachments", "tJx/ezt6UDU="),
            (
                "storage.k8s.io/v1",
                "volumeattributesclasses",
                "tIjydgKBC5w=",
            ),
            (
                "admissionregistration.k8s.io/v1alpha1",
                "mutatingadmissionpolicies",
                "LYmCf+UMVdg=",
            ),
            (
                "admissionregistration.k8s.io/v1alpha1",
                "mutatingadmissionpolicybindings",
                "90V5FRZZ3Zg=",
            ),
            (
                "admissionregistration.k8s.io/v1beta1",
                "mutatingadmissionpolicies",
                "LYmCf+UMVdg=",
            ),
            (
                "admissionregistration.k8s.io/v1beta1",
                "mutatingadmissionpolicybindings",
                "90V5FRZZ3Zg=",
            ),
            (
                "certificates.k8s.io/v1alpha1",
                "clustertrustbundles",
                "v5yhuVertL4=",
            ),
            (
                "certificates.k8s.io/v1beta1",
                "clustertrustbundles",
                "v5yhuVertL4=",
            ),
            (
                "certificates.k8s.io/v1beta1",
                "podcertificaterequests",
                "wYA9yXQH8fg=",
            ),
            (
                "coordination.k8s.io/v1alpha2",
                "leasecandidates",
                "lvME0iHWE20=",
            ),
            (
                "coordination.k8s.io/v1beta1",
                "leasecandidates",
                "lvME0iHWE20=",
            ),
            (
                "internal.apiserver.k8s.io/v1alpha1",
                "storageversions",
                "c8YZt5U0nPk=",
            ),
            ("networking.k8s.io/v1beta1", "ipaddresses", "3f/plJFChNE="),
            ("networking.k8s.io/v1beta1", "servicecidrs", "gNLvruQhW2g="),
            (
                "resource.k8s.io/v1alpha3",
                "devicetaintrules",
                "DJ3UJ0fj8MI=",
            ),
            (
                "resource.k8s.io/v1alpha3",
                "resourcepoolstatusrequests",
                "iy583CtMwdY=",
            ),
            ("resource.k8s.io/v1beta1", "deviceclasses", "Yk2PTc1Ybxk="),
            ("resource.k8s.io/v1beta1", "resourceclaims", "wgAZaHcZxUg="),
            (
                "resource.k8s.io/v1beta1",
                "resourceclaimtemplates",
                "TuzjC49aUfM=",
            ),
            ("resource.k8s.io/v1beta1", "resourceslices", "KsC072WgaEY="),
            ("resource.k8s.io/v1beta2", "deviceclasses", "Yk2PTc1Ybxk="),
            (
                "resource.k8s.io/v1beta2",
                "devicetaintrules",
                "DJ3UJ0fj8MI=",
            ),
            ("resource.k8s.io/v1beta2", "resourceclaims", "wgAZaHcZxUg="),
            (
                "resource.k8s.io/v1beta2",
                "resourceclaimtemplates",
                "TuzjC49aUfM=",
            ),
            ("resource.k8s.io/v1beta2", "resourceslices", "KsC072WgaEY="),
            ("scheduling.k8s.io/v1alpha2", "podgroups", "YYgX3v5V204="),
            ("scheduling.k8s.io/v1alpha2", "workloads", "vSX7gJe5Mx8="),
            (
                "storage.k8s.io/v1beta1",
                "volumeattributesclasses",
                "tIjydgKBC5w=",
            ),
            (
                "storagemigration.k8s.io/v1beta1",
                "storageversionmigrations",
                "pCjmmKOkLy4=",
            ),
        ];
        assert_eq!(
            expected.len(),
            builtin()
                .iter()
                .filter(|row| !row.storage_prefix.is_empty())
                .count()
        );
        for (group_version, plural, hash) in expected {
            let row = builtin()
                .iter()
                .find(|r| r.group_version().to_string() == group_version && r.plural == plural)
                .expect("a built-in row");
            assert_eq!(
                storage_version_hash(row).as_deref(),
                Some(hash),
                "{group_version} {plural}"
            );
        }
    }

    #[test]
    fn lookups() {
        let table = table();
        let pods = table.get("", "v1", "pods").expect("pods");
        assert_eq!((&*pods.kind, &*pods.storage_prefix), ("Pod", "pods"));
        assert_eq!(
            pods.subresource("eviction")
                .expect("eviction")
                .kind
                .to_string(),
            "policy/v1, Kind=Eviction"
        );
        assert!(table.get("apps", "v1beta1", "deployments").is_none());
        assert!(table.serves("apps", "v1") && !table.serves("apps", "v1beta1"));
        let hpa = table.by_kind("autoscaling", "HorizontalPodAutoscaler");
        assert_eq!(hpa.expect("hpa").version, "v2");
        assert_eq!(table.by_storage_prefix("events").count(), 2);
    }

    #[test]
    fn groups_in_order() {
        let names: Vec<String> = table()
            .groups()
            .iter()
            .map(|g| g.name.to_string())
            .collect();
        assert_eq!(
            names[..4],
            ["", "apiregistration.k8s.io", "apps", "events.k8s.io"]
        );
        assert_eq!(
            names[names.len() - 2..],
            ["flowcontrol.apiserver.k8s.io", "audit.verbatim.dev"]
        );
    }

    #[test]
    fn custom_rows_come_and_go() {
        let shared = SharedTable::new(table());
        let mut row = (**shared.load().get("", "v1", "configmaps").expect("row")).clone();
        (row.group, row.plural, row.kind) = ("x.test".into(), "things".into(), "Thing".into());
        row.custom = true;
        let before = shared.load().generation();
        shared.update_custom(|_| vec![Arc::new(row.clone())]);
        let table = shared.load();
        assert!(table.generation() > before);
        assert!(table.get("x.test", "v1", "things").is_some());
        assert_eq!(table.groups().last().expect("a group").name, "x.test");
        shared.update_custom(|_| Vec::new());
        assert!(shared.load().group("x.test").is_none());
    }

    #[test]
    fn features() {
        let table = table();
        let row = |group, plural| table.by_plural(group, plural).expect("a row");
        assert!(!row("coordination.k8s.io", "leases").allow_unconditional_update);
        assert!(row("coordination.k8s.io", "leases").allow_create_on_update);
        assert!(row("", "pods").returns_deleted_object);
        assert!(!row("", "configmaps").tracks_generation);
        assert!(row("apps", "deployments").tracks_generation);
        assert_eq!(row("events.k8s.io", "events").ttl_seconds, 3600);
    }
}
