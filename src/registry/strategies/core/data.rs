//! ConfigMap, Secret and ServiceAccount: keys, sizes, immutability, what each secret type must hold.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::super::common::access::{
    at, default_zero, ensure_object, entries_at, is_true, object_mut, path_at, remove,
    semantic_equal, str_at,
};
use super::super::common::checks::IMMUTABLE;
use super::super::common::names::{config_map_key, invalid_each};
use super::tls;
use crate::api::field::{FieldErrors, Path};
use crate::api::schema::go_json;
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

const MAX_BYTES: usize = 1024 * 1024;
const SET_IMMUTABLE: &str = "field is immutable when `immutable` is set";
const REDACTED: &str = "<secret contents redacted>";
const SERVICE_ACCOUNT_NAME: &str = "kubernetes.io/service-account.name";

/// Rules of ConfigMap.
pub struct ConfigMapStrategy;

impl Strategy for ConfigMapStrategy {
    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if let Some(old) = old {
            validate_immutable(object, old, &["data", "binaryData"], errors);
        }
        let mut bytes = 0;
        let data = Path::ROOT.field("data");
        for (key, value) in entries_at(object, "data") {
            let path = data.key(key);
            invalid_each(errors, &path, key, config_map_key(key));
            if path_at(object, &["binaryData", key]).is_some() {
                errors.invalid_str(&path, key, "duplicate of key present in binaryData");
            }
            bytes += value.as_str().map_or(0, str::len);
        }
        let data = Path::ROOT.field("binaryData");
        for (key, value) in entries_at(object, "binaryData") {
            invalid_each(errors, &data.key(key), key, config_map_key(key));
            bytes += decoded_len(value);
        }
        if bytes > MAX_BYTES {
            // A path whose only name is empty prints like this.
            errors.too_long(&Path::ROOT.field("[]"), MAX_BYTES);
        }
    }
}

/// Rules of Secret.
pub struct SecretStrategy;

impl Strategy for SecretStrategy {
    fn default(&self, object: &mut Value) {
        default_zero(object, "type", "Opaque");
        let Some(Value::Object(strings)) = remove(object, "stringData") else {
            return;
        };
        if strings.is_empty() {
            return;
        }
        let data = object_mut(ensure_object(object, "data"));
        for (key, value) in strings {
            let text = value.as_str().unwrap_or_default();
            data.insert(key, STANDARD.encode(text).into());
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if let Some(old) = old {
            if str_at(object, "type") != str_at(old, "type") {
                let path = Path::ROOT.field("type");
                errors.invalid_str(&path, str_at(object, "type"), IMMUTABLE);
            }
            validate_immutable(object, old, &["data"], errors);
        }
        let data = Path::ROOT.field("data");
        let mut bytes = 0;
        for (key, value) in entries_at(object, "data") {
            invalid_each(errors, &data.key(key), key, config_map_key(key));
            bytes += decoded_len(value);
        }
        if bytes > MAX_BYTES {
            errors.too_long(&data, MAX_BYTES);
        }
        validate_type(object, &data, errors);
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        if str_at(object, "type") != "kubernetes.io/tls" {
            return Vec::new();
        }
        let pem = |key: &str| secret_bytes(object, key).unwrap_or_default();
        tls::key_pair_error(&pem("tls.crt"), &pem("tls.key"))
            .into_iter()
            .collect()
    }
}

fn validate_immutable(object: &Value, old: &Value, fields: &[&str], errors: &mut FieldErrors) {
    if !is_true(old, "immutable") {
        return;
    }
    if !is_true(object, "immutable") {
        errors.forbidden(&Path::ROOT.field("immutable"), SET_IMMUTABLE);
    }
    for field in fields {
        if !semantic_equal(object.get(*field), old.get(*field)) {
            errors.forbidden(&Path::ROOT.field(field), SET_IMMUTABLE);
        }
    }
}

fn validate_type(object: &Value, data: &Path<'_>, errors: &mut FieldErrors) {
    let has = |key: &str| path_at(object, &["data", key]).is_some();
    match str_at(object, "type") {
        "kubernetes.io/service-account-token" => {
            let annotations = path_at(object, &["metadata", "annotations"]);
            if annotations.is_none_or(|a| str_at(a, SERVICE_ACCOUNT_NAME).is_empty()) {
                let meta = Path::ROOT.field("metadata");
                let path = meta.field("annotations");
                errors.required(&path.key(SERVICE_ACCOUNT_NAME), "");
            }
        }
        "kubernetes.io/dockercfg" => validate_json(object, ".dockercfg", data, errors),
        "kubernetes.io/dockerconfigjson" => {
            validate_json(object, ".dockerconfigjson", data, errors);
        }
        "kubernetes.io/basic-auth" if !has("username") && !has("password") => {
            errors.required(&data.key("username"), "");
            errors.required(&data.key("password"), "");
        }
        "kubernetes.io/ssh-auth"
            if secret_bytes(object, "ssh-privatekey").is_none_or(|key| key.is_empty()) =>
        {
            errors.required(&data.key("ssh-privatekey"), "");
        }
        "kubernetes.io/tls" => {
            for key in ["tls.crt", "tls.key"] {
                if !has(key) {
                    errors.required(&data.key(key), "");
                }
            }
        }
        _ => {}
    }
}

/// The member `key` holds a JSON object.
fn validate_json(object: &Value, key: &str, data: &Path<'_>, errors: &mut FieldErrors) {
    let path = data.key(key);
    let Some(bytes) = secret_bytes(object, key) else {
        return errors.required(&path, "");
    };
    let problem = match go_json::validate(&bytes) {
        Err(error) => Some(error.0),
        Ok(()) => match serde_json::from_slice::<Value>(&bytes) {
            Ok(Value::Object(_) | Value::Null) => None,
            Ok(other) => Some(format!(
                "json: cannot unmarshal {} into Go value of type map[string]interface {{}}",
                go_kind(&other)
            )),
            Err(error) => Some(error.to_string()),
        },
    };
    if let Some(problem) = problem {
        errors.invalid_str(&path, REDACTED, problem);
    }
}

fn go_kind(value: &Value) -> &'static str {
    match value {
        Value::Bool(_) => "bool",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
        Value::Null => "null",
    }
}

