//! Reading and decoding request bodies.
//!
//! Limits, media types and error texts of contract/handler_chain.md §2 and §8 (golden 10-crud,
//! 19-negotiation).

use bytes::Bytes;
use http_body_util::BodyExt as _;

use crate::api::names::{GroupVersion, GroupVersionKind};
use crate::api::options::FieldValidation;
use crate::api::resource::Resource;
use crate::api::schema::{self, DecodeError, Definitions, Format, Schema};
use crate::api::status::Status;
use crate::base::tree::Value;
use crate::registry::{ResourceTable, Target, meta};
use crate::request::negotiate::Encoding;
use crate::request::{ApiRequest, AuditLevel, RequestContext};

/// Largest request body, in bytes.
pub const BODY_BYTES_MAX: usize = 3 * 1024 * 1024;
/// Read beyond that before the connection is left to itself.
const DRAIN_BYTES_MAX: usize = 256 * 1024;

/// What a body is decoded as.
pub struct Expected<'a> {
    /// Group, version and kind when the body names none; the kind the endpoint takes.
    pub group: &'a str,
    /// Version.
    pub version: &'a str,
    /// Kind.
    pub kind: &'a str,
    /// Versions with the same fields that are taken as well.
    pub older_versions: &'static [&'static str],
    /// Custom resources have no protobuf form and their own texts.
    pub custom: bool,
    /// The schema of a kind that is not built in.
    pub definitions: Option<&'static Definitions>,
}

impl<'a> Expected<'a> {
    /// What the main resource of a row takes.
    pub fn of(resource: &'a Resource) -> Self {
        Expected {
            group: &resource.group,
            version: &resource.version,
            kind: &resource.kind,
            older_versions: &[],
            custom: resource.custom,
            definitions: resource.definitions.map(|d| &**d),
        }
    }

    fn api_version(&self) -> String {
        GroupVersion::new(self.group.to_string(), self.version.to_string()).to_string()
    }

    fn schema(&self) -> Option<&'static Schema> {
        let gvk = GroupVersionKind::new(
            self.group.to_string(),
            self.version.to_string(),
            self.kind.to_string(),
        );
        match self.definitions {
            Some(definitions) => definitions.kind(&gvk),
            None if self.custom => None,
            None => schema::builtin(&gvk),
        }
    }
}

/// Reads the whole body, up to the limit. A larger body is read a little further, so that most
/// clients are done sending when the refusal comes.
pub async fn read(request: &mut ApiRequest) -> Result<Bytes, Status> {
    let began = request.ctx.stages.begin("read-body");
    let mut body = std::mem::take(&mut request.body);
    let mut parts: Vec<Bytes> = Vec::new();
    let mut size = 0;
    while let Some(frame) = body.frame().await {
        let frame = match frame {
            Ok(frame) => frame,
            Err(error) => {
                let stages = &mut request.ctx.stages;
                stages.end("read-body", began, "error", error.to_string());
                return Err(Status::bad_request("the request body could not be read"));
            }
        };
        let Ok(data) = frame.into_data() else {
            continue;
        };
        size += data.len();
        if size <= BODY_BYTES_MAX {
            parts.push(data);
        } else if size > BODY_BYTES_MAX + DRAIN_BYTES_MAX {
            break;
        } else {
            parts.clear();
        }
    }
    if size > BODY_BYTES_MAX {
        // A client may have announced more than was read.
        let announced = request.ctx.header("content-length");
        let announced = announced.and_then(|l| l.parse().ok()).unwrap_or(size);
        let bytes = announced.max(size);
        let because = format!("too-large: {bytes} bytes, at most {BODY_BYTES_MAX} are read");
        let stages = &mut request.ctx.stages;
        stages.end("read-body", began, "error", because.clone());
        return Err(Status::too_large(format!("limit is {BODY_BYTES_MAX}")).because(because));
    }
    let read = format!("{size} bytes");
    request.ctx.stages.end("read-body", began, "ok", read);
    Ok(match parts.len() {
        1 => parts.remove(0),
        _ => Bytes::from(parts.concat()),
    })
}

/// The media type of the body, from `Content-Type`; missing means JSON.
pub fn content_encoding(ctx: &RequestContext, custom: bool) -> Result<Encoding, Status> {
    let header = ctx.header("content-type").unwrap_or("");
    let mut parts = header.split(';').map(str::trim);
    let media_type = parts.next().unwrap_or("").to_ascii_lowercase();
    let well_formed = parts.all(|p| p.is_empty() || p.contains('='));
    let encoding = match media_type.as_str() {
        "" | "application/json" => Some(Encoding::Json),
        "application/yaml" => Some(Encoding::Yaml),
        "application/vnd.kubernetes.protobuf" if !custom => Some(Encoding::Protobuf),
        _ => None,
    };
    encoding.filter(|_| well_formed).ok_or_else(|| {
        let protobuf = if custom { "" } else { ", application/vnd.kubernetes.protobuf" };
        Status::unsupported_media_type(format!(
            "the body of the request was in an unknown format - accepted media types include: application/json, application/yaml{protobuf}"
        ))
        .because(format!("media-type: {header:?} was sent"))
    })
}

