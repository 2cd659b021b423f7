//! Documents of the whole table, and the HTTP rules around them.

use http::{Method, Uri};

use super::*;
use crate::registry::table::RuntimeConfig;

fn table() -> ResourceTable {
    ResourceTable::new(&RuntimeConfig::default())
}

fn get(path: &str, headers: &[(&'static str, &str)]) -> Option<ApiResponse> {
    static OPENAPI: std::sync::LazyLock<(OpenApi, ResourceTable)> =
        std::sync::LazyLock::new(|| (OpenApi::new(crate::api::schema::definitions), table()));
    let mut map = HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().expect("a header value"));
    }
    let uri: Uri = path.parse().expect("a path");
    let mut ctx = RequestContext::new(Method::GET, uri.clone(), map, None);
    ctx.info.path = uri.path().to_string();
    OPENAPI.0.handle(&ctx, &OPENAPI.1)
}

fn json(path: &str) -> Value {
    let response = get(path, &[]).expect("an OpenAPI path");
    let Body::Segments(segments) = response.body else {
        return Value::Null;
    };
    serde_json::from_slice(&segments.concat()).expect("JSON")
}

#[test]
fn operations_of_a_group() {
    let document = json("/openapi/v3/apis/apps/v1");
    let paths = &document["paths"];
    let item = &paths["/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale"];
    assert_eq!(
        item["patch"]["operationId"],
        "patchAppsV1NamespacedDeploymentScale"
    );
    assert_eq!(
        item["patch"]["x-kubernetes-group-version-kind"],
        json!({"group": "autoscaling", "version": "v1", "kind": "Scale"})
    );
    let names: Vec<&str> = item["patch"]["parameters"]
        .as_array()
        .expect("parameters")
        .iter()
        .filter_map(|p| p["name"].as_str())
        .collect();
    assert_eq!(
        names,
        ["dryRun", "fieldManager", "fieldValidation", "force"]
    );
    assert_eq!(item["parameters"].as_array().map(Vec::len), Some(3));
    let schemas = &document["components"]["schemas"];
    assert!(schemas["io.k8s.api.autoscaling.v1.Scale"].is_object());
    assert!(schemas["io.k8s.api.core.v1.PodSpec"].is_object());
    assert!(schemas["io.k8s.api.batch.v1.Job"].is_null());
    assert_eq!(
        schemas["io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions"]["x-kubernetes-group-version-kind"],
        json!([
            {"group": "", "version": "v1", "kind": "DeleteOptions"},
            {"group": "apps", "version": "v1", "kind": "DeleteOptions"},
        ])
    );
}

#[test]
fn every_reference_is_defined() {
    let index = json("/openapi/v3");
    for name in index["paths"].as_object().expect("paths").keys() {
        let text = json(&format!("/openapi/v3/{name}"));
        let mut missing = Vec::new();
        references(&text, &mut |reference| {
            if text["components"]["schemas"][reference].is_null() {
                missing.push(reference.to_string());
            }
        });
        assert!(missing.is_empty(), "{name}: {missing:?}");
    }
}

fn references(value: &Value, found: &mut impl FnMut(&str)) {
    match value {
        Value::Object(map) => {
            for (key, value) in map {
                match value.as_str() {
                    Some(text) if key == "$ref" => {
                        found(text.trim_start_matches(paths::REFERENCE));
                    }
                    _ => references(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| references(item, found)),
        _ => {}
    }
}

#[test]
fn http_rules() {
    let index = json("/openapi/v3");
    let url = index["paths"]["apis/node.k8s.io/v1"]["serverRelativeURL"]
        .as_str()
        .expect("a URL");
    let current = get(url, &[]).expect("a document");
    assert_eq!(current.headers["cache-control"], "public, immutable");
    let stale = get("/openapi/v3/apis/node.k8s.io/v1?hash=0000", &[]).expect("a document");
    assert_eq!(stale.status, StatusCode::MOVED_PERMANENTLY);
    assert_eq!(stale.headers["location"], url);
    let etag = current.headers["etag"].to_str().expect("text");
    let again = get(url, &[("if-none-match", etag)]).expect("a document");
    assert_eq!(again.status, StatusCode::NOT_MODIFIED);
    for (path, accept, status) in [
        ("/openapi/v3/apis/nope/v1", "", 404),
        ("/openapi/v3/", "", 404),
        ("/openapi/v3/version", "text/html", 406),
        ("/openapi/v3", "text/html", 200),
        ("/openapi/v2", "application/yaml", 406),
        ("/openapi/v2", PROTOBUF_V2[1], 200),
        ("/openapi/v3/version", PROTOBUF_V3[1], 200),
    ] {
        let response = get(path, &[("accept", accept)]).expect("an OpenAPI path");
        assert_eq!(response.status.as_u16(), status, "{path} {accept}");
    }
    assert!(get("/openapi", &[]).is_none());
}

#[test]
fn version_two() {
    let document = json("/openapi/v2");
    assert_eq!(document["swagger"], "2.0");
    let pod = &document["definitions"]["io.k8s.api.core.v1.Pod"];
    assert_eq!(
        pod["properties"]["spec"]["$ref"],
        "#/definitions/io.k8s.api.core.v1.PodSpec"
    );
    let create = &document["paths"]["/api/v1/namespaces/{namespace}/pods"]["post"];
    assert_eq!(create["parameters"][0]["in"], "body");
    assert!(create["parameters"][1]["$ref"].is_string());
    let rule = &document["definitions"]["io.k8s.apimachinery.pkg.util.intstr.IntOrString"];
    assert_eq!(rule["format"], "int-or-string");
    let text = serde_json::to_string(&document).expect("JSON");
    assert!(!text.contains("#/components/"));
}