/// The decoded value of `data[key]`.
fn secret_bytes(object: &Value, key: &str) -> Option<Vec<u8>> {
    let text = path_at(object, &["data", key])?.as_str()?;
    STANDARD.decode(text).ok()
}

/// The length of base64 text once decoded.
fn decoded_len(value: &Value) -> usize {
    let text = value.as_str().unwrap_or_default();
    let padding = text.bytes().rev().take_while(|b| *b == b'=').count();
    (text.len() / 4 * 3).saturating_sub(padding)
}

/// Rules of ServiceAccount.
pub struct ServiceAccountStrategy;

const ENFORCE_MOUNTABLE: &str = "kubernetes.io/enforce-mountable-secrets";

impl Strategy for ServiceAccountStrategy {
    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        reduce_secrets(object);
    }

    fn prepare_for_update(&self, object: &mut Value, _old: &Value, _ctx: &WriteContext<'_>) {
        reduce_secrets(object);
    }

    fn warnings(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let set = |object: &Value| {
            path_at(object, &["metadata", "annotations"])
                .and_then(|a| at(a, ENFORCE_MOUNTABLE))
                .is_some()
        };
        if !set(object) || old.is_some_and(set) {
            return Vec::new();
        }
        vec![format!(
            "metadata.annotations[{ENFORCE_MOUNTABLE}]: deprecated in v1.32+; prefer separate namespaces to isolate access to mounted secrets"
        )]
    }
}

/// References to secrets keep their name only.
fn reduce_secrets(object: &mut Value) {
    for secret in super::super::common::access::items_mut(object, "secrets") {
        if let Some(map) = secret.as_object_mut() {
            map.retain(|key, _| key == "name");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    fn check(object: &Value, old: Option<&Value>) -> String {
        let mut errors = FieldErrors::default();
        SecretStrategy.validate(object, old, &WriteContext::default(), &mut errors);
        let texts: Vec<String> = errors.0.iter().map(ToString::to_string).collect();
        texts.join("\n")
    }

    #[test]
    fn string_data_is_merged() {
        let mut secret = json!({"stringData": {"a": "b"}, "data": {"a": "eA==", "c": "eQ=="}});
        SecretStrategy.default(&mut secret);
        assert_eq!(
            secret,
            json!({"data": {"a": "Yg==", "c": "eQ=="}, "type": "Opaque"})
        );
    }

    #[test]
    fn secret_types() {
        let cases = [
            (json!({"type": "Opaque"}), ""),
            (
                json!({"type": "kubernetes.io/tls"}),
                "data[tls.crt]: Required value\ndata[tls.key]: Required value",
            ),
            (
                json!({"type": "kubernetes.io/dockercfg", "data": {".dockercfg": "W10="}}),
                "data[.dockercfg]: Invalid value: \"<secret contents redacted>\": json: cannot unmarshal array into Go value of type map[string]interface {}",
            ),
        ];
        for (secret, want) in cases {
            assert_eq!(check(&secret, None), want, "{secret}");
        }
    }

    #[test]
    fn immutable() {
        let old = json!({"type": "Opaque", "immutable": true, "data": {"a": "eA=="}});
        let new = json!({"type": "Opaque", "data": {}});
        assert_eq!(
            check(&new, Some(&old)),
            "immutable: Forbidden: field is immutable when `immutable` is set\n\
             data: Forbidden: field is immutable when `immutable` is set"
        );
    }
}
