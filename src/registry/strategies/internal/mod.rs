//! Strategies of the internal.apiserver.k8s.io group (off by default).

use super::common::access::{arr_at, get, opt_str_at, str_at};
use super::common::names;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

/// The strategy of a kind of the group.
pub fn strategy_for(kind: &str) -> Option<&'static dyn Strategy> {
    Some(match kind {
        "StorageVersion" => &StorageVersionStrategy,
        _ => return None,
    })
}

/// Rules of StorageVersion.
pub struct StorageVersionStrategy;

impl Strategy for StorageVersionStrategy {
    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if old.is_none() {
            validate_name(str_at(get(object, "metadata"), "name"), errors);
        }
        if ctx.subresource == "status" {
            validate_status(get(object, "status"), errors);
        }
    }
}

fn validate_name(name: &str, errors: &mut FieldErrors) {
    let metadata = Path::ROOT.field("metadata");
    let path = metadata.field("name");
    let Some((group, resource)) = name.rsplit_once('.') else {
        let why = "name must be in the form of <group>.<resource>";
        return errors.invalid_str(&path, name, why);
    };
    for message in names::dns1123_subdomain(group) {
        errors.invalid_str(&path, name, format!("the group segment {message}"));
    }
    for message in names::dns1035_label(resource) {
        errors.invalid_str(&path, name, format!("the resource segment {message}"));
    }
}

fn validate_status(status: &Value, errors: &mut FieldErrors) {
    let parent = Path::ROOT.field("status");
    let list = parent.field("storageVersions");
    let servers = arr_at(status, "storageVersions");
    for (i, server) in servers.iter().enumerate() {
        let path = list.index(i);
        let id = str_at(server, "apiServerID");
        if servers[..i].iter().any(|s| str_at(s, "apiServerID") == id) {
            errors.duplicate(&path.field("apiServerID"), &json!(id));
        }
        validate_server(server, &path, errors);
    }
    validate_common(
        status,
        servers,
        &parent.field("commonEncodingVersion"),
        errors,
    );
    validate_conditions(status, &parent.field("conditions"), errors);
}

fn validate_server(server: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let decodable = arr_at(server, "decodableVersions");
    let encoding = str_at(server, "encodingVersion");
    if !decodable.iter().any(|v| v == encoding) {
        let why = format!("decodableVersions must include encodingVersion {encoding}");
        errors.invalid(&path.field("decodableVersions"), &json!(decodable), why);
    }
    let served = arr_at(server, "servedVersions");
    let list = path.field("servedVersions");
    for (i, version) in served.iter().enumerate() {
        if decodable.contains(version) {
            continue;
        }
        let known: Vec<&str> = decodable.iter().filter_map(Value::as_str).collect();
        let text = version.as_str().unwrap_or_default();
        let why = format!(
            "individual served version : {text} must be included in decodableVersions : [{}]",
            known.join(" ")
        );
        errors.invalid(&list.index(i), &json!(served), why);
    }
}

/// The version that all servers write, where they agree on one.
fn validate_common(status: &Value, servers: &[Value], path: &Path<'_>, errors: &mut FieldErrors) {
    let given = opt_str_at(status, "commonEncodingVersion");
    let mut versions = servers.iter().map(|s| str_at(s, "encodingVersion"));
    let first = versions.next();
    let agreed = first.filter(|first| versions.all(|v| v == *first));
    match (given, agreed) {
        (Some(given), None) => errors.invalid_str(
            path,
            given,
            "should be nil if servers do not agree on the same encoding version, or if there is no server reporting the supported versions yet",
        ),
        (None, Some(agreed)) => {
            let why = format!("the common encoding version is {agreed}");
            errors.invalid(path, &Value::Null, why);
        }
        (Some(given), Some(agreed)) if given != agreed => {
            let why = format!("the actual common encoding version is {agreed}");
            errors.invalid_str(path, given, why);
        }
        _ => {}
    }
}

fn validate_conditions(status: &Value, list: &Path<'_>, errors: &mut FieldErrors) {
    let conditions = arr_at(status, "conditions");
    for (i, condition) in conditions.iter().enumerate() {
        let path = list.index(i);
        let kind = str_at(condition, "type");
        let earlier = conditions[..i]
            .iter()
            .position(|c| str_at(c, "type") == kind);
        if let Some(j) = earlier {
            let why = format!(
                "the type of the condition is not unique, it also appears in conditions[{j}]"
            );
            errors.invalid_str(&path.field("type"), kind, why);
        }
        for name in ["reason", "message"] {
            if str_at(condition, name).is_empty() {
                errors.required(&path.field(name), format!("{name} cannot be empty"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(object: &Value, old: Option<&Value>, subresource: &str) -> Vec<String> {
        let ctx = WriteContext {
            subresource,
            ..WriteContext::default()
        };
        let mut errors = FieldErrors::default();
        StorageVersionStrategy.validate(object, old, &ctx, &mut errors);
        errors.0.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn storage_versions() {
        let named = |name: &str| json!({"metadata": {"name": name}});
        assert_eq!(check(&named("apps.deployments"), None, ""), [""; 0]);
        assert_eq!(
            check(&named("x"), None, ""),
            ["metadata.name: Invalid value: \"x\": name must be in the form of <group>.<resource>"]
        );
        let server =
            json!({"apiServerID": "a", "encodingVersion": "v1", "decodableVersions": ["v1"]});
        let status =
            json!({"status": {"storageVersions": [server, server], "commonEncodingVersion": "v2"}});
        let old = named("apps.deployments");
        assert_eq!(
            check(&status, Some(&old), "status"),
            [
                "status.storageVersions[1].apiServerID: Duplicate value: \"a\"",
                "status.commonEncodingVersion: Invalid value: \"v2\": the actual common encoding version is v1",
            ]
        );
    }
}
