//! ClusterTrustBundle (off by default).

use super::super::common::access::{at, get, str_at};
use super::super::common::checks;
use super::super::common::names::{self, NameRule, invalid_each};
use super::{csr, pem};
use crate::api::field::{ErrorType, FieldErrors, Path};
use crate::base::tree::Value;
use crate::registry::strategy::{Strategy, WriteContext};

/// Rules of ClusterTrustBundle.
pub struct TrustBundleStrategy;

impl Strategy for TrustBundleStrategy {
    /// The name depends on the signer; the strategy looks itself.
    fn name_rule(&self) -> NameRule {
        NameRule::Any
    }

    fn validate(
        &self,
        object: &Value,
        old: Option<&Value>,
        _ctx: &WriteContext<'_>,
        errors: &mut FieldErrors,
    ) {
        let spec = get(object, "spec");
        let path = Path::ROOT.field("spec");
        let signer = str_at(spec, "signerName");
        validate_name(str_at(get(object, "metadata"), "name"), signer, errors);
        if !signer.is_empty() {
            csr::validate_signer_name(signer, &path.field("signerName"), errors);
        }
        let bundle = str_at(spec, "trustBundle");
        if old.is_none_or(|old| str_at(get(old, "spec"), "trustBundle") != bundle) {
            validate_bundle(bundle, &path.field("trustBundle"), errors);
        }
        if let Some(old) = old {
            checks::immutable(
                at(spec, "signerName"),
                at(get(old, "spec"), "signerName"),
                &path.field("signerName"),
                errors,
            );
        }
    }
}

fn validate_name(name: &str, signer: &str, errors: &mut FieldErrors) {
    let metadata = Path::ROOT.field("metadata");
    let path = metadata.field("name");
    if signer.is_empty() {
        if name.contains(':') {
            errors.invalid_str(
                &path,
                name,
                "ClusterTrustBundle without signer name must not have \":\" in its name",
            );
        }
        invalid_each(errors, &path, name, names::dns1123_subdomain(name));
        return;
    }
    let prefix = format!("{}:", signer.replace('/', ":"));
    match name.strip_prefix(&prefix) {
        Some(rest) => invalid_each(errors, &path, name, names::dns1123_subdomain(rest)),
        None => errors.invalid_str(
            &path,
            name,
            format!(
                "ClusterTrustBundle for signerName {signer} must be named with prefix {prefix}"
            ),
        ),
    }
}

fn validate_bundle(bundle: &str, path: &Path<'_>, errors: &mut FieldErrors) {
    let mut invalid = |message: String| {
        let shown = "\"<value omitted>\"".to_owned();
        errors.push(ErrorType::Invalid, path, shown, message);
    };
    let mut rest = bundle;
    let mut anchors = 0;
    while let Some((block, tail)) = pem::decode(rest) {
        rest = tail;
        if block.label != "CERTIFICATE" {
            invalid(format!(
                "entry {anchors} has bad block type: {}",
                block.label
            ));
        } else if block.has_headers {
            invalid(format!("entry {anchors} has PEM block headers"));
        }
        anchors += 1;
    }
    if anchors == 0 {
        invalid("at least one trust anchor must be provided".into());
    }
}