/// Decodes an object of the target's row: strictness as asked, normalised, defaulted.
pub fn object(
    ctx: &mut RequestContext,
    table: &ResourceTable,
    target: &Target,
    bytes: &Bytes,
    validation: FieldValidation,
) -> Result<Value, Status> {
    let expected = Expected::of(&target.resource);
    let began = ctx.stages.begin("decode");
    let outcome = foreign(ctx, table, &expected, bytes, validation);
    let mut value = match outcome {
        Ok(value) => value,
        Err(status) => {
            ctx.stages
                .end("decode", began, "error", status.message.clone());
            return Err(status);
        }
    };
    target.default(&mut value);
    // Upstream's decoder fills in defaults, too, before the event is made.
    note_request(ctx, &value);
    ctx.stages.end("decode", began, "ok", "");
    Ok(value)
}

/// Decodes an object that the endpoint takes (Scale, Eviction, DeleteOptions, …), without defaults.
pub fn foreign(
    ctx: &mut RequestContext,
    table: &ResourceTable,
    expected: &Expected<'_>,
    bytes: &Bytes,
    validation: FieldValidation,
) -> Result<Value, Status> {
    let encoding = content_encoding(ctx, expected.custom)?;
    let (mut value, problems) = decode(table, expected, bytes, encoding)?;
    apply_validation(ctx, expected, problems, validation)?;
    if let Some(map) = value.as_object_mut() {
        map.insert("kind".into(), Value::String(expected.kind.to_string()));
        map.insert("apiVersion".into(), Value::String(expected.api_version()));
    }
    Ok(value)
}

/// Decodes DeleteOptions, in the group version of the resource or of meta.k8s.io.
pub fn delete_options(bytes: &Bytes, encoding: Encoding) -> Result<Value, Status> {
    let format = match encoding {
        Encoding::Json => Format::Json,
        Encoding::Yaml => Format::Yaml,
        Encoding::Protobuf => {
            let decoded = crate::api::protobuf::decode(bytes, "meta.k8s.io", "v1", "DeleteOptions");
            return decoded.map_err(|error| Status::bad_request(error.to_string()));
        }
    };
    let found = schema::type_meta(bytes, format).map_err(Status::bad_request)?;
    if !matches!(found.kind.as_str(), "" | "DeleteOptions") {
        let (kind, version) = (found.kind, found.api_version);
        return Err(Status::bad_request(format!(
            "no kind \"{kind}\" is registered for version \"{version}\" in scheme \"k8s.io/apimachinery/pkg/apis/meta/internalversion/scheme/register.go:27\""
        )));
    }
    let schema = schema::definition("io.k8s.apimachinery.pkg.apis.meta.v1.DeleteOptions");
    let decoded =
        schema::decode(bytes, format, schema).map_err(|e| Status::bad_request(e.to_string()))?;
    Ok(decoded.value)
}

/// What unknown and duplicate fields come to.
fn apply_validation(
    ctx: &mut RequestContext,
    expected: &Expected<'_>,
    problems: Vec<String>,
    validation: FieldValidation,
) -> Result<(), Status> {
    match validation {
        FieldValidation::Ignore => {}
        FieldValidation::Warn => {
            for problem in &problems {
                // YAML's list of repeated keys becomes a warning for each line.
                let lines = problem.strip_prefix("yaml: unmarshal errors:\n");
                let lines = lines.unwrap_or(problem).split('\n');
                lines.for_each(|line| ctx.warn(line.trim()));
            }
        }
        FieldValidation::Strict if !problems.is_empty() => {
            let list = problems.join(", ");
            return Err(cannot_be_handled(
                expected,
                expected.kind,
                expected.version,
                &format!("strict decoding error: {list}"),
            ));
        }
        FieldValidation::Strict => {}
    }
    Ok(())
}

