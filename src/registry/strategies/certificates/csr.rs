//! CertificateSigningRequest and its approval and status subresources (contract/verbs.md §13d).

use super::super::common::access::{
    arr_at, at, ensure_object, get, i64_at, remove, set_or_remove, str_at,
};
use super::super::common::names::{self, NameRule};
use super::{conditions, request};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

/// The signer that only the removed beta API accepted.
const LEGACY_SIGNER: &str = "kubernetes.io/legacy-unknown";
const EXPIRATION_MIN: i64 = 600;

const USAGES: [&str; 23] = [
    "any",
    "cert sign",
    "client auth",
    "code signing",
    "content commitment",
    "crl sign",
    "data encipherment",
    "decipher only",
    "digital signature",
    "email protection",
    "encipher only",
    "ipsec end system",
    "ipsec tunnel",
    "ipsec user",
    "key agreement",
    "key encipherment",
    "microsoft sgc",
    "netscape sgc",
    "ocsp signing",
    "s/mime",
    "server auth",
    "signing",
    "timestamping",
];

/// Rules of CertificateSigningRequest.
pub struct CsrStrategy;

impl Strategy for CsrStrategy {
    fn name_rule(&self) -> NameRule {
        NameRule::PathSegment
    }

    /// The requester is who asks, whatever the body says.
    fn prepare_for_create(&self, object: &mut Value, ctx: &WriteContext<'_>) {
        let spec = ensure_object(object, "spec");
        for member in ["username", "uid", "groups", "extra"] {
            remove(spec, member);
        }
        if let Some(user) = ctx.user {
            let text = |text: &str| (!text.is_empty()).then(|| json!(text));
            set_or_remove(spec, "username", text(&user.username));
            set_or_remove(spec, "uid", text(&user.uid));
            let groups = (!user.groups.is_empty()).then(|| json!(user.groups));
            set_or_remove(spec, "groups", groups);
            let extra = (!user.extra.is_empty()).then(|| json!(user.extra));
            set_or_remove(spec, "extra", extra);
        }
        object["status"] = json!({});
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        set_or_remove(object, "spec", at(old, "spec").cloned());
        let stored = conditions::of(old);
        match ctx.subresource {
            "status" => {
                let mut written = conditions::of(object).to_vec();
                conditions::preserve_decisions(&mut written, stored);
                conditions::fill_times(&mut written, stored);
                set_conditions(object, written);
            }
            "approval" => {
                let mut written = conditions::of(object).to_vec();
                conditions::fill_times(&mut written, stored);
                set_or_remove(object, "status", at(old, "status").cloned());
                set_conditions(object, written);
            }
            _ => set_or_remove(object, "status", at(old, "status").cloned()),
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        // The spec of a stored request cannot change any more.
        if old.is_none() {
            validate_spec(get(object, "spec"), errors);
        }
        if old.is_none_or(|old| conditions::of(old) != conditions::of(object)) {
            conditions::validate(conditions::of(object), errors);
        }
        validate_certificate(object, old, errors);
        if let Some(old) = old {
            conditions::validate_update(
                conditions::of(object),
                conditions::of(old),
                ctx.subresource == "approval",
                errors,
            );
            validate_certificate_update(object, old, ctx.subresource == "status", errors);
        }
    }
}

fn set_conditions(object: &mut Value, conditions: Vec<Value>) {
    let status = ensure_object(object, "status");
    let conditions = (!conditions.is_empty()).then_some(Value::Array(conditions));
    set_or_remove(status, "conditions", conditions);
}

fn validate_spec(spec: &Value, errors: &mut FieldErrors) {
    let path = Path::ROOT.field("spec");
    if let Err(message) = request::check_request(str_at(spec, "request")) {
        let value = get(spec, "request");
        errors.invalid(&path.field("request"), value, message);
    }
    let usages = arr_at(spec, "usages");
    let usages_path = path.field("usages");
    if usages.is_empty() {
        errors.required(&usages_path, "");
    }
    for (i, usage) in usages.iter().enumerate() {
        if !USAGES.contains(&usage.as_str().unwrap_or_default()) {
            errors.not_supported(&usages_path.index(i), usage, &USAGES);
        }
    }
    for (i, usage) in usages.iter().enumerate() {
        if usages[..i].contains(usage) {
            errors.duplicate(&usages_path.index(i), usage);
        }
    }
    let signer = str_at(spec, "signerName");
    let signer_path = path.field("signerName");
    if signer == LEGACY_SIGNER {
        errors.invalid_str(
            &signer_path,
            signer,
            "the legacy signerName is not allowed via this API version",
        );
    } else {
        validate_signer_name(signer, &signer_path, errors);
    }
    if let Some(seconds) = i64_at(spec, "expirationSeconds")
        && seconds < EXPIRATION_MIN
    {
        errors.invalid(
            &path.field("expirationSeconds"),
            &seconds.into(),
            "may not specify a duration less than 600 seconds (10 minutes)",
        );
    }
}

/// A signer name: a domain of at least two labels, a slash and a path of DNS labels.
pub fn validate_signer_name(signer: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    if signer.is_empty() {
        errors.required(path, "");
        return;
    }
    let mut segments = signer.split('/');
    let (Some(domain), Some(name), None) = (segments.next(), segments.next(), segments.next())
    else {
        errors.invalid_str(
            path,
            signer,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'",
        );
        return;
    };
    let labels: Vec<&str> = domain.split('.').collect();
    for label in labels.iter().copied().chain(name.split('.')) {
        for message in names::dns1123_label(label) {
            errors.invalid_str(
                path,
                signer,
                format!("validating label \"{label}\": {message}"),
            );
        }
    }
    if labels.len() < 2 {
        errors.invalid_str(
            path,
            signer,
            "should be a domain with at least two segments separated by dots",
        );
    }
}

fn certificate(object: &Value) -> &str {
    str_at(get(object, "status"), "certificate")
}

fn validate_certificate(object: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    let text = certificate(object);
    let stored = old.map(certificate);
    if text.is_empty() || stored == Some(text) {
        return;
    }
    if let Err(message) = request::check_certificate(text) {
        let status = Path::ROOT.field("status");
        errors.push(
            ErrorType::Invalid,
            &status.field("certificate"),
            "\"<certificate data>\"".into(),
            message,
        );
    }
}

fn validate_certificate_update(
    object: &Value,
    old: &Value,
    through_status: bool,
    errors: &mut FieldErrors,
) {
    if certificate(object) == certificate(old) {
        return;
    }
    let status = Path::ROOT.field("status");
    let path = status.field("certificate");
    if !through_status {
        errors.forbidden(&path, "updates may not set certificate content");
    } else if !certificate(old).is_empty() {
        errors.forbidden(&path, "updates may not modify existing certificate content");
    }
}
