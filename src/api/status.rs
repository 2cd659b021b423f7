//! `Status`: the one error that leaves this server, and the constructors that word it.
//!
//! Called by everything that answers a client. Every constructor is named after the
//! Kubernetes reason it produces and words its message as apimachinery's `api/errors` does
//! (contract/handler_chain.md §8). Internal causes are never put here; log them where handled.

use std::borrow::Cow;

use serde::ser::SerializeMap as _;
use serde::{Serialize, Serializer};

use crate::api::field::FieldErrors;
use crate::api::names::{GroupKind, GroupResource};
use crate::base::tree::{Value, json, to_value};

/// One cause inside [`Details`]: `{reason, message, field}` on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cause {
    /// Machine-readable cause type, for example `FieldValueInvalid`. Serialized as `reason`.
    pub reason: String,
    /// Human-readable text.
    pub message: String,
    /// Field path, for example `spec.replicas`; empty when not about a field.
    pub field: String,
}

/// `details` of a [`Status`]. Empty members are left out on the wire.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Details {
    /// Object name, or for some reasons the operation.
    pub name: String,
    /// API group of `kind`.
    pub group: String,
    /// Usually the *resource* plural; the *Kind* for `Invalid`.
    pub kind: String,
    /// UID of the object, on successful deletes.
    pub uid: String,
    /// Causes in order.
    pub causes: Vec<Cause>,
    /// Seconds to wait; also sent as the `Retry-After` header when above zero.
    pub retry_after_seconds: u32,
}

/// A Kubernetes `Status` object (`meta/v1`), used both as the error type of every handler and
/// as the body of successful deletes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Status {
    /// HTTP status code. 200 for successes, and then absent from the body unless `explicit_code`.
    pub code: u16,
    /// Machine-readable reason, `NotFound` and so on; empty is allowed.
    pub reason: Cow<'static, str>,
    /// Human-readable message.
    pub message: String,
    /// `None` leaves `details` out altogether; `Some(default)` prints `{}`.
    pub details: Option<Box<Details>>,
    /// `metadata.continue` (only on 410 answers to expired continue tokens).
    pub continue_token: Option<String>,
    /// Success bodies print `code` only where upstream does (binding, eviction: 201).
    pub explicit_code: bool,
    /// For the record, never sent: what is behind the answer, as `class` or `class: details` with a
    /// class of a closed vocabulary (`store/unreachable`). See [`Status::because`].
    pub because: Option<Box<str>>,
}

impl Status {
    /// A failure with the given code, reason and message and no details.
    pub fn failure(
        code: u16,
        reason: impl Into<Cow<'static, str>>,
        message: impl Into<String>,
    ) -> Self {
        Status {
            code,
            reason: reason.into(),
            message: message.into(),
            details: None,
            continue_token: None,
            explicit_code: false,
            because: None,
        }
    }

    /// A success body: `{"status":"Success"}` with optional details, HTTP `code`.
    pub fn success(code: u16, details: Option<Details>) -> Self {
        Status {
            code,
            reason: Cow::Borrowed(""),
            message: String::new(),
            details: details.map(Box::new),
            continue_token: None,
            explicit_code: false,
            because: None,
        }
    }

    fn with_details(mut self, details: Details) -> Self {
        self.details = Some(Box::new(details));
        self
    }

