//! The OpenAPI v2 (Swagger) document: the v3 documents in the older words.

use std::collections::HashMap;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::base::tree::{Map, Value, json};
use crate::registry::table::ResourceTable;

use super::paths::REFERENCE;
use super::v3::{Definitions, closure, every_version, own_definitions, paths, subjects};

const META: &str = "io.k8s.apimachinery.pkg.apis.meta.v1";

/// The one document of all groups.
pub(super) fn document(table: &ResourceTable, definitions: &Definitions) -> Value {
    let mut all = Map::new();
    for (_, subject) in subjects(table) {
        all.extend(paths(&subject));
    }
    let all = Value::Object(all);
    let own: Map = table
        .groups()
        .iter()
        .flat_map(|g| &g.versions)
        .flat_map(|v| own_definitions(&v.rows))
        .collect();
    let mut schemas = closure(&json!([all, own]), definitions);
    schemas.extend(own);
    let versions: Vec<(&str, &str)> = table
        .groups()
        .iter()
        .flat_map(|g| g.versions.iter().map(|v| (&*g.name, &*v.name)))
        .collect();
    for kind in ["DeleteOptions", "WatchEvent"] {
        if let Some(definition) = schemas.get_mut(&format!("{META}.{kind}")) {
            definition["x-kubernetes-group-version-kind"] = every_version(&versions, kind);
        }
    }
    let definitions: Map = schemas
        .into_iter()
        .map(|(name, schema)| (name, schema_v2(schema)))
        .collect();
    let mut paths = Map::new();
    if let Value::Object(all) = all {
        paths.extend(all.into_iter().map(|(path, item)| (path, item_v2(item))));
    }
    let parameters = share_parameters(&mut paths);
    json!({
        "swagger": "2.0",
        "info": {"title": "Kubernetes", "version": "1.36"},
        "paths": paths,
        "parameters": parameters,
        "definitions": definitions,
        "securityDefinitions": {"BearerToken": {
            "type": "apiKey",
            "description": "Bearer Token authentication",
            "name": "authorization",
            "in": "header",
        }},
        "security": [{"BearerToken": []}],
    })
}

/// Moves parameters that occur more than once to the top and leaves references; this halves the
/// document.
fn share_parameters(paths: &mut Map) -> Map {
    let mut counts: HashMap<String, usize> = HashMap::new();
    each_parameter(paths, |parameter| {
        *counts.entry(parameter.to_string()).or_default() += 1;
    });
    let mut shared = Map::new();
    each_parameter(paths, |parameter| {
        let text = parameter.to_string();
        if parameter["in"] == "body" || counts.get(&text).is_none_or(|count| *count < 2) {
            return;
        }
        let hash = URL_SAFE_NO_PAD.encode(&Sha256::digest(&text)[..6]);
        let key = format!("{}-{hash}", parameter["name"].as_str().unwrap_or(""));
        let reference = json!({"$ref": format!("#/parameters/{key}")});
        shared.insert(key.into(), std::mem::replace(parameter, reference));
    });
    shared
}

fn each_parameter(paths: &mut Map, mut visit: impl FnMut(&mut Value)) {
    let items = paths.values_mut().filter_map(Value::as_object_mut);
    for (key, value) in items.flatten() {
        let list = if key == "parameters" {
            value
        } else if let Some(list) = value.get_mut("parameters") {
            list
        } else {
            continue;
        };
        list.as_array_mut()
            .into_iter()
            .flatten()
            .for_each(&mut visit);
    }
}

fn item_v2(item: Value) -> Value {
    let Value::Object(item) = item else {
        return item;
    };
    let converted = item.into_iter().map(|(key, value)| {
        let value = if key == "parameters" {
            parameters_v2(value)
        } else {
            operation_v2(value)
        };
        (key, value)
    });
    Value::Object(converted.collect())
}

fn parameters_v2(parameters: Value) -> Value {
    let Value::Array(parameters) = parameters else {
        return parameters;
    };
    parameters
        .into_iter()
        .map(|mut parameter| {
            let schema = parameter["schema"].take();
            if let Value::Object(parameter) = &mut parameter {
                parameter.remove("schema");
                for (key, value) in schema.as_object().into_iter().flatten() {
                    parameter.insert(key.clone(), value.clone());
                }
            }
            parameter
        })
        .collect()
}

fn operation_v2(mut operation: Value) -> Value {
    let mut parameters = match parameters_v2(operation["parameters"].take()) {
        Value::Array(parameters) => parameters,
        _ => Vec::new(),
    };
    let body = operation["requestBody"].take();
    let responses = operation["responses"].take();
    let Value::Object(operation) = &mut operation else {
        return operation;
    };
    operation.remove("requestBody");
    operation.remove("parameters");
    let consumes = media_types(&body["content"]);
    if let Some(schema) = first_schema(&body["content"]) {
        let mut parameter = json!({"name": "body", "in": "body", "schema": schema_v2(schema)});
        if body["required"] == true {
            parameter["required"] = true.into();
        }
        parameters.insert(0, parameter);
        operation.insert("consumes".into(), consumes);
    }
    if !parameters.is_empty() {
        operation.insert("parameters".into(), parameters.into());
    }
    operation.insert("produces".into(), media_types(&responses["200"]["content"]));
    operation.insert("schemes".into(), json!(["https"]));
    let responses: Map = responses
        .as_object()
        .into_iter()
        .flatten()
        .map(|(code, response)| {
            let mut converted = json!({"description": response["description"]});
            if let Some(schema) = first_schema(&response["content"]) {
                converted["schema"] = schema_v2(schema);
            }
            (code.clone(), converted)
        })
        .collect();
    operation.insert("responses".into(), responses.into());
    Value::Object(std::mem::take(operation))
}

fn media_types(content: &Value) -> Value {
    content
        .as_object()
        .into_iter()
        .flatten()
        .map(|(media_type, _)| Value::from(media_type.as_str()))
        .collect()
}

fn first_schema(content: &Value) -> Option<Value> {
    let (_, entry) = content.as_object()?.iter().next()?;
    Some(entry["schema"].clone())
}

/// A v3 schema in v2's words: references alone instead of in `allOf`, no `oneOf`, no `nullable`, no
/// defaults.
fn schema_v2(schema: Value) -> Value {
    let Value::Object(mut schema) = schema else {
        return schema;
    };
    schema.remove("nullable");
    schema.remove("default");
    if let Some(Value::Array(parts)) = schema.remove("allOf")
        && let Some(reference) = parts.first().and_then(|p| p["$ref"].as_str())
    {
        schema.insert("$ref".into(), reference.into());
    }
    if let Some(Value::Array(choices)) = schema.remove("oneOf") {
        schema.insert("type".into(), "string".into());
        if choices.iter().any(|choice| choice["type"] == "integer") {
            schema.insert("format".into(), "int-or-string".into());
        }
    }
    if let Some(reference) = schema.get_mut("$ref")
        && let Some(name) = reference.as_str().and_then(|r| r.strip_prefix(REFERENCE))
    {
        *reference = format!("#/definitions/{name}").into();
    }
    for nested in ["items", "additionalProperties"] {
        if let Some(value) = schema.get_mut(nested) {
            *value = schema_v2(value.take());
        }
    }
    if let Some(Value::Object(properties)) = schema.get_mut("properties") {
        for property in properties.values_mut() {
            *property = schema_v2(property.take());
        }
    }
    Value::Object(schema)
}
