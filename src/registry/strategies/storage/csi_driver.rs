//! CSIDriver.

use super::super::common::access::{
    arr_at, at, default_nil, ensure_object, get, i64_at, int_at, remove, semantic_equal, str_at,
};
use super::super::common::checks;
use crate::api::field::{FieldErrors, Path};
use crate::base::tree::{Value, json};
use crate::registry::strategy::{Strategy, WriteContext};

const MODES: [&str; 2] = ["Persistent", "Ephemeral"];

/// Rules of CSIDriver.
pub struct CsiDriverStrategy;

impl Strategy for CsiDriverStrategy {
    fn default(&self, object: &mut Value) {
        let spec = ensure_object(object, "spec");
        default_nil(spec, "attachRequired", true);
        default_nil(spec, "podInfoOnMount", false);
        default_nil(spec, "storageCapacity", false);
        default_nil(spec, "fsGroupPolicy", "ReadWriteOnceWithFSType");
        if arr_at(spec, "volumeLifecycleModes").is_empty() {
            spec["volumeLifecycleModes"] = json!(["Persistent"]);
        }
        default_nil(spec, "requiresRepublish", false);
        default_nil(spec, "seLinuxMount", false);
    }

    fn prepare_for_create(&self, object: &mut Value, _ctx: &WriteContext<'_>) {
        remove(
            ensure_object(object, "spec"),
            "preventPodSchedulingIfMissing",
        );
    }

    fn prepare_for_update(&self, object: &mut Value, old: &Value, _ctx: &WriteContext<'_>) {
        if at(get(old, "spec"), "preventPodSchedulingIfMissing").is_none() {
            remove(
                ensure_object(object, "spec"),
                "preventPodSchedulingIfMissing",
            );
        }
        // Unlike other kinds, drivers are born without a generation and count changes from there.
        if !semantic_equal(at(object, "spec"), at(old, "spec")) {
            let generation = int_at(get(old, "metadata"), "generation") + 1;
            ensure_object(object, "metadata")["generation"] = generation.into();
        }
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
        for (field, named) in [
            ("attachRequired", "attachedRequired"),
            ("podInfoOnMount", "podInfoOnMount"),
            ("storageCapacity", "storageCapacity"),
        ] {
            if at(spec, field).is_none() {
                errors.required(&path.field(named), "");
            }
        }
        checks::optional_enum(
            spec,
            &path,
            "fsGroupPolicy",
            &["File", "None", "ReadWriteOnceWithFSType"],
            errors,
        );
        validate_token_requests(spec, &path, errors);
        for mode in arr_at(spec, "volumeLifecycleModes") {
            if !MODES.contains(&mode.as_str().unwrap_or_default()) {
                errors.not_supported(&path.field("volumeLifecycleModes"), mode, &MODES);
            }
        }
        if at(spec, "seLinuxMount").is_none() {
            errors.required(&path.field("seLinuxMount"), "seLinuxMount must be set");
        }
        if let Some(n) = i64_at(spec, "nodeAllocatableUpdatePeriodSeconds")
            && n < 10
        {
            let path = path.field("nodeAllocatableUpdatePeriodSeconds");
            errors.invalid(
                &path,
                &n.into(),
                "must be greater than or equal to 10 seconds",
            );
        }
        if let Some(set) = at(spec, "serviceAccountTokenInSecrets")
            && arr_at(spec, "tokenRequests").is_empty()
        {
            errors.invalid(
                &path.field("serviceAccountTokenInSecrets"),
                set,
                "serviceAccountTokenInSecrets is set but no tokenRequests are specified",
            );
        }
        if let Some(old) = old {
            let old = get(old, "spec");
            for (field, named) in [
                ("attachRequired", "attachedRequired"),
                ("volumeLifecycleModes", "volumeLifecycleModes"),
            ] {
                checks::immutable(at(spec, field), at(old, field), &path.field(named), errors);
            }
        }
    }

    fn warnings(
        &self,
        object: &Value,
        _old: Option<&Value>,
        _ctx: &WriteContext<'_>,
    ) -> Vec<String> {
        let spec = get(object, "spec");
        let unset = at(spec, "serviceAccountTokenInSecrets").is_none();
        if unset && !arr_at(spec, "tokenRequests").is_empty() {
            return vec!["spec.serviceAccountTokenInSecrets is unset; if supported by this CSI driver, set to true to prevent possible logging of tokens in volume attributes".into()];
        }
        Vec::new()
    }
}

fn validate_token_requests(spec: &Value, path: &Path<'_>, errors: &mut FieldErrors) {
    let list = path.field("tokenRequests");
    let requests = arr_at(spec, "tokenRequests");
    for (i, request) in requests.iter().enumerate() {
        let path = list.index(i);
        let audience = str_at(request, "audience");
        if requests
            .iter()
            .take(i)
            .any(|seen| str_at(seen, "audience") == audience)
        {
            errors.duplicate(&path.field("audience"), &audience.into());
            continue;
        }
        let Some(seconds) = i64_at(request, "expirationSeconds") else {
            continue;
        };
        let path = path.field("expirationSeconds");
        if seconds < 600 {
            errors.invalid(
                &path,
                &seconds.into(),
                "may not specify a duration less than 10 minutes",
            );
        }
        if seconds > 1 << 32 {
            errors.invalid(
                &path,
                &seconds.into(),
                "may not specify a duration larger than 2^32 seconds",
            );
        }
    }
}
