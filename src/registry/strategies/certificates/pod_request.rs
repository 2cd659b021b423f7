//! PodCertificateRequest (off by default).

use super::super::common::access::{at, get, i64_at, semantic_equal, str_at};
use super::super::common::names::{self, invalid_each};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Longest UID, in bytes.
const UID_BYTES_MAX: usize = 128;
/// Shortest life that may be asked for.
const EXPIRATION_MIN: i64 = 3600;
/// Longest life: of certificates of Kubernetes' own signers a day, of others 91 days.
const EXPIRATION_MAX_OWN: i64 = 86_400;
const EXPIRATION_MAX: i64 = 7_862_400;
/// Shown for a spec that holds proofs.
const OMITTED: &str = "<value omitted>";

/// Rules of PodCertificateRequest.
pub struct PodRequestStrategy;

impl Strategy for PodRequestStrategy {
    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let spec = get(object, "spec");
        let path = Path::ROOT.field("spec");
        match old {
            None => validate_spec(spec, &path, errors),
            Some(old) if !semantic_equal(Some(spec), at(old, "spec")) => {
                errors.push(
                    ErrorType::Invalid,
                    &path,
                    OMITTED.into(),
                    "field is immutable",
                );
            }
            Some(_) => {}
        }
    }
}

fn validate_spec(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    for (name, uid) in [
        ("podName", "podUID"),
        ("serviceAccountName", "serviceAccountUID"),
        ("nodeName", "nodeUID"),
    ] {
        let text = str_at(spec, name);
        let messages = names::dns1123_subdomain(text);
        invalid_each(errors, &path.field(name), text, messages);
        let text = str_at(spec, uid);
        match text.len() {
            0 => errors.invalid_str(&path.field(uid), text, "must not be empty"),
            n if n > UID_BYTES_MAX => errors.too_long(&path.field(uid), UID_BYTES_MAX),
            _ => {}
        }
    }
    let expiration = path.field("maxExpirationSeconds");
    let longest = match str_at(spec, "signerName").starts_with("kubernetes.io/") {
        true => EXPIRATION_MAX_OWN,
        false => EXPIRATION_MAX,
    };
    match i64_at(spec, "maxExpirationSeconds") {
        None => errors.required(&expiration, "must be set"),
        Some(n) if !(EXPIRATION_MIN..=longest).contains(&n) => {
            let range = format!("must be in the range [{EXPIRATION_MIN}, {longest}]");
            errors.invalid(&expiration, &n.into(), range);
        }
        Some(_) => {}
    }
    let has = |name: &str| !str_at(spec, name).is_empty();
    let request = has("stubPKCS10Request");
    let key = (has("pkixPublicKey"), has("proofOfPossession"));
    if !matches!(
        (request, key),
        (true, (false, false)) | (false, (true, true))
    ) {
        errors.push(
            ErrorType::Invalid,
            path,
            OMITTED.into(),
            "exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set",
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::tree::json;

    #[test]
    fn requests() {
        let good = json!({"spec": {
            "signerName": "example.test/s", "podName": "p", "podUID": "1",
            "serviceAccountName": "a", "serviceAccountUID": "2", "nodeName": "n", "nodeUID": "3",
            "maxExpirationSeconds": 86_401, "stubPKCS10Request": "YQ=="}});
        let check = |object: &Value| {
            let mut errors = FieldErrors::default();
            PodRequestStrategy.validate(object, None, &WriteContext::default(), &mut errors);
            errors.0.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(check(&good), [""; 0]);
        let mut bad = good.clone();
        bad["spec"]["signerName"] = json!("kubernetes.io/kube-apiserver-client-pod");
        bad["spec"]["podUID"] = json!("");
        bad["spec"]["pkixPublicKey"] = json!("YQ==");
        assert_eq!(
            check(&bad),
            [
                "spec.podUID: Invalid value: \"\": must not be empty",
                "spec.maxExpirationSeconds: Invalid value: 86401: must be in the range [3600, 86400]",
                "spec: Invalid value: <value omitted>: exactly one of (stubPKCS10Request) or (pkixPublicKey, proofOfPossession) must be set",
            ]
        );
    }
}
