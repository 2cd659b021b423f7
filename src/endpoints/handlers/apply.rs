//! Server-side apply. Texts and order: contract/apply.md §5.

use bytes::Bytes;
use http::StatusCode;

use crate::api::names::GroupVersion;
use crate::api::options::{FieldValidation, WriteOptions};
use crate::api::patch::fits;
use crate::api::schema::{self, Format, yaml};
use crate::api::status::Status;
use crate::base::tree::Value;
use crate::endpoints::handlers::patch::schema_of;
use crate::endpoints::handlers::scale;
use crate::endpoints::handlers::update::check_identity;
use crate::endpoints::{Endpoints, render};
use crate::registry::managed_fields::manager_name;
use crate::registry::{Registry, Target, Transform, Update, meta};
use crate::request::negotiate::Negotiated;
use crate::request::{ApiResponse, RequestContext};

/// A decoded apply body.
pub struct Config {
    /// The configuration.
    pub object: Value,
    /// Repeated keys.
    duplicates: Option<String>,
}

/// Applies an object.
pub async fn apply(
    endpoints: &Endpoints,
    ctx: &mut RequestContext,
    target: &Target,
    bytes: &Bytes,
    negotiated: Negotiated,
    options: &WriteOptions,
) -> Result<ApiResponse, Status> {
    let config = decode(bytes)?;
    if target.subresource == "scale" {
        return scale::apply_scale(endpoints, ctx, target, &config, negotiated, options).await;
    }
    let row = &target.resource;
    let manager = manager_name(ctx, options);
    let mut untracked = options.clone();
    untracked.untracked = true;
    let registry = &endpoints.registry;
    let update = Update {
        transform: Box::new(|old| {
            check_kind(&config.object, &row.group_version(), &row.kind)?;
            applied(registry, target, &manager, old, &config, options)
        }),
        precondition_uid: None,
        creates: target.subresource.is_empty(),
        options: &untracked,
    };
    let written = registry.update(ctx, target, update).await?;
    let code = if written.created {
        StatusCode::CREATED
    } else {
        StatusCode::OK
    };
    render::written(ctx, target, negotiated, code, &written)
}

/// Decodes YAML, of which JSON is a part.
pub fn decode(bytes: &[u8]) -> Result<Config, Status> {
    let refuse = |text: String| Status::bad_request(format!("error decoding YAML: {text}"));
    let converted = yaml::to_json(bytes)
        .map_err(|text| refuse(format!("error converting YAML to JSON: {text}")))?;
    let object: Value = serde_json::from_str(&converted.json)
        .map_err(|error| refuse(format!("error converting YAML to JSON: {error}")))?;
    let what = match &object {
        Value::Object(_) | Value::Null => None,
        Value::Array(_) => Some("array"),
        Value::String(_) => Some("string"),
        Value::Bool(_) => Some("bool"),
        Value::Number(_) => Some("number"),
    };
    if let Some(what) = what {
        return Err(refuse(format!(
            "error unmarshaling JSON: while decoding JSON: json: cannot unmarshal {what} into Go value of type map[string]interface {{}}"
        )));
    }
    Ok(Config {
        object,
        duplicates: converted.duplicates,
    })
}

/// The configuration must be of the endpoint's kind and say nothing of managed fields.
pub fn check_kind(config: &Value, wanted: &GroupVersion, kind: &str) -> Result<(), Status> {
    let text = |name: &str| config.get(name).and_then(Value::as_str).unwrap_or("");
    let found =
        GroupVersion::parse(text("apiVersion")).unwrap_or_else(|| GroupVersion::new("", ""));
    if found != *wanted || text("kind") != kind {
        return Err(Status::bad_request(format!(
            "invalid object type: {}/{}, Kind={}",
            found.group,
            found.version,
            text("kind")
        )));
    }
    if !config["metadata"]["managedFields"].is_null() {
        return Err(Status::bad_request("metadata.managedFields must be nil"));
    }
    Ok(())
}

impl Config {
    /// What repeated keys come to: refused when strict, warnings otherwise.
    pub fn warnings(&self, validation: FieldValidation) -> Result<Vec<String>, Status> {
        let Some(duplicates) = &self.duplicates else {
            return Ok(Vec::new());
        };
        match validation {
            FieldValidation::Ignore => Ok(Vec::new()),
            FieldValidation::Strict => Err(Status::bad_request(format!(
                "error strict decoding YAML: error converting YAML to JSON: {duplicates}"
            ))),
            FieldValidation::Warn => {
                let lines = duplicates.lines().skip(1);
                Ok(lines.map(|line| line.trim().to_string()).collect())
            }
        }
    }
}

fn applied(
    registry: &Registry,
    target: &Target,
    manager: &str,
    old: Option<&Value>,
    config: &Config,
    options: &WriteOptions,
) -> Result<Transform, Status> {
    let force = options.force.unwrap_or(false);
    let mut object = registry.apply_config(target, manager, old, &config.object, force)?;
    let warnings = config.warnings(options.field_validation)?;
    let uid = meta::text(&object, "uid");
    if old.is_none() && !uid.is_empty() {
        let why = format!(
            "uid mismatch: the provided object specified uid {uid}, and no existing object was found"
        );
        let resource = target.resource.group_resource();
        return Err(Status::conflict(&resource, &target.name, &why));
    }
    if let Some(schema) = schema_of(target) {
        if !fits(&object, schema) {
            let bytes = serde_json::to_vec(&object).unwrap_or_default();
            let decoded = schema::decode(&bytes, Format::Json, Some(schema));
            object = decoded
                .map_err(|error| Status::failure(500, "", error.to_string()))?
                .value;
        }
        schema::normalise(&mut object, schema);
    }
    check_identity(&mut object, target)?;
    target.strategy().default(&mut object);
    Ok(Transform { object, warnings })
}