    /// Adds `details.retryAfterSeconds`.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.details.get_or_insert_default().retry_after_seconds = seconds;
        self
    }

    /// Notes for the record what is behind the answer. The client is not told.
    #[must_use]
    pub fn because(mut self, cause: impl Into<Box<str>>) -> Self {
        self.because = Some(cause.into());
        self
    }

    /// Adds one cause.
    #[must_use]
    pub fn cause(mut self, reason: &str, message: impl Into<String>, field: &str) -> Self {
        self.details.get_or_insert_default().causes.push(Cause {
            reason: reason.into(),
            message: message.into(),
            field: field.into(),
        });
        self
    }

    /// True for codes below 400.
    pub fn is_success(&self) -> bool {
        self.code < 400
    }

    /// 404 `NotFound`: `pods "x" not found`.
    pub fn not_found(resource: &GroupResource, name: &str) -> Self {
        Self::failure(404, "NotFound", format!("{resource} \"{name}\" not found")).with_details(
            Details {
                name: name.into(),
                group: resource.group.to_string(),
                kind: resource.resource.to_string(),
                ..Details::default()
            },
        )
    }

    /// 404 for an unknown path inside a served group/version.
    pub fn no_such_resource() -> Self {
        Self::failure(
            404,
            "NotFound",
            "the server could not find the requested resource",
        )
        .with_details(Details::default())
    }

    /// 409 `AlreadyExists`.
    pub fn already_exists(resource: &GroupResource, name: &str) -> Self {
        Self::failure(
            409,
            "AlreadyExists",
            format!("{resource} \"{name}\" already exists"),
        )
        .with_details(Details {
            name: name.into(),
            group: resource.group.to_string(),
            kind: resource.resource.to_string(),
            ..Details::default()
        })
    }

    /// 409 `Conflict`: `Operation cannot be fulfilled on pods "x": <why>`. `resource` may carry a
    /// subresource (`pods/binding`).
    pub fn conflict(resource: &GroupResource, name: &str, why: &str) -> Self {
        Self::failure(
            409,
            "Conflict",
            format!("Operation cannot be fulfilled on {resource} \"{name}\": {why}"),
        )
        .with_details(Details {
            name: name.into(),
            group: resource.group.to_string(),
            kind: resource.resource.to_string(),
            ..Details::default()
        })
    }

    /// The 409 of an update whose resourceVersion is not the stored one.
    pub fn modified(resource: &GroupResource, name: &str) -> Self {
        Self::conflict(
            resource,
            name,
            "the object has been modified; please apply your changes to the latest version and try again",
        )
    }

    /// 403 `Forbidden`: `pods "x" is forbidden: <why>`; the name part is left out when empty.
    pub fn forbidden(resource: &GroupResource, name: &str, why: &str) -> Self {
        let message = match (resource.resource.is_empty(), name.is_empty()) {
            (true, _) => format!("forbidden: {why}"),
            (false, true) => format!("{resource} is forbidden: {why}"),
            (false, false) => format!("{resource} \"{name}\" is forbidden: {why}"),
        };
        Self::failure(403, "Forbidden", message).with_details(Details {
            name: name.into(),
            group: resource.group.to_string(),
            kind: resource.resource.to_string(),
            ..Details::default()
        })
    }

    /// 401 `Unauthorized`.
    pub fn unauthorized() -> Self {
        Self::failure(401, "Unauthorized", "Unauthorized")
    }

    /// 400 `BadRequest` with free text.
    pub fn bad_request(message: impl Into<String>) -> Self {
        Self::failure(400, "BadRequest", message)
    }

    /// 422 `Invalid` from field errors; `kind` is the *Kind*.
    pub fn invalid(kind: &GroupKind, name: &str, errors: &FieldErrors) -> Self {
        let joined = errors.to_aggregate();
        Self::failure(
            422,
            "Invalid",
            format!("{kind} \"{name}\" is invalid: {joined}"),
        )
        .with_details(Details {
            name: name.into(),
            group: kind.group.to_string(),
            kind: kind.kind.to_string(),
            causes: errors.causes(),
            ..Details::default()
        })
    }

    /// 405 `MethodNotAllowed` from a handler: `<action> is not supported on resources of kind "x"`.
    pub fn method_not_supported(resource: &GroupResource, action: &str) -> Self {
        Self::failure(
            405,
            "MethodNotAllowed",
            format!("{action} is not supported on resources of kind \"{resource}\""),
        )
        .with_details(Details {
            group: resource.group.to_string(),
            kind: resource.resource.to_string(),
            ..Details::default()
        })
    }

    /// 405 for an unrouted method.
    pub fn method_not_allowed() -> Self {
        Self::failure(
            405,
            "MethodNotAllowed",
            "the server does not allow this method on the requested resource",
        )
        .with_details(Details::default())
    }

    /// 406 from a handler.
    pub fn not_acceptable(message: impl Into<String>) -> Self {
        Self::failure(406, "NotAcceptable", message)
    }

    /// 415 from a handler.
    pub fn unsupported_media_type(message: impl Into<String>) -> Self {
        Self::failure(415, "UnsupportedMediaType", message)
    }

    /// 413 `RequestEntityTooLarge`.
    pub fn too_large(message: impl Into<String>) -> Self {
        Self::failure(
            413,
            "RequestEntityTooLarge",
            format!("Request entity too large: {}", message.into()),
        )
    }

    /// 410 `Expired`.
    pub fn expired(message: impl Into<String>) -> Self {
        Self::failure(410, "Expired", message)
    }

    /// 504 for a resourceVersion the server has not reached.
    pub fn too_large_resource_version(wanted: u64, current: u64) -> Self {
        Self::failure(
            504,
            "Timeout",
            format!("Timeout: Too large resource version: {wanted}, current: {current}"),
        )
        .cause("ResourceVersionTooLarge", "Too large resource version", "")
        .retry_after(1)
    }

    /// 504 `Timeout`: message is prefixed `Timeout: `.
    pub fn timeout(message: &str) -> Self {
        Self::failure(504, "Timeout", format!("Timeout: {message}"))
            .with_details(Details::default())
    }

    /// 429 `TooManyRequests` as a Status (not flow control's plain text).
    pub fn too_many_requests(message: impl Into<String>, retry_after_seconds: u32) -> Self {
        Self::failure(429, "TooManyRequests", message).retry_after(retry_after_seconds)
    }

    /// 500 `InternalError`: `Internal error occurred: <text>`, with the text as the only cause.
    pub fn internal(text: &str) -> Self {
        let mut status = Self::failure(
            500,
            "InternalError",
            format!("Internal error occurred: {text}"),
        );
        status.details = Some(Box::new(Details {
            causes: vec![Cause {
                message: text.into(),
                ..Cause::default()
            }],
            ..Details::default()
        }));
        status
    }

    /// 503 `ServiceUnavailable`.
    pub fn service_unavailable(message: impl Into<String>) -> Self {
        Self::failure(503, "ServiceUnavailable", message)
    }

    /// A `Status` that another server answered (an admission webhook). What it leaves out is empty.
    pub fn from_json(value: &Value) -> Self {
        let text = |value: &Value, key: &str| value[key].as_str().unwrap_or("").to_string();
        let code = value["code"].as_u64().and_then(|c| u16::try_from(c).ok());
        let mut status = Self::failure(
            code.unwrap_or(0),
            text(value, "reason"),
            text(value, "message"),
        );
        let details = &value["details"];
        if details.is_object() {
            let causes = details["causes"].as_array().into_iter().flatten();
            let seconds = details["retryAfterSeconds"].as_u64().unwrap_or(0);
            status.details = Some(Box::new(Details {
                name: text(details, "name"),
                group: text(details, "group"),
                kind: text(details, "kind"),
                uid: text(details, "uid"),
                causes: causes
                    .map(|cause| Cause {
                        reason: text(cause, "reason"),
                        message: text(cause, "message"),
                        field: text(cause, "field"),
                    })
                    .collect(),
                retry_after_seconds: u32::try_from(seconds).unwrap_or(u32::MAX),
            }));
        }
        status
    }

    /// The `Status` object as a tree, with `kind` and `apiVersion`.
    pub fn to_json(&self) -> Value {
        to_value(self).unwrap_or_default()
    }
}

