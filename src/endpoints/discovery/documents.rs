//! The documents themselves, as JSON bytes by path.
//!
//! Member order follows the Go types, so that bytes are stable and readable.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::Arc;

use bytes::Bytes;
use http::HeaderValue;
use serde::Serialize;
use sha2::{Digest, Sha512};

use crate::api::names::{GroupVersionKind, Name};
use crate::api::resource::{Resource, Subresource};
use crate::registry::table::{Group, ResourceTable, Version, storage_version_hash};

/// One path's document, and for `/api` and `/apis` its aggregated form with its ETag.
pub(super) struct Document {
    pub(super) json: Bytes,
    pub(super) aggregated: Option<(Bytes, HeaderValue)>,
}

/// All documents of one resource table.
pub(super) struct Documents {
    generation: u64,
    by_path: HashMap<String, Arc<Document>>,
}

impl Documents {
    /// Makes the documents of `table`.
    pub(super) fn new(table: &ResourceTable, server_address: &str) -> Self {
        let mut documents = Documents {
            generation: table.generation(),
            by_path: HashMap::new(),
        };
        let (core, named): (Vec<&Group>, Vec<&Group>) =
            table.groups().iter().partition(|g| g.name.is_empty());
        documents.add(
            "/api",
            &ApiVersions {
                kind: "APIVersions",
                versions: versions(core.first().copied()),
                addresses: [Address {
                    client_cidr: "0.0.0.0/0",
                    server_address,
                }],
            },
            Some(&aggregate(&core)),
        );
        documents.add(
            "/apis",
            &ApiGroupList {
                kind: "APIGroupList",
                api_version: "v1",
                groups: named.iter().map(|g| ApiGroup::new(g, false)).collect(),
            },
            Some(&aggregate(&named)),
        );
        for group in table.groups() {
            documents.add_group(group);
        }
        documents
    }

    fn add_group(&mut self, group: &Group) {
        let base = if group.name.is_empty() {
            "/api".to_string()
        } else {
            let path = format!("/apis/{}", group.name);
            self.add(&path, &ApiGroup::new(group, true), None);
            path
        };
        for version in &group.versions {
            let list = ApiResourceList {
                kind: "APIResourceList",
                // The core list is so old that it lacks apiVersion.
                api_version: (!group.name.is_empty()).then_some("v1"),
                group_version: group.group_version(version).to_string(),
                resources: version
                    .rows
                    .iter()
                    .flat_map(|row| api_resources(row))
                    .collect(),
            };
            self.add(&format!("{base}/{}", version.name), &list, None);
        }
    }

    fn add<T: Serialize>(&mut self, path: &str, document: &T, all: Option<&Aggregate<'_>>) {
        let aggregated = all.map(|all| {
            let json = json_bytes(all);
            let etag = etag(&json);
            (json, etag)
        });
        let json = json_bytes(document);
        self.by_path
            .insert(path.to_string(), Arc::new(Document { json, aggregated }));
    }

    /// The generation of the table these were made of.
    pub(super) fn generation(&self) -> u64 {
        self.generation
    }

    /// The document of a path without a trailing slash.
    pub(super) fn get(&self, path: &str) -> Option<Arc<Document>> {
        self.by_path.get(path).cloned()
    }
}

fn json_bytes<T: Serialize>(document: &T) -> Bytes {
    let mut json = serde_json::to_vec(document).unwrap_or_default();
    json.push(b'\n');
    json.into()
}

