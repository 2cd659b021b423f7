//! CustomResourceDefinition: defaults, stored versions and the rules of the object as a whole.

use super::super::admissionregistration::client_config;
use super::super::common::access::{
    arr_at, at, at_mut, default_nil, default_zero, ensure_object, get, is_true, semantic_equal,
    str_at, strings_at,
};
use super::super::common::checks;
use super::super::storage::volume_attachment::keep_metadata;
use super::{names, schema, versions};
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

/// Says who approved an API in a protected group.
const APPROVED: &str = "api-approved.kubernetes.io";
const APPROVAL_TEXT: &str =
    "protected groups must have approval annotation \"api-approved.kubernetes.io\"";
const APPROVAL_LINK: &str = "see https://github.com/kubernetes/enhancements/pull/1111";

/// Rules of CustomResourceDefinition.
pub struct CrdStrategy;

impl Strategy for CrdStrategy {
    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        let kind_names = ensure_object(spec, "names");
        let kind = str_at(kind_names, "kind").to_owned();
        if !kind.is_empty() {
            default_zero(kind_names, "singular", kind.to_lowercase());
            default_zero(kind_names, "listKind", format!("{kind}List"));
        }
        default_nil(spec, "conversion", json!({"strategy": "None"}));
        let service = at_mut(spec, "conversion")
            .and_then(|c| at_mut(c, "webhook"))
            .and_then(|w| at_mut(w, "clientConfig"))
            .and_then(|c| at_mut(c, "service"));
        if let Some(service) = service {
            default_nil(service, "port", 443);
        }
        store_version(object, true);
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        object["status"] = json!({
            "conditions": null,
            "acceptedNames": {"plural": "", "kind": ""},
            "storedVersions": null,
        });
        store_version(object, true);
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, ctx: &WriteContext<'_>) {
        if ctx.subresource == "status" {
            keep_metadata(object, old);
        } else {
            store_version(object, false);
        }
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        if ctx.subresource == "status" {
            return versions::validate_stored(object, errors);
        }
        let spec = get(object, "spec");
        let path = Path::ROOT.field("spec");
        if old.is_none() {
            validate_name(object, spec, errors);
        }
        let old_spec = old.map(|old| get(old, "spec"));
        validate_spec(spec, old_spec, &path, errors);
        if let Some(old) = old {
            validate_immutable(object, old, &path, errors);
        }
        versions::validate_stored(object, errors);
        validate_approval(object, old, errors);
    }

    fn warnings(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        schema::format_warnings(get(object, "spec"), old.map(|old| get(old, "spec")))
    }
}

/// Records the storage version in the status. `when_empty`: only if nothing is recorded.
fn store_version(object: &mut Value, when_empty: bool) {
    let Some(version) = versions::storage(get(object, "spec")).map(str::to_owned) else {
        return;
    };
    let stored = arr_at(get(object, "status"), "storedVersions");
    if stored.iter().any(|v| *v == version.as_str()) || (when_empty && !stored.is_empty()) {
        return;
    }
    let mut all = stored.to_vec();
    all.push(version.into());
    let status = ensure_object(object, "status");
    status["storedVersions"] = Value::Array(all);
    default_nil(status, "conditions", Value::Null);
    default_nil(status, "acceptedNames", json!({"plural": "", "kind": ""}));
}

fn validate_name(object: &Value, spec: &Value, errors: &mut FieldErrors) {
    let name = str_at(get(object, "metadata"), "name");
    let plural = str_at(get(spec, "names"), "plural");
    if name != format!("{plural}.{}", str_at(spec, "group")) {
        let metadata = Path::ROOT.field("metadata");
        errors.invalid_str(
            &metadata.field("name"),
            name,
            "must be spec.names.plural+\".\"+spec.group",
        );
    }
}

fn validate_spec(spec: &Value, old: Option<&Value>, path: &Path<'_>, errors: &mut FieldErrors) {
    names::validate_group(str_at(spec, "group"), &path.field("group"), errors);
    checks::required_enum(spec, path, "scope", &["Cluster", "Namespaced"], errors);
    let was_preserving = old.is_some_and(|old| is_true(old, "preserveUnknownFields"));
    if is_true(spec, "preserveUnknownFields") && !was_preserving {
        errors.invalid(
            &path.field("preserveUnknownFields"),
            &true.into(),
            "cannot set to true, set x-kubernetes-preserve-unknown-fields to true in spec.versions[*].schema instead",
        );
    }
    versions::validate(spec, path, errors);
    names::validate(get(spec, "names"), &path.field("names"), errors);
    versions::validate_shared(spec, old, path, errors);
    validate_conversion(get(spec, "conversion"), &path.field("conversion"), errors);
}

