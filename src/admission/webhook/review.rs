//! AdmissionReview: what is sent, and what the answer says.

use base64::Engine as _;

use crate::admission::webhook::config::{Hook, Kind};
use crate::api::field::go_quote;
use crate::api::schema::go_json;
use crate::api::status::Status;
use crate::base::tree::{Value, json};

const GROUP: &str = "admission.k8s.io";
/// Versions of the review that the server speaks.
const KNOWN: [&str; 2] = ["v1", "v1beta1"];

/// The version of the review that a webhook gets: the first known one it lists.
pub(super) fn version(hook: &Hook) -> Option<&str> {
    let known = |version: &&String| KNOWN.contains(&version.as_str());
    hook.versions.iter().find(known).map(String::as_str)
}

/// The body of the POST.
pub(super) fn body(mut request: Value, object: &Value, old: &Value, version: &str) -> Vec<u8> {
    request["object"] = object.clone();
    request["oldObject"] = old.clone();
    let review = json!({
        "kind": "AdmissionReview",
        "apiVersion": format!("{GROUP}/{version}"),
        "request": request,
    });
    serde_json::to_vec(&review).unwrap_or_default()
}

/// What a webhook answered.
#[derive(Debug, Default)]
pub(super) struct Answer {
    pub(super) allowed: bool,
    /// JSON Patch, as bytes; empty when there is none.
    pub(super) patch: Vec<u8>,
    pub(super) patch_type: String,
    /// `status`, for a denial.
    pub(super) status: Option<Value>,
    pub(super) annotations: Vec<(String, String)>,
    pub(super) warnings: Vec<String>,
}

/// What is wrong with an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Bad {
    /// It is no review; the text is the decoder's.
    Undecodable(String),
    /// It is a review that must not be.
    Invalid(String),
}

impl Answer {
    /// Reads and checks an answer to the review `uid` in `version`.
    pub(super) fn parse(bytes: &[u8], uid: &str, version: &str, kind: Kind) -> Result<Self, Bad> {
        let review = decode(bytes)?;
        let invalid = |text: &str| Err(Bad::Invalid(text.to_string()));
        let response = &review["response"];
        if !response.is_object() {
            return invalid("webhook response was absent");
        }
        let text = |value: &Value| value.as_str().unwrap_or_default().to_string();
        let patch = match &response["patch"] {
            Value::String(encoded) => base64::engine::general_purpose::STANDARD
                .decode(encoded)
                .map_err(|_| Bad::Undecodable("illegal base64 data in response.patch".into()))?,
            _ => Vec::new(),
        };
        let patch_type = match &response["patchType"] {
            Value::String(kind) => Some(kind.clone()),
            _ => None,
        };
        let mut answer = Answer {
            allowed: response["allowed"] == true,
            patch_type: patch_type.clone().unwrap_or_default(),
            status: response.get("status").filter(|s| s.is_object()).cloned(),
            annotations: pairs(&response["auditAnnotations"]),
            warnings: response["warnings"]
                .as_array()
                .into_iter()
                .flatten()
                .map(text)
                .collect(),
            patch,
        };
        if version == "v1beta1" {
            // Neither uid nor kind nor patchType were ever checked in v1beta1.
            answer.patch_type = "JSONPatch".into();
            if kind == Kind::Validating {
                answer.patch.clear();
            }
            return Ok(answer);
        }
        let got = text(&response["uid"]);
        if got != uid {
            return Err(Bad::Invalid(format!(
                "expected response.uid={}, got {}",
                go_quote(uid),
                go_quote(&got)
            )));
        }
        let (api_version, found) = (text(&review["apiVersion"]), text(&review["kind"]));
        if api_version != format!("{GROUP}/{version}") || found != "AdmissionReview" {
            let (group, version_found) = api_version.split_once('/').unwrap_or(("", &api_version));
            return Err(Bad::Invalid(format!(
                "expected webhook response of {GROUP}/{version}, Kind=AdmissionReview, got {group}/{version_found}, Kind={found}"
            )));
        }
        match (kind, answer.patch.is_empty(), patch_type) {
            (Kind::Mutating, false, None) => {
                invalid("webhook returned response.patch but not response.patchType")
            }
            (Kind::Mutating, true, Some(_)) => {
                invalid("webhook returned response.patchType but not response.patch")
            }
            (Kind::Mutating, false, Some(kind)) if kind.is_empty() => {
                invalid("webhook returned invalid response.patchType of \"\"")
            }
            (Kind::Validating, false, _) => {
                invalid("validating webhook may not return response.patch")
            }
            (Kind::Validating, true, Some(_)) => {
                invalid("validating webhook may not return response.patchType")
            }
            _ => Ok(answer),
        }
    }
}

fn decode(bytes: &[u8]) -> Result<Value, Bad> {
    go_json::validate(bytes).map_err(|error| {
        Bad::Undecodable(format!(
            "couldn't get version/kind; json parse error: {}",
            error.0
        ))
    })?;
    serde_json::from_slice(bytes).map_err(|error| Bad::Undecodable(error.to_string()))
}

fn pairs(map: &Value) -> Vec<(String, String)> {
    let members = map.as_object().into_iter().flatten();
    members
        .filter_map(|(key, value)| Some((key.to_string(), value.as_str()?.to_string())))
        .collect()
}

/// The refusal that a webhook's `status` becomes.
pub(super) fn denial(webhook: &str, status: Option<&Value>) -> Status {
    let mut status = status.map_or_else(|| Status::failure(0, "", ""), Status::from_json);
    status.code = status.code.max(400);
    let denied = format!("admission webhook {} denied the request", go_quote(webhook));
    status.message = if !status.message.is_empty() {
        format!("{denied}: {}", status.message)
    } else if !status.reason.is_empty() {
        format!("{denied}: {}", status.reason)
    } else {
        format!("{denied} without explanation")
    };
    status
}