/// The quoted upper-hex SHA-512 of a document.
pub(super) fn etag(json: &[u8]) -> HeaderValue {
    let mut text = String::with_capacity(130);
    text.push('"');
    for byte in Sha512::digest(json) {
        // Writing to a string cannot fail.
        let _ = write!(text, "{byte:02X}");
    }
    text.push('"');
    HeaderValue::try_from(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

fn versions(group: Option<&Group>) -> Vec<&str> {
    group
        .into_iter()
        .flat_map(|g| g.versions.iter().map(|v| &*v.name))
        .collect()
}

#[derive(Serialize)]
struct ApiVersions<'a> {
    kind: &'static str,
    versions: Vec<&'a str>,
    #[serde(rename = "serverAddressByClientCIDRs")]
    addresses: [Address<'a>; 1],
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Address<'a> {
    #[serde(rename = "clientCIDR")]
    client_cidr: &'static str,
    server_address: &'a str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroupList<'a> {
    kind: &'static str,
    api_version: &'static str,
    groups: Vec<ApiGroup<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiGroup<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    kind: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    name: &'a str,
    versions: Vec<GroupVersionEntry<'a>>,
    preferred_version: GroupVersionEntry<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct GroupVersionEntry<'a> {
    group_version: String,
    version: &'a str,
}

impl<'a> ApiGroup<'a> {
    /// Items of a list carry no kind.
    fn new(group: &'a Group, with_kind: bool) -> Self {
        let entry = |version: &'a Version| GroupVersionEntry {
            group_version: group.group_version(version).to_string(),
            version: &version.name,
        };
        ApiGroup {
            kind: with_kind.then_some("APIGroup"),
            api_version: with_kind.then_some("v1"),
            name: &group.name,
            versions: group.versions.iter().map(entry).collect(),
            preferred_version: entry(group.preferred()),
        }
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResourceList<'a> {
    kind: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    api_version: Option<&'static str>,
    group_version: String,
    resources: Vec<ApiResource<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ApiResource<'a> {
    name: String,
    singular_name: &'a str,
    namespaced: bool,
    #[serde(skip_serializing_if = "str::is_empty")]
    group: &'a str,
    #[serde(skip_serializing_if = "str::is_empty")]
    version: &'a str,
    kind: &'a str,
    verbs: &'a [Name],
    #[serde(skip_serializing_if = "<[Name]>::is_empty")]
    short_names: &'a [Name],
    #[serde(skip_serializing_if = "<[Name]>::is_empty")]
    categories: &'a [Name],
    #[serde(skip_serializing_if = "Option::is_none")]
    storage_version_hash: Option<String>,
}

/// The resource and its subresources.
fn api_resources(row: &Resource) -> impl Iterator<Item = ApiResource<'_>> {
    let main = ApiResource {
        name: row.plural.to_string(),
        singular_name: &row.singular,
        namespaced: row.namespaced,
        group: "",
        version: "",
        kind: &row.kind,
        verbs: &row.verbs,
        short_names: &row.short_names,
        categories: &row.categories,
        storage_version_hash: storage_version_hash(row),
    };
    let subresources = row.subresources.iter().map(|sub| {
        let foreign = sub.kind.group != row.group || sub.kind.version != row.version;
        ApiResource {
            name: format!("{}/{}", row.plural, sub.name),
            singular_name: "",
            namespaced: row.namespaced,
            group: if foreign { &sub.kind.group } else { "" },
            version: if foreign { &sub.kind.version } else { "" },
            kind: &sub.kind.kind,
            verbs: &sub.verbs,
            short_names: &[],
            categories: &[],
            storage_version_hash: None,
        }
    });
    std::iter::once(main).chain(subresources)
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Aggregate<'a> {
    kind: &'static str,
    api_version: &'static str,
    metadata: Empty,
    items: Vec<AggregateGroup<'a>>,
}

#[derive(Serialize)]
struct Empty {}

#[derive(Serialize)]
struct AggregateGroup<'a> {
    metadata: GroupName<'a>,
    versions: Vec<AggregateVersion<'a>>,
}

#[derive(Serialize)]
struct GroupName<'a> {
    #[serde(skip_serializing_if = "str::is_empty")]
    name: &'a str,
}

#[derive(Serialize)]
struct AggregateVersion<'a> {
    version: &'a str,
    resources: Vec<AggregateResource<'a>>,
    freshness: &'static str,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AggregateResource<'a> {
    resource: &'a str,
    response_kind: ResponseKind<'a>,
    scope: &'static str,
    singular_resource: &'a str,
    verbs: &'a [Name],
    #[serde(skip_serializing_if = "<[Name]>::is_empty")]
    short_names: &'a [Name],
    #[serde(skip_serializing_if = "<[Name]>::is_empty")]
    categories: &'a [Name],
    #[serde(skip_serializing_if = "Vec::is_empty")]
    subresources: Vec<AggregateSubresource<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct AggregateSubresource<'a> {
    subresource: &'a str,
    response_kind: ResponseKind<'a>,
    verbs: &'a [Name],
}

#[derive(Serialize)]
struct ResponseKind<'a> {
    group: &'a str,
    version: &'a str,
    kind: &'a str,
}

fn aggregate<'a>(groups: &[&'a Group]) -> Aggregate<'a> {
    Aggregate {
        kind: "APIGroupDiscoveryList",
        api_version: "apidiscovery.k8s.io/v2",
        metadata: Empty {},
        items: groups
            .iter()
            .map(|group| AggregateGroup {
                metadata: GroupName { name: &group.name },
                versions: group.versions.iter().map(aggregate_version).collect(),
            })
            .collect(),
    }
}

fn aggregate_version(version: &Version) -> AggregateVersion<'_> {
    AggregateVersion {
        version: &version.name,
        resources: version
            .rows
            .iter()
            .map(|row| aggregate_resource(row))
            .collect(),
        freshness: "Current",
    }
}

fn aggregate_resource(row: &Resource) -> AggregateResource<'_> {
    AggregateResource {
        resource: &row.plural,
        response_kind: if row.custom {
            ResponseKind {
                group: &row.group,
                version: &row.version,
                kind: &row.kind,
            }
        } else {
            ResponseKind {
                group: "",
                version: "",
                kind: &row.kind,
            }
        },
        scope: if row.namespaced {
            "Namespaced"
        } else {
            "Cluster"
        },
        singular_resource: &row.singular,
        verbs: &row.verbs,
        short_names: &row.short_names,
        categories: &row.categories,
        subresources: row
            .subresources
            .iter()
            .map(|sub| aggregate_subresource(row, sub))
            .collect(),
    }
}

fn aggregate_subresource<'a>(row: &Resource, sub: &'a Subresource) -> AggregateSubresource<'a> {
    let GroupVersionKind {
        group,
        version,
        kind,
    } = &sub.kind;
    // Built-in kinds leave out the group and version they are listed under.
    let own = !row.custom && *group == row.group && *version == row.version;
    AggregateSubresource {
        subresource: &sub.name,
        response_kind: ResponseKind {
            group: if own { "" } else { group },
            version: if own { "" } else { version },
            kind,
        },
        verbs: &sub.verbs,
    }
}