fn validate_conversion(conversion: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    checks::required_enum(conversion, path, "strategy", &["None", "Webhook"], errors);
    let webhook = get(conversion, "webhook");
    let config = at(webhook, "clientConfig");
    // The internal form has no `webhook` in between.
    let config_path = path.field("webhookClientConfig");
    if str_at(conversion, "strategy") == "Webhook" {
        match config {
            None => errors.required(&config_path, "required when strategy is set to Webhook"),
            Some(config) => client_config::validate(config, &config_path, errors),
        }
        if arr_at(webhook, "conversionReviewVersions").is_empty() {
            errors.required(&path.field("conversionReviewVersions"), "");
        } else {
            client_config::validate_review_versions(
                webhook,
                "conversionReviewVersions",
                path,
                errors,
            );
        }
        return;
    }
    if config.is_some() {
        errors.forbidden(
            &config_path,
            "should not be set when strategy is not set to Webhook",
        );
    }
    if !arr_at(webhook, "conversionReviewVersions").is_empty() {
        errors.forbidden(
            &path.field("conversionReviewVersions"),
            "should not be set when strategy is not set to Webhook",
        );
    }
}

/// Whether the condition `kind` of the status is True.
fn has_condition(object: &Value, kind: &str) -> bool {
    arr_at(get(object, "status"), "conditions")
        .iter()
        .any(|c| str_at(c, "type") == kind && str_at(c, "status") == "True")
}

fn validate_immutable(object: &Value, old: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let (spec, stored) = (get(object, "spec"), get(old, "spec"));
    let mut check = |new: Option<&Value>, old: Option<&Value>, path: &Path<'_>| {
        checks::immutable(new, old, path, errors);
    };
    let names_path = path.field("names");
    let (names, old_names) = (get(spec, "names"), get(stored, "names"));
    if has_condition(old, "Established") {
        check(at(spec, "scope"), at(stored, "scope"), &path.field("scope"));
        let kind = names_path.field("kind");
        check(at(names, "kind"), at(old_names, "kind"), &kind);
    }
    check(at(spec, "group"), at(stored, "group"), &path.field("group"));
    let plural = names_path.field("plural");
    check(at(names, "plural"), at(old_names, "plural"), &plural);
}

/// Whether the group belongs to the Kubernetes community.
fn is_protected(group: &str) -> bool {
    ["k8s.io", "kubernetes.io"]
        .iter()
        .any(|domain| group == *domain || group.ends_with(&format!(".{domain}")))
}

/// What an approval annotation amounts to.
#[derive(PartialEq)]
enum Approval {
    Missing,
    Invalid,
    Fine,
}

fn approval(object: &Value) -> (Approval, &str) {
    let annotations = get(object, "metadata");
    let text = strings_at(annotations, "annotations")
        .find(|(key, _)| *key == APPROVED)
        .map_or("", |(_, value)| value);
    let state = if text.is_empty() {
        Approval::Missing
    } else if text.starts_with("unapproved") || is_url(text) {
        Approval::Fine
    } else {
        Approval::Invalid
    };
    (state, text)
}

fn is_url(text: &str) -> bool {
    text.parse::<http::Uri>()
        .is_ok_and(|uri| uri.scheme().is_some() && uri.host().is_some_and(|h| !h.is_empty()))
}

fn validate_approval(object: &Value, old: Option<&Value>, errors: &mut FieldErrors) {
    if !is_protected(str_at(get(object, "spec"), "group")) {
        return;
    }
    let (state, text) = approval(object);
    if old.is_some_and(|old| approval(old).0 == state) {
        return;
    }
    let metadata = Path::ROOT.field("metadata");
    let annotations = metadata.field("annotations");
    let path = annotations.key(APPROVED);
    match state {
        Approval::Fine => {}
        Approval::Missing => errors.required(&path, format!("{APPROVAL_TEXT}, {APPROVAL_LINK}")),
        Approval::Invalid => errors.invalid_str(
            &path,
            text,
            format!("{APPROVAL_TEXT} with either a URL or a reason starting with \"unapproved\", {APPROVAL_LINK}"),
        ),
    }
}

/// Whether two specs agree in `key` of every version.
pub(super) fn same_versions(a: &Value, b: &Value) -> bool {
    semantic_equal(at(a, "versions"), at(b, "versions"))
}