fn decode(
    table: &ResourceTable,
    expected: &Expected<'_>,
    bytes: &Bytes,
    encoding: Encoding,
) -> Result<(Value, Vec<String>), Status> {
    let format = match encoding {
        Encoding::Json | Encoding::Protobuf => Format::Json,
        Encoding::Yaml => Format::Yaml,
    };
    let schema = expected.schema();
    if encoding != Encoding::Protobuf
        && let Some(value) = as_expected(expected, bytes, format, schema)
    {
        return Ok((value, Vec::new()));
    }
    let unrecognized = |error: &str| unrecognized(expected, bytes, error);
    let found = match encoding {
        Encoding::Protobuf => {
            crate::api::protobuf::type_meta(bytes).map_err(|e| unrecognized(&e.to_string()))?
        }
        _ => schema::type_meta(bytes, format).map_err(|e| unrecognized(&e))?,
    };
    let api_version = if found.api_version.is_empty() {
        expected.api_version()
    } else {
        found.api_version
    };
    let kind = if found.kind.is_empty() {
        expected.kind.to_string()
    } else {
        found.kind
    };
    let group_version = GroupVersion::parse(&api_version)
        .ok_or_else(|| unrecognized(&format!("unexpected GroupVersion string: {api_version}")))?;
    let takes_version = group_version.version == expected.version
        || expected.older_versions.contains(&&*group_version.version);
    if kind != expected.kind || group_version.group != expected.group || !takes_version {
        return Err(wrong_type(table, expected, &group_version, &kind));
    }
    if encoding == Encoding::Protobuf {
        return decode_protobuf(expected, bytes);
    }
    let decoded = schema::decode(bytes, format, schema).map_err(|error| match error {
        DecodeError::Syntax(text) => unrecognized(&text),
        DecodeError::Type(text) => {
            cannot_be_handled(expected, expected.kind, expected.version, &text)
        }
    })?;
    let mut value = decoded.value;
    if let Some(schema) = schema {
        schema::normalise(&mut value, schema);
    }
    Ok((value, decoded.unknown_fields))
}

/// The usual case, in one pass: exactly the kind and version that are expected, and nothing to
/// complain about. `None` where there is more to say.
fn as_expected(
    expected: &Expected<'_>,
    bytes: &Bytes,
    format: Format,
    schema: Option<&Schema>,
) -> Option<Value> {
    let decoded = schema::decode(bytes, format, schema).ok()?;
    let mut value = decoded.value;
    let text = |member: &str| value.get(member).and_then(Value::as_str);
    if !decoded.unknown_fields.is_empty()
        || text("kind") != Some(expected.kind)
        || text("apiVersion") != Some(&expected.api_version())
    {
        return None;
    }
    if let Some(schema) = schema {
        schema::normalise(&mut value, schema);
    }
    Some(value)
}

fn decode_protobuf(expected: &Expected<'_>, bytes: &Bytes) -> Result<(Value, Vec<String>), Status> {
    match crate::api::protobuf::decode(bytes, expected.group, expected.version, expected.kind) {
        Ok(value) => Ok((value, Vec::new())),
        Err(crate::api::protobuf::Error::Unrecognized(text)) => {
            Err(unrecognized(expected, bytes, &text))
        }
        Err(crate::api::protobuf::Error::Type(text)) => Err(cannot_be_handled(
            expected,
            expected.kind,
            expected.version,
            &text,
        )),
    }
}

/// 400: what came is not an object at all.
fn unrecognized(expected: &Expected<'_>, bytes: &[u8], error: &str) -> Status {
    Status::bad_request(format!(
        "the object provided is unrecognized (must be of type {}): {error} ({})",
        expected.kind,
        schema::summarize(bytes)
    ))
}

/// 400: an object, but not one that this endpoint can take.
fn cannot_be_handled(expected: &Expected<'_>, kind: &str, version: &str, error: &str) -> Status {
    Status::bad_request(format!(
        "{kind} in version \"{version}\" cannot be handled as a {}: {error}",
        expected.kind
    ))
}

fn wrong_type(
    table: &ResourceTable,
    expected: &Expected<'_>,
    found: &GroupVersion,
    kind: &str,
) -> Status {
    let known = table
        .by_gvk(&found.group, &found.version, kind)
        .is_some_and(|row| !row.custom);
    let same_kind = known && found.group == expected.group && kind == expected.kind;
    if expected.custom || same_kind {
        let wanted = expected.api_version();
        return Status::bad_request(format!(
            "the API version in the data ({found}) does not match the expected API version ({wanted})"
        ));
    }
    let error = if known {
        let package = expected
            .group
            .split('.')
            .next()
            .filter(|g| !g.is_empty())
            .unwrap_or("core");
        format!(
            "converting ({}.{kind}) to ({package}.{}): unknown conversion",
            found.version, expected.kind
        )
    } else {
        format!(
            "no kind \"{kind}\" is registered for version \"{found}\" in scheme \"pkg/api/legacyscheme/scheme.go:30\""
        )
    };
    cannot_be_handled(expected, kind, &found.version, &error)
}

/// Notes the decoded object for the audit event.
pub fn note_request(ctx: &mut RequestContext, value: &Value) {
    if ctx.audit.level == AuditLevel::None {
        return;
    }
    let text = |member: &str| {
        let text = meta::text(value, member);
        (!text.is_empty()).then(|| text.to_string())
    };
    ctx.audit.object_name = text("name");
    ctx.audit.object_namespace = text("namespace");
    ctx.audit.object_uid = text("uid");
    ctx.audit.object_resource_version = text("resourceVersion");
    if ctx.audit.level >= AuditLevel::Request {
        ctx.audit.request_object = Some(crate::api::bytes::text(value));
    }
}
