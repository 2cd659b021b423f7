//! OpenAPI v3 documents: which there are, and what is in each.

use std::collections::BTreeSet;
use std::sync::Arc;

use crate::api::resource::Resource;
use crate::base::tree::{Map, Value, json};
use crate::registry::table::{Group, ResourceTable, Version};

use super::names::{definition_name, group_tag, group_title, operation_prefix, tag};
use super::paths::{MEDIA_TYPES, REFERENCE, add_paths, content, document_operation, responses};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// Component schemas by definition name.
pub(super) type Definitions = Map;

/// Paths that are neither groups nor resources: document name, path, description, operation id, tag,
/// definition (empty: plain text) and media types.
type Plain = (
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static str,
    &'static [&'static str],
);

const PLAIN: &[Plain] = &[
    (
        "api",
        "/api/",
        "get available API versions",
        "getCoreAPIVersions",
        "core",
        "io.k8s.apimachinery.pkg.apis.meta.v1.APIVersions",
        &MEDIA_TYPES,
    ),
    (
        "apis",
        "/apis/",
        "get available API versions",
        "getAPIVersions",
        "apis",
        "io.k8s.apimachinery.pkg.apis.meta.v1.APIGroupList",
        &MEDIA_TYPES,
    ),
    (
        "version",
        "/version/",
        "get the version information for this server",
        "getCodeVersion",
        "version",
        "io.k8s.apimachinery.pkg.version.Info",
        &["application/json"],
    ),
    (
        "openid/v1/jwks",
        "/openid/v1/jwks/",
        "get service account issuer OpenID JSON Web Key Set (contains public token verification keys)",
        "getServiceAccountIssuerOpenIDKeyset",
        "openid",
        "",
        &["application/jwk-set+json"],
    ),
    (
        ".well-known/openid-configuration",
        "/.well-known/openid-configuration/",
        "get service account issuer OpenID configuration, also known as the 'OIDC discovery doc'",
        "getServiceAccountIssuerOpenIDConfiguration",
        "WellKnown",
        "",
        &["application/json"],
    ),
];

/// What one document describes.
pub(super) enum Subject<'a> {
    /// A path beside the groups.
    Plain(&'static Plain),
    /// A group.
    Group(&'a Group),
    /// A group version.
    Version(&'a Group, &'a Version),
}

/// Every document of a table by name, in no particular order.
pub(super) fn subjects(table: &ResourceTable) -> Vec<(String, Subject<'_>)> {
    let mut all: Vec<(String, Subject<'_>)> = PLAIN
        .iter()
        .map(|plain| (plain.0.to_string(), Subject::Plain(plain)))
        .collect();
    for group in table.groups() {
        let base = if group.name.is_empty() {
            "api".to_string()
        } else {
            format!("apis/{}", group.name)
        };
        for version in &group.versions {
            let name = format!("{base}/{}", version.name);
            all.push((name, Subject::Version(group, version)));
        }
        let custom = group.preferred().rows.iter().all(|row| row.custom);
        if !group.name.is_empty() && !custom {
            all.push((base, Subject::Group(group)));
        }
    }
    all
}

/// The paths of a document.
pub(super) fn paths(subject: &Subject<'_>) -> Map {
    let mut paths = Map::new();
    match subject {
        Subject::Plain((_, path, description, id, tag, definition, media_types)) => {
            let operation = if definition.is_empty() {
                let text = content(media_types, &json!({"type": "string"}));
                json!({
                    "description": description,
                    "operationId": id,
                    "tags": [tag],
                    "responses": responses(&[("200", "OK")], &text),
                })
            } else {
                document_operation(description, id, tag, definition, media_types)
            };
            paths.insert((*path).into(), json!({"get": operation}));
        }
        Subject::Group(group) => {
            let operation = document_operation(
                "get information of a group",
                &format!("get{}APIGroup", group_title(&group.name)),
                &group_tag(&group.name),
                &format!("{META}.APIGroup"),
                &MEDIA_TYPES,
            );
            paths.insert(
                format!("/apis/{}/", group.name).into(),
                json!({"get": operation}),
            );
        }
        Subject::Version(group, version) => version_paths(group, version, &mut paths),
    }
    paths
}

fn version_paths(group: &Group, version: &Version, paths: &mut Map) {
    for row in &version.rows {
        add_paths(row, paths);
    }
    if version.rows.iter().all(|row| row.custom) {
        return;
    }
    let operation = document_operation(
        "get available resources",
        &format!(
            "get{}APIResources",
            operation_prefix(&group.name, &version.name)
        ),
        &tag(&group.name, &version.name),
        &format!("{META}.APIResourceList"),
        &MEDIA_TYPES,
    );
    let root = if group.name.is_empty() {
        format!("/api/{}/", version.name)
    } else {
        format!("/apis/{}/{}/", group.name, version.name)
    };
    paths.insert(root.into(), json!({"get": operation}));
}

/// The whole document.
pub(super) fn document(subject: &Subject<'_>, definitions: &Definitions) -> Value {
    let paths = Value::Object(paths(subject));
    let mut schemas = closure(&paths, definitions);
    if let Subject::Version(group, version) = subject {
        add_custom_definitions(version, &paths, definitions, &mut schemas);
        for kind in ["DeleteOptions", "WatchEvent"] {
            if let Some(definition) = schemas.get_mut(&format!("{META}.{kind}")) {
                definition["x-kubernetes-group-version-kind"] =
                    every_version(&[(&group.name, &version.name)], kind);
            }
        }
    }
    let mut components = Map::new();
    if !schemas.is_empty() {
        components.insert("schemas".into(), schemas.into());
    }
    components.insert(
        "securitySchemes".into(),
        json!({"BearerToken": {
            "type": "apiKey",
            "description": "Bearer Token authentication",
            "name": "authorization",
            "in": "header",
        }}),
    );
    json!({
        "openapi": "3.0.0",
        "info": {"title": "Kubernetes", "version": "1.36"},
        "paths": paths,
        "components": components,
    })
}

/// Core and the given group versions, each with `kind`, without doubles.
pub(super) fn every_version(versions: &[(&str, &str)], kind: &str) -> Value {
    let mut all = vec![("", "v1")];
    all.extend(versions.iter().filter(|v| **v != ("", "v1")));
    all.into_iter()
        .map(|(group, version)| json!({"group": group, "version": version, "kind": kind}))
        .collect()
}

/// The definitions that `from` refers to, and those they refer to.
pub(super) fn closure(from: &Value, definitions: &Definitions) -> Map {
    let mut wanted = BTreeSet::new();
    references(from, &mut wanted);
    let mut found = Map::new();
    while let Some(name) = wanted.pop_first() {
        if found.contains_key(&name) {
            continue;
        }
        if let Some(definition) = definitions.get(&name) {
            references(definition, &mut wanted);
            found.insert(name.into(), definition.clone());
        }
    }
    found
}

fn references(value: &Value, into: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str().and_then(|v| v.strip_prefix(REFERENCE)) {
                    Some(name) if key == "$ref" => {
                        into.insert(name.to_string());
                    }
                    _ => references(value, into),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, into)),
        _ => {}
    }
}