/// Serializes in upstream's member order, which clients see when they print the text.
impl Serialize for Status {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        out.serialize_entry("kind", "Status")?;
        out.serialize_entry("apiVersion", "v1")?;
        match &self.continue_token {
            Some(token) => out.serialize_entry("metadata", &json!({ "continue": token }))?,
            None => out.serialize_entry("metadata", &json!({}))?,
        }
        let outcome = if self.is_success() {
            "Success"
        } else {
            "Failure"
        };
        out.serialize_entry("status", outcome)?;
        if !self.message.is_empty() {
            out.serialize_entry("message", &self.message)?;
        }
        if !self.reason.is_empty() {
            out.serialize_entry("reason", &self.reason)?;
        }
        if let Some(details) = &self.details {
            out.serialize_entry("details", details)?;
        }
        if !self.is_success() || self.explicit_code {
            out.serialize_entry("code", &self.code)?;
        }
        out.end()
    }
}

impl Serialize for Details {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        let texts = [
            ("name", &self.name),
            ("group", &self.group),
            ("kind", &self.kind),
            ("uid", &self.uid),
        ];
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            out.serialize_entry(key, text)?;
        }
        if !self.causes.is_empty() {
            out.serialize_entry("causes", &self.causes)?;
        }
        if self.retry_after_seconds > 0 {
            out.serialize_entry("retryAfterSeconds", &self.retry_after_seconds)?;
        }
        out.end()
    }
}

impl Serialize for Cause {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let mut out = serializer.serialize_map(None)?;
        let texts = [
            ("reason", &self.reason),
            ("message", &self.message),
            ("field", &self.field),
        ];
        for (key, text) in texts.into_iter().filter(|(_, text)| !text.is_empty()) {
            out.serialize_entry(key, text)?;
        }
        out.end()
    }
}