/// The schemas that rows bring themselves.
pub(super) fn own_definitions(rows: &[Arc<Resource>]) -> Map {
    let described = rows.iter().filter_map(|row| row.definitions);
    described
        .flat_map(|definitions| definitions.openapi().clone())
        .collect()
}

/// Custom resources' definitions: what they bring, or an object with metadata that keeps what it does not know, until
/// the definition's own schema says more.
fn add_custom_definitions(
    version: &Version,
    paths: &Value,
    definitions: &Definitions,
    schemas: &mut Map,
) {
    let mut wanted = BTreeSet::new();
    references(paths, &mut wanted);
    schemas.extend(own_definitions(&version.rows));
    let undescribed = |row: &&Arc<Resource>| row.custom && row.definitions.is_none();
    for row in version.rows.iter().filter(undescribed) {
        let object = definition_name(true, &row.group, &row.version, &row.kind);
        let list = definition_name(true, &row.group, &row.version, &row.list_kind);
        let kind = |kind: &str| json!([{"group": row.group, "version": row.version, "kind": kind}]);
        let meta = |name: &str| json!({"allOf": [{"$ref": format!("{REFERENCE}{META}.{name}")}]});
        let text = json!({"type": "string"});
        schemas.insert(
            object.clone().into(),
            json!({
                "type": "object",
                "properties": {"apiVersion": text, "kind": text, "metadata": meta("ObjectMeta")},
                "x-kubernetes-preserve-unknown-fields": true,
                "x-kubernetes-group-version-kind": kind(&row.kind),
            }),
        );
        schemas.insert(
            list.into(),
            json!({
                "type": "object",
                "required": ["items"],
                "properties": {
                    "apiVersion": text,
                    "kind": text,
                    "metadata": meta("ListMeta"),
                    "items": {"type": "array", "items": {"$ref": format!("{REFERENCE}{object}")}},
                },
                "x-kubernetes-group-version-kind": kind(&row.list_kind),
            }),
        );
    }
    let meta = Value::Object(schemas.clone());
    for (name, definition) in closure(&meta, definitions) {
        schemas.entry(name).or_insert(definition);
    }
}
